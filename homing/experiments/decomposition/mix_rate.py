"""Mix and rate: a movement as what came from other shares of segments and what from other rates within them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.experiments.decomposition.means import PairedMeans
from homing.experiments.decomposition.result import Decomposition, assemble
from homing.experiments.decomposition.rows import Movement, Rows

Numbers = NDArray[np.inexact]


def mix_rate(rows: Rows, level: float) -> Decomposition:
    """What other shares of segments, and what other rates within them, contributed to the movement."""
    rows.check_one_row_each()
    segment, names = rows.crossed()
    count = len(names)
    # Rates are told apart from the pooled rate: that changes no term, and keeps squares from cancelling.
    values = np.column_stack([rows.top - rows.pooled * rows.bottom, rows.bottom])
    places = np.column_stack([segment, segment + count])
    means = PairedMeans.of_rows(rows.compared, rows.units, places, values, 2 * count)
    return mix_rate_of(means, rows.movement, names, level)


def mix_rate_of(means: PairedMeans, movement: Movement, names: list[str], level: float) -> Decomposition:
    """Mix and rate terms of segments' means: numerators about the pooled rate, then denominators."""
    count = len(names)
    return assemble(
        movement,
        "mix_rate",
        means.through(kitagawa_terms),
        means.df,
        names=[f"{part}: {name}" for part in ("mix", "rate") for name in names],
        parts=["mix"] * count + ["rate"] * count,
        segments=names * 2,
        level=level,
    )


def parts(rows: Rows, level: float) -> Decomposition:
    """What each channel, campaign … added to the movement, of outcomes that belong to one."""
    segment, names = rows.crossed()
    count = len(names)
    places = np.column_stack([segment, np.full(len(segment), count)])
    values = np.column_stack([rows.top, rows.bottom])
    means = PairedMeans.of_rows(rows.compared, rows.units, places, values, count + 1)
    return assemble(
        rows.movement,
        "parts",
        means.through(contributions),
        means.df,
        names=names,
        parts=["segment"] * count,
        segments=names,
        level=level,
    )


def kitagawa_terms(means: Numbers) -> Numbers:
    """Mix terms of S segments, then their rate terms, (…, 2S), of means (…, 2, 2S).

    The means are of each segment's numerator (S), then of its denominator (S); for a mean over units the denominator
    says whether a unit is in the segment. With shares p (of the denominators) and rates m, and a bar for the average of
    both groups:

        mix_s = (p1_s - p0_s) (m̄_s - M̄),    rate_s = (m1_s - m0_s) p̄_s,    Σ_s mix_s + rate_s = M1 - M0.

    M̄, the average overall rate, does not change the sum of the mix terms, since shares add up to 1; it makes each say
    whether a segment that is better than the average grew. A segment that one group lacks has no rate there: it gets
    the other group's, so that all of it counts as mix.

    References:
        Kitagawa (1955), "Components of a Difference Between Two Rates", JASA 50, section 2 (equation for a single
        factor). Two-fold decompositions with one group's weights (Oaxaca, 1973) depend on which; this does not.

    Example:
        >>> # Half of the sends by email (rate .1) and half by push (.3); then 30 % email, and push at .4.
        >>> before, after = [0.05, 0.15, 0.5, 0.5], [0.03, 0.28, 0.3, 0.7]
        >>> kitagawa_terms(np.array([before, after])).round(4).tolist()
        [0.031, 0.019, 0.0, 0.06]
    """
    s = means.shape[-1] // 2
    sums, weights = means[..., :s], means[..., s:]
    absent = np.real(weights) == 0
    own = np.where(absent, 0.0, sums / np.where(absent, 1.0, weights))
    rate = np.where(absent, own[..., ::-1, :], own)
    share = weights / weights.sum(axis=-1, keepdims=True)
    overall = (share * rate).sum(axis=-1)
    centred = rate.mean(axis=-2) - overall.mean(axis=-1)[..., None]
    mix = (share[..., 1, :] - share[..., 0, :]) * centred
    within = (rate[..., 1, :] - rate[..., 0, :]) * share.mean(axis=-2)
    return np.concatenate([mix, within], axis=-1)


def contributions(means: Numbers) -> Numbers:
    """What each segment contributed to the movement, (…, S), of means (…, 2, S + 1).

    The means are of each segment's numerator (S), then of the denominator (1 for a mean over units): the segment's part
    of the overall rate after, minus before. They add up to the movement.

    >>> contributions(np.array([[0.2, 0.3, 1.0], [0.2, 0.5, 1.0]])).round(3).tolist()
    [0.0, 0.2]
    """
    part = means[..., :-1] / means[..., -1:]
    out: Numbers = part[..., 1, :] - part[..., 0, :]
    return out
