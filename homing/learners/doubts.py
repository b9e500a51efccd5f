"""How certain effects of messages are, channel by channel, and a policy that heeds it.

A log of few users hardly tells whether messages of a channel help on the whole: a policy that believes it sends all
that it can through one channel, and nothing through others. What is not told for certain is therefore read in favour of
what was done so far. With q_h the standard errors that effects of channel h must give up for it to send as often as the
log's policy did, q ~ N(θ, 1) tells how far the truth is from where that policy would be right, and θ ~ N(0, 1/v − 1)
with v uniform in (0, 1): E[v | q] of q is given up (Strawderman 1971, "Proper Bayes Minimax Estimators of the
Multivariate Normal Mean", Annals of Mathematical Statistics 42:1, with a = 0). Of a way that noise explains, 57 % are
gone with one channel and 72 % with eight, and little of one that is far beyond it; with more users standard errors
vanish. To deviate only where the log is sure is the idea of Laroche, Trichelair and Tachet des Combes 2019, "Safe
Policy Improvement with Baseline Bootstrapping", ICML; here for how much is sent through which channel, not for what,
to whom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.shrinkage import Shrunk
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel, StructuredAdvantage

FloatArray = NDArray[np.float64]
#: Decisions, at most, whose messages tell how certain effects are.
ROWS = 2_000
#: Rounds over the channels, at most, until each sends as often as the log's policy, given the others.
SWEEPS = 50
LEAST_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Offered:
    """Messages that a log's policy might have sent, s of them.

    Attributes:
        rows: int64, the decisions that they are of.
        z: float64 (s, f), the terms that their effects are told by.
        channel: float64 (s, 1 + c): 1, then the candidate columns that tell channels, 0 in the others.
    """

    rows: NDArray[np.int64]
    z: FloatArray
    channel: FloatArray

    @classmethod
    def of(
        cls,
        dataset: LoggedDataset,
        channels: NDArray[np.int64],
        response: LinearRewardModel,
        terms: FloatArray,
        rng: np.random.Generator,
    ) -> Offered:
        """Those that were eligible in some of the decisions.

        Args:
            dataset: n decisions.
            channels: candidate columns that tell channels.
            response: its first head tells ρ, the chance of a response.
            terms: (2 (1 + d + c), f), combinations of (1, x, c, ρ, ρ x, ρ c).
            rng: chooses the decisions.
        """
        rows = np.sort(rng.choice(dataset.n, min(dataset.n, ROWS), replace=False))
        batch = dataset.rows(rows)
        row, place = np.nonzero(batch.eligible[:, 1:])
        x, c = batch.context[row].astype(np.float64), batch.candidates[row, place + 1].astype(np.float64)
        chance = response.predict(batch.context, batch.candidates)[row, place + 1, :1]
        known = np.concatenate([np.ones((len(row), 1)), x, c], axis=1)
        channel = np.zeros((len(row), 1 + c.shape[1]))
        channel[:, 0] = 1.0
        channel[:, 1 + channels] = c[:, channels]
        return cls(rows, np.concatenate([known, chance * known], axis=1) @ terms, channel)

    def errors(self, told: Shrunk) -> FloatArray:
        """Standard errors of the effects, as the channel tells them best, (1 + c,): of any message, and what each
        candidate column adds.

        Example:
            One term, told with a standard error of 2, of which messages in the channel carry 1 and others 3:

            >>> z, channel = np.array([[3.0], [1.0], [1.0]]), np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
            >>> told = Shrunk(np.zeros(1), np.array([[4.0]]), np.zeros(0))
            >>> Offered(np.arange(3), z, channel).errors(told).round(6).tolist()
            [6.0, -4.0]
        """
        used = np.flatnonzero(self.channel.any(axis=0))
        out = np.zeros(self.channel.shape[1])
        out[used] = np.linalg.lstsq(self.channel[:, used], told.errors(self.z), rcond=None)[0]
        return out


def steadied(
    scorer: StructuredAdvantage, dataset: LoggedDataset, rows: NDArray[np.int64], channels: NDArray[np.int64]
) -> tuple[StructuredAdvantage, FloatArray]:
    """The scorer that gives up as many standard errors of its effects as are not known better than the log's policy,
    and these, (1 + h,): of messages in none of the channels, then of each. Negative ones are given, not taken off.

    Args:
        scorer: whose doubt is one standard error.
        dataset: n decisions, on which the scorer was fitted.
        rows: that tell how often is sent, of the dataset.
        channels: h candidate columns.
    """
    assert scorer.doubt is not None  # set when built
    batch = dataset.rows(rows)
    terms = scorer.terms(batch.context, batch.candidates)
    doubt = -terms.pop("doubt")
    certain = np.where(batch.eligible, sum(terms.values(), np.zeros(doubt.shape)), -np.inf)
    probs = np.eye(doubt.shape[1])[batch.action] if dataset.probs is None else dataset.probs[rows]
    inside = batch.candidates[:, :, channels] > 0
    inside = np.concatenate([~inside.any(axis=2, keepdims=True), inside], axis=2)
    inside[:, 0] = False
    scores = np.where(inside, certain[:, :, None], -np.inf)
    best = scores.argmax(axis=1)[:, None]
    q = distances(
        np.take_along_axis(scores, best, axis=1)[:, 0],
        np.take_along_axis(np.broadcast_to(doubt[:, :, None], scores.shape), best, axis=1)[:, 0],
        certain[:, 0],
        np.einsum("nk,nkh->h", probs, inside) / probs.sum(),
    )
    q *= given_up(q)
    error, taken = scorer.doubt, np.zeros_like(scorer.doubt)
    taken[:, :, 0] = q[0] * error[:, :, 0]
    taken[:, :, 1 + channels] = q[1:] * (error[:, :, :1] + error[:, :, 1 + channels]) - taken[:, :, :1]
    return replace(scorer, doubt=taken), q


def distances(best: FloatArray, error: FloatArray, silence: FloatArray, share: FloatArray) -> FloatArray:
    """The standard errors q (h,), with which best − q · error is the largest, silence included, in its share of rows;
    0 where no q changes anything.

    Args:
        best: (n, h), the score of the best message of each channel; −inf where none is eligible.
        error: (n, h), its standard error.
        silence: (n,), its score; −inf where it is not eligible.
        share: (h,), of rows.

    Example:
        One channel, which would win in all of four rows and shall in two: less than 3 errors are too few.

        >>> distances(np.array([[1.0], [2.0], [4.0], [8.0]]), np.ones((4, 1)), np.zeros(4), np.array([0.5])).tolist()
        [3.0]
    """
    q = np.zeros(best.shape[1])
    for _ in range(SWEEPS):
        before = q.copy()
        for h in range(len(q)):
            others = np.delete(best - q * error, h, axis=1).max(axis=1, initial=-np.inf)
            others = np.maximum(others, silence)
            movable = (error[:, h] > 0) & np.isfinite(best[:, h]) & np.isfinite(others)
            room = np.where(best[:, h] > others, np.inf, -np.inf)
            room[movable] = (best[movable, h] - others[movable]) / error[movable, h]
            q[h] = _cut(np.sort(room)[::-1], round(float(share[h]) * len(room)))
        if np.abs(q - before).max() < LEAST_STEP:
            break
    return q


def given_up(q: FloatArray) -> float:
    """E[v | q], the share of the distances q (h,) that is given up; distances of 0 tell nothing.

    v^(h/2) exp(−v |q|²/2) is its density, up to a constant, so that it is a ratio of incomplete gamma functions.

    Example:
        Three channels about a standard error away, and three that are ten away.

        >>> round(given_up(np.array([1.0, -1.0, 1.0])), 3), round(given_up(np.full(3, 10.0)), 3)
        (0.639, 0.017)
    """
    half, size = np.count_nonzero(q) / 2.0, float(q @ q) / 2.0
    if size == 0.0:
        return 1.0
    if size < 1e-12:  # the ratio's limit
        return float((half + 1.0) / (half + 2.0))
    orders = torch.tensor([half + 2.0, half + 1.0], dtype=torch.float64)
    above, below = torch.special.gammainc(orders, torch.full_like(orders, size)).tolist()
    return float((half + 1.0) / size * above / below)


def _cut(room: FloatArray, count: int) -> float:
    """A value that `count` of these, from the largest on, exceed, or as many as can; 0 if all are infinite."""
    least, most = int((room == np.inf).sum()), int((room > -np.inf).sum())
    if least == most:
        return 0.0
    if count <= least:
        return float(room[least])
    if count >= most:
        return float(np.nextafter(room[most - 1], -np.inf))
    return float(room[count - 1] + room[count]) / 2.0
