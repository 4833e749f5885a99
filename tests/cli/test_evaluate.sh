#!/usr/bin/env bash
# thaw evaluate on a synthetic log: the same bytes on any ranks and threads, and the numbers NumPy finds from the files.
# labels: evaluate
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy

thaw synth -q --out log --users 500 --items 120 --interactions 16000 >/dev/null
thaw prepare -q --events log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 \
    --out data --parts 5 >/dev/null
thaw train -q --data data --out implicit --factors 8 --iterations 4 --holdout-users 0.3 >/dev/null

# ---- Ranks and threads ----
evaluate() { # RANKS THREADS OPTIONS...
    local n=$1 t=$2
    shift 2
    mpirun -n "$n" thaw evaluate -q --data data --model implicit --known 1,3 --cutoffs 5,10 --replicates 200 --threads "$t" "$@"
}
evaluate 1 1 --out copy >1.txt
cmp 1.txt copy
for n in 1 2 3 4; do
    evaluate $n 2 >"$n.txt"
    cmp 1.txt "$n.txt" || fail "the results of $n ranks differ"
done
evaluate 1 1 --format csv >1.csv
THAW_MPI_COUNT_MAX=64 evaluate 3 1 --format csv | cmp - 1.csv
[ "$(wc -l <1.csv)" = 25 ] || fail "2 known x 2 cutoffs x 6 metrics and a header were expected: $(cat 1.csv)"
evaluate 1 1 --order random --format csv | cmp -s - 1.csv && fail "a random order gives what time gives"
evaluate 1 1 --format jsonl | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert len(rows) == 24
for r in rows:
    assert r["model_low"] <= r["model"] <= r["model_high"], r
    assert abs(r["model"] - r["baseline"] - r["difference"]) < 1e-8, r'

# ---- Users that training watched are not measured, unless asked for ----
thaw train -q --data data --out watched --factors 4 --iterations 2 --holdout-users 0.3 --quality-every 1 >/dev/null
users() { # OPTIONS...: how many are measured
    thaw evaluate -q --data data --model watched --known 2 --cutoffs 5 --format csv "$@" | sed -n 2p | cut -d, -f4
}
test=$(users) validation=$(users --set validation) all=$(users --set all)
[ "$test" -gt 0 ] && [ "$validation" -gt 0 ] && [ $((test + validation)) = "$all" ] && [ "$(users --set test)" = "$test" ] ||
    fail "$test test and $validation validation users make $all"

# ---- Against NumPy: listed users, all metrics ----
cat >check.py <<'END'
import csv, glob, subprocess, sys
import numpy as np
kind = sys.argv[1]
def parts(side):
    return [np.load(f) for f in sorted(glob.glob(f'data/{side}-*.npz'))]
users, items = parts('users'), parts('items')
uid = [i.decode() for p in users for i in p['ids']]
iid = [i.decode() for p in items for i in p['ids']]
X = np.zeros((len(uid), len(iid)))
row = 0
for p in users:
    for r in range(len(p['ids'])):
        a, b = p['indptr'][r], p['indptr'][r + 1]
        X[row, p['indices'][a:b].astype(int)] = p['values'][a:b]
        row += 1
if kind == 'list':
    rng = np.random.default_rng(5)
    good = [u for u in range(len(uid)) if (X[u] > 0).sum() > 7]
    with open('list', 'w') as f:
        for u in rng.choice(good, 60, replace=False):
            print(uid[u], 'test', *(iid[i] for i in rng.permutation(np.nonzero(X[u])[0])[:5]), file=f)
    sys.exit()
listed = [line.split() for line in open('list')]
held = np.array([uid.index(w[0]) for w in listed])
pool = np.array([[iid.index(i) for i in w[2:]] for w in listed])
train = np.setdiff1d(np.arange(len(uid)), held)
degree = (X[train] > 0).sum(axis=0)
Y = np.concatenate([np.load(f) for f in sorted(glob.glob(f'{kind}/current/items-*.npy'))]).astype(float)
truth = X[held] > 0
np.put_along_axis(truth, pool, False, axis=1)
got = {(int(r['known']), r['metric'], int(r['cutoff']), r['baseline_name']): r for r in csv.DictReader(sys.stdin)}
def check(row, column, value):
    assert abs(float(row[column]) - value) < 2e-5 * (1 + abs(value)), (row, column, value)
