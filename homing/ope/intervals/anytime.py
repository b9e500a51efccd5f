"""An interval that may be looked at as often as one likes while the log grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homing.checks import check_positive
from homing.estimates import mixture_growth, mixture_quantile
from homing.ope.estimate import Estimate, interval
from homing.ope.intervals.base import Contributions, clipped
from homing.ope.intervals.cressie_read import ends_with_unseen


@dataclass(frozen=True)
class Anytime:
    """An asymptotic confidence sequence: with probability `level` the truth is inside at every look, now and later.

    With G users so far and σ̂ the spread of their contributions, the half width is

        σ̂ √(2 (G ρ² + 1) / (G² ρ²) · ln(√(G ρ² + 1) / α)),   α = 1 - level.

    As in `CressieRead` one unseen decision at its worst counts among them, at either end. That falls with 1 / G, so
    that the sequence is the same in the limit, but rare events are not forgotten before they have come.

    For a challenger that is evaluated again as users arrive, by whoever wants to stop as soon as it is clear; a t
    interval looked at daily is wrong sooner or later with certainty. At the planned size it is about 1.5 times as wide
    as the t interval, and less efficient far from there.

    It holds when looking starts late enough for averages to be near normal (as `Support` judges), and when later looks
    see more users, not more decisions of the same: leave a user out until their window is complete.

    Attributes:
        users: the number of users at which it shall be tightest, chosen before the log is seen.

    References:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic
        confidence sequences", theorem 2.2, and for ρ the approximation that follows it in appendix B;
        Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2022), "Anytime-valid off-policy inference for contextual
        bandits", for the setting.

    Example:
        >>> psi = np.repeat([-0.0001, 0.0001], 5000)
        >>> item = Contributions(0.5, psi)
        >>> print(Anytime(users=10_000)([item], 0.95)[0])
        0.5 [0.4695, 0.5305]
    """

    users: int = 10_000
    name: str = "anytime"

    def __post_init__(self) -> None:
        check_positive("users", self.users)

    def __call__(
        self, items: Sequence[Contributions], level: float, rng: np.random.Generator | None = None
    ) -> tuple[Estimate, ...]:
        out = []
        for item in items:
            base = interval(item.value, item.psi, level)
            lower, upper = ends_with_unseen(item, self.quantile(len(item.psi), level))
            out.append(clipped(base.between(lower, upper, self.name), item.limits))
        return tuple(out)

    def quantile(self, users: int, level: float) -> float:
        """Half width over standard error at a number of users: what 1.96 is for a single look."""
        return float(mixture_quantile(users * mixture_growth(level) / self.users, level))
