#!/usr/bin/env bash
# thaw augment: the same losses and bytes for any ranks and threads, after a stop and a restart too; the loss falls; virtual interactions; refusals are clear.
# labels: augment determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy
same() { diff -r -x manifest.pb "$1" "$2" || fail "$2 differs from $1"; }

# Users of three groups, who take items of their own third; some have few items; an item has a name with a comma.
awk 'BEGIN { srand(7); print "id,group,age" >"users.csv"
  for (u = 0; u < 300; u++) { print "u" u ",g" u % 3 "," 20 + u % 40 >"users.csv"
    for (n = 0; n < (u % 10 == 3 ? 3 : 15); n++) { i = int(rand() * 130) + 130 * (rand() < .8 ? u % 3 : int(rand() * 3))
      print "u" u ",\"p," i "\"," 1000 * n + u >"log.csv" } } }'
thaw prepare --events log.csv --columns user,item,time --header no --users users.csv \
    --user-attributes id,group:categorical,age:numeric --out data --parts 5 --quiet >/dev/null
thaw train --data data --out model --factors 6 --iterations 4 --solver cholesky --holdout-users 0.1 --quiet >/dev/null
augment=(thaw augment --model model --hidden 16 --batch 100 --rest 2 --virtual-items 9 --quiet)
critic=("${augment[@]}" --steps 12 --noise 5 --virtual-users 0.2)
plain=("${augment[@]}" --steps 25 --adversary 0 --latent-loss 0 --known 4 --episodes random --virtual-below 0)

# Any ranks and threads; tiny counts make many messages; a sampled softmax.
expect 0 "${critic[@]}" --out critic
expect 0 "${plain[@]}" --out plain
expect 0 "${plain[@]}" --out sampled --sampled-softmax 60
for launch in "1 2" "2 1" "3 2" "4 1"; do
    read -r n threads <<<"$launch"
    expect 0 ranks "$n" "${critic[@]}" --threads "$threads" --out "critic-$n-$threads"
    same critic "critic-$n-$threads"
done
THAW_MPI_COUNT_MAX=50 expect 0 ranks 3 "${plain[@]}" --out plain-3
same plain plain-3
expect 0 ranks 2 "${plain[@]}" --out sampled-2 --sampled-softmax 60 --threads 2
same sampled sampled-2
cmp -s plain/losses.csv sampled/losses.csv && fail "the softmax was not sampled"

# The files are what they should be.
python3 - <<'PY'
import csv, glob, numpy as np
def rows(folder): return np.concatenate([np.load(f) for f in sorted(glob.glob(folder + "/generator.items-*.npy"))])
k, hidden, features, longest, noise = 6, 16, 4, 10, 5
inputs = features + 2 * k + longest + 1 + noise
n = features * k + k + 2 * k * k + k + inputs * hidden + hidden + hidden * hidden + hidden + hidden * k + k + 1
assert np.load("critic/generator.net.npy").shape == (n,), np.load("critic/generator.net.npy").shape
items = rows("critic")
assert items.shape[1] == 2 * k + 1 and items.dtype == np.float32 and np.isfinite(items).all()
ids = np.concatenate([np.load(f)["ids"] for f in sorted(glob.glob("data/items-*.npz"))])
made = few = 0
for p in range(5):
    z, v = np.load(f"data/users-{p:05d}-of-00005.npz"), np.load(f"critic/virtual/users-{p:05d}-of-00005.npz")
    assert len(v["indptr"]) == len(z["ids"]) + 1
    lines = list(csv.reader(open(f"critic/virtual/users-{p:05d}-of-00005.csv")))[1:]
    assert len(lines) == len(v["indices"])
    for r, user in enumerate(z["ids"]):
        real, got = z["indices"][slice(*z["indptr"][r:r + 2])], slice(*v["indptr"][r:r + 2])
        assert got.start == got.stop or len(real) < 10
        if got.start == got.stop: continue
        few += 1
        item, weight = v["indices"][got], v["weights"][got]
        assert len(item) == 9 and (np.diff(item.astype(int)) > 0).all() and not set(item) & set(real)
        assert weight.max() == 1 and weight.min() > .1
        assert [(a.encode(), b.encode()) for a, b, _ in lines[got]] == [(user, ids[i]) for i in item]
    extra = np.load(f"critic/virtual/extra-{p:05d}-of-00005.npz")
    made += len(extra["indptr"]) - 1
    assert (extra["weights"] == 1).all() and (np.diff(extra["indptr"]) >= 2).all()
