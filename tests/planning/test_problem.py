"""What a problem refuses, row by row, and the odd problems that it takes."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.planning import Budget, Floor, InfeasibleFloorsError, PlanningProblem, UserOffsets, solve
from homing.planning.demand import demand_of

GOOD: dict[str, Any] = {
    "user": [0, 0, 1, 1],
    "value": [0.5, 0.4, 0.3, 0.1],
    "codes": {"channel": [0, 1, 0, 1], "hour": [9, 9, 10, 12]},
    "costs": {"money": [0.1, 0.0, 0.1, 0.0]},
    "names": {"channel": ["push", "email"]},
}
BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "NaN value": ({"value": [0.5, np.nan, 0.3, 0.1]}, InvalidInputError, "value[1] == nan, must be finite."),
    "infinite value": ({"value": [0.5, 0.4, -np.inf, 0.1]}, InvalidInputError, "value[2] == -inf, must be finite."),
    "beyond float32": ({"value": [0.5, 0.4, 1e39, 0.1]}, InvalidInputError, "value[2] == 1e+39, must be finite."),
    "infinite cost": (
        {"costs": {"money": [0, 0, 0, np.inf]}}, InvalidInputError, "costs['money'][3] == inf, must be finite and >= 0."
    ),
    "negative cost": (
        {"costs": {"money": [0, -1.0, 0, 0]}}, InvalidInputError, "costs['money'][1] == -1.0, must be finite and >= 0."
    ),
    "unsorted users": ({"user": [0, 1, 0, 1]}, InvalidInputError, "user[2] == 0, must be >= 1."),
    "unsorted text users": ({"user": ["a", "c", "b", "d"]}, InvalidInputError, "user[2] == 'b', must be sorted."),
    "falling offsets": ({"user": [0, 1]}, InvalidInputError, "user.shape == (2,), must be (4)."),
    "code without a name": (
        {"codes": {"channel": [0, 1, 2, 1]}}, InvalidInputError, "codes['channel'][2] == 2, must be in 0 … 1."
    ),
    "negative code": ({"codes": {"hour": [0, -1, 2, 1]}}, InvalidInputError, "codes['hour'][1] == -1, must be in 0 …"),
    "codes that are no integers": (
        {"codes": {"hour": [0.0, 1.0, 2.0, 1.5]}}, InvalidInputError, "codes['hour'].dtype == 'float64', must be an"
    ),
    "short column": ({"codes": {"hour": [1, 2]}}, InvalidInputError, "codes['hour'].shape == (2,), must be (4)."),
    "floor above its budget": (
        {"budgets": [Budget(1, {"channel": "push"})], "floors": [Floor(2, {"channel": 0})]},
        InvalidInputError,
        "floor 'channel=0' == 2, must be <= 1, the budget of the same.",
    ),
    "limit given twice": (
        {"budgets": [Budget(1, {"channel": "push"}), Budget(2, {"channel": "push"})]},
        InvalidInputError,
        "limit == 'channel=push', must be given once.",
    ),
    "unknown column": ({"budgets": [Budget(1, {"chanel": 0})]}, UnknownNameError, "Did you mean 'channel'?"),
    "unknown name": ({"budgets": [Budget(1, {"channel": "posh"})]}, UnknownNameError, "Did you mean 'push'?"),
    "unknown cost": ({"budgets": [Budget(1, cost="mony")]}, UnknownNameError, "Did you mean 'money'?"),
    "no hour": ({"codes": {}, "min_gap_hours": 2}, UnknownNameError, "code column == 'hour'"),
    "no cap": ({"max_per_user": 0}, InvalidInputError, "max_per_user == 0, must be in 1 … 64."),
    "part of a cap": ({"max_per_user": 1.5}, InvalidInputError, "max_per_user == 1.5, must be a whole number"),
    "cap as a text": ({"max_per_user": "2"}, InvalidInputError, "max_per_user == '2', must be a whole number"),
    "part of an hour": ({"min_gap_hours": 1.5}, InvalidInputError, "min_gap_hours == 1.5, must be a whole number"),
    "floor as a budget": ({"budgets": [Floor(2)]}, InvalidInputError, "must be a Budget."),
    "one budget": ({"budgets": Budget(2)}, InvalidInputError, "must be a list of Budget."),
    "twins": (
        {"value": [0.5, 0.5, 0.3, 0.1], "codes": {"channel": [0, 0, 0, 1]}, "costs": {}, "max_per_user": 2},
        InvalidInputError,
        "candidate 1 == 'user 0', must differ from that user's other candidates",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name_and_row(case: str) -> None:
    change, kind, message = BAD[case]
    with pytest.raises(kind, match=re.escape(message)):
        PlanningProblem(**GOOD | change)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=re.escape("limit of budget 'messages' == -1, must be a finite number")):
        Budget(-1)


@pytest.mark.parametrize("code", [1.5, None, True, ["push", None]])
def test_what_is_no_code_counts_nothing(code: object) -> None:
    with pytest.raises(InvalidInputError, match=r"channel of budget == .*, must be a code, its name, or a list"):
        Budget(1, {"channel": code})  # type: ignore[dict-item]


@pytest.mark.parametrize(("setting", "bound"), [({"threads": -1}, "threads == -1"), ({"seed": -1}, "seed == -1")])
def test_settings_of_the_search_are_whole_numbers(setting: dict[str, int], bound: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{bound}, must be a whole number >= 0"):
        solve(PlanningProblem(**GOOD), **setting)


@pytest.mark.parametrize("offsets", [[1, 2], [0, 2, 1]])
def test_offsets_begin_at_0_and_never_fall(offsets: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="offsets"):
        UserOffsets(np.array(offsets))


def test_nobody_to_plan_for() -> None:
    plan = solve(PlanningProblem(user=[], value=[], budgets=[Budget(3)]))
    assert (len(plan.chosen), plan.value, plan.upper_bound, plan.gap) == (0, 0.0, 0.0, 0.0)


def test_users_without_candidates_are_silent() -> None:
    plan = solve(PlanningProblem(user=UserOffsets([0, 0, 1, 1]), value=[1.0], budgets=[Budget(3)]))
    assert plan.chosen.tolist() == [0] and plan.n_silent == 2


def test_one_user_gets_the_best_that_is_allowed() -> None:
    budgets = [Budget(0, {"channel": "push"})]
    plan = solve(PlanningProblem(user=[7, 7], value=[0.9, 0.4], codes={"channel": [0, 1]}, names=GOOD["names"],
                                 budgets=budgets))  # fmt: skip
    assert plan.chosen.tolist() == [1]
    assert plan.upper_bound == pytest.approx(0.4, rel=1e-6)  # float32


def test_where_every_message_does_harm_everybody_is_silent() -> None:
    plan = solve(PlanningProblem(user=[0, 1, 1], value=[-1.0, -0.1, -2.0], budgets=[Budget(2)]))
    assert (len(plan.chosen), plan.n_silent, plan.value, plan.gap) == (0, 2, 0.0, 0.0)


def test_a_floor_makes_the_least_harmful_message_go_out() -> None:
    plan = solve(PlanningProblem(user=[0, 1, 1], value=[-1.0, -0.25, -2.0], floors=[Floor(1)]))
    assert plan.chosen.tolist() == [1]
    assert plan.value == pytest.approx(-0.25) and plan.upper_bound == pytest.approx(-0.25, rel=1e-5)
    assert 0.25 <= plan.usage[0].price + 1e-6 <= 1.0 + 2e-6  # one unit less gains 0.25; one more would cost 1


def test_twins_where_a_user_gets_one_message_are_a_tie() -> None:
    plan = solve(PlanningProblem(user=[0, 0, 1], value=[0.5, 0.5, 0.25], budgets=[Budget(1)]))
    assert len(plan.chosen) == 1 and plan.value == 0.5


def test_floors_that_cannot_be_met_are_told_with_what_is_missing() -> None:
    problem = PlanningProblem(
        user=np.arange(10),
        value=np.full(10, 0.5),
        codes={"campaign": np.arange(10) % 2},
        floors=[Floor(7, {"campaign": 0}), Floor(2, {"campaign": 1})],
    )
    with pytest.raises(InfeasibleFloorsError, match=re.escape("floor 'campaign=0' == 7.0, must be <= 5")) as caught:
        solve(problem)
    (missed,) = caught.value.missed
    assert (missed.used, missed.missing) == (5.0, 2.0)
    assert caught.value.plan.value == pytest.approx(5.0)  # the nearest plan: everybody gets their message


def test_floors_that_compete_for_a_budget_are_told() -> None:
    problem = PlanningProblem(
        user=np.arange(10),
        value=np.full(10, 0.5),
        codes={"campaign": np.arange(10) % 2},
        budgets=[Budget(6)],
        floors=[Floor(4, {"campaign": 0}), Floor(4, {"campaign": 1})],
    )
    with pytest.raises(InfeasibleFloorsError) as caught:
        solve(problem)
    assert sum(item.missing for item in caught.value.missed) == 2.0
    assert all(item.missing == 0 for item in caught.value.plan.usage if not item.floor)


def test_candidates_revalued_are_the_problem_with_those_values() -> None:
    rng = np.random.default_rng(3)
    columns = {"codes": {"channel": rng.integers(0, 3, 600)}, "costs": {"money": rng.random(600)}}
    limits = {"budgets": [Budget(40, {"channel": 1}), Budget(20.0, cost="money")], "max_per_user": 2}
    old = PlanningProblem(np.repeat(np.arange(200), 3), rng.normal(0.5, 1.0, 600), **columns, **limits)
    value = rng.normal(0.5, 1.0, 600)
    solve(old)  # what is made of the codes is kept
    plan = solve(old.revalued(value))
    anew = solve(PlanningProblem(np.repeat(np.arange(200), 3), value, **columns, **limits))
    assert plan.chosen.tolist() == anew.chosen.tolist() and plan.upper_bound == anew.upper_bound


def test_bad_new_values_are_refused() -> None:
    problem = PlanningProblem(**GOOD)
    with pytest.raises(InvalidInputError, match=re.escape("value[1] == nan, must be finite.")):
        problem.revalued([0.5, np.nan, 0.3, 0.1])
    twins = PlanningProblem([0, 0], [1.0, 2.0], max_per_user=2)
    with pytest.raises(InvalidInputError, match=r"candidate 1 == .*user 0.*, must differ"):
        twins.revalued([1.0, 1.0])


def test_limits_take_numbers_and_codes_of_numpy() -> None:
    budget = Budget(np.int64(5), {"channel": np.int64(1), "hour": np.array([9, 10])})  # type: ignore[dict-item]
    assert budget == Budget(5, {"channel": 1, "hour": [9, 10]}) and budget.label == "channel=1 & hour=9|10"
    assert json.loads(json.dumps(budget.to_dict())) == budget.to_dict()
    assert Floor(np.float32(0.5)).limit == 0.5
    with pytest.raises(InvalidInputError, match="where of budget == 'push', must map"):
        Budget(-1, "push")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="name of budget == 7, must be a text"):
        Budget(1, name=7)  # type: ignore[arg-type]


def test_a_budget_and_a_floor_on_the_same_are_told_apart() -> None:
    push = {"channel": "push"}
    problem = PlanningProblem(**GOOD, budgets=[Budget(2, push)], floors=[Floor(1, push)])
    assert [item.label for item in problem.limits] == ["channel=push", "channel=push (floor)"]


def test_hours_between_messages_are_counted_by_codes_that_are_hours() -> None:
    names = {"hour": ["10", "8", "9"]}
    with pytest.raises(
        InvalidInputError, match=re.escape("names['hour'][0] == '10', must be '0': codes are the hours")
    ):
        PlanningProblem([0, 0], [1.0, 1.0], {"hour": [0, 2]}, max_per_user=2, min_gap_hours=2, names=names)
    with pytest.raises(InvalidInputError, match="Give hours as whole numbers"):
        table = pa.table({"user_id": ["a"] * 3, "value": [5.0, 6.0, 5.0], "hour": ["8", "9", "10"]})
        PlanningProblem.from_table(table, codes=["hour"], max_per_user=3, min_gap_hours=2)


def test_whole_numbers_may_come_as_floats() -> None:
    limits = {"max_per_user": 2.0, "min_gap_hours": 3.0}
    problem = PlanningProblem([0, 0, 0], [1.0, 2.0, 1.5], {"hour": [1, 3, 4]}, **limits)  # type: ignore[arg-type]
    assert solve(problem, seed=1.0).chosen.tolist() == [0, 2]  # type: ignore[arg-type]


def test_texts_are_selected_by_texts() -> None:
    """By their order "12" would be code 1."""
    table = pa.table({"user_id": ["a", "b"], "value": [1.0, 2.0], "campaign": ["1", "12"]})
    with pytest.raises(InvalidInputError, match=re.escape("campaign of limit 'campaign=1' == 1, must be a text")):
        PlanningProblem.from_table(table, codes=["campaign"], budgets=[Budget(0, {"campaign": 1})])
    with pytest.raises(InvalidInputError, match=re.escape("campaign of priorities == 1, must be a text")):
        PlanningProblem.from_table(table, codes=["campaign"], priorities=[{"campaign": ["12"]}, {"campaign": [1]}])


def test_values_after_prices_may_be_the_same_for_two_candidates() -> None:
    problem = PlanningProblem([0, 0], [0.1, 0.1 + 1e-8], {"campaign": [0, 0]}, budgets=[Budget(1)], max_per_user=2)
    assert demand_of(problem, np.array([5.0]))[1].tolist() == [0.0]
