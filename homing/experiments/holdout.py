"""What the whole system does: its users against those whom it never messages, by cohort and over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, SupportError, describe
from homing.estimates import Estimate
from homing.experiments.columns import Columns
from homing.experiments.intervals import ratio_set, satterthwaite, with_t

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SystemEffect:
    """Messaged users against the holdout, in some users or at some time.

    Attributes:
        name: of the cohort, the period or the age.
        messaged: mean per messaged user.
        held_out: mean per held-out user.
        difference: messaged minus held out.
        relative: the same as a share of `held_out`, with Fieller's interval; None where that is not bounded.
        n: messaged and held-out users.
    """

    name: str
    messaged: float
    held_out: float
    difference: Estimate
    relative: Estimate | None
    n: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "name": self.name,
            "messaged": self.messaged,
            "held_out": self.held_out,
            "difference": self.difference.to_dict(),
            "relative": None if self.relative is None else self.relative.to_dict(),
            "n": list(self.n),
        }


@dataclass(frozen=True)
class HoldoutReadout:
    """The effect of the whole system.

    Attributes:
        total: on the sum over all of a user's periods.
        by_cohort: the same by cohort, in order of their names.
        by_period: on each calendar period, over the users who had started by then.
        by_age: on each period since a user's start, from 0, over the users who were followed for so long.
        trend: change of the effect by a period of age (precision-weighted line through `by_age`): above 0 where it
            grows; None with fewer than two ages.
        share_p_value: of the holdout's planned share. Small: users are missing on one side, and nothing else counts.
    """

    total: SystemEffect
    by_cohort: tuple[SystemEffect, ...]
    by_period: tuple[SystemEffect, ...]
    by_age: tuple[SystemEffect, ...]
    trend: Estimate | None
    share_p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "total": self.total.to_dict(),
            "by_cohort": [item.to_dict() for item in self.by_cohort],
            "by_period": [item.to_dict() for item in self.by_period],
            "by_age": [item.to_dict() for item in self.by_age],
            "trend": None if self.trend is None else self.trend.to_dict(),
            "share_p_value": self.share_p_value,
        }


def read_holdout(
    users: Any,
    outcomes: Any,
    *,
    until: int,
    share: float,
    unit: str = "user_id",
    held_out: str = "held_out",
    start: str = "start",
    cohort: str | None = None,
    period: str = "period",
    value: str = "value",
    level: float = 0.95,
) -> HoldoutReadout:
    """Read a global holdout: what users do because the system messages them at all.

    It is the truth that every experiment, index and model is to be held against: single tests add up gains that eat
    each other, and none of them sees what months of messages do. All users count who were assigned, active or not, from
    their start on; a period without an outcome counts 0. Intervals are for one number each.

    Wrong to use if the holdout was messaged after all, or if users were let out of it when something suggested to.

    Args:
        users: one row a user: id, whether held out (0 or 1), the first period in which the system could message it
            (whole numbers, such as weeks), a cohort if wanted.
        outcomes: rows of id, period, value; rows of one user and period are added up. Periods before a user's start and
            after `until`, and users who are not in `users`, are left out.
        until: the last period that is over.
        share: of users that were to be held out.
        unit: column of ids, in both tables.
        held_out: column.
        start: column.
        cohort: column; None for none.
        period: column.
        value: column.
        level: of the intervals.

    Raises:
        InvalidInputError: a column is missing, `held_out` is not 0 and 1, a user is there twice, or periods are not
            whole numbers.
        SupportError: fewer than two users on a side have started.

    References:
        Welch (1947), Biometrika 34; Fieller (1954), JRSS B 16.

    Example:
        >>> users = {"user_id": range(6), "held_out": [0, 0, 0, 1, 1, 1], "start": [0] * 6}
        >>> outcomes = {"user_id": [0, 1, 1, 2, 3], "period": [0, 0, 1, 1, 1], "value": [1.0, 1.0, 2.0, 2.0, 3.0]}
        >>> found = read_holdout(users, outcomes, until=1, share=0.5)
        >>> found.total.messaged, found.total.held_out, [round(item.difference.value, 2) for item in found.by_period]
        (2.0, 1.0, [0.67, 0.33])
    """
    check_probability("level", level)
    check_probability("share", share)
    needed = (unit, held_out, start, *(() if cohort is None else (cohort,)))
    people = Columns(users, needed)
    ids, labels = people.codes(unit)
    if len(labels) < people.n:
        raise InvalidInputError(describe(f"users with the same {unit!r}", people.n - len(labels), "must be 0"))
    held = people.numbers(held_out)
    if not np.isin(held, (0.0, 1.0)).all():
        raise InvalidInputError(describe(held_out, float(held[~np.isin(held, (0.0, 1.0))][0]), "must be 0 or 1"))
    began = _whole(people.numbers(start), start)
    row_of = np.empty(people.n, dtype=np.int64)
    row_of[ids] = np.arange(people.n)
    user, when, amount = _rows(outcomes, (unit, period, value), dict(zip(labels, row_of.tolist(), strict=True)))
    kept = (when >= began[user]) & (when <= until)
    panel = _Panel(held.astype(np.int64), began, until, user[kept], when[kept], amount[kept], level)
    codes, names = (np.zeros(people.n, dtype=np.int64), ("all",)) if cohort is None else people.codes(cohort)
    total = panel.total(panel.started, "total")
    return HoldoutReadout(
        total,
        () if cohort is None else tuple(panel.total(panel.started & (codes == i), c) for i, c in enumerate(names)),
        panel.by_period(),
        *panel.by_age(),
        _share_p_value(panel.held[panel.started], share),
    )


@dataclass(frozen=True, eq=False)
class _Panel:
    """Users (n,) and their outcomes (r,), one row for each user and period with something."""

    held: IntArray
    began: IntArray
    until: int
    user: IntArray
    when: IntArray
    amount: FloatArray
    level: float

    @property
    def started(self) -> NDArray[np.bool_]:
        return np.asarray(self.began <= self.until)

    def total(self, who: NDArray[np.bool_], name: str) -> SystemEffect:
        y = np.bincount(self.user, weights=self.amount, minlength=len(self.held))[who]
        side = self.held[who]
        n = np.bincount(side, minlength=2)
        sums = np.bincount(side, weights=y, minlength=2)
        mean = sums / np.maximum(n, 1)
        squares = np.bincount(side, weights=(y - mean[side]) ** 2, minlength=2)
        return _effect(name, n, mean, squares, self.level)

    def by_period(self) -> tuple[SystemEffect, ...]:
        first = int(self.began[self.started].min())
        size = self.until - first + 1
        entered = np.zeros((2, size))
        np.add.at(entered, (self.held[self.started], self.began[self.started] - first), 1.0)
        n = np.cumsum(entered, axis=1)
        mean, squares = self._moments(self.when - first, n)
        enough = np.flatnonzero((n >= 2).all(axis=0))
        return tuple(_effect(str(first + i), n[:, i], mean[:, i], squares[:, i], self.level) for i in enough)

    def by_age(self) -> tuple[tuple[SystemEffect, ...], Estimate | None]:
        """Effects at each age, and the slope of a line through them."""
        followed = self.until - self.began + 1
        size = int(followed.max())
        longest = np.zeros((2, size))
        np.add.at(longest, (self.held[self.started], followed[self.started] - 1), 1.0)
        n = np.cumsum(longest[:, ::-1], axis=1)[:, ::-1]
        mean, squares = self._moments(self.when - self.began[self.user], n)
        enough = int((n >= 2).all(axis=0).sum())  # n falls with age
        effects = tuple(_effect(str(i), n[:, i], mean[:, i], squares[:, i], self.level) for i in range(enough))
        return effects, self._trend(effects, n, mean, followed)

    def _moments(self, place: IntArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means (2, size) at each place over the n users there, and sums of squared deviations."""
        size = n.shape[1]
        cell = self.held[self.user] * size + place
        sums = np.bincount(cell, weights=self.amount, minlength=2 * size).reshape(2, size)
        rows = np.bincount(cell, minlength=2 * size).reshape(2, size)
        mean = sums / np.maximum(n, 1.0)
        apart = np.bincount(cell, weights=(self.amount - mean.reshape(-1)[cell]) ** 2, minlength=2 * size)
        return mean, apart.reshape(2, size) + (n - rows) * mean**2  # users without a row are at 0

    def _trend(
        self, effects: tuple[SystemEffect, ...], n: FloatArray, mean: FloatArray, followed: IntArray
    ) -> Estimate | None:
        """Σ_a c_a δ_a with the weights of a precision-weighted line; its variance over users, whose ages are joint."""
        size = len(effects)
        errors = np.array([item.difference.std_error for item in effects])
        if size < 2 or (errors == 0).any():
            return None
        weight, age = errors**-2.0, np.arange(size)
        centred = age - (weight @ age) / weight.sum()
        c = weight * centred / float(weight @ centred**2)
        slope = float(c @ np.array([item.difference.value for item in effects]))
        # A user's part: Σ_a c_a (y_a - mean_a) / n_a over the ages that it has reached.
        share = c / n[:, :size]
        at = self.when - self.began[self.user]
        used = at < size
        side = self.held[self.user[used]]
        own = np.bincount(self.user[used], weights=share[side, at[used]] * self.amount[used], minlength=len(self.held))
        expected = np.concatenate([np.zeros((2, 1)), np.cumsum(share * mean[:, :size], axis=1)], axis=1)
        psi = own - expected[self.held, np.clip(followed, 0, size)]
        parts, dfs = [], []
        for one in (0, 1):
            mine = psi[(self.held == one) & self.started]
            parts.append(float(mine @ mine) * len(mine) / (len(mine) - 1))
            dfs.append(len(mine) - 1)
        return satterthwaite(slope, parts, dfs, self.level)


