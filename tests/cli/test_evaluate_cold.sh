#!/usr/bin/env bash
# thaw evaluate for cold users on a synthetic log: baselines against NumPy, the same numbers on any ranks, tuning on
# validation users alone, the study in one command, two versions of the tables, and what is refused.
# labels: evaluate
# cost: 50
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy

thaw synth -q --out log --users 500 --items 90 --interactions 14000 --profile-strength 2 >/dev/null
thaw prepare -q --events log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 \
    --users log/users.csv --user-attributes gender:categorical,age:categorical --out data --parts 5 >/dev/null
thaw train -q --data data --out model --factors 8 --iterations 4 --strength binary --unobserved-weight .2 \
    --regularization .02 --holdout-users 0.4 >/dev/null
thaw prior -q --data data --model model --out prior >/dev/null
thaw associate -q --data data --model model --out association --method episodic --known 0,1,3 \
    --neighbors all >/dev/null
for seed in 1 2; do
    thaw augment -q --data data --model model --out "generator$seed" --steps 20 --batch 32 --hidden 16 \
        --noise 4 --seed $seed >/dev/null
done
thaw augment -q --data data --model model --out plain --steps 20 --batch 32 --hidden 16 --adversary 0 \
    --latent-loss 0 >/dev/null

evaluate() { # RANKS OPTIONS...
    local n=$1
    shift
    mpirun -n "$n" thaw evaluate -q --data data --model model --known 0,1,3 --cutoffs 5,10 --replicates 100 \
        --cell-fields gender+age "$@"
}
models=(--prior prior --association association --generator generator1 generator2
    --without-adversary plain)

# ---- Every method, on any ranks ----
evaluate 1 "${models[@]}" --format csv >1.csv
for n in 2 3 4; do
    evaluate $n "${models[@]}" --format csv >"$n.csv"
    # What a process grid fits agrees to rounding; all else is the same bytes.
    for f in 1 $n; do grep -vE '^(EASE|E|ensemble[a-z ]*),' "$f.csv" >"$f.exact"; done
    cmp 1.exact "$n.exact" || fail "the results of $n ranks differ"
done
[ ! -e model.evaluate ] || fail "the folder of fitted baselines is still there"
python3 - <<'END'
import csv, sys
rows = [list(csv.DictReader(open(f'{n}.csv'))) for n in range(1, 5)]
methods = {r['method'] for r in rows[0]}
expected = {'popularity', 'cells', 'knn', 'EASE', 'iALS', 'P', 'E', 'G', 'T', 'ensemble', 'virtual', 'G without adversary',
            'ensemble without adversary'}
assert methods == expected, methods ^ expected
assert len(rows[0]) == (10 * 3 + 3 * 2) * 2 * 6, len(rows[0])
for other in rows[1:]:
    for a, b in zip(rows[0], other):
        assert a['method'] == b['method'] and abs(float(a['value']) - float(b['value'])) < .01, (a, b)
get = {(r['method'], r['known'], r['metric'], r['cutoff']): r for r in rows[0]}
for (method, known, metric, cutoff), r in get.items():
    value = float(r['value'])
    assert metric == 'Coverage' or float(r['value_low']) <= value <= float(r['value_high']), r
    assert r['reference'] == ('' if method == ('popularity' if known == '0' else 'iALS') else
                              'popularity' if known == '0' else 'iALS'), r
    if r['reference']:
        assert abs(value - float(get[r['reference'], known, metric, cutoff]['value']) - float(r['difference'])) < 1e-9, r
    if method in ('G', 'ensemble'):
        without = float(get[method + ' without adversary', known, metric, cutoff]['value'])
        assert abs(value - without - float(r['adversary'])) < 1e-9 and r['seeds'] == '2', r
        assert metric == 'Coverage' or float(r['seed_deviation']) >= 0, r
    elif method != 'virtual':
        assert not r['adversary'] and not r['seed_deviation'], r
END
evaluate 1 --methods P --prior prior --format jsonl | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert {r["method"] for r in rows} == {"popularity", "cells", "knn", "EASE", "iALS", "P"}
assert all(r["adversary"] is None for r in rows)'
evaluate 1 --methods P --prior prior >text
grep -q '^NDCG@10 - iALS (1)' text || fail "the table has no differences"

# ---- Baselines against NumPy, users and known items listed ----
cat >check.py <<'END'
import csv, glob, sys
import numpy as np
def parts(side):
    return [np.load(f) for f in sorted(glob.glob(f'data/{side}-*.npz'))]
users, items = parts('users'), parts('items')
uid = [i.decode() for p in users for i in p['ids']]
iid = [i.decode() for p in items for i in p['ids']]
X, F = np.zeros((len(uid), len(iid))), []
row = 0
for p in users:
    for r in range(len(p['ids'])):
        X[row, p['indices'][p['indptr'][r]:p['indptr'][r + 1]].astype(int)] = 1
        F.append(tuple(p['feature_indices'][p['feature_indptr'][r]:p['feature_indptr'][r + 1]]))
        row += 1
