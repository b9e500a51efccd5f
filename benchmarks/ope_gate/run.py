"""Claim: the gate promotes what is no better in at most 5 % of logs, and what is better as planned in 80 %.

Each row draws logs from a world whose truth is known, evaluates champion and challengers as a person would, and asks
`gate` or `gate_many`. Sizes of the last rows are those that the gate's own planner names from one smaller log.
"""

from __future__ import annotations

import argparse
import resource
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmarks.measure import publish, table
from benchmarks.ope_gate.worlds import CHAMPION, FloatArray, World, aware, blind
from homing.log import LoggedDataset
from homing.ope import OPEReport, evaluate_policy
from homing.ope.diagnostics import PropensityCalibration, propensity_calibration
from homing.ope.messages import Messages
from homing.promotion import PromotionRules, gate, gate_many
from homing.promotion.comparisons import compare_all, times_to_decide

MARGIN = 0.002
SUPERIOR: dict[str, dict[str, object]] = {"conversion": {"rule": "superiority"}}
HARMLESS: dict[str, dict[str, object]] = {
    "opt_out": {"rule": "non_inferiority", "direction": "minimize", "margin": MARGIN, "margin_kind": "absolute"}
}
CHAMPION_POLICY = blind(*CHAMPION)
#: Smaller logs from which the size is planned.
PILOTS = 150


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: for the table.
        world: what logs are drawn from.
        challengers: probabilities by context and action (2, 3).
        rows: decisions in a log, or in the log that the size is planned from.
        objectives: rules.
        better: whether the challenger deserves promotion; its size is then planned.
        interval: as in the rules.
        looks: how often the gate is asked while the log grows to `rows`.
    """

    name: str
    world: World
    challengers: Sequence[FloatArray]
    rows: int
    objectives: dict[str, dict[str, object]] = field(default_factory=lambda: dict(SUPERIOR))
    better: bool = False
    interval: str = "cressie-read"
    looks: int = 1

    @property
    def rules(self) -> PromotionRules:
        return PromotionRules.from_dict(
            {"estimator": "snips", "objectives": self.objectives, "interval": self.interval, "min_events": 1.0}
        )

    def gain(self, objective: str) -> float:
        """How far the first challenger truly lies beyond what the rules ask of it."""
        mine, theirs = (self.world.truth(policy)[objective] for policy in (self.challengers[0], CHAMPION_POLICY))
        rule = self.objectives[objective]
        room = MARGIN if rule["rule"] == "non_inferiority" else 0.0
        return (theirs - mine if rule.get("direction") == "minimize" else mine - theirs) + room


LIFT, STRONG = World(0.04), World(0.09)
CASES = (
    Case("as good, and very different", LIFT, (blind(0.1, 0.8, 0.1),), 3_000),
    Case("as good, and nearly the same", LIFT, (blind(0.76, 0.14, 0.1),), 3_000),
    Case("as good, asked at 5 sizes", LIFT, (blind(0.1, 0.8, 0.1),), 5_000, interval="anytime", looks=5),
    Case(
        "ten challengers, none better", LIFT,
        tuple(blind(0.1 * i, *pair) for i in range(5) for pair in ((0.9 - 0.1 * i, 0.1), (0.1, 0.9 - 0.1 * i))),
        3_000,
    ),
    Case("better, and its opt-outs rise by the margin", STRONG, (aware(0.6),), 6_000, SUPERIOR | HARMLESS),
    Case("better, and its opt-outs rise by the margin", STRONG, (aware(0.6),), 15_000, SUPERIOR | HARMLESS),
    Case("better", LIFT, (aware(0.6),), 1_000, better=True),
    Case("better, and nearly the same", LIFT, (aware(0.16),), 1_000, better=True),
    Case(
        "much better, and its opt-outs rise by 0.2 of the margin", STRONG, (aware(0.3, 0.0),), 2_000,
        SUPERIOR | HARMLESS, better=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What came of a case."""

    rows: int
    verdicts: Counter[str]
    times: float | None


def study(case: Case, logs: int, seed: int) -> Found:
    """Ask the gate of so many logs."""
    rng = np.random.default_rng([seed, case.rows])
    rules, rows, times = case.rules, case.rows, None
    if case.better:
        times = plan(case, rng)
        rows = int(np.ceil(rows * times))
    verdicts: Counter[str] = Counter()
    calibration = None
    for _ in range(logs):
        log, context = case.world.draw(rows, rng)
        # A benchmark of its own, and half of the time: the propensities of these logs are those of the first.
        calibration = calibration or propensity_calibration(log)

        answers = []
        for end in np.searchsorted(log.user, np.linspace(0, log.user[-1] + 1, case.looks + 1)[1:].astype(int)):
            part = log if end == log.n else log.take(np.arange(end))
            answers.append(verdict(reports(part, context[:end], case.challengers, calibration), rules))
        verdicts["promote" if "promote" in answers else answers[-1]] += 1
    return Found(rows, verdicts, times)


