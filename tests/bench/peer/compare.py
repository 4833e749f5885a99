"""Runs the comparisons of tests/bench/peers and prints their table. Exits 1 when a result is wrong, not when Thaw is slow."""

import argparse
import glob
import os
import shutil
import statistics
import sys

import numpy as np

import log
from programs import Cmfrec, Implicit, Thaw, Wrong
from table import Table

SECTIONS = ("implicit", "exact", "explicit", "ml1m", "ranks")
IMPLICIT = {"form": "implicit", "alpha": 10.0, "lambda": 10.0}
EXPLICIT = {"form": "explicit", "lambda": 0.05}
ML1M = {"form": "implicit", "alpha": 3.0, "lambda": 80.0}
# Ratios to reach: over the faster peer, or over the peer named.
CG_TARGET = {32: 9, 64: 11, 128: 9, 256: 6}
EXACT_TARGET = {"cmfrec": 4, "implicit": 8}
EXPLICIT_TARGET, ML1M_TARGET, RANKS_TARGET = 5, 7, 1.85
# What is wrong: exact solvers that end apart; CG that ends above the best peer's; a NDCG below the peer's.
EXACT_APART, CG_ABOVE, NDCG_BELOW, SAME_FORMULA = 2e-3, 2e-2, 0.02, 1e-4
NO_WORSE = 1e-4  # relative; what 16-bit gathers may move an objective by


class Problem:
    """A log and an objective, in the forms in which the peers take them; conversions are not timed."""

    def __init__(self, data, model, matrix, options=(), cg_steps=3, trained=None):
        """options: of thaw train. trained: the users of the matrix among the dataset's, where some are held out."""
        self.data, self.model, self.matrix, self.options, self.cg_steps = data, model, matrix, list(options), cg_steps
        self.trained = trained
        self.converted = {}

    def confidence(self):
        if "c" not in self.converted:
            users = self.matrix.copy()
            users.data = (1 + self.model["alpha"] * users.data).astype(np.float32)
            items = users.T.tocsr()
            items.sort_indices()
            self.converted = {"c": (users, items)}
        return self.converted["c"]

    def triplets(self):
        if "t" not in self.converted:
            items = self.matrix.T.tocsr().tocoo()  # in the order of items, then users
            self.converted = {
                "t": (items.row.astype(np.int32), items.col.astype(np.int32), items.data.astype(np.float32))
            }
        return self.converted["t"]

    def seen_users(self, X):
        """Without the held-out users, whom the peers do not get."""
        return X if self.trained is None or len(X) == len(self.trained) else X[self.trained]

    def objective(self, X, Y):
        return log.objective(self.matrix, self.model, X, Y)


