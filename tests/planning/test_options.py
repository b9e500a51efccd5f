"""Which options the integer program is given."""

from __future__ import annotations

import numpy as np

from homing.planning.options import Options


def test_likely_options_are_of_users_who_have_a_choice() -> None:
    """Users lose 9, 0.1 and 0 by their second-best option: the last two come first, each with their best one."""
    options = Options(
        user=np.arange(3),
        first=np.array([0, 2, 5, 8]),
        value=np.array([0.0, 9.0, 0.0, 5.0, 4.9, 0.0, 7.0, 7.0]),
        item=np.arange(8)[:, None],
        cell=np.zeros((1, 8), np.int32),
        cost=np.zeros((1, 0, 8), np.float32),
    )
    free = np.zeros((1, 1))
    assert options.likely(free, 1).tolist() == [6, 7]
    assert options.likely(free, 2).tolist() == [3, 4, 6, 7]
    assert options.likely(free, 99).tolist() == list(range(8))
