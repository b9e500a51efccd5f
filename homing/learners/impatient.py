"""Delayed rewards without delay: a progressive posterior of what a message is worth in the long term.

Its worth is a weighted sum of what its users do on each of many days, and is seen whole only when the last has passed.
The days that have passed already tell of it, as far as days went together in messages sent before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite
from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Beliefs:
    """What each message is believed to be worth: independent normal distributions.

    Attributes:
        mean: float64 (A,).
        variance: float64 (A,).
    """

    mean: FloatArray
    variance: FloatArray

    def thompson(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """For each of n decisions the message whose drawn worth is highest, (n,) (Thompson, 1933).

        Example:
            >>> Beliefs(np.array([0.0, 9.0]), np.ones(2)).thompson(3, np.random.default_rng(0)).tolist()
            [1, 1, 1]
        """
        worth = self.mean + np.sqrt(self.variance) * rng.standard_normal((n, len(self.mean)))
        out: NDArray[np.int64] = worth.argmax(axis=1)
        return out


@dataclass(frozen=True, eq=False)
class TracePrior:
    """How traces of w days are distributed, over messages and over the users of one message.

    A message has a mean trace z ~ N(mean, covariance), and its users have traces z + N(0, noise). What is believed of z
    after some users have been seen for some of their days each is then normal, in closed form. Traces of zeros and ones
    are not normal; that only means and covariances count is the method's approximation.

    It needs messages sent before whose traces are whole, of the kind of those to come: a message unlike all of them is
    believed to be like them until its own days say otherwise.

    Attributes:
        mean: float64 (w,).
        covariance: float64 (w, w), of mean traces over messages.
        noise: float64 (w, w), positive definite, of traces over the users of a message.

    References:
        McDonald, Maystre, Lalmas, Russo and Ciosek (2023), "Impatient Bandits: Optimizing Recommendations for the
        Long-Term Without Delay", KDD, section 4. There, means over the users seen on each day stand for the data; here
        the posterior is the exact one given each user's days, at no more cost: see `beliefs`.

    Example:
        >>> prior = TracePrior(mean=np.array([0.5, 0.5]), covariance=np.full((2, 2), 0.1), noise=0.4 * np.eye(2))
        >>> # Message 0 has a user who was seen for one of two days, and was active; message 1 has none.
        >>> beliefs = prior.beliefs(arm=[0], observed=[1], traces=[[1.0, np.nan]], arms=2)
        >>> beliefs.mean.round(3).tolist(), beliefs.variance.round(3).tolist()
        ([1.2, 1.0], [0.32, 0.4])
    """

    mean: FloatArray
    covariance: FloatArray
    noise: FloatArray

    def __post_init__(self) -> None:
        w = np.asarray(self.mean).size
        for name, shape in (("mean", (w,)), ("covariance", (w, w)), ("noise", (w, w))):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not w or value.shape != shape or not np.isfinite(value).all():
                raise InvalidInputError(describe(name, value.shape, f"must be finite, of shape {shape}, a day or more"))
            if len(shape) == 2 and not np.allclose(value, value.T):
                raise InvalidInputError(describe(name, value.tolist(), "must be symmetric"))
            object.__setattr__(self, name, value)
        least = float(np.linalg.eigvalsh(self.covariance)[0])
        if least < -1e-9 * max(float(np.trace(self.covariance)), 0.0) - 1e-12:
            raise InvalidInputError(describe("smallest eigenvalue of covariance", least, "must be >= 0"))
        if np.linalg.eigvalsh(self.noise)[0] <= 0:
            raise InvalidInputError(
                describe("noise", "singular", "must be positive definite", "Leave out days on which nobody differs.")
            )

    @classmethod
    def fit(cls, traces: Iterable[NDArray[np.number]], *, shrinkage: float = 0.0) -> TracePrior:
        """Moments of whole traces of messages sent before, an array (users, w) for each message.

        That means of a message's traces differ by chance, too, is taken out of the covariance over messages. What is
        then negative counts as 0, and what is positive for as much less, so that the total variance stays what it was
        found to be.

        Args:
            traces: by message.
            shrinkage: in [0, 1), the share of the noise that a multiple of the identity with the same trace replaces:
                for fewer traces than days, and days on which nobody differs.

        Raises:
            InvalidInputError: if there are fewer than two messages, one has fewer than two users or other days, or some
                number is not finite.
        """
        if not 0.0 <= shrinkage < 1.0:
            raise InvalidInputError(describe("shrinkage", shrinkage, "must be in [0, 1)"))
        means: list[FloatArray] = []
        within, by_chance = [], []
        for given in traces:
            one = np.asarray(given, dtype=np.float64)
            if one.ndim != 2 or len(one) < 2 or (means and one.shape[1] != len(means[0])):
                days = len(means[0]) if means else "days"
                raise InvalidInputError(describe("traces.shape", one.shape, f"must be (at least 2 users, {days})"))
            check_finite("traces", one, next_step="Prior messages need whole traces.")
            means.append(one.mean(axis=0))
            within.append(np.cov(one, rowvar=False).reshape(len(means[0]), -1))
            by_chance.append(within[-1] / len(one))
        if len(means) < 2:
            raise InvalidInputError(describe("messages", len(means), "must be at least 2", "Gather more of them."))
        between = np.cov(means, rowvar=False).reshape(len(means[0]), -1) - np.mean(by_chance, axis=0)
        values, vectors = np.linalg.eigh(between)
        noise = np.mean(within, axis=0)
        noise = (1.0 - shrinkage) * noise + shrinkage * np.trace(noise) / len(noise) * np.eye(len(noise))
        kept = np.maximum(values, 0.0)
        kept *= max(values.sum(), 0.0) / max(kept.sum(), np.finfo(np.float64).tiny)
        return cls(np.mean(means, axis=0), (vectors * kept) @ vectors.T, noise)

    def total(self, weights: ArrayLike) -> TracePrior:
        """The prior of one number instead of a trace: the weighted sum of its days.

        With weights of 1 it is what someone knows who waits for whole traces and reads their sums alone; with a single
        1 it is a proxy, the activity of one day.

        Example:
            >>> TracePrior(np.array([0.5, 0.5]), np.full((2, 2), 0.1), 0.4 * np.eye(2)).total([1, 1]).noise.tolist()
            [[0.8]]
        """
        w = np.asarray(weights, dtype=np.float64)[:, None]
        return TracePrior(w[:, 0] @ self.mean[:, None], w.T @ self.covariance @ w, w.T @ self.noise @ w)

    def beliefs(
        self, arm: ArrayLike, observed: ArrayLike, traces: ArrayLike, *, arms: int, weights: ArrayLike | None = None
    ) -> Beliefs:
        """The posterior of the worth of each of `arms` messages, Σ_j weights_j z_j.

        With noise = C D Cᵀ (C unit lower triangular, D diagonal) the innovations C⁻¹y of a user's trace y are
        independent given z, and the first t of them need its first t days alone. So all that counts of the data is, for
        each message and day, how many users were seen and the sum of their innovations; and with covariance = L Lᵀ,
        z = mean + L u, the posterior precision of u is I + Σ_j (users_j / D_j) l_j l_jᵀ, l_j the rows of C⁻¹L.

        Args:
            arm: (n,), the message, or message and segment, of each user, from 0 to arms − 1.
            observed: (n,), how many of the first days of each user have been seen, 0 to w.
            traces: (n, w); what lies beyond the observed days is not read.
            arms: A.
            weights: (w,), of days; all 1 if None.

        Raises:
            InvalidInputError: if shapes disagree, a number is out of its bounds, or an observed day is not finite.
        """
        who, seen, days = self._checked(arm, observed, traces, arms)
        users, sums = self._totals(who, seen, days, arms)
        value = np.ones(len(self.mean)) if weights is None else np.asarray(weights, dtype=np.float64)
        if value.shape != self.mean.shape:
            raise InvalidInputError(describe("weights.shape", value.shape, f"must be {self.mean.shape}"))
        check_finite("weights", value)
        worth = self._root.T @ value
        mean, variance = np.full(arms, value @ self.mean), np.full(arms, worth @ worth)
        known = np.flatnonzero(users[:, 0])
        r = len(worth)
        if r == 0:  # messages do not differ: nothing is left to be learnt
            return Beliefs(mean, variance)
        precision = (users[known] @ self._outer).reshape(-1, r, r) + np.eye(r)
        shift = (sums[known] - users[known] * self._innovation(self.mean)) @ self._scaled
        right = np.stack([shift, np.broadcast_to(worth, shift.shape)], axis=2)
        solved = np.linalg.solve(precision, right)
        mean[known] += solved[:, :, 0] @ worth
        variance[known] = solved[:, :, 1] @ worth
        return Beliefs(mean, variance)

    def _checked(
        self, arm: ArrayLike, observed: ArrayLike, traces: ArrayLike, arms: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], FloatArray]:
        """Messages (n,), which days have been seen (n, w), and traces (n, w) with 0 where not."""
        who, seen = (_whole(name, given) for name, given in (("arm", arm), ("observed", observed)))
        days = np.asarray(traces, dtype=np.float64)
        w = len(self.mean)
        if who.ndim != 1 or seen.shape != who.shape or days.shape != (len(who), w):
            shapes = (who.shape, seen.shape, days.shape)
            raise InvalidInputError(describe("arm, observed, traces", shapes, f"must be (n,), (n,) and (n, {w})"))
        for name, values, top in (("arm", who, arms - 1), ("observed", seen, w)):
            outside = (values < 0) | (values > top)
            if outside.any():
                row = int(np.argmax(outside))
                raise InvalidInputError(describe(f"{name}[{row}]", int(values[row]), f"must be in [0, {top}]"))
        mask = np.arange(w) < seen[:, None]
        days = np.where(mask, days, 0.0)
        if not np.isfinite(days).all():
            row = int(np.argmax(~np.isfinite(days).all(axis=1)))
            raise InvalidInputError(describe(f"traces[{row}]", days[row].tolist(), "must be finite where observed"))
        return who, mask, days

    def _totals(
        self, who: NDArray[np.int64], seen: NDArray[np.bool_], days: FloatArray, arms: int
    ) -> tuple[FloatArray, FloatArray]:
        """Number of users seen, and sum of their innovations, for each message and day: (A, w) each."""
        users, sums = np.zeros((arms, seen.shape[1])), np.zeros((arms, seen.shape[1]))
        order = np.argsort(who, kind="stable")
        present, starts = np.unique(who[order], return_index=True)
        if len(present):
            users[present] = np.add.reduceat(seen[order].astype(np.float64), starts, axis=0)
            sums[present] = np.add.reduceat((self._innovation(days) * seen)[order], starts, axis=0)
        return users, sums

    def _innovation(self, y: FloatArray) -> FloatArray:
        """C⁻¹y of rows y (…, w)."""
        out: FloatArray = y @ self._whiten.T
        return out

    @cached_property
    def _deviations(self) -> FloatArray:
        """√D, (w,)."""
        return np.diag(np.linalg.cholesky(self.noise)).copy()

    @cached_property
    def _whiten(self) -> FloatArray:
        """C⁻¹, (w, w)."""
        lower = np.linalg.cholesky(self.noise) / self._deviations
        return np.tril(np.linalg.inv(lower))

    @cached_property
    def _root(self) -> FloatArray:
        """L with L Lᵀ = covariance, (w, r); directions in which messages do not differ are left out."""
        values, vectors = np.linalg.eigh(self.covariance)
        kept = values > 1e-12 * max(float(values[-1]), 0.0)
        out: FloatArray = vectors[:, kept] * np.sqrt(values[kept])
        return out

    @cached_property
    def _scaled(self) -> FloatArray:
        """l_j / D_j, (w, r)."""
        out: FloatArray = self._whiten @ self._root / self._deviations[:, None] ** 2
        return out

    @cached_property
    def _outer(self) -> FloatArray:
        """l_j l_jᵀ / D_j, (w, r·r)."""
        rows = self._whiten @ self._root
        return (rows[:, :, None] * self._scaled[:, None, :]).reshape(len(rows), -1)


def _whole(name: str, given: ArrayLike) -> NDArray[np.int64]:
    """As int64, if they are whole numbers; an empty list is."""
    out = np.asarray(given)
    if len(out) and not np.issubdtype(out.dtype, np.integer):
        raise InvalidInputError(describe(f"{name}.dtype", str(out.dtype), "must be integers"))
    return out.astype(np.int64)
