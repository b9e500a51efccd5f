"""From a log to a dataset: order, ragged candidates, distributions, and what is refused."""

from __future__ import annotations

import random

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import DecisionLog, FeatureEncoder, Objectives, build_dataset, build_dataset_with_report
from tests.log.rows import SILENCE, candidate, decision, log_of, outcome

HOUR = 3_600_000_000
GOALS = Objectives.from_dict(
    {
        "objectives": {
            "clicks": {"kinds": ["clicked"], "window_hours": 1, "aggregate": "count"},
            "spend": {"kinds": ["custom:spend"], "window_hours": 2, "aggregate": "sum"},
        }
    }
)
THREE = [SILENCE, candidate("a", value=2.0), candidate("b", value=4.0)]
ROWS = [
    decision("d3", "u2", 2 * HOUR, context={"age": 30.0}, action=1),
    decision("d1", "u1", 0, context={"age": 10.0}, candidates=THREE, eligible=[True, False, True], action=2,
             propensity=0.75, propensities=[0.25, 0.0, 0.75]),
    decision("d2", "u2", 0, context={"age": 20.0}, propensity=0.5),
    decision("d4", "u1", 5 * HOUR, context={"age": 40.0}, action=1),
]  # fmt: skip
OUTCOMES = [
    outcome("o1", "d1", "u1", HOUR - 1),
    outcome("o2", "d1", "u1", 1, kind="custom:spend", value=2.5),
    outcome("o3", "d1", "u1", 2, kind="custom:spend", value=4.0),
    outcome("o4", "d3", "u2", 2 * HOUR),
    outcome("o5", "d4", "u1", 7 * HOUR),
]


def test_by_hand():
    data, report = build_dataset_with_report(log_of(ROWS, OUTCOMES), GOALS)
    # Sorted by time, then decision id: d1, d2, d3, d4.
    assert data.time.tolist() == [0, 0, 2 * HOUR, 5 * HOUR]
    assert data.user_ids[data.user].tolist() == ["u1", "u2", "u2", "u1"]
    assert data.next.tolist() == [3, 2, -1, -1]
    assert data.action.tolist() == [2, 0, 1, 1]
    assert data.propensity.tolist() == [0.75, 0.5, 0.5, 0.5]
    assert data.objectives == ("clicks", "spend")
    assert data.reward.tolist() == [[1, 6.5], [0, 0], [1, 0], [0, 0]]
    assert data.candidates.counts.tolist() == [3, 2, 2, 2]
    assert data.eligible.tolist() == [[True, False, True], *[[True, True, False]] * 3]
    assert data.probs.tolist() == [[0.25, 0, 0.75], *[[0.5, 0.5, 0]] * 3]
    # Ages 10, 20, 30, 40: mean 25, variance 125.
    np.testing.assert_allclose(data.context[:, 0], (np.array([10, 20, 30, 40]) - 25) / 125**0.5, rtol=1e-6)
    value = data.encoder.column("value")
    # Values of the messages 2, 4, 1, 1, 1: mean 1.8, variance 1.36; padding is zero.
    np.testing.assert_allclose(data.candidates[0][:, value], [0, 0.2 / 1.36**0.5, 2.2 / 1.36**0.5], rtol=1e-6)
    assert not data.candidates[1][2].any()
    assert (report.decisions, report.rows, report.joined, report.late) == (4, 4, 4, 1)


def test_the_order_of_rows_does_not_matter():
    expected, report = build_dataset_with_report(log_of(ROWS, OUTCOMES), GOALS)
    for seed in range(5):
        decisions, outcomes = ROWS.copy(), OUTCOMES.copy()
        random.Random(seed).shuffle(decisions)
        random.Random(seed).shuffle(outcomes)
        got, got_report = build_dataset_with_report(log_of(decisions, outcomes), GOALS, encoder=expected.encoder)
        assert got.fingerprint == expected.fingerprint
        assert got_report == report


