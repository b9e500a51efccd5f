"""A plan's fields from plain YAML or JSON: metrics, margins, quality tests and monitoring, each named by its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from homing.errors import InvalidInputError, describe, unknown_name
from homing.experiments.metrics import MDE, NIM, Covariate, Metric, Window
from homing.experiments.monitoring import MONITORING, Monitoring
from homing.experiments.plain import build, check_keys
from homing.experiments.quality import QUALITY, Quality


def read_fields(data: Any, known: list[str], source: str) -> dict[str, Any]:
    """The fields of a plan, as `ExperimentPlan` takes them; `source` names the file in error messages.

    Raises:
        UnknownNameError: for an unknown key, with the nearest known one.
        InvalidInputError: if something is missing or breaks its bound.
    """
    given = check_keys(source, data, known, ["name", "variants"])
    made = {key: _READERS[key](item, f"{source}.{key}") if key in _READERS else item for key, item in given.items()}
    if not isinstance(made["variants"], Mapping):
        raise InvalidInputError(describe(f"{source}.variants", made["variants"], "must map names to shares"))
    return made


def _covariates(items: Any, where: str) -> tuple[Covariate | str, ...]:
    return tuple(
        item if isinstance(item, str) else build(Covariate, item, place) for place, item in _numbered(items, where)
    )


def _window(item: Any, where: str) -> Window:
    return build(Window, item, where)


def _metric(data: Any, where: str) -> Metric:
    return build(Metric, data, where, window=_window, covariates=_covariates)


def _success(items: Any, where: str) -> list[tuple[Metric, MDE | None]]:
    made = []
    for place, item in _numbered(items or [], where):
        given = check_keys(place, item, ["metric", "mde"], ["metric"])
        margin = build(MDE, given["mde"], f"{place}.mde") if given.get("mde") is not None else None
        made.append((_metric(given["metric"], f"{place}.metric"), margin))
    return made


def _guardrail(items: Any, where: str) -> list[tuple[Metric, NIM]]:
    made = []
    for place, item in _numbered(items or [], where):
        given = check_keys(place, item, ["metric", "nim"], ["metric", "nim"])
        made.append((_metric(given["metric"], f"{place}.metric"), build(NIM, given["nim"], f"{place}.nim")))
    return made


def _deterioration(items: Any, where: str) -> list[Metric]:
    return [_metric(item, place) for place, item in _numbered(items or [], where)]


def _quality(items: Any, where: str) -> list[Quality]:
    made = []
    for place, item in _numbered(items, where):
        kind, rest = _named(item, "test", QUALITY, place)
        made.append(build(kind, rest, place, covariates=_covariates))
    return made


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
    if not isinstance(item[key], str) or item[key] not in known:
        raise unknown_name(f"{where}.{key}", str(item[key]), known)
    return known[item[key]], {name: value for name, value in item.items() if name != key}


def _numbered(items: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(items, list | tuple):
        raise InvalidInputError(describe(where, items, "must be a list", "Write [] for none."))
    return ((f"{where}[{number}]", item) for number, item in enumerate(items))


_READERS: dict[str, Any] = {
    "success": _success,
    "guardrail": _guardrail,
    "deterioration": _deterioration,
    "quality": _quality,
    "monitoring": _monitoring,
}
