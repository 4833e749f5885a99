#!/usr/bin/env bash
# thaw prepare on real logs, where THAW_DATA has them: nothing is silently dropped, the counts are the known ones.
# labels: prepare data
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
[ -n "${THAW_DATA:-}" ] || skip "THAW_DATA is not set (folder with online-retail, ml-1m, ml-100k)"

prepare() { # RANKS OUT OPTIONS...
    local n=$1 out=$2
    shift 2
    mpirun -n "$n" --bind-to none thaw prepare --quiet --parts 4 --out "$out" --format csv "$@" >"$out.csv" || fail "$*"
}
value() { grep "^$2," "$1.csv" | cut -d, -f2; }
for n in 1 2; do
    prepare $n retail$n --events "$THAW_DATA/online-retail/online_retail.tsv.gz" \
        --columns user=CustomerID,item=StockCode,value=Quantity,time=InvoiceDate
done
diff -r -x manifest.pb retail1 retail2 && cmp retail1.csv retail2.csv || fail "Online Retail differs with the ranks"
awk -F, '{ n[$1] = $2; if ($1 ~ /^(lines-blank|skipped-|bad-)/) lines += $2 }
    END { exit !(n["lines"] - n["lines-header"] == 541909 && lines + n["events"] == 541909 && n["skipped-no-user"] == 135080 &&
                 n["events-merged"] + n["pairs-not-positive"] + n["pairs"] == n["events"]) }' retail1.csv ||
    fail "Online Retail does not add up: $(cat retail1.csv)"

prepare 2 ml1m --events "$THAW_DATA/ml-1m/ratings.dat.gz" --columns user,item,value \
    --users "$THAW_DATA/ml-1m/users.dat" --items "$THAW_DATA/ml-1m/movies.dat" --item-attributes id,title:text,genres:multi \
    --user-attributes id,gender:categorical,age:categorical,occupation:categorical,zip:categorical --encoding latin-1
[ "$(value ml1m pairs) $(value ml1m users) $(value ml1m items) $(value ml1m items-without-interactions)" = "1000209 6040 3883 177" ] ||
    fail "ML-1M: $(cat ml1m.csv)"

# A copy of ML-100K may have lines with blanks for tabs: they are bad lines, and named.
prepare 2 ml100k --events "$THAW_DATA/ml-100k/u.data" --columns user,item,value,time
bad=$(awk -F'\t' 'NF != 4' "$THAW_DATA/ml-100k/u.data" | wc -l)
[ "$(value ml100k pairs) $(value ml100k bad-field-count) $(value ml100k users)" = "$((100000 - bad)) $bad 943" ] ||
    fail "ML-100K: $(cat ml100k.csv)"
awk -F'\t' -v f="$THAW_DATA/ml-100k/u.data" 'NF != 4 { print f ":" NR }' "$THAW_DATA/ml-100k/u.data" | diff - <(cut -f1 ml100k/quarantine.tsv 2>/dev/null) ||
    fail "ML-100K: other lines in the quarantine"