def test_batches_of_any_size_give_the_same(monkeypatch):
    expected = build_dataset(log_of(ROWS, OUTCOMES), GOALS)
    whole = DecisionLog.decision_batches
    for size in (1, 3):
        monkeypatch.setattr(
            DecisionLog, "decision_batches", lambda self, columns=None, n=size: whole(self, columns, batch_rows=n)
        )
        got = build_dataset(log_of(ROWS, OUTCOMES), GOALS)
        # Means are merged in another order: compare numbers to rounding, and the rest exactly.
        np.testing.assert_allclose(got.context, expected.context, rtol=1e-6)
        np.testing.assert_allclose(got.candidates.numeric, expected.candidates.numeric, rtol=1e-6)
        np.testing.assert_array_equal(got.candidates.codes, expected.candidates.codes)
        for name in ("eligible", "action", "reward", "probs", "user", "time", "next"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_until_leaves_out_open_windows_and_cuts_the_padding():
    # The longest window is two hours: d4 is open at 6 h. Without d1, at most two candidates remain.
    data, report = build_dataset_with_report(log_of(ROWS, OUTCOMES), GOALS, until=6 * HOUR)
    assert (data.n, report.rows, report.censored_decisions, report.after_until) == (3, 3, 1, 1)
    rows = [row for row in ROWS if row["decision_id"] != "d1"]
    late = [{**ROWS[1], "decided_at": 9 * HOUR}, *rows]
    assert build_dataset(log_of(late, []), GOALS, until=8 * HOUR).k == 2
    with pytest.raises(InvalidInputError, match=r"decisions == 0, must be >= 1 whose outcome .* 4 are open: wait"):
        build_dataset(log_of(ROWS, OUTCOMES), GOALS, until=HOUR)


def test_a_decision_that_was_logged_twice_counts_once():
    data, report = build_dataset_with_report(log_of([*ROWS, ROWS[0], ROWS[1]], OUTCOMES), GOALS)
    assert (data.n, report.decisions, report.duplicate_decisions, report.rows) == (4, 6, 2, 4)
    assert data.reward.tolist() == [[1, 6.5], [0, 0], [1, 0], [0, 0]]


def test_a_given_encoder_is_used():
    encoder = FeatureEncoder.fit(log_of(ROWS), users=lambda user: user == "u2")
    data = build_dataset(log_of(ROWS, OUTCOMES), GOALS, encoder=encoder)
    assert data.encoder is encoder
    np.testing.assert_allclose(data.context[:, 0], [-3, -1, 1, 3], rtol=1e-6)  # u2: mean 25, deviation 5


def test_without_all_distributions_there_are_none():
    rows = [*ROWS[:3], {**ROWS[3], "propensities": None}]
    assert build_dataset(log_of(rows), GOALS).probs is None


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        (0, {"eligible": [True]}, r"len\(eligible\[0\]\) == 1, must be 2, one per candidate"),
        (3, {"propensities": [1.0]}, r"len\(propensities\[3\]\) == 1, must be 2"),
        (1, {"propensity": 0.0}, r"propensity\[0\] == 0\.0, must be in \(0, 1\]\. Log the probability"),
        (1, {"propensity": None}, r"propensity\[1\] == None, must be given\. Pass the log through `accept` first"),
        (1, {"action": 1}, r"action\[0\] == 1, must be eligible\. Log the eligibility mask"),
        (1, {"action": 3}, r"action\[0\] == 3, must be an index into its 3 candidates"),
        (1, {"propensities": [0.5, 0.0, 0.5]}, r"probs\[0\] == .* must agree with the propensity"),
        (1, {"eligible": [True, None, True]}, r"eligible from row 0 == None, must not be null"),
        (1, {"context": {"age": float("nan")}}, r"context\.age\[1\] == nan, must be finite"),
        (1, {"candidates": [THREE[1], THREE[0], THREE[2]]}, r"candidates\[1\]\[0\]\.message_id == 'a', must be 'sil"),
    ],
    ids=["eligible", "propensities", "propensity 0", "no propensity", "ineligible", "action", "probs", "null", "nan",
         "silence"],
)  # fmt: skip
def test_bad_logs(row, fields, message):
    rows = [{**item, **fields} if i == row else item for i, item in enumerate(ROWS)]
    with pytest.raises(InvalidInputError, match=message):
        build_dataset(log_of(rows, OUTCOMES), GOALS)


def test_an_empty_log():
    with pytest.raises(InvalidInputError, match="decisions == 0, must be >= 1"):
        build_dataset(log_of([]), GOALS)
    with pytest.raises(InvalidInputError, match=r"decisions == 0, must be >= 1\. The log holds no decision"):
        build_dataset(log_of([]), GOALS, encoder=FeatureEncoder.fit(log_of(ROWS)))
