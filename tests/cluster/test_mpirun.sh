#!/usr/bin/env bash
# Where Slurm has no PMIx, mpirun starts the ranks: what Slurm ends for three reasons goes on by itself, with the same bytes, and what is
# cancelled does not.
# labels: once
# cost: 170
. "$THAW_SOURCE/tests/cluster/common.sh"
plugins=$(readlink -f "$(dirname "$(find -L /usr/lib /usr/lib64 -name mpi_pmix.so -print -quit 2>/dev/null)")")
[ -r "$plugins/mpi_none.so" ] || { echo "skipped: Slurm's plugins are not found"; exit 77; }
mkdir "$tmp/plugins"
ln -s "$plugins"/*.so "$tmp/plugins/"
rm "$tmp"/plugins/mpi_pmi*
chmod 755 "$tmp"
begin --set PluginDir="$tmp/plugins"
write_job
ada thaw run job.ini --steps synth prepare --quiet >/dev/null
takes_over() { [[ $(field "$job" PreemptTime) == 2* ]]; }
# The step beside the ranks is ready: it sleeps.
listens() { cluster root bash -c "grep -qzx '[i]nfinity' /proc/[0-9]*/cmdline" 2>/dev/null; }

# ---- Preemption of a job of one node, whose ranks belong to no step: a step beside them passes it on ----
ada mkdir alone
ada cp -a job/log job/data job/job.pb alone/
job=$(submit_job -N 1 -- --set job.out=alone)
log=$home/thaw-run-$job.out
until_true 180 "training has begun" reached "$home/alone/model" 20
until_true 60 "the step that hears TERM has begun" listens
signal_ranks STOP
preempt -N 3
until_true 60 "the job is preempted" takes_over
until_true 60 "its script is told" grep -q 'TERM received' "$log" # in the grace, as the stopped ranks keep the job there
signal_ranks CONT
until_true 60 "the job is requeued" in_state "$job" PENDING
grep -q 'stopped on request after iteration [0-9]*, which is saved' "$log" || fail "its state is not saved: $(tail -n 5 "$log")"
ends_soon "$home/alone"
wait_job 240 "$job" COMPLETED
wait_job 60 "$urgent" COMPLETED
[ "$(field "$job" Restarts)" = 1 ] && [ "$(grep -c 'requeueing job' "$log")" = 1 ] || fail "it was not the script that requeued, once"
same_as_reference "$home/alone"
write_job

# ---- The time limit, with a warning before it ----
warned_and_requeued
grep -q 'thaw-slurm: env .* mpirun -n 3 ' "$log" || fail "mpirun was not what started it"

# ---- Preemption: TERM to the ranks and to the daemons of mpirun ----
goes_on 1 "$job"
signal_ranks STOP
preempt -N 2
until_true 60 "the job is preempted" takes_over
signal_ranks CONT # Slurm does that to its steps; on the first node mpirun itself runs the ranks
preempted 2

# ---- Preemption where the site has Slurm warn the script instead ----
goes_on 2 "$job"
echo SlurmctldParameters=preempt_send_user_signal >>"$tmp/etc/slurm.conf"
cluster root scontrol reconfigure
preempt -N 2
ends_well
wait_job 60 "$urgent" COMPLETED
[ "$(grep -c 'USR1 received' "$log")" = 2 ] || fail "the script was not warned of its preemption"

# ---- scancel: state saved, no requeue ----
cancelled_is_saved
