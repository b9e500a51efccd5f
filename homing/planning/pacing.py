"""Prices that follow what is used up, so that budgets last the day when traffic is not as forecast. NumPy alone.

Every pacer is a pure function of what the ledger knows: how far the horizon is, how many requests came in each part of
it, what is used. It keeps no state of its own, so that any number of deciders on one ledger agree, and a restart
forgets nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.planning.prices import Prices, check_returns

FloatArray = NDArray[np.float64]
#: The logarithm of a price moves at most so far from the planned one; with what all budgets share, so far.
MOST, MOST_TOGETHER = math.log(1e3), 2.0
#: Requests are counted by so many slices of the horizon, of equal expected traffic. Of late means: since the slice
#: before the present one began.
SLICES = 24
#: `RemainingRatio.returns` where nobody knows.
RETURNS = 0.3


@runtime_checkable
class Pacer(Protocol):
    """Says what a unit of each budget costs now.

    Example:
        >>> from datetime import UTC, datetime
        >>> from homing.planning import PricedBudget
        >>> prices = Prices((PricedBudget("push", 100, 0.5),), datetime(2026, 11, 23, tzinfo=UTC))
        >>> FixedPrices().signed(prices, elapsed=0.5, requests=np.zeros(SLICES), used=np.array([80.0])).tolist()
        [0.5]
    """

    def signed(self, prices: Prices, *, elapsed: float, requests: FloatArray, used: FloatArray) -> FloatArray:
        """Prices (b,), negative for the subsidies of floors.

        Args:
            prices: as planned.
            elapsed: share of the expected traffic that should have come by now, in [0, 1].
            requests: (SLICES,), those that came in each slice of the horizon.
            used: (b,), units of each budget.
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

    def signed(self, prices: Prices, *, elapsed: float, requests: FloatArray, used: FloatArray) -> FloatArray:
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

    def signed(self, prices: Prices, *, elapsed: float, requests: FloatArray, used: FloatArray) -> FloatArray:
        """See `Pacer.signed`."""
        expected = np.maximum(prices.expected, 1e-9)
        ahead = np.clip(self.step * (used / expected - elapsed), -MOST, MOST)
        out: FloatArray = prices.signed * np.exp(np.where(prices.is_floor, -ahead, ahead))
        return out


