#!/usr/bin/env bash
# thaw train: the same bytes for any ranks and threads, after a stop and a restart too; the objective falls; refusals are clear.
# labels: train determinism
# cost: 30
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

thaw synth --out log --users 500 --items 200 --interactions 12000 --quiet >/dev/null
thaw prepare --events log/events-*.csv --out data --event-weights view=1,cart=3,buy=5 --parts 7 --quiet >/dev/null
train=(thaw train --data data --quiet --holdout-users 0.2 --factors 12 --iterations 6)
same_model() { # A B ITERATION: factors and the record of iterations
    for f in "$1/iteration-$3"/*.npy; do cmp "$f" "$2/iteration-$3/${f##*/}" || fail "$2 differs from $1"; done
}

# Ranks and threads, for each model and solver; small exchanges and small MPI counts make many rounds and messages.
check_launches() { # OPTIONS LAUNCH...
    local options=$1 ranks threads launch
    shift
    # shellcheck disable=SC2086
    "${train[@]}" $options --out one --threads 1 >one.txt
    for launch in "$@"; do
        read -r ranks threads <<<"$launch"
        # shellcheck disable=SC2086
        mpirun -n "$ranks" --bind-to none "${train[@]}" $options --out many --threads "$threads" >many.txt
        sed -i 's/^many/one/' many.txt
        cmp one.txt many.txt || fail "another report with $ranks ranks: $options"
        same_model one many "$(basename "$(readlink one/current)" | cut -d- -f2)"
        rm -rf many
    done
}
check_launches "" "1 2" "2 1" "3 2" "4 1"
mv one plain
cp one.txt plain.txt

# Many factors: BLAS would take as many threads as we have for the eigenvectors, and end at other bits.
check_launches "--solver cg --cg-tolerance 0 --factors 256 --iterations 4" "1 2"
rm -rf one

# Other steps for items than for users: fewer lead less far, over-relaxed ones farther.
check_launches "--solver cg --cg-steps 2 --cg-item-steps 1 --relaxation 1.7" "1 2" "3 1"
objective() { # CG-ITEM-STEPS RELAXATION
    rm -rf relaxed
    "${train[@]}" --solver cg --cg-steps 2 --cg-item-steps "$1" --relaxation "$2" --out relaxed --log relaxed.jsonl >/dev/null
    sed -n 's/.*"objective":\([^,}]*\).*/\1/p' relaxed.jsonl | tail -n 1
}
echo "$(objective 1 1.7) $(objective 1 1) $(objective 2 1)" >objectives
awk '{ exit !($1 > 0 && $1 < $2 && $3 < $2) }' objectives || fail "items' steps and relaxation: $(cat objectives)"
expect 64 "${train[@]}" --solver cg --cg-steps 2 --cg-item-steps 1 --out one --relaxation 1.5
grep -q 'relaxation 1.7, this run says 1.5' err || fail "refusal: $(cat err)"
rm -rf one relaxed

# Two threads are two threads, from the option and from the environment.
"${train[@]}" --out threads --iterations 1 --threads 2 --log threads.jsonl >/dev/null
OMP_NUM_THREADS=2 "${train[@]}" --out threads --iterations 2 --log threads.jsonl >/dev/null
[ "$(grep -c '"event":"solver".*"threads":2' threads.jsonl)" = 2 ] || fail "not on two threads: $(grep '"solver"' threads.jsonl)"
rm -rf threads
for options in "--solver cg --weighting hu --strength log" "--model explicit --exchange-bytes 4096" \
    "--strength binary --quality-every 2 --quality-known 3 --exchange-bytes 64K"; do
    THAW_MPI_COUNT_MAX=50 check_launches "$options" "3 2"
    rm -rf one
done

# The exact solver's objective never rises.
for options in "--weighting rendle" "--weighting hu" "--model explicit" "--model explicit --biases no"; do
    # shellcheck disable=SC2086
    "${train[@]}" $options --solver cholesky --iterations 12 --out falling --format csv >falling.csv
    awk -F, 'NR > 2 && $2 > last { exit 1 } { last = $2 } END { if (NR != 13) exit 1 }' falling.csv || fail "rises: $options"
    rm -rf falling
done

# Stopped and started again, on other ranks: the same bytes and the same report.
"${train[@]}" --out resumed --iterations 2 >/dev/null
mpirun -n 3 --bind-to none "${train[@]}" --out resumed --iterations 4 >/dev/null
"${train[@]}" --out resumed --iterations 6 --checkpoint-every 0 >resumed.txt
sed 's/^resumed/one/' resumed.txt | cmp - plain.txt || fail "a resumed run reports something else"
same_model plain resumed 000006
[ ! -e resumed/iteration-000002 ] && [ -e resumed/iteration-000004 ] || fail "kept: $(ls resumed)"

