#!/usr/bin/env bash
# Two jobs on one folder: the second is refused and told who is there, and the first is not disturbed; when the first was
# killed, the folder is free.
# labels: lock
# cost: 20
. "$THAW_SOURCE/tests/fault/common"

two_jobs() { # JOB PHASE
    local first_run first began pid
    THAW_FAULT=1:$2:1:stop job_start 3 "$1"
    await_stopped 1
    first_run=$run first=$launched pid=$(pid_of 1)
    began=$(now)
    THAW_FAULT="" job 2 "$1"
    detected=$(($(now) - began))
    refused 64 "process $(<"$first_run/rank.0")\b" "thaw $1"
    THAW_FAULT="" job 2 "$1" --force
    refused 64 "process $(<"$first_run/rank.0")\b"
    run=$first_run launched=$first
    go_on "$pid"
    local found=$detected
    ended
    detected=$found
    [ "$status" = 0 ] || fail "the first job ended with $status: $(tail -3 "$run/err")"
    same "$1"
    outcome="64, the holder is named"
}

free_after_death() { # JOB PHASE
    THAW_FAULT=0:$2:1 job 3 "$1"
    [ "$status" != 0 ] || fail "was not killed"
    outcome="free after SIGKILL"
    again 2 "$1"
    if [ "$1" = tables ]; then same_current tables; else same "$1"; fi
}

make_inputs
make_whole prepare train tables augment prior
for word in prepare:merge train:solve tables:write augment:step prior:factor; do
    matrix "two jobs on one folder" "${word%:*}: while it is in ${word#*:}" two_jobs "${word%:*}" "${word#*:}"
    matrix "two jobs on one folder" "${word%:*}: killed in ${word#*:}" free_after_death "${word%:*}" "${word#*:}"
done
finish
