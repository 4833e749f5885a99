#!/usr/bin/env bash
# thaw describe: what every kind of folder holds, in every format; unfinished and damaged folders.
# labels: run
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy
cat >all.ini <<'END_OF_JOB'
[synth]
users = 300
items = 60
interactions = 5000
[prepare]
parts = 3
[train]
factors = 4
iterations = 3
holdout-users = 0.3
[prior]
[associate]
known = 0 3
[augment]
steps = 3
[tables]
END_OF_JOB
thaw run all.ini --quiet >/dev/null
fact() { # FOLDER KEY VALUE...: the values of a key, one line each
    local found want
    found=$(thaw describe "$1" --quiet --format csv | sed -n "s/^$2,//p")
    want=$(printf '%s\n' "${@:3}")
    [ "$found" = "$want" ] || fail "$1: $2 is '$found', not '$want'"
}
fact all kind job
fact all finished synth prepare train prior associate augment tables
fact all/log kind log
fact all/log interactions 5000
fact all/log bytes "$(cat all/log/events-* | wc -c)"
fact all/data kind dataset
fact all/data parts 3
fact all/data users 300
fact all/data bytes "$(cat all/data/*.npz | wc -c)"
fact all/data times yes
fact all/model kind model
fact all/model version iteration-000003
fact all/model iterations 3
fact all/model finished yes
fact all/model factors 4
fact all/model dataset all/data
fact all/prior kind prior
fact all/association kind association
fact all/association method episodic
fact all/association known 0 3
fact all/generator kind generator
fact all/generator steps 3
fact all/generator/virtual kind virtual
fact all/tables kind tables
fact all/tables version v000001
fact all/tables generator yes
fact all/tables bytes "$(thaw-lookup info all/tables | sed -n 's/^bytes\t//p')"
fact all/tables model_digest "$(thaw-lookup info all/tables | sed -n 's/^model_digest\t//p')"
model=$(thaw describe all/model -q --format csv | sed -n 's/^digest,//p')
for made in tables prior generator; do fact all/$made model_digest "$model"; done
fact all/data largest_item_part "$(python3 -c 'import glob, numpy; print(max(numpy.load(f)["indptr"][-1] for f in glob.glob("all/data/items-*")))')"

# Several folders, several formats, several ranks.
mpirun -n 3 thaw describe all/log all/data all/tables -q --format jsonl >facts
python3 -c '
import json, sys
facts = [json.loads(line) for line in sys.stdin]
assert [f["kind"] for f in facts] == ["log", "dataset", "tables"]
assert facts[1]["interactions"] > 0 and facts[1]["complete"] == "yes" and len(facts[1]["from"]) == 18, facts[1]' <facts
thaw describe all/log all/data -q >text
grep -qE '^interactions +5000$' text && grep -qx '' text || fail "as text: $(cat text)"
thaw describe all/log all/data -q --format csv >facts
[ "$(head -n 1 facts)" = key,value ] && [ "$(grep -c '^folder,' facts)" = 2 ] || fail "as csv: $(cat facts)"

cp -r all/prior 'a "b", c'
thaw describe 'a "b", c' -q --format csv >facts
grep -qx 'folder,"a ""b"", c"' facts || fail "quotes in csv"

# A job whose second step failed the last time: each list once.
expect 65 thaw run all.ini --quiet --set prepare.min-user=100000
fact all finished synth train prior associate augment tables
fact all unfinished prepare
[ "$(thaw describe all -q --format jsonl | grep -o '"finished"' | wc -l)" = 1 ] || fail "a key twice in JSON"

# What is not whole.
rm all/data/items-00001-of-00003.npz
fact all/data complete no
thaw describe all/data -q >facts
grep -q '^problem .*items-00001-of-00003.npz' facts || fail "the missing file is not named"
rm all/prior/manifest.pb
refused 66 'nothing here that a job of Thaw finished' thaw describe all/prior
refused 66 'cannot find it' thaw describe nowhere
refused 66 'not a folder' thaw describe all.ini
refused 66 'nothing here' thaw describe .
head -c 99 /dev/urandom >all/association/manifest.pb
refused 65 'manifest.pb' thaw describe all/association
refused 64 'FOLDER' thaw describe --format=csv
