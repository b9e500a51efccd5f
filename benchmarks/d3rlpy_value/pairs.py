"""What a learner with a fixed number of actions sees of a decision: silence, and a domain and channel for each of the
others.

In `MessagingWorld` one message of a domain waits at most, on each channel, so that such a pair names a candidate and no
choice is lost. What is told of it are the same encoded columns that Homing's learners see, once a domain, and for each
pair whether it may be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.transitions import Gaps
from homing.log import FeatureEncoder, LoggedDataset

#: Rows whose candidates are expanded at a time.
BATCH_ROWS = 20_000
#: Candidate columns that say no more than the pair does, or name it.
IMPLIED = ("is_silence", "message_id=", "domain=", "channel=", "slot=")


@dataclass(frozen=True)
class Pairs:
    """Which candidate columns tell domain and channel, and which say more of a message.

    Attributes:
        domains, channels, told: candidate columns.

    Example:
        >>> pairs = Pairs((1, 2), (3,), (4,))
        >>> candidates = np.zeros((1, 3, 5))
        >>> candidates[0, 1] = (0, 0, 1, 1, 0.5)  # the second domain, on the only channel, with a value of 0.5
        >>> observation, at = pairs.seen(np.array([[7.0]]), candidates, np.array([[True, True, False]]))
        >>> observation.tolist()  # context; may be sent, of both pairs; then of each domain whether it waits, its value
        [[7.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.5]]
        >>> at.tolist()  # silence is candidate 0, the first pair none, the second candidate 1
        [[0, -1, 1]]
    """

    domains: tuple[int, ...]
    channels: tuple[int, ...]
    told: tuple[int, ...]

    @classmethod
    def of(cls, encoder: FeatureEncoder) -> Pairs:
        """The columns of an encoder."""
        names = encoder.candidate_names

        def starting(with_: str) -> tuple[int, ...]:
            return tuple(i for i, name in enumerate(names) if name.startswith(with_))

        told = tuple(i for i, name in enumerate(names) if not name.startswith(IMPLIED))
        return cls(starting("domain="), starting("channel="), told)

    @property
    def actions(self) -> int:
        """Silence and all pairs."""
        return 1 + len(self.domains) * len(self.channels)

    def seen(
        self, context: NDArray[np.floating], candidates: NDArray[np.floating], eligible: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The observation (n, p) of n decisions, and the eligible candidate (n, actions) of each action; -1 for none.

        Raises:
            InvalidInputError: if a decision offers two candidates of a pair: one action cannot mean both.
        """
        n, k, _ = candidates.shape
        told = np.zeros((n, len(self.domains), 1 + len(self.told)), dtype=np.float32)
        at = np.full((n, self.actions), -1, dtype=np.int64)
        at[:, 0] = 0
        for j in range(1, k):
            # The columns one by one: a copy of all of them is what costs.
            domain, channel = candidates[:, j, self.domains], candidates[:, j, self.channels]
            row = np.flatnonzero(domain.any(axis=1))
            d, c = domain[row].argmax(axis=1), channel[row].argmax(axis=1)
            told[row, d, 0] = 1.0
            told[row, d, 1:] = candidates[row, j][:, self.told]
            may = eligible[row, j]
            row, action = row[may], (1 + d * len(self.channels) + c)[may]
            if (at[row, action] >= 0).any():
                bound = "must be 1 at most: an action means one of them"
                raise InvalidInputError(describe("candidates of a domain and channel", 2, bound))
            at[row, action] = j
        return np.concatenate([context, at[:, 1:] >= 0, told.reshape(n, -1)], axis=1, dtype=np.float32), at


@dataclass(frozen=True, eq=False)
class PairPolicy:
    """Sends what a network over observations promises most of, among what is eligible.

    Attributes:
        pairs: what it sees and what its actions mean.
        layers: weights (out, in) and bias (out,) of each, with rectifiers between them.
    """

    pairs: Pairs
    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]

    @classmethod
    def load(cls, file: Path, pairs: Pairs) -> PairPolicy:
        """What `benchmarks.d3rlpy_value.peer` wrote."""
        with np.load(file) as held:
            count = len(held.files) // 2
            return cls(pairs, [(held[f"weight{i}"], held[f"bias{i}"]) for i in range(count)])

    def action_probs(
        self,
        context: NDArray[np.floating],
        candidates: NDArray[np.floating],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """1 for the best action's candidate, (n, k); it knows no weights but those that it was trained with."""
        hidden, at = self.pairs.seen(context, candidates, eligible)
        for i, (weight, bias) in enumerate(self.layers):
            hidden = (np.maximum(hidden, 0.0) if i else hidden) @ weight.T + bias
        best = np.where(at >= 0, hidden, -np.inf).argmax(axis=1)
        row = np.arange(len(at))
        out = np.zeros(eligible.shape)
        out[row, at[row, best]] = 1.0
        return out


def export(data: LoggedDataset, weights: NDArray[np.float64], gamma: float, leaving: str, file: Path) -> None:
    """A log as the peer reads it: users one after the other, in order of time.

    `days` pass until the user's next decision, by which it discounts; a reward is what came until then, evenly, each
    part of it discounted by `gamma` a day (Bradtke & Duff 1994, section 3); `gone` tells after which decisions users
    left, which is what the objective `leaving` says.
    """
    assert data.encoder is not None
    pairs = Pairs.of(data.encoder)
    order = np.lexsort((data.time, data.user))
    observation, action = [], []
    for begin in range(0, data.n, BATCH_ROWS):
        rows = order[begin : begin + BATCH_ROWS]
        batch = data.rows(rows)
        seen, at = pairs.seen(batch.context, batch.candidates, batch.eligible)
        observation.append(seen)
        action.append((at == data.action[rows, None]).argmax(axis=1))
    gaps = Gaps.of(data)
    left = (gaps.terminal | gaps.truncated) & (data.reward[:, data.objectives.index(leaving)] > 0)
    rate = np.maximum(-np.log(gamma) * gaps.days, 1e-9)
    np.savez(
        file,
        observation=np.concatenate(observation),
        action=np.concatenate(action),
        reward=(data.reward @ weights * -np.expm1(-rate) / rate)[order].astype(np.float32),
        user=data.user[order],
        days=gaps.days[order],
        gone=left[order],
    )
