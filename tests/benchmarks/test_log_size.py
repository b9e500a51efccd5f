"""How many times its users the black box needs: `benchmarks.log_size.run`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.log_size.run import BLACK_BOX, STRUCTURED, _statement, needed, times


@pytest.mark.parametrize(
    ("level", "users"),
    [
        pytest.param(4.0, 1_000.0, id="there-already"),
        pytest.param(2.5, 1_000.0 * 10**0.5, id="halfway-in-log-users"),
        pytest.param(2.0, 10_000.0, id="at-a-size"),
        pytest.param(1.5, 100_000.0 * 10**0.5, id="after-it-rose"),
        pytest.param(0.9, np.inf, id="never"),
    ],
)
def test_users_that_a_level_takes(level: float, users: float) -> None:
    # Down from 3 to 2, up to 2.5, where the best so far counts, and down to 1: at 1,000, 10,000, 10^5 and 10^6 users.
    assert needed({1_000: 3.0, 10_000: 2.0, 100_000: 2.5, 1_000_000: 1.0}, level) == pytest.approx(users)


def test_times_by_hand() -> None:
    # Means of both logs: 2.5 is halfway between 1,000 and 10,000 users of the black box, which 100 users have; 1 is
    # never reached. Of two logs drawn with replacement a half are the same twice: with 3 and 2 the black box needs
    # 1,000 and 10,000 users.
    regret = {
        STRUCTURED: {100: np.array([3.0, 2.0]), 1_000: np.array([1.0, 1.0])},
        BLACK_BOX: {1_000: np.array([3.0, 3.0]), 10_000: np.array([2.0, 2.0])},
    }
    found = times(regret, np.random.default_rng(0))
    assert found[100] == pytest.approx([10**1.5, 10.0, 100.0])
    assert found[1_000].tolist() == [np.inf] * 3


def test_what_is_said() -> None:
    said = _statement({
        500: np.array([1.0, 1.1, 0.9]), 2_000: np.array([1.0, -1.0, 0.5]), 5_000: np.array([-1.0, -1.1, -0.9])
    })  # fmt: skip
    expected = "with 10 times fewer users holds at 5,000; it does not hold at 500; it is not decided at 2,000 users"
    assert expected in said
    assert said.endswith("Means alone are at or below at 5,000.")
