#!/usr/bin/env bash
# Without MPI the libraries, the lookup tool and their unit tests build and pass, and no MPI program is made.
# labels: build once
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache); fi
cmake -S "$THAW_SOURCE" -B "$tmp/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTHAW_MPI=OFF -DTHAW_WERROR=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON "${launcher[@]}" >"$tmp/log" 2>&1 || { tail -n 30 "$tmp/log"; exit 1; }
cmake --build "$tmp/build" >"$tmp/log" 2>&1 || { grep -A 8 -E 'error|FAILED' "$tmp/log" | sed -n 1,40p; exit 1; }
[ ! -e "$tmp/build/jobs/thaw" ] || { echo "thaw was built without MPI"; exit 1; }
if grep -q 'mpi\.h' "$tmp"/build/*/*.d "$tmp/build/.ninja_deps" 2>/dev/null; then
    echo "a source includes mpi.h"
    exit 1
fi
"$tmp/build/src/lookup/thaw-lookup" --version
ctest --test-dir "$tmp/build" -L unit --no-tests=error --output-on-failure -j 2
cmake --install "$tmp/build" --prefix "$tmp/prefix" >/dev/null
[ -x "$tmp/prefix/bin/thaw-lookup" ] && [ ! -e "$tmp/prefix/bin/thaw" ]
