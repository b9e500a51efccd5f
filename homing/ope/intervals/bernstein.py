"""The empirical Bernstein interval with a true bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homing.errors import InvalidInputError, SupportError, describe
from homing.ope.estimate import Estimate, interval
from homing.ope.intervals.base import Contributions, FloatArray, clipped


@dataclass(frozen=True)
class Bernstein:
    """|V̂ - V| <= √(2 S² L / G) + 7 B L / (3 (G - 1)) with L = ln(4 / (1 - level)): holds at every size, at a price.

    S² is the sample variance of the users' contributions u_g = G ψ_g and B the widest range that one user's can have:
    the range of a decision's term (largest weight × range of reward, for IPS) times the decisions of the longest user
    over the average number. The bound is taken on Σ_g (a_g - v n_g) for each v, so that users of different length are
    no approximation; it holds given how many decisions each user has. Several times wider than the others at usual
    sizes: for where a guarantee is asked for.

    For SNIPS the same bound is taken on Σ w (r - v), whose mean is 0 at the policy's value: its users' "length" is
    their weight, and B the largest weight × range of reward times the decisions of the longest user. Users must then be
    alike in distribution, as a user's mean of w (r - v) need not be 0 given how many decisions they have. A difference
    from or of such ratios has both intervals' ends, each made at half of the error: pairing does not help it. What adds
    means and ratios (SNDR) is not of this form and is refused.

    Wrong to use with the largest weight seen for the largest possible: at 2,000 rows that covered 66 % of a
    nominal 95 %. So the bounds must be declared.

    References:
        Maurer and Pontil (2009), "Empirical Bernstein Bounds and Sample Variance Penalization", theorems 4 and 11
        (variables that are independent, not identically distributed), each side at half of the error.

    Example:
        >>> from homing.ope.intervals import Part
        >>> psi = np.repeat([-0.001, 0.001], 500)
        >>> item = Contributions(0.5, psi, (Part(psi, np.full(1000, 0.001)),), ((-1.5, 0.0), (0.0, 1.5)), bounded=True)
        >>> print(Bernstein()([item], 0.95)[0])
        0.5 [0.3756, 0.6244]
    """

    name: str = "bernstein"

    def __call__(
        self, items: Sequence[Contributions], level: float, rng: np.random.Generator | None = None
    ) -> tuple[Estimate, ...]:
        return tuple(self._one(item, level) for item in items)

    def _one(self, item: Contributions, level: float) -> Estimate:
        if not item.bounded or item.reach is None:
            raise InvalidInputError(
                describe(
                    "bounds",
                    None,
                    "are needed by interval 'bernstein'",
                    "Pass bounds=Bounds(max_weight=…, reward={objective: (least, greatest)}) from the log's design.",
                )
            )
        means = bool(item.parts) and all(part.by_decisions for part in item.parts)
        ratio = len(item.parts) == 1 and item.longest is not None
        if not (means or ratio) and item.pair is not None:
            return self._apart(item, level)
        if not (means or ratio):
            raise SupportError(
                describe(
                    "interval",
                    self.name,
                    "is for means over decisions or one ratio, not for what divides by the sum of weights and adds",
                    "Use 'cressie-read', or another estimator.",
                )
            )
        base = interval(item.value, item.psi, level)
        count = len(item.psi)
        u, length = count * item.psi, count * item.parts[0].share  # decisions, or weight, over the average user's
        logs = math.log(4.0 / (1.0 - level))
        longest = float(length.max()) if item.longest is None else item.longest
        widest = (item.reach[1] - item.reach[0]) * longest
        beyond = 7.0 * widest * logs / (3.0 * (count - 1))
        factor = 2.0 * logs / count
        moments = np.cov(u, length)  # ddof 1, as in the theorem
        halves = [_reach(moments * np.array([[1.0, sign], [sign, 1.0]]), factor, beyond) for sign in (-1.0, 1.0)]
        return clipped(base.between(item.value - halves[0], item.value + halves[1], self.name), item.limits)

    def _apart(self, item: Contributions, level: float) -> Estimate:
        """A difference from the intervals of both, each at half of the error."""
        assert item.pair is not None
        one, two, factor = item.pair
        mine, theirs = (self._one(each, 0.5 + 0.5 * level) for each in (one, two))
        low, high = sorted((factor * theirs.lower, factor * theirs.upper))
        return interval(item.value, item.psi, level).between(mine.lower - high, mine.upper - low, self.name)


def _reach(moments: FloatArray, factor: float, beyond: float) -> float:
    """The largest d >= 0 with d - beyond <= √(factor (S_uu - 2 d S_ul + d² S_ll))."""
    (var_u, cov), (_, var_length) = moments
    first = 1.0 - factor * var_length
    if first <= 0.0:
        raise SupportError(
            describe(
                "spread of users' lengths or weights",
                float(var_length),
                f"must be < {1.0 / factor:.3g} for interval 'bernstein'",
                "A few users hold most decisions or weight: cap them, or use 'cressie-read'.",
            )
        )
    second = beyond - factor * cov
    root = second**2 - first * (beyond**2 - factor * var_u)
    return float((second + math.sqrt(max(root, 0.0))) / first)
