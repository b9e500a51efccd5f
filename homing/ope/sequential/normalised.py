"""Sums over steps of self-normalised averages: what SNPDIS, WDR and MAGIC share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import SupportError, describe
from homing.ope.sequential.trajectories import Trajectories, totals

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StepAverages:
    """Self-normalised averages of some terms at every step.

    Attributes:
        average: Ā (T,).
        psi: (G, B), each user's contribution to the error of each block's sum of averages; columns sum to 0.
        share: (n,), ρ_gt / Σ_g ρ_gt, what each decision counts for at its step.
        block: int64 (n,), the block of each decision's step, 0 to B - 1.
    """

    average: FloatArray
    psi: FloatArray
    share: FloatArray
    block: NDArray[np.int64]


def step_averages(paths: Trajectories, terms: FloatArray, ends: NDArray[np.int64] | None = None) -> StepAverages:
    """Weighted averages Ā_t = Σ_g ρ_gt y_gt / Σ_g ρ_gt of terms y (n,) at every step, and what each user did to them.

    A trajectory that has ended stays in the normaliser with its last weight and a term of 0, so that short trajectories
    count as such. The normaliser is random and treated so (the delta method): ψ_gt = ρ_gt (y_gt - Ā_t) / Σ_g ρ_gt.

    Work and memory are O(n + T + G · blocks): the users who have ended enter through suffix sums, not step by step.

    Args:
        paths: with log weights; only their differences within a step matter, so nothing overflows.
        terms: y (n,), discounted, in the order of `paths`.
        ends: int64 (B,), increasing; block b holds the steps from the previous end to `ends[b]`, exclusive. One block
            of all T steps when not given.

    Raises:
        SupportError: if at some step all weights are 0.
    """
    horizon = paths.horizon
    edges = np.array([0, horizon]) if ends is None else np.concatenate([[0], ends])
    starts, step = paths.step_starts[:-1], paths.step
    with np.errstate(divide="ignore"):  # log 0 = -inf: nobody's weight
        top = np.maximum.reduceat(paths.log_weight[paths.by_step], starts)
        top[top == -np.inf] = 0.0
        scaled = np.exp(paths.log_weight - top[step])
        alive = top + np.log(totals(step, scaled, horizon))
        # Those who have ended before step t, by their last weight.
        final = paths.log_weight[paths.last]
        peak = float(final.max())
        peak = peak if peak > -np.inf else 0.0
        left = totals(paths.lengths, np.exp(final - peak), horizon + 1)[:horizon]
        total = np.logaddexp(alive, peak + np.log(np.cumsum(left)))
    if (total == -np.inf).any():
        raise SupportError(
            describe(
                f"weights at decision {int(np.argmax(total == -np.inf))}",
                0.0,
                "must not all be 0",
                "No user's log follows the policy that far: shorten the trajectories, or evaluate per decision.",
            )
        )
    share = np.exp(paths.log_weight - total[step])
    average = totals(step, share * terms, horizon)
    blocks = len(edges) - 1
    cell = np.searchsorted(edges, step, side="right") - 1
    psi = totals(paths.user * blocks + cell, share * (terms - average[step]), paths.count * blocks)
    psi = psi.reshape(paths.count, blocks)
    for block in range(blocks):
        psi[:, block] -= _after_the_end(paths, average, total, int(edges[block]), int(edges[block + 1]))
    return StepAverages(average, psi, share, cell)


def _after_the_end(paths: Trajectories, average: FloatArray, total: FloatArray, start: int, end: int) -> FloatArray:
    """Σ_{t in [start, end), t >= length_g} ρ_g Ā_t / Σρ_t (G,): a user's pull on the averages after the last decision.

    In logs, positive and negative averages apart: 1 / Σρ_t alone may be beyond float64 where the product is not.
    """
    out = np.zeros(paths.count)
    ended = np.flatnonzero(paths.lengths < end)
    if not len(ended):
        return out
    since = np.maximum(paths.lengths[ended], start) - start
    final = paths.log_weight[paths.last[ended]]
    for sign in (1.0, -1.0):
        size = np.clip(sign * average[start:end], 0.0, None)
        with np.errstate(divide="ignore"):
            suffix = np.logaddexp.accumulate((np.log(size) - total[start:end])[::-1])[::-1]
        out[ended] += sign * np.exp(final + suffix[since])
    return out
