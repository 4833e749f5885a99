"""Opens everything Thaw writes with NumPy and a few lines of code, by docs/formats.md alone, and compares it with the log it came from.

usage: formats.py THAW.PROTO LOG.CSV DATA MODEL TABLES
Beside NumPy only libxxhash is used, for XXH3; where it cannot be loaded, hashes are not checked.
"""
import csv
import ctypes
import math
import os
import re
import struct
import subprocess
import sys

import numpy as np

WEIGHTS = {"view": 1.0, "cart": 3.0, "buy": 5.0}

try:
    _xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    _xxh3.restype, _xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
except OSError:
    _xxh3 = None
    print("libxxhash.so.0 cannot be loaded: hashes are not checked")


def xxh3(data):
    return _xxh3(data, len(data))


# ---- protobuf: the schema's text and the wire format ----


def read_schema(path):
    """{message: {number: (name, type, repeated)}} and the set of enum names."""
    messages, enums, stack = {}, set(), []
    for line in open(path):
        line = line.split("//")[0]
        if m := re.match(r"\s*(message|enum)\s+(\w+)", line):
            stack.append(m[2])
            (messages.setdefault(m[2], {}) if m[1] == "message" else enums.add(m[2]))
        elif m := re.match(r"\s*(repeated\s+)?(\w+)\s+(\w+)\s*=\s*(\d+)\s*;", line):
            messages[stack[-1]][int(m[4])] = (m[3], m[2], bool(m[1]))
        elif "}" in line:
            stack.pop()
    return messages, enums


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, wire type, value, start, end) of each field."""
    at = 0
    while at < len(data):
        start = at
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = data[at : at + 8], at + 8
        elif wire == 2:
            n, at = varint(data, at)
            value, at = data[at : at + n], at + n
        else:
            raise ValueError(f"wire type {wire}")
        yield key >> 3, wire, value, start, at


def signed(v):
    return v - (1 << 64) if v >> 63 else v


def scalars(kind, wire, value):
    if kind in ("double", "fixed64"):
        return [struct.unpack("<d" if kind == "double" else "<Q", value[i : i + 8])[0] for i in range(0, len(value), 8)]
    if wire == 0:
        return [signed(value)]
    out, at = [], 0
    while at < len(value):
        v, at = varint(value, at)
        out.append(signed(v))
    return out


def decode(schema, message, data):
    messages, _ = schema
    out = {}
    for name, kind, repeated in messages[message].values():
        out[name] = [] if repeated else "" if kind == "string" else b"" if kind == "bytes" else 0
    for number, wire, value, _, _ in fields(data):
        name, kind, repeated = messages[message][number]
        if kind in messages and wire == 2:  # an enum inside a message may share its name with a message
            values = [decode(schema, kind, value)]
        elif kind == "string":
            values = [value.decode()]
        elif kind == "bytes":
            values = [value]
        else:
            values = scalars(kind, wire, value)
        out[name] = out[name] + values if repeated else values[-1]
    return out


def read_manifest(schema, message, folder):
    """The message and its digest, after its files' lengths and checksums."""
    raw = open(os.path.join(folder, "manifest.pb"), "rb").read()
    assert raw[:8] == b"THAWPB1\n"
    body = raw[16:]
    m = decode(schema, message, body)
    assert m["format"] == 1
    run = [number for number, (name, _, _) in schema[0][message].items() if name in ("run", "dataset")]
    digest = None
    if _xxh3:
        assert struct.unpack("<Q", raw[8:16])[0] == xxh3(body)
        digest = xxh3(b"".join(body[start:end] for number, _, _, start, end in fields(body) if number not in run))
    listed = {f["name"] for f in m["files"]} | {"manifest.pb", "quarantine.tsv"}
    assert set(os.listdir(folder)) <= listed, set(os.listdir(folder)) - listed
    for f in m["files"]:
        data = open(os.path.join(folder, f["name"]), "rb").read()
        assert len(data) == f["nbytes"], f["name"]
        chunks = range(0, len(data), 16 << 20)
        assert len(f["sums"]) == len(chunks)
        assert not _xxh3 or f["sums"] == [xxh3(data[i : i + (16 << 20)]) for i in chunks], f["name"]
    return m, digest


# ---- arrays ----


def aligned_header(data, at=0):
    """A .npy file begins at `at`, and its data at a multiple of 64."""
    assert data[at : at + 8] == b"\x93NUMPY\x01\x00"
    length = struct.unpack("<H", data[at + 8 : at + 10])[0]
    assert (at + 10 + length) % 64 == 0 and data[at + 9 + length] == ord("\n")


