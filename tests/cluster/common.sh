# common.sh: what the tests of this folder source: a cluster of their own with Thaw installed on it, and ways to wait.
#
#   begin [OPTIONS]        brings the cluster up ('cluster up' OPTIONS), or ends the test with 77
#   cluster VERB ...       tests/cluster/cluster on it; ada COMMAND...: a command of hers on the head node
#   scripts                Thaw's folder slurm/ there
#   lose_node VERB         the whole story of a node that is lost unknown to Slurm
#   home                   ada's home, on the file system all nodes share
#   tmp                    this test's own folder and the cluster's
#
# However the test ends, its cluster ends and its folder goes.
set -euo pipefail
tmp=$(mktemp -d)
home=$tmp/home/ada
scripts=$tmp/opt/thaw/share/thaw/slurm
reference=
trap 'end_test $?' EXIT
trap 'exit 130' INT TERM

cluster() { bash "$THAW_SOURCE/tests/cluster/cluster" "$1" "$tmp" "${@:2}"; }
ada() { cluster run "$@"; }
say() { printf '%(%T)T %s\n' -1 "$*"; }
fail() {
    say "failed: $*"
    exit 1
}

begin() {
    cluster up --with $$ "$@" || exit $?
    cmake --install "$THAW_BUILD" --prefix "$tmp/opt/thaw" >"$tmp/install.log" 2>&1 || fail "$(cat "$tmp/install.log")"
    cp -rT "$THAW_SOURCE/slurm" "$scripts" # as they are in the source, whether they are installed or not
    say "the cluster is up"
}

