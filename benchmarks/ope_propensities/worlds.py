"""Logs whose propensities are true, from logging policies of many kinds, and the ways of writing them down wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.log import LoggedDataset
from homing.log.candidates import CandidateStore

FloatArray = NDArray[np.float64]
#: Context features that policies may follow.
FEATURES = 3


@dataclass(frozen=True)
class Logging:
    """A logging policy, drawn anew for each log.

    Attributes:
        name: for the table.
        k: candidates of a decision, silence included.
        kind: `softmax` (of scores linear in the context), `epsilon` (the best of those scores, the rest uniform),
            `fixed` (the same for everybody), `uniform`, `candidates` (softmax of a feature that each candidate has, at
            any position; a decision has 2 to k of them) or `partly` (softmax in half of the decisions, certain in the
            others, as on a slice that is not randomised).
        heat: how far from uniform: scale of the scores, or 1 - share explored.
        returning: whether users come back, 3 decisions on average, or have one each.
    """

    name: str
    k: int
    kind: str
    heat: float
    returning: bool = False

    def draw(self, rows: int, rng: np.random.Generator, *, whole: bool = False) -> LoggedDataset:
        """A log of about so many rows; `whole`: with the distributions, not the chosen candidates' propensities alone.

        Scores have the same spread for each number of features, so that `heat` alone says how peaked the policy is.
        """
        user = np.arange(rows)
        if self.returning:
            user = np.repeat(np.arange(rows // 3), rng.geometric(1 / 3, rows // 3))
        n = len(user)
        context = rng.normal(size=(n, FEATURES)).astype(np.float32)
        features = np.zeros((n, self.k, 1), np.float32)
        eligible = np.ones((n, self.k), bool)
        score = context @ rng.normal(size=(FEATURES, self.k)) / np.sqrt(FEATURES) + 0.5 * rng.normal(size=self.k)
        if self.kind == "candidates":
            features = rng.normal(size=(n, self.k, 1)).astype(np.float32)
            eligible = np.arange(self.k) < rng.integers(2, self.k + 1, n)[:, None]
            score = features[:, :, 0].astype(np.float64)
        if self.kind == "epsilon":
            best = np.eye(self.k)[score.argmax(axis=1)]
            probs = self.heat * best + (1.0 - self.heat) / self.k
        elif self.kind == "uniform":
            probs = eligible / self.k
        else:
            if self.kind == "fixed":
                score = np.broadcast_to(rng.normal(size=self.k), (n, self.k))
            size = np.where(eligible, np.exp(self.heat * (score - score.max(axis=1, keepdims=True))), 0.0)
            probs = size / size.sum(axis=1, keepdims=True)
        if self.kind == "partly":
            sure = rng.random(n) < 0.5
            probs[sure] = np.eye(self.k)[score[sure].argmax(axis=1)]
        action = (probs.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, self.k - 1)
        return LoggedDataset(
            context=context,
            candidates=CandidateStore.from_padded(features, eligible.sum(axis=1)),
            eligible=eligible,
            action=action,
            propensity=probs[np.arange(n), action],
            reward=np.zeros((n, 1)),
            objectives=("reward",),
            user=user,
            time=np.arange(n),
            probs=probs if whole else None,
        )


def twice(log: LoggedDataset, rng: np.random.Generator) -> LoggedDataset:
    """Every propensity doubled, where a probability can be."""
    return replace(log, propensity=np.minimum(2.0 * log.propensity, 1.0))


def half(log: LoggedDataset, rng: np.random.Generator) -> LoggedDataset:
    """Every propensity halved."""
    return replace(log, propensity=log.propensity / 2.0)


def shuffled(log: LoggedDataset, rng: np.random.Generator) -> LoggedDataset:
    """Propensities, or distributions, of other decisions."""
    order = rng.permutation(log.n)
    if log.probs is None:
        return replace(log, propensity=log.propensity[order])
    return replace(log, probs=log.probs[order], propensity=log.probs[order][np.arange(log.n), log.action])


def constant(log: LoggedDataset, rng: np.random.Generator) -> LoggedDataset:
    """Uniform over what is eligible."""
    even = log.eligible / log.eligible.sum(axis=1, keepdims=True)
    probs = None if log.probs is None else even
    return replace(log, propensity=even[np.arange(log.n), log.action], probs=probs)


BREAKS: dict[str, Callable[[LoggedDataset, np.random.Generator], LoggedDataset]] = {
    "2×": twice,
    "½×": half,
    "shuffled": shuffled,
    "constant": constant,
}
