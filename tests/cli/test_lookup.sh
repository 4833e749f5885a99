#!/usr/bin/env bash
# thaw-lookup, verb by verb, on tables of a log with two tastes: people a1-a6 know all of x1-x6 but one each, people b1-b6 the same of y1-y6.
# labels: lookup
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
# golden TEXT: what is in out, \t for tabs.
golden() { diff <(printf '%b' "$1") out || fail "unexpected output"; }

for side in "a x" "b y"; do
    read -r who what <<<"$side"
    for i in 1 2 3 4 5 6; do
        for j in 1 2 3 4 5 6; do [ "$i" = "$j" ] || echo "$who$i,$what$j,1"; done
    done
done >log.csv
printf '"odd, ""id""",x1,1\nreturner,x1,-2\n' >>log.csv
thaw prepare --events log.csv --columns user,item,value --negative keep --out data --parts 3 --quiet >/dev/null
thaw train --data data --out model --factors 4 --iterations 8 --seed 3 --quiet >/dev/null
thaw tables --model model --out tables --quiet >/dev/null

# recommend: the one item a user lacks comes first; seen items only when asked for.
expect 0 thaw-lookup recommend tables --user a1 a4 b6 -k 1
cut -f1-3 out >ids && mv ids out
golden 'a1\t1\tx1\na4\t1\tx4\nb6\t1\ty6\n'
expect 0 thaw-lookup recommend tables --user a1 --with-seen -k 12
cut -f3 out | head -6 | sort | tr '\n' ' ' | grep -qx 'x1 x2 x3 x4 x5 x6 ' || fail "with seen: $(cat out)"
[ "$(wc -l <out)" = 12 ] || fail "not all items"
expect 0 thaw-lookup recommend tables --history y1,y2 y3 -k 3
cut -f1,3 out | sort >ids && mv ids out
golden '-\ty4\n-\ty5\n-\ty6\n'
expect 0 thaw-lookup recommend tables --history x1,y1 --strengths 20,0.05 -k 5
cut -f3 out | sort | tr '\n' ' ' | grep -qx 'x2 x3 x4 x5 x6 ' || fail "strengths: $(cat out)"
expect 0 thaw-lookup recommend tables --history x1,y1,x1 --strengths 10,0.05,10 -k 5 # named twice: the sum
cut -f3 out | sort | tr '\n' ' ' | grep -qx 'x2 x3 x4 x5 x6 ' || fail "a sum of strengths: $(cat out)"
expect 0 thaw-lookup recommend tables '--user=odd, "id"' -k 1 --format csv
cut -d, -f1-4 out | sed 's/,x.$/,x/' >ids && mv ids out
golden 'user,rank,item,score\n"odd, ""id""",1,x\n'
expect 0 thaw-lookup recommend tables '--user=odd, "id"' -k 1 --format jsonl
grep -qE '^\{"user":"odd, \\"id\\"","items":\[\{"item":"x[2-6]","score":[0-9.]+\}\]\}$' out || fail "jsonl: $(cat out)"

# similar
expect 0 thaw-lookup similar tables --item x2 y5 -k 5
cut -f1,3 out | tr -d '0-9' | sort | uniq -c | tr -s ' ' >ids && mv ids out
golden ' 5 x\tx\n 5 y\ty\n'

# An unknown id is named, the rest of the batch goes on; ids from standard input.
printf 'a1\nnobody\n\nb2\r\n' | thaw-lookup recommend tables -k 1 >out 2>err && fail "an unknown id is a success"
cut -f1,3 out >ids && mv ids out
golden 'a1\tx1\nb2\ty2\n'
echo "thaw-lookup: no user 'nobody' in tables" | cmp - err || fail "message: $(cat err)"
expect 65 thaw-lookup recommend tables --user returner a1 -k 1
[ "$(cut -f1-3 out)" = "$(printf 'a1\t1\tx1')" ] || fail "a user without a vector: $(cat out)"
grep -qx "thaw-lookup: user 'returner' has no vector: training left it out" err || fail "message: $(cat err)"
expect 65 thaw-lookup similar tables --item nothing
echo "thaw-lookup: no item 'nothing' in tables" | cmp - err || fail "message: $(cat err)"
expect 65 thaw-lookup recommend tables --history y1,nothing,y2 -k 2
[ "$(wc -l <out)" = 2 ] || fail "the known part of a history is not used"
expect 65 thaw-lookup recommend tables --history y1,y2 --strengths=-1,0
[ ! -s out ] && grep -q 'nothing to go by' err || fail "a history that does not count is answered: $(cat out)"

