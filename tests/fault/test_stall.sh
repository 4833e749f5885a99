#!/usr/bin/env bash
# A rank that stands still ends the job: one line names it and its phase, the status is 69, and no process is left, whether
# the launcher ends the others or not. A job that was suspended as a whole is not one that stands still.
# labels: stall
# cost: 120
. "$THAW_SOURCE/tests/fault/common"

limit_s=10 # far more than a rank of a small job ever waits, even on a busy machine
make_inputs

# Start training on 3 ranks as `start` does, but ABORT says whether mpirun ends all ranks when one ends with an error. Where
# it does not, it does not tell their status either: each is kept in a file.
begin() { # ABORT OPTION...
    local abort=$1 words
    read -rd '' -a words <<<"${job[train]}" || :
    shift
    run=$(mktemp -d "$tmp/run.XXXXXX")
    # shellcheck disable=SC2016 # the inner shell's
    THAW_CASE=$run OMPI_MCA_orte_abort_on_non_zero_status=$abort timeout -k 5 "$limit" mpirun -n "${ranks-3}" --bind-to none bash -c \
        'put() { echo "$2" >"$THAW_CASE/.$1.$OMPI_COMM_WORLD_RANK" && mv "$THAW_CASE/.$1.$OMPI_COMM_WORLD_RANK" "$THAW_CASE/$1.$OMPI_COMM_WORLD_RANK"; }
         echo $PPID >"$THAW_CASE/mpirun"
         [ "$1" = 0 ] || { put rank $$; shift; exec "$@"; }
         shift; "$@" & put rank $!; got=0; wait $! || got=$?; put status $got; exit $got' - "$abort" \
        "${words[@]}" --stall-timeout $limit_s "$@" >"$run/out" 2>"$run/err" </dev/null &
    launched=$!
}

# Stopped (once it has told where it is), a rank is silent. mpirun has to end it: a stopped process does not do that itself.
stopped() { # RANK
    THAW_FAULT=$1:solve:2:hang begin 1
    ended
    refused 69 "rank $1 of 3 \([^)]+\): nothing has been heard of it for [0-9]+ s, .*in phase solve"
    outcome="named; exit 69"
}

# Far behind, it says where it is. Here nobody ends the others: each hears it from rank 0.
behind() { # RANK
    THAW_FAULT=$1:solve:2:slow begin 0
    ended
    refused 69 "rank $1 of 3 \([^)]+\): has kept the others waiting for [0-9]+ s in phase solve"
    outcome="named; exit 69"
}

# All ranks hang in the file system at once: nobody waits in MPI.
hanging() { # RANKS' FAULT
    THAW_FAULT=0:$1,1:$1,2:$1 begin 0
    ended
    refused 69 "rank 0 of 3 \([^)]+\): has stood still for [0-9]+ s in phase [a-z]+ \(and 2 more ranks\), and no rank waits for another"
    outcome="named; exit 69"
}

# So much work that it cannot be over before the test is, on any machine.
endless=(--factors 64 --solver cholesky --iterations 100000 --checkpoint-every 0)

# All ranks at once: the first that is told to stop stops them all, so that the last could be gone before its turn.
pids() { for rank in 0 1 2; do pid_of $rank; done; }

# Datagrams that are lost, all or those of one rank, take no job its life: it is stopped, goes on, and ends with its bytes.
unheard() { # RANK...
    local fault="" rank reached more
    job[train]=${job[train]/--quiet/}
    for rank in "$@"; do fault+=",$rank:beat:1+:eio"; done
    THAW_FAULT=${fault#,} begin 0 "${endless[@]}"
    pid_of 2 >/dev/null
    until grep -q 'warning: rank [12] of 3 .*: the watchdog does not hear it' "$run/err"; do
        gone "$launched" && fail "ended early: $(tail -3 "$run/err")"
        pause
    done
    sleep $((2 * limit_s))
    ! gone "$launched" || fail "ended early: $(tail -3 "$run/err")"
    # shellcheck disable=SC2046
    kill -TERM $(pids) || fail "gone before the end"
    ended
    refused 75 "stopped on request after iteration"
    reached=$(sed -n 's/.*stopped on request after iteration \([0-9]*\).*/\1/p' "$run/err")
    more=("${endless[@]}" --iterations $((reached + 5)))
    cp -r model undisturbed
    THAW_FAULT=${fault#,} begin 0 "${more[@]}"
    ended
    [ "$status" = 0 ] || fail "exit $status: $(tail -3 "$run/err")"
    job 1 train "${more[@]}" --out undisturbed
    diff -r -x manifest.pb undisturbed/current/ model/current/ >"$dir.diff" || fail "not the same: $(head -5 "$dir.diff")"
    detected=""
    outcome="no alarm, the whole result"
}

# Far more ranks than cores.
crowd() { # FAULT
    limit=300 limit_s=40
    thaw prepare --events ../in/events --event-weights view=1,cart=3,buy=5 --parts 40 --out data --quiet >/dev/null
    job[train]=${job[train]/..\/in\/data/data}
    ranks=32
    THAW_FAULT=$1 begin "${2-0}"
    ended
}
crowd_ends() {
    crowd ""
    [ "$status" = 0 ] || fail "exit $status: $(tail -3 "$run/err")"
    mkdir alone
    read -rd '' -a words <<<"${job[train]/--data /--data ../}" || :
    (cd alone && "${words[@]}" >/dev/null)
    diff -r -x manifest.pb alone/model/current/ model/current/ >"$dir.diff" || fail "not the same: $(head -5 "$dir.diff")"
    detected=""
    outcome="no alarm, the whole result"
}
crowd_stopped() { # RANK
    crowd "$1:solve:2:hang" 1
    refused 69 "rank $1 of 32 \([^)]+\): nothing has been heard of it for [0-9]+ s, .*in phase solve"
    outcome="named; exit 69"
}

# All ranks are stopped for longer than the limit, and go on.
suspended() {
    local pids
    begin 0 "${endless[@]}" --log log
    pids=$(pids)
    until grep -qs '"event":"iteration"' log; do
        gone "$launched" && fail "ended early: $(tail -3 "$run/err")"
        pause
    done
    # shellcheck disable=SC2086
    kill -STOP $pids
    sleep $((limit_s + 5))
    # shellcheck disable=SC2086
    kill -CONT $pids
    sleep 3
    # shellcheck disable=SC2086
    kill -TERM $pids
    ended
    refused 75 "stopped on request"
    outcome="goes on"
}

together=3 # they wait
for rank in 0 1 2; do matrix "standstill" "train: rank $rank stopped in solve" stopped $rank; done
for rank in 0 1; do matrix "standstill" "train: rank $rank far behind in solve" behind $rank; done
matrix "standstill" "train: all ranks hang as they write" hanging write:1:slow
matrix "standstill" "train: no datagram of the watchdog arrives" unheard 0 1 2
matrix "standstill" "train: the datagrams of one rank are lost" unheard 2
matrix "standstill" "train: all ranks suspended for longer than --stall-timeout" suspended
matrix "standstill" "train: 32 ranks on few cores" crowd_ends
matrix "standstill" "train: 32 ranks, one stopped in solve" crowd_stopped 17
finish
