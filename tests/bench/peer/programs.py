"""The programs: each runs some iterations from given factors and says what they cost. One thread, one core."""

import contextlib
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np

from log import factors


class Wrong(Exception):
    """A result that is wrong, as opposed to slow."""


class Run:
    """seconds: one number per iteration (user CPU; wall where `wall`); X, Y: the factors at the end."""

    def __init__(self, seconds, X=None, Y=None, objectives=None, wall=None, clock="user CPU"):
        self.seconds, self.X, self.Y, self.objectives, self.wall, self.clock = seconds, X, Y, objectives, wall, clock


def user_seconds():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


class Thaw:
    name = "thaw"

    def __init__(self, scratch, cores, extra):
        self.scratch, self.cores, self.extra = scratch, cores, extra

    def command(self, args, ranks=1, threads=1, quiet=True):
        """Run a job; nothing of it runs on more cores than asked for."""
        cores = ",".join(map(str, self.cores[: ranks * threads]))
        argv = ["thaw", *args, "--threads", str(threads)] + (["--quiet"] if quiet else [])
        if ranks > 1:
            argv = ["mpirun", "-n", str(ranks), "--bind-to", "core" if threads == 1 else "none", *argv]
        else:
            argv = ["taskset", "-c", cores, *argv]
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ, OMP_NUM_THREADS=str(threads)),
            preexec_fn=lambda: os.sched_setaffinity(0, set(self.cores)),
        )
        if done.returncode:
            raise Wrong(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-2000:]}")
        return done.stdout

    def train(self, data, model, k, solver, iterations, options=(), ranks=1, threads=1):
        out, log = f"{self.scratch}/model", f"{self.scratch}/train.jsonl"
        shutil.rmtree(out, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(log)
        shape = ["--model", "explicit", "--biases", "no", "--regularization", repr(model["lambda"])]
        if model["form"] == "implicit":
            shape = [
                "--model",
                "implicit",
                "--weighting",
                "hu",
                "--alpha",
                repr(model["alpha"]),
                "--unobserved-weight",
                "1",
                "--regularization",
                repr(model["lambda"]),
                "--reg-exponent",
                "0",
                "--strength",
                "raw",
            ]
        steps = ["--cg-steps", "3", "--cg-tolerance", "0"] if solver == "cg" else []
        self.command(
            [
                "train",
                "--data",
                data,
                "--out",
                out,
                "--factors",
                str(k),
                "--iterations",
                str(iterations),
                "--solver",
                solver,
                "--checkpoint-every",
                "0",
                "--checkpoint-minutes",
                "0",
                "--log",
                log,
                *shape,
                *steps,
                *options,
                *self.extra,
            ],
            ranks,
            threads,
        )
        with open(log) as lines:
            events = [e for e in map(json.loads, lines) if e["event"] == "iteration"]
        wall = [e["users_s"] + e["items_s"] for e in events]
        clock = "user CPU" if all("cpu_s" in e for e in events) else "wall"
        X, Y = factors(out, k)
        return Run(
            [e["cpu_s"] for e in events] if clock == "user CPU" else wall,
            X,
            Y,
            [e["objective"] for e in events],
            wall,
            clock,
        )

    def start(self, problem, k):
        """Users zero, items small random numbers: what every program begins with."""
        run = self.train(problem.data, problem.model, k, "cholesky", 0, problem.options)
        X = problem.seen_users(run.X)
        if np.any(X) or not np.any(run.Y):
            raise Wrong("the initial factors are not those of --iterations 0")
        return X, run.Y

    def run(self, problem, k, solver, iterations, start):
        return self.train(problem.data, problem.model, k, solver, iterations, problem.options)


class Implicit:
    """implicit's loop (AlternatingLeastSquares.fit): its native solver on users, then on items. It takes the confidence c, so 1 + alpha r."""

    name, forms = "implicit", ("implicit",)

    def run(self, problem, k, solver, iterations, start):
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=k,
            regularization=problem.model["lambda"],
            alpha=1.0,
            dtype=np.float32,
            use_native=True,
            use_cg=solver == "cg",
            calculate_training_loss=False,
            num_threads=1,
        )
        model.cg_steps = problem.cg_steps
        users, items = problem.confidence()
        X, Y = (f.copy() for f in start)
        solve, seconds = model.solver, []
        for _ in range(iterations):
            began = user_seconds()
            solve(users, X, Y, model.regularization, num_threads=1)
            solve(items, Y, X, model.regularization, num_threads=1)
            seconds.append(user_seconds() - began)
        return Run(seconds, X, Y)


class Stamps:
    """Takes the place of standard output and notes the user CPU time at each of cmfrec's messages."""

    def __init__(self):
        self.seconds = []

    def write(self, text):
        if "Starting ALS" in text or "Completed ALS iteration" in text:
            self.seconds.append(user_seconds())

    def flush(self):
        pass


