"""The learner protocol, and learners by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from homing.checks import check_count
from homing.errors import InvalidInputError, describe, unknown_name
from homing.log import LoggedDataset, PartedDataset
from homing.policies import Policy


@runtime_checkable
class Learner(Protocol):
    """Learns a policy from logged decisions.

    Attributes:
        report: how the last `fit` went, as JSON: `history` (lists by name), `calibration` and what else is worth
            knowing; empty before.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((2, 1)), candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool),
        ...     action=[0, 1], propensity=[0.25, 0.75], reward=[[0.0], [1.0]], objectives=("clicked",),
        ...     user=["u1", "u2"], time=[0, 1])
        >>> make("message-shares").fit(data, rng=np.random.default_rng(0)).shares.tolist()
        [0.25, 0.75]
    """

    report: dict[str, Any]

    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a dataset; `weights` is the importance of each objective by name, `rng` the only source of chance."""
        ...


def names() -> tuple[str, ...]:
    """All learners by name."""
    return tuple(sorted(import_module("homing.learners").LEARNERS))


def make(name: str, **params: Any) -> Learner:
    """Build a learner by name.

    Raises:
        UnknownNameError: for an unknown learner or parameter, with the nearest name.

    Example:
        >>> make("linear", epsilon=0.2).epsilon
        0.2
        >>> make("linear", epsilom=0.2)
        Traceback (most recent call last):
        ...
        homing.errors.UnknownNameError: parameter of linear == 'epsilom', must be one of 'calibrate', 'epsilon', 'penalties', 'temperature', 'validation_share'. Did you mean 'epsilon'?
    """  # noqa: E501  # the message is shown whole
    table: Mapping[str, tuple[str, str]] = import_module("homing.learners").LEARNERS
    if name not in table:
        raise unknown_name("learner", name, table)
    module, attribute = table[name]
    cls: Callable[..., Learner] = getattr(import_module(f"homing.learners.{module}"), attribute)
    known = inspect.signature(cls).parameters
    for key in params:
        if key not in known:
            raise unknown_name(f"parameter of {name}", key, known)
    return cls(**params)


def objective_weights(
    dataset: LoggedDataset | PartedDataset,
    weights: Mapping[str, float] | None,
    directions: Mapping[str, str] | None = None,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The importance of each objective as an array (m,).

    Without weights, each objective counts alike: one over its standard deviation in the log, negative where less is
    better. With weights, objectives that are not named count 0.

    Raises:
        UnknownNameError: for the name of no objective.
        InvalidInputError: if a weight is not finite, or all are 0; or where there is no dataset to weigh.
    """
    if not hasattr(dataset, "objectives"):
        step = "Build one of a log: homing.log.build_dataset(log, objectives)."
        raise InvalidInputError(describe("dataset", type(dataset).__name__, "must be a LoggedDataset", step))
    if weights is None:
        scale = dataset.reward.std(axis=0) if isinstance(dataset, LoggedDataset) else np.array(dataset.reward_std)
        sign = [-1.0 if (directions or {}).get(name) == "minimize" else 1.0 for name in dataset.objectives]
        return np.array(sign) / np.where(scale > 0, scale, 1.0)
    if not hasattr(weights, "items"):
        step = f"Write {{{dataset.objectives[0]!r}: 1.0}}, say."
        raise InvalidInputError(describe("weights", weights, "must be a mapping of objectives to numbers", step))
    for name in weights:
        if name not in dataset.objectives:
            raise unknown_name("weight of objective", name, dataset.objectives)
        if isinstance(weights[name], bool) or not isinstance(weights[name], int | float | np.number):
            raise InvalidInputError(describe(f"weight of objective {name}", weights[name], "must be a number"))
    out = np.array([float(weights.get(name, 0.0)) for name in dataset.objectives])
    if not np.isfinite(out).all() or not out.any():
        raise InvalidInputError(describe("weights", dict(weights), "must be finite and not all 0"))
    return out


def mapping(name: str, value: object) -> dict[str, Any]:
    """Return a setting as a dict.

    Raises:
        InvalidInputError: if it is no mapping.

    Example:
        >>> mapping("params", {"epsilon": 0.1})
        {'epsilon': 0.1}
    """
    if not isinstance(value, Mapping):
        raise InvalidInputError(describe(name, value, "must be a mapping"))
    return dict(value)


def yes_or_no(name: str, value: object) -> bool:
    """Return a setting as a bool.

    Raises:
        InvalidInputError: if it is none: a text such as "false" would count as true.

    Example:
        >>> yes_or_no("calibrate", False)
        False
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidInputError(describe(name, value, "must be true or false"))
    return bool(value)


def two_layers(name: str, value: object) -> tuple[int, int]:
    """Return the sizes of two hidden layers.

    Raises:
        InvalidInputError: if they are not two whole numbers >= 1.

    Example:
        >>> two_layers("sizes", [64, 32])
        (64, 32)
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InvalidInputError(describe(name, value, "must be two layers"))
    return check_count(name, value[0]), check_count(name, value[1])


def positive_numbers(name: str, values: object) -> tuple[float, ...]:
    """Return a setting as a tuple of floats.

    Raises:
        InvalidInputError: if it is not a list of finite numbers > 0.

    Example:
        >>> positive_numbers("penalties", [1, 10])
        (1.0, 10.0)
    """
    items = list(values) if isinstance(values, list | tuple) else []
    if not items or not all(isinstance(item, int | float) and math.isfinite(item) and item > 0 for item in items):
        raise InvalidInputError(describe(name, values, "must be a list of numbers > 0"))
    return tuple(float(item) for item in items)
