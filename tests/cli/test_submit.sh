#!/usr/bin/env bash
# The batch scripts and submit, with a Slurm of shell scripts that writes down what is asked of it. tests/cluster runs them on a real one.
# labels: slurm once
set -euo pipefail
slurm=$THAW_SOURCE/slurm
. "$THAW_SOURCE/tests/cli/common"
for file in "$slurm"/*.sbatch "$slurm/submit" "$slurm/common.sh"; do bash -n "$file"; done
if command -v shellcheck >/dev/null; then
    (cd "$THAW_SOURCE" && shellcheck -x slurm/*.sbatch slurm/submit slurm/common.sh) || fail "shellcheck finds faults"
fi

# ---- A Slurm that only takes notes ----
mkdir fake
cat >fake/srun <<'END_OF_FAKE'
#!/usr/bin/env bash
if [ "$1" = --mpi=list ]; then
    echo "MPI plugin types are... none ${FAKE_MPI-pmix}"
    exit 0
fi
if [ "$1" = --version ]; then
    printf '%s\nReport bugs\n' "${FAKE_VERSION-mpirun (Open MPI) 4.1.4}"
    exit 0
fi
if [ "$1" = --overlap ]; then # a step beside mpirun
    echo $$ >"$FAKE/listens"
    exec "${@: -5}"
fi
echo "$(basename "$0") $* [threads $OMP_NUM_THREADS, places ${OMP_PLACES-none}] [cpus $SRUN_CPUS_PER_TASK, fence $SLURM_PMIX_FENCE," \
    "bind ${OMP_PROC_BIND-none}, daemon ${OMPI_MCA_orte_launch_agent-orted}]" >>"$FAKE/launched"
[ -n "${FAKE_DEAF-}" ] || trap 'echo USR1 >>"$FAKE/signals"; sleep 0.2; exit 75' USR1
trap 'echo TERM >>"$FAKE/signals"; exit 143' TERM
if [ -n "${FAKE_RUNS-}" ]; then
    echo $$ >"$FAKE/starting" && mv "$FAKE/starting" "$FAKE/running"
    for _ in $(seq 600); do sleep 0.05; done
fi
exit "${FAKE_STATUS-0}"
END_OF_FAKE
ln -s srun fake/mpirun
cat >fake/scontrol <<'END_OF_FAKE'
#!/usr/bin/env bash
case "$1 ${2-}" in
"show job") printf 'JobId=%s\n   JobState=%s Reason=None\n   RunTime=%s TimeLimit=%s TimeMin=N/A\n   Command=%s\n' "${3-}" \
    "${FAKE_STATE-RUNNING}" "${FAKE_TIME-00:10:00}" "${FAKE_LIMIT-01:00:00}" "${FAKE_COMMAND-(null)}" ;;
"show node") echo "   CPUAlloc=0 CPUEfctv=${FAKE_CPUS-1} CPUTot=${FAKE_CPUS-1} CPULoad=0 CoresPerSocket=1 Sockets=1 Boards=1" ;;
"show config") echo "TaskPlugin              = ${FAKE_TASK-task/affinity,task/cgroup}" ;;
requeue*) echo "$2" >>"$FAKE/requeued" ;;
esac
END_OF_FAKE
cat >fake/sbatch <<'END_OF_FAKE'
#!/usr/bin/env bash
echo "$*" >>"$FAKE/submitted"
[ -z "${FAKE_REFUSES-}" ] || { echo "sbatch: error: invalid account" >&2; exit 1; }
echo "$((100 + $(wc -l <"$FAKE/submitted")));cluster"
END_OF_FAKE
cat >fake/sinfo <<'END_OF_FAKE'
#!/usr/bin/env bash
[ -z "${FAKE_SILENT-}" ] || exit 1
echo 'debug|2|1|2|1|4000|30:00|up'
echo 'main*|3|2|16|2|256000|1-00:00:00|up'
echo 'main*|1|2|16|2|1024000|1-00:00:00|up'
echo 'old|9|1|4|1|8000|1-00:00:00|down'
END_OF_FAKE
chmod +x fake/*
real=$PATH
export FAKE=$tmp/fake PATH=$tmp/fake:$PATH

# batch STATUS VARIABLES... -- ARGUMENTS...: thaw-train.sbatch as Slurm would start it, a copy far from its folder. What it says is in
# the file said, launched and requeued what it asked for.
mkdir spool
batch() {
    local want=$1 got=0 settings=()
    shift
    while [ "$1" != -- ]; do settings+=("$1") && shift; done
    shift
    rm -f fake/{launched,requeued,signals,running}
    cp "$slurm/${script-thaw-train.sbatch}" spool/slurm_script
    env SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=2 SLURM_JOB_NODELIST='n[1-2]' SLURM_CPUS_ON_NODE=1 FAKE_COMMAND="$slurm/thaw-train.sbatch --data d" \
        "${settings[@]}" bash spool/slurm_script "$@" >said 2>&1 || got=$?
    [ $got = "$want" ] || fail "batch script ends with $got, not $want: $(cat said)"
}
launched() { grep -qF -- "$1" fake/launched || fail "no '$1' in: $(cat fake/launched)"; }
requeued() { [ "$(cat fake/requeued 2>/dev/null || true)" = "$1" ] || fail "requeued: '$(cat fake/requeued 2>/dev/null)', not '$1': $(cat said)"; }

# ---- What every script asks of Slurm ----
for file in "$slurm"/*.sbatch; do
    for option in --open-mode=append --requeue --signal=B:USR1@300 --exclusive --mem=0 --nodes=1; do
        grep -qxF "#SBATCH $option" "$file" || fail "${file##*/} lacks #SBATCH $option"
    done
    tail -n 1 "$file" | grep -qE '^((thaw_rank_is=core )?thaw_job .*|thaw_end)$' || fail "${file##*/} does not end by thaw_job or thaw_end"
