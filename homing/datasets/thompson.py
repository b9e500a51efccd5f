"""The shop's Thompson-sampling policy of the Open Bandit Dataset, as probabilities that can be evaluated."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog, LoggedDataset

POSITIONS = ("position-1", "position-2", "position-3")


def thompson_shares(log: DecisionLog) -> NDArray[np.float64]:
    """How often the policy showed each item at each position, over the week of its own log.

    The policy ignores the user and kept learning, so that its probabilities drift with time; these shares are its
    average, and what another log can be asked about. (Its published starting point is far from that average: item 0 of
    the men's campaign starts at 0.05 and was shown 0.13 of the time.)

    Args:
        log: `load("open-bandit", behaviour="bts", …)`.

    Returns:
        float64 (k, 3), silence first; each column sums to 1. The standard error of a share p over n rows of a position
        is sqrt(p (1 - p) / n).

    Raises:
        InvalidInputError: if the log has no rows at one of the three positions.
    """
    counts: NDArray[np.float64] | None = None
    for batch in log.decision_batches(columns=["context", "action", "candidates"]):
        k = int(pc.max(pc.list_value_length(batch["candidates"])).as_py())
        counts = np.zeros((k, len(POSITIONS))) if counts is None else counts
        position = pc.index_in(batch["context"].field("position"), value_set=pa.array(POSITIONS))
        pairs = (batch["action"].to_numpy().astype(np.int64), position.to_numpy(zero_copy_only=False).astype(np.int64))
        np.add.at(counts, pairs, 1.0)
    totals = np.zeros(len(POSITIONS)) if counts is None else counts.sum(axis=0)
    if counts is None or (totals == 0).any():
        bound = "must have rows at each of the three positions"
        raise InvalidInputError(describe("rows by position", totals.tolist(), bound, "Read more rows of the log."))
    shares: NDArray[np.float64] = counts / totals
    return shares


def thompson_probs(dataset: LoggedDataset, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The policy's probabilities (n, k) on decisions of an open-bandit log, for `homing.ope.evaluate_policy`.

    Args:
        dataset: built from a log of the same campaign, with its encoder.
        shares: (k, 3) from `thompson_shares`.

    Raises:
        InvalidInputError: if the dataset has no encoder, or another number of items.
    """
    if dataset.encoder is None:
        raise InvalidInputError(describe("dataset.encoder", None, "must be there", "Build it with build_dataset."))
    if dataset.k != len(shares):
        bound = f"must be {len(shares)}, silence and the items of `shares`"
        raise InvalidInputError(describe("dataset.k", dataset.k, bound, "Use the shares of the same campaign."))
    columns = [dataset.encoder.context_column(f"position={name}") for name in POSITIONS]
    probs: NDArray[np.float64] = shares.T[np.argmax(dataset.context[:, columns], axis=1)]
    return probs
