"""What a policy adds to the one that logged, decision by decision, and to what an open channel is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from homing.learners.state_values import StateValues, fit_values
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset
from homing.policies import StructuredAdvantage

FloatArray = NDArray[np.float64]
BATCH_ROWS = 8_192


def gains(scorer: StructuredAdvantage, dataset: LoggedDataset, rows: NDArray[np.int64]) -> FloatArray:
    """What the eligible message that scores best adds to each objective, less what the logged one did, (rows, m).

    As the scorer's own effects tell it, for users who keep the channel open.

    Args:
        scorer: fitted on the dataset.
        dataset: n decisions.
        rows: of the dataset.
    """
    out = np.zeros((len(rows), len(scorer.weights)))
    for begin in range(0, len(rows), BATCH_ROWS):
        batch = dataset.rows(rows[begin : begin + BATCH_ROWS])
        scores = np.where(batch.eligible, scorer.scores(batch.context, batch.candidates), -np.inf)
        effects = scorer.effects(batch.context, batch.candidates)
        each = np.arange(len(batch.rows))
        out[begin : begin + BATCH_ROWS] = effects[each, scores.argmax(axis=1)] - effects[each, batch.action]
    return out


def added_values(
    scorer: StructuredAdvantage,
    dataset: LoggedDataset,
    rows: NDArray[np.int64],
    gaps: Gaps,
    going: FloatArray,
    permissions: NDArray[np.int64],
    ridge: float,
) -> StateValues:
    """What states are worth more under the scorer's policy than under the log's, to first order.

    V^π' − V^π = E Σ_t γ^t A^π(s_t, π'(s_t)) over states as π' meets them (Kakade and Langford 2002, "Approximately
    Optimal Approximate Reinforcement Learning", lemma 6.1); here over those that the log's policy meets.

    Args:
        scorer: fitted on the dataset.
        dataset: n decisions.
        rows: that tell it, of the dataset.
        gaps: where journeys go on.
        going: (n,), see `fit_values`.
        permissions: see `StateValues`.
        ridge: see `fit_values`.
    """
    gain = np.zeros((dataset.n, len(scorer.weights)))
    gain[rows] = gains(scorer, dataset, rows)
    unseen = np.ones(dataset.n, dtype=bool)
    unseen[rows] = False
    seen = replace(gaps, truncated=gaps.truncated | unseen)
    return fit_values(dataset.context, gain, seen, going, permissions, ridge)
