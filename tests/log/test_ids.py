"""Identifiers: RFC 9562's fields, order, uniqueness; a user's share is fixed and uniform."""

import uuid

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import new_id, new_ids, user_hash_share


def test_standard_library_reads_version_variant_and_time(rng: np.random.Generator) -> None:
    moments = np.array([0, 1_700_000_000_123_456, 2**47 * 1000])
    for text, at in zip(new_ids(moments, rng), moments, strict=True):
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == at // 1000
        assert str(parsed) == text


def test_ids_sort_by_time_and_repeat_with_the_seed() -> None:
    moments = np.arange(0, 10_000_000, 1000)
    ids = new_ids(moments, np.random.default_rng(1))
    assert ids == sorted(ids)
    assert len(set(ids)) == len(moments)
    assert ids == new_ids(moments, np.random.default_rng(1))


def test_ids_of_now_differ() -> None:
    assert len({new_id() for _ in range(100)}) == 100


def test_time_before_1970_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidInputError, match=r"at_us == -1, must be microseconds since 1970-01-01 UTC, >= 0\."):
        new_ids(np.array([5, -1]), rng)


def test_share_of_a_user_is_pinned() -> None:
    # printf 'homing\\0u1' | b2sum -l 64; a change would move users between training and evaluation.
    assert user_hash_share("u1", "homing") == (0x1846F0A9AAADDA10 >> 11) / 2**53


def test_shares_are_uniform_and_independent_between_salts() -> None:
    a = np.array([user_hash_share(f"u{i}", "a") for i in range(4000)])
    b = np.array([user_hash_share(f"u{i}", "b") for i in range(4000)])
    # 10 cells of 400 each: standard deviation 19; 6 of them is 114.
    assert np.abs(np.histogram(a, bins=10, range=(0, 1))[0] - 400).max() < 114
    # The correlation of independent values has standard deviation 1/√4000 = 0.016.
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1