def verdict(found: Sequence[OPEReport], rules: PromotionRules) -> str:
    """The verdict on one log."""
    champion, *others = found
    if len(others) == 1:
        return gate(others[0], champion, rules).verdict
    return gate_many(others, champion, rules).verdict


def reports(
    log: LoggedDataset,
    context: NDArray[np.int64],
    challengers: Sequence[FloatArray],
    calibration: PropensityCalibration,
) -> list[OPEReport]:
    """Of the champion, then of the challengers, each of which knows the champion's probabilities."""
    messages = Messages.of(log)
    theirs = CHAMPION_POLICY[context]

    def evaluate(policy: FloatArray, name: str, against: dict[str, FloatArray]) -> OPEReport:
        return evaluate_policy(
            log, policy[context], estimators=("snips",), policy=name, against=against, messages=messages,
            calibration=calibration,
        )  # fmt: skip

    return [
        evaluate(CHAMPION_POLICY, "champion", {}),
        *(evaluate(policy, f"challenger {i}", {"champion": theirs}) for i, policy in enumerate(challengers)),
    ]


def plan(case: Case, rng: np.random.Generator) -> float:
    """How many times one log the gate's planner asks for, told the true differences instead of the log's estimates.

    The mean over some logs, as one log's own standard error is off by a tenth.
    """
    found = []
    for _ in range(PILOTS):
        log, context = case.world.draw(case.rows, rng)
        champion, challenger = reports(log, context, case.challengers, propensity_calibration(log))
        told = []
        for item, demand in compare_all(challenger, champion, case.rules):
            bound = demand.bound.shifted(case.gain(item.objective) - demand.bound.value)
            told.append((replace(item, passed=False), replace(demand, bound=bound)))
        found.append(times_to_decide(told) or np.inf)
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--logs", type=int, default=1_000, help="a row (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(pool.map(study, CASES, [args.logs] * len(CASES), range(len(CASES))))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    publish("ope_gate", text(found, args.logs, used.ru_utime + used.ru_stime))


def text(found: Sequence[Found], logs: int, cpu_s: float) -> str:
    """The result as Markdown."""
    parts = [
        "## What the gate does in logs with a known truth",
        f"{logs:,} logs a row, of users with 3 decisions on average; `snips`, rules at the 5 % level: 95 % intervals, "
        "of which one end decides, made with the champion's probabilities at hand (`against`). In brackets, 95 % "
        "intervals (Clopper–Pearson).",
    ]
    for better, title, bar in (
        (False, "Challengers that must not be promoted", "at most 5 %"),
        (True, "Challengers that are better, at the size that the gate's planner asks for", "at least 80 %"),
    ):
        rows = []
        for case, item in zip(CASES, found, strict=True):
            if case.better == better:
                planned = () if not better else (f"{item.times:.1f}× {case.rows:,}",)
                rows.append((case.name, *planned, f"{item.rows:,}", case.interval, share(item.verdicts, logs), bar))
        sizes = ("planned from",) if better else ()
        parts += [f"### {title}", table(("challenger", *sizes, "decisions", "interval", "promoted", "bar"), rows)]
    parts += ["### Against the claim", breaches(found, logs), f"{cpu_s:.0f} CPU s."]
    return "\n\n".join(parts)


def share(verdicts: Counter[str], logs: int) -> str:
    ends = binomtest(verdicts["promote"], logs).proportion_ci(0.95)
    return f"{verdicts['promote'] / logs:.1%} [{ends.low:.1%}, {ends.high:.1%}]"


def breaches(found: Sequence[Found], logs: int) -> str:
    """Every row beyond its bar."""
    lines = []
    for case, item in zip(CASES, found, strict=True):
        ends = binomtest(item.verdicts["promote"], logs).proportion_ci(0.95)
        if ends.high < 0.8 if case.better else ends.low > 0.05:
            lines.append(f"- {case.name}, {item.rows:,} decisions: {share(item.verdicts, logs)} promoted.")
    rule = "A row breaks the claim if its interval lies beyond the bar."
    return f"{rule}\n\n" + ("\n".join(lines) if lines else "None does.")


if __name__ == "__main__":
    main()