def load(folder, name, dtype):
    path = os.path.join(folder, name)
    aligned_header(open(path, "rb").read())
    a = np.load(path, allow_pickle=False)
    assert a.dtype.str == dtype or a.dtype.str.startswith(dtype), (name, a.dtype.str)
    return a


def load_shard(folder, name):
    path = os.path.join(folder, name)
    data = open(path, "rb").read()
    z = np.load(path, allow_pickle=False)
    for info in z.zip.infolist():
        assert info.compress_type == 0 and info.date_time[:3] == (1980, 1, 1)
        n, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
        aligned_header(data, info.header_offset + 30 + n + extra)
    return z


def part_name(side, part, parts, ext):
    return f"{side}-{part:05d}-of-{parts:05d}.{ext}"


def part_of(id_, parts):
    return (xxh3(id_) >> 32) * parts >> 32


# ---- the dataset against the log ----


def read_log(path):
    pairs, times = {}, {}
    with open(path, newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            key = (row["user"].encode(), row["item"].encode())
            pairs[key] = pairs.get(key, 0.0) + WEIGHTS[row["event"]] * float(row["value"])
            times[key] = max(times.get(key, 0), int(row["time"]))
    return pairs, times


def check_order(ids, degree, part, parts):
    keys = [(-int(d), i) for d, i in zip(degree, ids)]
    assert keys == sorted(keys), "rows are not by falling degree, then id"
    assert not _xxh3 or all(part_of(i, parts) == part for i in ids)


def check_dataset(folder, m, log):
    pairs, times = read_log(log)
    parts = m["parts"]
    shards = {s: [load_shard(folder, part_name(s, p, parts, "npz")) for p in range(parts)] for s in ("users", "items")}
    ids = {s: [i for z in shards[s] for i in z["ids"].tolist()] for s in shards}
    for side, other in (("users", "items"), ("items", "users")):
        found, found_times = {}, {}
        row = 0
        for p, z in enumerate(shards[side]):
            n, ptr = len(z["ids"]), z["indptr"]
            assert z["ids"].dtype.kind == "S" and ptr.dtype.str == "<i8" and z["indices"].dtype.str == "<u4"
            assert z["values"].dtype.str == "<f4" and z["times"].dtype.str == "<i8"
            assert len(ptr) == n + 1 and ptr[0] == 0 and ptr[-1] == len(z["indices"]) == m[side]["part_nnz"][p]
            assert n == m[side]["part_rows"][p]
            check_order(z["ids"].tolist(), np.diff(ptr), p, parts)
            for r in range(n):
                span = slice(ptr[r], ptr[r + 1])
                assert (np.diff(z["indices"][span].astype(np.int64)) > 0).all()
                for o, v, t in zip(z["indices"][span], z["values"][span], z["times"][span]):
                    key = (ids[side][row], ids[other][o])
                    key = key if side == "users" else key[::-1]
                    found[key], found_times[key] = float(v), int(t)
                row += 1
        assert found_times == times
        assert found.keys() == pairs.keys() and all(np.float32(pairs[k]) == found[k] for k in pairs)
    assert m["interactions"] == len(pairs)
    return shards, ids


def check_quarantine(folder):
    lines = open(os.path.join(folder, "quarantine.tsv"), encoding="utf-8").read().splitlines()
    assert len(lines) == 1, lines
    place, reason, text = lines[0].split("\t")
    assert place.endswith(":5") and reason == "number" and text == "u\\\\3,i9,view,many\\tx,5", lines


# ---- model and tables ----


def check_tables(folder, m, ids, shards, vectors):
    parts, at = m["parts"], 0
    names = [f["name"] for f in m["files"]]
    for side in ("users", "items"):
        row = 0
        for p in range(parts):
            exts = ["npy", "ids.npy", "index.npy", "degree.npy"] + (["seen_ptr.npy", "seen.npy"] if side == "users" else [])
            assert names[at : at + len(exts)] == [part_name(side, p, parts, e) for e in exts]
            at += len(exts)
            x = load(folder, part_name(side, p, parts, "npy"), "<f4")
            own = load(folder, part_name(side, p, parts, "ids.npy"), "|S").tolist()
            index = load(folder, part_name(side, p, parts, "index.npy"), "<u4")
            degree = load(folder, part_name(side, p, parts, "degree.npy"), "<i8")
            n = len(own)
            assert x.shape == (n, m["columns"]) and own == ids[side][row : row + n]
            assert np.array_equal(x, vectors[side][row : row + n])
            assert np.array_equal(degree, np.diff(shards[side][p]["indptr"]))
            assert len(index) == max(2, 1 << math.ceil(math.log2(max(2 * n, 1))))
            for place, id_ in enumerate(own if _xxh3 else []):
                slot = xxh3(id_) & (len(index) - 1)
                while index[slot] and index[slot] != place + 1:
                    slot = (slot + 1) % len(index)
                assert index[slot] == place + 1
            if side == "users":
                assert np.array_equal(load(folder, part_name(side, p, parts, "seen_ptr.npy"), "<i8"), shards[side][p]["indptr"])
                assert np.array_equal(load(folder, part_name(side, p, parts, "seen.npy"), "<u4"), shards[side][p]["indices"])
            row += n
    assert names[at] == "items.gramian.npy"
    at = check_attributes(folder, m, names, at + 1, shards["items"])
    check_models(m, names[at:])
    k = m["als"]["factors"]
    y = vectors["items"][:, :k].astype(np.float64)
    gramian = load(folder, "items.gramian.npy", "<f8")
    assert gramian.shape == (k, k) and np.allclose(gramian, y.T @ y, rtol=1e-5, atol=1e-6 * np.abs(gramian).max())
    return gramian


def check_attributes(folder, m, names, at, shards):
    """The columns of categorical and multi attributes of each item, behind the gramian."""
    named = [a for a in m["item_attributes"] if a["kind"] in (0, 1)]
    for p in range(m["parts"] if named else 0):
        exts = ["attributes_ptr.npy", "attributes.npy"]
        assert names[at : at + 2] == [part_name("items", p, m["parts"], e) for e in exts]
        at += 2
        ptr, columns = (load(folder, part_name("items", p, m["parts"], e), t) for e, t in zip(exts, ("<i8", "<u4")))
        z = shards[p]
        for r in range(len(z["ids"])):
            own = z["feature_indices"][z["feature_indptr"][r] : z["feature_indptr"][r + 1]]
            kept = [c for c in own if any(a["first_column"] <= c < a["first_column"] + a["columns"] for a in named)]
            assert kept == columns[ptr[r] : ptr[r + 1]].tolist()
        assert len(ptr) == len(z["ids"]) + 1 and ptr[0] == 0
    return at


def check_models(m, names):
    """The files of the cold-start models, by their manifests alone."""
    parts, want = m["parts"], []
    if m["prior"]:
        want += ["prior.user_weights.npy", "prior.user_precision.npy", "prior.user_covariance.npy"]
        want += ["prior.item_weights.npy"] if m["prior"]["item_features"] else []
        kept = ["factors", "mass", "indptr", "users"] if m["prior"]["types"] else []
        kept += ["profile_indptr", "profile_columns", "profile_values"] if kept and m["prior"]["user_features"] > m["prior"]["user_vector"] else []
        want += [f"prior.types_{name}.npy" for name in kept]
    if m["association"]:
        for n in m["association"]["known"]:
            for p in range(parts):
                want += [f"associate.n{n:03d}." + part_name("items", p, parts, f"{e}.npy") for e in ("indptr", "indices", "values")]
                if m["association"]["method"] == 0:
                    want.append(f"associate.n{n:03d}." + part_name("columns", p, parts, "npy"))
    if m["generator"]:
        want += ["generator.net.npy"] + ["generator." + part_name("items", p, parts, "npy") for p in range(parts)]
    assert sorted(names) == sorted(want), set(names) ^ set(want)
    assert all(not m[x] or m[x]["dataset_digest"] == m["dataset_digest"] for x in ("prior", "association", "generator", "blend"))


def strength(als, r):
    return np.log2(1 + r) if als["strength"] == 1 else np.ones_like(r) if als["strength"] == 2 else r


def fold_in(als, y, gramian, rows, r):
    """docs/formats.md, section 4.1."""
    k, n = als["factors"], len(rows)
    if als["model"] == 2:
        z = np.hstack([y[rows, :k], np.ones((n, 1))]) if als["biases"] else y[rows]
        target = r - als["mean"] - (y[rows, k] if als["biases"] else 0)
        return np.linalg.solve(als["regularization"] * n * np.eye(z.shape[1]) + z.T @ z, z.T @ target)
    w = als["alpha"] * strength(als, r)
    lam = als["regularization"] * (n + als["unobserved_weight"] * len(y)) ** als["reg_exponent"]
    z = y[rows]
    c = w + als["unobserved_weight"] if als["model"] == 0 else w
    return np.linalg.solve(als["unobserved_weight"] * gramian + lam * np.eye(k) + z.T @ (w[:, None] * z), z.T @ c)


def check_export(tables, ids, vectors):
    """The text of every number reads back as the same float."""
    for side in ("users", "items"):
        out = subprocess.run(["thaw-lookup", "export", tables, "--kind", side], check=True, capture_output=True).stdout
        rows = list(csv.reader(out.decode().splitlines()))[1:]
        assert [r[0].encode() for r in rows] == ids[side]
        assert np.array_equal(np.array([r[1:] for r in rows]).astype(np.float32), vectors[side])


def check_held_out(als, shards, vectors, gramian):
    """Held-out users of a finished model are fold-ins of all they did; with a hold-out of a fifth, about that many."""
    y, row, same = vectors["items"].astype(np.float64), 0, 0
    for z in shards["users"]:
        for a, b in zip(z["indptr"], z["indptr"][1:]):
            x = fold_in(als, y, gramian, z["indices"][a:b], z["values"][a:b].astype(np.float64))
            same += np.allclose(x, vectors["users"][row], rtol=1e-3, atol=1e-4)
            row += 1
    assert same >= row * als["holdout"] / 3, (same, row)


def scores_of(als, x, y):
    k = als["factors"]
    s = y[:, :k] @ x[:k]
    if als["model"] == 2:
        s = s + als["mean"] + (x[k] + y[:, k] if als["biases"] else 0)
    return s


def tool(tables, *words):
    out = subprocess.run(["thaw-lookup", "recommend", tables, *words], check=True, capture_output=True, text=True).stdout
    return [(line.split("\t")[2].encode(), float(line.split("\t")[3])) for line in out.splitlines()]


def check_hits(hits, ids, scores, seen, count):
    allowed = np.array([i for i in range(len(scores)) if i not in seen])
    assert len(hits) == min(count, len(allowed)), hits
    best = np.sort(scores[allowed])[::-1]
    for rank, (item, score) in enumerate(hits):
        row = ids["items"].index(item)
        assert row not in seen and abs(scores[row] - score) < 2e-5 and abs(best[rank] - score) < 2e-5, (item, score)


def check_lookups(tables, m, ids, shards, vectors, gramian):
    als, y = m["als"], vectors["items"].astype(np.float64)
    seen = [set(z["indices"][a:b].tolist()) for z in shards["users"] for a, b in zip(z["indptr"], z["indptr"][1:])]
    for row in range(0, len(ids["users"]), 7):
        user = ids["users"][row].decode()
        scores = scores_of(als, vectors["users"][row].astype(np.float64), y)
        check_hits(tool(tables, f"--user={user}", "-k", "5"), ids, scores, seen[row], 5)
    plain = [r for r, i in enumerate(ids["items"]) if b"," not in i]
    rows, r = plain[1:7:2], np.array([1.0, 4.0, 2.5])
    history = ",".join(ids["items"][i].decode() for i in rows)
    x = fold_in(als, y, gramian, rows, r)
    hits = tool(tables, f"--history={history}", "--strengths=1,4,2.5", "--method=fold-in", "-k", "6")
    check_hits(hits, ids, scores_of(als, x, y), set(rows), 6)


def main():
    proto, log, data, model, tables = sys.argv[1:]
    schema = read_schema(proto)
    dataset, dataset_digest = read_manifest(schema, "Dataset", data)
    shards, ids = check_dataset(data, dataset, log)
    check_quarantine(data)

    folder = os.path.join(model, os.readlink(os.path.join(model, "current")))
    trained, model_digest = read_manifest(schema, "Model", folder)
    assert trained["dataset_digest"] == dataset_digest or not _xxh3
    vectors = {}
    for side in ("users", "items"):
        parts = [load(folder, part_name(side, p, dataset["parts"], "npy"), "<f4") for p in range(dataset["parts"])]
        assert [len(x) for x in parts] == dataset[side]["part_rows"] == trained[side]["part_rows"]
        vectors[side] = np.concatenate(parts)

    version = os.path.join(tables, os.readlink(os.path.join(tables, "current")))
    m, _ = read_manifest(schema, "Tables", version)
    assert not _xxh3 or (m["dataset_digest"], m["model_digest"]) == (dataset_digest, model_digest)
    assert m["als"] == trained["als"] and m["interactions"] == dataset["interactions"]
    gramian = check_tables(version, m, ids, shards, vectors)
    check_export(tables, ids, vectors)
    check_held_out(m["als"], shards, vectors, gramian)
    check_lookups(tables, m, ids, shards, vectors, gramian)
    print(f"{len(ids['users'])} users, {len(ids['items'])} items, {dataset['interactions']} interactions: all as specified")


if __name__ == "__main__":
    main()
