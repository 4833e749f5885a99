#!/usr/bin/env bash
# A training that Slurm ends, for three reasons, and that goes on by itself: the same bytes. One that is cancelled does not go on.
# labels: once
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
write_job 300
start_reference
ada thaw run job.ini --steps synth prepare --quiet >/dev/null

# ---- The time limit, with a warning before it (Slurm looks every 30 s whether one is due) ----
job=$(submit_job -N 3 --time=2 --signal=B:USR1@110)
log=$home/thaw-run-$job.out
until_true 60 "training has begun" reached "$home/job/model" 20
signal_ranks STOP
until_true 120 "the warning comes" grep -q 'USR1 received' "$log"
signal_ranks CONT
until_true 120 "the job is requeued" restarted "$job" 1
cluster root scontrol update JobId="$job" TimeLimit=30

# ---- Preemption: TERM to the ranks, not to the script ----
goes_on 1 "$job"
signal_ranks STOP
urgent=$(ada sbatch --parsable -p urgent --exclusive -N 2 --wrap 'sleep 1')
until_true 120 "the preempted job is requeued" restarted "$job" 2
wait_job 10 "$urgent" COMPLETED

# ---- A signal from its owner ----
goes_on 2 "$job"
ada scancel --signal=USR1 --batch "$job"
until_true 120 "the job is requeued" restarted "$job" 3
wait_job 180 "$job" COMPLETED
[ "$(grep -c 'requeueing job' "$log")" = 3 ] || fail "it was not the script that requeued, three times"
same_as_reference "$home/job"

# ---- scancel: state saved, no requeue ----
cancelled_is_saved
