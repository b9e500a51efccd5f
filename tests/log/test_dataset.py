"""A wrong dataset cannot be built; a right one keeps its promises under selection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.log import CandidateStore, LoggedDataset

BASE = {
    "context": [[0.0], [1.0], [2.0]],
    "candidates": np.arange(12.0).reshape(3, 2, 2),
    "eligible": [[True, True], [True, False], [True, True]],
    "action": [1, 0, 1],
    "propensity": [0.5, 1.0, 0.25],
    "reward": [[1.0, 0.0], [0.0, 2.0], [0.5, 0.0]],
    "objectives": ("clicked", "spend"),
    "user": ["b", "a", "b"],
    "time": [5, 5, 7],
}


def make(**fields) -> LoggedDataset:
    return LoggedDataset(**{**BASE, **fields})


def test_what_it_holds():
    data = make()
    assert (data.n, data.n_users, data.k) == (3, 2, 2)
    assert data.user.tolist() == [1, 0, 1]
    assert data.user_ids.tolist() == ["a", "b"]
    assert data.next.tolist() == [2, -1, -1]
    kinds = {"context": "float32", "propensity": "float64", "reward": "float64", "user": "int64", "action": "int64"}
    assert {name: str(getattr(data, name).dtype) for name in kinds} == kinds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"propensity": [0.5, 0.0, 0.25]}, r"propensity\[1\] == 0\.0, must be in \(0, 1\]"),
        ({"propensity": [0.5, 1.1, 0.25]}, r"propensity\[1\] == 1\.1"),
        ({"propensity": [0.5, np.nan, 0.25]}, r"propensity\[1\] == nan"),
        ({"propensity": [0.5]}, r"propensity\.shape == \(1,\), must be \(3"),
        ({"action": [1, 1, 1]}, r"action\[1\] == 1, must be eligible"),
        ({"action": [1, 0, 2]}, r"action\[2\] == 2, must be an index into its 2 candidates"),
        ({"action": [-1, 0, 1]}, r"action\[0\] == -1, must be an index"),
        ({"context": [[0.0], [np.nan], [2.0]]}, r"context\[1, 0\] == nan, must be finite"),
        ({"context": [[0.0]]}, r"len\(candidates\) == 3, must be 1, one per context"),
        ({"candidates": np.full((3, 2, 2), np.inf)}, r"candidates\.numeric\[0, 0\] == inf, must be finite"),
        ({"reward": [[1.0, 0.0], [0.0, np.inf], [0.5, 0.0]]}, r"reward\[1, 1\] == inf, must be finite"),
        ({"reward": [1.0, 0.0, 0.0]}, r"reward\.shape == \(3,\), must be \(3, 2\)"),
        ({"objectives": ("a",)}, r"reward\.shape == \(3, 2\), must be \(3, 1\)"),
        ({"objectives": ("a", "a")}, r"objectives == \('a', 'a'\), must have different names"),
        ({"time": [5, 5, 4]}, r"time\[2\] == 4, must not be before the user's previous row\. Sort by time"),
        ({"next": [-1, 2, -1]}, r"next\[0\] == -1, must be 2, the user's next decision"),
        ({"user": [0, 1, 2], "user_ids": ["a", "b"]}, r"user\[2\] == 2, must be an index into 2 user_ids"),
        ({"probs": [[0.5, 0.4], [1, 0], [0.75, 0.25]]}, r"probs\[0\] == \[0\.5, 0\.4\], must sum to 1"),
        ({"probs": [[0.5, 0.5], [0.5, 0.5], [0.75, 0.25]]}, r"probs\[1\] == .* 0 if not eligible"),
        ({"probs": [[0.5, 0.5], [1, 0], [0.5, 0.5]]}, r"probs\[2\] == .* must agree with the propensity"),
        ({"probs": [[1.0]]}, r"probs\.shape == \(1, 1\), must be \(3, 2\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_data_cannot_be_built(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        make(**fields)


def test_padding_is_never_eligible():
    store = CandidateStore.from_padded(np.zeros((3, 2, 1)), np.array([2, 1, 2]))
    assert make(candidates=store).candidates.counts.tolist() == [2, 1, 2]
    eligible = np.ones((3, 2), bool)
    with pytest.raises(InvalidInputError, match=r"eligible\[1\] == True, must be False where there is no candidate"):
        make(candidates=store, eligible=eligible)


def test_batches_are_the_rows_in_order():
    data = make()
    for size in (1, 2, 5):
        batches = list(data.batches(size))
        assert max(len(batch.rows) for batch in batches) <= size
        assert np.concatenate([batch.rows for batch in batches]).tolist() == [0, 1, 2]
        for name in ("context", "eligible", "action", "propensity", "reward"):
            joined = np.concatenate([getattr(batch, name) for batch in batches])
            np.testing.assert_array_equal(joined, getattr(data, name))
        joined = np.concatenate([batch.candidates for batch in batches])
        np.testing.assert_array_equal(joined, BASE["candidates"])
    with pytest.raises(InvalidInputError, match="size == 0, must be >= 1"):
        next(data.batches(0))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=20), st.data())
def test_next_is_the_users_next_row(rows, data):
    rows = sorted(rows, key=lambda row: row[1])
    n = len(rows)
    dataset = LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, 1, 1)), eligible=np.ones((n, 1), bool), action=np.zeros(n),
        propensity=np.ones(n), reward=np.arange(n)[:, None], objectives=("a",),
        user=np.array([user for user, _ in rows]), time=[time for _, time in rows],
    )  # fmt: skip

    def following(users):
        return [next((j for j in range(i + 1, len(users)) if users[j] == users[i]), -1) for i in range(len(users))]

    users = [user for user, _ in rows]
    assert dataset.next.tolist() == following(users)
    kept = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    part = dataset.take(np.array(kept))
    assert part.next.tolist() == following([users[i] for i in kept])
    assert part.reward[:, 0].tolist() == kept


def test_taking_rows_cuts_the_padding():
    store = CandidateStore.from_padded(np.ones((3, 2, 1)), np.array([2, 1, 1]))
    eligible = [[True, True], [True, False], [True, False]]
    data = make(candidates=store, eligible=eligible, action=[1, 0, 0], propensity=[0.5, 1, 1],
                probs=[[0.5, 0.5], [1, 0], [1, 0]])  # fmt: skip
    part = data.take(np.array([1, 2]))
    assert (part.k, part.eligible.shape, part.probs.shape) == (1, (2, 1), (2, 1))
    assert part.user_ids[part.user].tolist() == ["a", "b"]


# Fingerprints --------------------------------------------------------------------------------------------------------

CHANGES = {
    "context": [[0.0], [1.0], [2.5]],
    "candidates": np.arange(12.0).reshape(3, 2, 2) + 1,
    "eligible": [[True, True], [True, True], [True, True]],
    "action": [0, 0, 1],
    "propensity": [0.5, 1.0, 0.2],
    "reward": [[1.0, 0.0], [0.0, 2.0], [0.5, 1e-9]],
    "objectives": ("clicked", "spent"),
    "user": ["b", "c", "b"],
    "time": [5, 5, 8],
    "probs": [[0.5, 0.5], [1, 0], [0.75, 0.25]],
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_fingerprint_changes_with_the_data(name):
    assert make(**{name: CHANGES[name]}).fingerprint != make().fingerprint


def test_the_fingerprint_does_not_change_with_the_storage():
    data = make()
    store = data.candidates
    strided = CandidateStore(store.codes, (), np.asfortranarray(store.numeric), store.offsets)
    other = replace(
        data,
        context=np.asfortranarray(data.context),
        candidates=strided,
        eligible=np.asfortranarray(data.eligible),
        reward=data.reward.astype(">f8"),
        user=np.array([9, 4, 9]),
        user_ids=np.array(["-", "-", "-", "-", "a", "-", "-", "-", "-", "b"]),
    )
    assert other.fingerprint == data.fingerprint
    assert data.take(np.arange(3)).fingerprint == data.fingerprint
