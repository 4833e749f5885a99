#!/bin/bash
# The program around the jobs: help, version, man pages, wrong names, wrong launchers, exit statuses, closed streams.
# labels: main
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# expect STATUS WORD COMMAND...: the command ends with STATUS and says WORD on either stream.
expect() {
    local status=$1 word=$2
    shift 2
    "$@" >out 2>err </dev/null
    local got=$?
    if [ $got -ne "$status" ] || { [ -n "$word" ] && ! cat out err | grep -qF -- "$word"; }; then
        echo "FAILED: $*: status $got (expected $status), expected '$word' in:"
        cat out err
        failed=1
    fi
}
# lines N FILE PATTERN
lines() {
    local n
    n=$(grep -c -- "$3" "$2")
    [ "$n" -eq "$1" ] || { echo "FAILED: $n lines with '$3' instead of $1:"; cat "$2"; failed=1; }
}

expect 64 "usage: thaw JOB" thaw
lines 0 out .
expect 0 "usage: thaw JOB" thaw --help
for job in synth prepare train evaluate tables run; do
    expect 0 "thaw $job" thaw $job --help
    lines 0 err .
    lines 1 out '--threads '
    thaw --help | grep "^  $job " >/dev/null || { echo "FAILED: $job is not in the list of jobs"; failed=1; }
    expect 0 ".SH OPTIONS" thaw --man $job
done
expect 0 "thaw\\-lookup (1)" thaw --man
expect 0 "thaw 0." thaw --version

expect 64 "did you mean 'train'?" thaw trian
lines 1 err .
expect 64 "'thaw --help' lists them" thaw something
expect 64 "--fators" thaw train --fators 3
expect 66 "missing" thaw train --data missing --out model
lines 1 err 'error:'
lines 1 err '^thaw [0-9.]*: train on 1 rank x 1 thread, '
lines 1 err 'BLAS '
expect 66 "missing" thaw train --data missing --out model --quiet
lines 1 err .

# Several ranks: one line, the same status.
expect 66 "train on 2 ranks x 1 thread" mpirun -n 2 thaw train --data missing --out model
lines 1 err 'thaw train: error:'
expect 64 "--fators" mpirun -n 3 thaw train --fators 3
lines 1 err 'thaw train: error:'
expect 76 "differs from rank 0's" mpirun -n 1 thaw train --data a --out b : -n 1 thaw train --data a --out c

# One of several tasks that MPI does not know of; an allocation alone is fine.
expect 64 "launcher" env SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4 thaw train --data missing --out model
expect 64 "mpirun -n 3" env OMPI_COMM_WORLD_SIZE=3 thaw train --data missing --out model
expect 66 "missing" env SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 thaw train --data missing --out model

# Results that cannot be written.
if [ -w /dev/full ]; then
    expect 74 "standard output" bash -c 'thaw --help >/dev/full'
    expect 74 "standard output" bash -c 'thaw --man train >&-'
fi
expect 66 "" bash -c 'thaw train --data missing --out model 2>&-'

exit $failed
