#!/usr/bin/env bash
# The same command on its own finished result has nothing to do and ends with 0, whatever the ranks, threads and memory; other
# options, changed inputs and a result that is not whole are refused as before, and told what differs; --force does it again.
# labels: finished
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

stamps() { find "$1" -type f -printf '%p %T@ %i\n' | sort; }

# nothing_to_do OUT COMMAND...: it says so in one line, prints no result and writes nothing.
nothing_to_do() {
    local out=$1 before
    shift
    before=$(stamps "$out")
    expect 0 "$@"
    says "$out is finished already, made from these inputs with these options: nothing to do"
    [ ! -s out ] || fail "'$*' prints: $(cat out)"
    [ "$(stamps "$out")" = "$before" ] || fail "'$*' wrote something"
    [ ! -e "$out.lock" ] && [ ! -e "$out.tmp" ] || fail "'$*' left something"
}

synth=(thaw synth --users 200 --items 60 --interactions 4000 --files 2 --out log)
prepare=(thaw prepare --events log/events-00000-of-00002.csv log/events-00001-of-00002.csv --users log/users.csv --parts 4
    --text-buckets 16 --out data)
train=(thaw train --data data --factors 4 --iterations 3 --holdout-users 0.1 --out model --quiet)
prior=(thaw prior --model model --out prior)
associate=(thaw associate --data data --method ease --out association)
augment=(thaw augment --model model --hidden 8 --batch 50 --rest 2 --steps 4 --adversary 0 --virtual-items 5 --out generator)

for name in synth prepare train prior associate augment; do
    declare -n job=$name
    expect 0 "${job[@]}"
done
for name in synth prepare prior associate augment; do
    declare -n job=$name
    out=${job[-1]}
    nothing_to_do "$out" "${job[@]}"
    nothing_to_do "$out" ranks 3 "${job[@]}" --threads 2 --format csv --stall-timeout 0
    expect 0 "${job[@]}" --quiet
    [ ! -s err ] || fail "$name is not quiet: $(cat err)"
done
for name in synth prepare prior associate augment; do
    declare -n job=$name
    out=${job[-1]}
    before=$(stamps "$out")
    expect 0 "${job[@]}" --force --quiet
    [ "$(stamps "$out")" != "$before" ] || fail "$name --force does nothing"
    nothing_to_do "$out" "${job[@]}"
done
nothing_to_do data "${prepare[@]}" --memory 1G --chunk 64K
nothing_to_do association "${associate[@]}" --memory 1G
nothing_to_do generator "${augment[@]}" --checkpoint-every 1

# Another option is named with both values.
refused 64 'holds a log already, made with --seed 1, and this run says 2: ' "${synth[@]}" --seed 2
refused 64 'data holds a dataset already, made with --min-user 1, and this run says 2: ' "${prepare[@]}" --min-user 2
refused 64 'prior holds a prior already, made with --ridge 30, and this run says 4.5: ' "${prior[@]}" --ridge 4.5
refused 64 'association holds an association already, made with --known not given, and this run says 1,2: ' "${associate[@]}" --known 1,2
refused 64 'generator holds a generator already, made with --steps 4, and this run says 5: ' "${augment[@]}" --steps 5

# So is an input: of other content, of another time, one more, one less.
other_input() { refused 64 "data holds a dataset already, made from another --$1, or before it was changed (digest [0-9a-f]*, now digest [0-9a-f]*)" "${@:2}"; }
touch log/events-00001-of-00002.csv
other_input events "${prepare[@]}"
expect 0 "${prepare[@]}" --force
nothing_to_do data "${prepare[@]}"
other_input events thaw prepare --events log/events-00000-of-00002.csv "${prepare[@]:5}"
echo >>log/users.csv
other_input users "${prepare[@]}"
expect 0 "${train[@]}" --iterations 4
refused 64 'prior holds a prior already, made from another --model, ' "${prior[@]}"
refused 64 'generator holds a generator already, made from another --model, ' "${augment[@]}"

# What another job made is not replaced, --force or not.
for force in '' --force; do
    # shellcheck disable=SC2086 # no word where it is empty
    refused 64 "data holds what 'thaw prepare' wrote" "${associate[@]::6}" --out data $force
    # shellcheck disable=SC2086
    refused 64 "model holds what 'thaw train' wrote" thaw tables --model model --out model $force
    # shellcheck disable=SC2086
    refused 64 "generator/virtual holds what 'thaw augment' wrote" "${prior[@]::4}" --out generator/virtual $force
done
[ ! -e data.lock ] && [ ! -e data.tmp ] || fail "a refused job left something: $(ls)"

# What is not whole is not finished.
rm association/associate.n000.items-00002-of-00004.values.npy
refused 64 'association holds an association already, but not whole (.*values.npy: ' "${associate[@]}"
printf x | dd of=data/manifest.pb bs=1 seek=40 conv=notrunc 2>/dev/null
refused 64 'data holds a dataset already, but not whole (.*manifest.pb: checksum' "${prepare[@]}"
rm log/events-00001-of-00002.csv
refused 64 'holds a log already, but not whole' "${synth[@]}"

# Steps of `thaw run`: what a run made by hand counts as well.
printf '[job]\nout = all\n[synth]\nusers = 200\nitems = 60\ninteractions = 4000\nfiles = 2\n[prepare]\nparts = 4\n' >job.ini
expect 0 "${synth[@]:0:10}" --out all/log
expect 0 thaw run job.ini
says 'all/log is finished already'
says '2 steps run, 0 up to date'
expect 0 thaw run job.ini
says '0 steps run, 2 up to date'
