#!/usr/bin/env bash
# thaw evaluate for cold users on a synthetic log: baselines against NumPy, the same numbers on any ranks, tuning on
# validation users alone, the study in one command, two versions of the tables, and what is refused.
# labels: evaluate
set -euo pipefail
python3 -c 'import numpy' 2>/dev/null || { echo "skipped: python3-numpy is missing"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "$*"; exit 1; }

thaw synth -q --out "$tmp/log" --users 500 --items 90 --interactions 14000 --profile-strength 2 >/dev/null
thaw prepare -q --events "$tmp"/log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 \
    --users "$tmp/log/users.csv" --user-attributes gender:categorical,age:categorical --out "$tmp/data" --parts 5 >/dev/null
thaw train -q --data "$tmp/data" --out "$tmp/model" --factors 8 --iterations 4 --strength binary --unobserved-weight .2 \
    --regularization .02 --holdout-users 0.4 >/dev/null
thaw prior -q --data "$tmp/data" --model "$tmp/model" --out "$tmp/prior" >/dev/null
thaw associate -q --data "$tmp/data" --model "$tmp/model" --out "$tmp/association" --method episodic --known 0,1,3 \
    --neighbors all >/dev/null
for seed in 1 2; do
    thaw augment -q --data "$tmp/data" --model "$tmp/model" --out "$tmp/generator$seed" --steps 20 --batch 32 --hidden 16 \
        --noise 4 --seed $seed >/dev/null
done
thaw augment -q --data "$tmp/data" --model "$tmp/model" --out "$tmp/plain" --steps 20 --batch 32 --hidden 16 --adversary 0 \
    --latent-loss 0 >/dev/null

evaluate() { # RANKS OPTIONS...
    local n=$1
    shift
    mpirun -n "$n" thaw evaluate -q --data "$tmp/data" --model "$tmp/model" --known 0,1,3 --cutoffs 5,10 --replicates 100 \
        --cell-fields gender+age "$@"
}
models=(--prior "$tmp/prior" --association "$tmp/association" --generator "$tmp/generator1" "$tmp/generator2"
    --without-adversary "$tmp/plain")

# ---- Every method, on any ranks ----
evaluate 1 "${models[@]}" --format csv >"$tmp/1.csv"
for n in 2 3 4; do
    evaluate $n "${models[@]}" --format csv >"$tmp/$n.csv"
    # What a process grid fits agrees to rounding; all else is the same bytes.
    for f in 1 $n; do grep -vE '^(EASE|E|ensemble[a-z ]*),' "$tmp/$f.csv" >"$tmp/$f.exact"; done
    cmp "$tmp/1.exact" "$tmp/$n.exact" || fail "the results of $n ranks differ"
done
[ ! -e "$tmp/model.evaluate" ] || fail "the folder of fitted baselines is still there"
python3 - "$tmp" <<'END'
import csv, sys
rows = [list(csv.DictReader(open(f'{sys.argv[1]}/{n}.csv'))) for n in range(1, 5)]
methods = {r['method'] for r in rows[0]}
expected = {'popularity', 'cells', 'knn', 'EASE', 'iALS', 'P', 'E', 'G', 'ensemble', 'virtual', 'G without adversary',
            'ensemble without adversary'}
assert methods == expected, methods ^ expected
assert len(rows[0]) == (9 * 3 + 3 * 2) * 2 * 6, len(rows[0])
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
evaluate 1 --methods P --prior "$tmp/prior" --format jsonl | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert {r["method"] for r in rows} == {"popularity", "cells", "knn", "EASE", "iALS", "P"}
assert all(r["adversary"] is None for r in rows)'
evaluate 1 --methods P --prior "$tmp/prior" >"$tmp/text"
grep -q '^NDCG@10 - iALS (1)' "$tmp/text" || fail "the table has no differences"

