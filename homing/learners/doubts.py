"""How certain effects of messages are, channel by channel, and a policy that heeds it.

A log of few users hardly tells whether messages help on the whole: a policy that believes it sends nothing at all, or
all that it can. What is not told for certain is therefore read in favour of what was done so far: of all that the
errors of the effects leave possible, the policy takes what is nearest to how often the log's own policy sent
(deviating only where the log is sure is the idea of Laroche, Trichelair and Tachet des Combes 2019, "Safe Policy
Improvement with Baseline Bootstrapping", ICML; here for how much is sent, not for what).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from homing.learners.shrinkage import Shrunk
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel, StructuredAdvantage

FloatArray = NDArray[np.float64]
#: Decisions, at most, whose messages tell how certain effects are.
ROWS = 2_000
#: Of what caution leaves possible, until the nearest is found.
HALVINGS = 20


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
    scorer: StructuredAdvantage, dataset: LoggedDataset, rows: NDArray[np.int64], caution: float
) -> tuple[StructuredAdvantage, float]:
    """The scorer that takes q times its doubt off, and q in [−caution, caution]: of all such, the one that sends most
    nearly as often as the log's policy did. A negative q gives messages the benefit of the doubt.

    Args:
        scorer: whose doubt is one standard error.
        dataset: n decisions, on which the scorer was fitted.
        rows: that tell how often is sent, of the dataset.
        caution: standard errors, >= 0.
    """
    assert scorer.doubt is not None  # set when built
    batch = dataset.rows(rows)
    terms = scorer.terms(batch.context, batch.candidates)
    doubt = -terms.pop("doubt")
    certain = np.where(batch.eligible, sum(terms.values(), np.zeros(doubt.shape)), -np.inf)[:, 1:]
    silent = batch.action == 0 if dataset.probs is None else dataset.probs[rows, 0]

    def excess(q: float) -> float:
        sends = ((certain - q * doubt[:, 1:]).max(axis=1, initial=-np.inf) > 0) | ~batch.eligible[:, 0]
        return float(sends.mean() - 1.0 + silent.mean())

    # The more is taken off, the less is sent.
    low, high = -caution, caution
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    q = min((-caution, caution, high), key=lambda each: abs(excess(each)))
    return replace(scorer, doubt=q * scorer.doubt), q