@dataclass(frozen=True)
class RemainingRatio:
    r"""What is left of each budget, against what the rest of the horizon is expected to use, sets its price.

    The tightness of a budget is t = ln(needed / left), with needed = expected · (requests still to come / those of the
    forecast, `still_to_come`). At forecast pace it is 0 all day. Three things answer to it:

    - what the traffic explains, T₀, the tightness if all budgets had been used as planned for the requests that came
      (`as_planned`): the planned prices for exp(T₀) times the traffic, from `Prices.schedule`;
    - what is common to all budgets beyond that, T − T₀ with T = Σ w t and weights by price · limit: all prices move by
      exp(common · (T − T₀)). Where more is used than the traffic explains, values are higher than forecast;
    - what is a budget's own, t − T: its price moves by exp(own · (t − T) / κ), which is what makes use fit where it
      answers to the price with elasticity κ; with a scale v added before and taken off after, so that prices can leave
      and reach 0.

    The first and the last are the dual of what remains, solved anew at each request from what the plan knows of it
    (certainty-equivalent control: Gallego and van Ryzin 1994, Management Science 40:8, section 5; Jasin and Kumar 2012,
    "A Re-Solving Heuristic with Bounded Revenue Loss for Network Revenue Management with Customer Choice", Mathematics
    of Operations Research 37:2; Li and Ye 2022, "Online Linear Programming: Dual Convergence, New Algorithms, and
    Regret Bounds", Operations Research 70:5, algorithm 3). The one between is mirror descent's step, on all at once.

    When it is wrong to use: with budgets of a few units, which no price divides evenly.

    Attributes:
        common: how strongly all prices answer to use that the traffic does not explain.
        own: how strongly a budget's own part answers.
        returns: in [0, 1), chance that requests which are missing, or came early, are made up for later in the horizon.
            Near 0 where days differ in size, near 1 where they differ in when requests come. What the prices say that
            past days were like (`Prices.returns`) when None, or else `RETURNS`.
        spread: how far the traffic of a part of the horizon may be from its forecast, as a standard deviation of the
            logarithm.
        prior: requests that the forecast counts for before those that come are believed.
        scale: v in units of `Prices.value_scale`.
    """

    common: float = 3.0
    own: float = 1.0
    returns: float | None = None
    spread: float = 0.4
    prior: float = 100.0
    scale: float = 0.1

    def __post_init__(self) -> None:
        for name in ("common", "own", "spread", "prior", "scale"):
            check_positive(name, getattr(self, name))
        check_returns(self.returns)

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
        returns = RETURNS if self.returns is None else self.returns
        if returns == 0.0:
            return rest * late
        made_up = max((1.0 - requests / forecast) / rest, math.exp(-MOST))
        odds = returns * rest * math.exp(-0.5 * (math.log(made_up) / self.spread) ** 2) / (1.0 - returns)
        share = odds / (1.0 + odds)
        return rest * math.exp(share * math.log(made_up) + (1.0 - share) * math.log(late))

    def as_planned(self, forecast: float, *, elapsed: float, requests: FloatArray) -> tuple[float, float]:
        """Requests that are still to come, as a share of the forecast; and the share of the budgets that would be left.

        Each slice is taken to have used what its requests are of all that were left then, by `still_to_come` at its
        end.

        Args:
            forecast: requests of the whole horizon.
            elapsed: share of the forecast's that should have come.
            requests: (SLICES,), those that came.

        Example:
            >>> found = RemainingRatio().as_planned(2400.0, elapsed=0.25, requests=np.repeat([100.0, 0.0], [6, 18]))
            >>> np.round(found, 9).tolist()
            [0.75, 0.75]
        """
        now = slice_of(elapsed)
        came = tuple(requests[: now + 1].tolist())
        left = _left_before(self, forecast, came[:now])
        rest = self.still_to_come(forecast, elapsed=elapsed, requests=math.fsum(came), recent=math.fsum(came[-2:]))
        return rest, left * _kept(rest * forecast, came[now])

    def signed(self, prices: Prices, *, elapsed: float, requests: FloatArray, used: FloatArray) -> FloatArray:
        """See `Pacer.signed`."""
        told = self if prices.returns is None or self.returns is not None else _told(self, prices.returns)
        rest, left_as_planned = told.as_planned(math.fsum(prices.traffic), elapsed=elapsed, requests=requests)
        left = np.maximum(prices.at_most - used, 0.0)
        # Where nothing is left to be used nor to use it, all is as planned.
        tiny = np.finfo(np.float64).tiny
        tight = np.clip(np.log(np.maximum(prices.expected * rest, tiny)) - np.log(np.maximum(left, tiny)), -MOST, MOST)
        together = 0.0
        base = np.abs(prices.signed)
        if prices.schedule:
            most = MOST_TOGETHER
            together = float(prices.weights @ np.clip(tight, -most, most))
            by_traffic = min(most, max(-most, math.log(max(rest, tiny) / max(left_as_planned, tiny))))
            base = prices.scheduled(by_traffic) * math.exp(self.common * (together - by_traffic))
        apart = np.clip(self.own / prices.elasticity * (tight - together), -MOST, MOST)
        v = self.scale * prices.value_scale
        # A floor that is short of deliveries is "slack": its subsidy must grow, so its sign is turned twice.
        apart = np.where(prices.is_floor, -apart, apart)
        price: FloatArray = np.maximum((base + v) * np.exp(apart) - v, 0.0)
        return np.where(prices.is_floor, -price, price)


@lru_cache(maxsize=16)
def _told(pacer: RemainingRatio, returns: float) -> RemainingRatio:
    return replace(pacer, returns=returns)


@lru_cache(maxsize=256)
def _left_before(pacer: RemainingRatio, forecast: float, came: tuple[float, ...]) -> float:
    """Share of the budgets that slices which are over left: these change no more, and need not be looked at again."""
    if not came:
        return 1.0
    rest = pacer.still_to_come(forecast, elapsed=len(came) / SLICES, requests=math.fsum(came), recent=came[-1])
    return _left_before(pacer, forecast, came[:-1]) * _kept(rest * forecast, came[-1])


def _kept(rest: float, came: float) -> float:
    return rest / (rest + came) if came else 1.0
