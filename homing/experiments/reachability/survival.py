"""The Kaplan–Meier curve and the area under it, with their errors: how long users stay reachable, censored or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_shape
from homing.errors import InvalidInputError, SupportError, describe

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """A survival curve: S(t) = Π over loss times t_i <= t of (1 - d_i / n_i).

    Attributes:
        time: float64 (k,), times of losses, increasing, in days.
        survival: float64 (k,), the curve from each time on.
        at_risk: float64 (k,), n_i: units followed up to each time and not lost before.
        lost: float64 (k,), d_i.
        followed: the longest time that any unit was followed; the curve says nothing beyond.
        n: units.
    """

    time: FloatArray
    survival: FloatArray
    at_risk: FloatArray
    lost: FloatArray
    followed: float
    n: int

    @classmethod
    def fit(cls, duration: ArrayLike, lost: ArrayLike) -> KaplanMeier:
        """The curve of n units.

        Right only if units are censored for reasons that have nothing to do with when they are lost, such as the day
        on which the data end.

        Args:
            duration: (n,), days until the loss, or until the unit was last seen (censored), >= 0.
            lost: (n,), whether the duration ended in the loss.

        Raises:
            InvalidInputError: a duration is negative or not finite, or shapes differ.
            SupportError: there are no units.

        References:
            Kaplan and Meier (1958), "Nonparametric Estimation from Incomplete Observations", JASA 53.

        Example:
            >>> KaplanMeier.fit([1.0, 2.0, 2.0, 4.0], [1, 1, 0, 1]).survival.tolist()
            [0.75, 0.5, 0.0]
        """
        t = check_finite("duration", check_shape("duration", duration, (None,))).astype(np.float64)
        d = check_shape("lost", lost, (len(t),)).astype(bool)
        if len(t) == 0:
            raise SupportError(describe("units", 0, "must be at least 1"))
        if t.min() < 0:
            row = int(np.argmin(t))
            raise InvalidInputError(describe(f"duration[{row}]", float(t[row]), "must be >= 0"))
        time, count = np.unique(t[d], return_counts=True)
        at_risk = (len(t) - np.searchsorted(np.sort(t), time, side="left")).astype(np.float64)
        events = count.astype(np.float64)
        survival: FloatArray = np.cumprod(1.0 - events / at_risk, dtype=np.float64)
        return cls(time.astype(np.float64), survival, at_risk, events, float(t.max()), len(t))

    def at(self, days: float) -> tuple[float, float]:
        """S(days) and its variance, by Greenwood's formula: S² Σ d_i / (n_i (n_i - d_i)).

        Without censoring that is the share's own variance p (1 - p) / n.
        """
        self._check(days)
        upto = int(np.searchsorted(self.time, days, side="right"))
        survival = float(self.survival[upto - 1]) if upto else 1.0
        return survival, survival**2 * float(self._greenwood[:upto].sum()) if survival > 0 else 0.0

    def restricted_mean(self, days: float) -> tuple[float, float]:
        """Mean reachable time among the first `days` days, ∫ S(t) dt from 0 to days, and its variance.

        The variance is Σ A_i² d_i / (n_i (n_i - d_i)) with A_i the area from t_i to days. Without censoring the mean is
        that of min(time, days).

        References:
            Irwin (1949), Journal of Hygiene 47; Klein and Moeschberger (2003), "Survival Analysis", section 4.5.
        """
        self._check(days)
        upto = int(np.searchsorted(self.time, days, side="left"))
        edges = np.concatenate([[0.0], self.time[:upto], [days]])
        areas = np.concatenate([[1.0], self.survival[:upto]]) * np.diff(edges)
        beyond = np.cumsum(areas[::-1])[::-1][1:]
        used = beyond > 0  # where nothing is left there is no area, and Greenwood's term may be infinite
        return float(areas.sum()), float((beyond[used] ** 2 * self._greenwood[:upto][used]).sum())

    @property
    def _greenwood(self) -> FloatArray:
        left = self.at_risk - self.lost
        with np.errstate(divide="ignore"):
            out: FloatArray = self.lost / (self.at_risk * left)
        return out

    def _check(self, days: float) -> None:
        # A curve that has come down to 0 stays there, however long.
        if days > self.followed and not (len(self.survival) and self.survival[-1] == 0.0):
            raise SupportError(
                describe(
                    "days",
                    days,
                    f"must be at most {self.followed:g}, the longest follow-up",
                    "Take a shorter horizon, or wait.",
                )
            )
