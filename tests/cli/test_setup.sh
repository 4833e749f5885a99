#!/usr/bin/env bash
# jobs/setup where nothing can be installed: it says exactly what is missing, and takes it from modules where there are some.
# labels: setup once
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
module() { return 1; } # a site without a module that helps; the real one would not be the same everywhere
export -f module

# A path with the tools of this machine but without apt-get and sudo, less the ones named.
tools_without() {
    local tool place
    rm -rf bin && mkdir bin
    for tool in bash cat sed id cc cmake ninja pkg-config git mpicc mpirun protoc-c python3 clang-format-14 zstd gzip man groff; do
        [[ " $* " == *" $tool "* ]] || ! place=$(type -P "$tool") || ln -s "$place" "bin/$tool"
    done
}
setup() { # STATUS OPTIONS...: what it says is in the file said
    local want=$1 got=0
    shift
    PATH=$tmp/bin LMOD_PKG='' MODULESHOME='' bash "$THAW_SOURCE/jobs/setup" "$@" >said 2>&1 || got=$?
    [ $got = "$want" ] || fail "ended with $got, not $want: $(cat said)"
}

# Everything is there: not a word.
tools_without nothing
setup 0
[ ! -s said ] || fail "not silent: $(cat said)"
[ "$(PATH=$tmp/bin bash -c '. "$THAW_SOURCE/jobs/setup" && thaw_setup && echo sourced')" = sourced ] || fail "cannot be sourced"

# What is missing is named with its package, and nothing else.
tools_without mpicc protoc-c
setup 66
grep -q '^  mpicc (Debian: libopenmpi-dev' said && grep -q '^  protoc-c (Debian: protobuf-c-compiler' said || fail "not named: $(cat said)"
[ "$(grep -c '^  ' said)" = 2 ] || fail "more than is missing: $(cat said)"
grep -q '^setup: error: ' said || fail "no error: $(cat said)"
if [ ! -e /usr/share/modules/init/bash ] && [ ! -e /usr/share/lmod/lmod/init/bash ]; then
    (unset -f module; setup 66)
    grep -q "Nor is there a 'module' command" said && grep -q '^  mpicc (Debian: libopenmpi-dev)' said || fail "without modules: $(cat said)"
fi

# A library that pkg-config does not know.
tools_without nothing
PKG_CONFIG_LIBDIR=$tmp PKG_CONFIG_PATH='' setup 66
grep -q '^  openblas (Debian: libopenblas-openmp-dev' said && ! grep -q mpicc said || fail "not named: $(cat said)"

# What only tests need does not stop anything.
tools_without zstd
setup 0 --tests
grep -q '^  zstd (Debian: zstd; module: zstd; for tests alone)' said && ! grep -q error said || fail "tests: $(cat said)"

# A cluster's modules: tried by their usual names; one does nothing, one is not there, one helps and is kept.
mkdir -p modules/openmpi
ln -s "$(type -P mpicc)" modules/openmpi/mpicc
module() {
    [ "$1" = load ] || return 1
    echo "module load $2" >>"$here/loads"
    case $2 in
    openmpi) export PATH=$here/modules/openmpi:$PATH ;;
    protobuf-c) ;;
    *) echo "no such module: $2" >&2 && return 1 ;;
    esac
}
export here=$tmp
tools_without mpicc ninja protoc-c
setup 66
[ "$(sort loads | tr '\n' ' ')" = "module load ninja module load openmpi module load protobuf-c " ] || fail "tried: $(cat loads)"
grep -qx 'loaded modules: openmpi' said || fail "not told: $(cat said)"
grep -q '^  protoc-c (Debian: protobuf-c-compiler; module: protobuf-c)' said && grep -q '^  ninja (' said && ! grep -q '^  mpicc' said ||
    fail "not named: $(cat said)"
tools_without mpicc
PATH=$tmp/bin bash -euc '. "$THAW_SOURCE/jobs/setup" && thaw_setup && mpicc=$(type -P mpicc) && [ "$mpicc" = "$here/modules/openmpi/mpicc" ]' ||
    fail "a module does not stay with the script that sourced setup"
setup 64 --colour
