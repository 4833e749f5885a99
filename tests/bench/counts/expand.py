"""A larger log with the structure of a real one, by a randomized Kronecker expansion of its interactions.

usage: expand.py RATINGS USERS ITEMS OUT FILES
RATINGS: lines user::item::... (plain or .gz), as MovieLens has them; the log gets USERS x ITEMS times its users and items.

After Belletti, Lakshmanan, Krichene, Chen & Anderson, "Scalable realistic recommendation datasets through fractal expansions", 2019: a
small image S of the log R is multiplied with it as in a Kronecker product: block (a, b) of the result is R with its users and items
permuted, each interaction kept with probability S[a, b]. So both sides keep their power law and gain one more level of it. S is the
square root of R's mean over a grid of USERS x ITEMS equal groups of users and items, by falling degree, divided by the largest.
"""
import gzip
import os
import sys

import numpy as np


def read(path):
    open_ = gzip.open if path.endswith(".gz") else open
    with open_(path, "rb") as f:
        pairs = np.array([line.split(b"::")[:2] for line in f], dtype=np.int64)
    return tuple(by_degree(pairs[:, side]) for side in (0, 1))


def by_degree(ids):
    """Ids as numbers from 0, the most frequent first."""
    _, ids, counts = np.unique(ids, return_inverse=True, return_counts=True)
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return place[ids]


def image(users, items, shape, grid):
    cells = np.zeros(grid)
    np.add.at(cells, (users * grid[0] // shape[0], items * grid[1] // shape[1]), 1)
    return np.sqrt(cells / cells.max())


def main():
    path, grid, out, nfiles = sys.argv[1], (int(sys.argv[2]), int(sys.argv[3])), sys.argv[4], int(sys.argv[5])
    users, items = read(path)
    shape = users.max() + 1, items.max() + 1
    keep = image(users, items, shape, grid)
    random = np.random.RandomState(1)
    files = [open(os.path.join(out, "events-%02d.csv" % i), "w") for i in range(nfiles)]
    total = 0
    for block in range(grid[0] * grid[1]):
        a, b = divmod(block, grid[1])
        kept = random.random_sample(len(users)) < keep[a, b]
        user = random.permutation(shape[0])[users[kept]] + a * shape[0]
        item = random.permutation(shape[1])[items[kept]] + b * shape[1]
        total += len(user)
        files[block % nfiles].writelines("%d,%d\n" % pair for pair in zip(user.tolist(), item.tolist()))
    for f in files:
        f.close()
    print("%d users, %d items, %d interactions" % (grid[0] * shape[0], grid[1] * shape[1], total))


main()
