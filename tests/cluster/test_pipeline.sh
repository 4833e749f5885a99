#!/usr/bin/env bash
# The steps of a job file as chained Slurm jobs, by slurm/submit, and in one allocation under mpirun: the bytes of a plain run.
# labels: once
# cost: 40
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
write_job 10
start_reference

# ---- Chained, by srun and PMIx ----
ada "$scripts/submit" job.ini --dry-run >"$tmp/plan" || fail "submit --dry-run ends with $?"
[ "$(grep -c '^sbatch .*thaw-run.sbatch' "$tmp/plan")" = 4 ] && [ -z "$(ada squeue -h)" ] || fail "the plan is: $(cat "$tmp/plan")"
ada "$scripts/submit" job.ini --nodes 3 >"$tmp/submitted" || fail "submit ends with $?"
jobs=$(sed -n 's/^[a-z]*: job \([0-9]*\)$/\1/p' "$tmp/submitted")
[ "$(wc -w <<<"$jobs")" = 4 ] || fail "submitted: $(cat "$tmp/submitted")"
for job in $jobs; do wait_job 120 "$job" COMPLETED; done
grep -q 'thaw-slurm: srun --mpi=pmix .* --steps train' "$home"/job-train-*.out || fail "train was not started by srun"
grep -q 'run on 3 ranks' "$home"/job-train-*.out || fail "train did not run on 3 ranks"
same_as_reference "$home/job"
ada "$scripts/submit" job.ini >"$tmp/submitted" || fail "submit ends with $?"
grep -q 'nothing to do' "$tmp/submitted" || fail "a finished job file is submitted again"

# ---- The whole of it as one job, by mpirun ----
job=$(ada env THAW_LAUNCH='mpirun -n 6' sbatch --parsable -N 3 --ntasks-per-node=2 "$scripts/thaw-run.sbatch" job.ini \
    --set job.out=by-mpirun)
wait_job 120 "$job" COMPLETED
grep -q 'run on 6 ranks.*hosts node1 and others' "$home/thaw-run-$job.out" || fail "mpirun did not start 6 ranks on the nodes"
same_as_reference "$home/by-mpirun"
