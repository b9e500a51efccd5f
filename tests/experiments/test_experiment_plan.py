"""A plan can only be built right, survives YAML, and its digest moves with everything that matters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.experiments import (
    MDE,
    NIM,
    Covariate,
    ExperimentPlan,
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
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_moves_with_the_plan(change: dict[str, Any]) -> None:
    assert plan(**change).digest != plan().digest


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
            {"deterioration": [replace(ORDERS, name="o2", covariates=(Covariate("reachable"),))]},
            "'reachable', must be from before exposure, but it is the outcome of metric 'reach_28d'",
        ),
        ({"cluster": "team", "deterioration": [Metric("p90", "quantile", "t", quantile=0.9)]}, "clustered"),
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
    ],
)
def test_what_yaml_refuses(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises((InvalidInputError, UnknownNameError), match=message):
        ExperimentPlan.from_yaml(tmp_path / "plan.yaml")


def test_windows_are_whole_days_after_exposure() -> None:
    assert Window(7, start_day=14).matures_after == 21
    with pytest.raises(InvalidInputError, match="window days == 0, must be a whole number >= 1"):
        Window(0)
    with pytest.raises(InvalidInputError, match="start_day == -1"):
        Window(1, start_day=-1)
