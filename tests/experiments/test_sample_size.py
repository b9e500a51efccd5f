"""The size of an experiment: published numbers, statsmodels, simulation, and how its parts enter it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from homing.errors import InvalidInputError, UnknownNameError
from homing.experiments import MDE, NIM, ExperimentPlan, Metric, Window
from homing.experiments.baseline import Baseline, MetricBaseline
from homing.experiments.corrections import correct
from homing.experiments.monitoring import ConfidenceSequence, GroupSequential
from homing.experiments.power import effect_detectable, units_needed
from homing.experiments.sample_size import detectable, plan_sample_size

HALVES = {"share_control": 0.5, "share_treatment": 0.5}
ORDERED = Metric("ordered", "proportion", "ordered", window=Window(7))
SPENT = Metric("spent", "mean", "spent", window=Window(28), covariates=("spent_pre28",))
REACHED = Metric("reached", "proportion", "reached")
UNSUBSCRIBED = Metric("unsubscribed", "proportion", "unsubscribed", direction="decrease")
KNOWN = Baseline(
    {
        "ordered": MetricBaseline(0.1),
        "spent": MetricBaseline(20.0, 900.0, r_squared=0.4),
        "reached": MetricBaseline(0.8),
        "unsubscribed": MetricBaseline(0.02),
    }
)


def plan(**changes):
    defaults = {"success": [(ORDERED, MDE(rel=0.05))], "guardrail": [(REACHED, NIM(rel=0.01))], "quality": ()}
    return ExperimentPlan("test", **(defaults | changes))


@pytest.mark.parametrize(
    ("success", "guardrails", "size"),
    [(1, 0, 90_996), (1, 1, 126_044), (2, 4, 202_652), (5, 5, 254_736)],
    ids=["S1G0", "S1G1", "S2G4", "S5G5"],
)
def test_sizes_of_another_calculator(success, guardrails, size):
    """Spotify's calculator: share .10, MDE 5 % of it; margin 3 % of .40; α / S, β / (G + 1), no deterioration tests."""
    rates = {"power": 1 - 0.2 / (guardrails + 1)} | HALVES
    gain = units_needed(0.005, variance_control=0.09, variance_treatment=0.105 * 0.895, alpha=0.05 / success, **rates)
    safe = units_needed(0.012, variance_control=0.24, variance_treatment=0.24, alpha=0.05, **rates) if guardrails else 0
    assert max(gain, safe) == size


@pytest.mark.parametrize(("success", "guardrails", "times"), [(1, 1, 1.54), (1, 3, 1.90), (2, 4, 2.39), (5, 5, 2.97)])
def test_what_the_whole_rule_costs(success, guardrails, times):
    """Units over those of one metric alone, α₋ = .05, many looks: (z_{1-α/S} + z_{1-β*})² / (z_{.95} + z_{.8})²."""
    rates = correct(success=success, guardrail=guardrails, alpha_deterioration=0.05)
    one = {"variance_control": 1.0, "variance_treatment": 1.0} | HALVES
    alone = units_needed(1e-3, alpha=0.05, power=0.8, **one)
    assert units_needed(1e-3, alpha=rates.alpha_success, power=rates.power, **one) / alone == pytest.approx(
        times, abs=0.006
    )