# ---- Baselines against NumPy, users and known items listed ----
cat >"$tmp/check.py" <<'END'
import csv, glob, sys
import numpy as np
tmp = sys.argv[1]
def parts(side):
    return [np.load(f) for f in sorted(glob.glob(f'{tmp}/data/{side}-*.npz'))]
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
if sys.argv[2] == 'list':
    rng = np.random.default_rng(5)
    good = [u for u in range(len(uid)) if X[u].sum() > 7]
    chosen = rng.permutation(good)[:len(good) * 2 // 3]
    with open(f'{tmp}/list', 'w') as f:
        for i, u in enumerate(chosen):
            print(uid[u], 'test' if i < len(chosen) * 3 // 5 else 'val', *(iid[i] for i in rng.permutation(np.nonzero(X[u])[0])[:5]), file=f)
    sys.exit()
listed = [line.split() for line in open(f'{tmp}/list')]
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
got = {(r['method'], int(r['known'])): float(r['value']) for r in csv.DictReader(open(f'{tmp}/list.csv'))
       if r['metric'] == 'NDCG' and r['cutoff'] == '10'}
for key, scores in expect.items():
    # Equal and nearly equal scores may change places between float and double.
    assert abs(got[key] - ndcg(scores)) < (1e-9 if key[0] == 'popularity' else 2e-3), (key, got[key], ndcg(scores))
END
python3 "$tmp/check.py" "$tmp" list
thaw train -q --data "$tmp/data" --out "$tmp/listed" --factors 8 --iterations 3 --strength binary --unobserved-weight .2 \
    --regularization .02 --holdout-list "$tmp/list" >/dev/null
listed=(thaw evaluate -q --data "$tmp/data" --model "$tmp/listed" --known 0,1,3 --pool 5 --cutoffs 10 --cold-list "$tmp/list"
    --cell-fields gender+age --replicates 50)
"${listed[@]}" --methods all --format csv >"$tmp/list.csv"
python3 "$tmp/check.py" "$tmp" check

# ---- Tuning: on validation users alone; what it writes gives the same again ----
thaw prior -q --data "$tmp/data" --model "$tmp/listed" --out "$tmp/listed-prior" >/dev/null
"${listed[@]}" --prior "$tmp/listed-prior" --methods P,ensemble --tune --blend-out "$tmp/blend.pb" --format csv \
    --picture "$tmp/picture.svg" >"$tmp/tuned.csv" 2>"$tmp/tuned.err"
"${listed[@]}" --prior "$tmp/listed-prior" --methods P,ensemble --blend "$tmp/blend.pb" --format csv | cmp - "$tmp/tuned.csv"
# (--search: Open MPI takes every --tune on its command line for its own.)
mpirun -n 3 "${listed[@]}" --prior "$tmp/listed-prior" --methods P,ensemble --search --blend-out "$tmp/blend3.pb" >/dev/null
cmp "$tmp/blend.pb" "$tmp/blend3.pb" || fail "the numbers chosen by 3 ranks differ"
sed -i 's/ test / others /' "$tmp/list" # validation users alone decide
"${listed[@]}" --prior "$tmp/listed-prior" --methods P,ensemble --tune --set others --blend-out "$tmp/others.pb" >/dev/null
cmp "$tmp/blend.pb" "$tmp/others.pb" || fail "the name of the measured set changed what is chosen"
[ -s "$tmp/picture.svg.dat" ] && [ -s "$tmp/picture.svg.gp" ] || fail "no data beside the picture"
if command -v gnuplot >/dev/null; then
    grep -q '</svg>' "$tmp/picture.svg" || fail "no picture"
else
    grep -q 'gnuplot is not installed' "$tmp/tuned.err" || fail "nothing said about gnuplot"
fi

# ---- One command ----
thaw evaluate -q --data "$tmp/data" --cold-users 0.3 --known 0,2 --cutoffs 10 --replicates 20 --work "$tmp/work" \
    --methods P,E --format csv >"$tmp/study.csv"
[ "$(grep -c '^E,.*' "$tmp/study.csv")" = 12 ] || fail "the study in one command has no E: $(cat "$tmp/study.csv")"
[ -s "$tmp/work/model/current/manifest.pb" ] && [ -s "$tmp/work/prior/manifest.pb" ] && [ ! -e "$tmp/work/generator" ]
thaw evaluate -q --data "$tmp/data" --cold-users 0.3 --known 0,2 --cutoffs 10 --replicates 20 --work "$tmp/work" \
    --methods P,E --format csv | cmp - "$tmp/study.csv"

# ---- Two versions of the tables ----
thaw tables -q --data "$tmp/data" --model "$tmp/model" --out "$tmp/a" >/dev/null
thaw train -q --data "$tmp/data" --out "$tmp/other" --factors 4 --iterations 2 --strength binary --unobserved-weight .2 \
    --regularization .02 --holdout-users 0.4 >/dev/null
thaw tables -q --data "$tmp/data" --model "$tmp/other" --out "$tmp/b" >/dev/null
against() { # RANKS TABLES AGAINST OPTIONS...
    local n=$1 a=$2 b=$3
    shift 3
    mpirun -n "$n" thaw evaluate -q --data "$tmp/data" --tables "$a" --against "$b" --known 1,3 --cutoffs 5,10 \
        --replicates 50 --format csv "$@"
}
against 1 "$tmp/a" "$tmp/a" >"$tmp/same.csv"
against 1 "$tmp/a" "$tmp/b" >"$tmp/pair.csv"
against 3 "$tmp/a" "$tmp/b" | cmp - "$tmp/pair.csv"
python3 - "$tmp" <<'END'
import csv, sys
same, pair = ([r for r in csv.DictReader(open(f'{sys.argv[1]}/{name}.csv'))] for name in ('same', 'pair'))
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
refused() { # STATUS PATTERN OPTIONS...
    local status=$1 pattern=$2 got=0
    shift 2
    thaw evaluate -q --data "$tmp/data" "$@" >"$tmp/out" 2>"$tmp/err" || got=$?
    [ "$got" = "$status" ] && grep -q -- "$pattern" "$tmp/err" || fail "'$*' gave $got: $(cat "$tmp/err")"
}
m=(--model "$tmp/model" --known 1)
refused 64 'model is missing'
refused 64 'none of popularity' "${m[@]}" --methods wrong
refused 64 '--prior is missing' "${m[@]}" --methods P
refused 64 "no field 'zip'" "${m[@]}" --methods cells --cell-fields zip
refused 64 'with an adversary' "${m[@]}" --methods G --generator "$tmp/generator1" --without-adversary "$tmp/generator2"
refused 65 'another model' --model "$tmp/other" --known 1 --prior "$tmp/prior"
refused 65 'another model' --model "$tmp/other" --known 1 --association "$tmp/association"
thaw associate -q --data "$tmp/data" --out "$tmp/leaky" --method episodic --known 1 >/dev/null
refused 65 'those to be measured too' "${m[@]}" --association "$tmp/leaky"
refused 66 'no prior here' "${m[@]}" --prior "$tmp/nowhere"
refused 64 'ends in .svg' "${m[@]}" --methods popularity --picture "$tmp/x.gif"
refused 64 'give --tables' --against "$tmp/a"

# ---- Models and numbers of something else: for evaluations and for tables; numbers are taken when someone insists ----
tables() { # STATUS PATTERN OPTIONS...
    local status=$1 pattern=$2 got=0
    shift 2
    mpirun -n 2 thaw tables --model "$tmp/foreign" "$@" >"$tmp/out" 2>"$tmp/err" || got=$?
    [ "$got" = "$status" ] && grep -q -- "$pattern" "$tmp/err" || fail "tables '$*' gave $got: $(cat "$tmp/err")"
}
thaw prepare -q --events "$tmp"/log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 \
    --out "$tmp/foreign-data" --parts 5 >/dev/null
thaw train -q --data "$tmp/foreign-data" --out "$tmp/foreign" --factors 4 --iterations 1 --strength binary --holdout-users 0.4 >/dev/null
foreign=(thaw evaluate --data "$tmp/foreign-data" --model "$tmp/foreign" --known 1 --cutoffs 10 --replicates 20 --methods popularity
    --blend "$tmp/blend.pb")
got=0
"${foreign[@]}" -q >"$tmp/out" 2>"$tmp/err" || got=$?
[ "$got" = 65 ] && grep -q 'another dataset.*--force' "$tmp/err" || fail "a foreign blend gave $got: $(cat "$tmp/err")"
"${foreign[@]}" --force >"$tmp/out" 2>"$tmp/err" && grep -q 'warning: .*blend.pb: tuned on another dataset' "$tmp/err" ||
    fail "--force: $(cat "$tmp/err")"
tables 65 'tuned on a dataset of digest .*--force' --out "$tmp/forced" --blend "$tmp/blend.pb"
[ ! -e "$tmp/forced" ] || fail "refused tables left something"
tables 0 'warning: .*blend.pb was tuned on another dataset' --out "$tmp/forced" --blend "$tmp/blend.pb" --force
thaw-lookup check "$tmp/forced" >/dev/null
thaw associate -q --data "$tmp/foreign-data" --out "$tmp/unbound" --known 1 >/dev/null
tables 0 '' --out "$tmp/forced" --association "$tmp/unbound"
thaw train -q --data "$tmp/foreign-data" --out "$tmp/foreign2" --factors 4 --iterations 2 --strength binary --holdout-users 0.4 >/dev/null
thaw associate -q --data "$tmp/foreign-data" --model "$tmp/foreign2" --out "$tmp/bound" --known 1 >/dev/null
tables 65 'was made for a model of digest' --out "$tmp/forced" --association "$tmp/bound"
echo "all of it holds"
