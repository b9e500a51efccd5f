"""Duolingo's recovering difference softmax: which message, when all of them are the same kind of reminder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe, unknown_name
from homing.learners.examination import Examined
from homing.learners.learner import objective_weights
from homing.learners.message_shares import MessageShares, message_columns
from homing.log import Batch, LoggedDataset
from homing.policies import SoftmaxPolicy
from homing.policies.recovering import Recency, RecoveringScorer, group_of, message_of

FloatArray = NDArray[np.float64]
BATCH_ROWS = 8_192
#: The score of what the log never chose: no temperature brings it back.
NEVER = -1e6


class RecoveringSoftmax:
    """Softmax over how much better each message is than the others that could have been sent, less what repeats lose.

    For message a, over the rounds in which it could have been sent and others too,

        μ⁺ = Σ_sent r/b / Σ_sent 1/b,  μ⁻ = Σ_not r/(1 − b) / Σ_not 1/(1 − b),  s = (μ⁺ − μ⁻) / μ⁻,

    b being the probability with which the log sent a. Both means are shrunk to the mean of all these rounds as if it
    had been seen in `prior_rounds` more, against their effective number (Σw)² / Σw² of rounds. Comparing within the
    rounds in which a could have been sent is what tells a good message from one that is sent to people who come anyway.
    The policy is a softmax, with τ, of s − γ · 0.5^(d / h), d being the days since the user last got the message.

    Rounds in which a had to be sent are left out of both means. What the log never sent although it could have is never
    sent; silence is a message like others here, and takes part only if the log was silent at times. It asks what brings
    most within the reward's window, not what wears users out: the choice whether to send is another learner's.

    Args:
        group: a context category; each of its levels gets scores of its own (template × language in the paper). Levels
            that are not in the log get the scores of all users. Empty for the same scores for everyone.
        recency: the candidate feature with the days since the user last got the message, missing for never; where the
            log has none nothing recovers.
        novelty: γ, in relative reward (0.017).
        half_life_days: h (15).
        temperature: τ, in relative reward (0.0025).
        prior_rounds: σ (105), which we read as a number of rounds.

    References:
        Yancey and Settles (2020), "A Sleeping, Recovering Bandit Algorithm for Optimizing Recurring Notifications",
        KDD, pages 3008 to 3016.
    """

    def __init__(
        self,
        group: str = "",
        recency: str = "days_since_sent",
        novelty: float = 0.017,
        half_life_days: float = 15.0,
        temperature: float = 0.0025,
        prior_rounds: float = 105.0,
    ) -> None:
        self.group, self.recency = str(group), str(recency)
        for name, value in (("novelty", novelty), ("prior_rounds", prior_rounds)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InvalidInputError(describe(name, value, "must be >= 0"))
        self.novelty, self.prior_rounds = float(novelty), float(prior_rounds)
        self.half_life_days = check_positive("half_life_days", half_life_days)
        self.temperature = check_positive("temperature", temperature)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> SoftmaxPolicy:
        """Fit in one pass over the log; `rng` is not used.

        Raises:
            UnknownNameError: if the group is no category of the context.
            InvalidInputError: if a mean reward that a message is compared with is not positive.
        """
        return self.fit_parts([dataset], weights=weights)

    def fit_parts(self, parts: Iterable[LoggedDataset], *, weights: Mapping[str, float] | None = None) -> SoftmaxPolicy:
        """Fit on a log in parts, none of which is held on to: one that is larger than memory.

        Args:
            parts: of one log, with the same objectives, features and encoder.
            weights: see `fit`; None takes those of the first part.

        Raises:
            InvalidInputError: if there is no part, or they do not go together.
        """
        first: LoggedDataset | None = None
        for part in parts:
            if first is None:
                first = part
                importance, columns, groups = (
                    objective_weights(part, weights),
                    message_columns(part),
                    group_columns(part, self.group),
                )
                arms = part.k - 1 if columns is None else len(columns)
                sums = np.zeros((2, 4, 1 + len(groups), arms + 1))
            elif part.encoder != first.encoder or part.objectives != first.objectives:
                raise InvalidInputError(
                    describe("part", part.objectives, "must have the encoder and the objectives of the first", "Build "
                             "all parts with one encoder.")
                )  # fmt: skip
            sums += _totals(part, importance, columns, groups, arms + 1)
        if first is None:
            raise InvalidInputError(describe("parts", 0, "must be at least 1"))
        by_group = np.stack([self._scores(sums[:, :, g]) for g in range(1 + len(groups))])
        by_group = np.column_stack([by_group, np.zeros(len(by_group))])  # of a message that is new, nothing is known
        recency = _recency(first, self.recency)
        self.report = {
            "settings": {
                "messages": int((by_group[0, 1:-1] > NEVER).sum()),
                "groups": len(groups),
                "recency": self.recency if recency else "not in the log",
                "probabilities of what was not sent": "modelled" if first.probs is None else "logged",
            },
            "scores": by_group[0, :-1].tolist(),
        }
        if recency is None and self.novelty:
            self.report["warnings"] = {
                "no-recency": f"The log has no number {self.recency!r} of candidates, days since the user last got the "
                "message: nothing recovers. Name it with recency, or pass novelty=0."
            }
        scorer = RecoveringScorer(by_group, columns, groups, recency, self.novelty, self.half_life_days)
        return SoftmaxPolicy(scorer, self.temperature)

    def _scores(self, sums: FloatArray) -> FloatArray:
        """s (a,) from totals (sent or not, of 1, w, w² and w·r, a)."""
        weight, squares, rewards = sums[:, 1], sums[:, 2], sums[:, 3]
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled = rewards.sum(axis=0) / weight.sum(axis=0)
            effective = np.nan_to_num(weight**2 / squares)
            mean = np.nan_to_num(rewards / weight)
            shrunk = (effective * mean + self.prior_rounds * pooled) / (effective + self.prior_rounds)
            scores = shrunk[0] / shrunk[1] - 1.0
        known = sums[:, 0].min(axis=0) > 0
        if (shrunk[1][known] <= 0).any():
            at = int(np.flatnonzero(known & (shrunk[1] <= 0))[0])
            raise InvalidInputError(
                describe(
                    f"mean reward without message {at}", float(shrunk[1][at]), "must be > 0",
                    "Scores are relative to it: choose rewards, or weights, with a positive mean.",
                )
            )  # fmt: skip
        declined = (sums[0, 0] == 0) & (sums[1, 0] > 0)
        return np.where(known, scores, np.where(declined, NEVER, 0.0))


def group_columns(dataset: LoggedDataset, group: str) -> NDArray[np.int64]:
    """Context columns (g,) of the levels of a category; none for no category.

    Raises:
        UnknownNameError: if it is no category of the context.
    """
    names = () if dataset.encoder is None else dataset.encoder.context_names
    found = [i for i, name in enumerate(names) if group and name.startswith(f"{group}=")]
    if group and not found:
        raise unknown_name("group", group, {name.split("=")[0] for name in names if "=" in name})
    return np.array(found, dtype=np.int64)


def _totals(
    dataset: LoggedDataset, weights: FloatArray, columns: NDArray[np.int64] | None, groups: NDArray[np.int64], arms: int
) -> FloatArray:
    """Sums over rounds in which a message was sent, and in which it was not though it could have been.

    Returns:
        (2, 4, 1 + g, a): sent or not; of 1, w, w² and w·r; all users and each group; messages, silence first.
    """
    model = None if dataset.probs is not None else MessageShares().fit(dataset, rng=np.random.default_rng(0))
    out = np.zeros((2, 4, 1 + len(groups), arms))
    for batch in dataset.batches(BATCH_ROWS):
        rows = np.arange(len(batch.rows))
        if model is None:
            assert dataset.probs is not None
            probs = np.asarray(dataset.probs[batch.rows], dtype=np.float64)
        else:
            probs = model.action_probs(batch.context, batch.candidates, batch.eligible)
            probs[rows, batch.action] = batch.propensity
        rounds = _Rounds.of(batch, probs, message_of(batch.candidates, columns, arms), arms)
        member = np.zeros((len(rows), 1 + len(groups)))
        member[rows, group_of(batch.context, groups)] = 1.0
        member[:, 0] = 1.0
        reward = (batch.reward @ weights)[:, None]
        for side, weight in enumerate((rounds.sent, rounds.not_sent)):
            for number, part in enumerate(((weight > 0).astype(np.float64), weight, weight**2, weight * reward)):
                out[side, number] += member.T @ part
    return out


@dataclass(frozen=True, eq=False)
class _Rounds:
    """Weights (n, a): 1/b where a message was sent, 1/(1 − b) where it was not though it could have been; else 0."""

    sent: FloatArray
    not_sent: FloatArray

    @classmethod
    def of(cls, batch: Batch, probs: FloatArray, message: NDArray[np.int64], arms: int) -> _Rounds:
        # A message may be there on several channels: what counts is whether it was sent at all.
        n = len(batch.rows)
        at = np.arange(n)[:, None] * (arms + 1) + message
        there = np.bincount(at[batch.eligible], minlength=n * (arms + 1)).reshape(n, -1)[:, :arms] > 0
        b = np.bincount(at[batch.eligible], probs[batch.eligible], minlength=n * (arms + 1)).reshape(n, -1)[:, :arms]
        taken = message[np.arange(n), batch.action][:, None] == np.arange(arms)
        open_ = there & (b < 1.0 - 1e-9)
        sent, not_sent = open_ & taken & (b > 0), open_ & ~taken
        return cls(
            np.where(sent, 1.0 / np.where(sent, b, 1.0), 0.0),
            np.where(not_sent, 1.0 / np.where(not_sent, 1.0 - b, 1.0), 0.0),
        )


def _recency(dataset: LoggedDataset, name: str) -> Recency | None:
    """Where the dataset tells the days since a message was sent; None if it does not."""
    encoder = dataset.encoder
    field = next((field for field in encoder.candidate if field.name == name), None) if encoder else None
    if encoder is None or field is None or field.kind != "number" or field.scale == 0:
        return None
    missing = encoder.column(f"{name}__missing") if field.missing else None
    return Recency(encoder.column(name), field.mean, field.scale, missing)
