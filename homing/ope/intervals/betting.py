"""A policy's value bracketed at every moment of a growing log, without a limit theorem: a bettor's capital."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, describe
from homing.ope.estimate import Clusters
from homing.ope.intervals.base import FloatArray
from homing.ope.intervals.empirical_likelihood import check_inside

#: Shares of the capital that are staked, equal parts of it on each: from ten users to millions one is near the best.
_SHARES = 0.9 * 0.5 ** np.arange(16)
#: Bisections of a bound: to 1e-9 of the range of rewards.
_HALVINGS = 30
#: Users whose gains at all shares fit the processor's cache.
_AT_ONCE = 1 << 13


@dataclass(frozen=True, eq=False)
class BettingSequence:
    """A value and its bounds as a log grew.

    Attributes:
        users: int64 (T,), how many users had come at each look.
        value: (T,), the mean of their scores: IPS with all users counted alike.
        lower: (T,), never falls.
        upper: (T,), never rises. With probability `level` the truth is within both at all looks.
        level: nominal coverage of all looks together.
    """

    users: NDArray[np.int64]
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        columns = {name: getattr(self, name).tolist() for name in ("users", "value", "lower", "upper")}
        return {**columns, "level": self.level}

    def __str__(self) -> str:
        return f"{self.value[-1]:.4g} [{self.lower[-1]:.4g}, {self.upper[-1]:.4g}]"


def betting_sequence(
    weight: ArrayLike,
    reward: ArrayLike,
    *,
    reward_range: tuple[float, float] = (0.0, 1.0),
    max_weight: float | None = None,
    user: ArrayLike | None = None,
    level: float = 0.95,
    looks: ArrayLike | None = None,
) -> BettingSequence:
    """An exact confidence sequence for a policy's value from rows in order of time.

    Each user has a score Y, the mean of w r over their decisions, with r scaled to [0, 1]; users count in order of
    their first row. If the value were ν, staking a share f of one's capital on each user's score, for a return of
    Y / ν, would be a fair game, whose capital, spread over 16 shares f = 0.9, 0.45, …, is

        K_t(ν) = mean over f of Π_{g <= t} (1 - f + f Y_g / ν).

    It exceeds 2 / α at any time with probability of at most α / 2 (Ville's inequality). What it exceeds 2 / α for is
    ruled out: that is every ν below the lower end. The upper end is 1 minus the lower end for w (1 - r), of mean 1 - ν.
    Nothing is assumed of scores but that they are not negative: the largest weight need not be known, nor how much it
    varies, and there is no size below which it is wrong. Where it is known, half of the capital for the upper
    end is staked on the scores 1 - w r / max_weight, of mean 1 - ν / max_weight: on rare events, where these hardly
    vary, that end is several times nearer.

    For whoever stops as soon as it is clear and needs a guarantee; `Anytime` is shorter, but right in the limit only.
    Rewards and logging policies may change over time if the mean of w r given the past does not.

    Wrong to use where propensities are not true or the policy takes an action that cannot be logged (weights must have
    mean 1); on users in an order that depends on what became of them; on users whose later decisions are still to come.
    Each user counts alike, however many their decisions, unlike in IPS. Differences of policies are not bracketed.

    Args:
        weight: (n,), π / propensity of the logged actions, in order of time.
        reward: (n,).
        reward_range: least and greatest reward that could occur, from the design and not from the sample.
        max_weight: the largest weight that could occur, from the logging policy's floor.
        user: (n,), labels; each row is a user of its own when not given.
        level: of all looks together, both ends.
        looks: (T,), increasing numbers of users at which to look; 32 in geometric steps when not given. What was ruled
            out at one look stays so; more looks cost time and no coverage.

    Raises:
        InvalidInputError: if a weight or a reward lies outside of its range, or looks do not increase.

    References:
        Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2022), "Anytime-valid off-policy inference for contextual
        bandits", arXiv 2210.10768, section 2, for weighted scores without a bound on weights, and the mirrored reward;
        Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", for the capital
        process and, among its ways to bet, the mean over fixed shares (diversified Kelly betting).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> weight = np.where(rng.random(5000) < 0.1, 5.0, 5 / 9)
        >>> reward = rng.random(5000) < 0.3
        >>> found = betting_sequence(weight, reward, looks=[500, 5000])
        >>> print(found)
        0.3001 [0.2602, 0.3354]
        >>> found.lower.round(3).tolist(), found.upper.round(3).tolist()
        ([0.143, 0.26], [0.413, 0.335])
    """
    check_probability("level", level)
    w = np.asarray(check_finite("weight", check_shape("weight", weight, (None,))), dtype=np.float64)
    r = np.asarray(check_finite("reward", check_shape("reward", reward, (len(w),))), dtype=np.float64)
    low, high = reward_range
    if not -np.inf < low < high < np.inf or len(w) == 0:
        raise InvalidInputError(
            describe("reward_range", reward_range, "must be finite, increasing, for at least one row")
        )
    if max_weight is not None and not 1.0 <= max_weight < np.inf:
        raise InvalidInputError(describe("max_weight", max_weight, "must be finite and >= 1, the mean of weights"))
    check_inside("weight", w, (0.0, np.inf if max_weight is None else max_weight))
    check_inside("reward", r, reward_range)
    labels = np.arange(len(w)) if user is None else np.asarray(check_shape("user", user, (len(w),)))
    share = (r - low) / (high - low)
    above = _by_arrival(labels, w * share)
    games = [(_by_arrival(labels, w * (1.0 - share)), 0.0, 1.0)]
    if max_weight is not None:
        games.append((1.0 - above / max_weight, 1.0 - 1.0 / max_weight, 1.0 / max_weight))
    count = len(above)
    seen = np.unique(np.geomspace(1, count, 32).round()) if looks is None else np.asarray(looks)
    if seen.ndim != 1 or len(seen) == 0 or seen[0] < 1 or seen[-1] > count or (np.diff(seen) <= 0).any():
        raise InvalidInputError(
            describe("looks", looks, f"must increase from at least 1 to at most {count}, the number of users")
        )
    at = seen.astype(np.int64)
    error = (1.0 - level) / 2.0
    lower, upper = _lower([(above, 0.0, 1.0)], at, error), 1.0 - _lower(games, at, error)
    value, size = np.cumsum(above)[at - 1] / at, high - low
    return BettingSequence(at, low + size * value, low + size * lower, low + size * upper, level)


def _by_arrival(labels: NDArray[np.generic], values: FloatArray) -> FloatArray:
    """Each label's mean (G,), in order of first rows."""
    _, first, code = np.unique(labels, return_index=True, return_inverse=True)
    clusters = Clusters(code.reshape(-1).astype(np.int64), len(first))
    means = clusters.sums(values) / clusters.sums(np.ones(len(values)))
    return means[np.argsort(first)]


def _lower(games: Sequence[tuple[FloatArray, float, float]], looks: NDArray[np.int64], error: float) -> FloatArray:
    """The greatest mean m in [0, 1] that is ruled out at each look or before.

    Of games: scores (G,) >= 0 whose own mean is a + b m, given as (scores, a, b); the capital is spread over them.
    """
    enough = math.log(len(games) * len(_SHARES) / error)

    def ruled_out(mean: float, users: int) -> bool:
        logs = []
        for score, least, slope in games:
            gains = score[:users] / (least + slope * mean) - 1.0
            parts = (gains[begin : begin + _AT_ONCE] for begin in range(0, users, _AT_ONCE))
            logs.append(sum(np.log1p(_SHARES[:, None] * part).sum(axis=1) for part in parts))
        return float(np.logaddexp.reduce(logs, axis=None)) >= enough

    out, found = [], 0.0
    for users in looks.tolist():
        low, high = found, 1.0
        for _ in range(_HALVINGS):  # the capital falls in the mean, so that this finds where it is just enough
            middle = (low + high) / 2.0
            low, high = (middle, high) if ruled_out(middle, users) else (low, middle)
        found = low
        out.append(found)
    return np.array(out)
