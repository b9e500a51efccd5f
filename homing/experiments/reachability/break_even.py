"""How much reachability a gain may cost: the non-inferiority margin at which a treatment breaks even."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, SupportError, describe
from homing.estimates import Estimate
from homing.experiments.columns import Columns
from homing.experiments.intervals import ratio_set, with_t
from homing.experiments.metrics import NIM
from homing.experiments.regression import adjusted_difference


@dataclass(frozen=True)
class BreakEven:
    """What reachability is worth, and how much of it a gain outweighs.

    Attributes:
        worth: E[long-term outcome | reachable] - E[… | not], from history, in the outcome's unit per user.
        gain: of the treatment, in the same unit per randomised user; its interval has no width where it was given as a
            number.
        margin: gain / worth, the loss of reachable share (in 0 to 1) at which both cancel; Fieller's interval.
    """

    worth: Estimate
    gain: Estimate
    margin: Estimate

    @property
    def nim(self) -> NIM:
        """The margin for a plan: the lower end, so that whoever passes it breaks even at the interval's level.

        Raises:
            SupportError: the lower end is not above 0: the gain is not shown.
        """
        if self.margin.lower <= 0:
            raise SupportError(
                describe(
                    "margin's lower end",
                    self.margin.lower,
                    "must be > 0: the gain is not shown to be one",
                    "Take the gain that the experiment is designed for (its MDE) instead of an estimate.",
                )
            )
        return NIM(abs=self.margin.lower)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {name: getattr(self, name).to_dict() for name in ("worth", "gain", "margin")}


def break_even(
    history: Any,
    *,
    reachable: str,
    outcome: str,
    gain: float | Estimate,
    adjust_for: Sequence[str] = (),
    level: float = 0.95,
) -> BreakEven:
    """The non-inferiority margin of reachability: NIM = gain per user / (E[Y_long | reachable] - E[Y_long | not]).

    Who opts out would also have done less had they stayed, so that the difference in history is more than reachability
    itself is worth, and the margin too small rather than too large: careful. Adjusting for what was known of users
    before they could opt out brings both nearer to each other.

    Args:
        history: one row a user: whether reachable at the horizon (0 or 1), the outcome of the time after it, and
            columns to adjust for.
        reachable: column.
        outcome: column, over the time in which the gain counts too.
        gain: what the treatment brings per randomised user over the same time, if nobody opted out: the minimum effect
            that it is designed for, > 0, or an estimate.
        adjust_for: numeric columns from before `reachable`.
        level: of the intervals.

    Raises:
        InvalidInputError: a column is missing, `reachable` is not 0 and 1, or the gain is not positive.
        SupportError: reachability is not shown to be worth anything.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> reachable = rng.random(20_000) < 0.9
        >>> history = {"reachable": reachable, "orders": rng.poisson(np.where(reachable, 5.0, 3.0))}
        >>> found = break_even(history, reachable="reachable", outcome="orders", gain=0.02)
        >>> print(found.worth, found.margin)  # a gain of 0.02 orders a user is worth 1 point of reachability
        2.034 [1.953, 2.115] 0.009833 [0.009456, 0.01024]
    """
    check_probability("level", level)
    table = Columns(history, (reachable, outcome, *adjust_for))
    z = table.numbers(reachable)
    other = ~np.isin(z, (0.0, 1.0))
    if other.any():
        row = int(np.argmax(other))
        raise InvalidInputError(describe(f"{reachable}[{row}]", float(z[row]), "must be 0 or 1"))
    smaller = int(min(z.sum(), len(z) - z.sum()))
    if smaller < 2:
        raise SupportError(describe("users of history in the smaller group", smaller, "must be >= 2"))
    x = np.column_stack([np.empty((len(z), 0)), *(table.numbers(name) for name in adjust_for)])
    coefficient, covariance = adjusted_difference(z, table.numbers(outcome)[:, None], x)
    df = len(z) - 2 - x.shape[1]
    worth = with_t(float(coefficient[0]), float(covariance[0, 0]), df, level)
    if worth.lower <= 0:
        raise SupportError(
            describe(
                "worth of reachability",
                str(worth),
                "must have an interval above 0",
                "Take a longer outcome or more users; a margin cannot be told without it.",
            )
        )
    given = gain if isinstance(gain, Estimate) else with_t(check_positive("gain", gain), 0.0, df, level)
    if given.value <= 0:
        raise InvalidInputError(describe("gain", given.value, "must be > 0", "There is nothing to weigh against."))
    errors = np.diag([worth.std_error**2, given.std_error**2])
    found = ratio_set(given.value, worth.value, errors, df, level)
    ratio = given.value / worth.value
    std_error = float(np.hypot(given.std_error, ratio * worth.std_error) / worth.value)
    # The worth's interval lies above 0, so that the set is an interval.
    lower, upper = float(found.lower or 0.0), float(found.upper or 0.0)
    return BreakEven(worth, given, Estimate(ratio, std_error, lower, upper, level, df, "fieller"))
