#!/usr/bin/env bash
# A disk that is full, a quota, errors of the disk, folders that cannot be written or vanish, under a dataset, a checkpoint,
# tables and a log file: 74 with one clear line, what was there before is untouched, and with room again the job ends well.
# labels: space
# cost: 90
if [ -z "${THAW_OWN_MOUNTS-}" ] && unshare -m true 2>/dev/null; then
    THAW_OWN_MOUNTS=1 exec unshare -m bash "$0" "$@" # mounts that nobody else sees, and that end with this script
fi
. "$THAW_SOURCE/tests/fault/common"

contents() { [ ! -e "$1" ] || find "$1" -type f -print0 | sort -z | xargs -0 -r sha256sum; }

# An error injected into a call on files: 74, nothing changed, and the same command then succeeds.
call_fails() { # JOB SITE PASS WHAT [OPTION...]
    local name=$1 fault=$2:$3+:$4 was
    shift 4
    [ -z "${old-}" ] || cp -r "$tmp/whole.$name/." .
    was=$(contents .)
    THAW_FAULT=0:$fault,1:$fault,2:$fault job 3 "$name" "$@"
    refused 74
    [ "$(contents .)" = "$was" ] || fail "not as it was before: $(ls -R . | head -20)"
    outcome="74, as it was before"
    again 2 "$name" "$@"
    if [ "$name$*" = tables--force ]; then same_current tables; else same "$name"; fi
}

# Training has a checkpoint; the next cannot be written. The checkpoint stays and is gone on from.
checkpoint_fails() { # SITE WHAT
    local version
    job 2 train --iterations 2
    THAW_FAULT=0:$1:1+:$2,1:$1:1+:$2,2:$1:1+:$2 job 3 train
    refused 74
    version=$(readlink model/current)
    [ "$version" = iteration-000002 ] && [ -z "$(strays | grep -v attempts)" ] || fail "left behind: $(ls model), current $version"
    outcome="74, old checkpoint whole"
    again 3 train
    same train
}

# A file system of so many KiB under a folder of the case.
small_disk() { # FOLDER KIB
    [ -n "${THAW_OWN_MOUNTS-}" ] || skip "needs root: file systems of its own"
    mkdir -p "$1"
    mount -t tmpfs -o "size=$2k,mode=777" thaw "$1" 2>/dev/null || skip "needs a file system of its own: mount is refused"
}
after_case() { umount -q "$dir/disk" 2>/dev/null || :; }
fill() { dd if=/dev/zero of="$1" bs=4k status=none 2>/dev/null || :; }

full_for() { # JOB KIB OPTION...
    local name=$1 disk=$2
    shift 2
    small_disk disk "$disk"
    cd disk || exit
    job[$name]=${job[$name]//..\/in/..\/..\/in}
    fill .filler
    truncate -s -$((disk * 1024 / 4)) .filler # a quarter is free
    job 3 "$name" "$@"
    refused 74 'No space left'
    [ "$(ls -A)" = .filler ] || fail "left behind: $(ls -A)"
    rm .filler
    mount -o remount,size=64m thaw .
    outcome="74, nothing left behind"
    again 2 "$name" "$@"
    same "$name"
}

full_beside_checkpoint() {
    small_disk disk 256
    cd disk || exit
    job[train]=${job[train]//..\/in/..\/..\/in}
    job 2 train --iterations 2
    [ "$status" = 0 ] || fail "the first checkpoint: $(tail -3 "$run/err")"
    fill .filler
    job 3 train
    refused 74 'No space left'
    [ "$(readlink model/current)" = iteration-000002 ] || fail "current moved: $(ls model)"
    rm .filler
    outcome="74, old checkpoint whole"
    again 3 train
    same train
}

# A log that cannot be written is not worth a model: a warning, once.
full_log() {
    small_disk disk 16
    fill disk/.filler
    job[train]=${job[train]/--quiet/}
    job 2 train --log disk/log.json
    [ "$status" = 0 ] || fail "exit $status: $(tail -3 "$run/err")"
    [ "$(grep -c '^warning: cannot write the log' "$run/err")" = 1 ] || fail "no warning: $(cat "$run/err")"
    umount disk
    rmdir disk
    detected=""
    outcome="warned, the whole result"
    same train
}

log_nowhere() {
    job 2 train --log nowhere/log.json
    refused 74 'nowhere/log.json'
    [ ! -e model ] || fail "something was written"
    outcome="74 before any work"
}

results_nowhere() {
    [ -w /dev/full ] || skip "no /dev/full"
    # shellcheck disable=SC2086
    status=0
    thaw evaluate --data ../in/data --model ../in/model --known 3 --cutoffs 10 --quiet >/dev/full 2>err || status=$?
    [ "$status" = 74 ] && [ "$(grep -c 'error:' err)" = 1 ] || fail "exit $status: $(cat err)"
    outcome="74"
}

# As somebody for whom permissions count. A folder is sealed and the job refused before it works.
as_somebody() {
    as=""
    [ "$(id -u)" = 0 ] || return 0
    as="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$tmp"
    # shellcheck disable=SC2086
    $as thaw --version >/dev/null 2>&1 || skip "another user cannot run the programs where they are"
}

sealed() { # JOB
    as_somebody
    chmod 555 .
    job 3 "$1"
    refused 74 'ermission denied'
    [ -z "$(ls -A)" ] || fail "something was written: $(ls -A)"
    chmod 777 .
    outcome="74 before any work"
    again 2 "$1"
    same "$1"
}

# The folder is sealed when the job is under way.
sealed_late() { # JOB FAULT FOLDER
    as_somebody
    THAW_FAULT=$2 job_start 3 "$1"
    await_stopped "${2%%:*}"
    chmod 555 "$3"
    strike
    go_on "$(pid_of "${2%%:*}")"
    ended
    [ ! -e "$3" ] || chmod 755 "$3" # an empty folder goes with the job that made it
    refused 74 'ermission denied'
    outcome="74, goes on with permission again"
    again 2 "$1"
    same "$1"
}

# The folder under the job is taken away.
vanished() { # JOB FAULT FOLDER
    THAW_FAULT=$2 job_start 3 "$1"
    await_stopped "${2%%:*}"
    mv "$3" "$dir.gone"
    strike
    go_on "$(pid_of "${2%%:*}")"
    ended
    rm -rf "$dir.gone"
    refused 74 "$(basename "$3")"
    outcome="74, from the start again"
    again 2 "$1"
    same "$1"
}

# The model's folder goes, or it or the new version's is sealed, while a rank writes its files of the second checkpoint, beside
# the training or as it publishes. What was moved away is whole.
model_goes() { # FAULT HOW
    local rank=${1%%:*} was pattern='model'
    [[ $2 != seal* ]] || as_somebody
    [[ $2 != seal* ]] || pattern='ermission denied'
    job 2 train --iterations 2
    [ "$status" = 0 ] || fail "the first checkpoint: $(tail -3 "$run/err")"
    was=$(cd model && contents iteration-000002)
    THAW_FAULT=$1 job_start 3 train
    await_stopped "$rank"
    case $2 in
        move) mv model gone ;;
        remove) until rm -rf model 2>/dev/null; do :; done ;; # other ranks may be putting files into it
        seal) chmod 555 model model/iteration-000004.tmp ;;
        "seal "*) chmod 555 model/iteration-000004.tmp ;;
    esac
    strike
    go_on "$(pid_of "$rank")"
    ended
    [[ $2 != seal* ]] || chmod -R u+w model
    refused 74 "$pattern"
    outcome="74, from the start again"
    if [ "$2" != remove ]; then
        [ "$2" != move ] || { [ ! -e model ] || rm -r model; mv gone model; }
        [ "$(cd model && contents iteration-000002)" = "$was" ] || fail "the old checkpoint is not as it was"
        [ "$(readlink model/current)" = iteration-000002 ] || fail "current moved: $(ls model)"
        outcome="74, old checkpoint whole"
    fi
    again 2 train
    same train
}

