"""`ExperimentPlan`: everything about an experiment that must be fixed before its first unit is exposed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import yaml

from homing.checks import check_count, check_one_of, check_probability
from homing.errors import InvalidInputError, UnknownNameError, unknown_name
from homing.experiments.assignment import Assignment, Layer
from homing.experiments.metrics import MDE, NIM, Covariate, Metric
from homing.experiments.monitoring import FixedHorizon, Monitoring
from homing.experiments.plain import ordered, read_yaml, to_plain
from homing.experiments.plan_checks import (
    check_error_rate,
    check_made,
    check_metrics,
    check_share,
    check_types,
    check_variants,
    instances,
    pairs,
)
from homing.experiments.plan_fields import read_fields
from homing.experiments.quality import PreExposureBias, Quality, SampleRatio

if TYPE_CHECKING:
    from homing.experiments.baseline import Baseline
    from homing.experiments.sample_size import SampleSize


@dataclass(frozen=True)
class ExperimentPlan:
    """An experiment: what is measured, on whom, and what will be decided how; frozen, with a digest.

    The four roles are those of the risk-aware rule (Schultzberg, Ankargren and Frånberg 2024, arXiv 2402.11609): a
    treatment ships if at least one success metric is superior, every guardrail is non-inferior, no metric is inferior
    and no quality test rejects. Success and guardrail metrics are tested for deterioration too, without being named
    there. The statistics of an experiment carry the digest of the plan that they were made for, and are not analysed
    under another: what is changed after the start, having seen the data, no longer keeps any error rate.

    Attributes:
        name: of the experiment; units are assigned by it (with `salt`).
        success: pairs of metric and the `MDE` that it is designed for (None: not part of the sample size).
        guardrail: pairs of metric and the `NIM` down to which it may fall.
        deterioration: metrics that must not get worse, with no margin.
        quality: `SampleRatio()`, `PreExposureBias()`.
        variants: planned shares by name, which sum to 1; the first is the control unless `control` names another.
        control: name of the control.
        unit: the column that is randomised, of which the data has one row each (or many, with `cluster`).
        alpha: one-sided, for success and guardrails.
        alpha_deterioration: one-sided, over all metrics together.
        alpha_quality: of each quality test.
        power: chance to ship a treatment that is as good as planned, for the whole rule.
        monitoring: when one may look: `FixedHorizon()`, `GroupSequential(…)`, `ConfidenceSequence(…)`, …
        strata: column known before exposure, for post-stratification.
        cluster: column that was randomised in the unit's place (team, market, market × day): variances are by cluster.
        adjustment: slopes of metrics on their covariates: of each variant's own, or one for all (see `adjusted`).
        salt: changes the assignment of the same units.
        layer: experiments of one layer never share a unit.
        holdout: share of units kept out, in [0, 1).
        planned_size: units in all variants at which the experiment is planned to end; frozen at the start.

    Raises:
        InvalidInputError: if a value is of another type or breaks its bound, a metric is named twice, two metrics take
            one column over different windows, a diagnostic metric would decide, or there is nothing to decide by.

    Example:
        >>> from homing.experiments import Window
        >>> visits = Metric("visits_7d", "mean", "visits", window=Window(7))
        >>> plan = ExperimentPlan("greeting", success=[(visits, MDE(rel=0.02))], variants={"control": 0.5, "warm": 0.5})
        >>> plan.control, plan.treatments, plan.roles["visits_7d"]
        ('control', ('warm',), 'success')
    """

    name: str = "experiment"
    success: tuple[tuple[Metric, MDE | None], ...] = ()
    guardrail: tuple[tuple[Metric, NIM], ...] = ()
    deterioration: tuple[Metric, ...] = ()
    quality: tuple[Quality, ...] = (SampleRatio(),)
    variants: Mapping[str, float] = field(default_factory=lambda: {"control": 0.5, "treatment": 0.5})
    control: str = ""
    unit: str = "user_id"
    alpha: float = 0.05
    alpha_deterioration: float = 0.01
    alpha_quality: float = 0.001
    power: float = 0.8
    monitoring: Monitoring = field(default_factory=FixedHorizon)
    strata: str | None = None
    cluster: str | None = None
    adjustment: Literal["per-variant", "pooled"] = "per-variant"
    salt: str = ""
    layer: str | None = None
    holdout: float = 0.0
    planned_size: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        put = object.__setattr__
        put(self, "success", pairs(self.success, MDE, "success"))
        put(self, "guardrail", pairs(self.guardrail, NIM, "guardrail"))
        put(self, "deterioration", instances("deterioration", self.deterioration, (Metric,)))
        put(self, "quality", instances("quality", self.quality, (SampleRatio, PreExposureBias)))
        check_variants(self.variants, self.control)
        put(self, "variants", MappingProxyType({name: float(share) for name, share in self.variants.items()}))
        put(self, "control", self.control or next(iter(self.variants)))
        check_metrics(self)
        for name in ("alpha", "alpha_deterioration"):
            put(self, name, check_error_rate(name, getattr(self, name)))
        for name in ("alpha_quality", "power"):
            put(self, name, check_probability(name, getattr(self, name)))
        check_one_of("adjustment", self.adjustment, ("per-variant", "pooled"))
        put(self, "holdout", check_share("holdout", self.holdout))
        if self.planned_size is not None:
            put(self, "planned_size", check_count("planned_size", self.planned_size, next_step="It counts units."))

    def __eq__(self, other: object) -> bool:
        """Equal where the digests are: the order of the variants counts."""
        return self.digest == other.digest if isinstance(other, ExperimentPlan) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        given = {item.name: getattr(self, item.name) for item in fields(self)} | {"variants": dict(self.variants)}
        return type(self), tuple(given.values())

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics: success, guardrail, deterioration."""
        return (
            *(metric for metric, _ in self.success),
            *(metric for metric, _ in self.guardrail),
            *self.deterioration,
        )

    @cached_property
    def roles(self) -> dict[str, str]:
        """`success`, `guardrail` or `deterioration` by metric name."""
        roles = dict.fromkeys((metric.name for metric, _ in self.success), "success")
        roles |= dict.fromkeys((metric.name for metric, _ in self.guardrail), "guardrail")
        return roles | dict.fromkeys((metric.name for metric in self.deterioration), "deterioration")

    @cached_property
    def margins(self) -> dict[str, MDE | NIM | None]:
        """The MDE of each success metric and the NIM of each guardrail, by metric name."""
        return {metric.name: margin for metric, margin in (*self.success, *self.guardrail)}

    @property
    def treatments(self) -> tuple[str, ...]:
        """Every variant but the control."""
        return tuple(name for name in self.variants if name != self.control)

    @property
    def covariates(self) -> tuple[Covariate, ...]:
        """Each column of `declared_covariates` once, by the declaration that says when it was measured, if one does."""
        found: dict[str, Covariate] = {}
        for item in self.declared_covariates:
            if item.column not in found or found[item.column].measured_at is None:
                found[item.column] = item
        return tuple(found.values())

    @property
    def declared_covariates(self) -> tuple[Covariate, ...]:
        """The covariates of the metrics, then of the quality tests, as they were declared."""
        asked = [item for metric in self.metrics for item in metric.covariates]
        asked += [item for test in self.quality if isinstance(test, PreExposureBias) for item in test.covariates]
        return tuple(asked)

    @cached_property
    def corrections(self) -> Any:
        """The error rate of each test, and how it came from the plan's.

        Raises:
            InvalidInputError: if there is neither success metric nor guardrail, or if vetoes alone cost the power.
        """
        from homing.experiments.corrections import correct

        return correct(
            success=len(self.success),
            guardrail=len(self.guardrail),
            deterioration=len(self.deterioration),
            quality=len(self.quality),
            treatments=len(self.treatments),
            alpha=self.alpha,
            alpha_deterioration=self.alpha_deterioration,
            alpha_quality=self.alpha_quality,
            power=self.power,
            looks=1 if isinstance(self.monitoring, FixedHorizon) else None,
        )

    def metric(self, name: str) -> Metric:
        """The metric of that name.

        Raises:
            UnknownNameError: if there is none.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise unknown_name("metric", name, [metric.name for metric in self.metrics])

    def sample_size(self, baseline: Baseline, *, looks: int | None = None) -> SampleSize:
        """The size at which the whole decision rule has its power: see `plan_sample_size`."""
        from homing.experiments.sample_size import plan_sample_size

        return plan_sample_size(self, baseline, looks=looks)

    def assign(self, unit_id: str | int, *, layer: Layer | None = None, traffic: float = 1.0) -> str | None:
        """The unit's variant, computed from its id alone; None where it takes no part. `Assignment` does many at once.

        Raises:
            InvalidInputError: if the plan names a layer and it is not passed.
        """
        return Assignment.of(self, layer=layer, traffic=traffic).variant(unit_id)

    def sized(self, planned_size: int) -> ExperimentPlan:
        """The plan with its planned size, to be set before the start."""
        return replace(self, planned_size=planned_size)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole plan, every field and the order of its variants: 64 hexadecimal digits."""
        text = json.dumps(ordered(self.to_dict()), separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML or JSON of every field, defaults too; `from_dict` gives an equal plan back."""
        data: dict[str, Any] = to_plain(self, whole=True)
        data["success"] = [_pair_to_plain(metric, "mde", margin) for metric, margin in self.success]
        data["guardrail"] = [_pair_to_plain(metric, "nim", margin) for metric, margin in self.guardrail]
        data["quality"] = [{"test": item.name} | to_plain(item, whole=True) for item in self.quality]
        data["monitoring"] = {"design": self.monitoring.name} | to_plain(self.monitoring, whole=True)
        return data

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "plan") -> ExperimentPlan:
        """Build from plain data; `source` names it in error messages.

        Raises:
            UnknownNameError: for an unknown key, with the nearest known one.
            InvalidInputError: if something is missing or breaks its bound.
        """
        given = read_fields(data, [item.name for item in fields(cls)], source)
        try:
            return cls(**given)
        except (InvalidInputError, UnknownNameError) as error:
            raise type(error)(f"{source}: {error}") from error

    @classmethod
    def from_yaml(cls, path: str | Path) -> ExperimentPlan:
        """Read a plan from a YAML file.

        Raises:
            InvalidInputError: if the file cannot be read, is not YAML, or breaks a bound.
            UnknownNameError: for an unknown key, with the nearest known one.
        """
        return cls.from_dict(read_yaml(path, "plan"), source=Path(path).name)

    def to_yaml(self, path: str | Path) -> None:
        """Write the plan as YAML; `from_yaml` gives an equal plan back."""
        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _pair_to_plain(metric: Metric, key: str, margin: MDE | NIM | None) -> dict[str, Any]:
    return {"metric": to_plain(metric, whole=True)} | ({} if margin is None else {key: to_plain(margin, whole=True)})


def check_plan(value: Any) -> None:
    """Refuse what is no plan."""
    check_made("plan", value, ExperimentPlan, "Build one, or read it with ExperimentPlan.from_yaml.")