def _effect(name: str, n: NDArray[Any], mean: NDArray[Any], squares: NDArray[Any], level: float) -> SystemEffect:
    """Messaged (0) against held out (1)."""
    counts = (int(n[0]), int(n[1]))
    if min(counts) < 2:
        raise SupportError(
            describe(f"messaged and held-out users of {name!r}", counts, "must be >= 2 each", "Wait, or join cohorts.")
        )
    variance = [float(squares[i]) / (counts[i] - 1) / counts[i] for i in (0, 1)]
    dfs = [counts[0] - 1, counts[1] - 1]
    difference = satterthwaite(float(mean[0] - mean[1]), variance, dfs, level)
    relative = None
    if mean[1] > 0:
        ratio = float(mean[0] / mean[1])
        found = ratio_set(float(mean[0]), float(mean[1]), np.diag(variance[::-1]), difference.df, level)
        if found.shape == "interval":
            error = (variance[0] + ratio**2 * variance[1]) / float(mean[1]) ** 2
            plain = with_t(ratio - 1.0, error, difference.df, level)
            relative = plain.between(float(found.lower or 0.0) - 1.0, float(found.upper or 0.0) - 1.0, "fieller")
    return SystemEffect(name, float(mean[0]), float(mean[1]), difference, relative, counts)


