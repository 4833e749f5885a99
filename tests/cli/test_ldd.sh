#!/usr/bin/env bash
# The installed lookup tool and library need neither MPI nor BLAS nor OpenMP, and the library shows only its own names.
# labels: install once
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
cmake --install "$THAW_BUILD" --prefix "$tmp" >/dev/null

library=$(find "$tmp" -name 'libthaw-lookup.so' -print -quit)
for file in "$tmp/bin/thaw-lookup" "$library"; do
    needed=$(ldd "$file")
    if grep -qE 'not found' <<<"$needed"; then
        echo "$file: $needed"
        exit 1
    fi
    if grep -iE 'libmpi|open-rte|open-pal|blas|lapack|gomp|libomp|pmix|gfortran' <<<"$needed"; then
        echo "$file links what a lookup must not need, see above"
        exit 1
    fi
    strange=$(awk '{ print $1 }' <<<"$needed" |
        grep -vE '^(linux-vdso|libc\.|libm\.|libpthread|libprotobuf-c|libxxhash|libzstd|libz\.|/lib|ld-)' || true)
    [ -z "$strange" ] || { echo "$file links something new: $strange; add it here if it belongs"; exit 1; }
done
grep -q libmpi <<<"$(ldd "$(command -v thaw)")" # the check can tell

strange=$(nm -D --defined-only "$library" | awk '{ print $3 }' | grep -vE '^(thaw_lookup_[a-z_]+|thaw_code_name)$' || true)
[ -z "$strange" ] || { echo "names that should be hidden: $strange"; exit 1; }
grep -q ' thaw_lookup_open$' <<<"$(nm -D --defined-only "$library")"
