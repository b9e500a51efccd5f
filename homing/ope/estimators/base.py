"""What an estimator receives, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """One objective of one policy on one log, row by row. All float64 (n,).

    Attributes:
        weight: w = π(a | x) / propensity, the importance weight of the logged action.
        reward: r, the logged reward.
        q_logged: q̂(x, a), the reward model's prediction for the logged action; None without a model.
        q_policy: Σ_a π(a | x) q̂(x, a), its prediction for the policy; None without a model.
        ratios: other importance weights of the same rows by name, for estimators whose `needs_ratio` names one:
            `message`, `campaign` … (see `marginal_weights`), `balanced` (see `balanced_weights`), or one's own.
    """

    weight: FloatArray
    reward: FloatArray
    q_logged: FloatArray | None = None
    q_policy: FloatArray | None = None
    ratios: Mapping[str, FloatArray] = field(default_factory=dict)

    def ratio(self, name: str) -> FloatArray:
        """The importance weights of that name.

        Raises:
            InvalidInputError: if they were not given.
        """
        if name not in self.ratios:
            raise InvalidInputError(
                describe(
                    "ratios", sorted(self.ratios), f"must hold {name!r}", f"Pass ratios={{{name!r}: (n,) weights}}."
                )
            )
        return self.ratios[name]


@dataclass(frozen=True, eq=False)
class RowEstimate:
    """A value with each row's influence on it.

    Attributes:
        value: the estimate of the policy's expected reward per decision.
        influence: φ (n,), mean zero up to rounding: the error is mean(φ) to first order.
        details: numbers worth reporting, such as a threshold that depends on the log.
        weighted: weights (n,) and influence (n,) of a term Σ w v / Σ w, which the bootstrap divides anew in each
            replicate; None where all is a mean over decisions.
        max_weight: the largest weight that is given to any decision, where large ones are clipped or shrunk.
        plain: whether φ is linear in the row's own `Rows.weight` w: [q̂_π - centre] + w (r - q̂ - shift) / scale.
        unbiased: the estimate that this one trades bias for variance against (IPS, SNIPS or DR on the same rows); None
            where there is no such trade. Their difference shows how large the bias can be.
    """

    value: float
    influence: FloatArray
    details: Mapping[str, float] = field(default_factory=dict)
    weighted: tuple[FloatArray, FloatArray] | None = None
    max_weight: float | None = None
    unbiased: RowEstimate | None = None
    plain: bool = False


@runtime_checkable
class Estimator(Protocol):
    """Maps rows to a value and its influence.

    One that needs other weights than π / propensity also has a property `needs_ratio`, the name of those in
    `Rows.ratios`. A new estimator is one file with a frozen dataclass like this one, one line in `ESTIMATORS`, and one
    test:

    Example:
        >>> @dataclass(frozen=True)
        ... class LoggedMean:
        ...     name: str = "logged"
        ...     needs_q_hat: bool = False
        ...     def __call__(self, rows):
        ...         return linear(rows.reward)
        >>> LoggedMean()(Rows(weight=np.ones(2), reward=np.array([0.0, 1.0]))).value
        0.5
    """

    @property
    def name(self) -> str:
        """The name in reports."""
        ...

    @property
    def needs_q_hat(self) -> bool:
        """Whether `q_logged` and `q_policy` must be given."""
        ...

    def __call__(self, rows: Rows) -> RowEstimate:
        """Estimate."""
        ...


def linear(
    terms: FloatArray,
    details: Mapping[str, float] | None = None,
    *,
    max_weight: float | None = None,
    unbiased: RowEstimate | None = None,
    plain: bool = False,
) -> RowEstimate:
    """The estimate of an estimator that is a mean of per-row terms: influence = term - mean.

    >>> linear(np.array([1.0, 3.0])).influence.tolist()
    [-1.0, 1.0]
    """
    value = float(terms.mean())
    return RowEstimate(value, terms - value, details or {}, max_weight=max_weight, unbiased=unbiased, plain=plain)


def model_terms(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """The pair (q_policy, r - q_logged) of an estimator that needs a reward model."""
    assert rows.q_policy is not None and rows.q_logged is not None, "the caller checks needs_q_hat"
    return rows.q_policy, rows.reward - rows.q_logged


def self_normalised(weight: FloatArray, values: FloatArray) -> RowEstimate:
    """Σ w v / Σ w with its influence φ_i = w_i (v_i - V) / mean(w): the normaliser is random and treated so.

    Owen (2013), "Monte Carlo theory, methods and examples", equation 9.8.

    Raises:
        SupportError: if all weights are 0.

    >>> self_normalised(np.array([2.0, 1.0]), np.array([1.0, 0.0])).value
    0.6666666666666666
    """
    total = float(weight.mean())
    if not total > 0:
        raise SupportError(
            describe(
                "mean importance weight",
                total,
                "must be > 0",
                "The policy never takes a logged action: this log says nothing about it.",
            )
        )
    value = float((weight * values).mean() / total)
    influence = weight * (values - value) / total
    return RowEstimate(value, influence, weighted=(weight, influence))


def kept_share(weight: FloatArray, used: FloatArray) -> float:
    """How much of all weight an estimator uses that shrinks weights: 1 where it leaves them alone.

    >>> kept_share(np.array([1.0, 3.0]), np.array([1.0, 2.0]))
    0.75
    """
    return float(used.sum() / weight.sum()) if weight.any() else 1.0
