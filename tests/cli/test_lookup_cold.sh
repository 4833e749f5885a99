#!/usr/bin/env bash
# Users nobody knows: tables with cold-start models, and what thaw-lookup says of a profile and a few known items. The scores are computed once more
# with NumPy from the files alone.
# labels: lookup cold
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy

thaw synth --out log --users 300 --items 80 --interactions 7000 --files 2 --quiet >/dev/null
thaw prepare --events log/events-*.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 --users log/users.csv \
    --items log/items.csv --out data --parts 3 --quiet >/dev/null
thaw train --data data --out model --factors 6 --iterations 3 --quiet >/dev/null
thaw prior --data data --model model --out prior --quiet >/dev/null
thaw associate --data data --out association --known 0,1,3 --quiet >/dev/null
thaw augment --data data --model model --out generator --steps 8 --quiet >/dev/null
python3 "$THAW_SOURCE/tests/cli/cold_scores.py" blend prior blend.pb
models=(--prior prior --association association --generator generator --blend blend.pb)

# Tables hold the models: the same bytes from three ranks; nothing new for the same, a new version for others.
expect 0 thaw tables --model model --out tables "${models[@]}" --quiet
mpirun -n 3 --bind-to none thaw tables --model model --out tables3 "${models[@]}" --quiet >/dev/null
for file in tables/v000001/*; do
    case $file in */manifest.pb) ;; *) cmp "$file" "tables3/v000001/${file##*/}" || fail "$file depends on the ranks" ;; esac
done
[ "$(ls tables/v000001)" = "$(ls tables3/v000001)" ] || fail "other files from three ranks"
expect 0 thaw tables --model model --out tables "${models[@]}"
says "was made from this model"
expect 0 thaw tables --model model --out tables --prior prior --quiet
[ "$(readlink tables/current)" = v000002 ] || fail "other models are no new version"
expect 0 thaw-lookup info tables
grep -qx "cold_start.P T" out || fail "info: $(cat out)"
rm -rf tables/v000002
ln -sfn v000001 tables/current
expect 0 thaw-lookup info tables
grep -qx "cold_start.P E G T" out && grep -q "^profile.gender (categorical, 3 values)$" out || fail "info: $(cat out)"
expect 0 thaw-lookup check tables
expect 0 thaw-lookup check tables3

# Models of something else are refused, and so is a damaged copy.
thaw train --data data --out other --factors 6 --iterations 1 --seed 9 --quiet >/dev/null
expect 65 thaw tables --model other --out nothing --prior prior --quiet
says "model"
[ ! -e nothing ] || fail "something was written"
cp -r generator damaged
printf x | dd of=damaged/generator.net.npy bs=1 seek=3000 conv=notrunc status=none
expect 65 thaw tables --model model --out nothing --generator damaged --quiet
says "generator.net.npy"
[ ! -e nothing ] || fail "something was written"
expect 66 thaw tables --model model --out nothing --association nowhere --quiet
cp -r tables3 broken
printf x | dd of=broken/v000001/associate.n001.items-00001-of-00003.values.npy bs=1 seek=200 conv=notrunc status=none
expect 65 thaw-lookup check broken
says "associate.n001.items-00001-of-00003.values.npy"

# The scores, against NumPy.
python3 "$THAW_SOURCE/tests/cli/cold_scores.py" check tables
python3 "$THAW_SOURCE/tests/cli/cold_scores.py" interests tables

# Profiles: what is not known is told, and contributes nothing.
items=($(thaw-lookup export tables --kind items | cut -d, -f1 | sed -n 2,9p))
thaw-lookup recommend tables --profile gender=f -k 5 >plain
expect 0 thaw-lookup recommend tables --profile gender=f,planet=mars,age=7000 -k 5
cmp out plain || fail "an unknown field moves scores"
says "no profile field 'planet' in tables; there are: gender, age, region"
says "profile field 'age': '7000' says nothing; known values: "
expect 0 thaw-lookup recommend tables --profile 'gender="f"' 'about=' -k 5
cmp out plain || fail "quotes"
expect 0 thaw-lookup recommend tables --profile 'about=red kites, small bowls,gender=f' -k 5
mv out joined
expect 0 thaw-lookup recommend tables --profile gender=f --profile 'about="red kites, small bowls"' -k 5
cmp out joined || fail "commas inside of values"
cmp -s out plain && fail "a text says nothing"
expect 64 thaw-lookup recommend tables --profile gender
expect 64 thaw-lookup recommend tables --profile 'about="red'
expect 64 thaw-lookup recommend tables --profile gender=f --method fold-in
expect 64 thaw-lookup recommend tables --user x --explain

