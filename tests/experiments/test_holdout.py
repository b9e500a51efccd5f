"""The global holdout: against scipy on whole panels, a trend against ordinary regression, users who do nothing."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats

from homing.errors import InvalidInputError, SupportError
from homing.experiments.holdout import read_holdout


def panel(rng: np.random.Generator, n: int, periods: int, effect: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
    """Users who start in period 0 to 3 and differ for good; values (n, periods) by age; the last ages are not over."""
    held = rng.random(n) < 0.3
    level = rng.gamma(2.0, 1.0, n)
    values = rng.poisson(level[:, None] * (1.0 + np.where(held, 0.0, 1.0)[:, None] * effect)).astype(float)
    users = pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(n)],
            "held_out": held,
            "start": rng.integers(0, 4, n),
            "cohort": rng.choice(["march", "april"], n),
        }
    )
    return users, values


def outcomes_of(users: pl.DataFrame, values: np.ndarray) -> pl.DataFrame:
    """Rows of what is not 0, shuffled, some split in two, with rows of strangers."""
    user, age = np.nonzero(values)
    rows = pl.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[user],
            "period": users["start"].to_numpy()[user] + age,
            "value": values[user, age],
        }
    )
    halves = rows.head(200).with_columns(pl.col("value") / 2)
    strangers = pl.DataFrame({"user_id": ["stranger"], "period": [1], "value": [1e6]}, schema=rows.schema)
    return pl.concat([rows.slice(200), halves, halves, strangers]).sample(fraction=1.0, shuffle=True, seed=0)


def test_agrees_with_scipy_on_dense_tables() -> None:
    rng = np.random.default_rng(0)
    users, values = panel(rng, 900, 8, np.linspace(0.2, 0.9, 8))
    found = read_holdout(users, outcomes_of(users, values), until=6, share=0.3, cohort="cohort")
    start, held = users["start"].to_numpy(), users["held_out"].to_numpy()
    followed = 6 - start + 1
    seen = np.where(np.arange(8) < followed[:, None], values, np.nan)

    def same(effect: object, y: np.ndarray) -> None:
        own = ~np.isnan(y)
        test = stats.ttest_ind(y[own & ~held], y[own & held], equal_var=False)
        interval = test.confidence_interval(0.95)
        assert effect.difference.value == pytest.approx(y[own & ~held].mean() - y[own & held].mean(), rel=1e-9)
        assert (effect.difference.lower, effect.difference.upper) == pytest.approx(tuple(interval), rel=1e-9)
        assert effect.n == ((own & ~held).sum(), (own & held).sum())

    totals = np.nansum(seen, axis=1)
    same(found.total, totals)
    for effect in found.by_cohort:
        same(effect, np.where(users["cohort"].to_numpy() == effect.name, totals, np.nan))
    assert [effect.name for effect in found.by_age] == [str(age) for age in range(7)]
    for age, effect in enumerate(found.by_age):
        same(effect, seen[:, age])
    assert [effect.name for effect in found.by_period] == [str(period) for period in range(7)]
    for period, effect in enumerate(found.by_period):
        at = period - start
        same(effect, np.where(at >= 0, seen[np.arange(900), np.maximum(at, 0)], np.nan))
    assert found.share_p_value == pytest.approx(stats.chisquare([held.sum(), 900 - held.sum()], [270, 630]).pvalue)
    json.dumps(found.to_dict(), allow_nan=False)


def test_trend_is_a_line_through_the_effects_of_users_followed_alike() -> None:
    """With one start for all, the slope is the difference of users' own weighted sums: Welch on those."""
    rng = np.random.default_rng(1)
    users, values = panel(rng, 600, 6, np.linspace(0.0, 1.0, 6))
    users = users.with_columns(start=pl.lit(0))
    found = read_holdout(users, outcomes_of(users, values), until=5, share=0.3)
    held = users["held_out"].to_numpy()
    weight = np.array([effect.difference.std_error for effect in found.by_age]) ** -2.0
    line = np.polyfit(np.arange(6), [effect.difference.value for effect in found.by_age], 1, w=np.sqrt(weight))
    assert found.trend.value == pytest.approx(line[0], rel=1e-9)
    centred = np.arange(6) - weight @ np.arange(6) / weight.sum()
    own = values @ (weight * centred / (weight @ centred**2))
    expected = stats.ttest_ind(own[~held], own[held], equal_var=False).confidence_interval(0.95)
    assert (found.trend.lower, found.trend.upper) == pytest.approx(tuple(expected), rel=1e-9)
    assert found.trend.lower > 0  # from 0 to 2 a period


def test_the_holdout_shows_what_opt_outs_cost() -> None:
    """Messages add 40 % at first; opt-outs eat it: the effect by age crosses 0, which the first ages do not show."""
    rng = np.random.default_rng(2)
    users, values = panel(rng, 8000, 10, np.linspace(0.4, -0.5, 10))
    users = users.with_columns(start=pl.lit(0))
    found = read_holdout(users, outcomes_of(users, values), until=9, share=0.3)
    assert found.by_age[0].difference.lower > 0
    assert found.by_age[9].difference.upper < 0
    assert found.trend.upper < 0
    assert found.by_age[0].relative.lower > 0.1


def test_relative_effect_is_fieller_s() -> None:
    users = {"user_id": range(8), "held_out": [0] * 4 + [1] * 4, "start": [0] * 8}
    y = np.array([6.0, 7, 8, 7, 5, 6, 5, 4])
    found = read_holdout(users, {"user_id": range(8), "period": [0] * 8, "value": y}, until=0, share=0.5)
    assert found.total.relative.value == pytest.approx(7 / 5 - 1)
    v1, v0 = y[:4].var(ddof=1) / 4, y[4:].var(ddof=1) / 4
    for end in (found.total.relative.lower, found.total.relative.upper):
        t = (7 - (1 + end) * 5) / np.sqrt(v1 + (1 + end) ** 2 * v0)
        assert abs(t) == pytest.approx(stats.t.ppf(0.975, found.total.difference.df), rel=1e-9)


@pytest.mark.parametrize(
    ("users", "until", "error", "message"),
    [
        ({"user_id": [1, 1, 2, 3]}, 3, InvalidInputError, "users with the same 'user_id' == 1"),
        ({"held_out": [0, 2, 1, 1]}, 3, InvalidInputError, "held_out == 2.0, must be 0 or 1"),
        ({"start": [0, 0.5, 0, 0]}, 3, InvalidInputError, r"start\[1\] == 0.5, must be a whole number"),
        ({"held_out": [0, 0, 0, 1]}, 3, SupportError, r"users of 'total' == \(3, 1\)"),
        ({"start": [9, 9, 9, 9]}, 3, SupportError, r"users of 'total' == \(0, 0\)"),
    ],
)
def test_bad_input(users: dict[str, object], until: int, error: type, message: str) -> None:
    given = {"user_id": [1, 2, 3, 4], "held_out": [0, 0, 1, 1], "start": [0, 0, 0, 0]} | users
    with pytest.raises(error, match=message):
        read_holdout(given, {"user_id": [1], "period": [0], "value": [1.0]}, until=until, share=0.5)
