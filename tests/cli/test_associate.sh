#!/usr/bin/env bash
# thaw associate: what it writes, against NumPy's dense solution, on one rank and on three; who is held out; refusals.
# labels: associate
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy

thaw synth --out log --users 400 --items 150 --interactions 9000 --quiet >/dev/null
thaw prepare --events log/events-*.csv --out data --event-weights view=1,cart=3,buy=5 --parts 7 \
    --users log/users.csv --user-attributes "$(head -1 log/users.csv | tr , '\n' | sed '2,$s/$/:categorical/' | paste -sd,)" --quiet >/dev/null
thaw train --data data --out model --holdout-users 0.2 --factors 4 --iterations 1 --quiet >/dev/null
associate=(thaw associate --data data --quiet)

cat >check.py <<'PY'
import glob, sys
import numpy as np
method, out, held_out, most = sys.argv[1], sys.argv[2], set(open(sys.argv[3]).read().split()), int(sys.argv[4])
numbers = [(int(n), float(r)) for n, r in (word.split(":") for word in sys.argv[5:])]
users = [np.load(f) for f in sorted(glob.glob("data/users-*.npz"))]
items = sum(len(np.load(f)["ids"]) for f in glob.glob("data/items-*.npz"))
rows, profiles = [], []
features = 1 + max(int(p["feature_indices"].max(initial=0)) for p in users)
for p in users:
    for r, user in enumerate(p["ids"].astype(str)):
        x, f = np.zeros(items), np.zeros(1 + features)
        x[p["indices"][p["indptr"][r]:p["indptr"][r + 1]]] = 1
        f[0] = 1
        s = slice(p["feature_indptr"][r], p["feature_indptr"][r + 1])
        f[1 + p["feature_indices"][s].astype(int)] = p["feature_values"][s]
        if user not in held_out and x.any():
            rows.append(x)
            profiles.append(f)
X, F = np.array(rows), np.array(profiles)
L = X.sum(axis=1)
def weighted(w):
    return (X * w[:, None]).T @ X
def expect(n, ridge):
    if method == "knn":
        G = X.T @ X
        B = G / (np.sqrt(np.outer(G.diagonal(), G.diagonal())) + ridge + 1e-300)
        np.fill_diagonal(B, 0)
        return B, None
    if method == "ease":
        P = np.linalg.inv(X.T @ X + ridge * np.eye(items))
        B = P / -P.diagonal()
        np.fill_diagonal(B, 0)
        return B, None
    N, pairs = np.minimum(n, L - 1), np.maximum(L * (L - 1), 1)
    A = np.zeros((items + 1 + features,) * 2)
    A[:items, :items] = weighted(N * (N - 1) / pairs)
    A[range(items), range(items)] = X.T @ (N / L) + ridge
    A[items:, :items] = F.T @ (X * (N / L)[:, None])
    A[:items, items:] = A[items:, :items].T
    A[items:, items:] = F.T @ F + 60 * np.eye(1 + features)
    Y = np.zeros((len(A), items))
    Y[:items] = weighted(N * (L - N) / pairs)
    Y[range(items), range(items)] = 0
    Y[items:] = F.T @ (X * (1 - N / L)[:, None])
    W = np.linalg.solve(A, Y)
    return W[:items], W[items:]
for n, ridge in numbers:
    B, C = expect(n, ridge)
    got, at, kept = np.zeros((items, items)), 0, np.zeros((items, items), bool)
    for f in sorted(glob.glob(f"{out}/associate.n{n:03d}.items-*.indptr.npy")):
        ptr, index, value = np.load(f), np.load(f.replace("indptr", "indices")), np.load(f.replace("indptr", "values"))
        assert index.dtype == np.uint32 and value.dtype == np.float32 and ptr[-1] == len(index) == len(value)
        for r in range(len(ptr) - 1):
            s = slice(ptr[r], ptr[r + 1])
            assert (np.diff(index[s].astype(int)) > 0).all() and len(index[s]) <= (most or items)
            got[at, index[s]] = value[s]
            kept[at, index[s]] = True
            at += 1
    assert at == items, (at, items)
    assert abs(got - B)[kept].max(initial=0) < 2e-5, abs(got - B)[kept].max()
    weakest = np.where(kept, abs(B), np.inf).min(axis=1) # no one left out is stronger than one kept
    left = np.where(kept, 0, abs(B)).max(axis=1)
    full = kept.sum(axis=1) == (most or items)
    assert (left[full] <= weakest[full] + 2e-5).all() and left[~full].max(initial=0) < 2e-5
    if method == "episodic":
        c = np.concatenate([np.load(f) for f in sorted(glob.glob(f"{out}/associate.n{n:03d}.profile-*.npy"))])
        assert c.dtype == np.float32 and abs(c.T - C).max() < 2e-5, abs(c.T - C).max()
