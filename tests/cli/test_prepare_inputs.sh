#!/usr/bin/env bash
# thaw prepare: the same events in any packing, delimiter, number of files and order of columns give the same shards.
# labels: prepare
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

mkdir log
seq 1 4000 | awk '{ printf "u%d,i%d,%d,%d\n", ($1 * 7919) % 131, ($1 * 104729) % 57, $1 % 5 + 1, 1600000000 + $1 * 60 }' >plain.csv
prepare() { # RANKS OUT OPTIONS...
    local n=$1 out=$2
    shift 2
    mpirun -n "$n" --bind-to none thaw prepare --quiet --parts 4 --out "$out" --format csv "$@" >"$out.csv" || fail "$*"
}
prepare 1 want --events plain.csv --columns user,item,value,time
same() {
    diff -r -x manifest.pb want got || fail "$*: another dataset"
    diff <(grep -vE '^(files|bytes|lines|lines-header),' want.csv) <(grep -vE '^(files|bytes|lines|lines-header),' got.csv) || fail "$*: another report"
    rm -r got
}
gzip -c plain.csv >plain.csv.gz
prepare 2 got --events plain.csv.gz --columns user,item,value,time
same gzip
if command -v zstd >/dev/null; then
    zstd -q -c plain.csv >plain.csv.zst
    prepare 2 got --events plain.csv.zst --columns user,item,value,time
    same zstd
fi
sed 's/,/::/g' plain.csv >colons.dat
prepare 2 got --events colons.dat --columns user,item,value,time
same '::'
awk -F, 'BEGIN { print "when\tStockCode\tCustomerID\tn" } { print strftime("%Y-%m-%dT%H:%M:%SZ", $4, 1) "\t" $2 "\t" $1 "\t" $3 }' plain.csv 2>/dev/null >named.tsv || true
if [ "$(wc -l <named.tsv)" = 4001 ]; then # awk without strftime: skipped
    prepare 2 got --events named.tsv --columns user=CustomerID,item=StockCode,value=n,time=when
    same 'named columns, ISO times'
fi
split -n l/5 plain.csv log/part-
prepare 3 got --events log --columns user,item,value,time
same 'a folder of files'
sed 's/$/\r/' plain.csv >dos.csv
prepare 2 got --events dos.csv --columns user,item,value,time --delimiter ,
same CRLF

# What is said of progress ends with all bytes, none of them twice.
expect 0 thaw prepare --events plain.csv --columns user,item,value,time --parts 4 --out got --quiet --log progress.jsonl
grep -q "\"what\":\"reading (rank 0's share)\",\"done\":$(wc -c <plain.csv)," progress.jsonl || fail "progress: $(grep reading progress.jsonl)"
rm -r got

# Profiles that nobody in the log has are told.
plain=(thaw prepare --events plain.csv --columns user,item,value,time --parts 4 --text-buckets 16 --out got --force)
printf 'user,age\nx1,30\nx2,40\n' >profiles.csv
expect 0 "${plain[@]}" --users profiles.csv
says 'warning: none of the users with attributes has an interaction: do they have the ids of the log?'
echo u1,50 >>profiles.csv
expect 0 "${plain[@]}" --users profiles.csv
if grep -q 'none of the' err; then fail "one is in the log: $(cat err)"; fi
