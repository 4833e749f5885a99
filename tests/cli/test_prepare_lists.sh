#!/usr/bin/env bash
# thaw prepare --layout lists: a user and their items in a line give the dataset of the same events one a line, on any ranks; a bad
# item spoils its own event alone.
# labels: prepare
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

# Users with 1 to 40 items, some more than once, and one with more than the exchange buffers hold.
awk 'BEGIN { for (u = 0; u < 2000; u++) { printf "u%d", u; for (i = 0; i <= u % 40; i++) printf " i%d", (u * 7 + i * i * 3) % 500; print "" }
             printf "busy"; for (i = 0; i < 30000; i++) printf " i%d", i % 900; print "" }' >lists.txt
awk '{ for (i = 2; i <= NF; i++) print $1 "," $i }' lists.txt >events.csv
thaw prepare --events events.csv --columns user,item --header no --out want --parts 5 --quiet >/dev/null
same() { for f in want/*.npz; do cmp "$f" "have/${f##*/}" || fail "other bytes than from events: $*"; done; }
for n in 1 2 3; do
    ranks $n thaw prepare --events lists.txt --layout lists --out have --parts 5 --force --quiet --format csv >found.csv
    same "$n ranks"
    grep -qx lines,2001 found.csv && grep -qx "events,$(wc -l <events.csv)" found.csv || fail "counts: $(cat found.csv)"
done
ranks 2 thaw prepare --events lists.txt --layout lists --out have --parts 5 --force --quiet --memory 4M --chunk 4K >/dev/null
same "little memory"
tr ' ' '\t' <lists.txt | gzip >lists.tsv.gz
thaw prepare --events lists.tsv.gz --layout lists --out have --parts 5 --force --quiet >/dev/null
same "tabs, compressed"

# 7 lines, 12 entries: two items; a blank line; a user without items; no user; too long a user; a list of 2 bad items, 1 empty and 2 fine
# ones (a quote is a byte like any other); an item between blanks.
long=$(printf '%0300d' 7)
printf 'ann,pen,ink\n\nbob\n,pen\n%s,pen\n"cat,%s,pen,,a\001b,cap\ndan, ink \n' "$long" "$long" >bad.csv
thaw prepare --events bad.csv --layout lists --out bad --parts 2 --max-bad-fraction 0.3 --quiet --format csv >found.csv
for count in lines,7 entries,12 events,5 lines-blank,1 skipped-no-user,1 skipped-no-item,2 bad-id-too-long,2 bad-control,1 users,3 items,3; do
    grep -qx "$count" found.csv || fail "not $count: $(cat found.csv)"
done
printf 'bad.csv:5\tid-too-long\t%s,pen\nbad.csv:6\tid-too-long\t%s\nbad.csv:6\tcontrol\ta\\x01b\n' "$long" "$long" | cmp - bad/quarantine.tsv ||
    fail "quarantine: $(cat bad/quarantine.tsv)"

# Clear refusals.
lists=(thaw prepare --layout lists --out none --quiet)
refused 64 '--columns' "${lists[@]}" --events lists.txt --columns user,item
refused 64 '--header' "${lists[@]}" --events lists.txt --header yes
printf 'ann\nbob\n' >alone.txt
refused 65 'no line has a user and an item' "${lists[@]}" --events alone.txt
refused 65 'max-bad-fraction.*longer than 255' "${lists[@]}" --events bad.csv
[ ! -e none ] || [ "$(ls none)" = quarantine.tsv ] || fail "left behind: $(ls none)"
