#!/usr/bin/env bash
# Where Slurm has no PMIx, mpirun starts the ranks: what Slurm ends for three reasons goes on by itself, with the same bytes, and what is
# cancelled does not.
# labels: once
. "$THAW_SOURCE/tests/cluster/common.sh"
plugins=$(readlink -f "$(dirname "$(find -L /usr/lib /usr/lib64 -name mpi_pmix.so -print -quit 2>/dev/null)")")
[ -r "$plugins/mpi_none.so" ] || { echo "skipped: Slurm's plugins are not found"; exit 77; }
mkdir "$tmp/plugins"
ln -s "$plugins"/*.so "$tmp/plugins/"
rm "$tmp"/plugins/mpi_pmi*
chmod 755 "$tmp"
begin --set PluginDir="$tmp/plugins"
write_job 300
start_reference
ada thaw run job.ini --steps synth prepare --quiet >/dev/null

preempted() { [[ $(field "$job" PreemptTime) == 2* ]]; }

# ---- The time limit, with a warning before it (Slurm looks every 30 s whether one is due) ----
job=$(submit_job -N 3 --time=2 --signal=B:USR1@110)
log=$home/thaw-run-$job.out
until_true 60 "training has begun" reached "$home/job/model" 20
grep -q 'thaw-slurm: env .* mpirun -n 3 ' "$log" || fail "mpirun was not what started it"
signal_ranks STOP
until_true 120 "the warning comes" grep -q 'USR1 received' "$log"
signal_ranks CONT
until_true 120 "the job is requeued" restarted "$job" 1
cluster root scontrol update JobId="$job" TimeLimit=30

# ---- Preemption: TERM to the ranks and to the daemons of mpirun ----
goes_on 1 "$job"
signal_ranks STOP
urgent=$(ada sbatch --parsable -p urgent --exclusive -N 2 --wrap 'sleep 1')
until_true 60 "the job is preempted" preempted
signal_ranks CONT # Slurm does that to its steps; on the first node mpirun itself runs the ranks
until_true 120 "the preempted job is requeued" restarted "$job" 2
wait_job 10 "$urgent" COMPLETED

# ---- Preemption where the site has Slurm warn the script instead ----
goes_on 2 "$job"
echo SlurmctldParameters=preempt_send_user_signal >>"$tmp/etc/slurm.conf"
cluster root scontrol reconfigure
urgent=$(ada sbatch --parsable -p urgent --exclusive -N 2 --wrap 'sleep 1')
until_true 120 "the preempted job is requeued" restarted "$job" 3
wait_job 10 "$urgent" COMPLETED
[ "$(grep -c 'USR1 received' "$log")" = 2 ] || fail "the script was not warned of its preemption"

wait_job 240 "$job" COMPLETED
[ "$(grep -c 'requeueing job' "$log")" = 3 ] || fail "it was not the script that requeued, three times"
same_as_reference "$home/job"

# ---- scancel: state saved, no requeue ----
cancelled_is_saved
