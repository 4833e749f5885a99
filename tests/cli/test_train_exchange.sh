#!/usr/bin/env bash
# thaw train: the same bytes for every exchange, node size and number of ranks, with an item that everyone touched; what the log says of
# memory and balance is within bounds.
# labels: train determinism
set -euo pipefail
. "$THAW_SOURCE/tests/cli/common"

thaw synth --out log --users 3000 --items 300 --interactions 60000 --quiet >/dev/null
head -1 "$(ls log/events-*.csv | head -1)" >log/all.csv
awk -F, 'FNR > 1 && !seen[$1]++ { $2 = "everyones"; print }' OFS=, log/events-*.csv >>log/all.csv
thaw prepare --events log/events-*.csv log/all.csv --out data --event-weights view=1,cart=3,buy=5 --parts 8 --quiet >/dev/null

export THAW_LONG_ROWS=1024 # else the item would not be long enough to be pushed
train=(thaw train --data data --quiet --holdout-users 0.1 --factors 20 --iterations 2)
same() { # A B: factors
    for f in "$1"/iteration-000002/*.npy; do cmp "$f" "$2/iteration-000002/${f##*/}" || return 1; done
}
field() { # NAME LINES: a number of the log
    sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" <<<"$2"
}

# check OPTIONS RANKS:NODE_RANKS:EXCHANGE[:BYTES]...
check() {
    local options=$1 ranks node exchange bytes way
    shift
    # shellcheck disable=SC2086
    "${train[@]}" $options --out one --threads 1 >one.txt
    for way in "$@"; do
        IFS=: read -r ranks node exchange bytes <<<"$way"
        # shellcheck disable=SC2086
        THAW_NODE_RANKS=$node mpirun -n "$ranks" --bind-to none "${train[@]}" $options --out many --threads 1 \
            --exchange "$exchange" --exchange-bytes "${bytes:-256M}" --log many.json >many.txt
        sed -i 's/^many/one/' many.txt
        cmp one.txt many.txt || fail "another report: $options, $way"
        same one many || fail "another model: $options, $way"
        half=$(grep '"side":"items","way"' many.json)
        memory=$(grep '"interactions_times"' many.json)
        pushed=$(field pushed_rows "$half")
        [ "$exchange" = hybrid ] || [ "$pushed" = 0 ] || fail "$way: rows are pushed"
        [ "$exchange" != hybrid ] || [ "$ranks" -lt 3 ] || [ "$pushed" -ge 1 ] || fail "$way: everyone's item is not pushed: $half"
        awk "BEGIN { exit !($(field interactions_times "$memory") < 2.2) }" || fail "$way: memory: $memory"
        echo "$options, $way: $pushed rows pushed, $(field lent_rows "$half") lent, $(field rows_moved "$half") moved in" \
            "$(field rounds "$half") rounds, memory $(field interactions_times "$memory") x interactions"
        rm -rf many many.json
    done
    rm -rf one
}
ways=(2:1:hybrid 3:2:hybrid 4:1:hybrid 4:2:hybrid 4:4:hybrid 3:1:pull 3:2:allgather 4:2:hybrid:8K 3:1:pull:8K)
check "--solver cg --gather bf16" "${ways[@]}"
check "--solver cholesky --gather f32" 2:1:hybrid 3:2:hybrid 4:1:pull 4:2:allgather 3:1:hybrid:8K
check "--solver cg --gather f32 --model explicit" 4:2:hybrid
check "--solver cholesky --gather bf16 --weighting hu" 4:1:hybrid

# What cannot be is refused with what would help.
THAW_NODE_RANKS=1 refused 64 'allgather needs --exchange-bytes' ranks 2 "${train[@]}" --out none --exchange allgather --exchange-bytes 8K
