"""The baseline: send each message as often as the log did, whatever the context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count
from homing.learners.examination import Examined
from homing.log import Batch, LoggedDataset
from homing.policies import MessageSharesPolicy

BATCH_ROWS = 4096
#: Choice sets kept apart; rarer ones beyond this number are left out of the fit.
MAX_SETS = 20_000


class MessageShares:
    """Shares of messages, so that a log whose policy did not look at the context is reproduced.

    With eligibility masks, how often a message was sent says little about its share, so shares are fitted as strengths
    of a Luce choice model (Luce 1959; choice sets of varying size) by Hunter's minorise–maximise steps
    (Hunter 2004, Annals of Statistics 32:1, eq. 4): s_j ← wins_j / Σ_i n_ij / Σ_l n_il s_l, with n_ij eligible
    candidates of message j in decision i. Wins are expected ones, from the logged probabilities: how often chance drew
    a message is noise. Where the log has only the propensity of what was sent, the mean of 1/propensity over a
    message's sends tells its mean probability. It reads no rewards.

    Messages are told apart by the encoder's `message_id` columns; in data without an encoder, by position.
    """

    def __init__(self, steps: int = 200) -> None:
        self.steps = check_count("steps", steps)
        self.report: dict[str, Any] = {}

    @Examined(rewards=False)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> MessageSharesPolicy:
        """Fit; `weights` and `rng` are not used."""
        columns = message_columns(dataset)
        wins, sets, times = choices(dataset, columns)
        shares = luce_shares(wins, sets, times, self.steps)
        self.report = {"settings": {"messages": len(shares) - 1, "choice sets": len(sets)}}
        other = float(shares[shares > 0].min())
        if columns is None:
            return MessageSharesPolicy(shares, other=other)
        return MessageSharesPolicy(shares[1:], columns, silence=float(shares[0]), other=other)


def message_columns(dataset: LoggedDataset) -> NDArray[np.int64] | None:
    """Candidate columns that tell messages apart, the one-hot block of message ids; None without an encoder."""
    if dataset.encoder is None:
        return None
    names = dataset.encoder.candidate_names
    return np.array([i for i, name in enumerate(names) if name.startswith("message_id=")], dtype=np.int64)


def choices(
    dataset: LoggedDataset, columns: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Expected choices of each message (a,), distinct choice sets (s, a), and how often each occurred (s,).

    Message 0 is silence. A choice set counts the eligible candidates of each message.
    """
    size = dataset.k if columns is None else len(columns) + 1
    offered, sent, inverse, expected = (np.zeros(size) for _ in range(4))
    sets: dict[bytes, float] = {}
    for batch in dataset.batches(BATCH_ROWS):
        shown = _messages(batch, columns, size) & batch.eligible[:, :, None]  # (n, k, a)
        counts = shown.sum(axis=1)
        taken = shown[np.arange(len(batch.rows)), batch.action]
        offered += counts.sum(axis=0)
        sent += taken.sum(axis=0)
        inverse += (taken / batch.propensity[:, None]).sum(axis=0)
        if dataset.probs is not None:
            expected += np.einsum("nka,nk->a", shown, dataset.probs[batch.rows])
        kinds, times = np.unique(counts.astype(np.int32), axis=0, return_counts=True)
        for kind, count in zip(kinds, times, strict=True):
            sets[kind.tobytes()] = sets.get(kind.tobytes(), 0.0) + float(count)
    if dataset.probs is None:
        expected = offered * sent / np.where(inverse > 0, inverse, 1.0)
    kept = sorted(sets.items(), key=lambda item: (-item[1], item[0]))[:MAX_SETS]
    masks = np.array([np.frombuffer(kind, np.int32) for kind, _ in kept], dtype=np.float64)
    return expected, masks, np.array([count for _, count in kept])


def luce_shares(
    wins: NDArray[np.float64], sets: NDArray[np.float64], times: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """Strengths (a,) that sum to 1, from wins (a,) and choice sets (s, a) that occurred `times` (s,).

    Example:
        >>> luce_shares(np.array([1.0, 3.0]), np.array([[1.0, 1.0]]), np.array([4.0]), 10).tolist()
        [0.25, 0.75]
    """
    shares = np.full(len(wins), 1.0 / len(wins))
    for _ in range(steps):
        totals = sets @ shares
        seen = (times / np.where(totals > 0, totals, 1.0)) @ sets
        updated = np.where(seen > 0, wins / np.where(seen > 0, seen, 1.0), 0.0)
        updated /= updated.sum()
        done = np.abs(updated - shares).max() < 1e-12
        shares = updated
        if done:
            break
    return shares


def _messages(batch: Batch, columns: NDArray[np.int64] | None, size: int) -> NDArray[np.bool_]:
    """Which message each candidate is, (n, k, a); candidate 0 is silence, one of no known message is none."""
    n, k = batch.eligible.shape
    if columns is None:
        return np.broadcast_to(np.eye(k, dtype=bool), (n, k, k))
    out = np.zeros((n, k, size), dtype=bool)
    out[:, :, 1:] = batch.candidates[:, :, columns] > 0
    out[:, 0] = np.arange(size) == 0
    return out