# A signal: the iteration is finished and saved, exit 75; the next run goes on. What is to be stopped has no end until then.
kept() { echo $((10#$(readlink "$1/current" | tr -dc 0-9))); }
long=(--factors 24 --checkpoint-every 0 --iterations)
expect 75 signal_at '"iteration":3,' TERM stopped.json "${train[@]}" --out stopped "${long[@]}" 100000
grep -q 'stopped on request after iteration' err || fail "message: $(cat err)"
end=$(($(kept stopped) + 20))
"${train[@]}" --out whole "${long[@]}" $end >/dev/null
mpirun -n 2 --bind-to none "${train[@]}" --out stopped "${long[@]}" $end >/dev/null
same_model whole stopped "$(printf %06d $end)"

# Nothing to do: says so, prints the same report, leaves the files alone.
before=$(stat -c %y.%i plain/iteration-000006/manifest.pb)
expect 0 thaw train --data data --holdout-users 0.2 --factors 12 --iterations 6 --out plain
grep -q 'nothing to do' err || fail "finished: $(cat err)"
[ "$before" = "$(stat -c %y.%i plain/iteration-000006/manifest.pb)" ] || fail "a finished model was written again"

# Other options or data are refused with both values, --force starts anew.
expect 64 "${train[@]}" --out plain --factors 16
grep -q 'factors 12, this run says 16' err || fail "refusal: $(cat err)"
expect 64 "${train[@]}" --out plain --holdout-users 0.3
expect 64 "${train[@]}" --out plain --solver cg
thaw prepare --events log/events-*.csv --out other --event-weights view=1,cart=3,buy=4 --parts 7 --quiet >/dev/null
expect 65 thaw train --data other --quiet --holdout-users 0.2 --factors 12 --iterations 6 --out plain
grep -q 'another dataset' err || fail "other data: $(cat err)"
expect 0 "${train[@]}" --out plain --iterations 3 --factors 5 --force
[ "$(ls plain)" = "$(printf 'current\niteration-000003')" ] || fail "after --force: $(ls plain)"

# A damaged newest version: its file is named, the one before is used, and the end is the same. When both are damaged, --force starts
# anew.
"${train[@]}" --out saved --checkpoint-every 3 >/dev/null
for how in flipped cut missing swapped mixed unmarked; do
    rm -rf hurt && cp -r saved hurt
    part=items-00002-of-00007.npy new=hurt/iteration-000006 named=items-00002-of-00007.npy
    case $how in
        flipped) printf x | dd of="$new/$part" bs=1 seek=300 conv=notrunc 2>/dev/null ;;
        cut) truncate -s -4 "$new/$part" ;;
        missing) rm "$new/$part" ;;
        swapped) mv "$new/$part" kept && mv "$new/items-00003-of-00007.npy" "$new/$part" && mv kept "$new/items-00003-of-00007.npy" ;;
        mixed) cp "hurt/iteration-000003/$part" "$new" ;;
        unmarked) rm "$new/manifest.pb" && named=manifest.pb ;;
    esac
    expect 0 ranks 2 thaw train --data data --holdout-users 0.2 --factors 12 --iterations 6 --out hurt
    grep -q "warning: hurt: using iteration 3, because the newer checkpoint is damaged: .*$named" err || fail "$how: $(cat err)"
    same_model resumed hurt 000006
done
printf x | dd of="hurt/iteration-000006/$part" bs=1 seek=300 conv=notrunc 2>/dev/null
rm hurt/iteration-000003/manifest.pb
expect 65 ranks 2 "${train[@]}" --out hurt
grep -q "iteration-000006/$part.*no other checkpoint is intact: --force starts anew" err || fail "both damaged: $(cat err)"
expect 0 "${train[@]}" --out hurt --force
same_model resumed hurt 000006

# Killed between two renames: what stood aside comes back, and what was unfinished goes.
mv hurt/iteration-000006 hurt/iteration-000006.old
mkdir hurt/iteration-000009.tmp
expect 0 thaw train --data data --holdout-users 0.2 --factors 12 --iterations 6 --out hurt
grep -q 'nothing to do' err && [ "$(ls hurt)" = "$(printf 'current\niteration-000006')" ] || fail "aside: $(cat err; ls hurt)"

