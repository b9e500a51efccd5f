"""A plan can only be built right, survives YAML, and its digest moves with everything that matters."""

from __future__ import annotations

import pickle
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.experiments import (
    MDE,
    NIM,
    Covariate,
    ExperimentPlan,
    FixedHorizon,
    GroupSequential,
    Metric,
    PreExposureBias,
    SampleRatio,
    Window,
)

ORDERS = Metric("orders_7d", "mean", "orders", window=Window(7), covariates=("orders_pre28",), winsorize=0.999)
REACH = Metric("reach_28d", "proportion", "reachable", window=Window(28))
ROUTE = Metric("revenue_per_order", "ratio", "revenue", "orders_n")


def plan(**changes: Any) -> ExperimentPlan:
    fields: dict[str, Any] = {
        "name": "greeting",
        "success": [(ORDERS, MDE(rel=0.02))],
        "guardrail": [(REACH, NIM(abs=0.005))],
        "deterioration": [ROUTE],
        "quality": [SampleRatio(), PreExposureBias()],
        "variants": {"control": 0.5, "warm": 0.25, "bold": 0.25},
    }
    return ExperimentPlan(**(fields | changes))


def test_what_a_plan_knows() -> None:
    made = plan()
    assert made.control == "control" and made.treatments == ("warm", "bold")
    assert made.roles == {
        "orders_7d": "success",
        "reach_28d": "guardrail",
        "revenue_per_order": "deterioration",
    }
    assert made.covariates == (Covariate("orders_pre28", days=28),)
    assert made.metric("reach_28d") is REACH
    assert made.margins == {"orders_7d": MDE(rel=0.02), "reach_28d": NIM(abs=0.005)}


