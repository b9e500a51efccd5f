"""What is simulated: single metrics at thirty looks, the whole rule, margins, sample ratios, and users one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from homing.estimates import Estimate
from homing.experiments import (
    MDE,
    NIM,
    Baseline,
    ConfidenceSequence,
    Corrections,
    ExperimentPlan,
    FixedHorizon,
    GroupSequential,
    Hybrid,
    Metric,
    Monitoring,
    PreExposureBias,
    SampleRatio,
    SufficientStatistics,
    analyze,
    simulate_power,
)
from homing.experiments.certificate import share
from homing.experiments.draws import z_paths
from homing.experiments.rule import SHIP, first_verdict
from homing.experiments.rule_inputs import judge_scorecard
from homing.experiments.sequential import sequential_ratio_p_value

FloatArray = NDArray[np.float64]
LOOKS = 30
DESIGNS: dict[str, Monitoring] = {
    "group sequential, O'Brien-Fleming": GroupSequential(),
    "group sequential, Pocock": GroupSequential("pocock"),
    "group sequential, power 2": GroupSequential("power"),
    "hybrid": Hybrid(),
    "confidence sequence": ConfidenceSequence(),
    "one look at the end": FixedHorizon(),
}
#: Chance of an event 3 standard errors away of 10,000: .05 + .0065, .8 - .012.
MOST_FALSE, LEAST_POWER = 0.0565, 0.788


@dataclass(frozen=True)
class Line:
    """One number beside what is promised.

    Attributes:
        name: cells of the table before it.
        found: the share.
        least: that it must reach.
        most: that it must not exceed.
    """

    name: tuple[str, ...]
    found: Estimate
    least: float = 0.0
    most: float = 1.0

    @property
    def holds(self) -> bool:
        return self.least <= self.found.value <= self.most

    @property
    def bar(self) -> str:
        if self.least > 0.0 and self.most < 1.0:
            return f"{self.least:.2%} to {self.most:.2%}"
        return f"at least {self.least:.1%}" if self.least > 0.0 else f"at most {self.most:.2%}"


def one_metric(n: int, rng: np.random.Generator) -> Iterator[Line]:
    """Two-sided .05, thirty daily looks: false positives to the planned size and to twice it, and power."""
    days = np.arange(1, 2 * LOOKS + 1) / LOOKS
    null = np.abs(z_paths(n, days, rng)[:, :, 0, 0])

    def crossed(z: FloatArray, bound: FloatArray) -> Estimate:
        return share(int((z >= bound).any(axis=1).sum()), n)

    for name, design in DESIGNS.items():
        bound = design.critical(days, 0.05, 2)
        exact = not isinstance(design, ConfidenceSequence)
        least = 0.0435 if exact else 0.0
        yield Line((name, "A/A, 30 looks"), crossed(null[:, :LOOKS], bound[:LOOKS]), least, MOST_FALSE)
        yield Line((name, "A/A, run over to twice the size"), crossed(null, bound), least, MOST_FALSE)
        inflation = design.inflation(0.05, 0.8, 2, looks=LOOKS)
        drift = (ndtri(0.975) + ndtri(0.8)) * np.sqrt(inflation)
        planned = days[:LOOKS]
        moved = np.abs(z_paths(n, planned, rng)[:, :, 0, 0] + drift * np.sqrt(planned))
        yield Line((name, f"power at {inflation:.3f} times the units"), crossed(moved, bound[:LOOKS]), LEAST_POWER)
    naive = np.full(len(days), -ndtri(0.025))
    yield Line(("1.96 at every look", "A/A, 30 looks"), crossed(null[:, :LOOKS], naive[:LOOKS]), 0.25)


def rule_plan(monitoring: Monitoring) -> ExperimentPlan:
    """Five success metrics, five guardrails, two more metrics that must not fall, two quality tests."""
    return ExperimentPlan(
        "rule",
        success=[(_mean(f"success_{i}"), MDE(rel=0.02)) for i in range(5)],
        guardrail=[(_mean(f"guardrail_{i}"), NIM(rel=0.01)) for i in range(5)],
        deterioration=[_mean("other_0"), _mean("other_1")],
        quality=[SampleRatio(), PreExposureBias(("seen_pre28",))],
        monitoring=monitoring,
    )


STRUCTURES: dict[str, tuple[str, ...]] = {
    "independent": (),
    "success metrics correlated .99": ("success",),
    "guardrails correlated .99": ("guardrail",),
    "all correlated .99": ("success", "guardrail", "deterioration"),
}
#: Each test at the level that is asked of the whole, and planned at the power that is asked of the whole.
PLAIN = Corrections(0.05, 0.05, 0.01, 0.01, 0.2, ())
#: α split over all metrics that decide, as if each of them could ship the treatment alone; β is not divided.
SPLIT = Corrections(0.005, 0.005, 0.01 / 14, 0.01 / 14, 0.2, ())


def correlations(plan: ExperimentPlan, roles: tuple[str, ...]) -> FloatArray:
    inside = np.array([role in roles for role in plan.roles.values()])
    return np.where(np.eye(len(inside)) == 1.0, 1.0, 0.99 * np.outer(inside, inside))


def whole_rule(n: int, rng: np.random.Generator) -> Iterator[Line]:
    """False ships where nothing changes; ships where one success metric gains its MDE, and where all do."""
    designs: dict[str, tuple[Monitoring, Corrections | None, int]] = {
        "corrected, one look": (FixedHorizon(), None, 1),
        "corrected, group sequential, 30 looks": (GroupSequential(), None, LOOKS),
        "corrected, confidence sequence, 30 looks": (ConfidenceSequence(), None, LOOKS),
        "every test at .05 and power .8, one look": (FixedHorizon(), PLAIN, 1),
        "alpha over all ten metrics, one look": (FixedHorizon(), SPLIT, 1),
    }
    for name, (monitoring, rates, looks) in designs.items():
        plan = rule_plan(monitoring)
        for structure, roles in STRUCTURES.items():
            for told, effects in (
                ("nothing changes", {}),
                ("one gains", {"success_0": 1.0}),
                ("all gain", {f"success_{i}": 1.0 for i in range(5)}),
            ):
                found = simulate_power(
                    plan,
                    rng=rng,
                    effects=effects,
                    n=n,
                    information=looks,
                    correlation=correlations(plan, roles),
                    corrections=rates,
                ).ship
                promised = {} if rates else ({"least": LEAST_POWER} if effects else {"most": MOST_FALSE})
                yield Line((name, structure, told), found, **promised)


def margins(n: int, rng: np.random.Generator) -> Iterator[Line]:
    """Treatments that gain for certain and lie at one of two guardrails' margins: none should ship."""
    for treatments in (1, 2, 4):
        each = 1.0 / (treatments + 1)
        for monitoring, looks in ((FixedHorizon(), 1), (GroupSequential(), LOOKS)):
            plan = ExperimentPlan(
                "margins",
                success=[(_mean("gain"), MDE(rel=0.02))],
                guardrail=[(_mean("lost"), NIM(rel=0.01)), (_mean("kept"), NIM(rel=0.01))],
                quality=[],
                variants={"control": 1 - each * treatments} | {f"t{i}": each for i in range(treatments)},
                monitoring=monitoring,
            )
            effects = {"gain": 3.0, "lost": -1.0, "kept": 1.0}
            for told, rates in (
                ("alpha / treatments", plan.corrections),
                ("alpha", replace(plan.corrections, alpha_guardrail=plan.alpha)),
            ):
                found = simulate_power(plan, rng=rng, effects=effects, n=n, information=looks, corrections=rates).ship
                most = MOST_FALSE if told != "alpha" else 1.0
                yield Line((str(treatments), f"{plan.monitoring.name}, {looks} looks", told), found, 0.0, most)


