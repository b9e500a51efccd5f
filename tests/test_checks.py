"""Checks at the boundary: what passes, and what the message says of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from homing.checks import check_finite, check_positive, check_probability, check_propensity, check_shape
from homing.errors import InvalidInputError


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3)], ids=lambda value: type(value).__name__)
def test_numbers_of_numpy_are_numbers(value):
    assert check_positive("size", value) == 3.0
    assert check_probability("level", value / 4) == 0.75


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), None, "3"])
def test_what_is_not_positive(value):
    with pytest.raises(InvalidInputError, match=r"size == .*, must be a finite number > 0\. Try 1\."):
        check_positive("size", value, next_step="Try 1.")


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan"), None, "0.5"])
def test_what_is_no_probability(value):
    with pytest.raises(InvalidInputError, match=r"level == .*, must be in \(0, 1\)"):
        check_probability("level", value)


def test_the_first_bad_entry_is_named_by_its_place():
    with pytest.raises(InvalidInputError, match=r"x\[1, 0\] == nan, must be finite"):
        check_finite("x", [[1.0, 2.0], [np.nan, np.inf]])
    with pytest.raises(InvalidInputError, match=r"propensity\[2\] == 0\.0, must be in \(0, 1\]\. Log the probability"):
        check_propensity("propensity", [1.0, 0.5, 0.0])
    with pytest.raises(InvalidInputError, match=r"action\.shape == \(2,\), must be \(3, any\)"):
        check_shape("action", [1, 2], (3, None))


@pytest.mark.parametrize("array", [["a", "b"], [1.0, None]], ids=["text", "missing"])
def test_what_holds_no_numbers(array):
    with pytest.raises(InvalidInputError, match=r"x\.dtype == '.*', must be numbers"):
        check_finite("x", array)
    with pytest.raises(InvalidInputError):
        check_propensity("x", array)