class Cmfrec:
    """cmfrec's C interface (cmfrec.h), which takes initial factors where its Python classes do not. Its loop solves the second side first, so
    items are passed as its rows and users as its columns: users are solved first, as in the others. Its progress messages are the clock.
    """

    name, forms = "cmfrec", ("implicit", "explicit")

    def __init__(self):
        from cmfrec import wrapper_float

        self.lib = ctypes.CDLL(wrapper_float.__file__)

    def run(self, problem, k, solver, iterations, start):
        items, users, values = problem.triplets()
        B, A = (np.ascontiguousarray(f, dtype=np.float32).copy() for f in start)
        model, cg, stamps, out = problem.model, solver == "cg", Stamps(), sys.stdout
        head = dict(
            A=A, B=B, m=len(A), n=len(B), k=k, ixA=items, ixB=users, X=values, nnz=len(values), lam=model["lambda"]
        )
        tail = dict(niter=iterations, use_cg=cg, max_cg_steps=problem.cg_steps)
        call = self.implicit if model["form"] == "implicit" else self.explicit
        sys.stdout = stamps
        try:
            code = call(model, head, tail)
        finally:
            sys.stdout = out
        if code or len(stamps.seconds) != iterations + 1:
            raise Wrong(f"cmfrec: code {code}, {len(stamps.seconds)} messages for {iterations} iterations")
        return Run([float(s) for s in np.diff(stamps.seconds)], B, A)

    # Arguments in the order of cmfrec.h: side information, biases, L1, constraints and what only predictions need are off.
    NONE, OFF, ZERO, ONE = ctypes.c_void_p(), ctypes.c_bool(False), ctypes.c_int(0), ctypes.c_float(1)
    NO_SIDE = [NONE, ZERO, ZERO] * 2 + [NONE, NONE, NONE, ctypes.c_size_t(0)] * 2
    NO_L1 = [NONE, ctypes.c_float(0), NONE]  # lam_unique, l1_lam, l1_lam_unique

    @staticmethod
    def pointer(array):
        return array.ctypes.data_as(ctypes.c_void_p)

    def matrix(self, h):
        p = self.pointer
        return [
            ctypes.c_int(h["m"]),
            ctypes.c_int(h["n"]),
            ctypes.c_int(h["k"]),
            p(h["ixA"]),
            p(h["ixB"]),
            p(h["X"]),
            ctypes.c_size_t(h["nnz"]),
        ]

    def ending(self, t):
        """niter ... nonneg_D: one thread, verbose, no handling of interrupts, no preconditioner, no last Cholesky step."""
        return [
            ctypes.c_int(t["niter"]),
            ctypes.c_int(1),
            ctypes.c_bool(True),
            self.OFF,
            ctypes.c_bool(t["use_cg"]),
            ctypes.c_int(t["max_cg_steps"]),
            self.OFF,
            self.OFF,
            self.OFF,
            ctypes.c_int(100),
            self.OFF,
            self.OFF,
        ]

    def implicit(self, model, h, t):
        multiplier = ctypes.c_float(1)
        return self.lib.fit_collective_implicit_als(
            self.pointer(h["A"]),
            self.pointer(h["B"]),
            self.NONE,
            self.NONE,
            self.OFF,
            ctypes.c_int(1),
            self.NONE,
            self.NONE,
            *self.matrix(h),
            ctypes.c_float(h["lam"]),
            *self.NO_L1,
            *self.NO_SIDE,
            self.OFF,
            self.OFF,
            self.ZERO,
            self.ZERO,
            self.ZERO,
            self.ONE,
            self.ONE,
            self.ONE,
            ctypes.byref(multiplier),
            ctypes.c_float(model["alpha"]),
            self.OFF,
            self.OFF,
            *self.ending(t),
            self.OFF,
            self.NONE,
            self.NONE,
            self.NONE,
            self.NONE,
        )

    def explicit(self, model, h, t):
        mean, scaling = ctypes.c_float(0), (ctypes.c_float * 2)()
        return self.lib.fit_collective_explicit_als(
            self.NONE,
            self.NONE,
            self.pointer(h["A"]),
            self.pointer(h["B"]),
            self.NONE,
            self.NONE,
            self.NONE,
            self.NONE,
            self.OFF,
            self.OFF,
            ctypes.c_int(1),
            ctypes.byref(mean),
            self.NONE,
            self.NONE,
            *self.matrix(h),
            self.NONE,
            self.NONE,
            self.OFF,
            self.OFF,
            self.OFF,
            ctypes.c_float(h["lam"]),
            *self.NO_L1,
            ctypes.c_bool(True),
            self.OFF,
            self.OFF,
            scaling,
            scaling,
            *self.NO_SIDE,
            self.OFF,
            self.OFF,
            self.OFF,
            self.ZERO,
            self.ZERO,
            self.ZERO,
            self.ONE,
            self.ONE,
            self.ONE,
            self.ONE,
            *self.ending(t),
            self.OFF,
            self.OFF,
            *[self.NONE] * 9,
        )
