#!/usr/bin/env bash
# thaw prior: the files, the same bytes for any number of ranks and threads, the process grid, vectors, --force; what does not fit is refused and leaves nothing.
# thaw tables --prior: vectors of items that training knew nothing of, which thaw evaluate ranks by as well.
# labels: prior determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy

# Users of three groups, who take items of their own third, and items with a title and a price.
awk 'BEGIN { srand(7); print "id,group,age" >"users.csv"; print "id,title,price" >"items.csv"
  for (i = 0; i < 90; i++) print "p" i ",kind " int(i / 30) " number " i "," 5 + i % 7 >"items.csv"
  for (u = 0; u < 300; u++) { print "u" u ",g" u % 3 "," 20 + u % 40 >"users.csv"
    for (n = 0; n < 12; n++) print "u" u ",p" int(rand() * 30) + 30 * (rand() < .8 ? u % 3 : int(rand() * 3)) ",1" >"log.csv" } }'
echo "p-new,kind 2 number new,6" >>items.csv
printf '%s\n' u1 u61 u205 >cold.users # p-cold is theirs alone; p-bare has no attributes besides
echo "p-cold,kind 1 number cold,8" >>items.csv
printf '%s,p-cold,1\n' u1 u61 u205 >>log.csv
echo "u61,p-bare,1" >>log.csv
columns=(--columns user,item,value --header no --quiet)
thaw prepare --events log.csv "${columns[@]}" --users users.csv --user-attributes id,group:categorical,age:numeric \
    --items items.csv --item-attributes id,title:text,price:numeric --text-buckets 64 --out data --parts 5 >/dev/null
thaw prepare --events log.csv "${columns[@]}" --out plain --parts 5 >/dev/null
train=(--factors 4 --iterations 6 --solver cholesky --quiet)
thaw train --data data --out model "${train[@]}" --holdout-users 0.1 --holdout-list cold.users >/dev/null
thaw train --data plain --out plain-model "${train[@]}" >/dev/null

thaw prior --model model --out prior --quiet --ridge 1 --item-ridge 1 --format csv >out
[ "$(cut -d, -f1,3,4 out | tr '\n' ' ')" = "side,features,factors users,4,4 items,65,4 " ] || fail "report: $(cat out)"
for ranks in 2 3 4; do
    ranks "$ranks" thaw prior --data data --model model --out "prior-$ranks" --quiet --ridge 1 --item-ridge 1 --threads 2 >/dev/null
    diff -r -x manifest.pb prior "prior-$ranks" || fail "other bytes with $ranks ranks"
done
python3 - <<'PY'
import glob, numpy as np
W, P, S, I = (np.load(f"prior/prior.{n}.npy") for n in ("user_weights", "user_precision", "user_covariance", "item_weights"))
assert W.shape == (5, 4) and W.dtype == "<f4" and I.shape == (66, 4) and I.dtype == "<f4"
assert P.dtype == S.dtype == "<f8" and np.abs(P @ S - np.eye(4)).max() < 1e-9
V, F, ids = [], [], []
for name in sorted(glob.glob("data/items-*.npz")):
    z = np.load(name)
    V.append(np.load(name.replace("data/", "model/current/").replace(".npz", ".npy")))
    for r, i in enumerate(z["ids"]):
        f, at = np.zeros(65, np.float32), slice(*z["feature_indptr"][r:r + 2])
        f[z["feature_indices"][at]] = z["feature_values"][at]
        F.append(f), ids.append(i)
V, Z = np.concatenate(V).astype(float), np.hstack([np.ones((len(F), 1)), F])
use = np.abs(V).sum(axis=1) > 0
assert not use[ids.index(b"p-new")] and use.sum() == 90
want = np.linalg.solve(Z[use].T @ Z[use] + np.eye(66), Z[use].T @ V[use])
assert np.abs(want - I).max() < 1e-5, np.abs(want - I).max()
u = W[0] + W[1:4]  # a user of each group (columns by falling count); the new item is liked by one of them most
scores = sorted(u @ (Z[ids.index(b"p-new")] @ I))
assert scores[2] > 1.3 * scores[1], scores
PY

# Types: users drawn by id, their factors, histories and profiles, and what they would take in all
for ranks in 1 3; do
    ranks "$ranks" thaw prior --data data --model model --out "few-$ranks" --types 40 --quiet >/dev/null
done
diff -r -x manifest.pb few-1 few-3 || fail "other types with three ranks"
thaw train --data data --out all-model "${train[@]}" >/dev/null # holds nobody out: everybody is a type
for ranks in 1 2 3 4; do
    ranks "$ranks" thaw prior --data data --model all-model --out "all-$ranks" --quiet >/dev/null
    diff -r -x manifest.pb all-1 "all-$ranks" || fail "other types with $ranks ranks"
