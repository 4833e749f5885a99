"""The table of tests/bench/traffic, from the logs LOG.RANKS.MODE.json in a folder; exits with 1 where a count or a target is wrong.

usage: traffic.py FOLDER [CSV]
"""
import csv
import glob
import json
import os
import sys

MIB = 1 << 20
MODES = ("pull", "allgather", "hybrid")
LIMIT_IMBALANCE, LIMIT_SHARE, LIMIT_HALF, LIMIT_MEMORY = 1.05, 0.5, 1.2, 2.2
FIELDS = ["log", "ranks", "exchange", "mean_bytes", "max_sent_bytes", "max_received_bytes", "messages", "users_way", "items_way",
          "users_rows_moved", "items_rows_moved", "users_pushed_rows", "items_pushed_rows", "lent_rows", "imbalance_users",
          "imbalance_items", "imbalance", "interactions_times"]

wrong = []


def check(right, text):
    if not right:
        wrong.append(text)


def read(path):
    """One run as a row of the table, and its half-sweeps."""
    log, ranks, mode = os.path.basename(path).split(".")[:3]
    with open(path) as f:
        events = [json.loads(line) for line in f]
    half = {e["side"]: e for e in events if e["event"] == "half"}
    memory = [e for e in events if e["event"] == "memory"][-1]
    steps = [e for e in events if e["event"] == "iteration"]
    for e in steps:
        check(e["sent_bytes"]["mean"] == e["received_bytes"]["mean"],
              "%s, %s ranks, %s: sent %.0f, received %.0f bytes a rank" % (log, ranks, mode, e["sent_bytes"]["mean"],
                                                                           e["received_bytes"]["mean"]))
    last = steps[-1]
    row = {"log": log, "ranks": int(ranks), "exchange": mode, "mean_bytes": last["sent_bytes"]["mean"],
           "max_sent_bytes": last["sent_bytes"]["max"], "max_received_bytes": last["received_bytes"]["max"],
           "messages": last["messages"]["mean"], "lent_rows": sum(half[s]["lent_rows"] for s in half),
           "imbalance": last["imbalance_modelled"], "interactions_times": memory["interactions_times"]}
    for side in half:
        row[side + "_way"] = half[side]["way"]
        row[side + "_rows_moved"] = half[side]["rows_moved"]
        row[side + "_pushed_rows"] = half[side]["pushed_rows"]
        row["imbalance_" + side] = half[side]["work"]["max"] / half[side]["work"]["mean"]
    return row, half


def targets(rows):
    of = {(r["log"], r["ranks"], r["exchange"]): r for r in rows}
    most = max(r["interactions_times"] for r in rows)
    print("interactions take at most %.2f x 16 bytes each on any rank" % most)
    check(most <= LIMIT_MEMORY, "interactions take %.2f x 16 bytes each" % most)
    for log, ranks in sorted({(r["log"], r["ranks"]) for r in rows if r["log"] != "one"}):
        pull, gather, hybrid = (of[log, ranks, mode]["mean_bytes"] for mode in MODES)
        check(hybrid <= min(pull, gather), "%s, %d ranks: hybrid sends %.2f MiB, pull %.2f, allgather %.2f" %
              (log, ranks, hybrid / MIB, pull / MIB, gather / MIB))
        if ranks != 32:
            continue
        imbalance = of[log, ranks, "hybrid"]["imbalance"]
        check(imbalance <= LIMIT_IMBALANCE, "%s, 32 ranks: imbalance %.3f" % (log, imbalance))
        check(log != "sparse" or hybrid <= LIMIT_SHARE * gather, "sparse, 32 ranks: hybrid sends %.2f of allgather" % (hybrid / gather))


def one_item(half, mode):
    """Modelled time of the items' half-sweep (its most loaded rank) against the mean of both."""
    work = {side: half[side]["work"]["max"] for side in half}
    times = 2 * work["items"] / sum(work.values())
    print("one item of all users, 4 ranks, %-8s  items' half-sweep %.3f x the mean half-sweep; imbalance of its ranks %.3f; "
          "%d rows pushed" % (mode + ":", times, work["items"] / half["items"]["work"]["mean"], half["items"]["pushed_rows"]))
    check(mode != "hybrid" or times <= LIMIT_HALF, "one item: the half-sweep that solves it is %.3f x the mean" % times)


def main():
    runs = [read(path) for path in glob.glob(os.path.join(sys.argv[1], "*.*.*.json"))]
    rows = sorted((r for r, _ in runs), key=lambda r: (r["log"], r["ranks"], MODES.index(r["exchange"])))
    print("%-7s %5s  %-9s %10s %10s %9s %9s %9s %7s %7s  %s" % ("log", "ranks", "exchange", "MiB mean", "MiB most", "of gather",
                                                          "imbalance", "messages", "pushed", "lent", "users, items"))
    for r in rows:
        gather = [g["mean_bytes"] for g in rows if g["log"] == r["log"] and g["ranks"] == r["ranks"] and g["exchange"] == "allgather"]
        print("%-7s %5d  %-9s %10.2f %10.2f %9s %9.3f %9.0f %7d %7d  %s, %s" %
              (r["log"], r["ranks"], r["exchange"], r["mean_bytes"] / MIB, max(r["max_sent_bytes"], r["max_received_bytes"]) / MIB,
               "%.2f" % (r["mean_bytes"] / gather[0]) if gather else "", r["imbalance"], r["messages"],
               r["users_pushed_rows"] + r["items_pushed_rows"], r["lent_rows"], r["users_way"], r["items_way"]))
    for row, half in runs:
        if row["log"] == "one":
            one_item(half, row["exchange"])
    targets(rows)
    if len(sys.argv) > 2 and sys.argv[2]:
        with open(sys.argv[2], "w", newline="") as f:
            table = csv.DictWriter(f, FIELDS)
            table.writeheader()
            table.writerows(rows)
    for text in wrong:
        print("MISSED: " + text)
    sys.exit(1 if wrong else 0)


main()