done

# ---- Only 75 requeues ----
for status in 0 1 64 65 66 69 70 71 74 76 79 137 138 143 205; do
    batch $status FAKE_STATUS=$status -- --data d
    requeued ''
done
batch 75 FAKE_STATUS=75 -- --data d --out m
requeued 7
launched 'srun --mpi=pmix --kill-on-bad-exit=1 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=1 --cpu-bind=cores'
launched 'thaw train --data d --out m [threads 1, places cores] [cpus 1, fence ring, bind close,'
batch 75 FAKE_STATUS=75 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=3 -- x
requeued 40_3
batch 75 FAKE_STATUS=75 SLURM_RESTART_COUNT=2 -- x
requeued 7
grep -q 'job 7, restart 2, on n\[1-2\]: 2 ranks x 1 threads' said || fail "the log does not tell of restarts: $(cat said)"
batch 75 FAKE_STATUS=75 SLURM_RESTART_COUNT=2 THAW_RESTARTS=2 -- x
requeued ''
grep -q 'not requeued: it was restarted 2 times' said || fail "no reason: $(cat said)"
for state in COMPLETING CANCELLED; do # scancel; a preemption that requeues
    batch 75 FAKE_STATUS=75 FAKE_STATE=$state -- x
    requeued ''
done
for over in 01:00:00 1-00:00:09; do # but Slurm ends it for its time limit: it was not warned, or did not make it
    batch 75 FAKE_STATUS=75 FAKE_STATE=COMPLETING FAKE_TIME=$over -- x
    requeued 7
done
batch 75 FAKE_STATUS=75 FAKE_STATE=CANCELLED FAKE_TIME=01:00:00 -- x
requeued ''

# ---- Signals reach the ranks once ----
listens() { [ -s fake/listens ] && ((0x$(sed -n 's/^SigCgt:\t//p' "/proc/$(<fake/listens)/status") >> 14 & 1)); } # it catches TERM
signalled() { # SIGNAL...: to the batch shell while its step runs; all: to its processes, step: to the step beside mpirun
    rm -f fake/{launched,requeued,signals,running,listens}
    FAKE_RUNS=1 SLURM_JOB_ID=8 FAKE_MPI=${FAKE_MPI-pmix} bash "$slurm/thaw-run.sbatch" job.ini >said 2>&1 &
    local shell=$! status=0 signal
    until [ -e fake/running ]; do
        kill -0 $shell 2>/dev/null || fail "the step never ran: $(cat said)"
        sleep 0.05
    done
    for signal in "$@"; do
        case $signal in
        all) kill -TERM "$(<fake/running)" 2>/dev/null || : ;; # it may have ended after the signal before
        step)
            until listens; do sleep 0.05; done
            kill -TERM "$(<fake/listens)"
            ;;
        *) kill -"$signal" $shell 2>/dev/null || : ;; # and so may it
        esac
        sleep 0.05
    done
    wait $shell || status=$?
    [ $status = 75 ] || fail "after $*: $status: $(cat said)"
    [ "$(cat fake/signals 2>/dev/null)" = "${gets-USR1}" ] || fail "after $* the step got: $(cat fake/signals)"
    requeued 8
}
signalled USR1
signalled TERM
signalled USR1 USR1 TERM
FAKE_DEAF=1 gets='' signalled USR1 # a launcher that is not ready for it yet dies of it: nothing has begun
FAKE_MPI=pmi2 signalled step # the job's only step under mpirun on one node: it passes on what Slurm tells steps alone
FAKE_MPI=pmi2 signalled all TERM all # Slurm ends all that runs in a job: mpirun is not to hear of it

