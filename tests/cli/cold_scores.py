"""Scores for someone new, computed with NumPy by docs/formats.md alone, against what thaw-lookup prints.

usage: cold_scores.py blend PRIOR OUT.PB     write a blend for the prior's dataset
       cold_scores.py check TABLES           P, E, G, T, their ensemble and the fold-in of several newcomers
       cold_scores.py interests TABLES       what users are interested in
THAW_SOURCE names the source tree, for the schema.
"""
import json
import os
import struct
import subprocess
import sys

import numpy as np

from formats import decode, load, part_name, read_schema, xxh3

# known: a and b of P; weights of P, E, G; unobserved weight and regularization of the fold-in; T: weight, own, sharpness, profile, background
NUMBERS = {0: (0.0, 0.05, 0.5, 1.0, 0.7, 0.2, 0.3, 0.4, 0.3, 1.0, 1.5, 0.2),
           2: (0.01, 0.07, 1.0, 0.6, 0.8, 0.3, 0.1, 0.9, 0.1, 1.2, 0.0, 0.5),
           6: (0.02, 0.2, 0.3, 1.0, 0.0, 0.1, 0.05, 0.7, 0.4, 0.6, 2.0, 1.0)}
FIELDS = (*range(2, 9), *range(22, 27))  # of `Known` in the schema
SAMPLES = 5
METHODS = ("P", "E", "G", "T", "ensemble", "fold-in")


def field(number, wire, payload):
    key = number << 3 | wire
    return (bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])) + payload


def write_blend(prior, out):
    schema = read_schema(os.path.join(os.environ["THAW_SOURCE"], "src/proto/thaw.proto"))
    raw = open(os.path.join(prior, "manifest.pb"), "rb").read()
    digest = decode(schema, "Prior", raw[16:])["dataset_digest"]
    body = field(1, 0, b"\x01") + field(2, 1, struct.pack("<Q", digest))
    for n, values in NUMBERS.items():
        known = field(1, 0, bytes([n])) + b"".join(field(i, 1, struct.pack("<d", v)) for i, v in zip(FIELDS, values))
        body += field(3, 2, bytes([len(known)]) + known)
    body += field(4, 0, bytes([SAMPLES]))
    open(out, "wb").write(b"THAWPB1\n" + struct.pack("<Q", xxh3(body)) + body)


# ---- the tables ----


class Tables:
    def __init__(self, path):
        self.path = path
        self.folder = os.path.join(path, os.readlink(os.path.join(path, "current")))
        schema = read_schema(os.path.join(os.environ["THAW_SOURCE"], "src/proto/thaw.proto"))
        raw = open(os.path.join(self.folder, "manifest.pb"), "rb").read()
        self.m = decode(schema, "Tables", raw[16:])
        self.parts = range(self.m["parts"])
        self.ids = [i.decode() for p in self.parts for i in self.part("items", p, "ids.npy", "|S").tolist()]
        self.y = np.concatenate([self.part("items", p, "npy", "<f4") for p in self.parts]).astype(float)

    def part(self, side, p, ext, dtype, prefix=""):
        return load(self.folder, prefix + part_name(side, p, self.m["parts"], ext), dtype)

    def features(self, profile):
        f = np.zeros(sum(a["columns"] for a in self.m["user_attributes"]))
        for a in self.m["user_attributes"]:
            if a["name"] in profile:
                f[a["first_column"] + a["values"].index(profile[a["name"]].encode())] = 1
        return f

    def tool(self, *words):
        command = ["thaw-lookup", "recommend", self.path, "--format", "jsonl", *words]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def nearest(numbers, n):
    return min(numbers, key=lambda x: (abs(x - n), -x))


# ---- the scores ----


def prior(t, f, known, numbers):
    a, b = numbers[:2]
    w = load(t.folder, "prior.user_weights.npy", "<f4").astype(float)
    precision = load(t.folder, "prior.user_precision.npy", "<f8")
    z = np.zeros(len(w))
    z[: 1 + len(f)] = [1, *f]
    y = t.y[known]
    return t.y @ np.linalg.solve(a * t.y.T @ t.y + b * precision + y.T @ y, y.sum(axis=0) + b * precision @ (z @ w))


def association(t, f, known, n):
    prefix = f"associate.n{nearest(t.m['association']['known'], n):03d}."
    scores = np.concatenate([np.array([1, *f]) @ t.part("columns", p, "npy", "<f4", prefix).astype(float) for p in t.parts])
    first = np.concatenate([[0], np.cumsum(t.m["items"]["part_rows"])])
    for i in known:
        p = np.searchsorted(first, i, side="right") - 1
        ptr = t.part("items", p, "indptr.npy", "<i8", prefix)
        span = slice(ptr[i - first[p]], ptr[i - first[p] + 1])
        scores[t.part("items", p, "indices.npy", "<u4", prefix)[span]] += t.part("items", p, "values.npy", "<f4", prefix)[span]
    return scores


