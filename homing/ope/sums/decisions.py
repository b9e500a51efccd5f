"""Some decisions of a log, in a row, from whatever holds it; and what policies and models say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_propensity, check_shape
from homing.errors import InvalidInputError, describe, unknown_name
from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder
from homing.log.ragged import Ragged
from homing.ope.recode import recode
from homing.ope.sums.users import user_keys
from homing.policies import Policy

FloatArray = NDArray[np.float64]
#: Encoded context (b, d) and candidates (b, k, c).
Shown = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Decisions:
    """b decisions that follow each other in a log. Wrong ones cannot be built; errors name the row of the whole log.

    Attributes:
        user: int64 (b,), the same key for a user in every part of the log.
        eligible: bool (b, k), False on padding.
        action: int64 (b,), what was chosen.
        propensity: float64 (b,).
        reward: float64 (b, m).
        show: gives context (b, d) and candidates (b, k, c) in the columns of an encoder (`FeatureEncoder.to_dict`), or
            in the log's own for None.
        source: what the decisions were read from, row by row the same.
        first: the first one's row in the whole log.
    """

    user: NDArray[np.int64]
    eligible: NDArray[np.bool_]
    action: NDArray[np.int64]
    propensity: FloatArray
    reward: FloatArray
    show: Callable[[Mapping[str, Any] | None], Shown] = field(repr=False)
    source: LoggedDataset | pa.RecordBatch = field(repr=False)
    first: int = 0

    def __post_init__(self) -> None:
        k = self.eligible.shape[1]
        check_propensity("propensity", self.propensity, first=self.first)
        check_finite("reward", self.reward, first=self.first)
        bad = (self.action < 0) | (self.action >= k)
        inside = np.flatnonzero(~bad)
        bad[inside] = ~self.eligible[inside, self.action[inside]]
        if bad.any():
            row = int(np.argmax(bad))
            step = "Log the eligibility mask as it stood when the action was drawn."
            name = f"action[{self.first + row}]"
            raise InvalidInputError(describe(name, int(self.action[row]), "must be an eligible candidate", step))

    def __len__(self) -> int:
        return len(self.action)

    @classmethod
    def of_dataset(cls, dataset: LoggedDataset, objectives: Sequence[str], *, first: int = 0) -> Decisions:
        """All decisions of a data set."""
        for name in objectives:
            if name not in dataset.objectives:
                raise unknown_name("objective", name, dataset.objectives)
        keys = dataset.user
        if dataset.user_ids is not None:
            present, code = np.unique(dataset.user, return_inverse=True)
            keys = user_keys(dataset.user_ids[present].tolist())[code.reshape(-1)]

        def show(features: Mapping[str, Any] | None) -> Shown:
            shown = recode(dataset, features).dataset
            return shown.context, shown.candidates[np.arange(dataset.n)]

        reward = dataset.reward[:, [dataset.objectives.index(name) for name in objectives]]
        return cls(keys, dataset.eligible, dataset.action, dataset.propensity, reward, show, dataset, first)

    @classmethod
    def of_arrow(cls, batch: pa.RecordBatch, objectives: Sequence[str], *, first: int = 0) -> Decisions:
        """Rows with the columns of the log's `decisions` table and one column of rewards for each objective.

        Read are `user_id` (text, or integers that are the same in every part), `eligible`, `action` and `propensity`;
        for policies with an encoder also `context`, `candidates` and `decided_at`. Policies without one see no
        features.
        """
        wanted = ("user_id", "eligible", "action", "propensity", *objectives)
        columns = {name: _column(batch, name, first) for name in wanted}
        allowed = _lists("eligible", columns["eligible"], first)
        eligible = _padded(allowed, np.asarray(allowed.values.to_numpy(zero_copy_only=False), dtype=bool), False)
        if not pa.types.is_integer(columns["action"].type):
            raise InvalidInputError(describe("action.type", str(columns["action"].type), "must be an integer"))

        def show(features: Mapping[str, Any] | None) -> Shown:
            if features is None:
                return np.zeros((len(batch), 0), np.float32), np.zeros((*eligible.shape, 0), np.float32)
            encoder = FeatureEncoder.from_dict(features)
            time = _column(batch, "decided_at", first)
            store = encoder.encode_candidates(_column(batch, "candidates", first), time)
            if not np.array_equal(store.counts, allowed.lengths):
                row = int(np.argmax(store.counts != allowed.lengths))
                name, size = f"len(eligible[{first + row}])", int(allowed.lengths[row])
                raise InvalidInputError(describe(name, size, f"must be {store.counts[row]}, one per candidate"))
            return encoder.encode_context(_column(batch, "context", first)), store[np.arange(len(batch))]

        return cls(
            _keys(columns["user_id"]),
            eligible,
            np.asarray(columns["action"].to_numpy(zero_copy_only=False), dtype=np.int64),
            _numbers("propensity", columns["propensity"]),
            np.stack([_numbers(name, columns[name]) for name in objectives], axis=1),
            show,
            batch,
            first,
        )

    def padded(self, name: str) -> FloatArray:
        """A list column of an Arrow source as (b, k), 0 on padding: a policy's probabilities that stand in the log."""
        if not isinstance(self.source, pa.RecordBatch):
            kind = type(self.source).__name__
            raise InvalidInputError(describe("source", kind, "must be an Arrow batch to have columns"))
        lists = _lists(name, _column(self.source, name, self.first), self.first)
        out = _padded(lists, _numbers(name, lists.values), 0.0)
        return np.asarray(check_shape(name, out, self.eligible.shape), dtype=np.float64)


