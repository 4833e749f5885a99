#!/usr/bin/env bash
# thaw prepare: a small log with every kind of line, its ledger counted by hand, its shards read back with NumPy.
# labels: prepare golden
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

# 17 lines: a header, a blank one, one without user, one without item, 3 bad ones, 10 events.
cat >log.csv <<'LOG'
user,item,event,value,time
ann,pen,view,1,1000
ann,pen,buy,2,3000
ann,ink,view,1,2000
bob,pen,view,1,500

,pen,view,1,1
bob,,view,1,1
bob,ink,steal,1,1
bob,ink,view,nan,1
"bob,ink,view,1,1
"bob","ink, red",cart,1,2020-01-01T00:00:00Z
cat,pen,buy,1,10
cat,pen,buy,-1,20
dan,ink,view,1,77
dan,pen,view,3,78
dan,pen,view,4,79
LOG
printf 'user,age\nann,30\nzoe,40\ndan,50\n' >users.csv
options=(--events log.csv --event-weights view=1,cart=3,buy=5 --max-bad-fraction 0.2 --parts 3 --quiet)

# Events 10; ann-pen 11 (merged 1), ann-ink 1, bob-pen 1, bob-"ink, red" 3, cat-pen 0 (merged 1, left out), dan-ink 1, dan-pen 7
# (merged 1): 6 pairs. Users ann, bob, dan, and zoe who has a profile alone; items pen, ink, "ink, red".
thaw prepare "${options[@]}" --users users.csv --user-attributes id,age:numeric --out data --format csv >found.csv 2>log.txt
count() { grep -qx "$1,$2" found.csv || fail "expected $1,$2: $(grep "^$1," found.csv)"; }
count lines 17
count lines-header 1
count lines-blank 1
count skipped-no-user 1
count skipped-no-item 1
count bad-event 1
count bad-not-finite 1
count bad-quote 1
count events 10
count events-merged 3
count pairs-not-positive 1
count pairs-filtered 0
count pairs 6
count users 4
count users-without-interactions 1
count users-attribute-lines 4
count users-attribute-lines-skipped 1
count users-attribute-lines-replaced 0
count items 3
count items-degree-max 3
count users-degree-median 2
count value-min 1
count value-max 11
count value-mean 4
count time-min 77
count time-max 1577836800
awk -F, '{ n[$1] = $2; if ($1 ~ /^(lines-|skipped-|bad-)/) lines += $2 }
    END { if (lines + n["events"] != n["lines"]) exit 1
          if (n["events-merged"] + n["pairs-not-positive"] + n["pairs-filtered"] + n["pairs"] != n["events"]) exit 1 }' found.csv ||
    fail "the ledger does not add up"
cat >quarantine.want <<'LOG'
log.csv:9	event	bob,ink,steal,1,1
log.csv:10	not-finite	bob,ink,view,nan,1
log.csv:11	quote	"bob,ink,view,1,1
LOG
cmp data/quarantine.tsv quarantine.want

# The same as text and JSON.
thaw prepare "${options[@]}" --out text | grep -E '^ *interactions  +6$' >/dev/null || fail "no line of text about the interactions"
thaw prepare "${options[@]}" --out json --format jsonl >found.json
python3 -c 'import json; d = json.load(open("found.json")); assert d["pairs"] == 6 and d["users"] == 3, d' || fail "not JSON"

# A dataset is not overwritten unless told to, and the old one survives a failure.
refused 64 --force thaw prepare "${options[@]}" --out text --min-user 2
before=$(sha256sum text/users-* text/items-* text/manifest.pb | sha256sum)
refused 65 'no interactions are left' thaw prepare "${options[@]}" --out text --force --min-user 100
[ "$(sha256sum text/users-* text/items-* text/manifest.pb | sha256sum)" = "$before" ] || fail "a failed --force harmed the old dataset"
thaw prepare "${options[@]}" --out text --force --parts 2 >/dev/null
[ "$(ls text | tr '\n' ' ')" = "items-00000-of-00002.npz items-00001-of-00002.npz manifest.pb quarantine.tsv users-00000-of-00002.npz users-00001-of-00002.npz " ] ||
    fail "after --force: $(ls text)"
