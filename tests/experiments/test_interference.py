"""Shared budgets: what they do to a naive comparison, what a split does, and how they are seen."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.experiments.interference import BudgetSplit, SendCounts, read_budget
from homing.log import OUTCOMES_SCHEMA, DecisionLog, decisions_schema

SPLIT = BudgetSplit({"control": 0.5, "treatment": 0.5})


def top(score: np.ndarray, budget: int) -> np.ndarray:
    """Who is sent a message: the best scores of each row."""
    cut = np.partition(score, -budget, axis=1)[:, -budget, None]
    return score >= cut


def false_positives(experiments: int, n: int, *, split: bool, rng: np.random.Generator) -> tuple[float, float]:
    """Two-sided .05 tests where the treatment adds a constant to every score, which changes nothing if all have it."""
    relevance = rng.gamma(2.0, 1.0, (experiments, n))
    score = relevance + rng.normal(0, 0.5, (experiments, n))
    treated = np.arange(n) % 2 == 1
    inflated = score + 1.0 * treated
    sent = np.empty((experiments, n), dtype=bool)
    budget = n // 5
    if split:
        for own, (name, share) in zip((~treated, treated), SPLIT.budgets(budget).items(), strict=True):
            assert name in SPLIT.variants
            sent[:, own] = top(inflated[:, own], share)
    else:
        sent = top(inflated, budget)
    outcome = 0.4 * relevance * sent + rng.normal(1, 1.5, (experiments, n))
    arms = outcome[:, ~treated], outcome[:, treated]
    p = stats.ttest_ind(arms[1], arms[0], axis=1, equal_var=False).pvalue
    return float((p < 0.05).mean()), float(arms[1].mean() / arms[0].mean() - 1)


def test_a_shared_budget_fools_the_naive_test_and_a_split_does_not() -> None:
    # A split's rate is below .05, since users who compete for one budget differ less than independent ones: in this
    # world .032 of 10,000 experiments. Of 600, .0565 is 3.4 standard errors away from that, and .3 is 6 from .42.
    rng = np.random.default_rng(0)
    naive, lift = false_positives(600, 1200, split=False, rng=rng)
    assert naive > 0.3
    assert lift > 0.1
    honest, none = false_positives(600, 1200, split=True, rng=rng)
    assert honest <= 0.0565
    assert abs(none) < 0.005


def daily(rng: np.random.Generator, days: int, budget: int | None, lift: float) -> SendCounts:
    """Sends of two variants with as many users, on days that are busier for both, under a cap or none."""
    wanted = rng.poisson(300 * rng.gamma(20, 1 / 20, (days, 1)) * [1.0, 1.0 + lift])
    if budget is not None:
        share = rng.beta(60, 60 / (1 + lift), (days, 1))
        wanted = np.round(budget * np.concatenate([1 - share, share], axis=1))
    return SendCounts(("control", "treatment"), np.array([1000, 1000]), wanted)


def test_a_known_budget_is_seen() -> None:
    counts = daily(np.random.default_rng(1), 20, 500, 0.2)
    found = read_budget(counts, budget=500)
    assert found.shared
    assert found.at_budget == 1.0
    assert found.displacement["treatment"].lower > 0
    assert found.displacement["control"].value == pytest.approx(-found.displacement["treatment"].value)
    assert found.warnings[0] == "Sends reached the one budget of all variants in 100% of periods."
    assert "BudgetSplit" in found.warnings[1]
    json.dumps(found.to_dict(), allow_nan=False)
    assert not read_budget(counts, budget=10_000).at_budget


def test_an_unknown_budget_is_seen_in_what_varies() -> None:
    rng = np.random.default_rng(2)
    found = read_budget(daily(rng, 20, 500, 0.2))
    assert found.shared
    assert found.variance_ratio < 0.01
    assert "share a cap" in found.warnings[0]


def test_free_variants_are_rarely_accused() -> None:
    # Days that are busy for both: correlations are above 0. Independent ones: at most alpha, .01, of 400 experiments of
    # 20 days (standard error .005), and Fisher's z is nearly normal there.
    rng = np.random.default_rng(3)
    assert not any(read_budget(daily(rng, 20, None, 0.3)).shared for _ in range(50))
    accused = 0
    for _ in range(400):
        sends = rng.poisson(300, (20, 2))
        accused += read_budget(SendCounts(("a", "b"), np.array([10, 10]), sends)).shared
    assert accused / 400 <= 0.01 + 3 * 0.005


def test_split_budgets_are_whole_and_held() -> None:
    thirds = BudgetSplit({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert thirds.budgets(100) == {"a": 34, "b": 33, "c": 33}
    assert BudgetSplit({"a": 0.1, "b": 0.9}).budgets(10) == {"a": 1, "b": 9}
    held = SendCounts(("control", "treatment"), np.array([9, 9]), np.array([[50, 50], [40, 50]]))
    assert read_budget(held, budget=100, split=SPLIT).warnings == ()
    over = SendCounts(("control", "treatment"), np.array([9, 9]), np.array([[40, 60], [50, 50]]))
    found = read_budget(over, budget=[100, 100], split=SPLIT)
    assert found.shared
    assert found.warnings == (
        "treatment sent more than its own budget in 1 of 2 periods (10 at most): it drew from another variant's.",
    )


def test_counts_of_a_decision_log() -> None:
    day = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    schema = decisions_schema({})
    rows = []
    for i, (user, days, action) in enumerate([("u1", 0, 1), ("u1", 2, 1), ("u2", 0, 0), ("u2", 2, 1), ("u9", 0, 1)]):
        row = dict.fromkeys(schema.names)
        row |= {"decision_id": f"d{i}", "user_id": user, "decided_at": day + dt.timedelta(days=days), "action": action}
        rows.append(row | {"context": {}, "candidates": [], "eligible": [], "propensity": 1.0})
    import pyarrow as pa

    log = DecisionLog.from_tables(pa.Table.from_pylist(rows, schema=schema), OUTCOMES_SCHEMA.empty_table())
    exposures = {"unit_id": ["u2", "u1", "u3"], "variant": ["b", "a", "b"]}
    found = SendCounts.from_decision_log(log, exposures)
    assert found.variants == ("a", "b")
    assert found.users.tolist() == [1, 2]
    assert found.sends.tolist() == [[1, 0], [0, 0], [1, 1]]
    with pytest.raises(SupportError, match="sends to exposed users == 0"):
        SendCounts.from_decision_log(log, {"unit_id": ["x"], "variant": ["a"]})


def test_bad_input() -> None:
    with pytest.raises(InvalidInputError, match=r"sum of variants == 0\.9"):
        BudgetSplit({"a": 0.5, "b": 0.4})
    counts = SendCounts(("a", "b"), np.array([1, 1]), np.ones((3, 2)))
    with pytest.raises(InvalidInputError, match=r"budget.shape == \(2,\)"):
        read_budget(counts, budget=[1, 2])
    with pytest.raises(UnknownNameError, match="variant of the split == 'a'"):
        read_budget(counts, budget=2, split=SPLIT)
    with pytest.raises(InvalidInputError, match="must be given with a split"):
        read_budget(counts, split=SPLIT)
    with pytest.raises(InvalidInputError, match=r"sends and users == -1\.0"):
        SendCounts(("a", "b"), np.array([1, 1]), -np.ones((3, 2)))
    with pytest.raises(SupportError, match="periods == 1"):
        read_budget(SendCounts(("a", "b"), np.array([1, 1]), np.ones((1, 2))))