#: A policy, a saved one, or a function that gives probabilities (b, k).
Asked = Policy | Callable[[Decisions], ArrayLike]
#: A saved policy over a reward model, or a function that gives predictions (b, k, m).
Model = Policy | Callable[[Decisions], ArrayLike]


def probabilities(policy: Asked, decisions: Decisions) -> FloatArray:
    """What a policy would do, (b, k), as it says; a saved policy sees the columns that it was trained on."""
    if isinstance(policy, Policy):
        shown = decisions.show(getattr(policy, "features", None))
        return np.asarray(policy.action_probs(*shown, decisions.eligible), dtype=np.float64)
    return np.asarray(policy(decisions), dtype=np.float64)


def predictions(model: Model, decisions: Decisions, objectives: Sequence[str]) -> FloatArray:
    """What a reward model predicts, (b, k, m), in the order of the objectives.

    Raises:
        InvalidInputError: if a saved one predicts no rewards, or not those.
    """
    if isinstance(model, Policy):
        scorer: Any = getattr(getattr(model, "policy", model), "scorer", None)
        known = getattr(model, "objectives", ())
        if not hasattr(scorer, "predict") or not set(objectives) <= set(known):
            name = "objectives of the reward model"
            step = "Train writes one that predicts them to its `reward_model` folder."
            raise InvalidInputError(describe(name, list(known), f"must hold {', '.join(objectives)}", step))
        found = scorer.predict(*decisions.show(getattr(model, "features", None)))
        return np.asarray(found, dtype=np.float64)[:, :, [known.index(name) for name in objectives]]
    found = np.asarray(model(decisions), dtype=np.float64)
    return found[:, :, None] if found.ndim == 2 and len(objectives) == 1 else found


def _column(batch: pa.RecordBatch, name: str, first: int) -> pa.Array:
    if name not in batch.schema.names:
        raise unknown_name("column", name, batch.schema.names)
    column = batch.column(name)
    if column.null_count:
        row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise InvalidInputError(describe(f"{name}[{row}]", None, "must be given"))
    return column


def _numbers(name: str, column: pa.Array) -> FloatArray:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise InvalidInputError(describe(f"{name}.type", str(kind), "must be a number"))
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _keys(column: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_integer(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if not (pa.types.is_string(coded.type.value_type) or pa.types.is_large_string(coded.type.value_type)):
        raise InvalidInputError(describe("user_id.type", str(column.type), "must be text or integers"))
    place = np.asarray(coded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    return user_keys(coded.dictionary.to_pylist())[place]


def _lists(name: str, column: pa.Array, first: int) -> Ragged:
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InvalidInputError(describe(f"{name}.type", str(kind), "must be a list, with an entry for each candidate"))
    lists = Ragged(column)
    if lists.values.null_count:
        inside = lists.values.is_null().to_numpy(zero_copy_only=False)
        row = first + int(lists.row[np.argmax(inside)])
        raise InvalidInputError(describe(f"{name}[{row}]", column[row - first].as_py(), "must not hold null"))
    return lists


def _padded(lists: Ragged, values: NDArray[Any], fill: object) -> NDArray[Any]:
    """The values of a list column as (b, k), filled up to the longest list."""
    shape = len(lists.lengths), int(lists.lengths.max(initial=0))
    if len(values) == shape[0] * shape[1]:
        return values.reshape(shape)
    out = np.full(shape, fill, dtype=values.dtype)
    out[lists.row, np.arange(len(values)) - lists.starts[lists.row]] = values
    return out
