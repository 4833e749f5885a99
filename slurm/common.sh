# shellcheck shell=bash
# common.sh: what Thaw's batch scripts share. They source it; it is no script of its own.
#
#   thaw_job JOB [OPTIONS...]   runs 'thaw JOB OPTIONS' on all of the allocation, and ends the batch script
#   thaw_step JOB [OPTIONS...]  the same without the end: leaves the exit status in $thaw_status
#   thaw_end                    ends the batch script with $thaw_status; requeues the job when that is 75
#
# Variables that change what it does: export them, or give them on the sbatch line (--export=ALL,THAW_RANKS=2).
#   THAW           the program, as words: 'apptainer exec thaw.sif thaw'. Default: thaw of THAW_HOME, else of PATH
#   THAW_HOME      where Thaw is installed; the module file sets it
#   THAW_LAUNCH    the launcher with its options, as words. Default: srun with PMIx where Slurm has it, else mpirun
#   THAW_RANKS     ranks of a node. Default: --ntasks-per-node or --ntasks where given, else one per NUMA domain
#   THAW_THREADS   threads of a rank. Default: --cpus-per-task where given, else the cores there are for a rank
#   THAW_RESTARTS  how often a job requeues itself before it gives up; 100. 0: never
set -euo pipefail

thaw_say() { echo "thaw-slurm: $*" >&2; }
thaw_die() { # STATUS WORDS...
    thaw_say "error: ${*:2}"
    exit "$1"
}

# ---- Ranks and threads ----

# Prints "cores domains cpus": physical cores, NUMA domains (sockets where the kernel names none) and CPUs that this shell may use. The
# other nodes of an allocation are taken to be like this one.
thaw_machine() {
    local allowed
    allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
    lscpu -p=CPU,CORE,SOCKET,NODE | awk -F, -v allowed="$allowed" '
        BEGIN {
            n = split(allowed, range, ",")
            for (i = 1; i <= n; i++) {
                split(range[i] "-" range[i], end, "-")
                for (cpu = end[1] + 0; cpu <= end[2] + 0; cpu++) may[cpu] = 1
            }
        }
        /^#/ || !($1 in may) { next }
        {
            cpus++
            if (!core[$2 "," $3]++) cores++
            if (!domain[$4 == "" ? "socket " $3 : $4]++) domains++
        }
        END { print cores, domains, cpus }'
}

# What Slurm calls CPUs: hardware threads, or cores where the site counts those. Prints how many a core has. $1: its hardware threads.
thaw_cpus_of_core() {
    { scontrol show node "${SLURMD_NODENAME:-$(hostname -s)}" 2>/dev/null || true; } | awk -v smt="$1" '
        { for (i = 1; i <= NF; i++) { split($i, word, "="); value[word[1]] = word[2] } }
        END {
            cores = value["Sockets"] * value["CoresPerSocket"]
            print (cores > 0 && value["CPUTot"] >= cores ? int(value["CPUTot"] / cores) : smt)
        }'
}

# Sets ranks (of all nodes), per_node, threads, and cpus (of a rank, as Slurm counts them). $1: a rank for each domain, or core.
thaw_layout() {
    local cores domains all smt mine nodes=${SLURM_JOB_NUM_NODES:-1}
    read -r cores domains all < <(thaw_machine) || thaw_die 66 "lscpu does not tell the cores of this node"
    smt=$(thaw_cpus_of_core $((all / cores)))
    mine=$((${SLURM_CPUS_ON_NODE:-$all} / smt)) # a job may have a part of a node, without a cgroup that says so
    cores=$((mine < 1 ? 1 : mine < cores ? mine : cores))
    per_node=$((domains < cores ? domains : cores))
    if [ "$1" = core ]; then per_node=$cores; fi
    if [ -n "${SLURM_NTASKS-}" ]; then per_node=$(((SLURM_NTASKS + nodes - 1) / nodes)); fi
    if [[ ${SLURM_NTASKS_PER_NODE-} =~ ^[0-9]+ ]]; then per_node=${BASH_REMATCH[0]}; fi
    per_node=${THAW_RANKS:-$per_node}
    ranks=$((per_node * nodes))
    if [ -n "${SLURM_NTASKS-}" ] && [ -z "${THAW_RANKS-}" ]; then ranks=$SLURM_NTASKS; fi
    threads=$((cores / per_node))
    if [ -n "${SLURM_CPUS_PER_TASK-}" ]; then threads=$((SLURM_CPUS_PER_TASK / smt)); fi
    threads=${THAW_THREADS:-$((threads < 1 ? 1 : threads))}
    cpus=$((threads * smt))
    if ((cpus * per_node > ${SLURM_CPUS_ON_NODE:-$((cpus * per_node))})); then cpus=$((SLURM_CPUS_ON_NODE / per_node)); fi
    cpus=${SLURM_CPUS_PER_TASK:-$((cpus < 1 ? 1 : cpus))}
}

