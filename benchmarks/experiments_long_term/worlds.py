"""Worlds with known truth: pressure that pays now and costs later, and variants that compete for one budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Pressure:
    """A treatment lifts sessions for 14 days and multiplies opt-outs; an opt-out costs 30 % of sessions for good.

    Sessions a day are Poisson, with a rate of the user's own (gamma of shape 2). Days 14 to 21 are the washout, 21 to
    63 the long-term outcome.

    Attributes:
        rate: mean sessions a day.
        opt_outs: share of users who opt out in 14 days without the treatment.
        lift: of sessions while the treatment lasts.
        times: of the hazard of opting out, as long.
    """

    rate: float = 0.5
    opt_outs: float = 0.033
    lift: float = 0.08
    times: float = 2.0

    @property
    def hazard(self) -> float:
        return float(-np.log1p(-self.opt_outs) / 14)

    def last_day(self, draws: FloatArray, times: float) -> FloatArray:
        """The last day of being reachable, (n,), from exponential draws (2, n) for the time until and after day 14."""
        early = np.ceil(draws[0] / (self.hazard * times))
        return np.where(early <= 14, early, 14 + np.ceil(draws[1] / self.hazard))

    @staticmethod
    def sessions(rate: FloatArray, last: FloatArray, start: int, end: int) -> FloatArray:
        """Expected sessions from day `start` until `end`, (n,)."""
        reachable = np.clip(last - start, 0, end - start)
        return np.asarray(rate * (reachable + 0.7 * (end - start - reachable)))

    def users(self, rng: np.random.Generator, n: int, *, treated: bool) -> Columns:
        """Surrogates and outcome of n users."""
        rate = rng.gamma(2.0, self.rate / 2, n)
        last = self.last_day(rng.exponential(size=(2, n)), self.times if treated else 1.0)
        lift = self.lift if treated else 0.0
        return {
            "sessions during": rng.poisson((1 + lift) * self.sessions(rate, last, 0, 14)),
            "sessions after": rng.poisson(self.sessions(rate, last, 14, 21)),
            "reachable on day 14": (last > 14).astype(np.float64),
            "reachable on day 21": (last > 21).astype(np.float64),
            "later": rng.poisson(self.sessions(rate, last, 21, 63)),
        }

    def experiment(self, rng: np.random.Generator, n: int) -> Columns:
        """n users a variant."""
        arms = [self.users(rng, n, treated=treated) for treated in (False, True)]
        both: Columns = {name: np.concatenate([arm[name] for arm in arms]) for name in arms[0]}
        return both | {"variant": np.repeat(["control", "treatment"], n)}

    def effects(self, rng: np.random.Generator, n: int) -> dict[str, float]:
        """The treatment's true effect on each column, from n users who live both lives (common random numbers)."""
        rate, draws = rng.gamma(2.0, self.rate / 2, n), rng.exponential(size=(2, n))
        without, within = (self.last_day(draws, times) for times in (1.0, self.times))
        moved = {
            "sessions during": (1 + self.lift) * self.sessions(rate, within, 0, 14)
            - self.sessions(rate, without, 0, 14),
            "sessions after": self.sessions(rate, within, 14, 21) - self.sessions(rate, without, 14, 21),
            "reachable on day 14": (within > 14).astype(np.float64) - (without > 14),
            "reachable on day 21": (within > 21).astype(np.float64) - (without > 21),
            "later": self.sessions(rate, within, 21, 63) - self.sessions(rate, without, 21, 63),
        }
        return {name: float(values.mean()) for name, values in moved.items()}


def competing(
    experiments: int, n: int, budget: int, rng: np.random.Generator, *, split: bool
) -> tuple[FloatArray, float]:
    """p-values of experiments in which the treatment scores everyone 1 higher, and the mean lift that they show.

    Messages go to the best scores; if all users had the treatment, the same ones would get them. What a message adds is
    .4 of a user's relevance, to an outcome of 1 with a standard deviation of 1.5.
    """
    from scipy.special import stdtr

    relevance = rng.gamma(2.0, 1.0, (experiments, n))
    treated = np.arange(n) % 2 == 1
    score = relevance + rng.normal(0, 0.5, (experiments, n)) + treated
    sent = np.empty((experiments, n), dtype=np.bool_)
    for own, most in ((~treated, budget // 2), (treated, budget // 2)) if split else ((treated | ~treated, budget),):
        sent[:, own] = score[:, own] >= np.partition(score[:, own], -most, axis=1)[:, -most, None]
    outcome = 0.4 * relevance * sent + rng.normal(1, 1.5, (experiments, n))
    arms = [outcome[:, own] for own in (~treated, treated)]
    error = sum(arm.var(axis=1, ddof=1) / arm.shape[1] for arm in arms)
    t = (arms[1].mean(axis=1) - arms[0].mean(axis=1)) / np.sqrt(error)
    return np.asarray(2 * stdtr(n - 2, -np.abs(t))), float(arms[1].mean() / arms[0].mean() - 1)
