"""Prices that follow what is used up, so that budgets last the day when traffic is not as forecast. NumPy alone.

Every pacer is a pure function of what the ledger knows: how far the horizon is, how many requests came, in all and of
late, what is used. It keeps no state of its own, so that any number of deciders on one ledger agree, and a restart
forgets nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.planning.prices import Prices

FloatArray = NDArray[np.float64]
#: The logarithm of a price moves at most so far from the planned one.
MOST = math.log(1e3)
#: Requests are counted by so many slices of the horizon, of equal expected traffic. Of late means: since the slice
#: before the present one began.
SLICES = 24


@runtime_checkable
class Pacer(Protocol):
    """Says what a unit of each budget costs now.

    Example:
        >>> from datetime import UTC, datetime
        >>> from homing.planning import PricedBudget
        >>> prices = Prices((PricedBudget("push", 100, 0.5),), datetime(2026, 11, 23, tzinfo=UTC))
        >>> FixedPrices().signed(prices, elapsed=0.5, requests=0.0, used=np.array([80.0])).tolist()
        [0.5]
    """

    def signed(
        self, prices: Prices, *, elapsed: float, requests: float, used: FloatArray, recent: float | None = None
    ) -> FloatArray:
        """Prices (b,), negative for the subsidies of floors.

        Args:
            prices: as planned.
            elapsed: share of the expected traffic that should have come by now, in [0, 1].
            requests: those that came.
            used: (b,), units of each budget.
            recent: requests that came since `since(elapsed)`; None where that is not known: as if they came evenly.
        """
        ...


def slice_of(elapsed: float) -> int:
    """The slice that a share of the expected traffic lies in, from 0."""
    return min(int(elapsed * SLICES), SLICES - 1)


def since(elapsed: float) -> float:
    """When the slice before the present one began, as a share of the expected traffic.

    >>> since(0.5), since(0.01)
    (0.4583333333333333, 0.0)
    """
    return max(0, slice_of(elapsed) - 1) / SLICES


@dataclass(frozen=True)
class FixedPrices:
    """The planned prices all day: best where traffic is as forecast, and where budgets are large."""

    def signed(
        self, prices: Prices, *, elapsed: float, requests: float, used: FloatArray, recent: float | None = None
    ) -> FloatArray:
        """See `Pacer.signed`."""
        return prices.signed


@dataclass(frozen=True)
class MirrorDescent:
    """Dual mirror descent with the entropy as mirror map, from the planned prices.

    λ_{t+1} = λ_t · exp(−η (ρ_t − u_t)), with u_t the use of request t and ρ_t its share of the budget (Balseiro, Lu and
    Mirrokni 2023, "The Best of Many Worlds: Dual Mirror Descent for Online Allocation Problems", Operations Research
    71:1, algorithm 1 and section 3.1), ρ_t following the forecast traffic. With a constant step the product
    telescopes: λ = λ_0 · exp(step · (used − elapsed · expected) / expected).

    A price that the plan has at 0 stays there; `RemainingRatio` raises it.

    Attributes:
        step: by how much the logarithm of a price moves for use that is a whole budget ahead.
    """

    step: float = 10.0

    def __post_init__(self) -> None:
        check_positive("step", self.step)

    def signed(
        self, prices: Prices, *, elapsed: float, requests: float, used: FloatArray, recent: float | None = None
    ) -> FloatArray:
        """See `Pacer.signed`."""
        expected = np.maximum(prices.expected, 1e-9)
        ahead = np.clip(self.step * (used / expected - elapsed), -MOST, MOST)
        out: FloatArray = prices.signed * np.exp(np.where(prices.is_floor, -ahead, ahead))
        return out


@dataclass(frozen=True)
class RemainingRatio:
    r"""What is left of each budget, against what the rest of the horizon is expected to use, sets its price.

    The tightness of a budget is t = ln(needed / left), with needed = expected · (requests still to come / those of the
    forecast, `still_to_come`). At forecast pace it is 0 all day. Two things answer to it:

    - what is common to all budgets, T = Σ w t with weights by price · limit: the planned prices for exp(common · T)
      times the traffic, from `Prices.schedule`;
    - what is a budget's own, t − T: its price moves by exp(own · (t − T) / κ), which is what makes use fit where it
      answers to the price with elasticity κ; with a scale v added before and taken off after, so that prices can leave
      and reach 0.

    It is the dual of what remains, solved anew at each request from what the plan knows of it (certainty-equivalent
    control: Gallego and van Ryzin 1994, Management Science 40:8, section 5; Li and Ye 2022, "Online Linear
    Programming: Dual Convergence, New Algorithms, and Regret Bounds", Operations Research 70:5, algorithm 3, whose
    regret grows with the logarithm of the number of requests where traffic is as forecast).

    When it is wrong to use: with budgets of a few units, which no price divides evenly.

    Attributes:
        common: how strongly the common part answers; more than 1 also meets values that are not as planned.
        own: how strongly a budget's own part answers.
        returns: in [0, 1), chance that requests which are missing, or came early, are made up for later in the horizon.
            Near 0 where days differ in size, near 1 where they differ in when requests come; the default is for those
            who do not know.
        spread: how far the traffic of a part of the horizon may be from its forecast, as a standard deviation of the
            logarithm.
        prior: requests that the forecast counts for before those that come are believed.
        scale: v in units of `Prices.value_scale`.
    """

    common: float = 1.1
    own: float = 1.0
    returns: float = 0.55
    spread: float = 0.4
    prior: float = 100.0
    scale: float = 0.1

    def __post_init__(self) -> None:
        for name in ("common", "own", "spread", "prior", "scale"):
            check_positive(name, getattr(self, name))
        if isinstance(self.returns, bool) or not isinstance(self.returns, int | float) or not 0.0 <= self.returns < 1.0:
            raise InvalidInputError(describe("returns", self.returns, "must be in [0, 1)"))

    def still_to_come(self, forecast: float, *, elapsed: float, requests: float, recent: float | None = None) -> float:
        """Requests that the rest of the horizon is expected to bring, as a share of the whole forecast.

        Requests that are not as forecast have one of two reasons, and until they turn nobody can tell which. Either
        there are more or fewer of them: then those to come are 1 − elapsed times the rate of late. Or they come at
        another time, and in all as many as forecast: then they are 1 less those that came, at a rate of ρ times the
        forecast's. The second has the chance `returns` before the horizon begins. With a turn that may come at any time
        of the horizon, and ln ρ normal with deviation `spread`, its odds are, as long as no turn has come,

            returns · (1 − elapsed) · exp(−(ln ρ / spread)² / 2)   to   1 − returns

        (Bayes' rule). After a turn both say the same. The two are mixed in logarithms, as budgets' tightness is one.

        Args:
            forecast: requests of the whole horizon.
            elapsed: share of the forecast's that should have come.
            requests: those that came.
            recent: those of them that came since `since(elapsed)`.

        Example:
            >>> RemainingRatio().still_to_come(1e6, elapsed=0.5, requests=5e5, recent=1e6 * (0.5 - since(0.5)))
            0.5
        """
        rest = 1.0 - elapsed
        if rest <= 0.0:
            return 0.0
        begin = since(elapsed)
        overall = (requests + self.prior) / (forecast * elapsed + self.prior)
        late = overall
        if recent is not None:
            late = (recent + self.prior * overall) / (forecast * (elapsed - begin) + self.prior)
        if self.returns == 0.0:
            return rest * late
        made_up = max((1.0 - requests / forecast) / rest, math.exp(-MOST))
        odds = self.returns * rest * math.exp(-0.5 * (math.log(made_up) / self.spread) ** 2) / (1.0 - self.returns)
        share = odds / (1.0 + odds)
        return rest * math.exp(share * math.log(made_up) + (1.0 - share) * math.log(late))

    def signed(
        self, prices: Prices, *, elapsed: float, requests: float, used: FloatArray, recent: float | None = None
    ) -> FloatArray:
        """See `Pacer.signed`."""
        forecast = math.fsum(prices.traffic)
        needed = prices.expected * self.still_to_come(forecast, elapsed=elapsed, requests=requests, recent=recent)
        left = np.maximum(prices.at_most - used, 0.0)
        # Where nothing is left to be used nor to use it, all is as planned.
        tiny = np.finfo(np.float64).tiny
        tight = np.clip(np.log(np.maximum(needed, tiny)) - np.log(np.maximum(left, tiny)), -MOST, MOST)
        together = 0.0
        base = np.abs(prices.signed)
        if prices.schedule:
            together = float(prices.weights @ np.clip(tight, -2.0, 2.0))
            base = prices.scheduled(self.common * together)
        apart = np.clip(self.own / prices.elasticity * (tight - together), -MOST, MOST)
        v = self.scale * prices.value_scale
        # A floor that is short of deliveries is "slack": its subsidy must grow, so its sign is turned twice.
        apart = np.where(prices.is_floor, -apart, apart)
        price: FloatArray = np.maximum((base + v) * np.exp(apart) - v, 0.0)
        return np.where(prices.is_floor, -price, price)
