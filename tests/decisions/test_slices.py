"""Slices of users: fixed, of the right size, nested."""

from __future__ import annotations

from homing.decisions import Slices

USERS = [f"user-{i}" for i in range(20_000)]


def share(slices: Slices, name: str) -> float:
    return sum(slices.slice_of(user) == name for user in USERS) / len(USERS)


def test_shares_are_met():
    slices = Slices(uniform_share=0.2, holdout_share=0.1)
    # Binomial over 20,000 users, 4 standard deviations: 4·sqrt(.1·.9/20000) = 0.0085, 4·sqrt(.18·.82/20000) = 0.011.
    assert abs(share(slices, "holdout") - 0.1) < 0.0085
    assert abs(share(slices, "uniform") - 0.9 * 0.2) < 0.011


def test_raising_a_share_only_adds_users():
    small, large = Slices(holdout_share=0.05), Slices(holdout_share=0.1)
    assert all(large.slice_of(user) == "holdout" for user in USERS if small.slice_of(user) == "holdout")


def test_another_salt_draws_other_users():
    one, two = Slices(holdout_share=0.1), Slices(holdout_share=0.1, salt="other")
    both = sum(one.slice_of(user) == two.slice_of(user) == "holdout" for user in USERS) / len(USERS)
    assert abs(both - 0.01) < 4 * (0.01 * 0.99 / len(USERS)) ** 0.5
