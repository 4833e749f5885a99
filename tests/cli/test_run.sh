#!/usr/bin/env bash
# thaw run: steps are skipped, run again or resumed as their options, inputs and outputs say; errors name file and line.
# labels: run
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
summary() { # WORDS COMMAND...: the last line of a run
    expect 0 "${@:2}"
    says "$1"
}

# ---- All of it, with defaults for everything between the steps ----
mkdir jobs
cat >jobs/all.ini <<'END'
# a comment
[job]
name = everything   ; said in messages
[synth]
users = 300
items = 60
interactions = 5000
[prepare]
parts = 3
event-weights = view=1,cart=3,buy=5
[train]
factors = 4
iterations = 3
holdout-users = 0.3
[evaluate]
known = 1
        2
cutoffs = 5
[tables]
END
thaw run jobs/all.ini --dry-run >plan 2>/dev/null
grep -q '^  train  *run  *(after prepare) --factors=4' plan || fail "the plan is: $(cat plan)"
[ ! -e jobs/all ] || fail "a dry run leaves files"
summary "5 steps run, 0 up to date" mpirun -n 2 thaw run jobs/all.ini
[ -f jobs/all/evaluation.txt ] && [ -f jobs/all/tables/current/manifest.pb ] || fail "results are missing: $(ls jobs/all)"
grep -q 'NDCG@5' out || fail "the evaluation is not printed"
cp jobs/all/evaluation.txt first.txt
summary "0 steps run, 5 up to date" thaw run jobs/all.ini
[ ! -s out ] || fail "skipped steps print"
mv jobs moved # a job can be moved with all it made
summary "0 steps run, 5 up to date" mpirun -n 3 thaw run moved/all.ini --threads 2
mv moved jobs

# ---- What changes is run again, and what depends on it ----
summary "2 steps run, 3 up to date" thaw run jobs/all.ini --set evaluate.cutoffs=5 evaluate.known=1 --set tables.keep=7
summary "1 steps run, 4 up to date" thaw run jobs/all.ini --set tables.keep=7 # evaluate, back as it was
cmp first.txt jobs/all/evaluation.txt
summary "3 steps run, 2 up to date" thaw run jobs/all.ini --set train.factors=5
summary "3 steps run, 2 up to date" thaw run jobs/all.ini
cmp first.txt jobs/all/evaluation.txt
rm jobs/all/model/current/items-00001-of-00003.npy
thaw run jobs/all.ini -n 2>/dev/null | grep 'train  *run  *(its output is missing or damaged)' >/dev/null || fail "a missing file is not noticed"
summary "up to date after all" thaw run jobs/all.ini # the same model comes out, so what follows stays
touch jobs/all/log/events-00000-of-00016.csv # the log is made again, and the same dataset out of it
summary "2 steps run, 3 up to date" thaw run jobs/all.ini
summary "5 steps run" thaw run jobs/all.ini --force --format csv
head -1 jobs/all/evaluation.csv | grep -q '^known,metric' || fail "--format csv gives: $(head -1 jobs/all/evaluation.csv)"

