"""Splitting by user: nobody is on two sides, and nobody ever changes side."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.log import LoggedDataset, split_by_user


def dataset_of(users) -> LoggedDataset:
    n = len(users)
    return LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, 1, 1)), eligible=np.ones((n, 1), bool), action=np.zeros(n),
        propensity=np.ones(n), reward=np.zeros((n, 1)), objectives=("a",), user=users, time=np.arange(n),
    )  # fmt: skip


def side(users, share, **options) -> set[str]:
    first, second = split_by_user(dataset_of(users), share, **options)
    assert sorted([*first, *second]) == list(range(len(users)))
    assert not {users[i] for i in first} & {users[i] for i in second}
    return {users[i] for i in first}


ids = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(ids, ids, st.floats(0.01, 0.99))
def test_other_users_change_nothing(users, others, share):
    assert side(users, share) == side(users + others, share) & set(users)


@settings(max_examples=50, deadline=None)
@given(ids, st.floats(0.01, 0.5), st.floats(0.0, 0.49))
def test_the_first_part_only_grows_with_the_share(users, share, more):
    assert side(users, share) <= side(users, share + more)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_the_share_is_about_the_nominal_one(share):
    n = 20_000
    # Five standard deviations of a binomial share: exceeded once in 1.7 million for a uniform hash.
    tolerance = 5 * math.sqrt(share * (1 - share) / n)
    assert abs(len(side([f"user-{i}" for i in range(n)], share)) / n - share) < tolerance


def test_salts_are_independent():
    n = 20_000
    users = [f"user-{i}" for i in range(n)]
    both = side(users, 0.3, salt="one") & side(users, 0.3, salt="two")
    assert abs(len(both) / n - 0.09) < 5 * math.sqrt(0.09 * 0.91 / n)


def test_a_known_side():
    # The definition, written out: the first 53 bits of BLAKE2b-64 of salt, zero byte, id.
    import hashlib

    users = [f"u{i}" for i in range(50)]
    words = [hashlib.blake2b(b"homing\0" + user.encode(), digest_size=8).hexdigest() for user in users]
    expected = {user for user, word in zip(users, words, strict=True) if int(word, 16) / 2**64 < 0.4}
    assert side(users, 0.4) == expected


def test_a_part_of_a_dataset_splits_like_the_whole():
    users = [f"u{i % 7}" for i in range(40)]
    whole, part = dataset_of(users), np.arange(5, 30, 2)
    first, _ = split_by_user(whole, 0.5)
    inside, _ = split_by_user(whole.take(part), 0.5)
    assert set(part[inside]) == set(first) & set(part)


def test_bad_arguments():
    with pytest.raises(InvalidInputError, match=r"share == 1\.0, must be in \(0, 1\)"):
        split_by_user(dataset_of(["u"]), 1.0)
    with pytest.raises(InvalidInputError, match=r"dataset\.user_ids == None, must be given\. Build the dataset with"):
        split_by_user(dataset_of(np.array([3])), 0.5)
