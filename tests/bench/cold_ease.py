"""EASE as `thaw associate --method ease --neighbors all` solved it, beside LAPACK's dense inverse in double (NumPy), all users.

usage: cold_ease.py DATA ASSOCIATION RIDGE      exits 1 where they differ by more than 1e-5
"""
import glob
import sys

import numpy as np


def interactions(folder):
    parts = [np.load(path) for path in sorted(glob.glob(f"{folder}/users-*.npz"))]
    items = sum(len(np.load(path)["ids"]) for path in glob.glob(f"{folder}/items-*.npz"))
    x, row = np.zeros((sum(len(part["ids"]) for part in parts), items)), 0
    for part in parts:
        for begin, end in zip(part["indptr"], part["indptr"][1:]):
            x[row, part["indices"][begin:end]] = 1
            row += 1
    return x


def association(folder, items):
    b, row = np.zeros((items, items)), 0
    for path in sorted(glob.glob(f"{folder}/associate.n000.items-*.indptr.npy")):
        indptr, indices, values = (np.load(path.replace("indptr", name)) for name in ("indptr", "indices", "values"))
        for begin, end in zip(indptr, indptr[1:]):
            b[row, indices[begin:end]] = values[begin:end]
            row += 1
    assert row == items, (row, items)
    return b


def main():
    x = interactions(sys.argv[1])
    inverse = np.linalg.inv(x.T @ x + float(sys.argv[3]) * np.eye(x.shape[1]))
    expected = inverse / -inverse.diagonal()
    np.fill_diagonal(expected, 0)
    worst = abs(association(sys.argv[2], x.shape[1]) - expected).max()
    print(f"{x.shape[1]} items, ridge {sys.argv[3]}: largest entry {abs(expected).max():.3g}, largest difference to LAPACK {worst:.1e}")
    sys.exit(1 if worst > 1e-5 else 0)


main()
