#!/usr/bin/env bash
# thaw tables: the same bytes for any number of ranks; versions, current, --keep, --force; what does not fit is refused and leaves nothing.
# labels: tables determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

thaw synth --out log --users 300 --items 80 --interactions 5000 --seed 4 --quiet >/dev/null
common=(--columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 --quiet)
thaw prepare --events log/events-*.csv "${common[@]}" --out data --parts 4 >/dev/null
thaw prepare --events log/events-*.csv "${common[@]}" --out other --parts 4 --min-item 2 >/dev/null
thaw train --data data --out model --factors 5 --iterations 2 --holdout-users 0.1 --quiet >/dev/null

thaw tables --model model --out tables --quiet --format jsonl >out
grep -qE '^\{"version":"v000001","users":[0-9]+,"items":[0-9]+,"columns":5,"bytes":[0-9]+,"filled_items":0\}$' out || fail "report: $(cat out)"
for ranks in 2 3 4; do
    ranks "$ranks" thaw tables --model model --out "tables-$ranks" --quiet >/dev/null
    diff -r -x manifest.pb tables "tables-$ranks" || fail "other bytes with $ranks ranks"
    [ "$(readlink "tables-$ranks/current")" = v000001 ] || fail "current"
    thaw-lookup check "tables-$ranks" >/dev/null
done

# Up to date: nothing is done. --force: another version; only so many are kept.
expect 0 thaw tables --model model --out tables
grep -q "was made from this model" err && [ ! -s out ] && [ "$(ls tables)" = "$(printf 'current\nv000001')" ] || fail "$(cat err)"
mkdir tables/v000007.tmp # left behind by a run that was killed
for n in 8 9 10; do expect 0 ranks 2 thaw tables --model model --out tables --force --quiet --keep 3; done
[ "$(ls tables | tr '\n' ' ')" = "current v000008 v000009 v000010 " ] || fail "versions: $(ls tables)"
[ "$(readlink tables/current)" = v000010 ] || fail "current: $(readlink tables/current)"
diff -r -x manifest.pb tables/v000010 tables-2/v000001 || fail "versions differ"

# A signal, to one rank alone: all end with 75, without the new version and without a folder they made. The signal comes while rank 0
# waits for a reader of its log, and stops its rank before it reads or writes the first part; the other ranks go through theirs.
thaw prepare --events log/events-*.csv "${common[@]}" --out fine --parts 8 >/dev/null
thaw train --data fine --out fine-model --factors 5 --iterations 1 --quiet >/dev/null
mkfifo pipe
caught() { # SIGNAL PID: the process has a handler for it
    local set
    set=$(sed -n 's/^SigCgt:\t//p' "/proc/$2/status" 2>/dev/null) && [ -n "$set" ] && ((0x$set >> ($(kill -l "$1") - 1) & 1))
}
stop() { # RANKS SIGNAL OUT
    local ranks=$1 signal=$2 out=$3 got=0 launched pid
    rm -f pid.*
    # shellcheck disable=SC2016 # the inner shell's
    ranks "$ranks" bash -c 'echo $$ >.$OMPI_COMM_WORLD_RANK && mv .$OMPI_COMM_WORLD_RANK pid.$OMPI_COMM_WORLD_RANK; exec "$@"' - \
        thaw tables --model fine-model --out "$out" --quiet --log pipe >report 2>err </dev/null &
    launched=$!
    until pid=$(cat "pid.$((ranks - 1))" 2>/dev/null) && caught "$signal" "$pid"; do
        kill -0 $launched || fail "ended: $(cat err)"
        sleep 0.01
    done
    kill -s "$signal" "$pid"
    timeout 300 cat pipe >/dev/null
    wait $launched || got=$?
    [ "$got" = 75 ] || fail "ended with $got after $signal: $(cat err)"
    [ "$(grep -c '^thaw tables: stopped: .*stopped on request while' err)" = 1 ] && [ ! -s report ] || fail "$(cat err report)"
}
stop 1 TERM stopped
stop 2 USR1 stopped
[ ! -e stopped ] || fail "left behind: $(ls stopped)"
stop 3 TERM tables
[ "$(ls tables | tr '\n' ' ')" = "current v000008 v000009 v000010 " ] || fail "left behind: $(ls tables)"
[ "$(readlink tables/current)" = v000010 ] || fail "current moved"

# What does not fit
expect 65 ranks 2 thaw tables --model model --data other --out new --quiet
[ "$(grep -oE '[0-9a-f]{16}' err | sort -u | wc -l)" = 2 ] || fail "not both digests: $(cat err)"
[ ! -e new ] || fail "something is left: $(ls new)"
expect 66 thaw tables --model nowhere --out new --quiet
expect 66 thaw tables --model model --data nowhere --out new --quiet
expect 64 thaw tables --model model
shard=$(find data -name 'users-00002-*')
printf '\377' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
expect 65 ranks 3 thaw tables --model model --out tables --force --quiet
grep -q "users-00002-of-00004.npz" err || fail "the damaged shard is not named: $(cat err)"
[ "$(ls tables | tr '\n' ' ')" = "current v000008 v000009 v000010 " ] || fail "something is left: $(ls tables)"
[ "$(readlink tables/current)" = v000010 ] || fail "current moved"
thaw-lookup check tables >/dev/null
