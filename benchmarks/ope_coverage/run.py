"""Claim: where the report says fine a 95 % interval holds the truth in about 95 % of logs; elsewhere it warns.

Each cell draws logs from a world whose truth is known and evaluates each with `evaluate_policy`, as a person would. The
verdict is the report's on the objective. An interval is asked of the same report by each kind.
"""

from __future__ import annotations

import argparse
import resource
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binomtest

from benchmarks.measure import publish, table
from benchmarks.ope_coverage.worlds import World
from homing.ope import Bounds, OPEReport, evaluate_policy
from homing.ope.intervals import Bootstrap, Interval, get_interval

#: Logging policies from near uniform to near deterministic; rewards; how users come back; decisions in a log.
CELLS: tuple[tuple[World, int], ...] = (
    (World("near uniform, common, users return", 0.9, "common", "returning"), 1_000),
    (World("near uniform, heavy tails", 0.9, "heavy", "returning"), 1_000),
    (World("near uniform, rare", 0.9, "rare", "returning"), 1_000),
    (World("1% explored, common", 0.01, "common", "single"), 1_000),
    (World("30% explored, common, 10 a user", 0.3, "common", "many"), 10_000),
    (World("30% explored, heavy tails", 0.3, "heavy", "returning"), 10_000),
    (World("30% explored, rare", 0.3, "rare", "returning"), 10_000),
    (World("5% explored, common, users return", 0.05, "common", "returning"), 10_000),
    (World("30% explored, rare", 0.3, "rare", "returning"), 100_000),
)
#: Estimator and kinds, a table each.
SHOWN: dict[str, tuple[str, ...]] = {
    "snips": ("cluster-t", "cressie-read", "bootstrap", "anytime"),
    "ips": ("cluster-t", "cressie-read", "bernstein"),
    "dr": ("cluster-t", "cressie-read", "bernstein"),
}
LEVEL = 0.95
#: Kinds that promise more than 95 % at one look: covering everything is no fault of theirs.
CAREFUL = ("anytime", "bernstein")


@dataclass
class Counts:
    """Of the logs of one cell: verdicts, and which intervals held the truth."""

    verdicts: Counter[str] = field(default_factory=Counter)
    held: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def logs(self) -> int:
        return self.verdicts.total()

    def add(self, report: OPEReport, truth: float, kinds: dict[str, Interval], rng: np.random.Generator) -> None:
        """Count one log."""
        verdict = report.support.verdict_for("reward")
        self.verdicts[verdict] += 1
        for estimator, names in SHOWN.items():
            for name in names:
                if name not in kinds:
                    continue
                found = report.estimate_at("reward", estimator, interval=kinds[name], rng=rng)
                self.held[estimator, name, verdict] += found.lower <= truth <= found.upper

    def coverage(self, estimator: str, name: str, verdict: str | None = None) -> float:
        """Share of logs (of that verdict) whose interval held the truth; NaN where there is none."""
        if not any(key[:2] == (estimator, name) for key in self.held):
            return float("nan")
        verdicts = tuple(self.verdicts) if verdict is None else (verdict,)
        total = sum(self.verdicts[item] for item in verdicts)
        return sum(self.held[estimator, name, item] for item in verdicts) / total if total else float("nan")