make_inputs
make_whole prepare train tables augment prior evaluate
for rank in 0 1; do
    for how in move remove seal "seal the new version of"; do
        matrix "read-only and vanished folders" "checkpoint: $how the model as rank $rank writes" model_goes $rank:write:3:stop "$how"
    done
done
for how in move remove seal "seal the new version of"; do
    matrix "read-only and vanished folders" "checkpoint: $how the model before it is published" model_goes 0:commit:1:stop "$how"
done
for what in enospc edquot eio; do
    for name in prepare train tables; do
        matrix "disk full, quota, I/O error" "$name: $what as it writes" call_fails $name write 1 $what
    done
    matrix "disk full, quota, I/O error" "checkpoint: $what as it writes" checkpoint_fails write $what
    matrix "disk full, quota, I/O error" "augment: $what as it writes" call_fails augment write 1 $what
done
for site in create sync rename; do
    matrix "disk full, quota, I/O error" "prepare: eio at $site" call_fails prepare $site 1 eio
    matrix "disk full, quota, I/O error" "tables: eio at $site" call_fails tables $site 1 eio
    matrix "disk full, quota, I/O error" "checkpoint: eio at $site" checkpoint_fails $site eio
    old=1 matrix "disk full, quota, I/O error" "tables: eio at $site of a second version" call_fails tables $site 1 eio --force
    old=1 matrix "disk full, quota, I/O error" "prior: eio at $site with an older one" call_fails prior $site 1 eio --force
done
old=1 matrix "disk full, quota, I/O error" "prepare: enospc with an older dataset" call_fails prepare write 1 enospc --force
matrix "disk full, quota, I/O error" "prior: erofs as it writes" call_fails prior create 1 erofs
matrix "disk full, quota, I/O error" "evaluate: enospc as it writes" call_fails evaluate write 1 enospc
matrix "disk full, quota, I/O error" "prepare: a disk too small" full_for prepare 128
matrix "disk full, quota, I/O error" "tables: a disk too small" full_for tables 64 --data ../../in/data
matrix "disk full, quota, I/O error" "checkpoint: a disk too small for the next" full_beside_checkpoint
matrix "disk full, quota, I/O error" "train: a disk too small for the log" full_log
matrix "read-only and vanished folders" "train: nowhere to log" log_nowhere
matrix "read-only and vanished folders" "evaluate: results cannot be printed" results_nowhere
for name in prepare train tables augment prior evaluate; do
    matrix "read-only and vanished folders" "$name: a folder without permission" sealed $name
done
matrix "read-only and vanished folders" "train: permission lost before a checkpoint" sealed_late train 0:solve:7:stop model
matrix "read-only and vanished folders" "prepare: permission lost before it writes" sealed_late prepare 0:merge:1:stop data
matrix "read-only and vanished folders" "prepare: the dataset vanishes" vanished prepare 0:write:2:stop data
matrix "read-only and vanished folders" "tables: the version vanishes" vanished tables 0:commit:1:stop tables
matrix "read-only and vanished folders" "prior: the folder vanishes" vanished prior 0:publish:1:stop prior.tmp
finish