# ---- Ranks, threads, launcher ----
batch 0 SLURM_NTASKS=6 SLURM_CPUS_PER_TASK=4 -- x
launched '--ntasks=6 --ntasks-per-node=3 --cpus-per-task=4'
batch 0 SLURM_NTASKS_PER_NODE=5 THAW_THREADS=3 -- x
launched '--ntasks=10 --ntasks-per-node=5'
launched '[threads 3,'
batch 0 SLURM_CPUS_ON_NODE=2 FAKE_CPUS=2 -- x # two hardware threads: one core, one rank, one thread
launched '--ntasks-per-node=1 --cpus-per-task=2 '
launched '[threads 1,'
batch 0 FAKE_TASK=task/none -- x
launched 'places none]'
batch 0 FAKE_MPI=pmi2 -- x
launched 'mpirun -n 2 --map-by ppr:1:node:PE=1 --bind-to core'
launched 'daemon env --block-signal=TERM orted]'
batch 0 THAW_LAUNCH='mpirun --bind-to none -n 3' -- x
launched 'mpirun --bind-to none -n 3 '
launched 'daemon env --block-signal=TERM orted]'
FAKE_VERSION='HYDRA build details:' batch 0 THAW_LAUNCH='mpirun -n 3' -- x
launched 'daemon orted]'
mkdir old
printf '#!/bin/sh\ncase $1 in --block-signal*) exit 125 ;; esac\nexec %s "$@"\n' "$(type -P env)" >old/env
chmod +x old/env
batch 0 FAKE_MPI=pmi2 PATH="$tmp/old:$PATH" -- x
launched 'mpirun -n 2 '
launched 'daemon orted]'
grep -q 'warning: this env cannot block signals' said || fail "nothing is said of an old env: $(cat said)"
batch 66 THAW='no-such-program exec' -- x
grep -q "no 'no-such-program' here" said || fail "a missing program: $(cat said)"
cores=$(python3 -c 'import os
place = "/sys/devices/system/cpu/cpu%d/topology/%s"
print(len({tuple(open(place % (cpu, name)).read() for name in ("physical_package_id", "core_id")) for cpu in os.sched_getaffinity(0)}))')
script=thaw-tables.sbatch batch 0 SLURM_CPUS_ON_NODE= -- x # a rank for each core
launched "--ntasks-per-node=$cores --cpus-per-task="
mkdir bare
for tool in bash sed head awk lscpu hostname; do ln -s "$(PATH=$real type -P $tool)" bare; done
ln -s "$(PATH=$real type -P thaw)" bare
status=0
PATH=$tmp/bare bash "$slurm/thaw-train.sbatch" >said 2>&1 || status=$?
[ $status = 66 ] && grep -q 'no launcher' said || fail "without a launcher: $status, $(cat said)"

# ---- submit ----
mkdir logs
awk 'BEGIN { for (i = 0; i < 20000; i++) print "u" i % 500 ",i" i % 70 }' >logs/a.csv
cat >job.ini <<'END_OF_JOB'
[prepare]
events = logs/*.csv
columns = user,item
header = no
parts = 8
[train]
factors = 8
iterations = 3
holdout-users = 0.2
[evaluate]
known = 3
[tables]
END_OF_JOB
cat >site.conf <<'END_OF_SITE'
# made up
partition = compute
account = lab
nodes = 16
sockets = 2
numa = 8
cores = 64
cpus = 2
memory = 512G
time = 24:00:00
sbatch = --constraint=ib
END_OF_SITE
said() { grep -qF -- "$1" said || fail "no '$1' in: $(cat said)"; }
submit() { # STATUS ARGUMENTS...
    local want=$1 got=0
    shift
    rm -f fake/submitted
    "$slurm/submit" "$@" >said 2>&1 || got=$?
    [ $got = "$want" ] || fail "submit $* ends with $got, not $want: $(cat said)"
}
submit 0 job.ini --cluster site.conf --dry-run -- --stall-timeout 10m
[ ! -e fake/submitted ] || fail "a dry run submits"
sed "s|$slurm|SLURM|" said >plan
diff - plan <<'END_OF_PLAN' || fail "the plan is another one, see above"
job.ini: everything goes to job; sized by 0.173 MB of log: about 20000 events, a tenth as many users, a hundredth as many items
cluster: compute, 16 nodes of 64 cores, 8 NUMA domains, 512.0 GiB
step        nodes  ranks x threads  memory/node     estimate      limit  why
prepare         1            1 x 1      261 MiB         10 s    0:15:00  not run yet
train           1            1 x 8      261 MiB         10 s    0:15:00  after prepare
evaluate        1            1 x 8      261 MiB         10 s    0:15:00  after train
tables          1            1 x 1      260 MiB         10 s    0:15:00  after train
sbatch --parsable --job-name=job-prepare --nodes=1 --ntasks-per-node=1 --cpus-per-task=2 --time=0:15:00 --signal=B:USR1@60 --oversubscribe --mem=512M --partition=compute --account=lab --constraint=ib SLURM/thaw-run.sbatch job.ini --steps prepare --stall-timeout 10m
sbatch --parsable --job-name=job-train --nodes=1 --ntasks-per-node=1 --cpus-per-task=16 --time=0:15:00 --signal=B:USR1@60 --oversubscribe --mem=512M --partition=compute --account=lab --constraint=ib '--dependency=afterok:<prepare>' --kill-on-invalid-dep=yes SLURM/thaw-run.sbatch job.ini --steps train --stall-timeout 10m
sbatch --parsable --job-name=job-evaluate --nodes=1 --ntasks-per-node=1 --cpus-per-task=16 --time=0:15:00 --signal=B:USR1@60 --oversubscribe --mem=512M --partition=compute --account=lab --constraint=ib '--dependency=afterok:<train>' --kill-on-invalid-dep=yes SLURM/thaw-run.sbatch job.ini --steps evaluate --stall-timeout 10m
sbatch --parsable --job-name=job-tables --nodes=1 --ntasks-per-node=1 --cpus-per-task=2 --time=0:15:00 --signal=B:USR1@60 --oversubscribe --mem=512M --partition=compute --account=lab --constraint=ib '--dependency=afterok:<evaluate>' --kill-on-invalid-dep=yes SLURM/thaw-run.sbatch job.ini --steps tables --stall-timeout 10m
END_OF_PLAN
submit 0 job.ini --cluster site.conf --steps prepare train --set train.factors=16
[ "$(wc -l <fake/submitted)" = 2 ] || fail "submitted: $(cat fake/submitted)"
grep -q -- "--job-name=job-prepare .*thaw-run.sbatch job.ini --steps prepare --set train.factors=16$" fake/submitted || fail "submitted: $(cat fake/submitted)"
grep -q -- "--job-name=job-train .*--dependency=afterok:101 --kill-on-invalid-dep=yes .*--steps train" fake/submitted || fail "submitted: $(cat fake/submitted)"
said 'train: job 102'
FAKE_REFUSES=1 submit 1 job.ini --cluster site.conf
said 'sbatch refuses prepare'

# Once there is a dataset it tells the sizes; steps that are up to date are not submitted.
thaw run job.ini --quiet >/dev/null
submit 0 job.ini --cluster site.conf -n
said 'nothing to do'
submit 0 job.ini --cluster site.conf -n --set train.factors=16
said 'sized by the dataset job/data'
! grep -q -- '--steps prepare' said || fail "a step that is up to date is submitted: $(cat said)"
submit 0 job.ini --cluster site.conf -n --set train.factors=16 --steps train --nodes 4 --time 2:00:00
said 'sbatch --parsable --job-name=job-train --nodes=4 --ntasks-per-node=2 --cpus-per-task=16 --time=2:00:00'

# Without a description sinfo is asked.
submit 0 job.ini -n --set train.factors=16
said 'cluster: main, 3 nodes of 32 cores, 2 NUMA domains, 250.0 GiB'
submit 0 job.ini -n --set train.factors=16 --partition debug
said '--partition=debug'
said '0:15:00'
submit 66 job.ini -n --set train.factors=16 --partition old
said 'no partition old is up'

# Large ones: more nodes, limits, what does not fit.
cat >big.ini <<'END_OF_JOB'
[synth]
users = 1000000000
items = 10000000
interactions = 100000000000
[prepare]
parts = 1024
[train]
factors = 128
[tables]
END_OF_JOB
sed 's/^time.*/time = 30:00/' site.conf >short.conf
submit 0 big.ini --cluster short.conf -n --target 30
said 'train is expected to take 14 min, at most 41 min, of the limit of 30:00: it saves its state, requeues itself and goes on'
grep -qE '^train +9 +72 x 8 +all +14 min +0:30:00  after prepare' said || fail "the plan is: $(cat said)"
submit 71 big.ini --cluster site.conf -n --nodes 4
said 'error: train needs about'

# Errors.
printf '[train]\nfactor = 3\n' >bad.ini
submit 64 bad.ini --cluster site.conf -n
said 'bad.ini:2: [train] factor: unknown option --factor'
submit 64 job.ini --cluster site.conf -n --steps trian
said 'trian'
submit 64 job.ini --cluster site.conf --nodes many
said '--nodes many'
submit 64 job.ini --colour red
said 'unknown option --colour'
submit 64 job.ini --cluster site.conf --nodes 99 -n --set train.factors=16
said 'a job may have 16'
submit 66 nowhere.ini
submit 66 job.ini --cluster nowhere.conf -n --set train.factors=16
echo 'colour = red' >bad.conf
submit 64 job.ini --cluster bad.conf -n --set train.factors=16
said 'bad.conf:1: unknown key colour'
bad_cluster() { # LINE WORDS
    printf 'cores = 4\n%s\n' "$1" >bad.conf
    submit 64 job.ini --cluster bad.conf -n --set train.factors=16
    said "submit: error: bad.conf:2: $1: $2"
}
bad_cluster 'nodes = two' 'not a whole number above 0'
bad_cluster 'memory = much' 'not like 512G'
bad_cluster 'time = soon' 'neither minutes nor'
for limit in abc '' 1:2:3:4 1-; do
    submit 64 job.ini --cluster site.conf -n --set train.factors=16 --time "$limit"
    said "--time $limit: neither minutes nor H:MM:SS nor D-H:MM:SS"
done
for limit in 90 90:30 1:30:00 1-12 1-12:30 1-12:30:00 UNLIMITED; do
    submit 0 job.ini --cluster site.conf -n --set train.factors=16 --time "$limit"
    said "--time=$limit "
done
FAKE_SILENT=1 submit 1 job.ini -n --set train.factors=16
said 'error: sinfo fails: give --cluster FILE'
submit 0 --help
said '--dry-run, -n'

# ---- The recipes ----
python3 - "$slurm/spack/packages/thaw/package.py" <<'END_OF_PYTHON' || fail "the Spack package does not load"
import contextlib, sys, types
said = []
stub = types.ModuleType("spack.package")
for name in ("version", "variant", "depends_on", "license", "generator"):
    setattr(stub, name, lambda *a, _n=name, **k: said.append((_n, a[0])))
stub.when = lambda spec: contextlib.nullcontext()
stub.CMakePackage = type("CMakePackage", (), {"define": lambda s, k, v: (k, v), "define_from_variant": lambda s, k, v: (k, v)})
sys.modules["spack"] = types.ModuleType("spack")
sys.modules["spack.package"] = stub
space = {}
exec(compile(open(sys.argv[1]).read(), "package.py", "exec"), space)
package = space["Thaw"]()
package.run_tests = False
assert dict(package.cmake_args()).keys() == {"THAW_MPI", "THAW_TESTS"}
assert {"openmpi@4.1:", "netlib-scalapack", "protobuf-c"} <= {a for n, a in said if n == "depends_on"}
END_OF_PYTHON
for recipe in "$slurm"/apptainer/*.def; do # the build's and the image's own commands are shell
    awk '/^%/ { on = $1 == "%post" || $1 == "%runscript" || $1 == "%test"; next } /^(Bootstrap|From|Stage):/ { on = 0 } on' "$recipe" | bash -n ||
        fail "$recipe: not shell"
done
if [ -r /usr/share/lmod/lmod/init/bash ]; then # the real one, where there is one
    mkdir -p tree/share/thaw/modulefiles/thaw tree/bin tree/lib/pkgconfig
    cp "$slurm/thaw.lua" tree/share/thaw/modulefiles/thaw/0.1.0.lua
    (
        set +eu
        . /usr/share/lmod/lmod/init/bash
        module use "$tmp/tree/share/thaw/modulefiles"
        module load thaw
        [ "$THAW_HOME" = "$tmp/tree" ] && [[ :$PATH: == *:$tmp/tree/bin:* ]]
    ) || fail "the module file does not load"
else
    echo "the module file is not tried: no Lmod here"
fi
echo "batch scripts, submit and recipes are as they should be"