# What an unfinished run left is taken away; other files are not touched.
rm text/manifest.pb
touch text/users-00007-of-00009.npz text/items-00001-of-00009.npz.tmp text/users-notes.npz text/mine.txt
thaw prepare "${options[@]}" --out text --parts 1 >/dev/null
[ "$(ls text | tr '\n' ' ')" = "items-00000-of-00001.npz manifest.pb mine.txt quarantine.tsv users-00000-of-00001.npz users-notes.npz " ] ||
    fail "leftovers: $(ls text)"

# Rules: the largest, the last by time, the last by place; negatives skipped or kept; rows with too few interactions.
pairs() { thaw prepare --events log.csv --event-weights view=1,cart=3,buy=5 --max-bad-fraction 1 --quiet --format csv --out rule --force "$@"; }
[ "$(pairs --duplicates max | grep -E '^value-(max|mean),' | tr '\n' ' ')" = "value-max,10 value-mean,3.57142857 " ] || fail "max"
[ "$(pairs --duplicates last --negative keep | grep '^value-min')" = "value-min,-5" ] || fail "last and keep"
pairs --negative skip >rule.csv
grep -qx skipped-negative,1 rule.csv || fail "skip"
printf 'u,i,2\nu,i,9\nu,i,4\nu,j,1\n' >place.csv
[ "$(thaw prepare --events place.csv --columns user,item,value --duplicates last --out place --quiet --format csv | grep '^value-max')" = value-max,4 ] ||
    fail "last by place"
# bob-"ink, red" goes first (an item of one), then bob (one left), and nothing more.
pairs --min-user 2 --min-item 2 >core.csv
grep -qx pairs,4 core.csv && grep -qx pairs-filtered,2 core.csv && grep -qx users-filtered,1 core.csv && grep -qx items-filtered,1 core.csv ||
    fail "core: $(grep -E 'pairs|filter' core.csv)"

need_numpy # for the rest
python3 - <<'PY'
import glob, numpy as np
def load(side):
    ids, rows, features, nnz = [], [], [], 0
    for name in sorted(glob.glob("data/%s-*.npz" % side)):
        z = np.load(name)
        part = [x.decode() for x in z["ids"]]
        degree = np.diff(z["indptr"])
        order = [(-int(d), x.encode()) for d, x in zip(degree, part)]
        assert order == sorted(order), order
        for r in range(len(part)):
            at = slice(z["indptr"][r], z["indptr"][r + 1])
            rows.append(list(zip(z["indices"][at].tolist(), z["values"][at].tolist(), z["times"][at].tolist())))
            if side == "users":
                at = slice(z["feature_indptr"][r], z["feature_indptr"][r + 1])
                features.append(z["feature_values"][at].tolist())
        assert z["indices"].dtype == np.uint32 and z["values"].dtype == np.float32
        ids += part
    return ids, rows, features
users, by_user, features = load("users")
items, by_item, _ = load("items")
want = {("ann", "pen"): (11, 3000), ("ann", "ink"): (1, 2000), ("bob", "pen"): (1, 500), ("bob", "ink, red"): (3, 1577836800),
        ("dan", "ink"): (1, 77), ("dan", "pen"): (7, 79)}
assert {(users[u], items[i]): (v, t) for u, row in enumerate(by_user) for i, v, t in row} == want
assert {(users[u], items[i]): (v, t) for i, row in enumerate(by_item) for u, v, t in row} == want
assert all(row == sorted(row) for row in by_user + by_item)
assert sorted(users) == ["ann", "bob", "dan", "zoe"] and sorted(items) == ["ink", "ink, red", "pen"]
ages = {u: f for u, f in zip(users, features)}
assert ages["bob"] == [] and ages["zoe"] == [0] and ages["ann"] == [-ages["dan"][0]], ages
PY

# At most so many columns for an attribute: those of the most frequent values (as frequent ones stay or go together).
printf 'item,colour\npen,red\nink,red\ncap,red\nbox,blue\nlid,blue\n"ink, red",green\n' >colours.csv
for most in 1,1 2,2 3,3 4,3; do
    thaw prepare "${options[@]}" --items colours.csv --item-attributes item,colour:categorical --max-categories "${most%,*}" --force --out data --format csv \
        >found.csv
    count items-features "${most#*,}"
done
