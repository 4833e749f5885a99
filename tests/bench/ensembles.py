"""Other ensembles of P, E, G and T on MovieLens 1M: NDCG@20 of the validation users of cold_users.txt, with NumPy, from tables.

usage: ensembles.py ML1M KNOWN TABLES...      ML1M: the folder of the data; tables that differ in their generators (seeds)
The tables are those of `tests/bench/cold variants` (WORK/ml1m/searched-1 ...). PYTHONPATH and THAW_SOURCE as tests/cli has them.
"""
import functools
import glob
import gzip
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../cli"))
os.environ.setdefault("THAW_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
import cold_scores as cold

cold.load = functools.cache(cold.load)
cold.normal = functools.cache(cold.normal)
cold.SAMPLES = 16


class Study:
    def __init__(self, folder, tables, known):
        self.n, self.row = known, {name: row for row, name in enumerate(tables.ids)}
        ratings = sorted(glob.glob(os.path.join(folder, "ratings.dat*")))[0]
        self.seen, self.profile = {}, {}
        with (gzip.open if ratings.endswith("gz") else open)(ratings, "rt", encoding="latin-1") as lines:
            for user, item, *_ in (line.split("::") for line in lines):
                self.seen.setdefault(user, []).append(self.row[item])
        for line in open(os.path.join(folder, "users.dat"), encoding="latin-1"):
            user, gender, age, occupation, code = line.strip().split("::")
            self.profile[user] = tables.features(dict(gender=gender, age=age, occupation=occupation, zip=code[0]))
        listed = [line.split() for line in open(os.path.join(folder, "cold_users.txt")) if not line.startswith("#")]
        self.users = [words[0] for words in listed if words[1] == "val"]
        self.pool = np.array([[self.row[i] for i in words[2:]] for words in listed if words[1] == "val"])
        held_out = {words[0] for words in listed}
        self.training = [user for user in self.seen if user not in held_out]
        self.truth = np.zeros((len(self.users), len(self.row)), bool)
        for u, user in enumerate(self.users):
            self.truth[u, self.seen[user]] = True
        np.put_along_axis(self.truth, self.pool, False, axis=1)

    def ndcg(self, scores):
        scores = scores.copy()
        np.put_along_axis(scores, self.pool, -np.inf, axis=1)
        hits = np.take_along_axis(self.truth, np.argsort(-scores, axis=1, kind="stable")[:, :20], axis=1)
        discount = 1 / np.log2(np.arange(20) + 2)
        return ((hits @ discount) / np.cumsum(discount)[np.minimum(20, self.truth.sum(axis=1)) - 1]).mean()

    def scores(self, tables, method):
        out = []
        for u, user in enumerate(self.users):
            out.append(cold.scores(tables, method, self.profile[user], list(self.pool[u, : self.n]), 1))
        return np.array(out)

    def interactions(self):
        x = np.zeros((len(self.training), len(self.row)), np.float32)
        for u, user in enumerate(self.training):
            x[u, self.seen[user]] = 1
        return x, np.array([[1, *self.profile[user]] for user in self.training], np.float32)


def episodic(study, power, ridge, item_ridge=0):
    """E of docs/cold-start.md, each user's part of the equations times length^-power, ridge times popularity^item_ridge."""
    x, f = study.interactions()
    length = x.sum(axis=1)
    n, weight = np.minimum(study.n, length - 1), length**-power / (length**-power).mean()
    items, pairs = x.shape[1], length * (length - 1)
    gram = lambda w: x.T @ (x * w[:, None])
    popular = np.maximum(x.mean(axis=0) / x.mean(), 0.01) ** item_ridge
    a, y = np.zeros((items + f.shape[1],) * 2, np.float32), np.zeros((items + f.shape[1], items), np.float32)
    a[:items, :items], y[:items] = gram(weight * n * (n - 1) / pairs), gram(weight * n * (length - n) / pairs)
    a[range(items), range(items)] = x.T @ (weight * n / length) + ridge * popular
    y[range(items), range(items)] = 0
    a[:items, items:] = x.T @ ((weight * n / length)[:, None] * f)
    a[items:, :items] = a[:items, items:].T
    a[items:, items:] = f.T @ (weight[:, None] * f) + 60 * np.eye(f.shape[1])
    y[items:] = (x.T @ ((weight * (1 - n / length))[:, None] * f)).T
    b = np.linalg.solve(a, y)
    known = np.zeros((len(study.users), items), np.float32)
    np.put_along_axis(known, study.pool[:, : study.n], 1, axis=1)
    return known @ b[:items] + np.array([[1, *study.profile[user]] for user in study.users], np.float32) @ b[items:]


def neighbours(study):
    x, _ = study.interactions()
    gram, count = x.T @ x, x.sum(axis=0)
    np.fill_diagonal(gram, 0)
    similarity = gram / (np.sqrt(np.outer(count, count)) + 30)
    return np.array([similarity[study.pool[u, : study.n]].sum(axis=0) for u in range(len(study.users))])


def main():
    tables = [cold.Tables(path) for path in sys.argv[3:]]
    study, n = Study(sys.argv[1], tables[0], int(sys.argv[2])), int(sys.argv[2])
    blend = tables[0].m["blend"]["known"]
    numbers = [tuple(k.get(name, 0) for name in NAMES) for k in blend]
    cold.NUMBERS = dict(zip((k.get("known", 0) for k in blend), numbers))
    z = lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    p, e, t = (study.scores(tables[0], method) for method in "PET")
    g = [study.scores(one, "G") for one in tables]
    fold = study.scores(tables[0], "fold-in")

    def show(what, member=0, e=e, g=g, weights=(0.5, 1, 0.5), **_):
        parts = weights[0] * z(p) + weights[1] * z(e) + member
        print(f"{what:56s}{np.mean([study.ndcg(parts + weights[2] * z(one)) for one in g]):8.4f}", flush=True)

    print(f"validation users, n = {n}:  P {study.ndcg(p):.4f}  E {study.ndcg(e):.4f}  G {np.mean([study.ndcg(x) for x in g]):.4f}  T {study.ndcg(t):.4f}")
    show("P:E:G .5:1:.5")
    show("the same and iALS fold-in, weight .25", 0.25 * z(fold))
    show("the same and item neighbours, weight .25", 0.25 * z(neighbours(study)))
    show("logarithms of G's probabilities, weight .5", g=[np.log(x) for x in g])
    show("mean of the generators' probabilities", g=[np.mean(g, axis=0)])
    ridge = {1: 0.5, 3: 1, 5: 2, 10: 5}.get(n, 2)
    for power in 0.25, 0.5, 1:
        show(f"E, users weighted by length^-{power}", e=episodic(study, power, ridge))
    for power in -0.25, 0.25, 0.5:
        show(f"E, ridge times popularity^{power}", e=episodic(study, 0, ridge, power))
    for weight in 0.25, 0.5, 1:
        show(f"P:E:G:T .5:1:.5:{weight}", weight * z(t))


NAMES = ("prior_unobserved", "prior_weight", "prior", "association", "generator", "unobserved_weight", "regularization", "types", "types_own",
         "types_sharpness", "types_profile", "types_background")
main()