def sample_ratios(n: int, rng: np.random.Generator) -> Iterator[Line]:
    """Halves, 400 users a day for 30 days, watched daily."""
    users = np.full((n, LOOKS), 400)

    def watched(p: float, level: float, *, chi_square: bool = False) -> Estimate:
        first = np.cumsum(rng.binomial(users, p), axis=1)
        total = np.cumsum(users, axis=1)
        if chi_square:
            found = chdtrc(1, (2 * first - total) ** 2 / total)
        else:
            found = sequential_ratio_p_value(np.stack([first, total - first], axis=-1), [0.5, 0.5])
        return share(int((found <= level).any(axis=1).sum()), n)

    yield Line(("sequential, at .001", "planned shares"), watched(0.5, 0.001), 0.0, 0.002)
    yield Line(("sequential, at .01", "52 to 48"), watched(0.52, 0.01), 0.75)
    yield Line(("chi-square daily, at .001", "planned shares"), watched(0.5, 0.001, chi_square=True))
    yield Line(("chi-square daily, at .05", "planned shares"), watched(0.5, 0.05, chi_square=True))


ORDERED = Metric("ordered", "proportion", "ordered")
SPENT = Metric("spent", "mean", "spent", covariates=("spent_pre28",), winsorize=0.999)
REACHED = Metric("reached", "proportion", "reached")
COMPLAINED = Metric("complaints", "ratio", "complaints", denominator="sessions", direction="decrease")


