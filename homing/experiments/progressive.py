"""The effect on a delayed outcome before it is complete: what the days so far say, by how days went together before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, SupportError, describe
from homing.estimates import Estimate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EffectPrior:
    """How effects on each of w days are distributed over experiments, and traces over users.

    An experiment's effects on days 0 to w - 1 are δ ~ N(mean, covariance); a user's trace varies around its variant's
    mean with covariance `noise`. Both come from past experiments whose w days are over. An experiment unlike all of
    them is believed to be like them until its own days say otherwise.

    Attributes:
        mean: float64 (w,).
        covariance: float64 (w, w), of effects over experiments.
        noise: float64 (w, w), positive definite, of traces over the users of a variant.
    """

    mean: FloatArray
    covariance: FloatArray
    noise: FloatArray

    def __post_init__(self) -> None:
        w = np.asarray(self.mean).size
        for name, shape in (("mean", (w,)), ("covariance", (w, w)), ("noise", (w, w))):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise InvalidInputError(describe(name, value.shape, f"must be finite, of shape {shape}"))
            object.__setattr__(self, name, value)
        if w == 0 or np.linalg.eigvalsh(self.noise)[0] <= 0:
            raise InvalidInputError(
                describe("noise", "singular", "must be positive definite", "Leave out days on which nobody differs.")
            )

    @classmethod
    def fit(cls, past: Iterable[tuple[ArrayLike, ArrayLike]], *, centre: bool = False) -> EffectPrior:
        """From whole traces of past experiments: pairs (control (n0, w), treatment (n1, w)).

        Estimated effects vary more than true ones, by their own errors: the errors' mean covariance is subtracted, and
        what is then negative in some direction is set to 0 there (Bibaut, Chou, Ejdemyr and Kallus, 2024, arXiv
        2402.17637, section 4: without it the prior learns how noise goes together).

        Args:
            past: at least two experiments.
            centre: whether effects have a mean other than 0. False, the default, treats gains and losses alike.

        Raises:
            InvalidInputError: there are fewer than two experiments, or traces have not the same days.
            SupportError: a variant has fewer than two users.
        """
        effects: list[FloatArray] = []
        errors, within, users = [], [], []
        for pair in past:
            control, treatment = _traces("control", pair[0]), _traces("treatment", pair[1])
            if control.shape[1] != treatment.shape[1] or (effects and len(effects[0]) != control.shape[1]):
                shapes = (control.shape, treatment.shape)
                raise InvalidInputError(describe("traces.shape", shapes, "must have the same days in every experiment"))
            if not (np.isfinite(control).all() and np.isfinite(treatment).all()):
                step = "Take experiments that are over."
                raise InvalidInputError(describe("traces", "unfinished", "must be finite", step))
            effects.append(treatment.mean(axis=0) - control.mean(axis=0))
            spreads = [np.cov(each, rowvar=False).reshape(each.shape[1], -1) for each in (control, treatment)]
            sizes = [len(control), len(treatment)]
            errors.append(spreads[0] / sizes[0] + spreads[1] / sizes[1])
            within.append(spreads[0] * (sizes[0] - 1) + spreads[1] * (sizes[1] - 1))
            users.append(sum(sizes) - 2)
        if len(effects) < 2:
            raise InvalidInputError(describe("past experiments", len(effects), "must be at least 2", "Gather more."))
        table = np.array(effects)
        mean = table.mean(axis=0) if centre else np.zeros(table.shape[1])
        spread = (table - mean).T @ (table - mean) / (len(table) - int(centre)) - np.mean(errors, axis=0)
        values, vectors = np.linalg.eigh((spread + spread.T) / 2)
        covariance = (vectors * np.maximum(values, 0.0)) @ vectors.T
        return cls(mean, covariance, np.sum(within, axis=0) / sum(users))


@dataclass(frozen=True)
class ProgressiveEffect:
    """What is believed of an effect on a delayed outcome so far.

    Attributes:
        effect: posterior mean and credible interval of Σ_j weight_j δ_j; its standard error is the posterior's.
        prior: the same before any data.
        probability_positive: P(effect > 0) under the posterior.
        learnt: share of the prior's variance that the data so far have removed.
        days: how many days the users who were followed longest have been seen.
        n: users by variant with at least one day.
    """

    effect: Estimate
    prior: Estimate
    probability_positive: float
    learnt: float
    days: int
    n: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "effect": self.effect.to_dict(),
            "prior": self.prior.to_dict(),
            "probability_positive": self.probability_positive,
            "learnt": self.learnt,
            "days": self.days,
            "n": dict(self.n),
        }


def progressive_effect(
    control: ArrayLike,
    treatment: ArrayLike,
    prior: EffectPrior,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> ProgressiveEffect:
    """The posterior of a treatment's effect on a sum over w days, from traces that are not complete.

    Every user counts with the days that have passed for it. With noise = C D C' (C unit lower triangular, D diagonal)
    the innovations C⁻¹y of a trace y are independent, and the first t of them need its first t days alone. So on day j
    the difference of both variants' mean innovations is N((C⁻¹δ)_j, D_j (1/n0_j + 1/n1_j)), with n_j the users who were
    seen on that day, independently of other days; the variants' common level has a flat prior and drops out. With
    covariance = L L' and δ = mean + L u the posterior precision of u is I + Σ_j l_j l_j' / (D_j (1/n0_j + 1/n1_j)), l_j
    the rows of C⁻¹L.

    It is a belief, not a test: it says what to expect if this experiment is one of a kind with those of the prior, and
    does not keep the error rate of a decision. For what the w days themselves say, wait for them.

    Args:
        control: (n0, w) traces, NaN on days that have not passed; days pass in order.
        treatment: (n1, w).
        prior: of w days.
        weights: (w,), of days in the outcome; all 1 if None.
        level: of the credible interval.

    Raises:
        InvalidInputError: shapes disagree, or a user has a day after one that is missing.

    References:
        McDonald, Maystre, Lalmas, Russo and Ciosek (2023), "Impatient Bandits: Optimizing Recommendations for the
        Long-Term Without Delay", KDD, section 4: the posterior of one message's mean trace; here of the difference
        between two variants.

    Example:
        >>> prior = EffectPrior(mean=np.zeros(2), covariance=np.full((2, 2), 0.1), noise=np.eye(2))
        >>> seen = np.array([[1.0, np.nan]] * 50)
        >>> found = progressive_effect(seen * 0, seen, prior)
        >>> print(found.effect)  # one of two days: 1.0 each, shrunk
        1.429 [0.766, 2.091]
    """
    check_probability("level", level)
    w = len(prior.mean)
    value = np.ones(w) if weights is None else np.asarray(weights, dtype=np.float64)
    if value.shape != (w,):
        raise InvalidInputError(describe("weights.shape", value.shape, f"must be ({w},)"))
    lower = np.linalg.cholesky(prior.noise)
    deviation = np.diag(lower)
    whiten = np.asarray(np.linalg.inv(lower / deviation), dtype=np.float64)
    arms = [_innovations(name, each, whiten) for name, each in (("control", control), ("treatment", treatment))]
    (users0, mean0), (users1, mean1) = arms
    with np.errstate(divide="ignore"):
        precision = 1.0 / (deviation**2 * (1.0 / users0 + 1.0 / users1))
    values, vectors = np.linalg.eigh(prior.covariance)
    kept = values > 1e-12 * max(float(values[-1]), 0.0)
    root = vectors[:, kept] * np.sqrt(values[kept])
    rows = whiten @ root
    seen = precision > 0
    residual = np.where(seen, mean1 - mean0 - whiten @ prior.mean, 0.0)
    posterior = np.linalg.inv(np.eye(root.shape[1]) + (rows * precision[:, None]).T @ rows)
    worth = root.T @ value
    start = float(value @ prior.mean)
    before = float(worth @ worth)
    after = float(worth @ posterior @ worth)
    mean = start + float(worth @ posterior @ (rows.T @ (precision * residual)))
    n = {"control": int(users0[0]), "treatment": int(users1[0])}
    from scipy.special import ndtr

    positive = float(ndtr(mean / np.sqrt(after))) if after > 0 else float(mean > 0)
    return ProgressiveEffect(
        effect=_credible(mean, after, sum(n.values()), level),
        prior=_credible(start, before, sum(n.values()), level),
        probability_positive=positive,
        learnt=1.0 - after / before if before > 0 else 0.0,
        days=int(seen.sum()),
        n=n,
    )


def _innovations(name: str, traces: ArrayLike, whiten: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Users seen on each day, (w,), and the mean of their innovations, (w,)."""
    y = _traces(name, traces)
    if y.shape[1] != len(whiten):
        raise InvalidInputError(describe(f"{name}.shape", y.shape, f"must be (users, {len(whiten)}), the prior's days"))
    seen = ~np.isnan(y)
    gap = seen[:, 1:] & ~seen[:, :-1]
    if gap.any():
        user, day = (int(i) for i in np.argwhere(gap)[0])
        raise InvalidInputError(
            describe(
                f"{name}[{user}, {day}]",
                float(y[user, day]),
                "must be given, as a later day is",
                "Write 0 where a user did nothing, and NaN only on days that have not passed.",
            )
        )
    if np.isinf(y).any():
        raise InvalidInputError(describe(name, float("inf"), "must be finite"))
    users = seen.sum(axis=0).astype(np.float64)
    # A day's innovation is linear in the days up to it: of those seen on day j all earlier days are seen too.
    known = np.where(seen, y, 0.0)
    sums = seen.T.astype(np.float64) @ known  # (w, w): row j sums each day over the users seen on day j
    mean = np.where(users > 0, (whiten * sums).sum(axis=1) / np.maximum(users, 1.0), 0.0)
    return users, mean


def _traces(name: str, traces: ArrayLike) -> FloatArray:
    out = np.asarray(traces, dtype=np.float64)
    if out.ndim != 2:
        raise InvalidInputError(describe(f"{name}.shape", out.shape, "must be (users, days)"))
    if len(out) < 2:
        raise SupportError(describe(f"users of {name}", len(out), "must be >= 2"))
    return out


def _credible(mean: float, variance: float, n: int, level: float) -> Estimate:
    from scipy.special import ndtri

    deviation = float(np.sqrt(max(variance, 0.0)))
    half = float(ndtri(0.5 + level / 2.0)) * deviation
    return Estimate(mean, deviation, mean - half, mean + half, level, max(n - 2, 1), "posterior")
