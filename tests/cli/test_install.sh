#!/usr/bin/env bash
# The installed tree is usable: programs, man pages, data, and a C program built against the library by pkg-config and by CMake.
# labels: install once
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

cmake --install "$THAW_BUILD" --prefix "$tmp/first" >/dev/null
mv first tree # it can be moved
for file in bin/thaw bin/thaw-lookup include/thaw/lookup.h include/thaw/base/err.h share/thaw/proto/thaw.proto \
    share/thaw/jobs/demo.ini share/man/man1/thaw.1 share/man/man1/thaw-synth.1 share/man/man1/thaw-train.1 \
    share/man/man1/thaw-lookup.1 share/man/man1/thaw-lookup-recommend.1 share/doc/thaw/README.md share/doc/thaw/formats.md \
    share/thaw/slurm/common.sh share/thaw/slurm/size.awk share/thaw/slurm/thaw-run.sbatch share/thaw/slurm/sweep.sbatch; do
    [ -s "tree/$file" ] || fail "$file is missing in the installed tree"
done
export PATH=$tmp/tree/bin:$PATH
protoc-c --proto_path=tree/share/thaw/proto --c_out="$tmp" thaw.proto || fail "the installed schema does not compile"

# Example job files: all their keys are options; only the input is missing.
for job in tree/share/thaw/jobs/*.ini; do
    status=0
    thaw run "$job" --dry-run >plan.txt 2>&1 || status=$?
    [ $status = 0 ] || { [ $status = 66 ] && grep -q 'cannot find' plan.txt; } || fail "$job ends with $status: $(tail -n 3 plan.txt)"
done

# What is for Slurm: the command finds its folder behind the link, and the module file is named after the version.
version=$(thaw --version | awk '{ print $2 }')
[ -s "tree/share/thaw/modulefiles/thaw/$version.lua" ] || fail "no module file of $version"
printf 'nodes = 2\ncores = 4\nmemory = 8G\n' >cluster.conf
thaw-submit tree/share/thaw/jobs/synth.ini --cluster cluster.conf --dry-run >plan.txt || fail "thaw-submit: $(cat plan.txt)"
grep -q "$tmp/tree/share/thaw/slurm/thaw-run.sbatch" plan.txt || fail "thaw-submit: $(cat plan.txt)"

# Tables to read, made by the installed programs.
thaw synth --out log --users 200 --items 50 --interactions 4000 --files 2 --quiet >/dev/null
thaw prepare --events log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 --out data \
    --parts 3 --quiet >/dev/null
thaw train --data data --out model --factors 8 --iterations 2 --quiet >/dev/null
thaw tables --model model --out tables --quiet >/dev/null

cat >probe.c <<'C'
#include <stdio.h>
#include <string.h>
#include <thaw/lookup.h>

int main(int argc, char **argv) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_lookup *l = NULL;
    struct thaw_lookup_info info;
    if (argc < 2) return 1;
    if (thaw_lookup_open(&l, argv[1], &err)) {
        printf("%s: %s\n", thaw_code_name(err.code), err.text);
        return err.code;
    }
    thaw_lookup_get_info(l, &info);
    struct thaw_hit hits[3];
    int nhits = 0;
    if (thaw_lookup_recommend(l, thaw_lookup_vector(l, THAW_USERS, 0), 3, NULL, 0, 1, hits, &nhits, &err)) return err.code;
    size_t n;
    const char *id = thaw_lookup_id(l, THAW_ITEMS, hits[0].item, &n);
    printf("users %lld items %lld factors %d best %.*s\n", (long long)info.users, (long long)info.items, info.factors, (int)n, id);
    thaw_lookup_close(&l);
    return nhits == 3 && l == NULL ? 0 : 2;
}
C
lib=$(dirname "$(find "$tmp/tree" -name 'libthaw-lookup.so')")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
# shellcheck disable=SC2046
cc -std=c11 -Wall -Werror probe.c -o shared $(pkg-config --cflags --libs thaw-lookup)
grep -q "libthaw-lookup.so.*$tmp" <<<"$(ldd shared)" || fail "the library is not taken from the installed tree"
./shared tables | tee shared.txt
grep -qE '^users [0-9]+ items 50 factors 8 best p0000[0-9]+$' shared.txt || fail "the program says: $(cat shared.txt)"
[ "$(pkg-config --modversion thaw-lookup)" = "$(thaw-lookup --version | awk 'NR == 1 { print $2 }')" ] || fail "versions differ"
# shellcheck disable=SC2046
cc -std=c11 probe.c "$lib/libthaw-lookup.a" -o static $(pkg-config --cflags --static --libs thaw-lookup | sed 's/-lthaw-lookup//')
! grep -q libthaw <<<"$(ldd static)" || fail "the static program needs the shared library"
cmp <(./static tables) shared.txt || fail "the static library says: $(./static tables)"

mkdir user
cp probe.c user
cat >user/CMakeLists.txt <<'C'
cmake_minimum_required(VERSION 3.18)
project(probe LANGUAGES C)
find_package(ThawLookup 0.1 REQUIRED)
add_executable(probe probe.c)
target_link_libraries(probe PRIVATE ThawLookup::thaw-lookup)
C
{ cmake -S user -B user/build -G Ninja -DCMAKE_PREFIX_PATH="$tmp/tree" && cmake --build user/build; } >cmake.log 2>&1 ||
    { cat cmake.log; fail "find_package(ThawLookup) does not give a working library"; }
cmp <(./user/build/probe tables) shared.txt || fail "built by CMake it says something else"

expect 66 ./shared nowhere
grep -q nowhere out || fail "a missing folder: $(cat out)"
