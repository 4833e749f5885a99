#!/usr/bin/env bash
# A run that was killed goes on with other ranks and threads and ends with the same bytes; no checkpoint is tried for ever.
# labels: resume
# cost: 50
. "$THAW_SOURCE/tests/fault/common"

resumed() { # JOB FAULT RANKS THREADS RANKS THREADS
    THAW_FAULT=$2 job "$3" "$1" --threads "$4"
    [ "$status" != 0 ] || fail "was not killed"
    outcome="ends with $status"
    again "$5" "$1" --threads "$6"
    same "$1"
}

# Three runs from one checkpoint fail before they get further: the fourth says so and does nothing. A record removed, three
# more; --force: from the start.
crash_loop() { # JOB FAULT-BEFORE-ANY-CHECKPOINT FAULT-AFTER-ONE RECORD
    local i
    THAW_FAULT=$3 job 2 "$1"
    for i in 1 2 3; do
        THAW_FAULT=$2 job 2 "$1"
        [ "$status" != 0 ] && [ "$status" != 65 ] || fail "run $i from one checkpoint ended with $status: $(tail -3 "$run/err")"
    done
    THAW_FAULT=$2 job 2 "$1"
    refused 65 '3 runs' "$4"
    [ -e "$4" ] || fail "no $4"
    rm "$4"
    outcome="65 after 3 failed runs, free again"
    again 3 "$1"
    same "$1"
}

# Each time a little further is not a loop.
slow_progress() {
    local i
    for i in 1 2 3 4 5; do
        THAW_FAULT=0:solve:4 job 2 train --checkpoint-every 1
        [ "$status" != 0 ] && [ "$status" != 65 ] || fail "run $i ended with $status: $(tail -3 "$run/err")"
    done
    outcome="5 deaths, each after a checkpoint"
    again 2 train --checkpoint-every 1
    same_current train
}

make_inputs
make_whole train augment
for launch in "2 3" "4 1" "1 4"; do
    read -r from to <<<"$launch"
    matrix "resume on other ranks and threads" "train: $from to $to ranks" resumed train 0:solve:7 "$from" 1 "$to" 1
    matrix "resume on other ranks and threads" "augment: $from to $to ranks" resumed augment 0:step:5 "$from" 1 "$to" 1
done
matrix "resume on other ranks and threads" "train: 1 to 2 threads" resumed train 0:solve:7 2 1 2 2
matrix "resume on other ranks and threads" "train: 3 ranks of 1 thread to 1 of 3" resumed train 0:solve:7 3 1 1 3
matrix "resume on other ranks and threads" "augment: 2 to 1 threads" resumed augment 0:step:5 2 2 2 1
matrix "no crash loop" "train: killed as it solves" crash_loop train 0:solve:1 0:solve:7 model/attempts.pb
matrix "no crash loop" "augment: killed in a step" crash_loop augment 0:step:1 0:step:5 generator.checkpoint/attempts.pb
matrix "no crash loop" "train: dies often but gets on" slow_progress
finish
