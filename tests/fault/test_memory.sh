#!/usr/bin/env bash
# Memory that one rank does not get, by a limit of its own or of its group: one clear line with what was asked for and what
# there is, 71, and nothing left.
# labels: memory
. "$THAW_SOURCE/tests/fault/common"

refused_memory() {
    refused 71 'cannot allocate .*[KMGT]iB for .* \((limit|.*in use)'
    grep -qE '^thaw [a-z-]+: error: rank [0-9]+ of 3' "$run/err" || fail "no rank: $(grep '^thaw ' "$run/err")"
    [ -z "$(find . -mindepth 1 -not -path './generator.checkpoint*')" ] && [ -z "$(find . -name '*.tmp')" ] || fail "left behind: $(ls -AR)"
}

allocation_fails() { # JOB PASS
    THAW_FAULT=1:allocate:$2:enomem job 3 "$1"
    refused_memory
    outcome="71, what was asked and what there is"
    again 2 "$1"
    same "$1"
}

# One rank is in a phase when its address space is limited to what it has and a little.
limited() { # JOB PHASE
    local pid kib
    THAW_FAULT=1:$2:1:stop job_start 3 "$1"
    await_stopped 1
    pid=$(pid_of 1)
    kib=$(sed -n 's/^VmSize:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")
    prlimit --pid "$pid" --as=$(((kib + 128) * 1024)) || skip "prlimit is refused"
    strike
    go_on "$pid"
    ended
    refused_memory
    outcome="71, what was asked and what there is"
    again 2 "$1"
    same "$1"
}

# ulimit -v on one rank, from before it starts.
small_rank() { # JOB OPTION...
    local name=$1
    shift
    # shellcheck disable=SC2016 # the rank's shell
    before='[ "$OMPI_COMM_WORLD_RANK" != 2 ] || ulimit -v 1500000' job 3 "$name" "$@"
    refused 71 'rank 2 of 3 .*--memory asks for 2.0 GiB, and this rank may have 1.4 GiB of address space \(ulimit -v\): give at most --memory 1464M'
    [ -z "$(ls -A)" ] || fail "left behind: $(ls -A)"
    outcome="71, what was asked and what there is"
}

# More than the machine has for its ranks together. As much as there is by default.
beyond_machine() { # JOB
    local kib
    kib=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)
    job 3 "$1" --memory $((kib / 2))K
    refused 71 '--memory asks for .*[MGT]iB for each of 3 ranks on [^ ]+, (which has|whose control group allows) .*[MGT]iB in all: give at most --memory [0-9]+M'
    [ -z "$(ls -A)" ] || fail "left behind: $(ls -A)"
    outcome="71, what was asked and what there is"
}

# A control group for one rank, version 1 or 2, where one can be made.
in_group() { # MIB JOB OPTION...
    local base=/sys/fs/cgroup file=memory.max mib=$1 name=$2
    shift 2
    [ ! -d $base/memory ] || base=$base/memory file=memory.limit_in_bytes
    group=$(mktemp -d "$base/thaw.XXXXXX" 2>/dev/null) || skip "no control group can be made here"
    echo "$group" >"$dir.group"
    echo $((mib << 20)) >"$group/$file" 2>/dev/null || skip "no memory limit can be set here"
    # shellcheck disable=SC2016 # the rank's shell
    before='[ "$OMPI_COMM_WORLD_RANK" != 2 ] || echo $$ >"$group/cgroup.procs"' group=$group job 3 "$name" "$@"
}

grouped_rank() { # MIB PATTERN JOB OPTION...
    in_group "$1" "${@:3}"
    refused 71 "$2"
    [ -z "$(ls -A)" ] || fail "left behind: $(ls -A)"
    outcome="71, what was asked and what there is"
}

# What is usual would be too much there: less is taken.
makes_do() { # MIB
    job[prepare]=${job[prepare]/--quiet/}
    in_group "$1" prepare
    [ "$status" = 0 ] || fail "exit $status: $(tail -3 "$run/err")"
    grep -q "^memory of a rank: $(($1 / 3)).0 MiB planned" "$run/err" || fail "not a third of the group's: $(grep '^memory' "$run/err")"
    detected=""
    outcome="0, with less than usual"
    same prepare
}
after_case() {
    [ ! -e "$dir.group" ] || rmdir "$(<"$dir.group")" || :
}

make_inputs
make_whole prepare train augment tables
for name in prepare train tables augment; do
    for pass in 1 2; do
        matrix "out of memory on one rank" "$name: block $pass of 1 MiB or more" allocation_fails $name $pass
    done
done
matrix "out of memory on one rank" "prepare: address space used up as it reads" limited prepare read
matrix "out of memory on one rank" "train: address space used up as it loads" limited train load
matrix "out of memory on one rank" "prepare: --memory beyond ulimit -v" small_rank prepare --memory 2049M
for name in prepare associate evaluate; do matrix "out of memory on one rank" "$name: --memory beyond the machine" beyond_machine $name; done
matrix "out of memory on one rank" "prepare: --memory beyond a control group" grouped_rank 600 \
    'rank 2 of 3 .*--memory asks for 300.0 MiB for each of 3 ranks on [^ ]+, whose control group allows 600.0 MiB in all: give at most --memory 200M' prepare --memory 300M
matrix "out of memory on one rank" "prepare: without --memory in a control group" makes_do 600
finish