# Checkpoints in the background: every one is told of, and the end is the same bytes.
THAW_CHECKPOINT_WAIT=1 mpirun -n 2 --bind-to none "${train[@]}" --out behind --checkpoint-every 1 --log behind.json >/dev/null
same_model resumed behind 000006
python3 - behind.json <<'PY' || fail "the log of checkpoints: $(grep checkpoint behind.json)"
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
saved = [e for e in events if e["event"] == "checkpoint"]
assert [e["iteration"] for e in saved] == [1, 2, 3, 4, 5, 6]
assert all(e["bytes"] > 0 and min(e["write_s"], e["commit_s"], e["waited_s"]) >= 0 for e in saved)
assert all(e["copy_s"] > 0 for e in saved[:-1]) and saved[-1]["copy_s"] == 0 and saved[-1]["waited_s"] > 0
plan, = [e for e in events if e["event"] == "plan"]
assert plan["checkpoint_bytes"] > 0
PY

# A signal while one is in flight, at several moments: what is saved is the iteration that ends with it, and nothing else is left.
for n in 3 4 5 6; do
    expect 75 signal_at "\"iteration\":$n," USR1 flight.json "${train[@]}" --out flight --factors 64 --iterations 100000 --checkpoint-every 2
    [ -z "$(ls flight | grep -vE '^(current|iteration-[0-9]{6})$')" ] && [ ! -e flight.lock ] || fail "left: $(ls flight)"
    at=$(kept flight)
    grep -q "after iteration $at, which is saved" err || fail "iteration $at is saved, but: $(cat err)"
    "${train[@]}" --out straight --factors 64 --iterations "$at" --quiet >/dev/null
    "${train[@]}" --out flight --factors 64 --iterations "$at" --quiet >/dev/null
    same_model straight flight "$(printf %06d "$at")"
    rm -rf flight straight flight.json
done

# A write that fails in the background ends the job, with the writer's words; the older version is as it was.
"${train[@]}" --out full --factors 64 --iterations 2 >/dev/null
expect 74 bash -c 'trap "" XFSZ; ulimit -f 8; exec "$@"' - "${train[@]}" --out full --factors 64 --iterations 5000 --checkpoint-every 2
grep -q 'cannot write full/iteration-0000.*: File too large' err || fail "a full disk: $(cat err)"
[ "$(grep -c error: err)" = 1 ] && [ "$(ls full)" = "$(printf 'attempts.pb\ncurrent\niteration-000002')" ] || fail "left: $(cat err; ls full)"
"${train[@]}" --out full --factors 64 --iterations 6 >/dev/null
"${train[@]}" --out roomy --factors 64 --iterations 6 >/dev/null
same_model roomy full 000006

# Clear refusals.
expect 66 thaw train --data nowhere --out x
expect 64 thaw train --data data --out x --patience 2
grep -q 'holdout-users' err || fail "patience: $(cat err)"
expect 66 thaw train --data data --out x --holdout-list nowhere
expect 64 thaw train --data data --out x --factors 0
touch taken
expect 74 ranks 2 "${train[@]}" --out taken/x # before the work, not after
grep -q 'a file is in the way' err && [ ! -s out ] || fail "no place to write: $(cat out err)"
printf x | dd of="$(ls data/users-*.npz | head -1)" bs=1 seek=600 conv=notrunc 2>/dev/null
expect 65 ranks 2 "${train[@]}" --out x
grep -q 'users-0' err || fail "damaged shard: $(cat err)"
[ ! -e x/current ] || fail "something was written"

# Numbers that overflow stop the run with the row's name.
awk 'BEGIN { for (u = 0; u < 40; u++) for (i = 0; i < 8; i++) print "u" u ",i" (u * 7 + i * 3) % 30 "," (u == 11 && i == 3 ? "1e30" : 1) }' >big.csv
thaw prepare --events big.csv --columns user,item,value --out big --parts 3 --quiet >/dev/null
expect 79 ranks 2 thaw train --data big --out x --strength raw --alpha 1e10 --quiet
grep -q 'row [0-9]* of users' err || fail "overflow: $(cat err)"

# Early stops by tolerance and by quality.
thaw prepare --events log/events-*.csv --out fresh --event-weights view=1,cart=3,buy=5 --parts 7 --quiet >/dev/null
expect 0 thaw train --data fresh --out tolerant --factors 4 --iterations 200 --tolerance 1e-3
grep -q 'finished (tolerance)' err || fail "tolerance: $(cat err)"
expect 0 thaw train --data fresh --out patient --factors 8 --iterations 200 --holdout-users 0.3 --patience 2 --quality-known 3
grep -q 'finished (quality)' err || fail "patience: $(cat err)"

