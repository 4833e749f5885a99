#!/usr/bin/env bash
# A network cable comes out in the middle of training, and nobody is told: the job ends by itself within --stall-timeout, naming phase
# and rank; requeued, it finishes on the nodes that are left with the same bytes.
# labels: once
. "$THAW_SOURCE/tests/cluster/common.sh"
begin --set SlurmdTimeout=300 # Slurm is to notice nothing
write_job 200
start_reference
ada thaw run job.ini --steps synth prepare --quiet >/dev/null

job=$(submit_job -N 2-3 -- --stall-timeout 15)
log=$home/thaw-run-$job.out
until_true 60 "training has begun" reached "$home/job/model" 20
cluster cut-link 3
say "node 3 is cut off"
cut=$SECONDS
until_true 120 "the job says that it stands still" grep 'error: rank 2 of 3 (node3): .* phase [a-z]' "$log"
said=$((SECONDS - cut))
say "told after $said s"
((said <= 30)) || fail "it took $said s, with --stall-timeout 15"
wait_job 120 "$job" 'COMPLETING|FAILED' # Slurm waits for what it cannot hear of
[ "$(field "$job" ExitCode)" = 69:0 ] || fail "it ends with $(field "$job" ExitCode)"

# ---- What the administrator does, and then its owner ----
cluster root scontrol update NodeName=node3 State=DOWN Reason='no link'
wait_job 60 "$job" FAILED
ada scontrol requeue "$job"
until_true 120 "the job runs on the nodes that are left" restarted "$job" 1
[ "$(field "$job" NodeList)" = 'node[1-2]' ] || fail "it runs again on $(field "$job" NodeList)"
wait_job 180 "$job" COMPLETED
grep -q 'going on from job/model/iteration-' "$log" || fail "it did not go on from a checkpoint"
same_as_reference "$home/job"

# ---- Nothing of the cut off job is left on its node ----
cluster join-link 3
cluster root scontrol update NodeName=node3 State=RESUME
cluster wait-idle 60 || fail "node 3 is not back: $(cluster root sinfo -N)"
[ -z "$(ranks)" ] || fail "ranks are left: $(ranks)"
