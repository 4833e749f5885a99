# size.awk: how many nodes, ranks, how much memory and time each step of a job file needs; for submit.
#
# Input: lines SECTION KEY VALUE between tabs: of the plan (step and option), of the data, of the cluster.
# Output: "note TEXT", and for each step that is to run, between tabs,
#   step NAME NODES RANKS-OF-A-NODE THREADS CPUS-OF-A-RANK MEMORY-OF-A-NODE-IN-MB MINUTES LIMIT MEMORY ESTIMATE WHY
# with memory 0 for whole nodes. Variables: nodes and time (the user's wish, or empty), target (minutes).
#
# The formulas are those of docs/operations.md, "On Slurm", which says what the rates rest on: the slower ones of what was measured, for one core.
BEGIN {
    FS = OFS = "\t"
    MiB = 1048576
    BASE = 200 * MiB          # of a rank: program, MPI, BLAS
    ROOM = 1.3                # over the estimated memory: ranks are not even
    SAFETY = 3                # over the estimated time, and
    SLACK = 10                # minutes more
    EVEN = 0.7                # of the cores' time is work
    RATE_READ = 40e6          # bytes of log a second: prepare, whole job
    RATE_SYNTH = 50e6         # bytes of log a second
    RATE_SOLVE = 0.6e9        # interactions x factors a second: an iteration by conjugate gradients
    RATE_EXACT = 0.2e9        # the same, exact solver
    RATE_GRID = 40e9          # unknowns^3 a second: the elimination of an association
    RATE_SCORE = 3e9          # users x items x factors a second: rankings
    RATE_STEP = 40            # steps of the generator a second with 3,706 items; a third with a critic
    RATE_VIRTUAL = 4e9        # users x items x factors a second: virtual interactions, for
    FEW = 0.5                 # of the users have too few of their own
    RATE_WRITE = 50e6         # bytes of tables a second
}
$2 == "step" && $1 != "job" { order[++nsteps] = $1 }
{ if (!(($1, $2) in value)) value[$1, $2] = $3; count[$1, $2]++ }

function number(section, key, otherwise) { return (section, key) in value && value[section, key] != "" ? value[section, key] + 0 : otherwise }
function most(a, b) { return a > b ? a : b }
function least(a, b) { return a < b ? a : b }
function up(x) { return x > int(x) ? int(x) + 1 : int(x) }

function bytes_of(text) {
    if (text ~ /T(i?B)?$/) return text * 1024 * 1024 * MiB
    if (text ~ /G(i?B)?$/) return text * 1024 * MiB
    if (text ~ /K(i?B)?$/) return text * 1024
    return text * MiB # what Slurm counts in
}

# Minutes of a limit as Slurm writes it: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM[:SS]; 0 for none.
function minutes_of(text,   days, n, part) {
    if (text == "" || tolower(text) ~ /^(infinite|unlimited|n\/a)$/) return 0
    if (text ~ /-/) {
        days = text + 0
        sub(/^[0-9]+-/, "", text)
        n = split(text, part, ":")
        return days * 1440 + part[1] * 60 + (n > 1 ? part[2] : 0)
    }
    n = split(text, part, ":")
    return n == 3 ? part[1] * 60 + part[2] + (part[3] > 0) : part[1] + (n == 2 && part[2] > 0)
}
function limit_text(m) { return m >= 1440 ? sprintf("%d-%02d:%02d:00", m / 1440, m % 1440 / 60, m % 60) : sprintf("%d:%02d:00", m / 60, m % 60) }
function memory_text(b) { return b >= 1024 * MiB ? sprintf("%.1f GiB", b / MiB / 1024) : sprintf("%.0f MiB", b / MiB) }
function seconds_text(s) { return s < 90 ? sprintf("%.0f s", most(s, 1)) : s < 5400 ? sprintf("%.0f min", s / 60) : sprintf("%.1f h", s / 3600) }

# ---- What a step needs: memory of a rank when there are R, and seconds of one core ----

function rank_bytes(step, R,   k, rows, bytes) {
    k = number("train", "factors", 64)
    if (step == "synth") return BASE
    if (step == "prepare") {
        bytes = 3 * events_bytes / R
        return BASE + least(number(step, "memory", 2048 * MiB), bytes) + 60 * interactions / parts
    }
    if (step == "tables")
        return BASE + most(users, items) * (4 * k + 64) / R + 40 * interactions / parts
    if (step == "associate")
        return BASE + unknowns * (unknowns + items) * 4 * 8 / 7 / R + 16 * interactions / R
    # The rest hold interactions both ways, vectors and a copy of them, and opposite rows at hand.
    rows = users + items
    bytes = BASE + (20 * interactions + rows * (8 * k + 20)) / R + least(number(step, "exchange-bytes", 256 * MiB), 4 * k * rows)
    if (step == "train") bytes += rows * 2 * k / R + (number(step, "patience", 0) > 0) * rows * 4 * k / R
    if (step == "augment") bytes += 12 * items * (2 * k + 1) / R + 64 * MiB # decoder and moments; networks
    if (step == "evaluate") bytes += least(number(step, "memory", 256 * MiB), 4 * k * items)
    if (step == "evaluate" && (all_methods || associations)) bytes += 4 * knowns * unknowns * items / R
    return bytes
}