def _rows(outcomes: Any, names: tuple[str, str, str], row_of: dict[str, int]) -> tuple[IntArray, IntArray, FloatArray]:
    """User (by its row), period and value, one row for each user and period."""
    unit, period, value = names
    table = Columns(outcomes, names, empty=True)
    if table.n == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    codes, labels = table.codes(unit)
    user = np.array([row_of.get(label, -1) for label in labels], dtype=np.int64)[codes]
    when, amount = _whole(table.numbers(period), period), table.numbers(value)
    known = user >= 0
    user, when, amount = user[known], when[known], amount[known]
    if not len(user):
        return user, when, amount
    width = int(when.max() - when.min()) + 1
    cells, place = np.unique(user * width + (when - when.min()), return_inverse=True)
    sums: FloatArray = np.bincount(place, weights=amount).astype(np.float64)
    return cells // width, cells % width + when.min(), sums


def _whole(numbers: FloatArray, name: str) -> IntArray:
    out = numbers.astype(np.int64)
    if (out != numbers).any():
        row = int(np.argmax(out != numbers))
        raise InvalidInputError(describe(f"{name}[{row}]", float(numbers[row]), "must be a whole number of periods"))
    return out


def _share_p_value(held: IntArray, share: float) -> float:
    """Two-sided, of a binomial count by its normal approximation (chi-square with one degree of freedom)."""
    from scipy.special import ndtr

    n = len(held)
    z = (float(held.sum()) - n * share) / np.sqrt(n * share * (1.0 - share))
    return float(2.0 * ndtr(-abs(z)))