done
expect 0 thaw prior --model model --out no-types --types 0 --quiet
[ "$(ls prior | wc -l)" = 12 ] && [ "$(ls no-types | wc -l)" = 5 ] || fail "$(ls prior no-types)"
python3 - <<'PY'
import glob, numpy as np
def rows(pattern, what):
    out = []
    for name in sorted(glob.glob(pattern)):
        z = np.load(name)
        ptr = z[what + "indptr"]
        out += [z[what + "indices"][a:b] for a, b in zip(ptr, ptr[1:])]
    return out
def types(folder):
    get = lambda n: np.load(f"{folder}/prior.types_{n}.npy")
    u, ptr, user = get("factors"), get("indptr"), get("users")
    has, profile = np.zeros((len(u), 93), bool), np.zeros((len(u), 4))
    has[user, np.repeat(np.arange(93), np.diff(ptr))] = True
    assert has.sum() == len(user)
    profile[np.repeat(np.arange(len(u)), np.diff(get("profile_indptr"))), get("profile_columns")] = get("profile_values")
    return u.astype(float), has, profile, get("mass")
items = rows("data/users-*.npz", "")
V = np.concatenate([np.load(n) for n in sorted(glob.glob("model/current/items-*.npy"))]).astype(float)
all_types, few = types("prior"), types("few-1")
assert len(few[0]) == 40 < len(all_types[0]) < 300
known = [tuple(sorted(i)) for i in items]
assert [tuple(np.flatnonzero(h)) for h in types("all-1")[1]] == known and len(known) == 300
at = 0  # types come in the order of the users' rows
for h, p in zip(all_types[1], all_types[2]):
    at = known.index(tuple(np.flatnonzero(h)), at) + 1
    assert abs(np.linalg.norm(p) - 1) < 1e-6
assert {tuple(f) for f in few[0]} < {tuple(f) for f in all_types[0]}
for u, has, _, mass in all_types, few:
    assert np.array_equal(mass[:, 0], has.sum(axis=1))
    assert np.abs(np.maximum(u @ V.T, 0).sum(axis=1) - mass[:, 1]).max() < 1e-4
PY

# On a process grid, and with vectors: an item's own one-hot vector explains more
THAW_RIDGE_DENSE=10 ranks 3 thaw prior --model model --out grid --ridge 1 --item-ridge 1 >/dev/null 2>err
grep -q "^items: .*process grid" err || fail "no grid: $(cat err)"
python3 - <<'PY'
import numpy as np
for n in ("user_weights", "user_covariance", "item_weights"):
    a, b = np.load(f"prior/prior.{n}.npy"), np.load(f"grid/prior.{n}.npy")
    assert np.abs(a - b).max() < 1e-6, n
np.save("v.npy", np.eye(91, dtype=np.float32))
open("v.ids", "w").write("".join(f"p{i}\n" for i in range(90)) + "nobody\n")
np.save("wide.npy", np.eye(91))
PY
expect 0 ranks 2 thaw prior --model model --out vectors --item-vectors v.npy --item-vector-ids v.ids --format csv
grep -q "vectors of 90 of 93 items, 91 columns (1 ids are unknown)" err || fail "$(cat err)"
grep -q "^items,90,156,4," out || fail "$(cat out)"

# Tables: z W for the items that training knew nothing of, the gramian with them; the same bytes for any number of ranks
expect 0 thaw tables --model model --out bare --quiet --format jsonl
grep -q ',"filled_items":0}$' out || fail "report: $(cat out)"
expect 0 thaw tables --model model --prior prior --out tables --format csv
grep -qE '^v000001,300,93,4,[0-9]+,3$' out && ! grep -q warning err || fail "report: $(cat out err)"
for ranks in 2 3; do
    expect 0 ranks "$ranks" thaw tables --model model --prior prior --out "tables-$ranks"
    grep -q ": 300 users, 93 items (3 by their attributes alone), 4 columns" out || fail "report: $(cat out)"
    diff -r -x manifest.pb tables "tables-$ranks" || fail "other bytes with $ranks ranks"
done
thaw-lookup check tables >/dev/null
python3 - <<'PY'
import glob, numpy as np
W, new = np.load("prior/prior.item_weights.npy").astype(float), {}
for name in sorted(glob.glob("data/items-*.npz")):
    z, part = np.load(name), name.replace("data/", "").replace(".npz", ".npy")
    was, now, bare = (np.load(f"{d}/current/{part}") for d in ("model", "tables", "bare"))
    assert np.array_equal(was, bare)
    for r, i in enumerate(z["ids"]):
        if np.any(was[r]):
            assert np.array_equal(was[r], now[r])
            continue
        f, at = np.zeros(66), slice(*z["feature_indptr"][r:r + 2])
        f[0], f[1 + z["feature_indices"][at]] = 1, z["feature_values"][at]
        new[i] = np.count_nonzero(f)
        assert np.abs(f @ W - now[r]).max() < 1e-6 and np.any(now[r]), (i, f @ W, now[r])
