"""Operating characteristics of plans: the rule's promises by simulation, at every structure that is claimed.

Shares of N experiments lie within 3.9 standard errors of their expectation but for one seed in 10,000: tolerances are
as wide beyond what is promised (5 % false ships, 80 % power).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.experiments import (
    MDE,
    NIM,
    ConfidenceSequence,
    ExperimentPlan,
    FixedHorizon,
    GroupSequential,
    Metric,
    PreExposureBias,
    SampleRatio,
    Window,
)
from homing.experiments.baseline import Baseline, MetricBaseline
from homing.experiments.certificate import share
from homing.experiments.certify import simulate_aa, simulate_aa_on, simulate_power
from homing.experiments.corrections import Corrections
from homing.experiments.draws import correlations, shared_control, z_paths
from homing.experiments.rule import rejected_so_far

N = 3000
#: 3.9 standard errors of a share of .05, and of one of .8, of N experiments.
NEAR_05, NEAR_80 = 3.9 * 0.00398, 3.9 * 0.0073


def make_plan(success=5, guardrails=5, deterioration=2, treatments=1, **changes) -> ExperimentPlan:
    def metric(name: str) -> Metric:
        return Metric(name, "mean", name)

    share = 1.0 / (treatments + 1)
    defaults = {
        "success": [(metric(f"s{i}"), MDE(rel=0.02)) for i in range(success)],
        "guardrail": [(metric(f"g{i}"), NIM(rel=0.01)) for i in range(guardrails)],
        "deterioration": [metric(f"d{i}") for i in range(deterioration)],
        "quality": (SampleRatio(), PreExposureBias(("seen_pre28",))),
        "variants": {"control": 1.0 - share * treatments} | {f"t{i}": share for i in range(treatments)},
    }
    return ExperimentPlan("certified", **(defaults | changes))


def together(plan: ExperimentPlan, *roles: str) -> np.ndarray:
    """Metrics of these roles correlated by .99, others independent."""
    inside = np.array([role in roles for role in plan.roles.values()])
    return np.where(np.eye(len(inside)) == 1.0, 1.0, 0.99 * np.outer(inside, inside))


STRUCTURES = {
    "independent": (),
    "success": ("success",),
    "guardrails": ("guardrail",),
    "all": ("success", "guardrail", "deterioration"),
}


@pytest.mark.parametrize("monitoring", [FixedHorizon(), GroupSequential(looks=4)], ids=["fixed", "sequential"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_rule_keeps_its_rates(structure, monitoring, rng):
    """5 success metrics, 5 guardrails, 2 more, 2 quality tests: false ships <= .05; power >= .8 with one gain."""
    plan = make_plan(monitoring=monitoring)
    more = {"rng": rng, "n": N, "information": 4, "correlation": together(plan, *STRUCTURES[structure])}
    assert simulate_aa(plan, **more).ship.value <= 0.05 + NEAR_05
    assert simulate_power(plan, effects={"s0": 1.0}, **more).ship.value >= 0.8 - NEAR_80
    assert simulate_power(plan, **more).ship.value >= 0.8 - NEAR_80


def test_uncorrected_fails_visibly(rng):
    """Every test at its plain level, sized at .8 each: power is about .26, false ships up to .16."""
    plan = make_plan()
    plain = Corrections(0.05, 0.05, 0.01, 0.01, 0.2, ())
    more = {"rng": rng, "n": N, "information": [1.0], "corrections": plain}
    assert simulate_power(plan, effects={"s0": 1.0}, **more).ship.value < 0.4
    null = simulate_power(plan, effects={}, correlation=together(plan, "guardrail"), **more)
    assert null.ship.lower > 0.1


@pytest.mark.parametrize("treatments", [1, 2, 4])
@pytest.mark.parametrize("monitoring", [FixedHorizon(), GroupSequential(looks=4)], ids=["fixed", "sequential"])
def test_treatments_at_a_margin(treatments, monitoring, rng):
    """Every treatment gains for certain and lies at one guardrail's margin: that some ships is false, at most .05."""
    plan = make_plan(1, 2, 0, treatments, monitoring=monitoring, quality=())
    more = {"effects": {"s0": 3.0, "g0": -1.0, "g1": 1.0}, "rng": rng, "n": N, "information": 4}
    found = simulate_power(plan, **more).ship
    assert 0.03 < found.value <= 0.05 + NEAR_05
    if treatments == 4:
        undivided = replace(plan.corrections, alpha_guardrail=0.05)
        assert simulate_power(plan, **(more | {"corrections": undivided})).ship.lower > 0.1


def test_running_over_to_twice_the_size_adds_nothing(rng):
    """The same 5 % at half as many more looks, up to twice the planned size."""
    plan = make_plan(1, 0, 0, monitoring=GroupSequential(), quality=())
    over = simulate_aa(plan, rng=rng, n=N, information=np.arange(1, 21) / 10)
    assert over.superior["s0"].value == pytest.approx(0.05, abs=NEAR_05)
    assert over.information <= 1.0


@pytest.mark.parametrize("design", [GroupSequential(), ConfidenceSequence(), None], ids=["group", "sequence", "naive"])
def test_one_metric_at_thirty_looks(design, rng):
    """Two-sided .05 on A/A paths: .05 for group-sequential, no more for a sequence, above .25 without correction."""
    t = np.arange(1, 31) / 30
    bound = np.full(30, 1.96) if design is None else design.critical(t, 0.05, 2)
    z = np.abs(z_paths(N, t, rng))
    found = rejected_so_far(z, bound[:, None, None])[:, -1].mean()
    if design is None:
        assert found > 0.25
    elif isinstance(design, GroupSequential):
        assert found == pytest.approx(0.05, abs=NEAR_05)
    else:
        assert found <= 0.05 + NEAR_05