def study(world: World, rows: int, logs: int, seed: int) -> Counts:
    """One cell."""
    rng = np.random.default_rng([seed, rows])
    kinds = {name: get_interval(name) for names in SHOWN.values() for name in names}
    # Groups and replicates enough for coverage, at a tenth of the cost.
    kinds["bootstrap"] = Bootstrap(replicates=500, groups=500)
    top = float((world.target / world.logging).max())
    bounds = Bounds(max_weight=top, reward={} if world.reward == "heavy" else {"reward": (0.0, 1.0)})
    if world.reward == "heavy":
        kinds.pop("bernstein")
    counts = Counts()
    for _ in range(logs):
        log, target, predicted = world.draw(rows, rng)
        report = evaluate_policy(log, target, q_hat=predicted, estimators=tuple(SHOWN), bounds=bounds)
        counts.add(report, world.truth, kinds, rng)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--logs", type=int, default=2_000, help="in each cell (default: %(default)s)")
    parser.add_argument("--largest", type=int, default=100_000, help="leave out larger cells (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    # The longest first, so that the processes end together; a cell's seed is its place above.
    asked = [(seed, world, rows) for seed, (world, rows) in enumerate(CELLS) if rows <= args.largest]
    cells: dict[str, Counts] = {f"{world.name}, {rows:,}": Counts() for _, world, rows in asked}
    with ProcessPoolExecutor(args.workers) as pool:
        running = {
            f"{world.name}, {rows:,}": pool.submit(study, world, rows, args.logs, seed)
            for seed, world, rows in sorted(asked, key=lambda item: -item[2])
        }
        cells |= {name: found.result() for name, found in running.items()}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    publish("ope_coverage", text(cells, args.logs, used.ru_utime + used.ru_stime))


def text(cells: dict[str, Counts], logs: int, cpu_s: float) -> str:
    """The result as Markdown: verdicts, coverage by estimator, and what breaks the claim."""
    parts = [
        "## Coverage of 95 % intervals in logs with a known truth",
        f"{logs:,} logs a cell; one standard error of a coverage of 95 % is {100 * np.sqrt(0.95 * 0.05 / logs):.1f} "
        "points. A cell is what the logging policy explored, what the rewards are like, how users come back, and the "
        "number of decisions. The policy takes with 93 % what the log took only when it explored. `rare` is 0.5 %, "
        "`heavy tails` are lognormal sums. Verdicts are the report's on the objective; in brackets, the coverage in "
        "logs whose verdict is fine.",
        table(
            ("cell", "fine", "caution", "refuse"),
            [
                (name, *(f"{counts.verdicts[verdict] / counts.logs:.1%}" for verdict in ("fine", "caution", "refuse")))
                for name, counts in cells.items()
            ],
        ),
    ]
    for estimator, names in SHOWN.items():
        rows = [(cell, *(_cell(counts, estimator, name) for name in names)) for cell, counts in cells.items()]
        parts += [f"### {estimator}", table(("cell", *names), rows)]
    parts += ["### Against the claim", _verdict(cells), f"{cpu_s:.0f} CPU s."]
    return "\n\n".join(parts)


def _cell(counts: Counts, estimator: str, name: str) -> str:
    everywhere, fine = counts.coverage(estimator, name), counts.coverage(estimator, name, "fine")
    if np.isnan(everywhere):
        return "–"
    # On fewer logs than these the share means nothing.
    bracket = f" ({fine:.1%})" if counts.verdicts["fine"] >= MIN_FINE else ""
    return f"{everywhere:.1%}{bracket}"


#: Cells with fewer logs that are judged fine say nothing about coverage there.
MIN_FINE = 200
#: What is promised where the report says fine, and the confidence with which a cell must break it to count.
PROMISED, CONFIDENCE = (0.93, 0.97), 0.99


def _verdict(cells: dict[str, Counts]) -> str:
    """Every breach, named; and every share that chance alone may have put beyond the bar."""
    breaches, chance, judged, silent = [], [], 0, 0
    for cell, counts in cells.items():
        warned = 1.0 - counts.verdicts["fine"] / counts.logs
        logs = counts.verdicts["fine"]
        for estimator, names in SHOWN.items():
            for name in names:
                everywhere, fine = counts.coverage(estimator, name), counts.coverage(estimator, name, "fine")
                if np.isnan(everywhere):
                    continue
                if logs >= MIN_FINE:
                    judged += 1
                    low, high = binomtest(counts.held[estimator, name, "fine"], logs).proportion_ci(CONFIDENCE)
                    top = 1.0 if name in CAREFUL else PROMISED[1]
                    line = (
                        f"- {estimator}, {name}, {cell}: {fine:.1%} of {logs:,} logs where the report says fine, "
                        f"{CONFIDENCE:.0%} interval [{low:.1%}, {high:.1%}]; {everywhere:.1%} of all."
                    )
                    if high < PROMISED[0] or low > top:
                        breaches.append(line)
                    elif not PROMISED[0] <= fine <= top:
                        chance.append(line)
                if everywhere < 0.9:
                    silent += 1
                    if warned < 0.95:
                        breaches.append(
                            f"- {estimator}, {name}, {cell}: {everywhere:.1%}, and the report warned in {warned:.1%}."
                        )
    found = "\n".join(breaches) if breaches else "Nothing breaks it."
    near = "\n\nBeyond the bar, but within what chance explains:\n\n" + "\n".join(chance) if chance else ""
    return (
        f"Where the report says fine (in {MIN_FINE} logs or more), coverage must be 93 to 97 %, or above for "
        f"{' and '.join(CAREFUL)}, which promise more: {judged} cases. A case breaks the claim if its exact binomial "
        f"interval at {CONFIDENCE:.0%} lies outside. Where coverage is below 90 %, the report must have said caution "
        f"or refuse in 95 % of logs: {silent} cases. Breaches:\n\n{found}{near}\n\n"
        "To be judged fine is itself a selection: logs in which few events happened to come are called caution, and "
        "they are the ones whose intervals miss. What is left can hold the truth more often than all logs do."
    )


if __name__ == "__main__":
    main()
