#!/usr/bin/env bash
# docs/formats.md says enough to read everything with NumPy: a program that knows only that page opens dataset, model and tables
# and finds in them what the log says.
# labels: formats
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"
need_numpy

# A log with ids that need care: quotes, commas, scripts, 255 bytes, and one line that is refused.
python3 - <<'PY'
import csv, random
random.seed(5)
users = [f"u{i}" for i in range(120)] + ["коты", "a,b", 'say "hi"', "x" * 255]
items = [f"i{i}" for i in range(50)] + ["寿司", "c,d", "it em", "y" * 200]
with open("log.csv", "w", newline="", encoding="utf-8") as f:
    w = csv.writer(f, lineterminator="\n")
    w.writerow(["user", "item", "event", "value", "time"])
    for n in range(3000):
        if n == 3:
            f.write("u\\3,i9,view,many\tx,5\n")
        item = items[min(int(random.expovariate(0.06)), len(items) - 1)]
        w.writerow([random.choice(users), item, random.choice(["view", "view", "cart", "buy"]), random.randint(1, 3),
                    1500000000 + random.randrange(10**8)])
def attributes(name, header, ids, row):
    with open(name, "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(header)
        w.writerows([i, *row()] for i in ids)
attributes("users.csv", ["user", "group", "score"], users, lambda: [random.choice("abc"), random.random()])
attributes("items.csv", ["item", "category", "tags", "price"], items,
           lambda: [random.choice(["tea", "чай", ""]), "|".join(random.sample("pqrst", random.randrange(4))), random.random()])
with open("good.csv", "w", encoding="utf-8") as f:
    f.writelines(line for line in open("log.csv", encoding="utf-8") if "many" not in line)
PY

mpirun -n 2 --bind-to none thaw prepare --events log.csv --columns user,item,event,value,time --event-weights view=1,cart=3,buy=5 \
    --users users.csv --user-attributes group:categorical,score:numeric --items items.csv \
    --item-attributes category:categorical,price:numeric,tags:multi --out data --parts 3 --quiet >/dev/null
check() { # NAME TRAINING-OPTIONS...
    local name=$1
    shift
    mpirun -n 2 --bind-to none thaw train --data data --out "model-$name" --factors 6 --iterations 3 --quiet "$@" >/dev/null
    mpirun -n 2 --bind-to none thaw tables --model "model-$name" --out "tables-$name" --quiet "${models[@]}" >/dev/null
    python3 "$THAW_SOURCE/tests/cli/formats.py" "$THAW_SOURCE/src/proto/thaw.proto" good.csv data "model-$name" "tables-$name"
}
models=()
check rendle --model implicit --holdout-users 0.2
thaw prior --model model-rendle --out prior --quiet >/dev/null
thaw associate --data data --out association --known 0,2 --quiet >/dev/null
thaw augment --data data --model model-rendle --out generator --steps 2 --quiet >/dev/null
models=(--prior prior --association association --generator generator)
rm -r tables-rendle model-rendle
check rendle --model implicit --holdout-users 0.2 # the same model once more
models=()
check explicit --model explicit --holdout-users 0.2
check hu --weighting hu --strength log --holdout-users 0.2