# The best iteration is what early stopping publishes, whatever came between; its record goes on to the end.
best_of() { awk -F, 'NR > 1 && $3 > best { best = $3; n = $1 } END { print n }' "$1"; }
quality=(thaw train --data fresh --factors 8 --holdout-users 0.3 --quality-known 3)
patient=("${quality[@]}" --quiet --format csv --checkpoint-every 0 --iterations 150)
"${patient[@]}" --patience 3 --out best >best.csv
n=$(kept best)
[ "$n" = "$(best_of best.csv)" ] && [ "$(wc -l <best.csv)" = $((n + 4)) ] || fail "the best of $(cat best.csv) is not $n"
thaw train --data fresh --factors 8 --holdout-users 0.3 --quiet --iterations "$n" --out last >/dev/null
same_model last best "$(printf %06d "$n")" # that iteration and no other
thaw tables --model best --out tables --quiet >/dev/null
"${patient[@]}" --patience 3 --out best >again.csv
cmp best.csv again.csv || fail "a finished model reports something else"
"${patient[@]}" --patience 6 --out best >more.csv # from the best one on
"${patient[@]}" --patience 6 --out unbroken >unbroken.csv
cmp more.csv unbroken.csv || fail "more patience reports something else"
same_model unbroken best "$(basename "$(readlink unbroken/current)" | tr -dc 0-9)"

# Stopped when the best one is long past: both versions are there, and the end is the same.
patient=("${quality[@]}" --quiet --format csv --checkpoint-every 0 --patience 100000 --iterations)
expect 75 signal_at '"iteration":60,' TERM broken.json "${patient[@]}" 100000 --out broken
end=$((10#$(ls broken | sed -n '$s/^iteration-//p') + 30))
"${patient[@]}" $end --out whole2 >whole2.csv
[ -e "broken/$(readlink whole2/current)" ] || fail "without the best one: $(ls broken)"
cp -r broken damaged
mpirun -n 2 --bind-to none "${patient[@]}" $end --out broken >broken.csv
cmp whole2.csv broken.csv || fail "a broken run reports something else"
same_model whole2 broken "$(basename "$(readlink whole2/current)" | tr -dc 0-9)"
for f in damaged/"$(readlink whole2/current)"/items-*.npy; do printf x | dd of="$f" bs=1 seek=200 conv=notrunc 2>/dev/null; done
expect 0 "${quality[@]}" --patience 100000 --iterations $end --out damaged
grep -q 'warning:.*the best so far, are not at hand' err || fail "a damaged best version: $(cat err)"

# The start alone: users are zeros; tables refuse it; training goes on from it.
"${train[@]}" --data fresh --out start --iterations 0 >start.txt
[ "$(kept start)" = 0 ] || fail "the start: $(ls start)"
[ -z "$(tail -qc +129 start/iteration-000000/users-*.npy | tr -d '\0' | sed -n 1p)" ] || fail "users of the start are not zeros"
expect 65 thaw tables --model start --out refused
grep -q 'no iteration' err || fail "tables of the start: $(cat err)"
expect 0 thaw evaluate --data fresh --model start --known 3 --cutoffs 10
grep -q 'warning:.*no iteration' err || fail "evaluation of the start: $(cat err)"
"${train[@]}" --data fresh --out start --iterations 2 >/dev/null
"${train[@]}" --data fresh --out direct --iterations 2 >/dev/null
same_model direct start 000002

# What ranks did, in the log: as many bytes received as sent, and every measure of every iteration.
THAW_NODE_RANKS=1 mpirun -n 3 --bind-to none "${train[@]}" --data fresh --out told --log told.json >/dev/null
python3 - told.json <<'PY' || fail "the log of three ranks: $(cat told.json)"
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
steps = [e for e in events if e["event"] == "iteration"]
assert len(steps) == 6
for e in steps + [e for e in events if e["event"] == "summary"]:
    for name in "compute_s", "wait_s", "sent_bytes", "received_bytes", "messages", "peak_bytes":
        spread = e[name]
        assert 0 <= spread["min"] <= spread["mean"] * (1 + 1e-12) and spread["mean"] <= spread["max"] * (1 + 1e-12), name
    assert e["sent_bytes"]["mean"] == e["received_bytes"]["mean"] > 0
    assert 1 <= e["imbalance_modelled"] < 3 and e["imbalance_measured"] >= 1
    assert e["users_s"] > 0 and e["items_s"] > 0 and e["cpu_s"] >= 0
halves = {e["side"]: e for e in events if e["event"] == "half"}
assert set(halves) == {"users", "items"} and all(h["rows_moved"] > 0 and h["work"]["min"] > 0 for h in halves.values())
memory, = [e for e in events if e["event"] == "memory"]
assert 1 <= memory["interactions_times"] < 4
PY