def philox(key, counter):
    c, k, mask = list(counter), list(key), 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def normal(seed, coordinate, sample):
    w = philox((seed & 0xFFFFFFFF, seed >> 32), (0, 42, coordinate, sample))
    u = [((w[i] | w[i + 1] << 32) >> 11) * 2.0**-53 for i in (0, 2)]
    return np.sqrt(-2 * np.log1p(-u[0])) * np.cos(2 * np.pi * u[1])


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def generator(t, f, known, seed):
    g, net, at = t.m["generator"], load(t.folder, "generator.net.npy", "<f4").astype(float), 0
    k, features, longest, noise, hidden = (g[x] for x in ("factors", "features", "longest", "noise", "hidden"))
    inputs, w = features + 2 * k + longest + 1 + noise, {}
    for name, shape in (("query_w", (features, k)), ("query_b", k), ("key_w", (k, k)), ("value_w", (k, k)), ("value_b", k),
                        ("first_w", (inputs, hidden)), ("first_b", hidden), ("second_w", (hidden, hidden)), ("second_b", hidden),
                        ("last_w", (hidden, k)), ("last_b", k), ("log_scale", 1)):
        n = int(np.prod(shape))
        w[name], at = net[at : at + n].reshape(shape), at + n
    assert at == len(net)
    items = np.concatenate([t.part("items", p, "npy", "<f4", "generator.") for p in t.parts]).astype(float)
    known = known[-longest:]
    n, e = len(known), items[known, :k]
    mean, attended = np.zeros(k), np.zeros(k)
    if n:
        match = e @ (w["key_w"] @ (f @ w["query_w"] + w["query_b"])) / np.sqrt(k)
        a = np.exp(match - match.max())
        mean, attended = e.sum(axis=0) / np.sqrt(n), np.sqrt(n) * (a / a.sum() @ e @ w["value_w"] + w["value_b"])
    latents = []
    for s in range(SAMPLES if noise else 1):
        z = [normal(seed, c, s) for c in range(noise)]
        h = elu(np.concatenate([f, mean, attended, np.eye(longest + 1)[n], z]) @ w["first_w"] + w["first_b"])
        latents.append((elu(h @ w["second_w"] + w["second_b"]) + h) @ w["last_w"] + w["last_b"])
    logits = np.exp(w["log_scale"]) * items[:, k : 2 * k] @ np.mean(latents, axis=0) + items[:, 2 * k]
    p = np.exp(logits - logits.max())
    return p / p.sum()


def types(t, f, known, numbers):
    own, sharpness, weight, share = numbers[8:]
    u, mass = load(t.folder, "prior.types_factors.npy", "<f4").astype(float), load(t.folder, "prior.types_mass.npy", "<f8")
    ptr, user = load(t.folder, "prior.types_indptr.npy", "<i8"), load(t.folder, "prior.types_users.npy", "<u4")
    popular, match = share * (np.diff(ptr) + 0.5) / len(u), np.zeros(len(u))
    for i in known:
        takes = (1 - own) * (np.maximum(u @ t.y[i], 0) + popular[i])
        takes[user[ptr[i] : ptr[i + 1]]] += own
        match += sharpness * np.log(takes / (own * mass[:, 0] + (1 - own) * (mass[:, 1] + popular.sum())))
    ends, column = load(t.folder, "prior.types_profile_indptr.npy", "<i8"), load(t.folder, "prior.types_profile_columns.npy", "<u4")
    value = load(t.folder, "prior.types_profile_values.npy", "<f4").astype(float) * f[column]
    match += weight * np.bincount(np.repeat(np.arange(len(u)), np.diff(ends)), value, len(u)) / (np.linalg.norm(f) or 1)
    w = np.exp(match - match.max())
    return np.bincount(np.repeat(np.arange(len(t.y)), np.diff(ptr)), w[user], len(t.y)) / w.sum()


def fold_in(t, known, numbers):
    als, (a0, regularization) = t.m["als"], numbers[5:7]
    n, y = len(known), t.y[known]
    ridge = regularization * (n + a0 * len(t.y)) ** als["reg_exponent"]
    c = als["alpha"] + (a0 if als["model"] == 0 else 0)
    return t.y @ np.linalg.solve(a0 * t.y.T @ t.y + ridge * np.eye(t.y.shape[1]) + als["alpha"] * y.T @ y, c * y.sum(axis=0))


