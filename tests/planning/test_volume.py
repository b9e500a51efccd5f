"""Weekly volumes: the best of all assignments, curves of any shape, exploration as it is logged."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.planning import plan_volumes


def best_by_hand(value, levels, budget):
    n, count = value.shape
    return max(
        sum(value[i, level] for i, level in enumerate(choice))
        for choice in product(range(count), repeat=n)
        if sum(levels[level] for level in choice) <= budget
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_is_nearly_the_best_of_all_assignments(seed):
    """Six users at four levels: 4,096 assignments. What rounding loses is bounded by the plan's own certificate."""
    rng = np.random.default_rng(seed)
    value = np.cumsum(rng.normal(0.5, 1.0, (6, 4)), axis=1)
    levels = [0, 1, 3, 7]
    found = plan_volumes(value, {"push": levels}, {"push": 15}, rng=rng)
    got = value[np.arange(6), found.level].sum()
    best = best_by_hand(value, levels, 15)
    assert sum(levels[level] for level in found.level) <= 15
    assert got <= best + 1e-9
    assert best <= found.plan.upper_bound + value[:, 0].sum() + 1e-6
    assert found.plan.value == pytest.approx(got - value[:, 0].sum(), abs=1e-5)


def test_exploration_has_the_probabilities_that_it_logs_and_is_paid_for():
    rng = np.random.default_rng(0)
    n, levels = 4000, [0, 2, 4]
    value = rng.gamma(2.0, 1.0, (n, 1)) * np.array([0.0, 1.0, 1.5])
    found = plan_volumes(value, {"push": levels}, {"push": 6000}, epsilon=0.2, rng=rng)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(n))
    assert np.unique(found.propensity).round(12).tolist() == pytest.approx([0.2 / 3, 0.8 + 0.2 / 3])
    assert found.expected["push"] == pytest.approx(6000, rel=1e-3)
    assert found.expected["push"] <= 6000 + 1e-6
    # Shares of 4,000 draws, within four standard deviations.
    assert abs(found.explored.mean() - 0.2) <= 4 * np.sqrt(0.16 / n)
    assert abs((found.level == found.planned).mean() - (0.8 + 0.2 / 3)) <= 4 * np.sqrt(0.12 / n)
    # By importance weights the explored log tells what everybody at level 2 would be worth.
    weight = (found.level == 2) / found.propensity
    truth, told = value[:, 2].mean(), (weight * value[:, 2])
    assert abs(told.mean() - truth) <= 4 * told.std() / np.sqrt(n)


def test_several_channels_and_costs():
    """Three pacing actions: nothing, two pushes, one push and an e-mail. Opt-outs rule it out for the first user."""
    value = np.array([[0.0, 3.0, 4.0], [0.0, 1.0, 2.0]])
    found = plan_volumes(
        value,
        {"push": [0, 2, 1], "email": [0, 0, 1]},
        {"push": 4, "email": 1, "opt_outs": 0.5},
        costs={"opt_outs": [[0.0, 0.2, 0.9], [0.0, 0.1, 0.1]]},
        rng=np.random.default_rng(0),
    )
    assert found.level.tolist() == [1, 2]
    assert found.expected == pytest.approx({"push": 3.0, "email": 1.0, "opt_outs": 0.3})
    assert found.to_dict()["users_by_level"] == [0, 1, 1]


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"budgets": {"pusch": 3}}, UnknownNameError, "Did you mean 'push'"),
        ({"budgets": {"push": 1}, "epsilon": 0.9}, InvalidInputError, "must be at least 1.8: what level 0 and"),
        ({"levels": {"push": [0, 1]}}, InvalidInputError, r"levels.push.shape == \(2,\), must be \(3\)"),
        ({"levels": {"push": [0, 1, -2]}}, InvalidInputError, "must be whole numbers >= 0"),
        ({"levels": {"push": [2, 1, 3]}}, InvalidInputError, "use of push == -1.0, must be least at level 0"),
        ({"epsilon": 1.0}, InvalidInputError, r"epsilon == 1.0, must be in \[0, 1\)"),
        ({"value": [[0.0, np.nan, 1.0], [0, 0, 0]]}, InvalidInputError, r"value\[0, 1\] == nan, must be finite"),
        ({"costs": {"push": np.ones((2, 3))}}, InvalidInputError, "must be >= 0, and no channel"),
    ],
)
def test_mistakes_are_named(keys, error, message):
    given = {"value": np.ones((2, 3)), "levels": {"push": [0, 1, 2]}, "budgets": {"push": 3}, **keys}
    with pytest.raises(error, match=message):
        plan_volumes(
            given.pop("value"), given.pop("levels"), given.pop("budgets"), rng=np.random.default_rng(0), **given
        )