# Histories: known items are not recommended; --known-times put them in order.
expect 0 thaw-lookup recommend tables --history "${items[0]},${items[1]}" -k 100
[ "$(wc -l <out)" = 78 ] || fail "known items are recommended"
expect 0 thaw-lookup recommend tables --history "${items[0]},${items[1]},${items[2]}" --known-times 30,10,20 --explain -k 1
cut -f5,6 out | sed -n 1,3p >order
printf 'history\t%s\nhistory\t%s\nhistory\t%s\n' "${items[1]}" "${items[2]}" "${items[0]}" | cmp - order || fail "times: $(cat out)"
expect 64 thaw-lookup recommend tables --history "${items[0]}" --known-times 1,2
expect 65 thaw-lookup recommend tables --history "${items[0]},nothing" -k 2
says "no item 'nothing'"
[ "$(wc -l <out)" = 2 ] || fail "an unknown item stops the answer"

# Exploration: nothing at scale 0; a seed gives one draw.
expect 0 thaw-lookup recommend tables --profile gender=f --explore ucb --explore-scale 0 -k 5
cmp out plain || fail "no doubt moves scores"
expect 0 thaw-lookup recommend tables --profile gender=f --explore ucb -k 5
cmp -s out plain && fail "doubt moves nothing"
draw() { thaw-lookup recommend tables --profile gender=f --method P --explore thompson --seed "$1" -k 5; }
draw 1 >one
draw 1 | cmp - one || fail "a seed, two draws"
draw 2 | cmp -s - one && fail "two seeds, one draw"
expect 64 thaw-lookup recommend tables --profile gender=f --method E --explore ucb

# A batch says what single answers say, with any number of threads.
{
    printf '\xef\xbb\xbfid,gender,unused,history,known_times,about\r\n'
    printf 'one,f,1,,,\r\n\n"t""wo",m,2,%s|%s,20|10,"red, ""kites""\nbowls"\n' "${items[3]}" "${items[4]}"
    for i in $(seq 600); do echo "many$i,,,${items[$((i % 8))]},,"; done
} >people.csv
expect 0 thaw-lookup batch tables --input people.csv --out answers.csv -k 3
says "no profile field 'unused'"
thaw-lookup batch tables -k 3 --threads 3 <people.csv >answers3.csv 2>/dev/null
cmp answers.csv answers3.csv || fail "threads change answers"
[ "$(wc -l <answers.csv)" = 1807 ] || fail "$(wc -l <answers.csv) lines"
expect 0 thaw-lookup recommend tables --profile gender=m --profile 'about="red, ""kites"" bowls"' --history "${items[4]},${items[3]}" -k 3 --format csv
paste -d, <(grep '^"t""wo"' answers.csv) <(sed 1d out) | awk -F, '$3 != $7 || ($4 - $8)^2 > 1e-8 { exit 1 }' || fail "a batch differs: $(grep '^"t' answers.csv) $(cat out)"
thaw-lookup batch tables -k 1 --format jsonl <people.csv 2>/dev/null | sed -n 2p | grep -qE '^\{"id":"t\\"wo","items":\[\{"item":' || fail "jsonl"

# Through a pipe, each question has its answer before the next one is asked.
mkfifo questions replies
thaw-lookup batch tables -k 3 --threads 2 <questions >replies &
service=$!
exec {ask}>questions {hear}<replies
echo id,history >&"$ask"
read -r -t 60 line <&"$hear" && [ "$line" = id,rank,item,score ] || fail "no header: $line"
for i in 1 6 3; do
    echo "many$i,${items[$((i % 8))]}" >&"$ask"
    for rank in 1 2 3; do
        read -r -t 60 line <&"$hear" || fail "no answer while the next question is awaited"
        [ "$line" = "$(grep "^many$i,$rank," answers.csv)" ] || fail "through a pipe: $line"
    done
done
exec {ask}>&-
wait "$service" || fail "batch through a pipe ends with $?"
exec {hear}<&-

printf 'id,history\na,nothing|%s\n' "${items[0]}" >odd.csv
expect 65 thaw-lookup batch tables --input odd.csv -k 1
says "odd.csv:2: no item 'nothing'"
[ "$(wc -l <out)" = 2 ] || fail "an unknown item stops the batch"
for bad in 'history\nx\n' 'id,gender\na\n' 'id,id\na,b\n' 'id\n"a\n' 'id\n"a"b\n' ''; do
    printf "$bad" >bad.csv
    expect 65 thaw-lookup batch tables --input bad.csv
    [ ! -e bad.out ] || fail "half an answer"
done
expect 66 thaw-lookup batch tables --input nowhere.csv

# Tables without models: fold-in as before, and a clear word for what they cannot do.
thaw tables --model model --out bare --quiet >/dev/null
expect 0 thaw-lookup recommend bare --history "${items[0]}" -k 3
expect 64 thaw-lookup recommend bare --profile gender=f
expect 64 thaw-lookup recommend bare --profile gender=f --method G
says "thaw tables --generator"

# The bench checks its own answers.
expect 0 thaw-lookup bench --items 3000 --users 100 --ids 100 --repeats 2 --factors 8 --scratch "$tmp" --cold --threads 2
[ "$(grep -c "^ensemble, compact  *[12] " out)" = 2 ] || fail "bench: $(cat out)"
expect 0 thaw-lookup bench tables --ids 100 --repeats 2 --format jsonl
grep -q '"what":"someone new, ensemble"' out || fail "bench: $(cat out)"
echo "tables, answers, explanations and batches agree"
