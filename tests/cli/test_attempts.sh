#!/usr/bin/env bash
# No crash loop: after three runs that went on from one checkpoint and died, the next is refused and told why; whoever gets further, ends or
# is stopped is forgiven; --force starts anew. For thaw train and thaw augment.
# labels: attempts
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
thaw synth --out log --users 400 --items 150 --interactions 9000 --quiet >/dev/null
thaw prepare --events log/events-*.csv --out data --event-weights view=1,cart=3,buy=5 --parts 5 --quiet >/dev/null

# ---- train ----

train=(thaw train --data data --factors 32 --solver cholesky --quiet --checkpoint-minutes 0 --out model --iterations 3000)
expect 75 signal_at '"iteration":3,' TERM train.json "${train[@]}"
[ ! -e model/attempts.pb ] || fail "a first run is counted"
name=$(readlink model/current)
cp -r model before
loop() { for _ in 1 2 3; do expect 137 signal_at '"event":"iteration"' KILL train.json "${train[@]}"; done; }
loop
[ -e model/attempts.pb ] || fail "nothing was counted"
expect 65 ranks 2 "${train[@]}"
grep -q "model: 3 runs that went on from $name have failed: see their logs; --force starts anew, and removing model/attempts.pb allows 3 more" err ||
    fail "message: $(cat err)"
[ "$(readlink model/current)" = "$name" ] || fail "the checkpoint: $(ls model)"

# Removing the file allows more; a damaged one counts as none. A stop takes the count back, and so does the end.
cp model/attempts.pb counted.pb
printf x | dd of=model/attempts.pb bs=1 seek=9 conv=notrunc 2>/dev/null
expect 75 signal_at '"event":"iteration"' USR1 train.json "${train[@]}"
[ ! -e model/attempts.pb ] || fail "a stop leaves the count"
rm -rf model && cp -r before model
cp counted.pb model/attempts.pb
expect 65 "${train[@]}"
rm model/attempts.pb
loop
rm model/attempts.pb
signal_at '"event":"iteration"' KILL train.json "${train[@]}" || :
done=$(tr -dc 0-9 <<<"$name" | sed 's/^0*//')
expect 0 "${train[@]}" --iterations $((done + 2))
[ ! -e model/attempts.pb ] || fail "the end leaves the count"
expect 0 "${train[@]}" --iterations $((done + 2))
[ ! -e model/attempts.pb ] || fail "nothing to do is counted"

# A newer checkpoint forgives: runs that get further may go on dying.
rm -rf model && cp -r before model
for _ in 1 2 3 4 5; do
    THAW_CHECKPOINT_WAIT=1 expect 137 signal_at '"event":"checkpoint"' KILL train.json "${train[@]}" --checkpoint-every 1
done
expect 0 "${train[@]}" --iterations "$(($(readlink model/current | tr -dc 0-9 | sed 's/^0*//') + 1))"

# --force starts anew.
rm -rf model && cp -r before model
cp counted.pb model/attempts.pb
expect 0 "${train[@]}" --iterations 2 --force
[ "$(ls model)" = "$(printf 'current\niteration-000002')" ] || fail "after --force: $(ls model)"

# Numbers that overflow again and again: 79 each time, then refused.
awk 'BEGIN { for (u = 0; u < 40; u++) for (i = 0; i < 8; i++) print "u" u ",i" (u * 7 + i * 3) % 30 "," (u == 11 && i == 3 ? "1e30" : 1) }' >big.csv
thaw prepare --events big.csv --columns user,item,value --out big --parts 3 --quiet >/dev/null
big=(thaw train --data big --out wild --strength raw --alpha 1e10 --quiet)
expect 0 "${big[@]}" --iterations 0
for _ in 1 2 3; do
    expect 79 "${big[@]}"
    [ "$(ls wild)" = "$(printf 'attempts.pb\ncurrent\niteration-000000')" ] || fail "diverged: $(ls wild)"
done
expect 65 "${big[@]}"

# ---- augment ----

thaw train --data data --factors 8 --iterations 3 --quiet --out small >/dev/null
augment=(thaw augment --model small --hidden 8 --batch 50 --rest 2 --adversary 0 --steps 20000 --checkpoint-minutes 0 --quiet --out generator)
expect 75 signal_at '"step":3,' TERM augment.json "${augment[@]}"
step=$(basename generator.checkpoint/step-*)
cp -r generator.checkpoint kept
for _ in 1 2 3; do expect 137 signal_at '"event":"step"' KILL augment.json "${augment[@]}"; done
expect 65 ranks 2 "${augment[@]}"
grep -q "generator.checkpoint: 3 runs that went on from $step have failed: .*removing generator.checkpoint/attempts.pb allows 3 more" err ||
    fail "message: $(cat err)"
cp generator.checkpoint/attempts.pb counted.pb
rm generator.checkpoint/attempts.pb
expect 75 signal_at '"event":"step"' TERM augment.json "${augment[@]}"
[ ! -e generator.checkpoint/attempts.pb ] || fail "a stop leaves the count"
rm -rf generator.checkpoint && cp -r kept generator.checkpoint
cp counted.pb generator.checkpoint/attempts.pb
expect 65 "${augment[@]}"
expect 75 signal_at '"event":"step"' TERM augment.json "${augment[@]}" --force
[ ! -e "generator.checkpoint/$step" ] && [ ! -e generator.checkpoint/attempts.pb ] || fail "--force went on: $(ls generator.checkpoint)"