# ---- The launcher ----

thaw_has_pmix() { command -v srun >/dev/null && [[ "$(srun --mpi=list 2>&1)" == *pmix* ]]; }

# Does srun bind tasks to cores? Where it does not, OMP_PROC_BIND would put the first thread of every rank on the same core.
thaw_srun_binds() { [[ "$(scontrol show config 2>/dev/null)" =~ TaskPlugin[[:space:]]*=[^$'\n']*affinity ]]; }

# Sets launch, and the variables threads are bound by.
thaw_launcher() {
    local binds=1
    launch=()
    if [ -n "${THAW_LAUNCH-}" ]; then
        read -ra launch <<<"$THAW_LAUNCH"
        binds=0 # its author knows: export OMP_PLACES and OMP_PROC_BIND with it
    elif thaw_has_pmix; then
        launch=(srun --mpi=pmix --kill-on-bad-exit=1 --ntasks="$ranks" --ntasks-per-node="$per_node" --cpus-per-task="$cpus")
        if thaw_srun_binds; then launch+=(--cpu-bind=cores); else binds=0; fi
    elif command -v mpirun >/dev/null; then
        launch=(mpirun -n "$ranks" --map-by "ppr:$per_node:node:PE=$threads" --bind-to core)
    else
        thaw_die 66 "no launcher: srun has no PMIx (srun --mpi=list) and there is no mpirun: load the Open MPI that thaw was built with"
    fi
    thaw_shield_mpirun
    export SRUN_CPUS_PER_TASK=$cpus OMP_NUM_THREADS=$threads PMIX_MCA_gds=${PMIX_MCA_gds-hash}
    # Slurm's own choice of fences lets ranks out of MPI_Init before others are ready to hear of them: on busy nodes, one start in
    # twenty then dies in Open MPI 4.1 (SIGSEGV in btl/tcp). With the ring for both kinds of fence none does.
    export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE-ring}
    if [ $binds = 1 ]; then export OMP_PLACES=${OMP_PLACES-cores} OMP_PROC_BIND=${OMP_PROC_BIND-close}; fi
}