def test_metrics_with_more_than_they_ask_for_pass_more_often(rng):
    """With the sizes of a baseline the guardrail has far more than its power, so the success metric alone decides."""
    plan = make_plan(1, 1, 0, quality=())
    known = Baseline({"s0": MetricBaseline(1.0, 4.0), "g0": MetricBaseline(1.0, 0.01)})
    size = plan.sample_size(known)
    assert size.decisive.metric == "s0"
    tight = simulate_power(plan, rng=rng, n=N, information=[1.0]).ship.value
    loose = simulate_power(plan, rng=rng, n=N, information=[1.0], size=size).ship.value
    assert tight == pytest.approx((1 - plan.corrections.beta) ** 2, abs=NEAR_80)
    assert loose == pytest.approx(1 - plan.corrections.beta, abs=NEAR_80)


@pytest.mark.slow
def test_a_sequence_tuned_at_other_units_has_its_power_too(rng):
    """n_star is where bounds are tightest, not where the experiment ends: half of the planned size, here."""
    plan = make_plan(1, 0, 0, monitoring=ConfidenceSequence(n_star=15_000), quality=())
    size = plan.sample_size(Baseline({"s0": MetricBaseline(1.0, 1.0)}), looks=10)
    assert size.n_total > 25_000
    found = simulate_power(plan, rng=rng, n=N, information=10, size=size)
    assert found.ship.value == pytest.approx(1 - plan.corrections.beta, abs=NEAR_80)
    with pytest.raises(InvalidInputError, match="size == None, must be given where bounds count units"):
        simulate_power(plan, rng=rng)


def test_harm_is_stopped_early(rng):
    plan = make_plan(1, 1, 1, monitoring=GroupSequential(), quality=())
    found = simulate_power(plan, rng=rng, n=500, information=10, effects={"d0": -8.0})
    assert found.verdicts["stop-harm"] > 0.95 and found.information < 0.8
    assert sum(found.verdicts.values()) == pytest.approx(1.0)


def test_quality_tests_are_invalid_at_their_level(rng):
    plan = make_plan(1, 1, 0, alpha_quality=0.05, alpha_deterioration=0.19, power=0.8)
    level = plan.corrections.alpha_quality
    assert level == pytest.approx(0.19 / 4)
    found = simulate_aa(plan, rng=rng, n=N, information=[1.0]).verdicts["invalid"]
    assert found == pytest.approx(1 - (1 - level) ** 2, abs=3.9 * np.sqrt(level * 2 / N))


@pytest.mark.slow
def test_real_units_keep_the_rate_too(rng):
    """Ten alike units a team, assigned by team, and the same units one by one; 3.9 standard errors of 200 are .06."""
    teams = np.repeat(np.arange(80), 10)
    history = {"team": teams.astype(str), "seen": rng.normal(size=80)[teams] + 0.1 * rng.normal(size=800)}
    seen = Metric("seen", "mean", "seen", window=Window(7))
    by_unit = ExperimentPlan("teams", success=[(seen, MDE(rel=0.1))], quality=())
    for plan in (by_unit, replace(by_unit, cluster="team"), by_unit.sized(2000)):
        found = simulate_aa_on(plan, history, rng=rng, n=200, looks=2)
        assert found.ship.value <= 0.05 + 0.06
        assert found.n == 200 and set(found.superior) == {"seen"}
    with pytest.raises(SupportError, match="units of the history == 800, must be >= 900"):
        simulate_aa_on(by_unit, history, rng=rng, looks=900)


def test_paths_have_the_correlations_asked_for(rng):
    """Correlation √(t_1 / t_2) over looks, .6 between metrics, and that of the shared control between treatments."""
    plan = make_plan(1, 1, 0, 2, quality=())
    t = np.array([0.25, 1.0])
    z = z_paths(40_000, t, rng, metrics=correlations(0.6, 2), treatments=shared_control(plan))
    found = np.corrcoef(z.reshape(40_000, -1).T).reshape(2, 2, 2, 2, 2, 2)
    assert found[0, 0, 0, 1, 0, 0] == pytest.approx(0.5, abs=0.02)
    assert found[1, 0, 0, 1, 0, 1] == pytest.approx(0.6, abs=0.02)
    assert shared_control(plan)[0, 1] == pytest.approx(0.5)
    assert found[1, 0, 0, 1, 1, 0] == pytest.approx(0.5, abs=0.02)
    assert found[0, 0, 0, 1, 1, 1] == pytest.approx(0.5 * 0.6 * 0.5, abs=0.02)


def test_shares_have_exact_intervals():
    found = share(7, 50)
    assert (found.lower, found.upper) == pytest.approx((beta.ppf(0.025, 7, 44), beta.ppf(0.975, 8, 43)), abs=1e-12)
    assert share(0, 50).lower == 0.0 and share(50, 50).upper == 1.0


def test_refuses(rng):
    plan = make_plan(1, 1, 0)
    with pytest.raises(UnknownNameError, match="metric == 'x'"):
        simulate_power(plan, rng=rng, effects={"x": 1.0})
    with pytest.raises(UnknownNameError, match="treatment == 'x'"):
        simulate_power(plan, rng=rng, treatments=["x"])
    with pytest.raises(InvalidInputError, match="must be a correlation matrix"):
        simulate_aa(plan, rng=rng, correlation=[[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(InvalidInputError, match=r"correlation.shape == \(3, 3\), must be \(2, 2\)"):
        simulate_aa(plan, rng=rng, correlation=np.eye(3))
    with pytest.raises(InvalidInputError, match=r"information == .* must grow from above 0"):
        simulate_aa(plan, rng=rng, information=[0.5, 0.5, 1.0])
