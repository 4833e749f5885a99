#!/usr/bin/env bash
# Many settings of one job file, as a job array on three nodes; a task that is stopped requeues itself alone.
# labels: once
# cost: 40
. "$THAW_SOURCE/tests/cluster/common.sh"
begin
write_job 10
cat >>"$tmp/job.ini" <<'END'
[evaluate]
known = 1
cutoffs = 10
END
sed -i 's/^factors/holdout-users = 0.2\nfactors/' "$tmp/job.ini"
ada tee job.ini <"$tmp/job.ini" >/dev/null
cat >"$tmp/grid.txt" <<'END'
# factors, regularization
train.factors=8
train.factors=16 train.regularization=0.1

train.iterations=100000
train.solver=cholesky
END
ada tee grid.txt <"$tmp/grid.txt" >/dev/null
sweep() { ada env THAW_THREADS=1 sbatch --parsable "$@" "$scripts/sweep.sbatch" job.ini grid.txt; }

# ---- Nothing is prepared yet: said, not run ----
job=$(sweep --array=1)
until_true 60 "a sweep of nothing ends" ended "${job}_1"
[ "$(field "${job}_1" ExitCode)" = 66:0 ] || fail "a sweep of nothing ends with $(field "${job}_1" ExitCode)"
ada thaw run job.ini --steps synth prepare --quiet >/dev/null

# ---- Four tasks, three at a time; the third is stopped on its way, and has an end only then ----
job=$(sweep --array=1-4)
until_true 180 "task 3 trains" reached "$home/grid/3/model" 20
ada scancel --signal=USR1 --batch "${job}_3"
until_true 60 "task 3 is requeued" in_state "${job}_3" PENDING
sed -i "s/=100000/=$(($(iteration "$home/grid/3/model") + 30))/" "$tmp/grid.txt"
ada tee grid.txt <"$tmp/grid.txt" >/dev/null
for task in 1 2 4; do wait_job 120 "${job}_$task" COMPLETED; done
wait_job 180 "${job}_3" COMPLETED
[ "$(field "${job}_3" Restarts)" = 1 ] && [ "$(field "${job}_2" Restarts)" = 0 ] || fail "not task 3 alone was requeued"

# ---- Each the bytes of a plain run with its settings; the summary has all ----
mkdir "$tmp/reference"
cp "$tmp/job.ini" "$tmp/reference/"
cd "$tmp/reference"
thaw run job.ini --steps synth prepare --quiet >/dev/null 2>&1
task=0
while read -r -a settings; do
    task=$((task + 1))
    thaw run job.ini --steps train --quiet --set job.out="$task" train.data=job/data "${settings[@]}" >/dev/null 2>&1
    same_bytes "$task/model/current" "$home/grid/$task/model/current"
done < <(grep '^train' "$tmp/grid.txt")
[ "$(tail -n +2 "$home/grid/summary.csv" | cut -d, -f1 | uniq | tr '\n' ' ')" = '1 2 3 4 ' ] || fail "$(cat "$home/grid/summary.csv")"
