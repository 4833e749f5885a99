#!/usr/bin/env bash
# Every C source is formatted as .clang-format says, no source mentions unfinished work, lists of packages agree.
# labels: style once
set -euo pipefail
cd "$THAW_SOURCE"

if grep -rnE '\b(TODO|FIXME|XXX)\b|not implemented' --include='*.[ch]' --include='*.sh' --include='*.txt' --include='*.cmake' \
    src partition comm jobs cmake tests | grep -v '^tests/cli/test_style.sh:'; then
    echo "unfinished marks, see above"
    exit 1
fi
for script in jobs/demo jobs/setup tests/run .ci/run tests/cli/*.sh tests/cli/common tests/fault/*.sh tests/fault/common tests/cluster/* tests/bench/*; do
    [ ! -f "$script" ] || [[ $script == *.py ]] || bash -n "$script"
done

# What CMake looks for and what jobs/setup installs are one list.
for package in $(grep -oE '\b(lib[a-z0-9-]+-dev|protobuf-c-compiler|openmpi-bin|pkg-config)\b' cmake/thaw.cmake | sort -u); do
    grep -q -- " $package " jobs/setup || { echo "jobs/setup does not install $package, which cmake/thaw.cmake wants"; exit 1; }
done

format=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$format" ] || ! grep -q 'version 14\.' <<<"$("$format" --version)"; then
    echo "skipped: clang-format 14 is not here (Debian: clang-format-14)"
    exit 77
fi
unformatted=$(find src partition comm jobs tests -name '*.[ch]' -print0 | xargs -0 "$format" --dry-run 2>&1 |
    sed -nE 's/^([^: ]+\.[ch]):.*/\1/p' | sort -u)
if [ -n "$unformatted" ]; then
    echo "not formatted (run clang-format-14 -i on them):"
    echo "$unformatted"
    exit 1
fi
