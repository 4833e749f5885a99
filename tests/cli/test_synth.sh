#!/usr/bin/env bash
# thaw synth: the same bytes for any number of ranks and threads; counts as asked; refusals leave nothing behind.
# labels: synth determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

common=(--users 3000 --items 500 --interactions 40000 --cold-fraction 0.3 --seed 5 --files 5 --quiet)
thaw synth --out one "${common[@]}" --threads 1 --format jsonl >one.json
for launch in "1 2" "2 1" "3 2" "4 1"; do
    read -r ranks threads <<<"$launch"
    mpirun -n "$ranks" --bind-to none thaw synth --out many "${common[@]}" --threads "$threads" --format jsonl >many.json
    diff -r -x run.pb one many || fail "other bytes with $ranks ranks, $threads threads"
    cmp one.json many.json || fail "another report with $ranks ranks"
    rm -rf many
done
[ "$(find one -type f | wc -l)" = 8 ] || fail "files: $(ls one)"

# More ranks than files, more files than users, a single item.
mpirun -n 3 --bind-to none thaw synth --out few --users 2 --items 1 --interactions 50 --files 2 --cold-fraction 0 --quiet >/dev/null
thaw synth --out many --users 2 --items 1 --interactions 50 --files 7 --cold-fraction 0 --quiet >/dev/null
[ "$(cat few/events-* | grep -cv '^user,')" = 50 ] || fail "not 50 events"
diff <(cat few/events-* | grep -v '^user,') <(cat many/events-* | grep -v '^user,') || fail "files change the events"

# Counts, and every id has its line.
events() { cat one/events-*.csv | grep -v '^user,'; }
[ "$(events | wc -l)" = 40000 ] || fail "events: $(events | wc -l)"
[ "$(wc -l <one/users.csv)" = 3001 ] && [ "$(wc -l <one/items.csv)" = 501 ] || fail "users or items"
events | cut -d, -f1 | sort -u >used
tail -n +2 one/users.csv | cut -d, -f1 | sort >users
[ -z "$(uniq -d users)" ] || fail "a user twice"
[ -z "$(comm -23 used users)" ] || fail "events of a user that users.csv lacks"
events | cut -d, -f2 | sort -u >used
tail -n +2 one/items.csv | cut -d, -f1 | sort >items
[ -z "$(uniq -d items)" ] || fail "an item twice"
[ -z "$(comm -23 used items)" ] || fail "events of an item that items.csv lacks"
events | awk -F, 'NF != 5 || $3 !~ /^(view|cart|buy)$/ || $4 < 1 || $5 !~ /^[0-9]+$/ { exit 1 }' || fail "a malformed event"
python3 - <<'P' || fail "a malformed table"
import csv, re
users = list(csv.DictReader(open("one/users.csv")))
items = list(csv.DictReader(open("one/items.csv")))
assert set(users[0]) == {"user", "gender", "age", "region", "device", "channel", "about"}, users[0]
assert set(items[0]) == {"item", "category", "brand", "price", "title"}, items[0]
assert all(None not in r and None not in r.values() for r in users + items)
missing = sum(r["age"] == "" for r in users) / len(users)
assert 0.05 < missing < 0.12, missing
assert all(r["price"] == "" or re.fullmatch(r"[0-9]+[.][0-9]{2}", r["price"]) for r in items)
assert any("," in r["title"] for r in items) and any('"' in r["title"] for r in items)
P

# Another seed is another log.
thaw synth --out other "${common[@]/5/6}" --quiet >/dev/null
! cmp -s one/events-00000-of-00005.csv other/events-00000-of-00005.csv || fail "the seed changes nothing"

# A log is not overwritten unasked; other people's files never.
refused 64 --force thaw synth --out one "${common[@]}" --days 7
diff -q one.json <(thaw synth --out one "${common[@]}" --force --format jsonl) || fail "--force does not replace"
touch one/mine
refused 64 mine thaw synth --out one "${common[@]}" --force
rm one/mine
refused 64 cold-fraction ranks 2 thaw synth --out none --users 1000 --interactions 10 --cold-fraction 1 --quiet
touch file
refused 64 file thaw synth --out file "${common[@]}"
refused 74 nowhere ranks 2 thaw synth --out /proc/nowhere "${common[@]}"
# One rank cannot write (a limit on file sizes stands for a full disk): one message, nothing left.
cat >limited <<'L'
trap '' XFSZ
[ "${OMPI_COMM_WORLD_RANK:-0}" != 1 ] || ulimit -f 16384
exec "$@"
L
refused 74 'rank 1 of 2' ranks 2 bash limited thaw synth --out none --users 3000 --interactions 1200000 --files 2 \
    --cold-fraction 0 --quiet
[ -z "$(find . -name '*.partial' -o -name '*.tmp' -o -name none)" ] || fail "left behind: $(ls)"
