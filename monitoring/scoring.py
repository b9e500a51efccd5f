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
        until: a decision has no reward of an objective whose window is not closed by then; None for all closed.
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
            data = build_dataset(window.log, objectives, encoder=_encoder(artifact))
        except HomingError as e:  # a feature that the model needs is not in this log
            notes.append(f"Rewards and models were not compared: {e}")
            continue
        # Both are sorted by time and decision id, and hold each decision once.
        assert np.array_equal(data.user_ids[data.user], window.user), "the data set's rows are not the window's"
        if not reward:
            # An outcome outside a closed window does not count anyhow, so that masking is all that `until` asks for.
            closed = {name: _closed(data, objective.window_us, until) for name, objective in objectives.items()}
            reward = {n: np.where(closed[n], data.reward[:, i], np.nan) for i, n in enumerate(data.objectives)}
        if artifact is None or artifact.features is None:
            continue
        if artifact is policy:
            weight = _weights(artifact, data)
        if artifact is reward_model and (predictor := predictor_of(artifact.policy)) is not None:
            expected = _predictions(predictor, data)
            for i, name in enumerate(artifact.objectives):
                if name in reward and i < expected.shape[1]:
                    predicted[name] = expected[:, i]
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


def _closed(data: LoggedDataset, window_us: int, until: datetime | None) -> NDArray[np.bool_]:
    """Which decisions' outcome windows have ended at `until`."""
    if until is None:
        return np.ones(data.n, dtype=bool)
    return data.time.astype(np.int64) + window_us <= int(until.timestamp() * 1e6)


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
