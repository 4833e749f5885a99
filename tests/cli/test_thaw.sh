#!/usr/bin/env bash
# The program around the jobs: help, version, man pages, wrong names, wrong launchers, exit statuses, closed streams.
# labels: main
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

# ends STATUS TEXT COMMAND...: the command ends with STATUS and has TEXT on either stream.
ends() {
    expect "$1" "${@:3}"
    [ -z "$2" ] || grep -qF -- "$2" out err || fail "'${*:3}' does not say '$2': $(cat out err)"
}
lines() { # N FILE PATTERN
    local n
    n=$(grep -c -- "$3" "$2") || :
    [ "$n" = "$1" ] || fail "$n lines with '$3' instead of $1: $(cat "$2")"
}

ends 64 "usage: thaw JOB" thaw
lines 0 out .
ends 0 "usage: thaw JOB" thaw --help
for job in synth prepare train evaluate tables run; do
    ends 0 "thaw $job" thaw $job --help
    lines 0 err .
    lines 1 out '--threads '
    grep -q "^  $job " <<<"$(thaw --help)" || fail "$job is not in the list of jobs"
    ends 0 ".SH OPTIONS" thaw --man $job
done
ends 0 "thaw\\-lookup (1)" thaw --man
ends 0 "thaw 0." thaw --version

ends 64 "did you mean 'train'?" thaw trian
lines 1 err .
ends 64 "'thaw --help' lists them" thaw something
ends 64 "--fators" thaw train --fators 3
ends 66 "missing" thaw train --data missing --out model
lines 1 err 'error:'
lines 1 err '^thaw [0-9.]*: train on 1 rank x 1 thread, '
lines 1 err 'BLAS '
ends 66 "missing" thaw train --data missing --out model --quiet
lines 1 err .

# Vector code that there is not: one warning, from rank 0.
ends 66 "warning: THAW_KERNELS=abacus: not on this CPU; " env THAW_KERNELS=abacus mpirun -n 2 thaw train --data missing --out model
lines 1 err 'THAW_KERNELS'
for kernels in '' portable; do
    ends 66 "missing" env THAW_KERNELS=$kernels thaw train --data missing --out model
    lines 0 err 'THAW_KERNELS'
done

# Several ranks: one line, the same status.
ends 66 "train on 2 ranks x 1 thread" mpirun -n 2 thaw train --data missing --out model
lines 1 err 'thaw train: error:'
ends 64 "--fators" mpirun -n 3 thaw train --fators 3
lines 1 err 'thaw train: error:'
ends 76 "differs from rank 0's" mpirun -n 1 thaw train --data a --out b : -n 1 thaw train --data a --out c

# One of several tasks that MPI does not know of; an allocation alone is fine.
ends 64 "launcher" env SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4 thaw train --data missing --out model
ends 64 "but Open MPI sees only one" env SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=4 PMI_FD=9 PMI_RANK=0 PMI_SIZE=4 thaw train --data missing --out model
lines 1 err .
ends 64 "mpirun -n 3" env OMPI_COMM_WORLD_SIZE=3 thaw train --data missing --out model
ends 66 "missing" env SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 thaw train --data missing --out model

# Results that cannot be written.
if [ -w /dev/full ]; then
    ends 74 "standard output" bash -c 'thaw --help >/dev/full'
    ends 74 "standard output" bash -c 'thaw --man train >&-'
fi
ends 66 "" bash -c 'thaw train --data missing --out model 2>&-'
