"""What a policy's importance weights can say, from how they are spread over decisions and users."""

from __future__ import annotations

from dataclasses import dataclass

from homing.ope.diagnostics.tails import WeightTail
from homing.ope.diagnostics.verdict import Findings
from homing.ope.limits import SupportLimits


@dataclass(frozen=True)
class WeightSpread:
    """How a policy's weights are spread, in numbers that sums over a log give too.

    Attributes:
        n: decisions.
        n_users: independent clusters.
        ess, effective_users: Kish's effective numbers of decisions and of users.
        top_user_share: share of all weight that the heaviest user carries.
        mean, mean_error: of the weights, with its standard error.
    """

    n: int
    n_users: int
    ess: float
    effective_users: float
    top_user_share: float
    mean: float
    mean_error: float


def judge_weights(spread: WeightSpread, tail: WeightTail, limits: SupportLimits, unit: str = "decisions") -> Findings:
    """What weights that are spread so can say of a policy."""
    found = Findings()
    if spread.mean == 0.0:
        found.add("refuse", f"The policy never takes a logged action: all {spread.n:,} weights are 0.")
    else:
        if spread.ess < limits.caution_ess:
            found.add(
                "refuse" if spread.ess < limits.refuse_ess else "caution",
                f"The effective sample size is {spread.ess:,.0f} of {spread.n:,} {unit}; "
                f"below {limits.caution_ess:g} intervals are rough, below {limits.refuse_ess:g} they mean nothing.",
            )
        if spread.effective_users < limits.caution_users:
            found.add(
                "refuse" if spread.effective_users < limits.refuse_users else "caution",
                f"The weights rest on effectively {spread.effective_users:,.1f} of {spread.n_users:,} users; "
                f"below {limits.caution_users:g} intervals are rough, below {limits.refuse_users:g} they mean nothing.",
            )
        if spread.top_user_share > limits.caution_top_share:
            found.add(
                "refuse" if spread.top_user_share > limits.refuse_top_share else "caution",
                f"One user carries {spread.top_user_share:.0%} of all weight.",
            )
        _judge_mean(found, spread.mean, spread.mean_error)
    for reason in tail.reasons:
        found.add(tail.verdict, reason)
    return found


def _judge_mean(found: Findings, mean: float, error: float) -> None:
    """E[w] = 1 whenever propensities are right and support is full: a free test of both."""
    off = abs(mean - 1.0)
    if off <= max(3.0 * error, 0.01):
        return
    serious = off > max(5.0 * error, 0.05)
    found.add(
        "refuse" if serious else "caution",
        f"The mean importance weight is {mean:.3f} ± {error:.3f} and should be 1: "
        + (
            "the policy makes choices that the log does not hold, or the logged propensities are too large."
            if mean < 1
            else "the logged propensities are too small."
        ),
    )
