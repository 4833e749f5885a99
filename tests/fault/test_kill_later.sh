#!/usr/bin/env bash
# SIGKILL of each rank in each phase of what comes after training: tables, evaluation, and the jobs for new users.
# labels: kill
# cost: 120
. "$THAW_SOURCE/tests/fault/common"

# A new version dies as it is written: readers have the old one, and the next run cleans up.
killed_beside_old() { # PHASE RANK
    cp -r "$tmp/whole.tables/tables" .
    THAW_FAULT=$2:$1:1 job 3 tables --force
    [ "$status" != 0 ] || fail "was not killed"
    thaw-lookup check tables >check 2>&1 || fail "the old tables: $(cat check)"
    [ "$(readlink tables/current)" = v000001 ] || fail "current moved"
    rm check
    outcome="ends with $status, old tables whole"
    again 2 tables --force
    same_current tables
}

# A step of `thaw run` is done, and its record is not: the next run finds the result, and does not make it again.
killed_before_record() {
    printf '[job]\nout = out\n[prepare]\nevents = %s/in/events/*.csv\nparts = 5\n' "$tmp" >job.ini
    THAW_FAULT=0:end:1 launch 3 thaw run job.ini
    [ "$status" != 0 ] || fail "was not killed"
    recovered=$(now)
    launch 2 thaw run job.ini
    recovered=$(($(now) - recovered))
    [ "$status" = 0 ] || fail "the rerun ended with $status: $(tail -3 "$run/err")"
    grep -q 'out/data is finished already' "$run/err" || fail "made again: $(cat "$run/err")"
    outcome="the rerun takes the result as it is"
}

make_inputs
make_whole tables augment associate prior evaluate synth
kill_in_phases tables write:1 commit:1 publish:1 end:1
for phase in write commit publish; do
    matrix "SIGKILL of a rank" "tables: rank 0 in $phase of a second version" killed_beside_old $phase 0
done
kill_in_phases augment step:5 checkpoint:2 commit:2 publish:1 end:1
kill_in_phases associate count:1 factor:1 publish:1 end:1
kill_in_phases prior factor:1 publish:1 end:1
kill_in_phases evaluate rank:1 end:1
kill_in_phases synth write:1 end:1
matrix "SIGKILL of a rank" "run: rank 0 before a finished step is recorded" killed_before_record
finish
