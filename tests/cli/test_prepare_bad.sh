#!/usr/bin/env bash
# thaw prepare and input that is wrong: the right exit status, one clear line, and nothing half-written but the quarantine.
# labels: prepare errors
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

# refuse STATUS WORDS LEFT OPTIONS...: thaw refuses with WORDS in the message, and leaves LEFT in the folder ("-": no folder,
# "?": no folder, or the quarantine). Every other time on two ranks.
turn=0
refuse() {
    local want=$1 words=$2 left=$3 status=0 launch=()
    shift 3
    rm -rf out
    if ((turn++ % 2 == 0)); then launch=(ranks 2); fi
    "${launch[@]}" thaw prepare --quiet --out out "$@" >said 2>&1 || status=$?
    [ $status = "$want" ] || fail "$*: exit status $status, not $want: $(cat said)"
    grep -q -- "error: .*$words" said || fail "$*: no '$words' in: $(cat said)"
    [ "$(grep -c 'thaw prepare: error' said)" = 1 ] || fail "$*: not one line: $(cat said)"
    [ "$left" != "?" ] || left=$([ -e out ] && echo quarantine.tsv || echo -)
    [ "$( (ls out 2>/dev/null || echo -) | tr '\n' ' ')" = "$left " ] || fail "$*: left behind: $(ls out)"
}

: >empty.csv
printf 'u,i,1\rv,i,2\r' >mac.csv
printf 'user,item,value\n' >header.csv
head -c 200000 /dev/urandom >garbage.bin
{ printf 'user,item,value\nu,i,1\n'; seq 1 250 | sed 's/$/,i,1/'; cat garbage.bin; } >mixed.csv
printf 'a,b,1\na,c,2\n"half,quoted,1\nb,c,2\n' >quoted.csv
printf 'a,b,1\na,c,nan\na,d,1e99\n' >nan.csv
{ printf '%0300d,i,1\n' 7; printf 'u,i,1\n'; } >long.csv
printf 'u,i,1\nu,\xff\xfe,1\n' >utf8.csv
printf 'u,i,-1\nu,j,0\n' >negative.csv
printf ',i,1\nu,,1\n' >anonymous.csv
printf 'a,b,3e38\na,b,3e38\n' >huge.csv
seq 1 30000 | awk '{ print "u" $1 % 50 ",i" $1 % 700 "," $1 % 5 + 1 }' >fine.csv
gzip -c fine.csv >cut.csv.gz
truncate -s 3000 cut.csv.gz
mkdir none

refuse 65 'empty.csv' - --events empty.csv
refuse 65 'carriage returns' - --events mac.csv
refuse 65 'header.csv: a header and no events' - --events header.csv --columns user,item,value --header yes
refuse 65 '' '?' --events garbage.bin
refuse 65 'max-bad-fraction' quarantine.tsv --events mixed.csv
refuse 65 'quoted field' quarantine.tsv --events quoted.csv --columns user,item,value
refuse 65 'NaN' quarantine.tsv --events nan.csv --columns user,item,value
refuse 65 '255 bytes' quarantine.tsv --events long.csv --columns user,item,value
refuse 65 'UTF-8' quarantine.tsv --events utf8.csv --columns user,item,value
refuse 65 'no interactions are left' - --events negative.csv --columns user,item,value
refuse 65 'no usable events' - --events anonymous.csv --columns user,item,value
refuse 65 'add up' - --events huge.csv --columns user,item,value
refuse 65 'cut.csv.gz' - --events cut.csv.gz
refuse 65 "no column 'basket'" - --events header.csv fine.csv --columns user=user,item=basket
refuse 65 'none' - --events none
refuse 66 'nowhere.csv' - --events fine.csv nowhere.csv
refuse 66 'nobody.csv' - --events fine.csv --users nobody.csv
refuse 64 'weights' - --events fine.csv --columns user,item,value --event-weights view=1
refuse 64 'parts' - --events fine.csv --parts 0
refuse 64 '--users' - --events fine.csv --user-attributes id,age
refuse 64 '--out is empty' - --events fine.csv --out ''
refuse 64 'memory' - --events fine.csv --memory 1M --chunk 1M
refuse 64 '--parts [0-9]' - --events fine.csv --parts 1 --memory 1M --chunk 4K
refuse 74 'a file is in the way' - --events fine.csv --out fine.csv/out

# Bad lines of the attributes count too, and are in the quarantine.
printf 'id,age\nu1,5\nu2\nu3\n' >users.csv
refuse 65 'users.csv: 2 of 4 .*: 2 x the line has too few or too many fields; see' quarantine.tsv --events fine.csv --users users.csv

# Memory counts the attributes of a part.
seq 1 4000 | awk '{ print "u" $1 % 50 "x" $1 ",one two three four five six seven " $1 " eight nine ten eleven twelve" }' >profiles.csv
refuse 64 'the attributes of users need .*--parts [0-9]' - --events fine.csv --users profiles.csv --user-attributes id,about:text --parts 1 --memory 1M --chunk 4K

# What the same error says to do helps: as many parts as it names.
parts=$(grep -o -- '--parts [0-9]*' <(thaw prepare --quiet --events fine.csv --out out --parts 1 --memory 1M --chunk 4K 2>&1 || true))
rm -rf out
read -ra advice <<<"$parts"
thaw prepare --quiet --events fine.csv --out out "${advice[@]}" --memory 1M --chunk 4K >/dev/null || fail "the advice '$parts' did not help"

# One user with every item, and bad lines within bounds: fine, in little memory.
{ printf '%0300d,i,1\n' 7; seq 1 5000 | awk '{ print "u,i" $1 ",1" }'; } >heavy.csv
mpirun -n 2 --bind-to none thaw prepare --events heavy.csv --columns user,item,value --out heavy --format csv --memory 1M --chunk 4K >heavy.csv.out 2>heavy.log
grep -qx users,1 heavy.csv.out && grep -qx pairs,5000 heavy.csv.out || fail "one user with every item"
grep -q 'heavy.csv:1: .*255 bytes' heavy.log || fail "the bad line is not shown: $(cat heavy.log)"
grep -q 'memory of a rank' heavy.log || fail "no word about memory"

# No room for the quarantine, or for the dataset: 74, and nothing stays. (A limit on the size of files stands for a full disk.)
for events in mixed.csv fine.csv; do
    rm -rf out
    status=0
    (trap '' XFSZ; ulimit -f 4; export PMIX_MCA_gds=hash OMPI_MCA_btl=self; exec thaw prepare --quiet --events $events --parts 1 --out out) >said 2>&1 || status=$?
    [ $status = 74 ] && [ ! -e out ] || fail "no room for $events: status $status, left $(ls out 2>&1): $(cat said)"
done

# A signal ends it, with nothing left behind.
for _ in {1..70}; do cat fine.csv; done >long.csv
thaw prepare --events long.csv --columns user,item,value --out stopped >/dev/null 2>stopped.log & pid=$!
until [ -d stopped ] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
status=0
kill -TERM $pid 2>/dev/null || true
wait $pid || status=$?
case $status in
    0) ;; # it was faster than the signal
    75) [ ! -e stopped ] || fail "stopped, and left: $(ls stopped)" ;;
    *) fail "SIGTERM: status $status: $(cat stopped.log)" ;;
esac
