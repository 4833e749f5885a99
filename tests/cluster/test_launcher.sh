#!/usr/bin/env bash
# Started as singletons, by a launcher that does not suit the MPI, Thaw stops and says which line would have been right.
# labels: once
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
for mpi in none pmi2; do
    status=0
    ada srun --mpi=$mpi -N 3 -n 3 thaw train --data nowhere --out model >"$tmp/out" 2>&1 || status=$?
    [ $status = 64 ] || fail "with --mpi=$mpi it ends with $status: $(cat "$tmp/out")"
    [ "$(grep -c "error: .*'srun --mpi=pmix -n 3 thaw ...' or 'mpirun -n 3 thaw ...'" "$tmp/out")" = 3 ] ||
        fail "with --mpi=$mpi the right launch line is not given: $(cat "$tmp/out")"
    ! grep -v -e 'thaw train: error:' -e '^srun: ' "$tmp/out" || fail "with --mpi=$mpi more is said: $(cat "$tmp/out")"
done
[ ! -e "$home/model" ] || fail "a folder was made"
status=0
ada srun --mpi=pmix -N 3 -n 3 thaw train --data nowhere --out model >"$tmp/out" 2>&1 || status=$?
[ $status = 66 ] || fail "by the right line it ends with $status: $(cat "$tmp/out")"
