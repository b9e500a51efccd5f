"""What a plan did in many experiments: shares with exact intervals, counted as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.estimates import Estimate
from homing.experiments.rule import SHIP, VERDICTS, BoolArray, CodeArray, first_verdict

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Certificate:
    """What a plan did in simulated experiments.

    Attributes:
        n: experiments.
        ship: share in which some treatment shipped.
        ship_each: by treatment.
        verdicts: mean share of treatments by verdict; all sum to 1.
        superior: by success metric, share in which any treatment was found superior before the stop or at it.
        information: mean share of the planned information at which a treatment was decided.
    """

    n: int
    ship: Estimate
    ship_each: Mapping[str, Estimate]
    verdicts: Mapping[str, float]
    superior: Mapping[str, Estimate]
    information: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "n": self.n,
            "ship": self.ship.to_dict(),
            "ship_each": {name: item.to_dict() for name, item in self.ship_each.items()},
            "verdicts": dict(self.verdicts),
            "superior": {name: item.to_dict() for name, item in self.superior.items()},
            "information": self.information,
        }

    def __str__(self) -> str:
        told = ", ".join(f"{name} {share:.1%}" for name, share in self.verdicts.items() if share)
        return f"ships in {self.ship.value:.1%} [{self.ship.lower:.1%}, {self.ship.upper:.1%}] of {self.n:,} ({told})"


class Tally:
    """Counts experiments; each stops where its rule first says so."""

    def __init__(self, plan: ExperimentPlan) -> None:
        self.plan = plan
        self.n = self.ships = 0
        self.information = 0.0
        self.verdicts = np.zeros((len(VERDICTS), len(plan.treatments)))
        self.ship_each = np.zeros(len(plan.treatments))
        self.superior = np.zeros(len(plan.success))

    def add(self, codes: CodeArray, superior: BoolArray, information: FloatArray) -> None:
        """Count some more.

        Args:
            codes: (n, looks, treatments), of `VERDICTS`.
            superior: (n, looks, treatments, success metrics), rejected so far.
            information: (looks,), share of the planned information.
        """
        verdict, look = first_verdict(codes)
        ship = verdict == SHIP
        at = np.take_along_axis(superior, look[:, None, :, None], axis=1)
        self.n += len(codes)
        self.ships += int(ship.any(axis=1).sum())
        self.ship_each += ship.sum(axis=0)
        self.verdicts += [(verdict == code).sum(axis=0) for code in range(len(VERDICTS))]
        self.superior += at.any(axis=(1, 2)).sum(axis=0)
        self.information += float(information[look].mean(axis=1).sum())

    def certificate(self) -> Certificate:
        """What was counted."""
        names = [metric.name for metric, _ in self.plan.success]
        return Certificate(
            n=self.n,
            ship=share(self.ships, self.n),
            ship_each={
                name: share(int(k), self.n) for name, k in zip(self.plan.treatments, self.ship_each, strict=True)
            },
            verdicts={name: float(self.verdicts[code].mean() / self.n) for code, name in enumerate(VERDICTS)},
            superior={name: share(int(k), self.n) for name, k in zip(names, self.superior, strict=True)},
            information=self.information / self.n,
        )


def share(count: int, n: int, level: float = 0.95) -> Estimate:
    """A share of n trials with its exact interval (Clopper and Pearson 1934).

    Example:
        >>> print(share(5, 100))
        0.05 [0.01643, 0.1128]
    """
    from scipy.special import betaincinv

    tail = (1.0 - level) / 2.0
    value = count / n
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1.0 - tail))
    return Estimate(value, float(np.sqrt(value * (1.0 - value) / n)), low, high, level, n - 1, "clopper-pearson")
