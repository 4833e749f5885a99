"""The table of results, as text and CSV."""

import csv
import statistics


class Table:
    HEAD = (
        "section",
        "k",
        "solver",
        "program",
        "seconds",
        "low",
        "high",
        "samples",
        "clock",
        "ratio",
        "target",
        "verdict",
        "objective",
        "note",
    )

    def __init__(self, path):
        self.path, self.rows, self.verdicts = path, [], []

    def add(self, section, k, solver, program, seconds, ratio, objective, target, note, clock):
        """ratio: to Thaw's time (one rank's, for ranks). target: the least ratio wanted, None where there is none."""
        verdict = "" if target is None else "met" if ratio >= target else "missed"
        self.rows.append(
            (
                section,
                k,
                solver,
                program,
                f"{statistics.median(seconds):.4f}",
                f"{min(seconds):.4f}",
                f"{max(seconds):.4f}",
                len(seconds),
                clock,
                f"{ratio:.2f}",
                "" if target is None else target,
                verdict,
                objective,
                note,
            )
        )

    def verdict(self, what, met):
        self.verdicts.append(f"{what}: {'met' if met else 'missed'}")

    def print(self):
        if not self.rows:
            return
        print("\nseconds per iteration: median (lowest to highest of all iterations)")
        form = "{:<9} {:>4} {:<9} {:<19} {:>9} {:>20} {:>9} {:>7} {:>7} {:<7} {:>12}  {}"
        print(
            form.format(
                "section", "k", "solver", "program", "seconds", "range", "clock", "ratio", "target", "", "objective", ""
            )
        )
        for r in self.rows:
            row = dict(zip(self.HEAD, r))
            print(
                form.format(
                    row["section"],
                    row["k"],
                    row["solver"],
                    row["program"],
                    row["seconds"],
                    f"{row['low']} to {row['high']}",
                    row["clock"],
                    row["ratio"],
                    row["target"],
                    row["verdict"],
                    row["objective"],
                    row["note"],
                )
            )
        print("\n".join(self.verdicts))
        if self.path:
            with open(self.path, "w", newline="") as f:
                out = csv.writer(f, lineterminator="\n")
                out.writerow(self.HEAD)
                out.writerows(self.rows)