def test_yaml_gives_the_same_plan_back(tmp_path: Path) -> None:
    made = plan(control="warm", strata="country", planned_size=10_000)
    made.to_yaml(tmp_path / "plan.yaml")
    read = ExperimentPlan.from_yaml(tmp_path / "plan.yaml")
    assert read == made and read.digest == made.digest


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.1},
        {"planned_size": 5},
        {"salt": "x"},
        {"quality": ()},
        {"control": "warm"},
        {"success": [(replace(ORDERS, winsorize=None), MDE(rel=0.02))]},
        {"success": [(ORDERS, MDE(rel=0.03))]},
        {"variants": {"control": 0.5, "bold": 0.25, "warm": 0.25}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_moves_with_the_plan(change: dict[str, Any]) -> None:
    assert plan(**change).digest != plan().digest and plan(**change) != plan()


def test_a_digest_is_of_values_however_they_are_written() -> None:
    one = plan(planned_size=6000, guardrail=[(REACH, NIM(abs=1))], monitoring=GroupSequential("obrien_fleming", 2))
    two = plan(planned_size=6000.0, guardrail=[(REACH, NIM(abs=1.0))], monitoring=GroupSequential(looks=2))
    assert one == two and hash(one) == hash(two) and one.digest == two.digest


def test_a_frozen_plan_has_every_field_so_that_a_default_may_change(tmp_path: Path) -> None:
    made = plan(monitoring=GroupSequential(), planned_size=100)
    told = made.to_dict()
    assert set(told) == {item.name for item in fields(ExperimentPlan)}
    assert set(told["success"][0]["metric"]) == {item.name for item in fields(Metric)}
    assert set(told["monitoring"]) == {"design", *(item.name for item in fields(GroupSequential))}
    assert [set(item) for item in told["quality"]] == [{"test", "sequential"}, {"test", "sequential", "covariates"}]
    defaults = {item.name: item.default for item in fields(ExperimentPlan) if item.default is not MISSING}
    assert told["alpha"] == defaults["alpha"] and told["name"] == "greeting"


def test_a_plan_cannot_be_changed_and_is_a_value() -> None:
    made = plan()
    with pytest.raises(TypeError, match="does not support item assignment"):
        made.variants["warm"] = 0.9  # type: ignore[index]
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 (its own bytes)
    assert again == made and {made: 1}[again] == 1
    assert ExperimentPlan(success=[ORDERS]).name == "experiment"


def test_a_time_of_measurement_that_one_metric_declares_holds_for_the_column() -> None:
    timed, plain = Covariate("x_pre7", 7, measured_at="at"), Covariate("x_pre7", 7)
    for one, two in ((timed, plain), (plain, timed)):
        metrics = [Metric(name, "mean", name, covariates=(item,)) for name, item in (("a", one), ("b", two))]
        assert ExperimentPlan(success=metrics).covariates == (timed,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": {"a": 1.0}}, "must be at least two"),
        ({"variants": {"a": 0.5, "b": 0.4}}, r"sum of variants == 0\.9, must be 1"),
        ({"control": "contrl"}, "Did you mean 'control'"),
        ({"deterioration": [ORDERS]}, "metric == 'orders_7d', must be in one role only"),
        ({"guardrail": [REACH]}, r"must be a pair of Metric and NIM"),
        ({"alpha": 1.5}, r"alpha == 1\.5, must be in \(0, 1\)"),
        ({"holdout": 1.0}, r"holdout == 1\.0, must be in \[0, 1\)"),
        (
            {"success": [(replace(REACH, name="ctr", diagnostic=True), None)]},
            "success metric == 'ctr', must not be a dia",
        ),
        (
            {"success": [(Metric("ctr", "ratio", "clicks", "Sends"), None)]},
            "success metric == 'ctr', must not be a dia",
        ),
        (
            {"deterioration": [replace(ORDERS, name="o2", covariates=(Covariate("reachable"),))]},
            "'reachable', must be from before exposure, but it is the outcome of metric 'reach_28d'",
        ),
        ({"cluster": "team", "deterioration": [Metric("p90", "quantile", "t", quantile=0.9)]}, "clustered"),
        ({"variants": {1: 0.5, 2: 0.5}}, "variant == 1, must be a non-empty string. In YAML, write it in quotes"),
        ({"variants": {False: 0.5, True: 0.5}}, "variant == False, must be a non-empty string"),
        ({"variants": ["control", "warm"]}, "must map names to shares"),
        ({"variants": None}, "variants == None, must map names to shares"),
        ({"holdout": None}, r"holdout == None, must be in \[0, 1\)"),
        ({"strata": ["country"]}, r"strata == \['country'\], must be a non-empty string"),
        ({"strata": "variant"}, "strata == 'variant', must be none of"),
        ({"salt": 5}, "salt == 5, must be text"),
        ({"planned_size": 6000.5}, r"planned_size == 6000\.5, must be a whole number >= 1"),
        ({"planned_size": True}, "planned_size == True, must be a whole number"),
        ({"monitoring": "group-sequential"}, r"monitoring == 'group-sequential', must be FixedHorizon\(…\) or"),
        ({"monitoring": FixedHorizon}, r"must be .* Write FixedHorizon\(\)"),
        ({"quality": ["sample_ratio"]}, r"quality\[0\] == 'sample_ratio', must be SampleRatio"),
        ({"quality": [SampleRatio]}, r"Write SampleRatio\(\)"),
        ({"quality": SampleRatio()}, "quality == .*, must be a list"),
        ({"deterioration": ["x"]}, r"deterioration\[0\] == 'x', must be Metric"),
        ({"success": ORDERS}, "success == .*, must be a list"),
        ({"alpha": 0.6}, r"alpha == 0\.6, must be < 0\.5: it is one-sided"),
        ({"success": [], "guardrail": []}, "deterioration == .*, must not be alone"),
        (
            {"deterioration": [replace(ORDERS, name="orders_3d", window=Window(3))]},
            "windows of 'orders_7d' and 'orders_3d' on column 'orders' == .*, must be the same",
        ),
        (
            {"deterioration": [Metric(n, "mean", n, covariates=(Covariate("z_pre7", measured_at=n),)) for n in "op"]},
            r"measured_at of covariate 'z_pre7' == \('o', 'p'\), must be one column",
        ),
    ],
)
def test_what_a_plan_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        plan(**change)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "ratio"}, "denominator of metric 'm' == None, must be given for kind 'ratio'"),
        ({"kind": "mean", "denominator": "n"}, "must not be given for kind 'mean'"),
        ({"kind": "proportion", "winsorize": 0.9}, "winsorize of metric 'm' == 0.9, must not be given"),
        ({"kind": "quantile", "quantile": 1.0}, r"must be in \(0, 1\)"),
        ({"kind": "men"}, "Did you mean 'mean'"),
        (
            {"kind": "mean", "covariates": ("orders_after",)},
            "covariate == 'orders_after', must be declared as measured",
        ),
        ({"kind": "mean", "covariates": (Covariate("x_pre7"), Covariate("x_pre7", 14))}, "'x_pre7' is there twice"),
        ({"kind": "mean", "window": 7}, "window of metric 'm' == 7, must be a Window"),
        ({"kind": "mean", "covariates": 7}, "covariates == 7, must be a list"),
        ({"kind": "ratio", "denominator": 7}, "denominator of metric 'm' == 7, must be a non-empty string"),
    ],
)
def test_what_a_metric_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        Metric(**({"name": "m", "numerator": "x"} | fields))