def z_score(x):
    return (x - x.mean()) / x.std()


def scores(t, method, f, known, seed):
    numbers = NUMBERS[nearest(NUMBERS, len(known))]
    if method == "fold-in":
        return fold_in(t, known, numbers)
    if method == "ensemble":
        return sum(w * z_score(scores(t, m, f, known, seed)) for w, m in zip((*numbers[2:5], numbers[7]), "PEGT"))
    if method == "P":
        return prior(t, f, known, numbers)
    if method == "T":
        return types(t, f, known, numbers)
    return association(t, f, known, len(known)) if method == "E" else generator(t, f, known, seed)


# ---- what the tool says ----


def words(t, profile, known, seed, method):
    out = ["--method", method, "--seed", str(seed), "-k", str(len(t.ids)), "--with-seen"]
    if profile:
        out += ["--profile", ",".join(f"{k}={v}" for k, v in profile.items())]
    if known:
        out += ["--history", ",".join(t.ids[i] for i in known)]
    return out


def check(t):
    random, worst = np.random.default_rng(3), {}
    for case in range(9):
        n = (0, 1, 2, 3, 4, 6, 9, 12, 14)[case]
        known = [int(i) for i in random.permutation(len(t.ids))[:n]]
        named = [a for a in t.m["user_attributes"] if a["values"]]
        profile = {a["name"]: a["values"][random.integers(len(a["values"]))].decode() for a in named if random.random() < 0.7}
        if not profile and not known:
            profile = {named[0]["name"]: named[0]["values"][0].decode()}
        for method in METHODS[: 6 if n else 5]:
            want = scores(t, method, t.features(profile), known, case)
            answer = t.tool(*words(t, profile, known, case, method), "--explain")["items"]
            assert sorted(x["item"] for x in answer) == sorted(t.ids)
            got = {x["item"]: x["score"] for x in answer}
            error = max(abs(got[i] - s) for i, s in zip(t.ids, want))
            worst[method] = max(worst.get(method, 0), error)
            assert error < 1e-5, (method, n, error)
            for x in answer:
                shares = [s["share"] for s in x["shares"]]
                assert abs(sum(shares) - x["score"]) < 1e-6 * (len(shares) + 1), x
                assert [s["name"] for s in x["shares"] if s["from"] == "history"] == [t.ids[i] for i in known]
            assert [x["score"] for x in answer] == sorted((x["score"] for x in answer), reverse=True)
    print("largest differences:", ", ".join(f"{m} {e:.1e}" for m, e in worst.items()))


def interests(t):
    columns, degree = [], np.concatenate([t.part("items", p, "degree.npy", "<i8") for p in t.parts])
    for p in t.parts:
        ptr, own = t.part("items", p, "attributes_ptr.npy", "<i8"), t.part("items", p, "attributes.npy", "<u4")
        columns += [own[a:b] for a, b in zip(ptr, ptr[1:])]
    name = {}
    for a in t.m["item_attributes"]:
        for i, v in enumerate(a["values"]):
            name[a["first_column"] + i] = (a["name"], v.decode())

    def part(weights):
        out = {}
        for i, w in weights.items():
            fields = [name[c][0] for c in columns[i]]
            for c in columns[i]:
                out[name[c]] = out.get(name[c], 0) + w / fields.count(name[c][0]) / sum(weights.values())
        return out

    usual = part(dict(enumerate(degree)))
    for p in t.parts:
        ids, ptr = t.part("users", p, "ids.npy", "|S"), t.part("users", p, "seen_ptr.npy", "<i8")
        seen = t.part("users", p, "seen.npy", "<u4")
        for r in range(0, len(ids), 9):
            if ptr[r] == ptr[r + 1]:
                continue
            own = part({i: 1 for i in seen[ptr[r] : ptr[r + 1]]})
            order = sorted((v for v in own if own[v] > usual[v]), key=lambda v: usual[v] - own[v])[:4]
            got = t.tool("--profile-of", ids[r].decode(), "-k", "4")["interests"]
            assert len(got) == len(order)
            for x, v in zip(got, order):
                found = (x["field"], x["value"])
                assert abs(x["weight"] - own[found]) < 2e-6 and abs(x["usual"] - usual[found]) < 2e-6, (x, own[found])
                assert abs((own[found] - usual[found]) - (own[v] - usual[v])) < 1e-9, (x, v)


def main():
    if sys.argv[1] == "blend":
        write_blend(sys.argv[2], sys.argv[3])
    else:
        {"check": check, "interests": interests}[sys.argv[1]](Tables(sys.argv[2]))


if __name__ == "__main__":
    main()