# ---- Own input: paths start from the file's folder, patterns are expanded ----
mkdir own own/logs
awk 'BEGIN { srand(3); for (i = 0; i < 3000; i++) print "u" int(rand() * 90) ",i" int(rand() * 40) > ("own/logs/" i % 3 ".csv") }'
cat >own/own.ini <<'END'
[job]
out = made
[prepare]
events = logs/*.csv
columns = user,item
header = no
parts = 2
[train]
factors = 3
iterations = 2
END
summary "2 steps run" thaw run own/own.ini
[ -d own/made/data ] && [ -d own/made/model ] || fail "OUT is not beside the job file"
summary "0 steps run, 2 up to date" thaw run own/own.ini
echo "u1,i999" >>own/logs/1.csv
summary "2 steps run" thaw run own/own.ini
echo "u1,i999" >own/logs/9.csv # a further file of the pattern, which adds nothing new but a count
summary "2 steps run" thaw run own/own.ini

# ---- A dataset that the job did not write is not replaced, however often it is tried ----
thaw prepare --quiet --events own/logs --columns user,item --parts 2 --out own/other/data >/dev/null
cp own/other/data/manifest.pb before.pb
for _ in 1 2; do
    refused 64 'holds a dataset already' thaw run own/own.ini --force --set job.out="$tmp/own/other"
done
cmp before.pb own/other/data/manifest.pb
head -c 99 /dev/urandom >own/other/job.pb
refused 65 'job.pb: .*remove the folder' thaw run own/own.ini --set job.out="$tmp/own/other"

# ---- A training that is stopped goes on, and ends as if it had not been ----
long=(thaw run own/own.ini --set train.iterations=4000 train.checkpoint-every=5)
"${long[@]}" job.out="$tmp/whole" >/dev/null 2>&1
expect 75 signal_at '"event":"checkpoint"' TERM parts.json "${long[@]}" job.out="$tmp/parts"
"${long[@]}" job.out="$tmp/parts" --dry-run >plan 2>/dev/null
grep -q 'train  *resume' plan || fail "the plan after a stop is: $(cat plan)"
expect 0 "${long[@]}" job.out="$tmp/parts"
cmp whole/model/current/users-00000-of-00002.npy parts/model/current/users-00000-of-00002.npy
cmp whole/model/current/items-00001-of-00002.npy parts/model/current/items-00001-of-00002.npy

# ---- Some of the steps: the rest is as it is ----
steps=(thaw run own/own.ini --set job.out="$tmp/some" --steps)
refused 66 "train reads $tmp/some/data, which prepare has not written (or not finished): run it first, --steps prepare" "${steps[@]}" train
"${steps[@]}" train prepare --dry-run >plan 2>/dev/null
grep -q '^  train  *run  *(after prepare)' plan || fail "the plan of two steps is: $(cat plan)"
summary "1 steps run, 0 up to date" "${steps[@]}" prepare
[ ! -e some/model ] || fail "a step that was not asked for has run"
"${steps[@]}" train --dry-run >plan 2>/dev/null
grep -q '^  prepare  *left out  *(--steps)$' plan && grep -q '^  train  *run  *(not run yet)' plan || fail "the plan of one step is: $(cat plan)"
summary "1 steps run, 0 up to date" mpirun -n 2 "${steps[@]}" train
summary "0 steps run, 2 up to date" thaw run own/own.ini --set job.out="$tmp/some"
cmp own/made/data/users-00000-of-00002.npz some/data/users-00000-of-00002.npz

# ---- The plan for programs ----
thaw run own/own.ini --dry-run --quiet --format csv >plan
for line in 'step,key,value' 'job,out,own/made' 'prepare,state,up to date' 'prepare,events,own/logs/0.csv' 'train,factors,3' 'train,solver,auto'; do
    grep -qxF "$line" plan || fail "no '$line' in the plan: $(cat plan)"
done
thaw run own/own.ini --dry-run --quiet --format jsonl | python3 -c '
import json, sys
job, prepare, train = [json.loads(line) for line in sys.stdin]
assert job["out"] == "own/made" and train["step"] == "train" and len(prepare["events"]) == 4, prepare'

# ---- Errors: exit status, file and line ----
bad_job() { # STATUS WORDS TEXT-OF-JOB-FILE [OPTIONS...]
    printf "$3" >bad.ini
    expect "$1" thaw run bad.ini "${@:4}"
    grep -qF -- "$2" err || fail "no '$2' for $(cat bad.ini): $(cat err)"
    [ "$(grep -c error: err)" = 1 ] || fail "more than one error: $(cat err)"
}
bad_job 64 'bad.ini:3: [train] factor: unknown option --factor (the nearest is --factors)' '[train]\n\nfactor = 3\n'
bad_job 64 'bad.ini:2: [train] factors' '[train]\nfactors = many\n'
bad_job 64 'bad.ini:2: no job is called [trian]' '[job]\n[trian]\n'
bad_job 64 'bad.ini:2: [job] dir' '[job]\ndir = x\n[train]\n'
bad_job 64 'bad.ini:1:' 'words\n'
bad_job 64 'bad.ini:3: [train] factors was given in line 2' '[train]\nfactors = 1\nfactors = 2\n'
bad_job 64 'bad.ini:2: [prepare] force: expected yes or no' '[prepare]\nforce = maybe\n'
bad_job 64 'bad.ini:2: [train] threads' '[train]\nthreads = 3\n'
bad_job 64 'bad.ini: no section of a job' '# nothing\n'
bad_job 64 '--steps trian: no such step in bad.ini; it has prepare, train' '[prepare]\nevents = bad.ini\n[train]\n' --steps trian
bad_job 64 'stall-timeout: belongs on the command line' '[train]\nstall-timeout = 3\n'
bad_job 64 '--set train.x=1' '[train]\n' --set train.x=1
bad_job 64 '[prepare] --events is missing' '[prepare]\n'
bad_job 66 'nowhere.csv' '[prepare]\nevents = nowhere.csv\n'
printf 'only,one\n\377\376\n' >broken.csv
bad_job 65 'prepare: ' '[prepare]\nevents = broken.csv\ncolumns = user,item,time\nheader = no\n'
refused 66 nowhere.ini thaw run nowhere.ini