assert few > 20 and made == round(.2 * 270) or abs(made - 54) <= 3, (few, made)
PY

# Stopped, saved, and gone on with, on other ranks: the same bytes. Checkpoints go when training is done.
long=("${plain[@]}" --steps 1000 --checkpoint-every 17 --checkpoint-minutes 0)
expect 0 "${long[@]}" --out whole
awk -F, 'NR > 1 { if (NR < 22) first += $2; else if (NR > 981) last += $2 } END { if (NR != 1001 || !(last < first - 20 * .1)) { print first / 20, last / 20; exit 1 } }' \
    whole/losses.csv || fail "the loss does not fall"
expect 75 signal_at '"step":40,' TERM stopped.json "${long[@]}" --out stopped
grep -q 'stopped on request after step' err || fail "message: $(cat err)"
[ ! -e stopped ] && [ "$(find stopped.checkpoint -name 'step-*' | wc -l)" = 2 ] || fail "left: $(ls stopped* stopped.checkpoint)"
cp -r stopped.checkpoint hurt.checkpoint
expect 64 "${long[@]}" --out stopped --latent-loss 0.5
grep -q 'latent-loss 0, this run says 0.5' err || fail "refusal: $(cat err)"
expect 0 ranks 3 "${long[@]}" --out stopped
same whole stopped
[ ! -e stopped.checkpoint ] || fail "checkpoints stay"
printf x | dd of="$(find hurt.checkpoint/*/training.items-*.npy | tail -1)" bs=1 seek=300 conv=notrunc 2>/dev/null
expect 0 ranks 2 "${long[@]}" --out hurt
same whole hurt

# Stopped after the last step, while it makes users up: the training is saved, nothing is half-made, and the same
# training makes the rest.
expect 75 signal_at '"event":"summary"' TERM late.json "${critic[@]}" --virtual-users 1000 --out late
grep -q 'stopped on request after training' err || fail "message: $(cat err)"
[ ! -e late ] && [ ! -e late.tmp ] && [ -e late.checkpoint/step-000012/manifest.pb ] || fail "left: $(ls -d late* late.checkpoint/*)"
expect 0 ranks 2 "${critic[@]}" --out late
same critic late
[ ! -e late.checkpoint ] || fail "checkpoints stay"

# With the critic too, and a checkpoint inside.
expect 0 "${critic[@]}" --checkpoint-every 5 --out again
same critic again
expect 64 "${critic[@]}" --out critic --seed 2
grep -q 'holds a generator already' err || fail "in the way: $(cat err)"
expect 0 "${critic[@]}" --out critic --force --seed 2
diff -rq -x manifest.pb again critic >/dev/null && fail "another seed, the same bytes"

# What goes wrong ends all ranks with one message.
expect 79 ranks 2 "${plain[@]}" --rate 1000 --out wild
grep -q 'step [0-9]* of training' err && [ ! -e wild ] && [ ! -e wild.checkpoint ] || fail "diverged: $(cat err)"
expect 66 "${plain[@]}" --model nowhere --out x
expect 65 ranks 2 "${plain[@]}" --rest 1000 --out x
grep -q 'lower --rest' err || fail "nobody: $(cat err)"
expect 64 "${plain[@]}" --noise -2 --out x
thaw prepare --events log.csv --columns user,item,time --header no --out other --parts 5 --quiet >/dev/null
expect 65 "${plain[@]}" --data other --out x
touch taken
expect 74 ranks 2 "${plain[@]}" --out taken/x
[ ! -e x ] && [ ! -e x.tmp ] || fail "something was left"
