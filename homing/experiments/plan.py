"""`ExperimentPlan`: everything about an experiment that must be fixed before its first unit is exposed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from homing.checks import check_one_of, check_positive, check_probability
from homing.errors import InvalidInputError, describe, unknown_name
from homing.experiments.assignment import Assignment, Layer
from homing.experiments.metrics import MDE, NIM, Covariate, Metric, Window
from homing.experiments.monitoring import MONITORING, FixedHorizon, Monitoring
from homing.experiments.plain import build, check_keys, read_yaml, to_plain
from homing.experiments.quality import PreExposureBias, SampleRatio

if TYPE_CHECKING:
    from homing.experiments.baseline import Baseline
    from homing.experiments.sample_size import SampleSize

Quality = SampleRatio | PreExposureBias
QUALITY: dict[str, type[Quality]] = {item.name: item for item in (SampleRatio, PreExposureBias)}
_SUM_TOLERANCE = 1e-9


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
        InvalidInputError: if a value breaks its bound, a metric is named twice, or a diagnostic metric would decide.

    Example:
        >>> visits = Metric("visits_7d", "mean", "visits", window=Window(7))
        >>> plan = ExperimentPlan("greeting", success=[(visits, MDE(rel=0.02))], variants={"control": 0.5, "warm": 0.5})
        >>> plan.control, plan.treatments, plan.roles["visits_7d"]
        ('control', ('warm',), 'success')
    """

    name: str
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
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInputError(describe("experiment name", self.name, "must be a non-empty string"))
        put = object.__setattr__
        put(self, "success", tuple(_pair(item, MDE, "success") for item in self.success))
        put(self, "guardrail", tuple(_pair(item, NIM, "guardrail") for item in self.guardrail))
        put(self, "deterioration", tuple(self.deterioration))
        put(self, "quality", tuple(self.quality))
        put(self, "variants", dict(self.variants))
        put(self, "control", self.control or next(iter(self.variants), ""))
        self._check_variants()
        self._check_metrics()
        for name in ("alpha", "alpha_deterioration", "alpha_quality", "power"):
            check_probability(name, getattr(self, name))
        check_one_of("adjustment", self.adjustment, ("per-variant", "pooled"))
        if not 0.0 <= self.holdout < 1.0:
            raise InvalidInputError(describe("holdout", self.holdout, "must be in [0, 1)", "0 keeps nobody out."))
        if self.planned_size is not None:
            check_positive("planned_size", self.planned_size)

    def _check_variants(self) -> None:
        if len(self.variants) < 2:
            raise InvalidInputError(
                describe("variants", dict(self.variants), "must be at least two", "Name a control and a treatment.")
            )
        for name, share in self.variants.items():
            check_probability(f"share of variant {name!r}", share)
        total = sum(self.variants.values())
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise InvalidInputError(
                describe("sum of variants", total, "must be 1", "Units outside the experiment belong to no variant.")
            )
        if self.control not in self.variants:
            raise unknown_name("control", self.control, self.variants)

    def _check_metrics(self) -> None:
        names = [metric.name for metric in self.metrics]
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
        for metric in self.metrics:
            if metric.diagnostic and self.roles[metric.name] != "deterioration":
                raise InvalidInputError(
                    describe(
                        f"{self.roles[metric.name]} metric",
                        metric.name,
                        "must not be a diagnostic: a rate per send has an effect of the treatment as denominator (whom "
                        "one may still reach, what was sent) and can rise because the least interested left; a "
                        "surrogate index decides nothing before it is validated",
                        "Measure it over all randomised units, reachability as a guardrail; or validate the index.",
                    )
                )
            if metric.kind == "quantile" and self.cluster is not None:
                raise InvalidInputError(
                    describe(
                        f"kind of metric {metric.name!r}",
                        "quantile",
                        "must be another where units are clustered: its error would be that of independent units",
                        "Take the share above a threshold as a proportion.",
                    )
                )
            for covariate in metric.covariates:
                owner = next((item.name for item in self.metrics if covariate.column in item.outcomes), None)
                if owner is not None:
                    raise InvalidInputError(
                        describe(
                            f"covariate of metric {metric.name!r}",
                            covariate.column,
                            f"must be from before exposure, but it is the outcome of metric {owner!r}",
                            "Take the same column from before each unit's exposure.",
                        )
                    )

        for test in self.quality:
            if isinstance(test, PreExposureBias) and not (test.covariates or self.covariates):
                raise InvalidInputError(
                    describe("covariates of PreExposureBias", (), "must be at least one", "Name pre-exposure columns.")
                )

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
        """Each covariate of the metrics and the quality tests once."""
        asked = [item for metric in self.metrics for item in metric.covariates]
        asked += [item for test in self.quality if isinstance(test, PreExposureBias) for item in test.covariates]
        return tuple({item.column: item for item in asked}.values())

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
        """SHA-256 of the whole plan: 64 hexadecimal digits."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML or JSON; `from_dict` gives an equal plan back."""
        data: dict[str, Any] = to_plain(self)
        data["control"] = self.control
        data["success"] = [_pair_to_plain(metric, "mde", margin) for metric, margin in self.success]
        data["guardrail"] = [_pair_to_plain(metric, "nim", margin) for metric, margin in self.guardrail]
        data["quality"] = [{"test": item.name} | to_plain(item) for item in self.quality]
        data["monitoring"] = {"design": self.monitoring.name} | to_plain(self.monitoring)
        return data

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "plan") -> ExperimentPlan:
        """Build from plain data; `source` names it in error messages.

        Raises:
            UnknownNameError: for an unknown key, with the nearest known one.
            InvalidInputError: if something is missing or breaks its bound.
        """
        given = check_keys(source, data, [item.name for item in fields(cls)], ["name", "variants"])
        for key, read in _READERS.items():
            if key in given:
                given[key] = read(given[key] or [], f"{source}.{key}")
        if not isinstance(given["variants"], Mapping):
            raise InvalidInputError(describe(f"{source}.variants", given["variants"], "must map names to shares"))
        try:
            return cls(**given)
        except InvalidInputError as error:
            raise InvalidInputError(f"{source}: {error}") from error

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


