#!/usr/bin/env bash
# thaw bench: every kernel of every set is right, at sizes that are multiples of nothing too; so is what a grid computes; formats; refusals.
# labels: bench
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

small=(--repetitions 1 --time 0.00001 --table 64K --quiet)
thaw bench kernels "${small[@]}" --factors 1 17 32 100 --format csv >csv || fail "wrong: $(grep ',0$' csv)"
head -1 csv | grep -q '^set,kernel,factors,' || fail "no header: $(head -1 csv)"
for bound in sgemm stream 'random rows of 64 B' 'random rows of 512 B'; do
    grep -q "^machine,$bound,0," csv || fail "no bound: $bound"
done
sets=$(cut -d, -f1 csv | grep -vE '^(set|machine)$' | sort -u)
[ -n "$sets" ] || fail "no kernels"
for set in $sets; do
    for k in 1 17 32 100; do
        for kernel in 'gather f32' 'gather bf16' 'packed f32' 'packed bf16' encode gramian syrk cholesky 'row cg f32' 'row dual' 'row exact'; do
            awk -F, -v s="$set" -v n="$kernel" -v k="$k" '$1 == s && $2 == n && $3 == k && $4 > 0 && $NF == 1 { found = 1 } END { exit !found }' \
                csv || fail "no $kernel of $set at $k"
        done
    done
done
thaw bench kernels "${small[@]}" --factors 8 --format jsonl >jsonl
python3 -c 'import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) > 15 and all(r["right"] for r in rows)' jsonl || fail "malformed: $(head -3 jsonl)"
thaw bench kernels "${small[@]}" --factors 8 >text
grep -q '^machine  *sgemm ' text || fail "no text"

refused 64 "not a number in 1..1024" thaw bench kernels --factors 0
refused 64 "not a number in 1..1024" thaw bench kernels --factors 8x
refused 64 "cannot be measured" thaw bench disks
refused 64 kernels thaw bench

# On a process grid: every result is checked inside, each operation is there, and so is what bounds it.
for n in 1 3; do
    mpirun -n $n --bind-to none thaw bench linalg --n 200 --block 16 --repetitions 1 --quiet --format csv >csv || fail "wrong: $(cat csv)"
    for precision in single double; do
        for what in peak inverse solve gemm potrf potri; do
            grep -qE "^$precision,$what,200,1,$n,16,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,1$" csv || fail "no $precision $what on $n ranks: $(cat csv)"
        done
    done
done
thaw bench linalg --n 50 --precision single --repetitions 1 --quiet --format jsonl >jsonl
python3 -c 'import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) == 6 and all(r["right"] and r["n"] == 50 for r in rows)' jsonl || fail "malformed: $(cat jsonl)"
thaw bench linalg --n 50 --precision single --repetitions 1 --only inverse --quiet >text
grep -qE '^single +inverse +50 +1x1 ' text && ! grep -q potrf text || fail "no text, or too much: $(cat text)"
refused 64 "none of inverse" thaw bench linalg --only everything