class Users:
    """A population: orders, skewed spend with what was spent before, reachability, complaints by session."""

    def draw(self, n: int, rng: np.random.Generator, gain: NDArray[np.bool_], loss: NDArray[np.bool_]) -> pl.DataFrame:
        """n users; those with `gain` order 12 % more often, those with `loss` are reached 2 % less often."""
        taste = rng.normal(size=n)
        ordered = rng.random(n) < 0.12 * (1.0 + 0.12 * gain)
        basket = np.exp(2.0 + 0.8 * taste + 0.6 * rng.normal(size=n))
        sessions = 1 + rng.poisson(3.0, n)
        return pl.DataFrame(
            {
                "user_id": np.arange(n),
                "ordered": ordered.astype(np.int64),
                "spent": ordered * basket + 0.3 * np.exp(1.0 + 0.8 * taste),
                "spent_pre28": np.exp(1.0 + 0.8 * taste + 0.3 * rng.normal(size=n)),
                "reached": (rng.random(n) < 0.85 * (1.0 - 0.02 * loss)).astype(np.int64),
                "complaints": rng.binomial(sessions, 0.05),
                "sessions": sessions,
            }
        )


def users(n: int, rng: np.random.Generator) -> Iterator[Line]:
    """The whole way: size from a history, users drawn one by one, sums, scorecards at ten looks, decisions."""
    population = Users()
    plan = ExperimentPlan(
        "users",
        success=[(ORDERED, MDE(rel=0.12)), (SPENT, None)],
        guardrail=[(REACHED, NIM(rel=0.02)), (COMPLAINED, NIM(rel=0.15))],
        quality=[SampleRatio(), PreExposureBias(("spent_pre28",))],
        monitoring=GroupSequential(looks=10),
    )
    none = np.zeros(50_000, dtype=bool)
    size = plan.sample_size(Baseline.from_history(population.draw(50_000, rng, none, none), plan))
    plan = plan.sized(size.n_total)
    day = np.arange(size.n_total) * 10 // size.n_total
    for told, gains, loses, bar in (
        ("nothing changes", False, False, {"most": MOST_FALSE}),
        ("orders gain their MDE", True, False, {"least": LEAST_POWER}),
        ("orders gain, reachability at its margin", True, True, {"most": MOST_FALSE}),
    ):
        ships = 0
        for _ in range(n):
            treated = rng.random(size.n_total) < 0.5
            frame = population.draw(size.n_total, rng, treated & gains, treated & loses).with_columns(
                pl.Series("variant", np.where(treated, "treatment", "control")), pl.Series("exposed_at", day)
            )
            ships += _ships(frame, plan)
        # A bar of 10,000 experiments is not one of fewer: the exact interval must not lie beyond what is promised.
        found = share(ships, n)
        promised = (
            {"most": 0.05 + (found.upper - found.value)}
            if "most" in bar
            else {"least": 0.8 - (found.value - found.lower)}
        )
        yield Line((f"{size.n_total:,} users, decided by {size.decisive.metric}", told), found, **promised)


def _ships(frame: pl.DataFrame, plan: ExperimentPlan) -> bool:
    """Whether one who looks daily and acts on the first decision ships."""
    card = analyze(SufficientStatistics.from_frame(frame, plan), plan)
    verdict, _ = first_verdict(judge_scorecard(card, plan))
    return bool(verdict[0] == SHIP)


def _mean(name: str) -> Metric:
    return Metric(name, "mean", name)
