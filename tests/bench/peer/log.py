"""The interactions of a dataset, the objective all programs minimize, and ranking quality: NumPy only, double precision."""

import glob
import os

import numpy as np
import scipy.sparse as sp


class Log:
    """matrix: users x items, CSR, float32, rows and columns numbered as Thaw numbers them, columns rising."""

    def __init__(self, folder):
        self.folder = folder
        side = {
            name: [np.load(path) for path in sorted(glob.glob(f"{folder}/{name}-*.npz"))] for name in ("users", "items")
        }
        self.user_ids, self.item_ids = (
            np.concatenate([shard["ids"] for shard in side[name]]) for name in ("users", "items")
        )
        indptr = np.concatenate([[0]] + [np.diff(shard["indptr"]) for shard in side["users"]]).cumsum()
        indices, values = (np.concatenate([shard[name] for shard in side["users"]]) for name in ("indices", "values"))
        shape = (len(self.user_ids), len(self.item_ids))
        self.matrix = sp.csr_matrix((values, indices.astype(np.int32), indptr.astype(np.int32)), shape=shape)


def factors(model, k):
    """User and item factors (rows x k) of a model's current version."""
    files = {side: sorted(glob.glob(f"{model}/current/{side}-*.npy")) for side in ("users", "items")}
    return tuple(np.concatenate([np.load(path).reshape(-1, k) for path in files[side]]) for side in ("users", "items"))


def objective(matrix, model, X, Y):
    """Per interaction. With s = x . y, n the interactions of a row:
    implicit (Hu, Koren, Volinsky):  sum over all pairs of c (p - s)^2 + l (|X|^2 + |Y|^2), p = 1 and c = 1 + alpha r where there is an
                                     interaction, p = 0 and c = 1 elsewhere
    explicit (ALS-WR, Zhou et al.):  sum over interactions of (r - s)^2 + l (sum_u n_u |x_u|^2 + sum_i n_i |y_i|^2)"""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    total, step = 0.0, max(1, 250_000 // X.shape[1])  # blocks that stay in cache
    for i in range(0, matrix.nnz, step):
        cut = slice(i, i + step)
        s = np.einsum("ij,ij->i", X[users[cut]], Y[matrix.indices[cut]])
        r = matrix.data[cut].astype(np.float64)
        if model["form"] == "explicit":
            total += np.sum((r - s) ** 2)
        else:
            total += np.sum((1 + model["alpha"] * r) * (1 - s) ** 2 - s**2)
    nu = ni = 1.0
    if model["form"] == "explicit":
        nu, ni = np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=matrix.shape[1])
    else:
        total += np.sum((X.T @ X) * (Y.T @ Y))
    total += model["lambda"] * (np.sum(nu * (X**2).sum(1)) + np.sum(ni * (Y**2).sum(1)))
    return total / matrix.nnz


def fold_in_ndcg(histories, model, Y, known=10, cutoff=20, seed=1):
    """NDCG of each user (a CSR row of histories): `known` interactions drawn at random are folded in exactly, the others asked for."""
    rng = np.random.default_rng(seed)
    Y = Y.astype(np.float64)
    base = Y.T @ Y + model["lambda"] * np.eye(Y.shape[1])
    gain = 1 / np.log2(np.arange(2, cutoff + 2))
    quality = []
    for u in range(histories.shape[0]):
        items = histories.indices[histories.indptr[u] : histories.indptr[u + 1]]
        if len(items) <= known:
            continue
        items = rng.permutation(items)
        seen, rest = items[:known], items[known:]
        c = 1 + model["alpha"]  # r = 1
        x = np.linalg.solve(base + (c - 1) * Y[seen].T @ Y[seen], c * Y[seen].sum(0))
        score = Y @ x
        score[seen] = -np.inf
        best = np.argpartition(-score, cutoff)[:cutoff]
        hit = np.isin(best[np.argsort(-score[best])], rest)
        quality.append(hit @ gain / gain[: len(rest)].sum())
    return np.array(quality)


def ratings(folder):
    """ML-1M's ratings file, None where there is none."""
    found = sorted(glob.glob(f"{folder}/ml-1m/ratings.dat*") or glob.glob(f"{folder}/ratings.dat*")) if folder else []
    return os.path.abspath(found[0]) if found else None