function core_seconds(step,   k, sweep, tested, fits) {
    k = number("train", "factors", 64)
    sweep = interactions * k / (value["train", "solver"] == "cholesky" ? RATE_EXACT : RATE_SOLVE)
    if (step == "synth") return events_bytes / RATE_SYNTH
    if (step == "prepare") return events_bytes / RATE_READ
    if (step == "train") return number(step, "iterations", 15) * sweep + 2 * interactions / 20e6
    if (step == "prior") return 4 * sweep
    fits = most(count["associate", "known"], 5)
    if (step == "associate") return 2 * fits * unknowns ^ 3 / RATE_GRID + sweep
    if (step == "augment")
        return number(step, "steps", 650) / RATE_STEP * (number(step, "adversary", 0.03) > 0 ? 3 : 1) * most(least(items, 100000), 1000) / 3706 \
            + (number(step, "virtual-below", 10) > 0 ? FEW : 0) * users * items * k / RATE_VIRTUAL
    if (step == "evaluate") {
        tested = least(number(step, "users", 100000), most(number("train", "holdout-users", 0.1), 0.01) * users)
        tested *= knowns * items * k / RATE_SCORE
        return all_methods ? searches * (10 * tested + number("train", "iterations", 15) * sweep) + 3 * unknowns ^ 3 / RATE_GRID : tested
    }
    return ((users + items) * 4 * k + 8 * interactions) / RATE_WRITE # tables
}

# ---- The choice ----

function fits_node(step, per, n) { return per * rank_bytes(step, n * per) * ROOM <= node_memory }
function seconds(step, n, per, threads) { return core_seconds(step) / (n * per * threads * EVEN) + 10 }

# The most ranks of each of n nodes that memory and parts allow; 0 for none.
function fitting(step, units, n,   p) {
    for (p = least(units, most(1, int(parts / n))); p > 0; p--)
        if (fits_node(step, p, n)) return p
    return 0
}

# Sets N (nodes) and per (ranks of a node): the fewest that hold the step and are expected to end in time.
function choose(step, threads, units,   n, p) {
    N = nodes + 0
    if (N) return per = fitting(step, units, N)
    for (p = 1; p <= units; p++) { # a part of one node
        if (!fits_node(step, p, 1)) continue
        N = 1; per = p
        if (seconds(step, 1, p, threads) <= target * 60) return 1
    }
    for (n = 2; n <= most_nodes && n <= parts; n++) {
        if (!(p = fitting(step, units, n))) continue
        N = n; per = p
        if (seconds(step, n, p, threads) <= target * 60) return 1
    }
    return N
}

function plan_step(step,   alone, units, threads, s, minutes, longest, memory, whole) {
    alone = step == "prepare" || step == "tables" # one thread a rank
    units = alone ? cores : domains
    threads = alone ? 1 : most(1, int(cores / domains))
    units = least(units, parts)
    if (!choose(step, threads, units)) {
        printf "submit: error: %s needs about %s on one node, or %s on each of %d; a node has %s: more --nodes, more memory, or smaller --exchange-bytes, --memory or --factors\n",
            step, memory_text(units * rank_bytes(step, units) * ROOM), memory_text(units * rank_bytes(step, units * most_nodes) * ROOM), most_nodes,
            memory_text(node_memory) > "/dev/stderr"
        failed = 1
        exit 71
    }
    s = seconds(step, N, per, threads)
    minutes = up((SAFETY * s / 60 + SLACK) / 5) * 5
    longest = minutes_of(value["cluster", "time"])
    if (longest && minutes > longest) {
        note = note step " is expected to take " seconds_text(s) ", at most " seconds_text(SAFETY * s) ", of the limit of " value["cluster", "time"] \
            (step == "train" || step == "augment" ? ": it saves its state, requeues itself and goes on" : ": more --nodes may do") "\n"
        minutes = longest
    }
    if (time != "") minutes = minutes_of(time)
    memory = per * rank_bytes(step, N * per) * ROOM
    whole = N > 1 || per * threads >= cores || nodes != ""
    print "step", step, N, per, threads, threads * smt, whole ? 0 : up(memory / MiB / 256) * 256, minutes, time != "" ? time : limit_text(minutes),
        whole ? "all" : memory_text(memory), seconds_text(s), value[step, "why"]
}

END {
    if (failed) exit 71
    interactions = number("data", "interactions", 0)
    users = number("data", "users", 0)
    items = number("data", "items", 0)
    parts = number("data", "parts", number("prepare", "parts", 64))
    events_bytes = number("data", "bytes", 0)
    unknowns = items + number("data", "user_features", 100)
    knowns = most(1, count["evaluate", "known"])
    all_methods = value["evaluate", "methods"] == "all"
    searches = value["evaluate", "search"] == "true" ? 10 : 1
    associations = ("associate", "step") in value
    most_nodes = number("cluster", "nodes", 1)
    cores = most(1, number("cluster", "cores", 1))
    domains = least(most(1, number("cluster", "numa", number("cluster", "sockets", 1))), cores)
    smt = most(1, number("cluster", "cpus", 1))
    node_memory = 0.95 * bytes_of(value["cluster", "memory"])
    if (!(node_memory > 0)) {
        print "submit: error: the cluster description has no memory" > "/dev/stderr"
        exit 64
    }
    if (nodes != "" && nodes + 0 > most_nodes) {
        printf "submit: error: --nodes %d: a job may have %d\n", nodes, most_nodes > "/dev/stderr"
        exit 64
    }
    printf "note\t%s; sized by %s\n", value["job", "name"] ": everything goes to " value["job", "out"], value["data", "known"]
    printf "note\tcluster: %s%d nodes of %d cores, %d NUMA domain%s, %s\n", value["cluster", "partition"] == "" ? "" : value["cluster", "partition"] ", ",
        most_nodes, cores, domains, domains == 1 ? "" : "s", memory_text(node_memory / 0.95)
    for (i = 1; i <= nsteps; i++)
        if (value[order[i], "state"] == "run" || value[order[i], "state"] == "resume") plan_step(order[i])
    n = split(note, line, "\n")
    for (i = 1; i < n; i++) print "note\t" line[i]
}
