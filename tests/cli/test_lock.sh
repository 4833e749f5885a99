#!/usr/bin/env bash
# Two jobs on one folder: the second is refused at once and told who is there; the folder is free when the first has ended, however it
# ended; locks leave nothing behind and are no input.
# labels: lock
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
pid=""
trap '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null || :; rm -rf "$tmp" "$tmp.mpi"' EXIT
wait_for() { # FILE: of the process $pid
    until [ -e "$1" ]; do
        kill -0 $pid 2>/dev/null || fail "$1 never came"
        sleep 0.02
    done
}

thaw synth --out log --users 200 --items 80 --interactions 4000 --quiet >/dev/null
thaw prepare --events log/events-*.csv --out data --event-weights view=1,cart=3,buy=5 --parts 5 --quiet >/dev/null
train=(thaw train --data data --factors 64 --solver cholesky --iterations 100000 --quiet) # no end while the test needs it

# While a training runs, no other may, with --force neither; it is named with its process, host and start.
SLURM_JOB_ID=4711 "${train[@]}" --out model --log log.json >/dev/null 2>first.err &
pid=$!
wait_for model.lock
await '"iteration":2,' log.json $pid
grep -qE "^thaw train, process $pid on [^ ]+, Slurm job 4711, since 20[0-9T:-]+Z$" model.lock || fail "who: $(cat model.lock)"
for command in "thaw train --data data --out model" "thaw train --data data --out ./model/ --force --factors 3" \
    "ranks 2 thaw train --data data --out model --quiet" "thaw synth --out model --users 9 --items 9 --interactions 99 --force" \
    "thaw prepare --events log/events-00000-of-*.csv --out model --force"; do
    # shellcheck disable=SC2086
    expect 64 $command
    grep -q "model/*: thaw train, process $pid on .* is writing here: wait for it, or name another folder" err || fail "$command: $(cat err)"
    [ "$(grep -c 'error:' err)" = 1 ] || fail "more than one line: $(cat err)"
done
kill -TERM $pid
got=0
wait $pid || got=$?
[ $got = 75 ] || fail "the first job was disturbed, exit $got: $(cat first.err)"
pid=""
[ ! -e model.lock ] || fail "a lock stays after a stop"
"${train[@]}" --out model --iterations "$(($(basename "$(readlink model/current)" | tr -dc 0-9 | sed 's/^0*//') + 1))" >/dev/null
[ ! -e model.lock ] || fail "a lock stays"

# Killed: the file stays, and is no obstacle. Nor is what anybody puts there.
"${train[@]}" --out killed >/dev/null 2>&1 &
pid=$!
wait_for killed.lock
kill -KILL $pid
wait $pid 2>/dev/null || :
pid=""
[ -e killed.lock ] || fail "who removed it?"
"${train[@]}" --out killed --iterations 1 >/dev/null
[ ! -e killed.lock ] || fail "the killed run's lock stays"
echo nonsense >next.lock
"${train[@]}" --out next --iterations 1 >/dev/null
[ ! -e next.lock ] || fail "nonsense stays"

# A job file: one run at a time, and the steps' own folders are held too. A plan needs no lock.
cat >job.ini <<'END'
[job]
out = whole
[prepare]
events = log/events-*.csv
event-weights = view=1,cart=3,buy=5
[train]
factors = 64
solver = cholesky
iterations = 100000
END
thaw run job.ini --quiet >/dev/null 2>first.err &
pid=$!
wait_for whole/model.lock
expect 64 thaw run job.ini
grep -q "whole: thaw run, process $pid on" err || fail "a second run: $(cat err)"
expect 64 thaw run job.ini --force
expect 0 thaw run job.ini --dry-run
expect 64 thaw train --data whole/data --out whole/model
grep -q "whole/model: thaw train, process $pid on" err || fail "its step: $(cat err)"
kill -TERM $pid
wait $pid || [ $? = 75 ] || fail "the run: $(cat first.err)"
pid=""
[ -z "$(find . -name '*.lock')" ] || fail "locks stay: $(find . -name '*.lock')"

# A lock that is held on rank 0 ends all ranks alike; a failure lets go too.
ranks 3 thaw train --data data --out many --iterations 1 --quiet >/dev/null || fail "three ranks"
expect 65 ranks 2 thaw train --data data --out many --iterations 1 --virtual-users --virtual data
[ ! -e many.lock ] || fail "a failure keeps the lock"

# Among event logs, a lock is not one.
mkdir mixed
cp log/events-*.csv mixed
echo "not,an,event" >mixed/data.lock
thaw prepare --events mixed --out mixed/data --event-weights view=1,cart=3,buy=5 --parts 5 --quiet >listed
grep -q 'not,an,event' mixed/data/quarantine.tsv 2>/dev/null && fail "a lock was read as a log"
cmp data/users-00001-of-00005.npz mixed/data/users-00001-of-00005.npz || fail "another dataset"
