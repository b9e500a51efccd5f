"""What a window earned and what the champion's model expected of it: rewards, predictions, importance weights."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import HomingError
from homing.log import FeatureEncoder, LoggedDataset, Objectives, build_dataset
from monitoring.windows import Window

if TYPE_CHECKING:
    from homing.policies import PolicyArtifact

BATCH_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Scores:
    """Columns of a window that need outcomes or a model; NaN where a row has none.

    Attributes:
        reward: objective → (n,), the observed reward; NaN while the outcome window is open.
        predicted: objective → (n,), the reward model's expectation for the chosen candidate.
        weight: (n,), π(chosen | context) / propensity of the policy; all NaN without a policy.
        notes: why something is not there, one sentence each.
    """

    reward: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]
    weight: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def score(
    window: Window,
    objectives: Objectives | None,
    *,
    policy: PolicyArtifact | None = None,
    reward_model: PolicyArtifact | None = None,
    until: datetime | None = None,
) -> Scores:
    """Compute rewards, predicted rewards and importance weights of a window's rows.

    Args:
        window: n decisions.
        objectives: None for no rewards (and then no calibration).
        policy: its importance weights are computed; None for none.
        reward_model: predicts rewards, an artifact whose policy holds a model with `predict`; None for no calibration.
            Not the policy's own scorer: a doubly robust policy's scores are no rewards.
        until: decisions whose outcome window is not closed by then get no reward.
    """
    nothing = np.full(window.rows, np.nan)
    if not window.rows or objectives is None:
        note = () if objectives is not None else ("No objectives given: rewards and calibration were not compared.",)
        return Scores({}, {}, nothing, note)
    reward: dict[str, NDArray[np.float64]] = {}
    predicted: dict[str, NDArray[np.float64]] = {}
    weight, notes = nothing, []
    for artifact in {id(item): item for item in (policy, reward_model)}.values():
        try:
            data = build_dataset(window.log, objectives, until=until, encoder=_encoder(artifact))
        except HomingError as e:  # a feature that the model needs is not in this log
            notes.append(f"Rewards and models were not compared: {e}")
            continue
        rows = _rows(window, data)
        if not reward:
            reward = {name: _spread(window.rows, rows, data.reward[:, i]) for i, name in enumerate(data.objectives)}
        if artifact is None or artifact.features is None or not data.n:
            continue
        if artifact is policy:
            weight = _spread(window.rows, rows, _weights(artifact, data))
        if artifact is reward_model and (predictor := predictor_of(artifact.policy)) is not None:
            expected = _predictions(predictor, data)
            for i, name in enumerate(artifact.objectives):
                if name in reward and i < expected.shape[1]:
                    predicted[name] = _spread(window.rows, rows, expected[:, i])
    return Scores(reward, predicted, weight, tuple(dict.fromkeys(notes)))


def predictor_of(policy: Any) -> Any | None:
    """The reward model inside a policy (a scorer that predicts), or None."""
    seen: list[Any] = [policy]
    while seen:
        item = seen.pop()
        if hasattr(item, "predict"):
            return item
        seen += [getattr(item, name) for name in ("scorer", "base", "policy") if getattr(item, name, None) is not None]
    return None


def _encoder(artifact: PolicyArtifact | None) -> FeatureEncoder | None:
    if artifact is None or artifact.features is None:
        return None
    return FeatureEncoder.from_dict(artifact.features)


def _rows(window: Window, data: LoggedDataset) -> NDArray[np.int64]:
    """Position in the window of each row of its data set: both are sorted by time and decision id."""
    # Decisions whose outcome window is open were left out, and they are the latest ones.
    rows = np.arange(data.n)
    users = data.user_ids[data.user] if data.user_ids is not None else window.user[rows]
    assert np.array_equal(users, window.user[rows]), "the data set's rows are not the window's first rows"
    return rows


def _spread(size: int, rows: NDArray[np.int64], values: NDArray[np.floating]) -> NDArray[np.float64]:
    out = np.full(size, np.nan)
    out[rows] = values
    return out


def _weights(artifact: PolicyArtifact, data: LoggedDataset) -> NDArray[np.float64]:
    out = np.empty(data.n)
    for batch in data.batches(BATCH_ROWS):
        probs = artifact.action_probs(batch.context, batch.candidates, batch.eligible)
        out[batch.rows] = probs[np.arange(len(batch.rows)), batch.action] / batch.propensity
    return out


def _predictions(predictor: Any, data: LoggedDataset) -> NDArray[np.float64]:
    parts = [
        predictor.predict(batch.context, batch.candidates)[np.arange(len(batch.rows)), batch.action]
        for batch in data.batches(BATCH_ROWS)
    ]
    return np.concatenate(parts).astype(np.float64)
