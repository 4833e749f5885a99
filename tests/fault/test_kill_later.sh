#!/usr/bin/env bash
# SIGKILL of each rank in each phase of what comes after training: tables, evaluation, and the jobs for new users.
# labels: kill
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

make_inputs
make_whole tables augment associate prior evaluate
kill_in_phases tables write:1 commit:1 publish:1
for phase in write commit publish; do
    matrix "SIGKILL of a rank" "tables: rank 0 in $phase of a second version" killed_beside_old $phase 0
done
kill_in_phases augment step:5 checkpoint:2 commit:2 publish:1
kill_in_phases associate count:1 factor:1
kill_in_phases prior factor:1 publish:1
kill_in_phases evaluate rank:1
finish
