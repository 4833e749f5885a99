#!/usr/bin/env bash
# Without MPI the libraries, the lookup tool and their unit tests build and pass, and no MPI program is made.
# labels: build once
# cost: 30
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache); fi
cmake -S "$THAW_SOURCE" -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTHAW_MPI=OFF -DTHAW_WERROR=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON "${launcher[@]}" >log 2>&1 || { tail -n 30 log; exit 1; }
cmake --build build >log 2>&1 || { grep -A 8 -E 'error|FAILED' log | sed -n 1,40p; exit 1; }
[ ! -e build/jobs/thaw ] || { echo "thaw was built without MPI"; exit 1; }
if grep -q 'mpi\.h' build/*/*.d build/.ninja_deps 2>/dev/null; then
    echo "a source includes mpi.h"
    exit 1
fi
build/src/lookup/thaw-lookup --version
ctest --test-dir build -L unit --no-tests=error --output-on-failure -j 2
cmake --install build --prefix prefix >/dev/null
[ -x prefix/bin/thaw-lookup ] && [ ! -e prefix/bin/thaw ]