def test_a_covariate_that_reaches_past_exposure_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="end_day of covariate 'x' == 7, must be <= 0"):
        Covariate("x", days=28, end_day=7)


@pytest.mark.parametrize("margin", [{}, {"rel": 0.1, "abs": 1.0}, {"rel": 0.0}, {"abs": float("nan")}])
def test_a_margin_is_one_positive_number(margin: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=r"must have exactly one|must be a finite number > 0"):
        NIM(**margin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nvariants: {a: .5, b: .5}\nalfa: 1\n", r"plan.yaml: key == 'alfa'.*Did you mean 'alpha'"),
        ("name: a\n", "plan.yaml: variants == None, must be given"),
        ("name: a\nname: b\n", "'name' is there twice"),
        ("name: a\nvariants: {a: .5, b: .5}\nmonitoring: fixd-horizon\n", "Did you mean 'fixed-horizon'"),
        (
            "name: a\nvariants: {a: .5, b: .5}\nsuccess: [{metric: {name: m, kind: mean, numeratr: x}}]\n",
            r"success\[0\]\.metric: key == 'numeratr'.*Did you mean 'numerator'",
        ),
        ("name: a\nvariants: {a: .5, b: .5}\nquality: [{test: srm}]\n", "sample_ratio"),
        ("name: a\nvariants: {off: .5, on: .5}\n", "^plan.yaml: variant == False, must be a non-empty string"),
        ("name: a\nvariants: {a: .5, b: .5}\nholdout: none\n", "^plan.yaml: holdout == 'none', must be in"),
        ("name: a\nvariants: {a: .5, b: .5}\nmonitoring:\n", "^plan.yaml.monitoring == None, must have the key"),
        ("name: a\nvariants: {a: .5, b: .5}\nadjustment: pool\n", "^plan.yaml: adjustment == 'pool'.*'pooled'"),
        (
            "name: a\nvariants: {a: .5, b: .5}\n"
            "success: [{metric: {name: m, kind: mean, numerator: x}, mde: {rel: 0}}]\n",
            r"^plan.yaml.success\[0\].mde: MDE == 0, must be",
        ),
        (
            "name: a\nvariants: {a: .5, b: .5}\nsuccess: [{metric: {name: m, kind: men, numerator: x}}]\n",
            r"^plan.yaml.success\[0\].metric: kind of metric 'm' == 'men'",
        ),
    ],
)
def test_what_yaml_refuses(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        ExperimentPlan.from_yaml(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"spending": ["pocock"]}, "must be one of 'hsd'"),
        ({"looks": None}, "looks == None, must be 'daily', a whole number or fractions"),
        ({"spending": "power", "parameter": "2"}, "parameter == '2', must be a number"),
    ],
)
def test_what_a_design_of_several_looks_refuses(given: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        GroupSequential(**given)


def test_windows_are_whole_days_after_exposure() -> None:
    assert Window(7, start_day=14).matures_after == 21
    with pytest.raises(InvalidInputError, match="window days == 0, must be a whole number >= 1"):
        Window(0)
    with pytest.raises(InvalidInputError, match="start_day == -1"):
        Window(1, start_day=-1)