class Bench:
    def __init__(self, options):
        self.o = options
        cores = sorted(os.sched_getaffinity(0))
        self.cores = cores[-2:][::-1]
        self.thaw = Thaw(options.scratch, self.cores, options.thaw)
        self.peers = [Implicit(), Cmfrec()]
        self.table = Table(options.csv)
        os.sched_setaffinity(0, {self.cores[0]})

    # ---- Logs ----

    def synthetic(self, users, items, events):
        """r: 1 for a view, 2 for a cart, 3 for a buy, times the pieces; the largest of a pair's events."""
        data = f"{self.o.work or self.o.scratch}/data-{users}-{items}-{events}"
        if not os.path.exists(f"{data}/manifest.pb"):
            text = f"{self.o.scratch}/log"
            shutil.rmtree(text, ignore_errors=True)
            self.thaw.command(
                [
                    "synth",
                    "--out",
                    text,
                    "--users",
                    str(users),
                    "--items",
                    str(items),
                    "--interactions",
                    str(events),
                    "--zipf",
                    "1.0",
                    "--activity-sigma",
                    "1.1",
                    "--cold-fraction",
                    "0",
                    "--genres",
                    "40",
                    "--styles",
                    "1",
                ],
                threads=len(self.cores),
            )
            self.thaw.command(
                [
                    "prepare",
                    "--events",
                    *sorted(glob.glob(f"{text}/events-*")),
                    "--out",
                    data,
                    "--columns",
                    "user=user,item=item,event=event,value=value",
                    "--event-weights",
                    "view=1,cart=2,buy=3",
                    "--duplicates",
                    "max",
                ]
            )
            shutil.rmtree(text)
        result = log.Log(data)
        print(
            f"log: {users} users x {items} items, {result.matrix.nnz} interactions, mean r {result.matrix.data.mean():.3f}",
            flush=True,
        )
        return result

    def large(self):
        if not hasattr(self, "_large"):
            self._large = (
                self.synthetic(5000, 2000, 400_000) if self.o.quick else self.synthetic(200_000, 50_000, 30_500_000)
            )
        return self._large

    # ---- One comparison: programs take turns; the first turn is the long one, whose end is judged ----

    def measure(self, section, problem, k, solver, long, short, peers):
        programs = [self.thaw] + [p for p in self.peers if p.name in peers]
        start = self.thaw.start(problem, k)
        before = problem.objective(*start)
        times, ends = {p.name: [] for p in programs}, {}
        for turn in range(self.o.repeats):
            for program in programs[turn % len(programs) :] + programs[: turn % len(programs)]:
                run = program.run(problem, k, solver, short if turn else long, start)
                times[program.name] += list(run.seconds)
                if program is self.thaw:
                    self.clock = run.clock
                if turn == 0:
                    ends[program.name] = run
            print(
                f"  {section} k = {k}, turn {turn + 1} of {self.o.repeats}: "
                + ", ".join(f"{name} {statistics.median(t):.3f} s" for name, t in times.items()),
                flush=True,
            )
        objectives = {}
        for name, run in ends.items():
            objectives[name] = problem.objective(problem.seen_users(run.X), run.Y)
            if not np.isfinite(objectives[name]) or objectives[name] >= before:
                raise Wrong(f"{section} k = {k}: {name}'s objective went from {before:.6f} to {objectives[name]:.6f}")
        said = ends["thaw"].objectives
        if any(b > a * (1 + 1e-6) for a, b in zip(said, said[1:])):
            raise Wrong(f"{section} k = {k}: thaw's objective rises: {said}")
        if abs(said[-1] / objectives["thaw"] - 1) > SAME_FORMULA:
            raise Wrong(
                f"{section} k = {k}: thaw says its objective is {said[-1]:.6f}, its factors give {objectives['thaw']:.6f}"
            )
        return times, objectives, ends

    # ---- Sections ----

    def same_problem(self):
        """Exact solvers from one start have one path: after two iterations all programs must stand at the same point. And what CG solves,
        taken to its end, must be what the exact solver solves."""
        small, k = self.synthetic(3000, 1000, 150_000), 16
        for model in (IMPLICIT, EXPLICIT):
            peers = [p for p in self.peers if model["form"] in p.forms]
            problem = Problem(small.folder, model, small.matrix)
            many = Problem(small.folder, model, small.matrix, cg_steps=100)
            start = self.thaw.start(problem, k)
            exact = {p.name: p.run(problem, k, "cholesky", 2, start) for p in [self.thaw, *peers]}
            for name, run in exact.items():
                for mine, theirs in ((exact["thaw"].X, run.X), (exact["thaw"].Y, run.Y)):
                    apart = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
                    if not apart < 1e-2:
                        raise Wrong(
                            f"{model['form']}: thaw and {name} solve different problems: factors {apart:.1e} apart after 2 exact iterations"
                        )
            said = {name: f"{problem.objective(run.X, run.Y):.6f}" for name, run in exact.items()}
            for p in peers:
                run = p.run(many, k, "cg", 2, start)
                said[f"{p.name}, 100 CG steps"] = f"{problem.objective(run.X, run.Y):.6f}"
            print(
                f"  one problem ({model['form']}), objective after 2 exact iterations: "
                + ", ".join(f"{n} {v}" for n, v in said.items()),
                flush=True,
            )

    def rows(self, section, k, solver, times, objectives, target, best=False):
        """Rows of one comparison. target: peer -> ratio; with best, the faster peer's alone counts."""
        mine = statistics.median(times["thaw"])
        peers = [name for name in times if name != "thaw"]
        faster = min(peers, key=lambda name: statistics.median(times[name]))
        lowest = min(objectives[name] for name in peers)
        for name in times:
            ratio = statistics.median(times[name]) / mine
            goal = None if name == "thaw" or (best and name != faster) else target.get(name)
            note = (
                ""
                if name != "thaw"
                else (
                    "no worse"
                    if objectives["thaw"] <= lowest * (1 + NO_WORSE)
                    else f"MISSED: {objectives['thaw'] / lowest - 1:.1e} above"
                )
            )
            self.table.add(
                section,
                k,
                solver,
                name,
                times[name],
                ratio,
                f"{objectives[name]:.6f}",
                goal,
                note,
                self.clock if name == "thaw" else "user CPU",
            )

    def implicit(self):
        problem = Problem(self.large().folder, IMPLICIT, self.large().matrix)
        for k in self.ks(32, 64, 128, 256):
            times, objectives, _ = self.measure("implicit", problem, k, "cg", 10, 3, ("implicit", "cmfrec"))
            if objectives["thaw"] > min(objectives.values()) * (1 + CG_ABOVE):
                raise Wrong(f"implicit k = {k}: objectives {objectives}")
            self.rows("implicit", k, "cg", times, objectives, dict.fromkeys(times, CG_TARGET.get(k)), best=True)

    def exact(self):
        problem = Problem(self.large().folder, IMPLICIT, self.large().matrix)
        for k in self.ks(64, 128):
            times, objectives, _ = self.measure("exact", problem, k, "cholesky", 2, 1, ("implicit", "cmfrec"))
            if max(objectives.values()) > min(objectives.values()) * (1 + EXACT_APART):
                raise Wrong(f"exact k = {k}: objectives {objectives}")
            self.rows("exact", k, "cholesky", times, objectives, EXACT_TARGET)

    def explicit(self):
        problem = Problem(self.large().folder, EXPLICIT, self.large().matrix)
        for k in self.ks(64, 128):
            for solver, long, short in (("cg", 10, 3), ("cholesky", 2, 1)):
                times, objectives, _ = self.measure("explicit", problem, k, solver, long, short, ("cmfrec",))
                if objectives["thaw"] > objectives["cmfrec"] * (1 + (CG_ABOVE if solver == "cg" else EXACT_APART)):
                    raise Wrong(f"explicit k = {k} {solver}: objectives {objectives}")
                self.rows("explicit", k, solver, times, objectives, {"cmfrec": EXPLICIT_TARGET})

    def ml1m(self):
        path, k = log.ratings(self.o.ml1m), 64
        if not path:
            print("skipped ml1m: no ml-1m/ratings.dat(.gz) in THAW_DATA or --ml1m", flush=True)
            return
        data, listed = f"{self.o.scratch}/ml1m", f"{self.o.scratch}/held"
        self.thaw.command(
            [
                "prepare",
                "--events",
                path,
                "--out",
                data,
                "--columns",
                "user,item,-",
                "--delimiter",
                "::",
                "--header",
                "no",
            ]
        )
        whole = log.Log(data)  # every rating is a positive, r = 1
        held = np.sort(np.random.default_rng(1).permutation(len(whole.user_ids))[: len(whole.user_ids) // 5])
        with open(listed, "wb") as f:
            f.write(b"".join(bytes(i) + b"\n" for i in whole.user_ids[held]))
        trained = np.setdiff1d(np.arange(len(whole.user_ids)), held)
        problem = Problem(data, ML1M, whole.matrix[trained], ["--holdout-list", listed], trained=trained)
        times, objectives, ends = self.measure("ml1m", problem, k, "cg", 15, 5, ("implicit",))
        ndcg = {name: log.fold_in_ndcg(whole.matrix[held], ML1M, run.Y) for name, run in ends.items()}
        apart = ndcg["thaw"] - ndcg["implicit"]
        error = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
        print(
            f"  ml1m: NDCG@20 of {len(apart)} held-out users, 10 known: "
            + ", ".join(f"{n} {v.mean():.4f}" for n, v in ndcg.items())
            + f"; difference {apart.mean():+.4f} +- {error:.4f}",
            flush=True,
        )
        if apart.mean() < -NDCG_BELOW:
            raise Wrong("ml1m: thaw's NDCG is below its peer's")
        equal = apart.mean() > -max(error, 1e-3)
        self.rows("ml1m", k, "cg", times, {n: objectives[n] for n in times}, {"implicit": ML1M_TARGET})
        self.table.verdict("ml1m: NDCG equal to implicit's", equal)

    def ranks(self):
        if len(self.cores) < 2:
            print("skipped ranks: it takes two cores", flush=True)
            return
        problem = Problem(self.large().folder, IMPLICIT, self.large().matrix)
        ways = {"1 rank": (1, 1), "2 ranks": (2, 1), "1 rank x 2 threads": (1, 2)}
        for k in self.ks(64, 128):
            times, ends = {name: [] for name in ways}, {}
            for turn in range(self.o.repeats):
                for name, (ranks, threads) in ways.items():
                    run = self.thaw.train(problem.data, IMPLICIT, k, "cg", 5, (), ranks, threads)
                    times[name] += run.wall
                    ends[name] = run
            one = ends["1 rank"]
            for name, run in ends.items():
                if not (np.array_equal(run.X, one.X) and np.array_equal(run.Y, one.Y)):
                    raise Wrong(f"ranks k = {k}: {name} gives other factors than 1 rank")
            for name in ways:
                ratio = statistics.median(times["1 rank"]) / statistics.median(times[name])
                self.table.add(
                    "ranks",
                    k,
                    "cg",
                    name,
                    times[name],
                    ratio,
                    f"{one.objectives[-1]:.6f}",
                    None if name == "1 rank" else RANKS_TARGET,
                    "same bytes",
                    "wall",
                )

    def ks(self, *all_k):
        return [k for k in all_k if (k in self.o.factors if self.o.factors else not self.o.quick or k <= 64)]


def options():
    p = argparse.ArgumentParser(
        prog="tests/bench/peers",
        description="Thaw's ALS beside implicit and cmfrec: user CPU seconds per iteration, one thread, "
        "same log, initial factors and objective.",
    )
    p.add_argument("--only", action="append", choices=SECTIONS, help="this section; can be repeated (default: all)")
    p.add_argument("--factors", action="append", type=int, metavar="K", help="only this k; can be repeated")
    p.add_argument(
        "--quick", action="store_true", help="a small log and k up to 64: a test of the script, no figures to quote"
    )
    p.add_argument(
        "--ml1m",
        default=os.environ.get("THAW_DATA"),
        metavar="DIR",
        help="folder that holds ml-1m (default: $THAW_DATA)",
    )
    p.add_argument("--work", metavar="DIR", help="keep the synthetic datasets there for the next run")
    p.add_argument("--csv", metavar="FILE", help="write the table to FILE as well")
    p.add_argument(
        "--thaw",
        action="append",
        default=[],
        metavar="OPTION",
        help="a further option of thaw train, as --thaw=--gather=f32; can be repeated",
    )
    for name, kind in (("--scratch", str), ("--repeats", int)):  # from tests/bench/peers
        p.add_argument(name, type=kind, required=True, help=argparse.SUPPRESS)
    return p.parse_args()


def main():
    bench = Bench(options())
    try:
        bench.same_problem()
        for section in bench.o.only or SECTIONS:
            getattr(bench, section)()
    except Wrong as wrong:
        print(f"peers: WRONG: {wrong}", file=sys.stderr)
        return 1
    finally:
        bench.table.print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
