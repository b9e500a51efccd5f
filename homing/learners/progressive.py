"""Messages by what they bring in the long term, told from the days that have passed so far (Impatient Bandits)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_positive
from homing.errors import InvalidInputError, describe
from homing.learners.examination import Examined
from homing.learners.impatient import Beliefs, TracePrior
from homing.learners.learner import objective_weights
from homing.learners.message_shares import message_columns
from homing.learners.recovering_softmax import group_columns
from homing.learners.traces import Traces, one_each
from homing.log import LoggedDataset
from homing.policies import EpsilonGreedyPolicy, MessageGroups, Policy, ThompsonPolicy
from homing.policies.wrappers import check_epsilon

FloatArray = NDArray[np.float64]
BATCH_ROWS = 8_192
#: Of the covariance of traces over users, the share that a multiple of the identity takes: days on which nobody
#: differs, and fewer traces than days, leave it singular.
SHRINKAGE = 0.05


class Progressive:
    """Thompson sampling of messages on a progressive posterior of what each brings over many days.

    A message's worth is what its users bring on the w days after it, beyond what their state had promised. Traces of
    messages that were sent at least w days before the log's end are whole; from these it is learnt how days go together
    (`TracePrior`), one prior for each objective. Silence, which is unlike messages, has no part in the prior. Then the
    days that have passed tell of newer messages what the days to come will bring, and a message sent yesterday is
    judged, with the doubt that it deserves. The policy draws each message, or silence, as often as it is the best one
    under the posterior; by user segment if asked.

    Wrong to use for whom to send to: a message is worth the same to everyone in a segment (`structured` tells users
    apart). What comes after a send is credited to it whole, other messages that follow included; messages are compared
    on that footing, and the log's chances even it out. The doubt that is stated counts users as independent.

    Args:
        days: w, length of a trace.
        group: a context category; each of its levels gets beliefs of its own. Empty for the same beliefs for everyone.
        draws: of the posterior that make the policy, exactly.
        spread: times the posterior's deviations.
        epsilon: share of uniform exploration over what is eligible.
        day_hours: length of a day, for logs that live faster.

    Attributes:
        report: how the last fit went.

    References:
        McDonald, Maystre, Lalmas, Russo and Ciosek (2023), "Impatient Bandits: Optimizing Recommendations for the
        Long-Term Without Delay", KDD, sections 4 and 5.
    """

    def __init__(
        self,
        days: int = 60,
        group: str = "",
        draws: int = 256,
        spread: float = 1.0,
        epsilon: float = 0.05,
        day_hours: float = 24.0,
    ) -> None:
        self.days, self.draws = check_count("days", days), check_count("draws", draws)
        self.group, self.epsilon = str(group), check_epsilon(epsilon)
        self.spread = 0.0 if spread == 0 else check_positive("spread", spread)
        self.day_hours = check_positive("day_hours", day_hours)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a log in which users are decided for again and again.

        Raises:
            InvalidInputError: if no user was decided for twice, or fewer than two messages have whole traces.
            UnknownNameError: if the group is no category of the context.
        """
        w = objective_weights(dataset, weights)
        if len(np.unique(dataset.user)) == dataset.n:
            raise InvalidInputError(
                describe("decisions of a user", 1, "must be >= 2 for some", "What comes on later days is read from a "
                         "user's later decisions: log them, or use a learner of single decisions.")
            )  # fmt: skip
        columns = message_columns(dataset)
        messages = dataset.k - 1 if columns is None else len(columns)
        widths = (dataset.context.shape[1], dataset.candidates.shape[2])
        pairs = MessageGroups(columns, group_columns(dataset, self.group), messages, widths)
        sent = _sent(dataset, pairs)
        rows = one_each(dataset, sent % (messages + 2), rng)
        traces = Traces.after(dataset, rows, self.days, self.day_hours)
        found = [self._beliefs(traces, sent[rows], pairs, j) for j in range(len(w))]
        users = np.bincount(sent[rows] % (messages + 2), traces.observed > 0, minlength=messages + 2)
        warnings = {}
        if users[0] == 0:
            warnings["no-silence"] = "The log was never silent: silence is believed to be like any message."
        draws = np.stack(
            [one.mean + self.spread * np.sqrt(one.variance) * rng.standard_normal((self.draws, pairs.size))
             for one in found], axis=1,
        )  # fmt: skip
        self.report = {
            "settings": {
                "messages": messages, "groups": len(pairs.groups), "days": self.days, "traces": len(rows),
                "whole traces": int((traces.observed == self.days).sum()), "draws": self.draws,
            },
            "warnings": warnings,
            "beliefs": _lines(found, w, users, dataset, columns),
        }  # fmt: skip
        policy: Policy = ThompsonPolicy(pairs, draws, w)
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    def _beliefs(self, traces: Traces, sent: NDArray[np.int64], pairs: MessageGroups, objective: int) -> Beliefs:
        """Of one objective, for each pair of group and message."""
        kinds, values = pairs.messages + 2, traces.values[:, :, objective]
        message, whole = sent % kinds, traces.observed == self.days
        known = [arm for arm in range(1, kinds) if (whole & (message == arm)).sum() >= 2]
        if len(known) < 2:
            longest = int(traces.observed.max(initial=0))
            raise InvalidInputError(
                describe("days", self.days, f"must leave two messages with two whole traces; the longest has {longest} "
                         "days", "Take fewer days, or a longer log.")
            )  # fmt: skip
        if not values.any():
            return Beliefs(np.zeros(pairs.size), np.zeros(pairs.size))
        prior = TracePrior.fit([values[whole & (message == arm)] for arm in known], shrinkage=SHRINKAGE)
        # Users of a group count for their group, and for what is believed of those of none.
        some = np.flatnonzero(sent >= kinds)
        arm = np.concatenate([message, sent[some]])
        at = np.concatenate([np.arange(len(sent)), some])
        return prior.beliefs(arm, traces.observed[at], values[at], arms=pairs.size)


def _sent(dataset: LoggedDataset, pairs: MessageGroups) -> NDArray[np.int64]:
    """Which pair of group and message was chosen, (n,)."""
    return np.concatenate(
        [pairs.pairs(batch.context, batch.candidates)[np.arange(len(batch.rows)), batch.action]
         for batch in dataset.batches(BATCH_ROWS)]
    )  # fmt: skip


def _lines(
    found: list[Beliefs],
    weights: FloatArray,
    users: NDArray[np.integer],
    dataset: LoggedDataset,
    columns: NDArray[np.int64] | None,
) -> list[dict[str, Any]]:
    """What is believed of each message that was sent, over all users, in weighted units."""
    mean = sum(w * one.mean for w, one in zip(weights, found, strict=True))
    variance = sum(w**2 * one.variance for w, one in zip(weights, found, strict=True))

    def name(message: int) -> str:
        if message == 0:
            return "silence"
        encoder = dataset.encoder
        return f"candidate {message}" if encoder is None or columns is None else (
            encoder.candidate_names[columns[message - 1]].removeprefix("message_id=")
        )  # fmt: skip

    return [
        {"message": name(m), "worth": float(mean[m]), "std": float(np.sqrt(variance[m])), "users": int(users[m])}
        for m in np.flatnonzero(users[:-1]).tolist()
    ]