def _pair_to_plain(metric: Metric, key: str, margin: MDE | NIM | None) -> dict[str, Any]:
    return {"metric": to_plain(metric)} | ({} if margin is None else {key: to_plain(margin)})


def _covariates(items: Any, where: str) -> tuple[Covariate | str, ...]:
    return tuple(
        item if isinstance(item, str) else build(Covariate, item, place) for place, item in _numbered(items, where)
    )


def _window(item: Any, where: str) -> Window:
    return build(Window, item, where)


def _metric(data: Any, where: str) -> Metric:
    return build(Metric, data, where, window=_window, covariates=_covariates)


def _success(items: Any, where: str) -> Iterable[tuple[Metric, MDE | None]]:
    for place, item in _numbered(items, where):
        given = check_keys(place, item, ["metric", "mde"], ["metric"])
        margin = build(MDE, given["mde"], f"{place}.mde") if given.get("mde") is not None else None
        yield _metric(given["metric"], f"{place}.metric"), margin


def _guardrail(items: Any, where: str) -> Iterable[tuple[Metric, NIM]]:
    for place, item in _numbered(items, where):
        given = check_keys(place, item, ["metric", "nim"], ["metric", "nim"])
        yield _metric(given["metric"], f"{place}.metric"), build(NIM, given["nim"], f"{place}.nim")


def _deterioration(items: Any, where: str) -> Iterable[Metric]:
    for place, item in _numbered(items, where):
        yield _metric(item, place)


def _quality(items: Any, where: str) -> Iterable[Quality]:
    for place, item in _numbered(items, where):
        kind, rest = _named(item, "test", QUALITY, place)
        yield build(kind, rest, place, covariates=_covariates)


def _monitoring(item: Any, where: str) -> Monitoring:
    kind, rest = _named(item, "design", MONITORING, where)
    made: Monitoring = build(kind, rest, where)
    return made


def _named(item: Any, key: str, known: Mapping[str, Any], where: str) -> tuple[Any, dict[str, Any]]:
    """A class by the name under `key`, and the rest of the mapping."""
    if isinstance(item, str):
        item = {key: item}
    if not isinstance(item, Mapping) or key not in item:
        raise InvalidInputError(
            describe(where, item, f"must have the key {key!r}", f"Known: {', '.join(sorted(known))}.")
        )
    if item[key] not in known:
        raise unknown_name(f"{where}.{key}", str(item[key]), known)
    return known[item[key]], {name: value for name, value in item.items() if name != key}


def _listed(items: Any, where: str) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise InvalidInputError(describe(where, items, "must be a list"))
    return list(items)


def _numbered(items: Any, where: str) -> Iterable[tuple[str, Any]]:
    return ((f"{where}[{number}]", item) for number, item in enumerate(_listed(items, where)))


_READERS: dict[str, Any] = {
    "success": _success,
    "guardrail": _guardrail,
    "deterioration": _deterioration,
    "quality": _quality,
    "monitoring": _monitoring,
}