@pytest.mark.parametrize("ratio", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("alpha", [0.05, 0.003])
def test_agrees_with_statsmodels(ratio, alpha):
    """Its n is that of the first group; ours is of all, rounded up to whole treatment units."""
    first = NormalIndPower(ddof=0).solve_power(0.04, alpha=alpha, power=0.9, ratio=ratio, alternative="larger")
    total = units_needed(
        0.04 * 5,
        variance_control=25.0,
        variance_treatment=25.0,
        share_control=1 / (1 + ratio),
        share_treatment=ratio / (1 + ratio),
        alpha=alpha,
        power=0.9,
    )
    assert 0 <= total - first * (1 + ratio) <= 1 + (1 + ratio) / min(ratio, 1)


def test_power_at_the_size(rng):
    """20,000 experiments on a share at its MDE, planned for .8: within four standard errors of .0028."""
    n = units_needed(0.02, variance_control=0.09, variance_treatment=0.12 * 0.88, alpha=0.05, power=0.8, **HALVES) // 2
    control, treated = (rng.binomial(n, p, 20_000) / n for p in (0.10, 0.12))
    error = np.sqrt((control * (1 - control) + treated * (1 - treated)) / n)
    assert ((treated - control) / error >= 1.6449).mean() == pytest.approx(0.8, abs=4 * 0.0028)


@pytest.mark.parametrize("sign", [1, -1], ids=["increase", "decrease"])
@pytest.mark.parametrize("moves", [True, False], ids=["superiority", "non-inferiority"])
@pytest.mark.parametrize(
    "known", [MetricBaseline(0.07, design_effect=1.7), MetricBaseline(3.0, 40.0, r_squared=0.3)], ids=["share", "mean"]
)
def test_detectable_is_the_way_back(known, moves, sign):
    shares = {"share_control": 0.6, "share_treatment": 0.2}
    rates = {"alpha": 0.0125, "power": 0.93}
    effect = effect_detectable(40_000, known, sign=sign, moves_variance=moves, **shares, **rates)
    treated = known.variance_at(known.mean + sign * effect) if moves else known.unit_variance
    size = units_needed(effect, variance_control=known.unit_variance, variance_treatment=treated, **shares, **rates)
    assert size == pytest.approx(40_000, abs=1 / 0.2 + 1)


def test_the_plan_takes_the_largest():
    found = plan_sample_size(plan(success=[(ORDERED, MDE(rel=0.05)), (SPENT, MDE(rel=0.02))]), KNOWN)
    asked = {item.metric: item for item in found.per_metric}
    assert set(asked) == {"ordered", "spent", "reached"}
    assert found.n_total == max(item.n_total for item in found.per_metric) == found.decisive.n_total
    assert asked["spent"].variance == pytest.approx(900 * 0.6)
    assert asked["spent"].effect == pytest.approx(0.4)
    rates = found.corrections
    assert asked["ordered"].alpha == rates.alpha_success == 0.025
    assert asked["reached"].alpha == rates.alpha_guardrail == 0.05
    assert asked["reached"].n_total == units_needed(
        0.008, variance_control=0.16 * 0.99**2, variance_treatment=0.16, alpha=0.05, power=rates.power, **HALVES
    )
    assert found.n_per_variant == {"control": found.n_total // 2, "treatment": found.n_total // 2}


def test_a_decrease_is_planned_below():
    """Fewer events at the alternative vary less: fewer units than the same step up."""
    down = plan_sample_size(plan(success=[(UNSUBSCRIBED, MDE(rel=0.2))]), KNOWN)
    up = plan_sample_size(plan(success=[(replace(UNSUBSCRIBED, direction="increase"), MDE(rel=0.2))]), KNOWN)
    assert down.per_metric[0].n_total < up.per_metric[0].n_total
    assert down.per_metric[0].n_total == units_needed(
        0.004,
        variance_control=0.02 * 0.98,
        variance_treatment=0.016 * 0.984,
        alpha=0.05,
        power=down.corrections.power,
        **HALVES,
    )


def test_power_of_a_relative_margin(rng):
    """Opt-outs may rise by half of 2 %: z of treatment - 1.5 control, whose error the margin multiplies by 1.5.

    20,000 experiments without an effect, planned for .8; one standard error is .0028, and z is skewed at 2 %.
    """
    asked = plan(
        success=[], guardrail=[(UNSUBSCRIBED, NIM(rel=0.5))], alpha_deterioration=1e-9, variants={"c": 0.5, "t": 0.5}
    )
    found = plan_sample_size(asked, KNOWN)
    n = found.n_total // 2
    control, treated = (rng.binomial(n, 0.02, 20_000) / n for _ in range(2))
    error = np.sqrt((1.5**2 * control * (1 - control) + treated * (1 - treated)) / n)
    assert ((1.5 * control - treated) / error >= 1.6449).mean() == pytest.approx(0.8, abs=0.02)


def test_small_treatments_need_more_in_all():
    found = plan_sample_size(plan(variants={"control": 0.5, "a": 0.4, "b": 0.1}), KNOWN)
    by = {item.treatment: item.n_total for item in found.per_metric if item.metric == "ordered"}
    assert by["b"] > by["a"] and found.decisive.treatment == "b"


def test_duration_counts_the_last_window():
    known = replace(KNOWN, units_per_day=10_000)
    found = plan_sample_size(plan(), known)
    assert found.recruiting_days == -(-found.n_total // 10_000)
    assert found.days == found.recruiting_days + 7
    assert plan_sample_size(plan(), KNOWN).days is None


def test_daily_looks_and_size_agree():
    """The size is the one for as many looks as its own days."""
    looking = plan(monitoring=GroupSequential("pocock"))
    found = plan_sample_size(looking, replace(KNOWN, units_per_day=21_000))
    fixed = plan_sample_size(plan(), replace(KNOWN, units_per_day=21_000))
    assert found.looks == found.recruiting_days > fixed.recruiting_days
    again = plan_sample_size(looking, KNOWN, looks=found.looks)
    assert again.n_total == found.n_total
    assert all(item.inflation > 1 for item in found.per_metric)


def test_looking_costs_what_it_should():
    """14 looks, one-sided .05, power .8, one metric: 1.055 for O'Brien-Fleming, 1.270 for Pocock (published, rpact)."""
    alone = plan(guardrail=[], alpha_deterioration=1e-9, power=0.8)
    fixed = plan_sample_size(alone, KNOWN).n_total
    for spending, times in (("obrien-fleming", 1.055), ("pocock", 1.270)):
        looking = replace(alone, monitoring=GroupSequential(spending, looks=14))
        assert plan_sample_size(looking, KNOWN).n_total / fixed == pytest.approx(times, abs=0.002)


def test_detectable_of_a_plan_at_its_size_is_its_mde():
    for design in (GroupSequential(looks=3), ConfidenceSequence(), ConfidenceSequence(n_star=100_000)):
        looking = plan(monitoring=design)
        size = plan_sample_size(looking, KNOWN, looks=3)
        found = {item.metric: item for item in detectable(looking, KNOWN, size.decisive.n_total, looks=3)}
        assert found[size.decisive.metric].rel == pytest.approx(0.05, rel=1e-4)
        assert found["reached"].abs < 0.008


def test_success_without_mde_has_no_say_and_is_told():
    found = plan_sample_size(plan(success=[(ORDERED, MDE(rel=0.05)), (SPENT, None)]), KNOWN)
    assert "spent" not in {item.metric for item in found.per_metric}
    assert found.corrections.alpha_success == 0.025
    assert str(found).endswith("decided by ordered (success, treatment)")
    assert found.to_dict()["corrections"]["alpha_success"] == 0.025


def test_a_roll_out_needs_no_success_metric():
    found = plan_sample_size(plan(success=[]), KNOWN)
    assert found.decisive.metric == "reached" and found.corrections.alpha_success is None


def test_refuses():
    with pytest.raises(UnknownNameError, match="baseline of metric == 'spent'"):
        plan_sample_size(plan(success=[(SPENT, MDE(rel=0.1))]), Baseline({"reached": MetricBaseline(0.8)}))
    with pytest.raises(InvalidInputError, match=r"share of 'ordered' at its MDE == 1\.1, must be in \(0, 1\)"):
        plan_sample_size(plan(success=[(ORDERED, MDE(abs=1.0))]), KNOWN)
    with pytest.raises(InvalidInputError, match="margins == 0, must be at least one"):
        plan_sample_size(plan(success=[ORDERED], guardrail=[]), KNOWN)
    with pytest.raises(InvalidInputError, match="looks"):
        plan_sample_size(plan(monitoring=GroupSequential()), KNOWN)
    with pytest.raises(InvalidInputError, match=r"power == 0\.01, must be > alpha"):
        units_needed(1.0, variance_control=1.0, variance_treatment=1.0, alpha=0.05, power=0.01, **HALVES)
    with pytest.raises(InvalidInputError, match=r"effect == 0\.0, must be a finite number > 0"):
        units_needed(0.0, variance_control=1.0, variance_treatment=1.0, alpha=0.05, power=0.8, **HALVES)
