#!/usr/bin/env bash
# Files that are truncated, changed by a bit, missing, swapped, of an older format or of another version, in a dataset, a
# checkpoint and tables: named and refused, a checkpoint falls back to the one before; inputs that changed between runs are
# refused with both digests; numbers that are none stop the run with the row's name.
# labels: damage
# cost: 60
. "$THAW_SOURCE/tests/fault/common"

harm() { # HOW FILE OTHER: OTHER is a file of the same kind
    local at byte
    case $1 in
        truncated) truncate -s -5 "$2" ;;
        bit-flipped)
            at=$(($(stat -c %s "$2") / 2))
            byte=$(od -An -tu1 -j $at -N 1 "$2")
            printf '%b' "\\x$(printf %x $((byte ^ 16)))" | dd of="$2" bs=1 seek=$at conv=notrunc status=none
            ;;
        missing) rm "$2" ;;
        empty) : >"$2" ;;
        swapped)
            mv "$2" kept
            mv "$3" "$2"
            mv kept "$3"
            ;;
        mixed-version) cp "$3" "$2" ;;
        old-format) python3 "$source_folder/old_format.py" "$2" 0 2>"$dir.why" || skip "no libxxhash.so.0 to make a manifest of another format" ;;
    esac
}

# A copy of the inputs, one file of them harmed. The job refuses, names the file and leaves nothing.
refuses() { # STATUS HOW FILE OTHER JOB...
    local want=$1 how=$2 file=$3 other=$4 name began
    shift 4
    cp -r "$tmp/in" "$tmp/other" .
    rm -r in/model/iteration-000004 # what a damaged newest version would be replaced by
    harm "$how" "$file" "$other"
    for name in "$@"; do
        job[$name]=${job[$name]//..\/in/in}
        began=$(now)
        case $name in
            train | evaluate) job 3 "$name" ;;
            *) job 3 "$name" --data in/data ;;
        esac
        detected=$(($(now) - began))
        refused "$want" "$(basename "$(dirname "$file")")" "$(basename "$file")"
        [ ! -e "${made[$name]}" ] && [ -z "$(strays)" ] || fail "$name left something: $(ls)"
    done
    outcome="$want, the file is named"
}

data_file=in/data/users-00001-of-00005.npz data_other=in/data/users-00002-of-00005.npz
model_file=in/model/iteration-000006/items-00001-of-00005.npy model_other=in/model/iteration-000006/items-00002-of-00005.npy

# The newest checkpoint is harmed: a warning names the file, and training goes on from the one before.
falls_back() { # HOW FILE OTHER
    THAW_FAULT=0:solve:11 job 2 train
    [ -e model/iteration-000004 ] && [ -e model/iteration-000002 ] || fail "no two checkpoints: $(ls model)"
    harm "$1" "model/iteration-000004/$2" "$3"
    job[train]=${job[train]/--quiet/}
    detected=""
    outcome="warned, goes on from the one before"
    again 3 train
    grep -q "^warning: .*$2" "$run/err" || fail "no warning names $2: $(grep warning "$run/err")"
    same train
}