F = np.array([hash(f) for f in F])
if sys.argv[1] == 'list':
    rng = np.random.default_rng(5)
    good = [u for u in range(len(uid)) if X[u].sum() > 7]
    chosen = rng.permutation(good)[:len(good) * 2 // 3]
    with open('list', 'w') as f:
        for i, u in enumerate(chosen):
            print(uid[u], 'test' if i < len(chosen) * 3 // 5 else 'val', *(iid[i] for i in rng.permutation(np.nonzero(X[u])[0])[:5]), file=f)
    sys.exit()
listed = [line.split() for line in open('list')]
held = np.array([uid.index(w[0]) for w in listed])
train = np.setdiff1d(np.arange(len(uid)), held)
test = [i for i, w in enumerate(listed) if w[1] == 'test']
pool = np.array([[iid.index(i) for i in listed[t][2:]] for t in test])
truth = X[held[test]] > 0
np.put_along_axis(truth, pool, False, axis=1)
T = X[train]
p = T.sum(axis=0)
def ndcg(scores, c=10):
    scores = np.array(scores, dtype=np.float32)
    np.put_along_axis(scores, pool, -np.inf, axis=1)
    hits = np.take_along_axis(truth, np.argsort(-scores, axis=1, kind='stable')[:, :c], axis=1)
    discount = 1 / np.log2(np.arange(c) + 2)
    return ((hits @ discount) / np.cumsum(discount)[np.minimum(c, truth.sum(axis=1)) - 1]).mean()
def cells(s):
    q = p / len(train)
    rows = []
    for t in test:
        same = F[train] == F[held[t]]
        rows.append(np.log((T[same].sum(axis=0) + s * q) / (same.sum() + s) + 1e-6))
    return rows
def known(n):
    K = np.zeros((len(test), len(iid)))
    np.put_along_axis(K, pool[:, :n], 1, axis=1)
    return K
def knn(n, shrink, power):
    S = T.T @ T / (np.outer(p, p) ** power + shrink + 1e-9)
    np.fill_diagonal(S, 0)
    return known(n) @ S
def ease(n, ridge):
    P = np.linalg.inv(T.T @ T + ridge * np.eye(len(p)))
    B = P / -np.diag(P)
    np.fill_diagonal(B, 0)
    return known(n) @ B
expect = {('popularity', n): np.tile(p, (len(test), 1)) for n in (0, 1, 3)}
expect.update({('cells', n): cells(30) for n in (0, 1, 3)})
expect.update({('knn', 1): knn(1, 100, .25), ('knn', 3): knn(3, 100, .5), ('EASE', 1): ease(1, 1e5), ('EASE', 3): ease(3, 1e5)})
got = {(r['method'], int(r['known'])): float(r['value']) for r in csv.DictReader(open('list.csv'))
       if r['metric'] == 'NDCG' and r['cutoff'] == '10'}
for key, scores in expect.items():
    # Equal and nearly equal scores may change places between float and double.
    assert abs(got[key] - ndcg(scores)) < (1e-9 if key[0] == 'popularity' else 2e-3), (key, got[key], ndcg(scores))
END
python3 check.py list
thaw train -q --data data --out listed --factors 8 --iterations 3 --strength binary --unobserved-weight .2 \
    --regularization .02 --holdout-list list >/dev/null
listed=(thaw evaluate -q --data data --model listed --known 0,1,3 --pool 5 --cutoffs 10 --cold-list list
    --cell-fields gender+age --replicates 50)
"${listed[@]}" --methods all --format csv >list.csv
python3 check.py check

# ---- Tuning: on validation users alone; what it writes gives the same again ----
thaw prior -q --data data --model listed --out listed-prior >/dev/null
"${listed[@]}" --prior listed-prior --methods P,ensemble --tune --blend-out blend.pb --format csv \
    --picture picture.svg >tuned.csv 2>tuned.err
"${listed[@]}" --prior listed-prior --methods P,ensemble --blend blend.pb --format csv | cmp - tuned.csv
# (--search: Open MPI takes every --tune on its command line for its own.)
mpirun -n 3 "${listed[@]}" --prior listed-prior --methods P,ensemble --search --blend-out blend3.pb >/dev/null
cmp blend.pb blend3.pb || fail "the numbers chosen by 3 ranks differ"
sed -i 's/ test / others /' list # validation users alone decide
"${listed[@]}" --prior listed-prior --methods P,ensemble --tune --set others --blend-out others.pb >/dev/null
cmp blend.pb others.pb || fail "the name of the measured set changed what is chosen"
[ -s picture.svg.dat ] && [ -s picture.svg.gp ] || fail "no data beside the picture"
if command -v gnuplot >/dev/null; then
    grep -q '</svg>' picture.svg || fail "no picture"
else
    grep -q 'gnuplot is not installed' tuned.err || fail "nothing said about gnuplot"
fi

# ---- One command ----
thaw evaluate -q --data data --cold-users 0.3 --known 0,2 --cutoffs 10 --replicates 20 --work work \
    --methods P,E --format csv >study.csv
[ "$(grep -c '^E,.*' study.csv)" = 12 ] || fail "the study in one command has no E: $(cat study.csv)"
[ -s work/model/current/manifest.pb ] && [ -s work/prior/manifest.pb ] && [ ! -e work/generator ]
thaw evaluate -q --data data --cold-users 0.3 --known 0,2 --cutoffs 10 --replicates 20 --work work \
    --methods P,E --format csv | cmp - study.csv

# ---- Two versions of the tables ----
thaw tables -q --data data --model model --out a >/dev/null
thaw train -q --data data --out other --factors 4 --iterations 2 --strength binary --unobserved-weight .2 \
    --regularization .02 --holdout-users 0.4 >/dev/null
thaw tables -q --data data --model other --out b >/dev/null
against() { # RANKS TABLES AGAINST OPTIONS...
    local n=$1 a=$2 b=$3
    shift 3
    mpirun -n "$n" thaw evaluate -q --data data --tables "$a" --against "$b" --known 1,3 --cutoffs 5,10 \
        --replicates 50 --format csv "$@"
}
against 1 a a >same.csv
against 1 a b >pair.csv
against 3 a b | cmp - pair.csv
python3 - <<'END'
import csv, sys
same, pair = ([r for r in csv.DictReader(open(f'{name}.csv'))] for name in ('same', 'pair'))
assert any(r['segment'].startswith('gender=') for r in pair)
for r in same:
    assert float(r['tables' if 'Change' in r['metric'] else 'difference']) == 0, r
changed = [r for r in pair if r['segment'] == 'all' and r['metric'] == 'Changed']
assert len(changed) == 2 and all(0 < float(r['tables']) < 1 for r in changed), changed
for known in '13':
    all_ = next(r for r in pair if r['known'] == known and r['segment'] == 'all' and r['metric'] == 'NDCG' and r['cutoff'] == '10')
    parts = [r for r in pair if r['known'] == known and r['segment'].startswith('gender=') and r['metric'] == 'NDCG']
    n = sum(float(r['users']) for r in parts)
    if n == float(all_['users']): # everybody has a gender
        mean = sum(float(r['users']) * float(r['difference']) for r in parts) / n
        assert abs(mean - float(all_['difference'])) < 1e-9, (mean, all_)
END

# ---- What is refused ----
evaluate=(thaw evaluate -q --data data)
model=("${evaluate[@]}" --model model --known 1)
refused 64 'model is missing' "${evaluate[@]}"
refused 64 'none of popularity' "${model[@]}" --methods wrong
refused 64 '--prior is missing' "${model[@]}" --methods P
refused 64 "no field 'zip'" "${model[@]}" --methods cells --cell-fields zip
refused 64 'with an adversary' "${model[@]}" --methods G --generator generator1 --without-adversary generator2
refused 65 'another model' "${evaluate[@]}" --model other --known 1 --prior prior
refused 65 'another model' "${evaluate[@]}" --model other --known 1 --association association
thaw associate -q --data data --out leaky --method episodic --known 1 >/dev/null
refused 65 'those to be measured too' "${model[@]}" --association leaky
refused 66 'no prior here' "${model[@]}" --prior nowhere
refused 64 'ends in .svg' "${model[@]}" --methods popularity --picture x.gif
refused 64 'give --tables' "${evaluate[@]}" --against a
refused 64 'give --against' "${evaluate[@]}" --tables a

# ---- Models and numbers of something else: for evaluations and for tables; numbers are taken when someone insists ----
thaw prepare -q --events log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 \
    --out foreign-data --parts 5 >/dev/null
thaw train -q --data foreign-data --out foreign --factors 4 --iterations 1 --strength binary --holdout-users 0.4 >/dev/null
foreign=(thaw evaluate --data foreign-data --model foreign --known 1 --cutoffs 10 --replicates 20 --methods popularity
    --blend blend.pb)
refused 65 'another dataset.*--force' "${foreign[@]}" -q
expect 0 "${foreign[@]}" --force
says 'warning: .*blend.pb: tuned on another dataset'
tables=(ranks 2 thaw tables --model foreign --out forced)
refused 65 'tuned on a dataset of digest .*--force' "${tables[@]}" --blend blend.pb
[ ! -e forced ] || fail "refused tables left something"
expect 0 "${tables[@]}" --blend blend.pb --force
says 'warning: .*blend.pb was tuned on another dataset'
thaw-lookup check forced >/dev/null
thaw associate -q --data foreign-data --out unbound --known 1 >/dev/null
expect 0 "${tables[@]}" --association unbound
thaw train -q --data foreign-data --out foreign2 --factors 4 --iterations 2 --strength binary --holdout-users 0.4 >/dev/null
thaw associate -q --data foreign-data --model foreign2 --out bound --known 1 >/dev/null
refused 65 'was made for a model of digest' "${tables[@]}" --association bound
