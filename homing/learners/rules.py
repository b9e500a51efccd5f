"""Rules that products begin with: everyone uniformly, a fixed order of messages, the message with the best rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe, unknown_name
from homing.learners.examination import Examined
from homing.learners.learner import objective_weights
from homing.learners.message_shares import message_columns
from homing.log import LoggedDataset
from homing.policies import ColumnScorer, EpsilonGreedyPolicy, LinearRewardModel, Policy, SendIfPolicy, UniformPolicy
from homing.policies.wrappers import check_epsilon

BATCH_ROWS = 4_096


class Uniform:
    """Draws uniformly from what is eligible, silence included: the log that is best to learn from."""

    def __init__(self) -> None:
        self.report: dict[str, Any] = {}

    @Examined(rewards=False)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """There is nothing to fit."""
        self.report = {"settings": {"messages": dataset.k - 1}}
        return UniformPolicy()


class Priority:
    """Sends the eligible message that stands first in an order, to everyone, whenever there is one.

    Args:
        order: candidate columns from the most urgent, as the encoder names them (`campaign=welcome`,
            `domain=live-event`); a message that carries none of them is never sent. Without an order, messages stand as
            often as the log sent them.
        epsilon: share of uniform exploration over what is eligible.
    """

    def __init__(self, order: Sequence[str] = (), epsilon: float = 0.1) -> None:
        if not isinstance(order, list | tuple) or len(set(map(str, order))) < len(order):
            raise InvalidInputError(describe("order", order, "must be a list of different candidate columns"))
        self.order = tuple(order)
        self.epsilon = check_epsilon(epsilon)
        self.report: dict[str, Any] = {}

    @Examined(rewards=False)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Find the columns; rewards are not read.

        Raises:
            UnknownNameError: if the order names a column that the log does not have.
            InvalidInputError: if the order names columns of a dataset that has no names.
        """
        ranked = self._columns(dataset) if self.order else _by_sends(dataset)
        values = np.zeros(dataset.candidates.shape[2])
        # Halving makes the first column that a candidate carries outweigh all later ones together.
        values[ranked] = 0.5 ** np.arange(len(ranked))
        self.report = {"settings": {"order": list(self.order) or [int(column) for column in ranked]}}
        return _sending(ColumnScorer(values, dataset.context.shape[1]), self.epsilon)

    def _columns(self, dataset: LoggedDataset) -> NDArray[np.int64]:
        if dataset.encoder is None:
            raise InvalidInputError(
                describe("order", list(self.order), "needs a dataset with an encoder", "Build it from a log.")
            )
        names = dataset.encoder.candidate_names
        for name in self.order:
            if name not in names:
                raise unknown_name("order", name, names)
        return np.array([names.index(name) for name in self.order], dtype=np.int64)


class BestCTR:
    """Sends the eligible message with the highest mean reward when it was sent, to everyone, whenever there is one.

    The best click-through rate where the weights name clicks. It asks what happened after a message, not what happened
    because of it: users who would have come anyway make every message look good.

    Args:
        prior_sends: sends of the pooled mean that each message's mean is shrunk with.
        epsilon: share of uniform exploration over what is eligible.
    """

    def __init__(self, prior_sends: float = 100.0, epsilon: float = 0.1) -> None:
        if not isinstance(prior_sends, int | float) or not 0 <= prior_sends < float("inf"):
            raise InvalidInputError(describe("prior_sends", prior_sends, "must be >= 0"))
        self.prior_sends = float(prior_sends)
        self.epsilon = check_epsilon(epsilon)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Count and average.

        Raises:
            InvalidInputError: if the log never sent anything.
        """
        w = objective_weights(dataset, weights)
        columns, sends, totals = _sent(dataset)
        if not sends.any():
            step = "The log holds silence alone."
            if (dataset.action > 0).any():
                step = "Candidates carry no column above 0 that would tell them apart: log their message ids."
            raise InvalidInputError(describe("messages sent", 0, "must be >= 1", step))
        pooled = totals.sum(axis=0) / sends.sum()
        rates = (totals + self.prior_sends * pooled) / np.maximum(sends + self.prior_sends, 1e-300)[:, None]
        rates = np.where(sends[:, None] > 0, rates, pooled)
        c, d, m = dataset.candidates.shape[2], dataset.context.shape[1], len(w)
        own = np.zeros((m, c), dtype=np.float32)
        own[:, columns] = rates.T
        none = np.float32(0.0)
        model = LinearRewardModel(
            np.full((m, c, d), none), own, np.full((m, d), none), np.full(m, none), ("identity",) * m, np.ones(m),
            np.zeros(m), w,
        )  # fmt: skip
        self.report = {"settings": {"sends": int(sends.sum()), "messages": int((sends > 0).sum())}}
        return _sending(model, self.epsilon)


#: Below every lift that scores of rewards can have: something is sent whenever it may be.
ALWAYS = -1e300


def _sending(scorer: ColumnScorer | LinearRewardModel, epsilon: float) -> Policy:
    # A message of no score is not worth sending where scores are an order; a rate is always worth it.
    policy: Policy = SendIfPolicy(scorer, 0.0 if isinstance(scorer, ColumnScorer) else ALWAYS)
    return EpsilonGreedyPolicy(policy, epsilon) if epsilon else policy


def _by_sends(dataset: LoggedDataset) -> NDArray[np.int64]:
    columns, sends, _ = _sent(dataset)
    return columns[np.argsort(-sends, kind="stable")]


def _sent(dataset: LoggedDataset) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Candidate columns that tell messages apart (a,), how often each was sent (a,), and its summed rewards (a, m)."""
    known = message_columns(dataset)
    columns = np.arange(dataset.candidates.shape[2], dtype=np.int64) if known is None else known
    sends, totals = np.zeros(len(columns)), np.zeros((len(columns), len(dataset.objectives)))
    for batch in dataset.batches(BATCH_ROWS):
        rows = np.arange(len(batch.rows))
        carried = (batch.candidates[rows, batch.action][:, columns] > 0) & (batch.action > 0)[:, None]
        sends += carried.sum(axis=0)
        totals += carried.T.astype(np.float64) @ batch.reward
    return columns, sends, totals
