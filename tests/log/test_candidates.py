"""The candidate store: expanded, it is the padded array that one would have written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.log import CandidateStore
from homing.log import candidates as module


@st.composite
def stores(draw):
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    levels = draw(st.lists(st.integers(1, 3), max_size=3))
    width = draw(st.integers(0, 2))
    total = sum(counts)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    codes = np.column_stack([rng.integers(-1, size, total) for size in levels] or [np.zeros((total, 0))])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    numeric = rng.normal(size=(total, width)).astype(np.float32)
    return CandidateStore(codes.astype(np.int32), tuple(levels), numeric, offsets.astype(np.int64))


def expand(store: CandidateStore) -> np.ndarray:
    """One candidate at a time."""
    n, k, c = store.shape
    out = np.zeros((n, k, c), np.float32)
    for row in range(n):
        for slot, flat in enumerate(range(store.offsets[row], store.offsets[row + 1])):
            vector: list[float] = []
            for column, size in enumerate(store.levels):
                vector += [float(store.codes[flat, column] == level) for level in range(size)]
            out[row, slot] = [*vector, *store.numeric[flat].tolist()]
    return out


@settings(max_examples=100, deadline=None)
@given(stores(), st.data())
def test_indexing_expands(store, data):
    expected = expand(store)
    np.testing.assert_array_equal(np.asarray(store), expected)
    rows = np.array(data.draw(st.lists(st.integers(0, len(store) - 1), max_size=8)), dtype=np.int64)
    np.testing.assert_array_equal(store[rows], expected[rows])
    np.testing.assert_array_equal(store[1:3], expected[1:3])
    np.testing.assert_array_equal(store[0], expected[0])
    mask = np.arange(len(store)) % 2 == 0
    np.testing.assert_array_equal(store[mask], expected[mask])
    taken = store.take(rows)
    assert len(taken) == len(rows)
    np.testing.assert_array_equal(np.asarray(taken), expected[rows][:, : taken.shape[1]])
    # Padding is all that a selection leaves behind.
    assert not expected[rows][:, taken.shape[1] :].any()


@settings(max_examples=50, deadline=None)
@given(stores())
def test_from_padded_is_the_inverse_of_expansion(store):
    again = CandidateStore.from_padded(expand(store), store.counts)
    np.testing.assert_array_equal(np.asarray(again), expand(store))
    np.testing.assert_array_equal(again.offsets, store.offsets)


def test_an_empty_selection():
    store = CandidateStore.from_padded(np.ones((2, 3, 1), np.float32))
    assert store[np.array([], dtype=np.int64)].shape == (0, 3, 1)
    assert store.take(np.array([], dtype=np.int64)).shape == (0, 0, 1)


def test_a_padded_array_that_is_too_large_is_refused(monkeypatch):
    store = CandidateStore.from_padded(np.ones((4, 3, 1), np.float32))
    monkeypatch.setattr(module, "MAX_PADDED_BYTES", 4 * 3 * 1 * 2)
    assert store[np.arange(2)].shape == (2, 3, 1)
    with pytest.raises(InvalidInputError, match=r"padded candidates == .*, must be at most .* Iterate with dataset\.b"):
        np.asarray(store)


def make(codes=((0,), (1,)), levels=(2,), numeric=((1.0,), (2.0,)), offsets=(0, 2)) -> CandidateStore:
    return CandidateStore(np.array(codes, np.int32), levels, np.array(numeric, np.float32), np.array(offsets))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offsets": (0, 1)}, r"offsets\[-1\] == 1, must be the number of candidates, 2, 2"),
        ({"offsets": (0, 0, 2)}, r"candidates\[0\] == 'empty', must hold at least silence"),
        ({"offsets": (1, 2)}, r"offsets\[0\] == 1, must be 0"),
        ({"numeric": ((1.0,), (np.nan,))}, r"candidates\.numeric\[1, 0\] == nan, must be finite"),
        ({"codes": ((0,), (2,))}, r"candidates\.codes\[1, 0\] == 2, must be in \[-1, 2\)"),
        ({"codes": ((0,), (-2,))}, r"candidates\.codes\[1, 0\] == -2, must be in \[-1, 2\)"),
        ({"levels": (2, 1)}, r"candidates\.codes\.shape == \(2, 1\), must be \(2, 2\)"),
    ],
    ids=["total", "empty", "start", "nan", "code", "negative code", "levels"],
)
def test_a_wrong_store_cannot_be_built(fields, message):
    make()
    with pytest.raises(InvalidInputError, match=message):
        make(**fields)


def test_from_padded_wants_three_axes_and_real_counts():
    with pytest.raises(InvalidInputError, match=r"candidates\.shape == \(2, 3\), must be \(n, k, c\)"):
        CandidateStore.from_padded(np.ones((2, 3)))
    with pytest.raises(InvalidInputError, match=r"counts\[1\] == 4, must be in \[1, 3\]"):
        CandidateStore.from_padded(np.ones((2, 3, 1)), np.array([3, 4]))
