#!/usr/bin/env bash
# thaw bench: every kernel of every set is right, at sizes that are multiples of nothing too; so is what a grid computes; formats; refusals.
# labels: bench
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "$*"; exit 1; }

small=(--repetitions 1 --time 0.00001 --table 64K --quiet)
thaw bench kernels "${small[@]}" --factors 1 17 32 100 --format csv >"$tmp/csv" || fail "wrong: $(grep ',0$' "$tmp/csv")"
head -1 "$tmp/csv" | grep -q '^set,kernel,factors,' || fail "no header: $(head -1 "$tmp/csv")"
for bound in sgemm stream 'random rows of 64 B' 'random rows of 512 B'; do
    grep -q "^machine,$bound,0," "$tmp/csv" || fail "no bound: $bound"
done
sets=$(cut -d, -f1 "$tmp/csv" | grep -vE '^(set|machine)$' | sort -u)
[ -n "$sets" ] || fail "no kernels"
for set in $sets; do
    for k in 1 17 32 100; do
        for kernel in 'gather f32' 'gather bf16' 'packed f32' 'packed bf16' encode gramian syrk cholesky 'row cg f32' 'row dual' 'row exact'; do
            awk -F, -v s="$set" -v n="$kernel" -v k="$k" '$1 == s && $2 == n && $3 == k && $4 > 0 && $NF == 1 { found = 1 } END { exit !found }' \
                "$tmp/csv" || fail "no $kernel of $set at $k"
        done
    done
done
thaw bench kernels "${small[@]}" --factors 8 --format jsonl >"$tmp/jsonl"
python3 -c 'import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) > 15 and all(r["right"] for r in rows)' "$tmp/jsonl" || fail "malformed: $(head -3 "$tmp/jsonl")"
thaw bench kernels "${small[@]}" --factors 8 >"$tmp/text"
grep -q '^machine  *sgemm ' "$tmp/text" || fail "no text"

refused() { # WORDS... -- TEXT
    local words=() code=0
    while [ "$1" != -- ]; do words+=("$1"); shift; done
    thaw bench "${words[@]}" >"$tmp/out" 2>&1 || code=$?
    [ $code = 64 ] && grep -q -- "$2" "$tmp/out" || fail "${words[*]}: status $code: $(cat "$tmp/out")"
}
refused kernels --factors 0 -- "not a number in 1..1024"
refused kernels --factors 8x -- "not a number in 1..1024"
refused disks -- "cannot be measured"
refused -- kernels

# On a process grid: every result is checked inside, each operation is there, and so is what bounds it.
for n in 1 3; do
    mpirun -n $n --bind-to none thaw bench linalg --n 200 --block 16 --repetitions 1 --quiet --format csv >"$tmp/csv" || fail "wrong: $(cat "$tmp/csv")"
    for precision in single double; do
        for what in peak inverse solve gemm potrf potri; do
            grep -qE "^$precision,$what,200,1,$n,16,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,1$" "$tmp/csv" || fail "no $precision $what on $n ranks: $(cat "$tmp/csv")"
        done
    done
done
thaw bench linalg --n 50 --precision single --repetitions 1 --quiet --format jsonl >"$tmp/jsonl"
python3 -c 'import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) == 6 and all(r["right"] and r["n"] == 50 for r in rows)' "$tmp/jsonl" || fail "malformed: $(cat "$tmp/jsonl")"
thaw bench linalg --n 50 --precision single --repetitions 1 --only inverse --quiet >"$tmp/text"
grep -qE '^single +inverse +50 +1x1 ' "$tmp/text" && ! grep -q potrf "$tmp/text" || fail "no text, or too much: $(cat "$tmp/text")"
refused linalg --only everything -- "none of inverse"