# vector: text, csv, jsonl and npy say the same.
thaw-lookup export tables --kind users --format csv | sed 1d | grep '^[ab]' | sort >exported
printf '%s\n' {a,b}{1..6} | thaw-lookup vector tables --format csv | sed 1d | sort | diff exported - || fail "vector and export differ"
printf '%s\n' {a,b}{1..6} | thaw-lookup vector tables | tr '\t' ',' | sort | diff exported - || fail "text and csv differ"
expect 0 thaw-lookup vector tables --item x1 --format jsonl
grep -qE '^\{"item":"x1","vector":\[(-?[0-9.e-]+,){3}-?[0-9.e-]+\]\}$' out || fail "jsonl: $(cat out)"
printf 'x1\nnobody\n' | thaw-lookup vector tables --kind items --format npy >two.npy 2>err && fail "an unknown id is a success"
[ "$(head -c 100 two.npy | grep -ac "'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)")" = 1 ] || fail "npy header"
[ "$(stat -c %s two.npy)" = 160 ] || fail "npy length"

# export
expect 0 thaw-lookup export tables --kind items --format word2vec --out items.txt
[ "$(head -1 items.txt)" = "12 4" ] && [ "$(wc -l <items.txt)" = 13 ] || fail "word2vec: $(head -2 items.txt)"
expect 0 thaw-lookup export tables --kind users --format word2vec
grep -qE "^odd,_\"id\" " out && grep -q "1 ids have white space" err || fail "word2vec: $(cat err)"
expect 0 thaw-lookup export tables --kind items --format npy --out items.npy --ids ids.npy
[ "$(stat -c %s items.npy)" = $((128 + 12 * 16)) ] && [ "$(stat -c %s ids.npy)" = $((128 + 24)) ] || fail "npy lengths"
expect 74 thaw-lookup export tables --out /dev/null/x

# The same for any number of threads; the tool checks itself against a slow reference.
thaw-lookup bench --items 30000 --users 200 --factors 8 --ids 100 --repeats 2 --threads 3 --scratch "$tmp" >/dev/null
[ -z "$(find . -name 'thaw-bench*')" ] || fail "bench leaves something behind"

# info, check
expect 0 thaw-lookup info tables
grep -E '^(factors|columns|users|items|interactions|parts)' out >some && mv some out
golden 'factors\t4\ncolumns\t4\nusers\t14\nitems\t12\ninteractions\t62\nparts\t3\n'
expect 0 thaw-lookup info tables/v000001 --format jsonl
grep -qE '^\{"version":"tables/v000001",.*"model_digest":"[0-9a-f]{16}","dataset_digest":"[0-9a-f]{16}"\}$' out || fail "$(cat out)"
expect 0 thaw-lookup check tables
for file in users-00001-of-00003.npy items-00002-of-00003.index.npy users-00000-of-00003.seen.npy items.gramian.npy; do
    rm -rf damaged && cp -r tables damaged
    path=damaged/v000001/$file
    printf '\377' | dd of="$path" bs=1 seek=$(($(stat -c %s "$path") - 2)) conv=notrunc status=none
    expect 65 thaw-lookup check damaged
    grep -q "$file" err || fail "check does not name $file: $(cat err)"
    truncate -s -1 "$path"
    expect 65 thaw-lookup recommend damaged --user a1
    grep -q "$file" err || fail "opening does not name $file: $(cat err)"
    rm "$path"
    expect 66 thaw-lookup info damaged
    grep -q "$file" err || fail "a missing $file is not named: $(cat err)"
done

# Wrong use
expect 64 thaw-lookup
expect 64 thaw-lookup recommended tables
expect 64 thaw-lookup recommend
expect 64 thaw-lookup recommend tables -k 0 --user a1
expect 64 thaw-lookup recommend tables --history x1,x2 --strengths 1
expect 64 thaw-lookup recommend tables --history x1 --strengths 1,2
expect 64 thaw-lookup recommend tables --history x1 --strengths much
expect 64 thaw-lookup recommend tables --history ''
expect 64 thaw-lookup recommend tables --strengths 1
expect 66 thaw-lookup info nowhere
expect 66 thaw-lookup info data/nothing
expect 65 thaw-lookup info data
expect 74 bash -c 'thaw-lookup vector tables --user a1 >/dev/full'