# Slurm sends TERM to all that runs of a job, and mpirun and its daemons answer by killing the ranks after a second. With TERM blocked
# they never see it. Ranks do, as Open MPI unblocks what it starts: they save their state, and mpirun ends with their 75.
thaw_shield_mpirun() {
    [[ ${launch[0]##*/} =~ ^(mpirun|mpiexec|orterun)$ ]] || return 0
    [[ "$("${launch[0]}" --version 2>/dev/null | head -n 1)" =~ \((Open MPI|OpenRTE)\)\ 4\. ]] || return 0
    if env --block-signal=TERM true 2>/dev/null; then
        launch=(env --block-signal=TERM "${launch[@]}")
        export OMPI_MCA_orte_launch_agent=${OMPI_MCA_orte_launch_agent-env --block-signal=TERM orted}
    else
        thaw_say "warning: this env cannot block signals (coreutils 8.31 can): where Slurm sends TERM, mpirun ends the job as failed"
    fi
}

# A preemption tells the steps of a job, and under mpirun a job of one node has none but the batch script, which is not told. So it gets
# a step that hears TERM for it. Where Slurm starts none, all is as it would be without.
thaw_listen() {
    [[ ${launch[0]##*/} != srun && -n ${SLURM_JOB_ID-} && ${SLURM_JOB_NUM_NODES:-1} = 1 ]] || return 0
    command -v srun >/dev/null || return 0
    # shellcheck disable=SC2016 # the step's shell
    local step='hear() { kill -TERM "$script" $!; exit 0; }; script=$1; trap hear TERM; while :; do sleep infinity & wait $!; done'
    srun --overlap --mpi=none --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=0 --gres=none --cpu-bind=none --quiet \
        bash -c "$step" - $$ </dev/null >/dev/null 2>&1 &
    thaw_listener=$!
}
thaw_listen_no_more() {
    local _
    [ -n "$thaw_listener" ] || return 0
    trap '' TERM # srun hands it to the step, which would pass it on
    kill -TERM "$thaw_listener" 2>/dev/null || true
    for _ in {1..50}; do # where Slurm does not answer, srun may not end
        kill -0 "$thaw_listener" 2>/dev/null || break
        sleep 0.1
    done
    trap 'thaw_forward TERM' TERM
}

thaw_program() {
    local found
    program=(thaw)
    if [ -x "${THAW_HOME-}/bin/thaw" ]; then program=("$THAW_HOME/bin/thaw"); fi
    if [ -n "${THAW-}" ]; then read -ra program <<<"$THAW"; fi
    found=$(command -v "${program[0]}") || thaw_die 66 "no '${program[0]}' here: module load thaw, or set PATH, THAW_HOME or THAW"
    program[0]=$found
}

# A job of one rank without a launcher, here in the batch shell: plans and descriptions.
thaw_alone() {
    local program
    thaw_program
    OMP_NUM_THREADS=1 OMPI_MCA_ess_singleton_isolated=1 "${program[@]}" "$@"
}

# ---- The step, and signals to it ----

# Slurm warns the batch shell alone (--signal=B:USR1@300), for it to pass on; TERM comes with scancel, preemption and the time limit
# itself. The launcher gets USR1 for either, and once: srun and mpirun both hand that to every rank, while TERM makes mpirun end them.
thaw_forward() { # SIGNAL
    thaw_caught=1
    [ -z "$thaw_forwarded" ] || return 0
    thaw_forwarded=$1
    thaw_say "$1 received: asking thaw to save its state and stop"
    if [ -n "$thaw_pid" ]; then kill -USR1 "$thaw_pid" 2>/dev/null || true; fi
}

# A signal ends bash's `wait` early, with a status above 128: the step then has to be waited for again.
thaw_wait() {
    local got
    thaw_status=127
    while :; do
        thaw_caught=0 got=0
        wait "$thaw_pid" || got=$?
        [ $got = 127 ] || thaw_status=$got # 127: it had been waited for already
        if ! { [ $got -gt 128 ] && [ $thaw_caught = 1 ]; }; then break; fi
    done
}

thaw_step() {
    local launch program ranks per_node threads cpus
    thaw_pid='' thaw_listener='' thaw_forwarded='' thaw_caught=0 thaw_status=0
    trap 'thaw_forward USR1' USR1
    trap 'thaw_forward TERM' TERM
    thaw_program
    thaw_layout "${thaw_rank_is:-domain}"
    thaw_launcher
    thaw_say "job ${SLURM_JOB_ID:-none}, restart ${SLURM_RESTART_COUNT:-0}, on ${SLURM_JOB_NODELIST:-$(hostname)}:" \
        "$ranks ranks x $threads threads"
    thaw_say "${launch[*]} ${program[*]} $*"
    thaw_listen
    "${launch[@]}" "${program[@]}" "$@" &
    thaw_pid=$!
    if [ -n "$thaw_forwarded" ]; then kill -USR1 "$thaw_pid" 2>/dev/null || true; fi # it came before there was a launcher
    thaw_wait
    thaw_listen_no_more
    if [ -n "$thaw_forwarded" ] && [ $thaw_status = 138 ]; then # USR1 kills only what is not yet ready for it
        thaw_say "stopped before it began"
        thaw_status=75
    fi
}

# ---- The end: 75 means "requeue me", and nothing else does ----

# Prints why the job must not requeue itself; nothing when it may.
thaw_requeue_refused() { # ID
    local job state restarts=${SLURM_RESTART_COUNT:-0}
    if ((restarts >= ${THAW_RESTARTS:-100})); then
        echo "it was restarted $restarts times (THAW_RESTARTS)"
        return
    fi
    job=$(scontrol show job "$1" 2>/dev/null || true)
    state=$(sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' <<<"$job" | head -n 1)
    [ "$state" != RUNNING ] || return 0
    # Slurm is ending the job already. It would requeue even one that is being cancelled, so only the time limit is a reason to.
    if [ "$state" != COMPLETING ] || ! sed -n 's/^ *RunTime=\([^ ]*\) TimeLimit=\([^ ]*\) .*/\1 \2/p' <<<"$job" | thaw_is_over; then
        echo "its state is ${state:-unknown}: somebody cancelled it, or Slurm requeues it by itself"
    fi
}

# Reads "RUNTIME LIMIT", as in 1-02:03:04: has it run for as long as it may?
thaw_is_over() {
    awk 'function seconds(t,   n, part, days) {
            if (split(t, part, "-") == 2) { days = part[1]; t = part[2] }
            n = split(t, part, ":")
            return days * 86400 + part[n] + part[n - 1] * 60 + part[n - 2] * 3600
        }
        $2 ~ /:/ && seconds($1) >= seconds($2) { over = 1 }
        END { exit !over }'
}

thaw_end() {
    local id=${SLURM_JOB_ID-} why
    if [ "$thaw_status" != 75 ] || [ -z "$id" ]; then
        [ "$thaw_status" = 0 ] || thaw_say "thaw ended with $thaw_status"
        exit "$thaw_status"
    fi
    if [ -n "${SLURM_ARRAY_JOB_ID-}" ]; then id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
    why=$(thaw_requeue_refused "$id")
    if [ -n "$why" ]; then
        thaw_say "stopped with its state saved; not requeued: $why"
        exit 75
    fi
    thaw_say "stopped with its state saved: requeueing job $id"
    scontrol requeue "$id" || thaw_die 75 "cannot requeue job $id: submit it again, it goes on from its checkpoint"
    exit 75 # Slurm is about to kill this shell
}

thaw_job() {
    thaw_step "$@"
    thaw_end
}
