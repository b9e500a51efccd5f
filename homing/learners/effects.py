"""Effects of messages against silence, regressed on context and candidate: the last step of uplift learners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.examples import Examples, validation_rows
from homing.learners.linear_fit import fit_path, outputs, parts
from homing.log import CandidateStore, LoggedDataset
from homing.policies import LinearRewardModel, TwoModelScorer


@dataclass(frozen=True, eq=False)
class Pairs:
    """Decisions beside one message each, for which an effect is to be estimated.

    Attributes:
        row: int64 (p,), position of the decision in its dataset.
        column: int64 (p,), the message, a candidate >= 1 of that decision.
        weight: float64 (p,), >= 0: how much the pair counts in the regression.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    weight: NDArray[np.float64]

    def examples(self, dataset: LoggedDataset, target: NDArray[np.float64]) -> Examples:
        """The pairs' context, message and target (p, m)."""
        store = dataset.candidates
        flat = store.offsets[self.row] + self.column
        chosen = CandidateStore(
            store.codes[flat], store.levels, store.numeric[flat], np.arange(len(flat) + 1, dtype=np.int64)
        )
        return Examples(dataset.context[self.row], chosen, target, dataset.user[self.row])


def pairs_of(dataset: LoggedDataset, rng: np.random.Generator) -> Pairs:
    """What was sent, and one more eligible message of each decision drawn uniformly.

    The regression is over all eligible messages of all decisions alike. A decision's doubly robust estimates differ
    from the model's at what was sent alone, so that one is always taken, with the weight of one of the K eligible
    messages, and a drawn one stands for the K − 1 others.
    """
    eligible = dataset.eligible.copy()
    eligible[:, 0] = False
    count = eligible.sum(axis=1)
    rows = np.arange(dataset.n)
    sent = dataset.action > 0
    eligible[rows[sent], dataset.action[sent]] = False
    others = eligible.sum(axis=1)
    draw = np.minimum((rng.random(dataset.n) * others).astype(np.int64), np.maximum(others - 1, 0))
    column = np.argmax(eligible.cumsum(axis=1) > draw[:, None], axis=1)
    drawn = others > 0
    share = 1.0 / np.maximum(count, 1)
    return Pairs(
        np.concatenate([rows[sent], rows[drawn]]),
        np.concatenate([dataset.action[sent], column[drawn]]),
        np.concatenate([share[sent], (others * share)[drawn]]),
    )


def fit_effects(
    examples: Examples,
    weight: NDArray[np.float64],
    importance: NDArray[np.float64],
    *,
    penalties: Sequence[float],
    validation_share: float,
    rng: np.random.Generator,
) -> tuple[LinearRewardModel, list[float]]:
    """Regress targets on context, message and their products; the penalty with the least held-out loss is taken.

    Args:
        examples: p pairs, targets (p, m).
        weight: (p,), of each pair's squared error.
        importance: (m,), kept in the model as its default weights.
        penalties: strengths to try, in observations.
        validation_share: of users held out for that choice.
        rng: splits users.

    Returns:
        The model, in the targets' own units, and the held-out losses from the strongest penalty.
    """
    total = weight.sum()
    if not total > 0:
        raise InvalidInputError(
            describe("pairs of decision and message", 0, "must be >= 1", "No decision of the log may send anything.")
        )
    weight = weight * (len(weight) / total)
    mean = weight @ examples.reward / len(weight)
    deviation = np.sqrt(weight @ (examples.reward - mean) ** 2 / len(weight))
    deviation = np.where(deviation > 0, deviation, 1.0)
    data = Examples(examples.context, examples.chosen, (examples.reward - mean) / deviation, examples.user)
    held = validation_rows(data.user, validation_share, rng)
    train, rest = np.flatnonzero(~held), np.flatnonzero(held)
    links, tried = ("identity",) * len(importance), sorted(penalties, reverse=True)
    judged, aside, counts = BilinearDesign.of(data.rows(rest)), data.reward[rest], weight[rest] / weight[rest].sum()
    fits = fit_path(BilinearDesign.of(data.rows(train)), data.reward[train], links, tried, weight[train])
    losses = [float(counts @ ((outputs(judged, theta) - aside) ** 2).sum(axis=1)) for theta in fits]
    penalty = tried[int(np.argmin(losses))]
    theta = fit_path(BilinearDesign.of(data), data.reward, links, [penalty], weight)[0]
    return LinearRewardModel(*parts(theta), links, deviation, mean, importance), losses


def against_silence(effect: LinearRewardModel) -> TwoModelScorer:
    """A scorer of messages by their effect; silence has none."""
    return TwoModelScorer(nothing(effect), effect)


def nothing(like: LinearRewardModel) -> LinearRewardModel:
    """A model of the same shape that predicts 0."""
    return LinearRewardModel(
        np.zeros_like(like.interaction), np.zeros_like(like.candidate), np.zeros_like(like.context),
        np.zeros_like(like.intercept), like.links, np.ones_like(like.slope), np.zeros_like(like.offset), like.weights,
    )  # fmt: skip
