"""The ship decision: from scorecards with known z-paths, and from data."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from homing.errors import InvalidInputError
from homing.estimates import Estimate
from homing.experiments import (
    MDE,
    NIM,
    Comparison,
    ComparisonPath,
    ConfidenceSequence,
    ExperimentPlan,
    FixedHorizon,
    GroupSequential,
    Metric,
    OneSidedTest,
    QualityResult,
    SampleRatio,
    Scorecard,
    SufficientStatistics,
    analyze,
    decompose,
)
from homing.experiments.certify import simulate_power
from homing.experiments.decision import decide
from homing.experiments.plan_model import PlanModel
from homing.experiments.rule import FUTILITY, HARM, SHIP, VERDICTS, judge_looks

ORDERS, REACHED, LATENCY = (Metric(name, "mean", name) for name in ("orders", "reached", "latency"))
TESTS = {"superior": {"success"}, "non_inferior": {"guardrail"}, "inferior": {"success", "guardrail", "deterioration"}}


def make_plan(**changes) -> ExperimentPlan:
    defaults = {
        "success": [(ORDERS, MDE(abs=1.0))],
        "guardrail": [(REACHED, NIM(abs=1.0))],
        "deterioration": [LATENCY],
        "variants": {"control": 0.5, "warm": 0.5},
        "monitoring": GroupSequential(looks=4),
        "planned_size": 4000,
    }
    return ExperimentPlan("greeting", **(defaults | changes))


def card(plan, paths, information=(0.25, 0.5, 0.75, 1.0), *, design=2.9, srm=0.5) -> Scorecard:
    """A scorecard whose estimates have these z-paths, of which 0 is no difference.

    Args:
        plan: with margins of 1, so that at the planned end a margin is `design` standard errors.
        paths: z by metric, or by metric and treatment; others are 0 throughout.
        information: of each look.
        design: see there.
        srm: the sample ratio's p-value.
    """
    t = np.asarray(information, dtype=float)
    std_error = 1.0 / (design * np.sqrt(t))
    rates = plan.corrections
    alphas = {
        "superior": rates.alpha_success,
        "non_inferior": rates.alpha_guardrail,
        "inferior": rates.alpha_deterioration,
    }
    comparisons = []
    for metric in plan.metrics:
        for treatment in plan.treatments:
            given = paths.get((metric.name, treatment), paths.get(metric.name, np.zeros(len(t))))
            z = np.asarray(given, dtype=float)
            oriented = {"superior": z, "non_inferior": z + 1.0 / std_error, "inferior": -z}
            tests, critical = {}, {}
            for name, roles in TESTS.items():
                if plan.roles[metric.name] in roles:
                    bound = plan.monitoring.critical(t, alphas[name])
                    crossed = bool((oriented[name] >= bound).any())
                    critical[name] = bound
                    tests[name] = OneSidedTest(0.5, 0.5, alphas[name], bound[-1], oriented[name][-1], crossed)
            value = z * std_error
            path = ComparisonPath(
                n=(t * 4000).astype(np.int64),
                information=t,
                value=value,
                std_error=std_error,
                lower=value,
                upper=value,
                z={name: oriented[name] for name in tests},
                critical=critical,
            )
            estimate = Estimate(value[-1], std_error[-1], value[-1] - 1, value[-1] + 1, 0.9, 1000)
            comparisons.append(
                Comparison(
                    metric=metric,
                    role=plan.roles[metric.name],
                    treatment=treatment,
                    control=plan.control,
                    difference=estimate,
                    relative=None,
                    values={plan.control: estimate, treatment: estimate},
                    sign=1,
                    n={plan.control: 1, treatment: 1},
                    information_fraction=float(t[-1]),
                    margin=1.0 if plan.roles[metric.name] == "guardrail" else None,
                    superior=tests.get("superior"),
                    non_inferior=tests.get("non_inferior"),
                    inferior=tests["inferior"],
                    path=path,
                )
            )
    quality = tuple(
        QualityResult(
            "sample_ratio", srm, rates.alpha_quality, srm <= rates.alpha_quality, "units", np.full(len(t), srm)
        )
        for _ in plan.quality
    )
    n = {name: int(share * t[-1] * 4000) for name, share in plan.variants.items()}
    looks = tuple(str(day) for day in range(len(t)))
    return Scorecard(plan.digest, looks[-1], len(t), looks, n, tuple(comparisons), quality)


def test_ships_and_names_every_adjustment():
    plan = make_plan()
    decision = decide(card(plan, {"orders": [1, 2, 2.5, 2.8], "reached": [0, 0, 0, 0.1]}), plan)
    assert (decision.verdict, decision.treatment, decision.more_units) == ("ship", "warm", 0)
    text = str(decision)
    assert text.startswith("ship: warm\nwarm ships: orders is superior (z 2.5 >= ")
    assert "at look 3, information 0.75); 1 guardrail non-inferior; none of 3 metrics is inferior." in text
    assert [item.name for item in decision.adjustments] == [
        "alpha_success",
        "alpha_guardrail",
        "alpha_deterioration",
        "alpha_quality",
        "beta",
    ]
    for item in decision.adjustments:
        assert item.sentence[1:] in text
    assert "Look 4, group-sequential monitoring, information 1.00: superiority needs z >= " in text
    json.dumps(decision.to_dict(), allow_nan=False)


def test_a_rejection_stands_until_the_guardrail_follows():
    """Superior at the second look only; the guardrail passes at the end."""
    plan = make_plan()
    early = {"orders": [0, 3.2, 1, 1], "reached": [0, -0.5, -0.5, -0.5]}
    assert decide(card(plan, {k: v[:2] for k, v in early.items()}, (0.25, 0.5)), plan).verdict == "continue"
    assert decide(card(plan, early), plan).verdict == "ship"


def test_continues_and_says_how_much_is_missing():
    plan = make_plan()
    decision = decide(card(plan, {"orders": [1.0, 1.2]}, (0.25, 0.5)), plan)
    assert (decision.verdict, decision.treatment, decision.more_units) == ("continue", None, 2000)
    assert decision.reasons[0].startswith("warm is open: no success metric is superior (nearest: orders, z 1.2 of ")
    assert "reached is not non-inferior (z 2.05 of " in decision.reasons[0]
    assert "2,000 more units have to be exposed. It ships by then with probability of at most " in decision.reasons[0]


def test_stops_for_harm_at_any_look_and_for_good():
    plan = make_plan()
    decision = decide(card(plan, {"orders": [3, 6], "latency": [0, -5.5]}, (0.25, 0.5)), plan)
    assert decision.verdict == "stop-harm" and decision.treatment is None
    assert decision.reasons[0].startswith("warm is stopped for harm: latency is inferior, ")
    assert "at look 2, information 0.50" in decision.reasons[0]
    recovered = card(plan, {"orders": [3, 6, 9, 9], "latency": [0, -5.5, 0, 1]})
    assert decide(recovered, plan).verdict == "stop-harm"


def test_gives_up_what_neither_design_nor_data_supports():
    """Half way at z = -2.5: as designed z ends at -2.5 √.5 + 2.9 / 2 = -.32 of 1.6, with standard deviation √.5."""
    plan = make_plan()
    decision = decide(card(plan, {"orders": [-1, -2.5]}, (0.25, 0.5)), plan)
    assert decision.verdict == "stop-futility"
    assert 0.001 < decision.treatments[0].chance < 0.01
    assert "whether effects are as designed for or as estimated" in decision.reasons[0]


@pytest.mark.parametrize(
    ("paths", "missing"),
    [
        ({"orders": [0, 1, 1, 1.2]}, "no success metric is superior (nearest: orders, z 1.2 of "),
        ({"orders": [0, 1, 2, 3], "reached": [-1.5] * 4}, "reached is not non-inferior (z 1.4 of "),
    ],
    ids=["no gain", "guardrail"],
)
def test_ends_without_shipping(paths, missing):
    plan = make_plan()
    decision = decide(card(plan, paths), plan)
    assert decision.verdict == "stop-futility"
    assert decision.reasons[0].startswith("warm does not ship: the planned information is reached, and ")
    assert missing in decision.reasons[0]


@pytest.mark.parametrize("monitoring", [GroupSequential(looks=4), GroupSequential(), FixedHorizon()])
def test_running_over_gives_no_more_chances(monitoring):
    """What crosses after the look with all of the planned information does not count, in either direction."""
    plan = make_plan(monitoring=monitoring)
    t = (0.5, 1.1, 1.5, 2.0)
    late = decide(card(plan, {"orders": [0, 1.0, 9, 9]}, t), plan)
    assert late.verdict == "stop-futility"
    assert any("was reached at look 2 and stays frozen" in reason for reason in late.reasons)
    shipped = decide(card(plan, {"orders": [0, 3.0, -9, -9], "reached": [0, 0, -9, -9]}, t), plan)
    assert (shipped.verdict, shipped.treatment) == ("ship", "warm")


def test_a_sequence_without_an_end_goes_on():
    """Nothing is final, nothing futile; with a planned size, four times n_star, its end comes there."""
    paths = {"orders": [-1, -2.0, -2.0, 1.0]}
    t = (0.25, 0.5, 1.0, 2.0)
    endless = make_plan(monitoring=ConfidenceSequence(n_star=1000), planned_size=None)
    decision = decide(card(endless, paths, t), endless)
    assert decision.verdict == "continue" and decision.treatments[0].chance == 1.0
    planned = make_plan(monitoring=ConfidenceSequence(n_star=1000), planned_size=4000)
    assert decide(card(planned, {"orders": [1.0] * 4}, t), planned).verdict == "continue"
    assert decide(card(planned, {"orders": [1.0] * 4}, (1.0, 2.0, 3.0, 4.0)), planned).verdict == "stop-futility"


def test_an_invalid_experiment_says_what_to_do():
    plan = make_plan()
    decision = decide(card(plan, {"orders": [9, 9, 9, 9]}, srm=1e-6), plan)
    assert decision.verdict == "invalid" and decision.treatment is None
    assert decision.reasons[0].startswith("sample_ratio rejects at 0.001: units. Find where units are lost")
    assert decision.treatments[0].reasons == ("warm is not judged: sample_ratio rejects.",)


class TestSeveralTreatments:
    plan = make_plan(variants={"control": 0.4, "a": 0.2, "b": 0.2, "c": 0.2})
    safe = {("reached", name): [0, 0] for name in "abc"}

    def test_each_is_judged_by_itself(self):
        paths = {("orders", "a"): [1, 1.5], ("orders", "b"): [5, 6], ("orders", "c"): [0, -6], ("reached", "b"): [2, 3]}
        decision = decide(card(self.plan, paths, (0.25, 0.5)), self.plan)
        assert (decision.verdict, decision.treatment) == ("ship", "b")
        assert [item.verdict for item in decision.treatments] == ["continue", "ship", "stop-harm"]
        assert decision.reasons[0].startswith("b ships: ")
        assert any("3 treatments share alpha" in reason for reason in decision.reasons)

    def test_harm_in_one_does_not_stop_the_others(self):
        decision = decide(card(self.plan, {("orders", "c"): [0, -6]}, (0.25, 0.5)), self.plan)
        assert decision.verdict == "continue"
        assert any(reason.startswith("c is stopped for harm") for reason in decision.reasons)

    def test_of_several_that_may_ship_one_is_named(self):
        paths = {("orders", "a"): [0, 0, 0, 4.0], ("orders", "c"): [0, 0, 0, 4.5]}
        decision = decide(card(self.plan, paths), self.plan)
        assert (decision.verdict, decision.treatment) == ("ship", "c")
        assert any(reason.startswith("a and c may ship; c is named") for reason in decision.reasons)


def test_a_roll_out_that_must_only_do_no_harm():
    plan = make_plan(success=[], quality=())
    assert decide(card(plan, {"reached": [0, 0, 0, 0]}), plan).verdict == "ship"
    assert decide(card(plan, {"reached": [-1.5] * 4}), plan).verdict == "stop-futility"


def test_a_plan_without_guardrails():
    plan = make_plan(guardrail=[])
    assert decide(card(plan, {"orders": [0, 0, 0, 2.9]}), plan).verdict == "ship"
    assert decide(card(plan, {"orders": [0, 0, 0, 1.0]}), plan).verdict == "stop-futility"


def test_refuses_the_scorecard_of_another_plan():
    with pytest.raises(InvalidInputError, match=r"plan digest of the scorecard == .* it is of another plan"):
        decide(card(make_plan(), {}), make_plan(alpha=0.1))


def test_says_the_same_as_the_rule_that_certifies(rng):
    """15 random paths, drifting all ways: the verdict at every look is that of simulated experiments (one rule)."""
    plan = make_plan(variants={"control": 0.5, "a": 0.3, "b": 0.2})
    t = np.array([0.25, 0.5, 0.75, 1.0])
    model = PlanModel(plan, plan.corrections, t, {}, plan.treatments, None)
    design = 2.9
    model.design = np.where(np.isfinite(model.design), design, model.design)
    steps = rng.normal(size=(15, 4, 2, 3)) * 0.5 + rng.normal(scale=2.0, size=(15, 1, 2, 3)) * 0.25
    z = steps.cumsum(axis=1) / np.sqrt(t)[:, None, None]
    codes = judge_looks(*model.paths(z), np.zeros((15, 4), dtype=bool))
    assert {SHIP, HARM, FUTILITY} <= set(codes.ravel().tolist())
    for number in range(15):
        for look in (2, 4):
            paths = {
                (metric.name, treatment): z[number, :look, row, column]
                for column, metric in enumerate(plan.metrics)
                for row, treatment in enumerate(plan.treatments)
            }
            found = decide(card(plan, paths, t[:look], design=design), plan)
            assert [item.verdict for item in found.treatments] == [VERDICTS[code] for code in codes[number, look - 1]]


class TestFromData:
    """4,000 units over 8 days; O'Brien-Fleming daily; the margin of `reached` is wide."""

    plan = make_plan(
        success=[(ORDERS, MDE(rel=0.1))],
        guardrail=[(REACHED, NIM(rel=0.1))],
        deterioration=[],
        monitoring=GroupSequential(),
        quality=(SampleRatio(),),
    )

    def decided(self, rng, *, gain=0.0, loss=0.0, share=0.5, days=8):
        warm = rng.random(4000) < share
        frame = pl.DataFrame(
            {
                "user_id": np.arange(4000),
                "variant": np.where(warm, "warm", "control"),
                "exposed_at": np.arange(4000) * 8 // 4000,
                "orders": rng.poisson(1.0 + gain * warm),
                "reached": (rng.random(4000) < 0.9 - loss * warm).astype(int),
            }
        ).filter(pl.col("exposed_at") < days)
        return decide(analyze(SufficientStatistics.from_frame(frame, self.plan), self.plan), self.plan)

    def test_a_gain_ships_early(self, rng):
        decision = self.decided(rng, gain=0.4, days=4)
        assert (decision.verdict, decision.treatment, decision.more_units) == ("ship", "warm", 2000)

    def test_a_loss_stops(self, rng):
        assert self.decided(rng, loss=0.25, days=4).verdict == "stop-harm"

    def test_nothing_ends_without_shipping(self, rng):
        assert self.decided(rng).verdict in ("stop-futility", "continue")

    def test_lost_units_are_noticed(self, rng):
        decision = self.decided(rng, gain=0.4, share=0.4)
        assert decision.verdict == "invalid"
        assert "units by variant: control" in decision.reasons[0]


def test_a_certificate_of_the_plan_promises_its_power(rng):
    """Two treatments share α and the control; the plan's power is .8, and the bound on the dependence is not tight."""
    plan = make_plan(variants={"control": 0.5, "a": 0.25, "b": 0.25})
    found = simulate_power(plan, rng=rng, n=2000, information=4, treatments=["a"])
    assert found.ship_each["a"].value > 0.8 - 4 * 0.009
    assert found.ship_each["b"].value < 0.05


def test_what_is_no_scorecard_is_refused():
    with pytest.raises(InvalidInputError, match="type of scorecard == 'DataFrame', must be Scorecard"):
        decide(pl.DataFrame(), make_plan())
    with pytest.raises(InvalidInputError, match="type of plan == 'dict', must be ExperimentPlan"):
        decide(pl.DataFrame(), {})
    with pytest.raises(InvalidInputError, match="type of baseline == 'dict', must be Baseline"):
        make_plan().sample_size({})
    with pytest.raises(InvalidInputError, match=r"by == 'country', must be a list of columns. Write by=\['country'\]"):
        decompose({}, ORDERS, "mix_rate", by="country")