# What a test that failed leaves behind is what it prints.
end_test() { # STATUS
    local file
    if [ "$1" != 0 ] && [ "$1" != 77 ] && [ -e "$tmp/run/keep" ]; then
        ada squeue -a || :
        cluster root sinfo -N -l || :
        for file in "$home"/*.out "$home"/*/*.out "$tmp"/log/*; do
            [ ! -s "$file" ] || { echo "==> $file <==" && tail -n 60 "$file"; }
        done
    fi
    [ -z "$reference" ] || { kill "$reference" && wait "$reference"; } 2>/dev/null || :
    cluster down || :
    rm -rf "$tmp"
}

# until_true SECONDS WHAT COMMAND...: waits for the command to succeed; the test fails, naming WHAT, when it has not by then.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "waited in vain: $what"
        sleep 0.2
    done
}

# ---- Jobs ----

# A job file for ada and the same for this machine: small rows, many iterations. Nobody knows how fast the machine is, so what is to be
# disturbed has no end (100000 iterations, the most there may be) until ends_soon gives it one.
write_job() { # [ITERATIONS]
    cat >"$tmp/job.ini" <<END
[synth]
users = 6000
items = 800
interactions = 150000
[prepare]
parts = 12
event-weights = view=1,cart=3,buy=5
[train]
factors = 32
iterations = ${1:-100000}
checkpoint-every = 10
[tables]
END
    ada tee job.ini <"$tmp/job.ini" >/dev/null
}
# The run that nothing happens to: on this machine, in one rank, without Slurm. same_as_reference waits for it.
start_reference() {
    rm -rf "$tmp/reference"
    mkdir "$tmp/reference" "$tmp/reference/mpi"
    cp "$tmp/job.ini" "$tmp/reference/"
    (export OMPI_MCA_orte_tmpdir_base=$tmp/reference/mpi # of its own: other tests begin and end
        cd "$tmp/reference" && exec setpriv --pdeathsig KILL nice -n 10 thaw run job.ini --quiet) >"$tmp/reference/out" 2>&1 &
    reference=$!
}
same_as_reference() { # FOLDER: of the job, all that it has made
    local made
    [ -z "$reference" ] || wait "$reference" || fail "the reference ended with $?: $(tail -n 5 "$tmp/reference/out")"
    reference=
    for made in data model/current tables/current; do
        same_bytes "$tmp/reference/job/$made" "$1/$made"
    done
}
# The training that went on in FOLDER ends 30 iterations after what is saved of it, and so does the reference. Only while it makes no progress.
ends_soon() { # FOLDER
    write_job $(($(iteration "$1/model") + 30))
    start_reference
}
submit_job() { # OPTIONS of sbatch and, after --, of thaw run: prints the job's number
    local options=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1") && shift; done
    ada env THAW_THREADS=1 sbatch --parsable "${options[@]}" "$scripts/thaw-run.sbatch" job.ini "${@:2}"
}

field() { # JOB NAME: from 'scontrol show job'
    ada scontrol show job -o "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1
}
ended() { # JOB
    [[ $(field "$1" JobState) =~ ^(BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|TIMEOUT)$ ]]
}
in_state() { # JOB STATE|STATE...: 1 when it is in another; the test fails when it has ended in another
    [[ "|$2|" != *"|$(field "$1" JobState)|"* ]] || return 0
    ! ended "$1" || [[ "|$2|" == *"|$(field "$1" JobState)|"* ]] || fail "job $1 is $(field "$1" JobState), not $2"
    return 1
}
wait_job() { # SECONDS JOB STATE|STATE...
    until_true "$1" "job $2 in state $3" in_state "$2" "$3"
    say "job $2: $(field "$2" JobState), exit $(field "$2" ExitCode), nodes $(field "$2" NodeList), restarts $(field "$2" Restarts)"
}
restarted() { # JOB TIMES: it runs, for the TIMES-th time after the first
    ! ended "$1" || fail "job $1 is $(field "$1" JobState), exit $(field "$1" ExitCode)"
    [ "$(field "$1" Restarts)" = "$2" ] && in_state "$1" RUNNING
}

# ranks: the process numbers of all ranks, as root on the head node sees them. signal_ranks: each gets SIGNAL. A job that is
# stopped (STOP) cannot end before what the test has in mind for it.
ranks() {
    # shellcheck disable=SC2016 # the inner shell's
    cluster root bash -c 'for p in /proc/[0-9]*; do [ "$(cat "$p/comm" 2>/dev/null)" != thaw ] || echo "${p#/proc/}"; done'
}
signal_ranks() { # SIGNAL
    local pids
    pids=$(ranks)
    # shellcheck disable=SC2086 # one number each
    [ -n "$pids" ] && cluster root kill "-$1" $pids || fail "no rank is running"
}

# A training whose limit, once it runs, becomes so short that the warning before it is due (Slurm looks every 30 s): it is requeued. What is
# warned before it has begun, or again before the limit is longer, would be another story. Sets job and log.
warned_and_requeued() {
    local hours minutes _
    job=$(submit_job -N 3 --time=60 --signal=B:USR1@110)
    log=$home/thaw-run-$job.out
    until_true 180 "training has begun" reached "$home/job/model" 20
    signal_ranks STOP
    IFS=: read -r hours minutes _ < <(field "$job" RunTime)
    cluster root scontrol update JobId="$job" TimeLimit=$((60 * 10#$hours + 10#$minutes + 2))
    until_true 120 "the warning comes" grep -q 'USR1 received' "$log"
    signal_ranks CONT
    until_true 120 "the job is requeued" in_state "$job" PENDING
    cluster root scontrol update JobId="$job" TimeLimit=60
    until_true 120 "the job is started again" restarted "$job" 1
}
# Job urgent takes the nodes of the running job, which is requeued by itself.
preempt() { # OPTIONS of sbatch
    urgent=$(ada sbatch --parsable -p urgent --exclusive "$@" --wrap 'sleep 1')
}
preempted() { # RESTARTS
    until_true 120 "the preempted job is requeued" restarted "$job" "$1"
    wait_job 60 "$urgent" COMPLETED
}
# The job, which its script has requeued three times, ends with the bytes of the reference. It waits to be started again.
ends_well() {
    until_true 60 "the job is requeued" in_state "$job" PENDING
    ends_soon "$home/job"
    wait_job 240 "$job" COMPLETED
    [ "$(field "$job" Restarts)" = 3 ] && [ "$(grep -c 'requeueing job' "$log")" = 3 ] || fail "it was not the script that requeued, three times"
    same_as_reference "$home/job"
}

# Of a training that is requeued again and again: restart RESTARTS began from a newer checkpoint than the one before, and gets further.
going_on_from=0
goes_on() { # RESTARTS JOB: its log is $home/thaw-run-JOB.out, its output $home/job
    local log=$home/thaw-run-$2.out stopped
    until_true 120 "restart $1 goes on" told "$1" "$log"
    stopped=$(sed -n 's|.*going on from job/model/iteration-0*\([0-9]*\) .*|\1|p' "$log" | tail -n 1)
    say "restart $1 goes on from iteration $stopped"
    [ "$stopped" -gt "$going_on_from" ] || fail "restart $1 begins where the one before did"
    going_on_from=$stopped
    until_true 120 "restart $1 gets further" reached "$home/job/model" $((stopped + 10))
}
told() { [ "$(grep -c 'going on from' "$2")" = "$1" ] && grep -q "job .*, restart $1," "$2"; }

# A training of job.ini that its owner cancels has its state saved, is not requeued, says why, and can be resumed.
cancelled_is_saved() {
    local job log
    job=$(submit_job -N 2 -- --set job.out=cancelled train.iterations=100000)
    log=$home/thaw-run-$job.out
    until_true 180 "training has begun" reached "$home/cancelled/model" 20
    ada scancel "$job"
    wait_job 60 "$job" CANCELLED
    until_true 60 "its nodes are free" cluster wait-idle 60
    grep -q 'stopped on request after iteration [0-9]*, which is saved' "$log" || fail "its state is not saved: $(tail -n 5 "$log")"
    grep -q 'not requeued' "$log" || fail "the log does not say why the job is not requeued: $(tail -n 5 "$log")"
    [ "$(field "$job" Restarts)" = 0 ] && [ -z "$(ada squeue -h)" ] || fail "a cancelled job is requeued"
    ada thaw run job.ini --set job.out=cancelled train.iterations=100000 --dry-run >"$tmp/plan" 2>/dev/null
    grep -q 'train  *resume' "$tmp/plan" || fail "a cancelled job cannot be resumed: $(cat "$tmp/plan")"
}

# ---- Files ----

# The bytes of a table's or model's version; its manifest names the run that wrote it.
same_bytes() { # FOLDER FOLDER
    local file n=0
    for file in "$1"/*; do
        [ -f "$file" ] && [[ $file != *.pb ]] || continue
        cmp "$file" "$2/${file##*/}" || fail "$1 and $2 are not the same"
        n=$((n + 1))
    done
    ((n > 0)) || fail "nothing in $1 to compare"
    [ "$(cd "$1" && ls)" = "$(cd "$2" && ls)" ] || fail "$1 and $2 do not hold the same files"
    say "$n files are the same bytes"
}
# The newest checkpoint's number in model folder $1; 0 when there is none.
iteration() {
    local newest
    newest=$(cd "$1" 2>/dev/null && ls -d iteration-[0-9]*[0-9] 2>/dev/null | tail -n 1)
    newest=${newest#iteration-}
    echo $((10#${newest:-0}))
}
reached() { [ "$(iteration "$1")" -ge "$2" ]; } # MODEL ITERATION

# lose_node VERB: a cluster whose Slurm notices nothing for minutes loses node 3 under a job (`cluster VERB 3`). The job has to tell by itself,
# within --stall-timeout, and to finish on the other two nodes once the administrator has said that node 3 is down.
lose_node() {
    local job log
    begin --set SlurmdTimeout=300
    write_job
    ada thaw run job.ini --steps synth prepare --quiet >/dev/null

    job=$(submit_job -N 2-3 -- --stall-timeout 15)
    log=$home/thaw-run-$job.out
    until_true 180 "training has begun" reached "$home/job/model" 20
    cluster "$1" 3
    say "$1 3"
    until_true 120 "the job says that it stands still" grep 'error: rank 2 of 3 (node3): .* phase [a-z]' "$log"
    say "told"
    wait_job 120 "$job" 'COMPLETING|FAILED' # Slurm waits for what it cannot hear of
    [ "$(field "$job" ExitCode)" = 69:0 ] || fail "it ends with $(field "$job" ExitCode)"

    cluster root scontrol update NodeName=node3 State=DOWN Reason=lost
    wait_job 60 "$job" FAILED
    ends_soon "$home/job"
    ada scontrol requeue "$job"
    wait_job 240 "$job" COMPLETED
    [ "$(field "$job" NodeList)" = 'node[1-2]' ] || fail "it runs again on $(field "$job" NodeList)"
    grep -q 'going on from job/model/iteration-' "$log" || fail "it did not go on from a checkpoint"
    same_as_reference "$home/job"
}