PY
# The users that training leaves out, as thaw evaluate counts them: those whose rows of the model are folded in.
python3 - <<'PY' >ids.txt
import glob, numpy as np
for f in sorted(glob.glob("data/users-*.npz")):
    print("\n".join(np.load(f)["ids"].astype(str)))
PY
awk 'NR % 5 == 2' ids.txt >listed.txt
: >nobody.txt

# Every method on one rank and on three; the same gramian, the same answer to rounding.
for n in 1 3; do
    ranks $n "${associate[@]}" --out episodic --holdout-list listed.txt --neighbors all --block 16 --force >out.txt
    grep -q 'episodic association of 14[0-9] items' out.txt || fail "reported: $(cat out.txt)"
    python3 check.py episodic episodic listed.txt 0 0:5 1:0.5 3:1 5:2 10:5
    ranks $n "${associate[@]}" --out few --known 2,7 --regularization 3 4 --neighbors 20 --precision double --block 32 --force >/dev/null
    python3 check.py episodic few nobody.txt 20 2:3 7:4
    ranks $n "${associate[@]}" --out ease --method ease --regularization 50 --neighbors all --block 16 --force >/dev/null
    python3 check.py ease ease nobody.txt 0 0:50
    ranks $n "${associate[@]}" --out knn$n --method knn --regularization 10 --neighbors 30 --block 16 --force >/dev/null
    python3 check.py knn knn$n nobody.txt 30 0:10
done
for f in knn1/*.npy; do cmp "$f" "knn3/${f##*/}" || fail "similarities need no solution, but differ between 1 and 3 ranks"; done

# A model says who is held out: as the same draw by hand does.
"${associate[@]}" --out by_model --known 3 --model model >/dev/null
"${associate[@]}" --out by_draw --known 3 --holdout-users 0.2 >/dev/null
"${associate[@]}" --out everyone --known 3 >/dev/null
for f in by_model/*.npy; do cmp "$f" "by_draw/${f##*/}" || fail "the model's held-out users are others"; done
cmp -s by_model/associate.n003.items-00000-of-00007.values.npy everyone/associate.n003.items-00000-of-00007.values.npy && fail "nobody is held out"
"${associate[@]}" --out plain --known 3 --profiles no --format jsonl >out
grep -q '"known":3,"regularization":1,.*"features":0' out || fail "without profiles"
# The same bits for any threads of the gramian, and the check of the solution is told.
thaw associate --data data --out again --method knn --regularization 10 --neighbors 30 --threads 2 --quiet >/dev/null
for f in knn1/*.npy; do cmp "$f" "again/${f##*/}" || fail "other similarities on two threads"; done
thaw associate --data data --out told --known 3 2>err >/dev/null
grep -q 'relative residual [0-9.]*e-' err || fail "no residual: $(cat err)"

# Refusals; what is there stays.
expect 64 "${associate[@]}" --out knn1
grep -q 'holds an association already' err || fail "$(cat err)"
expect 64 "${associate[@]}" --out x --known 3,1
expect 64 "${associate[@]}" --out x --known 1.5
expect 64 "${associate[@]}" --out x --known 1,
expect 64 "${associate[@]}" --out x --known 1,2,3 --regularization 1 2
expect 64 "${associate[@]}" --out x --neighbors 0
expect 64 "${associate[@]}" --out x --power 0.5
expect 64 "${associate[@]}" --out x --model model --holdout-users 0.1
expect 66 "${associate[@]}" --out x --model nothing
expect 66 thaw associate --data nothing --out x
[ ! -e x ] && [ ! -e x.tmp ] || fail "a refused command left something"
got=0
ranks 2 "${associate[@]}" --out x --memory 50K >out 2>err || got=$?
[ $got = 71 ] || fail "too little memory ends with $got: $(cat err)"
grep -q '14[0-9] items and [0-9]* features need .* on each of 2 ranks, and a rank may take 50.0 KiB (--memory): [0-9]* ranks' err || fail "$(cat err)"
[ ! -e x ] && [ ! -e x.tmp ] || fail "a refused command left something"
