#!/usr/bin/env bash
# thaw score-users: users of the right taste score low, mixed ones high; the same bytes for any ranks and threads; refusals are clear.
# labels: augment determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

# Users of three groups take items of their own third; every 20th takes anything.
awk 'BEGIN { srand(3); for (u = 0; u < 400; u++) for (n = 0; n < 16; n++)
  print (u % 20 ? "u" : "fake,") u "\t" "p" int(rand() * 60) + 60 * (u % 20 ? u % 3 : int(rand() * 3)) }' >log.tsv
thaw prepare --events log.tsv --columns user,item --header no --out data --parts 4 --quiet >/dev/null
thaw train --data data --out model --factors 6 --iterations 5 --solver cholesky --holdout-users 0.1 --quiet >/dev/null
thaw augment --model model --out generator --steps 60 --hidden 32 --adversary 0 --virtual-below 0 --quiet >/dev/null
score=(thaw score-users --model model --generator generator --quiet)
expect 0 "${score[@]}" --out scores.csv --top 5 --format csv
[ "$(head -1 scores.csv)" = user,items,score ] && [ "$(wc -l <scores.csv)" = 401 ] || fail "lines: $(wc -l <scores.csv)"
[ "$(wc -l <out)" = 6 ] || fail "top: $(cat out)"
mv out top.csv
for launch in "1 2" "2 1" "3 2" "4 1"; do
    read -r n threads <<<"$launch"
    THAW_MPI_COUNT_MAX=1000 expect 0 ranks "$n" "${score[@]}" --threads "$threads" --out many.csv --top 5 --format csv
    cmp scores.csv many.csv && cmp top.csv out || fail "other bytes with $launch"
done
python3 - <<'PY'
import csv
rows = list(csv.reader(open("scores.csv")))[1:]
fake = [float(r[2]) for r in rows if r[0].startswith("fake,")]
real = [float(r[2]) for r in rows if not r[0].startswith("fake,")]
assert len(fake) == 20 and len(real) == 380 and all(int(r[1]) <= 16 for r in rows)
auc = sum((f > r) + .5 * (f == r) for f in fake for r in real) / len(fake) / len(real)
assert auc > .9, auc
PY

# A signal ends it between two batches, and no file is left, old or new.
thaw augment --model model --out noisy --steps 2 --noise 64 --adversary 0 --virtual-below 0 --quiet >/dev/null
expect 75 signal_at '"what":"scoring users"' USR1 late.json thaw score-users --model model --generator noisy --draws 1024 --out late.csv
grep -q 'stopped on request' err && [ -z "$(find . -name 'late.csv*')" ] || fail "after SIGUSR1: $(cat err) $(ls)"

expect 66 "${score[@]}" --generator nowhere
expect 64 "${score[@]}" --episodes time
thaw prepare --events log.tsv --columns user,item --header no --out other --parts 3 --quiet >/dev/null
expect 65 ranks 2 "${score[@]}" --data other
printf x | dd of="$(ls generator/generator.items-*.npy | tail -1)" bs=1 seek=200 conv=notrunc 2>/dev/null
expect 65 ranks 2 "${score[@]}" --out late.csv
grep -q 'generator.items' err && [ ! -e late.csv ] || fail "damage: $(cat err)"
