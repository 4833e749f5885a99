#!/usr/bin/env bash
# A training that Slurm ends, for three reasons, and that goes on by itself: the same bytes. One that is cancelled does not go on.
# labels: once
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
write_job 300
start_reference
ada thaw run job.ini --steps synth prepare --quiet >/dev/null
goes_on() { # RESTARTS: after so many, from the newest checkpoint
    local stopped
    until_true 60 "restart $1 goes on" told "$1"
    stopped=$(sed -n 's|.*going on from job/model/iteration-0*\([0-9]*\) .*|\1|p' "$log" | tail -n 1)
    say "restart $1 goes on from iteration $stopped"
    [ "$stopped" -gt "$before" ] || fail "restart $1 begins where the one before did"
    before=$stopped
    until_true 60 "restart $1 gets further" reached "$home/job/model" $((stopped + 10))
}
told() { [ "$(grep -c 'going on from' "$log")" = "$1" ] && grep -q "job .*, restart $1," "$log"; }
before=0

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
goes_on 1
signal_ranks STOP
urgent=$(ada sbatch --parsable -p urgent --exclusive -N 2 --wrap 'sleep 1')
until_true 120 "the preempted job is requeued" restarted "$job" 2
wait_job 10 "$urgent" COMPLETED

# ---- A signal from its owner ----
goes_on 2
ada scancel --signal=USR1 --batch "$job"
until_true 120 "the job is requeued" restarted "$job" 3
wait_job 180 "$job" COMPLETED
[ "$(grep -c 'requeueing job' "$log")" = 3 ] || fail "it was not the script that requeued, three times"
same_as_reference "$home/job"

# ---- scancel: state saved, no requeue ----
job=$(submit_job -N 2 -- --set job.out=cancelled)
log=$home/thaw-run-$job.out
until_true 120 "training has begun" reached "$home/cancelled/model" 20
ada scancel "$job"
wait_job 60 "$job" CANCELLED
until_true 30 "its nodes are free" cluster wait-idle 30
grep -q 'not requeued' "$log" || fail "the log does not say why the job is not requeued: $(tail -n 5 "$log")"
[ "$(field "$job" Restarts)" = 0 ] && [ -z "$(ada squeue -h)" ] || fail "a cancelled job is requeued"
ada thaw run job.ini --set job.out=cancelled --dry-run 2>/dev/null | grep -q 'train  *resume' || fail "a cancelled job cannot be resumed"
