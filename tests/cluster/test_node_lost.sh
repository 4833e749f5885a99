#!/usr/bin/env bash
# A compute node dies in the middle of training: Slurm requeues the job, and it finishes on the nodes that are left with the same bytes.
# labels: once
# cost: 90
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
write_job
ada thaw run job.ini --steps synth prepare --quiet >/dev/null

job=$(submit_job -N 2-3)
log=$home/thaw-run-$job.out
until_true 180 "training has begun" reached "$home/job/model" 20
[ "$(field "$job" NodeList)" = 'node[1-3]' ] || fail "it does not run on 3 nodes"
cluster kill-node 3
say "node 3 is dead"
ends_soon "$home/job" # the ranks that are left wait for the third
wait_job 360 "$job" COMPLETED
[ "$(field "$job" Restarts)" = 1 ] || fail "it was started again $(field "$job" Restarts) times"
[ "$(field "$job" NodeList)" = 'node[1-2]' ] || fail "it ran again on $(field "$job" NodeList)"
cluster root sinfo -h -n node3 -o %t | grep -q '^down' || fail "Slurm does not know that node 3 is down"
grep -q 'going on from job/model/iteration-' "$log" || fail "it did not go on from a checkpoint"
grep -q 'run on 2 ranks' "$log" || fail "it did not run on 2 ranks"
same_as_reference "$home/job"

# ---- The node comes back, and works ----
cluster restart-node 3
cluster wait-idle 60 || fail "node 3 is not back: $(cluster root sinfo -N)"
[ "$(ada srun -w node3 hostname)" = node3 ] || fail "node 3 does not work"
