"""Importance weights by reduced state, pooled over steps: marginalised density-ratio estimation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.errors import SupportError, describe
from homing.ope.estimators.base import RowEstimate
from homing.ope.sequential.base import Journeys
from homing.ope.sequential.pdis import SNPDIS
from homing.ope.sequential.trajectories import totals
from homing.ope.support import kish

#: States beyond which the linear system is refused rather than solved for minutes.
MAX_STATES = 2000
#: Share of the policy's time in states where the log never does what the policy would do.
MAX_LOST = 0.05


@dataclass(frozen=True)
class MWL:
    """V = mean over users of Σ_t ω(z_t) ρ_t r_t: one density ratio ω = d^π / d^log a state, whatever the step.

    ω solves the moment equations of minimax weight learning with an indicator of each state as test functions:
    the policy's discounted visits to z' are those of first decisions there plus those that come from elsewhere,
    d(z') = n_0(z') + Σ_z d(z) Σ ρ γ 1[next = z'] / Σ ρ, with ω(z) = d(z) / n(z) and ρ normalised within each state.

    Where the process does not depend on the step, it uses the log better than `smis`, which estimates every step anew;
    it is then what long, sparse trajectories want. Wrong to use where the step matters, as in an onboarding series or
    where journeys end for all after so many decisions (pooled, that looks like a small chance to end at any): put the
    step into the state, or use `smis`. The same caution about what the state leaves out holds.

    The interval is the delta method's for ω too:
    φ_g = V(z_0) - V + Σ_t d(z_t) / Σρ · ρ_t (r_t + γ V(z_{t+1}) - V(z_t)).

    References:
        Uehara, Huang and Jiang (2020), "Minimax Weight and Q-Function Learning for Off-Policy Evaluation", section 4
        (MWL) with tabular classes; Liu, Li, Tang and Zhou (2018), "Breaking the Curse of Horizon", section 3.

    Example:
        >>> from homing.ope.sequential.trajectories import Trajectories
        >>> paths = Trajectories([0, 0, 1, 1], np.ones(4), gamma=0.5)
        >>> round(MWL()(Journeys(paths, np.array([1.0, 1.0, 5.0, 3.0]), state=np.array([0, 1, 0, 1]))).value, 12)
        4.0
    """

    name: str = "mwl"
    needs_q: bool = False
    needs_state: bool = True

    def __call__(self, journeys: Journeys) -> RowEstimate:
        paths, state, reward = journeys.paths, journeys.states(), journeys.reward
        count = int(state.max()) + 1
        if count > MAX_STATES:
            raise SupportError(
                describe("number of states", count, f"must be <= {MAX_STATES}", "Use fewer bins, or smis.")
            )
        following = np.roll(state, -1)  # unused at the last decisions: carry is 0 there
        total = totals(state, paths.ratio, count)
        scale = np.divide(paths.ratio, total[state], out=np.zeros(len(state)), where=total[state] > 0.0)
        moves = totals(state * count + following, scale * paths.carry, count**2)
        system = np.eye(count) - moves.reshape(count, count)
        start = np.bincount(state[paths.first], minlength=count) / paths.count
        try:
            visits = np.linalg.solve(system.T, start).astype(np.float64)
            later = np.linalg.solve(system, totals(state, scale * reward, count)).astype(np.float64)
        except np.linalg.LinAlgError as error:
            raise SupportError(
                describe("visits of a state", "unbounded", "must be finite", "Discount (gamma < 1), or use smis.")
            ) from error
        lost = float(visits[total == 0.0].sum() / visits.sum())
        check_lost_mass(lost)
        weight = visits[state] * scale
        value = float(weight @ reward)
        influence = weight * (reward + paths.carry * later[following] - later[state])
        first = later[state[paths.first]]
        details = {"states": float(count), "ess": kish(weight), "lost_share": lost}
        phi = paths.count * paths.sums(influence) + first - first.mean()
        return RowEstimate(value, phi, details, unbiased=without_a_state(journeys))


def without_a_state(journeys: Journeys) -> RowEstimate | None:
    """The estimate that needs no state (`SNPDIS`); None where no user's log follows the policy to the end."""
    try:
        return SNPDIS()(journeys)
    except SupportError:
        return None


def check_lost_mass(share: float) -> None:
    """Refuse when too much of the policy's time is spent where all its weights are 0.

    Raises:
        SupportError: if the share is above `MAX_LOST`.
    """
    if share > MAX_LOST:
        raise SupportError(
            describe(
                "share of the policy's visits to states where it never takes a logged action",
                round(share, 4),
                f"must be <= {MAX_LOST:g}",
                "Merge states, or shorten the trajectories.",
            )
        )
