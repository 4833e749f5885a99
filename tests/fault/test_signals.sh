#!/usr/bin/env bash
# SIGTERM and SIGUSR1, to one rank and to the launcher, in each phase of each job: 75 (or the whole result, when it came too
# late to stop anything), nothing half-made, and the rerun ends with the bytes of an uninterrupted run.
# labels: signals
# cost: 80
. "$THAW_SOURCE/tests/fault/common"

# Rank 1 stops itself in the phase; the signal is there when it goes on.
signalled() { # JOB PHASE PASS SIGNAL TO
    local pid stray
    THAW_FAULT=1:$2:$3:stop job_start 3 "$1"
    await_stopped 1
    pid=$(pid_of 1)
    strike
    if [ "$5" = launcher ]; then
        kill -s "$4" "$(<"$run/mpirun")"
        await_pending "$4" "$pid"
    else
        kill -s "$4" "$pid"
    fi
    go_on "$pid"
    ended
    if [ "$status" = 0 ]; then
        outcome="0, the whole result: it came too late"
        recovered=0
        same "$1"
        return
    fi
    refused 75
    outcome="75"
    stray=$(strays | grep -v '^./generator.checkpoint$' || :)
    [ -z "$stray" ] || fail "half-made: $stray"
    again 2 "$1"
    case $1 in
        train) same_current train ;;
        *) same "$1" ;;
    esac
}

# The launcher itself is told to end, or dies: it, or its loss, ends the ranks. The stopped one may be gone before its turn to go on:
# mpirun wakes whom it ends, and the kernel sends HUP and CONT to a stopped process group that mpirun's death makes an orphan.
launcher_ends() { # JOB PHASE PASS SIGNAL
    local pid
    THAW_FAULT=1:$2:$3:stop job_start 3 "$1"
    await_stopped 1
    pid=$(pid_of 1)
    strike
    kill -s "$4" "$(<"$run/mpirun")"
    kill -s CONT "$pid" 2>/dev/null || :
    ended
    [ "$status" != 0 ] || fail "ended with 0: $(tail -3 "$run/err")"
    outcome="ends with $status"
    again 2 "$1"
    if [ "$1" = train ]; then same_current train; else same "$1"; fi
}

phases() { # JOB PHASE:PASS...
    local name=$1 word
    shift
    for word in "$@"; do
        matrix "SIGTERM to a rank" "$name: in ${word%:*}" signalled "$name" "${word%:*}" "${word#*:}" TERM rank
        matrix "SIGUSR1 to mpirun" "$name: in ${word%:*}" signalled "$name" "${word%:*}" "${word#*:}" USR1 launcher
    done
}

make_inputs
make_whole prepare train tables augment prior evaluate
phases prepare read:1 shuffle:1 merge:1 write:1 commit:1
phases train load:1 exchange:3 solve:7 checkpoint:1 commit:1 publish:1
phases tables write:1 commit:1
phases augment step:2 checkpoint:1 commit:1
phases prior factor:1
phases evaluate rank:1
for name in TERM KILL; do
    matrix "SIG$name to mpirun" "prepare: in shuffle" launcher_ends prepare shuffle 1 $name
    matrix "SIG$name to mpirun" "train: in solve" launcher_ends train solve 7 $name
done
finish