def measure(scores, c):
    scores = scores.copy()
    np.put_along_axis(scores, pool, -np.inf, axis=1)
    top = np.argsort(-scores, axis=1, kind='stable')[:, :c]
    hit = np.take_along_axis(truth, top, axis=1)
    n = np.minimum(c, truth.sum(axis=1))
    discount = 1 / np.log2(np.arange(c) + 2)
    precision = np.cumsum(hit, axis=1) / np.arange(1, c + 1)
    return {'NDCG': (hit @ discount / np.cumsum(discount)[n - 1]).mean(), 'Recall': (hit.sum(axis=1) / n).mean(),
            'HR': hit.any(axis=1).mean(), 'MAP': ((hit * precision).sum(axis=1) / n).mean(),
            'Novelty': -np.log2(np.maximum(degree[top], 1) / len(train)).mean(), 'Coverage': len(np.unique(top)) / len(iid)}
for n in 2, 5:
    known = np.zeros_like(X[held])
    np.put_along_axis(known, pool[:, :n], np.take_along_axis(X[held], pool[:, :n], axis=1), axis=1)
    if kind == 'listed':
        k, a0, lam = Y.shape[1], 0.1, 0.01
        U = np.stack([np.linalg.solve(a0 * Y.T @ Y + (Y.T * w) @ Y + lam * (n + a0 * len(Y)) * np.eye(k), w @ Y) for w in known])
        for c in 5, 10:
            for metric, value in measure(U @ Y.T, c).items():
                check(got[n, metric, c, 'popularity'], 'model', value)
            for metric, value in measure(np.tile(degree.astype(float), (len(held), 1)), c).items():
                check(got[n, metric, c, 'popularity'], 'baseline', value)
    else:
        values = X[train][X[train] > 0]
        mean = values.mean()
        item_mean = X[train].sum(axis=0) / np.maximum(degree, 1)
        item_mean[degree == 0] = mean
        plain = kind == 'plain' # neither mean nor biases
        V, b = (Y, 0 * Y[:, 0]) if plain else (Y[:, :-1], Y[:, -1])
        Z = V if plain else np.concatenate([V, np.ones((len(V), 1))], axis=1)
        base = 0 if plain else mean
        error = []
        for u in range(len(held)):
            S = np.nonzero(known[u])[0]
            x = np.linalg.solve(Z[S].T @ Z[S] + 0.05 * n * np.eye(Z.shape[1]), Z[S].T @ (known[u, S] - base - b[S]))
            T = np.nonzero(truth[u])[0]
            error += [(X[held[u], i] - base - b[i] - Z[i] @ x, X[held[u], i] - mean, X[held[u], i] - item_mean[i]) for i in T]
        error = np.array(error)
        for metric, f in ('RMSE', lambda e: np.sqrt((e ** 2).mean())), ('MAE', lambda e: np.abs(e).mean()):
            for j, name in (1, 'mean'), (2, 'item mean'):
                check(got[n, metric, 0, name], 'model', f(error[:, 0]))
                check(got[n, metric, 0, name], 'baseline', f(error[:, j]))
END
python3 check.py list
thaw train -q --data data --out listed --factors 8 --iterations 3 --strength raw --alpha 1 --unobserved-weight 0.1 \
    --regularization 0.01 --holdout-list list >/dev/null
for model in ratings plain; do
    thaw train -q --data data --out "$model" --model explicit --factors 4 --iterations 3 --regularization 0.05 \
        --biases "$([ $model = plain ] && echo no || echo yes)" --holdout-list list >/dev/null
done
for model in listed ratings plain; do
    thaw evaluate -q --data data --model "$model" --known 2,5 --cutoffs 5,10 --known-list list --format csv |
        python3 check.py $model || fail "NumPy finds other numbers for $model"
done
mpirun -n 3 thaw evaluate -q --data data --model ratings --known 2,5 >a
thaw evaluate -q --data data --model ratings --known 2,5 | cmp - a

# ---- Refusals ----
thaw train -q --data data --out all --factors 2 --iterations 1 >/dev/null
refused 65 --holdout-users thaw evaluate --data data --model all
refused 65 "--known" thaw evaluate --data data --model implicit --known 1000
refused 64 known thaw evaluate --data data --model implicit --known none
refused 66 nothing thaw evaluate --data data --model nothing
thaw prepare -q --events log/events-*.csv --columns user,item,-,-,- --out other --parts 5 >/dev/null
refused 65 "another dataset" thaw evaluate --data other --model implicit