# Tables are made of the version before when the newest is harmed, and it is said.
tables_fall_back() { # HOW
    cp -r "$tmp/in" .
    harm "$1" "$model_file" ""
    job[tables]=${job[tables]/--quiet/--data in/data}
    job[tables]=${job[tables]//..\/in/in}
    job 3 tables
    [ "$status" = 0 ] || fail "ended with $status: $(tail -3 "$run/err")"
    grep -q "^warning: .*$(basename "$model_file")" "$run/err" || fail "no warning: $(grep warning "$run/err")"
    detected=""
    outcome="warned, made of the version before"
    thaw-lookup check tables >check 2>&1 || fail "the tables: $(cat check)"
}

both_harmed() {
    THAW_FAULT=0:solve:11 job 2 train
    harm bit-flipped model/iteration-000004/items-00001-of-00005.npy ""
    harm truncated model/iteration-000002/users-00003-of-00005.npy ""
    job 2 train
    refused 65 'items-00001-of-00005.npy' 'force starts anew'
    outcome="65, the file is named; --force starts anew"
    again 2 train --force
    same train
}

augment_falls_back() { # HOW FILE
    THAW_FAULT=0:step:9 job 2 augment
    [ -e generator.checkpoint/step-000006 ] || fail "no checkpoint: $(ls generator.checkpoint)"
    harm "$1" "generator.checkpoint/step-000006/$2" generator.checkpoint/step-000003/"$2"
    detected=""
    outcome="goes on from the one before"
    again 3 augment
    same augment
}

# Tables that were published are read by thaw-lookup.
tables_refused() { # HOW FILE OTHER
    cp -r "$tmp/whole.tables/tables" .
    harm "$1" "tables/current/$2" "$3"
    started=$(now)
    status=0
    thaw-lookup check tables >out 2>err || status=$?
    detected=$(($(now) - started))
    [ "$status" = 65 ] || [ "$status" = 66 ] || fail "thaw-lookup check ended with $status: $(cat out err)"
    grep -q "$2" err || fail "not named: $(cat err)"
    # A damaged current version is replaced by the next one.
    outcome="$status, the file is named"
    launch 2 thaw tables --model ../in/model --out tables --quiet --force
    [ "$status" = 0 ] || fail "the next version ended with $status: $(tail -3 "$run/err")"
    diff -r -x manifest.pb "$tmp/whole.tables/tables/current/" tables/current/ >"$dir.diff" || fail "not the same: $(head -5 "$dir.diff")"
}

# ---- Inputs that change between runs ----

two_digests() { [ "$(grep '^thaw ' "$run/err" | grep -oE '\b[0-9a-f]{16}\b' | sort -u | wc -l)" = 2 ] || fail "not both digests: $(grep '^thaw ' "$run/err")"; }

train_other_data() {
    THAW_FAULT=0:solve:7 job 2 train
    job[train]=${job[train]//..\/in/..\/other}
    job 2 train
    refused 65 'force'
    two_digests
    [ "$(readlink model/current)" = iteration-000002 ] || fail "current moved"
    outcome="65 with both digests; --force starts anew"
    again 2 train --force
    diff -r --no-dereference -x manifest.pb "$tmp/other/model" model >"$dir.diff" || fail "not the same: $(head -5 "$dir.diff")"
}

augment_other_model() {
    THAW_FAULT=0:step:5 job 2 augment
    job[augment]=${job[augment]//..\/in/..\/other}
    job 2 augment
    refused 65 'force'
    two_digests
    outcome="65 with both digests; --force starts anew"
    again 2 augment --force
    [ -z "$(strays)" ] || fail "left behind: $(strays)"
}

tables_other_data() {
    job 2 tables --data ../other/data
    refused 65
    two_digests
    [ ! -e tables ] || fail "something was written"
    outcome="65 with both digests"
}

# A log that changes while it is read is one whose digest is not that of what was read: nobody can tell, but a log that shrank can.
shrinking_log() {
    cp -r "$tmp/in" .
    THAW_FAULT=1:read:1:stop start 3 thaw prepare --events in/events --event-weights view=1,cart=3,buy=5 --parts 5 --out data --quiet
    await_stopped 1
    for file in in/events/*; do : >"$file"; done
    strike
    go_on "$(pid_of 1)"
    ended
    [ "$status" = 65 ] || [ "$status" = 66 ] || [ "$status" = 74 ] || fail "exit $status: $(tail -3 "$run/err")"
    refused "$status"
    [ ! -e data/manifest.pb ] || fail "a dataset was made of it"
    outcome="$status"
}

# ---- Numbers that are none ----

not_a_number() {
    THAW_FAULT=1:solve:9:nan job 3 train
    refused 79 'row [0-9]+ of (users|items)'
    [ "$(readlink model/current)" = iteration-000004 ] || fail "the last good checkpoint: $(ls model)"
    [ -z "$(strays)" ] || fail "left behind: $(strays)"
    outcome="79, the row is named, the checkpoint is kept"
    again 2 train
    same train
}

diverges() {
    awk 'BEGIN { for (u = 0; u < 40; u++) for (i = 0; i < 8; i++) print "u" u ",i" (u * 7 + i * 3) % 30 "," (u == 11 && i == 3 ? "1e30" : 1) }' >big.csv
    thaw prepare --events big.csv --columns user,item,value --out big --parts 3 --quiet >/dev/null
    launch 3 thaw train --data big --out model --strength raw --alpha 1e10 --factors 4 --quiet
    refused 79 'row [0-9]+ of users'
    [ ! -e model/current ] && [ -z "$(strays)" ] || fail "left behind: $(ls model)"
    outcome="79, the row is named"
}

make_inputs
make_whole train tables augment
mkdir "$tmp/other" # the same log with other weights
(
    cd "$tmp/other"
    # shellcheck disable=SC2086
    ${job[prepare]/buy=5/buy=4} >/dev/null
    # shellcheck disable=SC2086
    ${job[train]//..\/in/..\/other} >/dev/null
)

for how in truncated bit-flipped missing empty swapped; do
    status=65
    [ $how != missing ] || status=66
    matrix "damaged files" "train: dataset part $how" refuses $status $how "$data_file" $data_other train
    matrix "damaged files" "tables: model part $how" refuses 65 $how "$model_file" $model_other tables
    matrix "damaged files" "tables: published part $how" tables_refused $how items-00001-of-00005.npy tables/current/items-00002-of-00005.npy
    matrix "damaged checkpoint" "train: part $how" falls_back $how items-00001-of-00005.npy model/iteration-000004/items-00002-of-00005.npy
done
for how in truncated bit-flipped missing old-format; do
    status=65
    [ $how != missing ] || status=66
    matrix "damaged files" "train: dataset manifest $how" refuses $status $how in/data/manifest.pb "" train
    matrix "damaged files" "tables: published manifest $how" tables_refused $how manifest.pb ""
    matrix "damaged checkpoint" "train: manifest $how" falls_back $how manifest.pb ""
    matrix "damaged checkpoint" "augment: manifest $how" augment_falls_back $how manifest.pb
done
matrix "damaged files" "train: dataset part mixed-version" refuses 65 mixed-version $data_file other/data/users-00001-of-00005.npz train
matrix "damaged files" "evaluate: dataset part bit-flipped" refuses 65 bit-flipped $data_file "" evaluate
matrix "damaged files" "augment: dataset part bit-flipped" refuses 65 bit-flipped $data_file "" augment
matrix "damaged files" "tables: model part mixed-version" refuses 65 mixed-version $model_file other/model/iteration-000006/items-00001-of-00005.npy tables
matrix "damaged files" "tables: published part mixed-version" tables_refused mixed-version items-00001-of-00005.npy "$tmp/other/model/iteration-000006/items-00001-of-00005.npy"
matrix "damaged checkpoint" "train: part mixed-version" falls_back mixed-version items-00001-of-00005.npy model/iteration-000002/items-00001-of-00005.npy
matrix "damaged checkpoint" "train: both checkpoints" both_harmed
matrix "damaged checkpoint" "tables: model part bit-flipped" tables_fall_back bit-flipped
matrix "damaged checkpoint" "augment: networks mixed-version" augment_falls_back mixed-version training.nets.npy
matrix "damaged checkpoint" "augment: networks bit-flipped" augment_falls_back bit-flipped training.nets.npy
matrix "inputs changed between runs" "train: another dataset" train_other_data
matrix "inputs changed between runs" "augment: another model" augment_other_model
matrix "inputs changed between runs" "tables: another dataset" tables_other_data
matrix "inputs changed between runs" "prepare: the log shrinks as it is read" shrinking_log
matrix "NaN or divergence" "train: a row becomes NaN" not_a_number
matrix "NaN or divergence" "train: numbers overflow" diverges
finish
