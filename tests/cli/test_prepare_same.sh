#!/usr/bin/env bash
# thaw prepare writes the same bytes on any number of ranks, and when memory, chunks and MPI counts are so small that everything is
# cut and spilled; a slow re-implementation finds the same interactions.
# labels: prepare determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

python3 - <<'PY'
import random
random.seed(3)
out = open("log.csv", "wb")
out.write(b"user,item,event,value,time\n")
odd = [b",i1,view,1,5", b"u1,,view,1,6", b"", b"x", b"u1,i1,view,nan,7", b"u1,i2,poke,1,9", b'"u1,i3,view,1,8', b"u\xff,i,view,1,9",
       b"u1,i" + b"x" * 300 + b",view,1,1", b"u1,i1,view,1,1999-99-01", bytes(range(1, 10)) + b"\x00\xff,,,,"]
for i in range(20000):
    user, item = int(random.paretovariate(0.7)) % 1500, int(500 * random.random() ** 2)
    if random.random() < 0.01:
        out.write(random.choice(odd) + b"\n")
    else:
        out.write(b"u%d,\xc3\xa9%d,%s,%d,%d\n" % (user, item, random.choice([b"view", b"view", b"cart", b"buy"]),
                                                  random.randrange(-1, 4), 1600000000 + random.randrange(10 ** 7)))
for side, n in ("users", 1600), ("items", 600):
    with open(side + ".csv", "w") as out:
        out.write("id,kind,tags,size,about\n")
        for i in random.sample(range(n), n * 3 // 4):
            out.write("%s%d,k%d,%s,%g,%s\n" % ("u" if side == "users" else "\u00e9", i, i % 7, "|".join(random.sample("abcdef", i % 4)),
                                            random.gauss(5, 3), " ".join(random.choices(["red", "green", "blue", "soft"], k=4))))
        out.write("broken\n")
PY
split -n l/3 log.csv piece- # three files, cut at line ends
attributes=(--users users.csv --items items.csv --text-buckets 64)
prepare() { # RANKS OUT OPTIONS...
    local n=$1 out=$2
    shift 2
    mpirun -n "$n" --bind-to none thaw prepare --event-weights view=1,cart=3,buy=5 --max-bad-fraction 0.1 --parts 7 --quiet \
        --format csv --out "$out" "$@" >"$out.csv" || fail "failed: $n ranks, $*"
}
same() { # A B: the same dataset
    cmp "$1.csv" "$2.csv" || fail "$2: another report"
    diff -r -x manifest.pb "$1" "$2" || fail "$2: other bytes"
}
tiny=(--memory 1M --chunk 4K)

prepare 1 one --events piece-* "${attributes[@]}"
grep -qx users-attribute-lines-bad,1 one.csv || fail "attributes: $(grep attribute one.csv)"
grep -q '^items.csv:[0-9]*	' one/quarantine.tsv || fail "bad lines of items.csv are not in the quarantine"
for n in 2 3 4; do
    prepare $n many --events piece-* "${attributes[@]}"
    same one many
    rm -r many
done
export THAW_MPI_COUNT_MAX=11
for n in 1 3; do
    prepare $n many --events piece-* "${attributes[@]}" "${tiny[@]}"
    same one many
    rm -r many
done
unset THAW_MPI_COUNT_MAX

# With rules that need rounds, or the place of events in the input (one file, so that the units differ).
for rules in "--min-user 3 --min-item 9" "--duplicates last --negative keep --columns user,item,event,value,-"; do
    read -ra words <<<"$rules"
    prepare 1 rules --events log.csv "${words[@]}"
    THAW_MPI_COUNT_MAX=7 prepare 3 many --events log.csv "${words[@]}" "${tiny[@]}"
    same rules many
    rm -r many rules
done

need_numpy # for the rest
prepare 2 core --events log.csv --min-user 3 --min-item 9
python3 - <<'PY'
import collections, glob, numpy as np
weight = {b"view": 1, b"cart": 3, b"buy": 5}
pairs = collections.defaultdict(float)
for line in open("log.csv", "rb"):
    f = line.rstrip(b"\n").split(b",")
    try:
        user, item, event, value, time = f
        f[1].decode(), f[0].decode()
        value, time = int(value) * weight[event], int(time)
    except (ValueError, KeyError):
        continue
    if user and item and len(item) < 256 and b'"' not in line and b"\x00" not in line:
        pairs[user, item] += value
pairs = {p: v for p, v in pairs.items() if v > 0}
while True:
    users, items = (collections.Counter(p[side] for p in pairs) for side in (0, 1))
    left = {p: v for p, v in pairs.items() if users[p[0]] >= 3 and items[p[1]] >= 9}
    if len(left) == len(pairs): break
    pairs = left
def ids(side): return [x for f in sorted(glob.glob("core/%s-*.npz" % side)) for x in np.load(f)["ids"].tolist()]
users, items, found = ids("users"), ids("items"), {}
row = 0
for name in sorted(glob.glob("core/users-*.npz")):
    z = np.load(name)
    for r in range(len(z["ids"])):
        for at in range(z["indptr"][r], z["indptr"][r + 1]): found[users[row], items[z["indices"][at]]] = float(z["values"][at])
        row += 1
assert found == pairs and len(pairs) > 100, (len(found), len(pairs))
PY
