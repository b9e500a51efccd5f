"""The outcome join: hand-worked windows, an oracle written without Arrow or NumPy, and any order of arrival."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError
from homing.log import OUTCOMES_SCHEMA, JoinReport, Objectives
from homing.log.join import PLACES, DecisionKeys, join_outcomes
from tests.log.rows import outcome

HOUR = 3_600_000_000


def goals(**objectives: dict[str, Any]) -> Objectives:
    base = {"kinds": ["clicked"], "window_hours": 1, "aggregate": "count"}
    return Objectives.from_dict({"objectives": {name: {**base, **item} for name, item in objectives.items()}})


def keys_of(decisions: list[tuple[str, str, int]]) -> DecisionKeys:
    ordered = sorted(decisions, key=lambda row: (row[2], row[0]))
    users = sorted({user for _, user, _ in ordered})
    return DecisionKeys(
        pa.array([row[0] for row in ordered], pa.string()),
        np.array([users.index(row[1]) for row in ordered], dtype=np.int64),
        pa.array(users, pa.string()),
        np.array([row[2] for row in ordered], dtype=np.int64),
    )


def table_of(outcomes: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in outcomes], schema=OUTCOMES_SCHEMA)


def join(decisions, outcomes, objectives, until=None):
    return join_outcomes(keys_of(decisions), table_of(outcomes), objectives, until=until)


# By hand -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "reward", "place"),
    [(-1, 0, "before_decision"), (0, 1, "joined"), (HOUR - 1, 1, "joined"), (HOUR, 0, "late")],
    ids=["before", "same microsecond", "last microsecond", "the window's end"],
)
def test_windows_are_half_open(at, reward, place):
    got, kept, report = join([("d1", "u1", 5 * HOUR)], [outcome("o1", "d1", "u1", 5 * HOUR + at)], goals(clicks={}))
    assert got.tolist() == [[reward]]
    assert kept.all()
    assert getattr(report, place) == 1 == report.outcomes


def test_aggregates():
    times = {"o1": 5, "o2": 3, "o3": HOUR}
    rows = [
        outcome(name, "d1", "u1", at, value=value)
        for (name, at), value in zip(times.items(), (2.0, 5.0, 9.0), strict=True)
    ]
    objectives = goals(
        any={"aggregate": "any"}, count={}, sum={"aggregate": "sum"}, mean={"aggregate": "mean"},
        longer={"aggregate": "sum", "window_hours": 2},
    )  # fmt: skip
    reward, _, report = join([("d1", "u1", 0), ("d2", "u1", 1)], rows, objectives)
    assert reward.tolist() == [[1, 2, 7, 3.5, 16], [0, 0, 0, 0, 0]]
    # o3 is late for four objectives but counts for one: joined.
    assert (report.joined, report.late) == (3, 0)
    assert report.rows_with_outcome == dict.fromkeys(("any", "count", "sum", "mean", "longer"), 1)


def test_one_place_for_each_outcome():
    decisions = [("d1", "u1", 0), ("d2", "u2", 0), ("d3", "u1", 9 * HOUR)]
    rows = [
        outcome("joined", "d1", "u1", 1),
        outcome("joined", "d1", "u1", 1),
        outcome("joined", "d1", "u1", 2),
        outcome("late", "d1", "u1", HOUR),
        outcome("before", "d3", "u1", HOUR),
        outcome("orphan", "d9", "u1", 1),
        outcome("other user's", "d2", "u1", 1),
        outcome("unlinked", None, "u1", 1),
        outcome("other kind", "d1", "u1", 1, kind="opened"),
        outcome("after", "d1", "u1", 10 * HOUR),
        outcome("censored", "d3", "u1", 9 * HOUR + 1),
    ]
    reward, kept, report = join(decisions, rows, goals(clicks={}), until=10 * HOUR - 1)
    assert reward[:, 0].tolist()[:2] == [1, 0]
    assert kept.tolist() == [True, True, False]
    assert report == JoinReport(
        outcomes=11, joined=1, late=1, duplicates=2, orphans=1, wrong_user=1, unlinked=1, before_decision=1,
        after_until=1, censored=1, other_kinds=1, decisions=3, rows=2, censored_decisions=1,
        rows_with_outcome={"clicks": 1}, until=10 * HOUR - 1,
    )  # fmt: skip
    assert str(report).splitlines()[0] == "decisions 3: rows 2, censored 1, duplicates 0"
    assert "joined 1, duplicates 2, after until 1" in str(report)
    assert report.to_dict()["orphans"] == 1


def test_unlinked_outcomes_go_to_the_latest_decision():
    decisions = [("a", "u1", 10), ("b", "u1", 20), ("c", "u2", 20), ("d", "u1", 20), ("e", "u1", 5 * HOUR)]
    rows = [
        outcome("early", None, "u1", 9),  # no decision before
        outcome("first", None, "u1", 19),  # a
        outcome("same", None, "u1", 20),  # b and d are of the same microsecond: the later id
        outcome("mid", None, "u1", HOUR + 19),  # still in the window of d
        outcome("far", None, "u1", HOUR + 20),  # after it
        outcome("nobody", None, "u9", 20),
    ]
    reward, _, report = join(decisions, rows, goals(clicks={"attribute_unlinked": True}, linked={}))
    assert reward[:, 0].tolist() == [1, 0, 0, 2, 0]
    assert reward[:, 1].tolist() == [0, 0, 0, 0, 0]
    assert (report.joined, report.attributed, report.late, report.unlinked) == (3, 3, 1, 2)


def test_a_censored_decision_keeps_its_outcome():
    # d2 is the latest decision: the outcome must not fall back to d1 because d2's window is open.
    decisions = [("d1", "u1", 0), ("d2", "u1", HOUR // 2)]
    objectives = goals(clicks={"attribute_unlinked": True})
    reward, kept, report = join(decisions, [outcome("o", None, "u1", HOUR // 2 + 1)], objectives, until=HOUR)
    assert kept.tolist() == [True, False]
    assert reward[kept].tolist() == [[0]]
    assert (report.joined, report.censored, report.censored_decisions) == (0, 1, 1)


def test_a_window_that_ends_at_until_is_closed():
    until = datetime(1970, 1, 1, 1, tzinfo=UTC)
    _, kept, report = join(
        [("d1", "u1", 0), ("d2", "u1", 1)], [outcome("o", "d1", "u1", HOUR)], goals(clicks={}), until
    )
    assert kept.tolist() == [True, False]
    assert (report.after_until, report.until) == (1, HOUR)


def test_the_longest_window_censors():
    objectives = goals(short={}, long={"window_hours": 3})
    _, kept, _ = join([("d1", "u1", 0), ("d2", "u1", HOUR)], [], objectives, until=3 * HOUR)
    assert kept.tolist() == [True, False]


def test_the_earliest_copy_counts():
    rows = [
        outcome("o", "d1", "u1", HOUR),
        outcome("o", "d1", "u1", 5, value=3.0),
        outcome("o", "d1", "u1", 5, value=2.0),
    ]
    reward, _, report = join([("d1", "u1", 0)], rows, goals(sum={"aggregate": "sum"}))
    assert reward.tolist() == [[2.0]]
    assert (report.duplicates, report.joined, report.late) == (2, 1, 0)


def test_no_outcomes_at_all():
    reward, kept, report = join([("d1", "u1", 0)], [], goals(clicks={}))
    assert (reward.tolist(), kept.tolist(), report.outcomes, report.joined) == ([[0.0]], [True], 0, 0)


def test_bad_arguments():
    with pytest.raises(InvalidInputError, match=r"until == datetime.* with a time zone"):
        join([("d1", "u1", 0)], [], goals(clicks={}), until=datetime(2026, 1, 1))
    with pytest.raises(InvalidInputError, match=r"outcomes\.outcome_id\[0\] == None, must be given\. Pass the log"):
        join([("d1", "u1", 0)], [outcome(None, "d1", "u1", 0)], goals(clicks={}))
    with pytest.raises(InvalidInputError, match=r"outcomes\.occurred_at\[1\] == None, must be given\. Pass the log"):
        join([("d1", "u1", 0)], [outcome("o1", "d1", "u1", 0), outcome("o2", "d1", "u1", None)], goals(clicks={}))


# The oracle ----------------------------------------------------------------------------------------------------------

USERS = ["u1", "u2", "u3"]
IDS = [f"d{i}" for i in range(6)]
# Few moments around few windows, so that equal times and window ends happen all the time.
moments = st.integers(0, 12)
decision_rows = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(USERS), moments), unique_by=lambda row: row[0],
                         min_size=1, max_size=6)  # fmt: skip
outcome_rows = st.lists(
    st.fixed_dictionaries({
        "outcome_id": st.sampled_from([f"o{i}" for i in range(12)]),
        "decision_id": st.one_of(st.none(), st.sampled_from(IDS)),
        "user_id": st.sampled_from([*USERS, "u9"]),
        "kind": st.sampled_from(["clicked", "opened", "session"]),
        "occurred_at": moments,
        "value": st.sampled_from([0.1, 0.2, 0.3, 1e9, -1e9]),
    }),
    max_size=25,
)  # fmt: skip
US = 1 / HOUR  # one microsecond in hours
OBJECTIVES = [
    goals(a={"window_hours": 3 * US, "aggregate": "sum"},
          b={"kinds": ["clicked", "opened"], "window_hours": 5 * US, "aggregate": "mean", "attribute_unlinked": True},
          c={"kinds": ["opened"], "window_hours": 2 * US, "aggregate": "any"}),
    goals(a={"window_hours": 1 * US, "attribute_unlinked": True}),
]  # fmt: skip


def oracle(decisions, outcomes, objectives, until):
    """The rules, one outcome at a time, in plain Python."""
    ordered = sorted(decisions, key=lambda row: (row[2], row[0]))
    limit = float("inf") if until is None else until
    longest = max(item.window_us for _, item in objectives.items())
    kept = [at + longest <= limit for _, _, at in ordered]
    first: dict[str, tuple] = {}
    for row in outcomes:
        # Nulls stand last, as everywhere in the join.
        linked = (row["decision_id"] is None, row["decision_id"] or "")
        copy = (row["occurred_at"], linked, row["user_id"], row["kind"], row["value"])
        if row["outcome_id"] not in first or copy < first[row["outcome_id"]]:
            first[row["outcome_id"]] = copy
    places = Counter(duplicates=len(outcomes) - len(first))
    taken: dict[tuple[int, str], list[float]] = {}
    for _, (at, (unlinked, decision_id), user, kind, value) in sorted(first.items()):
        wanting = {name: item for name, item in objectives.items() if kind in item.kinds}
        if unlinked:
            allowed = {name: item for name, item in wanting.items() if item.attribute_unlinked}
            mine = [i for i, row in enumerate(ordered) if row[1] == user and row[2] <= at]
        else:
            allowed = wanting
            mine = [i for i, row in enumerate(ordered) if row[0] == decision_id]
        fits = [name for name, item in allowed.items() if mine and 0 <= at - ordered[mine[-1]][2] < item.window_us]
        if at >= limit:
            place = "after_until"
        elif not wanting:
            place = "other_kinds"
        elif unlinked and not (allowed and mine):
            place = "unlinked"
        elif not mine:
            place = "orphans"
        elif ordered[mine[-1]][1] != user:
            place = "wrong_user"
        elif at < ordered[mine[-1]][2]:
            place = "before_decision"
        elif not fits:
            place = "late"
        elif not kept[mine[-1]]:
            place = "censored"
        else:
            place = "joined"
            for name in fits:
                taken.setdefault((mine[-1], name), []).append(value)
        places[place] += 1

    def reward(i, name, item):
        values = taken.get((i, name), [])
        if not values:
            return 0.0
        return {"any": 1.0, "count": len(values), "sum": sum(values), "mean": sum(values) / len(values)}[item.aggregate]

    rows = [[reward(i, name, item) for name, item in objectives.items()] for i, keep in enumerate(kept) if keep]
    return rows, kept, places


@settings(max_examples=150, deadline=None)
@given(decision_rows, outcome_rows, st.sampled_from(OBJECTIVES), st.one_of(st.none(), st.integers(0, 20)))
def test_the_join_agrees_with_the_oracle(decisions, outcomes, objectives, until):
    reward, kept, report = join(decisions, outcomes, objectives, until)
    rows, keeps, places = oracle(decisions, outcomes, objectives, until)
    assert kept.tolist() == keeps
    assert {name: getattr(report, name) for name in PLACES} == {name: places[name] for name in PLACES}
    # Sums of up to 25 values of size 1e9, added in another order: 25 * 25e9 * 2^-53 is below 1e-4.
    np.testing.assert_allclose(reward[kept], np.array(rows).reshape(-1, len(objectives.names)), rtol=1e-12, atol=1e-4)


@settings(max_examples=80, deadline=None)
@given(decision_rows, outcome_rows, st.sampled_from(OBJECTIVES), st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_do_not_matter(decisions, outcomes, objectives, random, data):
    until = data.draw(st.one_of(st.none(), st.integers(0, 20)))
    again = data.draw(st.lists(st.sampled_from(outcomes), max_size=10)) if outcomes else []
    shuffled = [*outcomes, *again]
    random.shuffle(shuffled)
    reward, kept, report = join(decisions, outcomes, objectives, until)
    reward_2, kept_2, report_2 = join(decisions, shuffled, objectives, until)
    # Bit for bit, although the values sum to other floats in another order.
    np.testing.assert_array_equal(reward, reward_2)
    np.testing.assert_array_equal(kept, kept_2)
    assert report_2.duplicates == report.duplicates + len(again)
    assert report_2.to_dict() == {**report.to_dict(), "duplicates": report_2.duplicates, "outcomes": len(shuffled)}
    # Every outcome is in one place.
    assert sum(getattr(report_2, name) for name in PLACES) == len(shuffled)
