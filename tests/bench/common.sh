# Sourced by the benchmarks of this folder: finds the programs, runs ranks, times, prints the table.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$bench/../.." && pwd)
for dir in "$root/build/prefix/bin" "$root/build-tests/jobs" "$root/build-tests/src/lookup"; do
    PATH=$PATH:$dir
done
if ! command -v thaw >/dev/null || ! command -v thaw-lookup >/dev/null; then
    echo "thaw and thaw-lookup are not on the path: run jobs/demo, or build and add them" >&2
    exit 66
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PMIX_MCA_gds=hash

runs=${RUNS:-3}
scratch=$(mktemp -d "${THAW_SCRATCH:-${TMPDIR:-/tmp}}/thaw-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "$(basename "$0"): WRONG: $*" >&2
    exit 1
}
# One core for each rank where there are enough.
ranks() {
    local bind=none
    [ "$1" -gt "$(env -u OMP_NUM_THREADS nproc)" ] || [ "${OMP_NUM_THREADS:-1}" -gt 1 ] || bind=core
    mpirun -n "$1" --bind-to $bind "${@:2}"
}
# seconds OUTPUT COMMAND...: wall seconds of a command, on standard output.
seconds() {
    local began=$EPOCHREALTIME
    "${@:2}" >"$1" 2>"$1.log" || { tail -n 20 "$1.log" >&2; exit 1; }
    awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }'
}
median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
highest() { printf '%s\n' "$@" | sort -g | tail -n 1; }
row() { printf '%-34s %12s %12s   %s\n' "$@"; }
machine() {
    echo "$(thaw --version); $(env -u OMP_NUM_THREADS nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p); $runs runs"
}
