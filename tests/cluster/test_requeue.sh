#!/usr/bin/env bash
# A training that Slurm ends, for three reasons, and that goes on by itself: the same bytes. One that is cancelled does not go on.
# labels: once
# cost: 110
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
write_job
ada thaw run job.ini --steps synth prepare --quiet >/dev/null

# ---- The time limit, with a warning before it ----
warned_and_requeued

# ---- Preemption: TERM to the ranks, not to the script ----
goes_on 1 "$job"
signal_ranks STOP # Slurm lets them go on
preempt -N 2
preempted 2

# ---- A signal from its owner ----
goes_on 2 "$job"
ada scancel --signal=USR1 --batch "$job"
ends_well

# ---- scancel: state saved, no requeue ----
cancelled_is_saved
