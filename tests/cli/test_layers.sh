#!/usr/bin/env bash
# Layers point one way: jobs -> comm -> partition -> src. Only comm/ knows MPI; OpenMP stays above partition/.
# labels: style once
set -euo pipefail

# broken TREE: print each line that breaks a rule.
broken() {
    local sources=(--include=*.c --include=*.h --include=*.in)
    (
        cd "$1"
        grep -rnE '#[[:space:]]*include[[:space:]]*[<"](mpi|Cblacs|blacs|scalapack)' "${sources[@]}" src partition jobs
        grep -rnE '#[[:space:]]*include[[:space:]]*"(partition|comm|jobs)/' "${sources[@]}" src
        grep -rnE '#[[:space:]]*include[[:space:]]*"(comm|jobs)/' "${sources[@]}" partition
        grep -rnE '#[[:space:]]*include[[:space:]]*"jobs/' "${sources[@]}" comm
        grep -rnE '#[[:space:]]*include[[:space:]]*"[^/]*"|#[[:space:]]*include[[:space:]]*"\.' "${sources[@]}" src partition comm jobs
        grep -rnE '#[[:space:]]*(pragma[[:space:]]+omp|include[[:space:]]*<omp\.h>)' "${sources[@]}" src partition
        # In library code: not in the tool.
        grep -rnE '\b(exit|abort|assert|perror) ?\(' "${sources[@]}" --exclude-dir=verbs --exclude=tool.c src partition | grep -vE ':[[:space:]]*(//|\*)|static_assert|// '
        find src partition comm jobs -name '*.[ch]' -printf '%f\n' | sort | uniq -d | sed 's/$/: two files of this name/'
        find src partition comm jobs -name '*.[ch]' -size +40k -printf '%p: longer than 40 KB\n'
    ) || true
}

found=$(broken "$THAW_SOURCE")
if [ -n "$found" ]; then
    echo "layers or names broken:"
    echo "$found"
    exit 1
fi

# The check itself must see each kind.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
count=0
try() { # FILE LINE: a tree with one bad line
    rm -rf "$tmp/tree"
    mkdir -p "$tmp"/tree/{src/base,src/proto,src/dense,src/als,src/metrics,src/table,src/synth,partition,comm,jobs}
    printf '%s\n' "$2" >"$tmp/tree/$1"
    [ -n "$(broken "$tmp/tree")" ] || { echo "not seen: '$2' in $1"; exit 1; }
    count=$((count + 1))
}
try src/base/x.c '#include <mpi.h>'
try jobs/x.c '#  include "mpi.h"'
try src/base/x.h '#include "partition/plan.h"'
try partition/x.c '#include "comm/world.h"'
try comm/x.c '#include "jobs/job.h"'
try partition/x.c '#pragma omp parallel for'
try src/table/x.c '    exit(1);'
try src/table/x.c '#include "table.h"'
touch "$tmp/tree/src/table/x.c" "$tmp/tree/comm/x.c"
[ -n "$(broken "$tmp/tree")" ] || exit 1
echo "layers hold; $count kinds of breakage are seen"
