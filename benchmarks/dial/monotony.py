"""Whether an objective moves monotonically with its weight, over logs: by how much it may at most fall on the way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from homing.estimates import Estimate, interval

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Monotony:
    """How one objective moves as its weight grows, over L logs; more is better, all in the objective's unit.

    Attributes:
        whole: the rise from the first factor to the last, mean over logs with its t interval over logs.
        fall: the largest mean fall from one factor to a later one, 0 if there is none.
        at_most: what no mean fall exceeds, at 95 %: the largest of the falls' one-sided upper limits. Each is one at
            95 %, without any allowance for there being many: to say wrongly that none exceeds it takes that the one
            which does is missed (an intersection–union test; Berger 1982, Technometrics 24(4)).
        surely: falls, of which there is one for each pair of factors, that are told from none at 95 % for all together.
        wrong_steps: of all logs' steps from one factor to the next, those with a fall as a point.
        rising: logs in which the rise from the first factor to the last is told from none, at 95 % for all logs.
        falling: logs in which some fall is, at 95 % for all pairs and logs.
    """

    whole: Estimate
    fall: float
    at_most: float
    surely: int
    wrong_steps: int
    rising: int
    falling: int


def monotony(lives: FloatArray) -> Monotony:
    """Of what users live through in L >= 2 logs under F factors, each the same users for all factors.

    Args:
        lives: (L, F, N), of the objective, more is better.

    Example:
        Ten users in each of two logs, of whom some have one more under the second factor, and two fewer under the
        third.

        >>> lives = np.zeros((2, 3, 10))
        >>> lives[:, 1] = [[1] * 5 + [0] * 5, [1] * 7 + [0] * 3]
        >>> found = monotony(lives)
        >>> round(found.whole.value, 3), round(found.fall, 3), found.wrong_steps
        (0.0, 0.6, 2)
    """
    logs, factors, _ = lives.shape
    means = lives.mean(axis=2)
    pairs = list(combinations(range(factors), 2))
    falls = [_mean(means[:, i] - means[:, j]) for i, j in pairs]
    together = 1.0 - 0.1 / len(pairs)
    by_user = [[_mean(log[i] - log[j]) for i, j in pairs] for log in lives]
    last = pairs.index((0, factors - 1))
    return Monotony(
        whole=falls[last].negated(),
        fall=max(max(fall.value for fall in falls), 0.0),
        at_most=max(max(fall.at(0.9).upper for fall in falls), 0.0),
        surely=sum(fall.at(together).lower > 0.0 for fall in falls),
        wrong_steps=sum(int((after < before).sum()) for before, after in pairwise(means.T)),
        rising=sum(log[last].at(1.0 - 0.1 / logs).upper < 0.0 for log in by_user),
        falling=sum(any(fall.at(1.0 - 0.1 / len(pairs) / logs).lower > 0.0 for fall in log) for log in by_user),
    )


def _mean(values: FloatArray) -> Estimate:
    mean = float(values.mean())
    return interval(mean, (values - mean) / len(values), 0.95)