assert sorted(new) == [b"p-bare", b"p-cold", b"p-new"] and new[b"p-new"] > 2 and new[b"p-bare"] <= 2, new
for d in "tables", "bare":
    y = np.concatenate([np.load(n) for n in sorted(glob.glob(f"{d}/current/items-*-of-00005.npy"))]).astype(float)
    g = np.load(f"{d}/current/items.gramian.npy")
    assert len(y) == 93 and np.abs(y.T @ y - g).max() < 1e-6 * np.abs(g).max()
PY
# thaw evaluate ranks by the vectors that tables serve with: held-out users have items that training knew nothing of
expect 0 thaw prior --model model --out typeless --types 0 --item-ridge 1 --quiet
expect 0 thaw tables --model model --prior typeless --out served --quiet
expect 0 thaw tables --model model --out bare-again --quiet
cut=(--known 3 --cutoffs 80 --format csv --quiet --set all)
expect 0 thaw evaluate --data data --tables served --against bare-again "${cut[@]}"
served=$(awk -F, '$3 == "NDCG" && $2 ~ /all/ { print $6 }' out)
for ranks in 1 3; do
    expect 0 ranks "$ranks" thaw evaluate --data data --model model --prior typeless --methods P "${cut[@]}"
    measured=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } $at["method"] == "P" && $at["metric"] == "NDCG" { print $at["value"] }' out)
    [ -n "$served" ] && [ "$served" = "$measured" ] || fail "served $served, measured $measured"
done
expect 0 thaw-lookup similar tables --item p-new -k 30
[ "$(cut -f3 out | grep -cE '^p(6|7|8).$')" -ge 20 ] || fail "not like its kind: $(cat out)"
expect 0 thaw-lookup recommend tables --user u2 -k 80 # of group 2
grep -qw p-new out || fail "not recommended: $(cat out)"
expect 0 ranks 2 thaw tables --model model --prior vectors --out tables --format jsonl
grep -q "warning: 3 items without training interactions stay without a vector: vectors was fitted with --item-vectors" err && grep -q ',"filled_items":0}$' out ||
    fail "$(cat err out)"
for file in bare/current/items*; do cmp "$file" "tables/v000002/${file##*/}"; done
cp -r prior damaged
printf '\377' | dd of=damaged/prior.item_weights.npy bs=1 seek=300 conv=notrunc status=none
expect 65 ranks 2 thaw tables --model model --prior damaged --out new --quiet
grep -q "prior.item_weights.npy: checksum mismatch" err && [ ! -e new ] || fail "$(cat err; ls)"

# Without attributes: the mean of the users
expect 0 thaw prior --model plain-model --out mean --format jsonl
grep -q "users have no attributes" err && [ "$(wc -l <out)" = 1 ] && [ ! -e mean/prior.item_weights.npy ] || fail "$(cat err out)"

# What is there stays, unless --force says otherwise
expect 64 thaw prior --model model --out prior --quiet
grep -q "holds a prior already" err || fail "$(cat err)"
cp -r prior before
expect 0 ranks 2 thaw prior --model model --out prior/ --force --quiet --ridge 1 --item-ridge 1
diff -r -x manifest.pb prior before || fail "other bytes"
mkdir mine && touch mine/notes
expect 64 thaw prior --model model --out mine --force --quiet
[ "$(ls mine)" = notes ] || fail "not left alone: $(ls mine)"

# What no memory holds is refused before anything is allocated, and the message says what would do
thaw prepare --events log.csv "${columns[@]}" --items items.csv --item-attributes id,title:text --text-buckets 1000000 --out wide --parts 5 >/dev/null
thaw train --data wide --out wide-model "${train[@]}" >/dev/null
for ranks in 1 2; do
    expect 71 ranks "$ranks" thaw prior --model wide-model --out new --quiet
    grep -qE '1000000 features need [0-9.]+ TiB on each rank, which has [0-9.]+ [MGT]iB: use [0-9]+ ranks of as much memory, or fewer features' err &&
        [ "$(wc -l <err)" = 1 ] && [ ! -e new ] && [ ! -e new.tmp ] || fail "$(cat err) $(ls)"
done

# What does not fit
thaw train --data plain --out ratings "${train[@]}" --model explicit >/dev/null
for wrong in "64 --model ratings" "65 --model model --data plain" "66 --model nowhere" "66 --model model --data nowhere" "64 --model model --item-vectors v.npy" \
    "65 --model model --item-vectors wide.npy --item-vector-ids v.ids" "65 --model model --user-vectors v.npy --user-vector-ids v.ids" \
    "65 --model model --item-min-degree 1000" "66 --model model --item-vectors v.npy --item-vector-ids none"; do
    # shellcheck disable=SC2086 # words
    expect ${wrong%% *} ranks 2 thaw prior ${wrong#* } --out new --quiet
    [ "$(wc -l <err)" = 1 ] && [ ! -e new ] && [ ! -e new.tmp ] || fail "$wrong: $(cat err) $(ls)"
done
