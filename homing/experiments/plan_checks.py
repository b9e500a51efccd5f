"""What a plan must be, told when it is built: types of fields, variants, and metrics that fit their roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe, unknown_name
from homing.experiments.metrics import MDE, NIM, Metric
from homing.experiments.monitoring import MONITORING
from homing.experiments.quality import PreExposureBias

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

_SUM_TOLERANCE = 1e-9
#: Columns that every table of exposures has for itself.
_TAKEN = ("variant", "exposed_at")


def pairs(items: Any, kind: type[MDE] | type[NIM], role: str) -> tuple[tuple[Metric, Any], ...]:
    """Pairs of metric and margin; a success metric alone has none."""
    return tuple(_pair(item, kind, role) for item in _listed(role, items))


def instances(what: str, items: Any, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """Items that each are an instance of one of some classes."""
    return tuple(_instance(f"{what}[{at}]", item, kinds) for at, item in enumerate(_listed(what, items)))


def check_types(plan: ExperimentPlan) -> None:
    """Names are text, the rest is what its field says: what YAML reads `off` or `5` as, and classes, are refused."""
    for field in ("name", "unit"):
        _text(f"experiment {field}" if field == "name" else field, getattr(plan, field))
    for field in ("salt", "control"):
        _text(field, getattr(plan, field), empty=True)
    for field in ("strata", "cluster", "layer"):
        if getattr(plan, field) is not None:
            _text(field, getattr(plan, field))
    for field in ("unit", "strata", "cluster"):
        if getattr(plan, field) in _TAKEN:
            step = "It is a column of its own: name another, known before exposure."
            raise InvalidInputError(describe(field, getattr(plan, field), f"must be none of {_TAKEN}", step))
    variants: Any = plan.variants
    if not isinstance(variants, Mapping):
        step = "Write {'control': 0.5, 'treatment': 0.5}."
        raise InvalidInputError(describe("variants", variants, "must map names to shares", step))
    for name in plan.variants:
        _text("variant", name)
    _instance("monitoring", plan.monitoring, tuple(MONITORING.values()))


def check_variants(variants: Mapping[str, float], control: str) -> None:
    """At least two, with shares that sum to 1, of which one is the control."""
    if len(variants) < 2:
        raise InvalidInputError(
            describe("variants", dict(variants), "must be at least two", "Name a control and a treatment.")
        )
    for name, share in variants.items():
        check_probability(f"share of variant {name!r}", share)
    total = sum(variants.values())
    if abs(total - 1.0) > _SUM_TOLERANCE:
        raise InvalidInputError(
            describe("sum of variants", total, "must be 1", "Units outside the experiment belong to no variant.")
        )
    if control and control not in variants:
        raise unknown_name("control", control, variants)


def check_error_rate(name: str, value: Any) -> float:
    """A one-sided error rate: from .5 on its test would reject without an effect."""
    if check_probability(name, value) >= 0.5:
        raise InvalidInputError(describe(name, value, "must be < 0.5: it is one-sided", "Usual is 0.05 or 0.01."))
    return float(value)


def check_share(name: str, value: Any) -> float:
    """A share that may be 0."""
    if not _is_number(value) or not 0.0 <= value < 1.0:
        raise InvalidInputError(describe(name, value, "must be in [0, 1)", "0 keeps nobody out."))
    return float(value)


def check_metrics(plan: ExperimentPlan) -> None:
    """Each metric once, in a role that it can have, over a window of its own columns, with covariates from before."""
    names = [metric.name for metric in plan.metrics]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError(
                describe(
                    "metric",
                    name,
                    "must be in one role only",
                    "Success and guardrail metrics are tested for deterioration without being named there.",
                )
            )
    for metric in plan.metrics:
        _check_role(metric, plan)
    _check_windows(plan.metrics)
    if plan.deterioration and not plan.success and not plan.guardrail:
        step = "A plan decides whether to ship: name what shall improve, or what must stay within a margin."
        bound = "must not be alone: there must be a success metric or a guardrail"
        raise InvalidInputError(describe("deterioration", names, bound, step))
    for test in plan.quality:
        if isinstance(test, PreExposureBias) and not (test.covariates or plan.covariates):
            raise InvalidInputError(
                describe("covariates of PreExposureBias", (), "must be at least one", "Name pre-exposure columns.")
            )
    _check_covariates(plan)


#: Columns that are by their names what was sent, or came of it: a rate per one of them is a diagnostic, told or not.
PER_SEND = frozenset(
    {"send", "sends", "sent", "delivered", "deliveries", "impressions", "messages", "opens", "opened", "notifications"}
)


def _check_role(metric: Metric, plan: ExperimentPlan) -> None:
    per_send = metric.kind == "ratio" and str(metric.denominator).lower() in PER_SEND
    if (metric.diagnostic or per_send) and plan.roles[metric.name] != "deterioration":
        raise InvalidInputError(
            describe(
                f"{plan.roles[metric.name]} metric",
                metric.name,
                "must not be a diagnostic: a rate per send has an effect of the treatment as denominator (whom "
                "one may still reach, what was sent) and can rise because the least interested left; a "
                "surrogate index decides nothing before it is validated",
                "Measure it over all randomised units, reachability as a guardrail; or validate the index.",
            )
        )
    if metric.kind == "quantile" and plan.cluster is not None:
        raise InvalidInputError(
            describe(
                f"kind of metric {metric.name!r}",
                "quantile",
                "must be another where units are clustered: its error would be that of independent units",
                "Take the share above a threshold as a proportion.",
            )
        )
    for covariate in metric.covariates:
        owner = next((item.name for item in plan.metrics if covariate.column in item.outcomes), None)
        if owner is not None:
            raise InvalidInputError(
                describe(
                    f"covariate of metric {metric.name!r}",
                    covariate.column,
                    f"must be from before exposure, but it is the outcome of metric {owner!r}",
                    "Take the same column from before each unit's exposure.",
                )
            )


def _check_windows(metrics: Iterable[Metric]) -> None:
    """A column holds what was counted over one window: over another it would be the same number, in silence."""
    first: dict[str, Metric] = {}
    for metric in metrics:
        for column in metric.outcomes:
            if metric.window is None:
                continue
            other = first.setdefault(column, metric)
            if other.window != metric.window:
                raise InvalidInputError(
                    describe(
                        f"windows of {other.name!r} and {metric.name!r} on column {column!r}",
                        (other.window, metric.window),
                        "must be the same: a column was counted over one window",
                        "Count each window into a column of its own.",
                    )
                )


def _check_covariates(plan: ExperimentPlan) -> None:
    """A column was measured at one time."""
    times: dict[str, str] = {}
    for item in plan.declared_covariates:
        if item.measured_at is not None and times.setdefault(item.column, item.measured_at) != item.measured_at:
            raise InvalidInputError(
                describe(
                    f"measured_at of covariate {item.column!r}",
                    (times[item.column], item.measured_at),
                    "must be one column",
                    "A covariate is measured once: name another column for another time.",
                )
            )


def check_made(name: str, value: Any, kind: type, step: str) -> None:
    """Refuse an argument of another class, by its class alone: it may be a table."""
    if not isinstance(value, kind):
        raise InvalidInputError(describe(f"type of {name}", type(value).__name__, f"must be {kind.__name__}", step))


def _pair(item: Any, kind: type[MDE] | type[NIM], role: str) -> tuple[Metric, Any]:
    if isinstance(item, Metric) and kind is MDE:
        return item, None
    if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Metric):
        metric, margin = item
        if isinstance(margin, kind) or (margin is None and kind is MDE):
            return metric, margin
    raise InvalidInputError(
        describe(
            f"{role} item",
            item,
            f"must be a pair of Metric and {kind.__name__}",
            f"Write (metric, {kind.__name__}(rel=0.02)).",
        )
    )


def _listed(what: str, items: Any) -> list[Any]:
    if not isinstance(items, Iterable) or isinstance(items, str | Mapping):
        raise InvalidInputError(describe(what, items, "must be a list", "Write [] for none."))
    return list(items)


def _instance(what: str, item: Any, kinds: tuple[type, ...]) -> Any:
    if not isinstance(item, kinds):
        names = " or ".join(f"{kind.__name__}(…)" for kind in kinds)
        step = f"Write {item.__name__}()." if isinstance(item, type) and item in kinds else ""
        raise InvalidInputError(describe(what, item, f"must be {names}", step))
    return item


def _text(what: str, value: Any, *, empty: bool = False) -> None:
    if not isinstance(value, str) or not (value or empty):
        bound = "must be text" if empty else "must be a non-empty string"
        step = "" if isinstance(value, str) else "In YAML, write it in quotes: off, yes and 5 are no text there."
        raise InvalidInputError(describe(what, value, bound, step))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
