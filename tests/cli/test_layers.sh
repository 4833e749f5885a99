#!/usr/bin/env bash
# Layers point one way: jobs -> comm -> partition -> src. Only comm/ knows MPI; OpenMP stays above partition/.
# labels: style once
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

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

# The watchdog must see every wait for other ranks: an MPI call of comm/ is marked in watch_mpi.c, or one of these, which do not wait.
unmarked() { # TREE: the calls that are neither
    local quick='Comm_[gs]et_errhandler|Comm_rank|Comm_size|Errhandler_free|Finalized|Get_library_version|Init|Init_thread|Op_create|Op_free'
    quick+='|Iallreduce|Irecv|Isend|T_[a-z_]+|Testall|Type_[a-z]+|Win_shared_query|Win_sync'
    grep -rhoE '\bMPI_[A-Z][a-z_]+ ?\(' --include='*.[ch]' "$1/comm" | tr -d ' (' | sort -u | grep -vE "^MPI_($quick)$" |
        grep -vxF "$(sed -nE 's/^WAITS\(([A-Za-z_]+),.*/MPI_\1/p' "$THAW_SOURCE/comm/watch_mpi.c")" || true
}
[ -z "$(unmarked "$THAW_SOURCE")" ] || fail "the watchdog does not see: $(unmarked "$THAW_SOURCE")"

# The check itself must see each kind.
count=0
try() { # FILE LINE: a tree with one bad line
    rm -rf tree
    mkdir -p tree/{src/base,src/proto,src/dense,src/als,src/metrics,src/table,src/synth,partition,comm,jobs}
    printf '%s\n' "$2" >"tree/$1"
    [ -n "$(broken tree)" ] || fail "not seen: '$2' in $1"
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
touch tree/src/table/x.c tree/comm/x.c
[ -n "$(broken tree)" ] || fail "not seen: two files of one name"
echo '    MPI_Scan(in, out, 1, MPI_INT, MPI_SUM, c);' >tree/comm/x.c
[ "$(unmarked tree)" = MPI_Scan ] || fail "not seen: an unmarked call"
echo "layers hold; $count kinds of breakage are seen"
