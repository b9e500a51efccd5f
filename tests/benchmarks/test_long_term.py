"""The benchmark's own sums: which threshold a rule gets, and which of them its row shows."""

from __future__ import annotations

import numpy as np

from benchmarks.long_term.run import LEARNERS, best_of, oracle_name, result, thresholds
from homing.policies import BilinearScorer, SendIfPolicy


def test_a_rule_is_tuned_three_ways() -> None:
    rule = SendIfPolicy(BilinearScorer(np.zeros((1, 1, 1)), np.ones((1, 1)), np.ones(1), np.ones(1)), 0.5, "relative")
    history = {"threshold": [0.5, 0.2, -0.1], "gain over silence on held-out users": [0.9, 1.0, 0.3]}
    found = thresholds(rule, history)
    assert [(each.threshold, each.lift) for each in found.values()] == [
        (0.5, "relative"), (0.2, "relative"), (0.0, "relative"),
    ]  # fmt: skip


def told(value: float) -> dict[str, float]:
    return {"value": value, "opted_out": -0.01, "sends": 2.0}


def test_rows_show_a_rules_better_tuning_and_gaps_by_oracle() -> None:
    logs = []
    for log in range(2):
        logs.append({name: told(0.5) for name in LEARNERS} | {"structured": told(1.0 + log)})
        logs[-1] |= {oracle_name(1): told(2.0), oracle_name(2): told(3.0)}
        del logs[-1]["r-learner"]
        logs[-1] |= {"r-learner, fewest messages": told(-1.0 + 2 * log), "r-learner, own prediction": told(0.0)}
    assert best_of(logs[0], "r-learner") == told(0.0)
    assert best_of(logs[1], "r-learner") == told(1.0)
    assert best_of(logs[0], "uniform") is None
    text = result(logs, 100, 10, [50, 40])
    # Means of 1.0 and 2.0 less 0.5 and of −1.0, 1.0; t intervals of two logs: 12.706 · 0.5 around a mean.
    assert "| r-learner | 2 | +0.50 [-5.85, +6.85] |" in text
    assert "| r-learner, fewest messages | 2 | +0.00 [-12.71, +12.71] |" in text
    assert "closes +75 [-243, +393] % of the gap to the oracle of 1 step, +50 [-162, +262] % of the gap" in text
