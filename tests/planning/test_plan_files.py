"""From a problem's file to a plan, its prices and its page; and what the report says of small plans by hand."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homing.cli import main
from homing.errors import InvalidInputError, UnknownNameError
from homing.planning import (
    Budget,
    Floor,
    InfeasibleFloorsError,
    PlanningProblem,
    ProblemFile,
    load_prices,
    plan_files,
    plan_from_file,
    report,
    solve,
    sweep,
)

YAML = """
version: 1
candidates: candidates.parquet
columns: {user: user_id, value: value, codes: [channel], costs: [opt_outs], segments: [tier]}
budgets:
  - {limit: 40, where: {channel: push}}
  - {limit: 1.5, cost: opt_outs, name: opt-outs}
floors:
  - {limit: 5, where: {tier: gold}, name: gold}
horizon: {start: 2026-11-23T00:00:00Z, amounts: {opt_outs: objective.unsubscribed}}
"""


def table_of(users=100, **columns):
    rng = np.random.default_rng(0)
    n = 2 * users
    return pa.table(
        {
            "user_id": np.repeat([f"u{i:03d}" for i in range(users)], 2),
            "value": rng.gamma(2.0, 0.5, n).astype(np.float32),
            "channel": ["push", "email"] * users,
            "opt_outs": rng.random(n).astype(np.float32) / 20,
            "tier": np.repeat(["gold" if i % 4 == 0 else "plain" for i in range(users)], 2),
            **columns,
        }
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "monday.yaml").write_text(YAML)
    pq.write_table(table_of(), tmp_path / "candidates.parquet")
    return tmp_path


def test_a_file_becomes_a_plan_prices_and_a_page(folder, capsys):
    assert main(["plan", str(folder / "monday.yaml")]) == 0
    out = folder / "monday"
    said = capsys.readouterr().out
    assert "users are silent" in said and "first come, first served" in said and str(out / "report.html") in said
    rows = pq.read_table(out / "plan.parquet").to_pydict()
    numbers = json.loads((out / "report.json").read_text())
    assert rows["channel"].count("push") == numbers["plan"]["limits"][0]["used"] <= 40
    assert len(set(rows["user"])) == len(rows["user"]) == numbers["plan"]["n_messages"]
    assert sum(rows["value"]) == pytest.approx(numbers["plan"]["value"])
    assert numbers["alternatives"]["first_come"] <= numbers["plan"]["upper_bound"]
    assert numbers["silence"]["total"] == numbers["plan"]["n_silent"] == 100 - len(rows["user"])
    prices = load_prices(out / "prices.json")
    assert [dict(item.counts) for item in prices.budgets] == [{"channel": "push"}, {}, {"context.tier": "gold"}]
    assert prices.budgets[1].amount == "objective.unsubscribed"
    assert prices.start.isoformat() == "2026-11-23T00:00:00+00:00"
    page = (out / "report.html").read_text()
    for words in ("Plan: monday", "greedy: what is worth most first", "opt-outs", "Who is silent", "<svg"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page


def test_yesterdays_prices_are_where_a_search_begins(folder):
    first = plan_from_file(folder / "monday.yaml", folder / "one")
    again = plan_from_file(folder / "monday.yaml", folder / "two", warm_start=folder / "one" / "prices.json")
    assert again.plan.value == pytest.approx(first.plan.value, rel=1e-3)
    other = folder / "other.yaml"
    other.write_text("candidates: candidates.parquet\ncolumns: {codes: [channel]}\nbudgets: [{limit: 3}]\n")
    with pytest.raises(InvalidInputError, match=r"budgets of .*prices.json == .*, must price some of \['messages'\]"):
        plan_from_file(other, folder / "three", warm_start=folder / "one" / "prices.json")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("budgets:", "budgts:"), UnknownNameError, "monday.yaml: key == 'budgts', must be one of .* 'budgets'"),
        (("name: opt-outs", "nam: x"), UnknownNameError, "key of 'budgets.1' == 'nam'"),
        (("limit: 40", "limit: -1"), InvalidInputError, r"monday.yaml: budgets.0.limit == -1, input should be"),
        (("channel: push", "channel: puhs"), UnknownNameError, "Did you mean 'push'?"),
        (("candidates.parquet", "nowhere.parquet"), InvalidInputError, "candidates == .*nowhere.parquet"),
        (("value: value", "value: worth"), UnknownNameError, "column of candidates.parquet == 'worth'"),
        (("version: 1", "- a\n- {"), InvalidInputError, "must be YAML"),
        (("candidates: candidates.parquet", ""), InvalidInputError, "monday.yaml: candidates == None, must be given"),
        (("limit: 5,", "limit: 500,"), InfeasibleFloorsError, "floor 'gold' == 500.*missing"),
        (("floors:", "sweep: pushh\nfloors:"), UnknownNameError, "limit to sweep == 'pushh'"),
        (("floors:", "budgets:\n  - {limit: 1}\nfloors:"), InvalidInputError, "the key 'budgets' is there twice"),
        (("limit: 40", "limit: yes"), InvalidInputError, "budgets.0.limit == True, must be a number"),
        (("floors:", "priorities: [{channel: on}]\nfloors:"), InvalidInputError, "priorities.0.channel.str == True"),
        (("channel: push", "channel: 1"), InvalidInputError, "channel of limit 'channel=1' == 1, must be a text"),
        (("tier: gold", "rank: gold"), UnknownNameError, "column of limit 'gold' == 'rank'"),
    ],
)
def test_mistakes_are_named(folder, change, error, message):
    path = folder / "monday.yaml"
    path.write_text(YAML.replace(*change, 1))
    with pytest.raises(error, match=message):
        plan_from_file(path, folder / "out")


ROWS = {
    "users apart": ({"user_id": ["a", "b", "a", "c"]}, r"user\[2\] == 'a', occurred before, with others between"),
    "no user": ({"user_id": ["a", None, "b", "c"]}, r"user\[1\] == None, must be given"),
    "no value": ({"value": [1.0, None, 1.0, 1.0]}, r"value\[1\] == nan, must be finite"),
    "a tier for each row": ({"tier": ["x", "y", "x", "x"]}, r"tier\[1\] == 'y', must be the same in all rows"),
    "texts as numbers": ({"opt_outs": ["1", "2", "3", "4"]}, "opt_outs type == 'string', must be numbers"),
    "numbers as codes": ({"channel": [0.5, 1.0, 2.0, 3.0]}, "channel type == 'double', must be texts"),
    "no channel": ({"channel": ["a", "b", None, "a"]}, r"channel\[2\] == None, must be given"),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_named(case, tmp_path):
    columns, message = ROWS[case]
    pq.write_table(table_of(2, **{"user_id": ["a", "a", "b", "b"], **columns}), tmp_path / "candidates.parquet")
    file = ProblemFile.from_dict(
        {"candidates": "candidates.parquet",
         "columns": {"codes": ["channel"], "costs": ["opt_outs"], "segments": ["tier"]}}
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match=message):
        file.problem(tmp_path)


def test_a_report_by_hand():
    """Two pushes for five users. Greedy takes 9 and 8, and then nothing is left for 7; by itself each has one."""
    problem = PlanningProblem(
        user=[0, 0, 1, 2, 3], value=[9.0, 8.5, 7.0, -1.0, 0.5], codes={"channel": [0, 1, 0, 0, 0]},
        budgets=[Budget(1, {"channel": 0}, name="push")],
    )  # fmt: skip
    found = report(problem, solve(problem), factors=(1.0, 2.0))
    assert found.plan.value == pytest.approx(15.5)  # 8.5 by email, 7 by push
    assert (found.greedy, found.first_come, found.unlimited) == pytest.approx((9.0, 9.0, 16.5))
    assert found.wanted == {"push": 3.0}
    assert found.silence.to_dict() == {
        "no_candidates": 0, "not_worth_it": 1, "priced_out": {"push": 1}, "no_room": 0, "total": 2,
    }  # fmt: skip
    [swept] = found.sweeps
    assert [point.value for point in swept.points] == pytest.approx([15.5, 16.0])
    assert "greedy by value: 9, +72.2% by planning" in found.to_text()


def test_greedy_keeps_caps_gaps_and_exclusions():
    problem = PlanningProblem(
        user=[0, 0, 0, 0], value=[5.0, 4.0, 3.0, 2.0], codes={"hour": [9, 10, 12, 20], "campaign": [0, 1, 0, 2]},
        max_per_user=2, min_gap_hours=2, exclusive=["campaign"],
    )  # fmt: skip
    found = report(problem, solve(problem))
    # 5 at nine; ten is too near, twelve is the same campaign, so 2 at twenty.
    assert found.greedy == found.first_come == pytest.approx(7.0)
    assert found.sweeps == ()


def test_a_sweep_says_where_floors_cannot_be_met():
    problem = PlanningProblem([0, 1, 2], [1.0, 1.0, -1.0], {"campaign": [0, 0, 1]}, budgets=[Budget(3)],
                              floors=[Floor(1, {"campaign": 1}, name="launch")])  # fmt: skip
    points = sweep(problem, "launch", factors=(0.0, 1.0, 2.0)).points
    assert [point.value for point in points] == [2.0, 1.0, None]
    with pytest.raises(UnknownNameError, match="limit to sweep == 'lunch'"):
        sweep(problem, "lunch")


def test_shares_of_nothing_are_planned_for_once():
    problem = PlanningProblem(user=[0, 1], value=[1.0, 2.0], budgets=[Budget(0)])
    assert [point.limit for point in sweep(problem, "messages").points] == [0.0]


def test_a_large_problem_is_planned_part_by_part(folder, capsys, monkeypatch):
    """By its file's word or by its size; with the files of a plan in one piece, and nearly its numbers."""
    whole = plan_from_file(folder / "monday.yaml", folder / "whole")
    pq.write_table(table_of(), folder / "candidates.parquet", row_group_size=40)
    parted = folder / "parted.yaml"
    parted.write_text(YAML + "part_rows: 80\n")
    assert main(["plan", str(parted)]) == 0
    said = capsys.readouterr().out
    assert "users, in 3 files" in said and "All but the plan was found out on 100 users" in said
    out = folder / "parted"
    rows = pa.concat_tables([pq.read_table(file) for file in sorted(out.glob("plan-*.parquet"))])
    numbers = json.loads((out / "report.json").read_text())
    assert numbers["plan"]["value"] == pytest.approx(whole.plan.value, rel=0.03)
    assert numbers["plan"]["upper_bound"] == pytest.approx(whole.plan.upper_bound, rel=1e-3)
    assert all(item["used"] <= item["limit"] for item in numbers["plan"]["limits"] if item["kind"] == "budget")
    # `candidate` is the row among all of them.
    table = table_of().take(rows["candidate"])
    assert table["user_id"].to_pylist() == rows["user"].to_pylist()
    assert table["value"].to_pylist() == rows["value"].to_pylist()
    prices, one = load_prices(out / "prices.json"), load_prices(folder / "whole" / "prices.json")
    assert [item.name for item in prices.budgets] == [item.name for item in one.budgets]
    assert prices.signed == pytest.approx(one.signed, rel=0.2, abs=0.02)
    assert numbers["alternatives"]["greedy"] == pytest.approx(whole.greedy)
    # By size, with the same folder: what the other run left is gone.
    monkeypatch.setattr(plan_files, "WHOLE", 100)
    plan_from_file(folder / "monday.yaml", folder / "whole")
    assert not (folder / "whole" / "plan.parquet").exists() and (folder / "whole" / "plan-00000.parquet").exists()
    with pytest.raises(UnknownNameError, match=r"engine == 'rai'.*Did you mean 'ray'"):
        plan_from_file(parted, folder / "other", engine="rai")
    parted.write_text(YAML + "part_rows: 80\npriorities: [{channel: push}]\n")
    with pytest.raises(InvalidInputError, match=r"priorities == .*must be none where candidates are planned part by"):
        plan_from_file(parted, folder / "other")


def test_priorities_have_no_prices_to_publish(folder):
    file = folder / "monday.yaml"
    plan_from_file(file, folder / "out")
    file.write_text(YAML + "priorities: [{channel: push}]\n")
    found = plan_from_file(file, folder / "out")
    assert [item.name for item in found.plan.classes] == ["channel=push", "all others"]
    assert not (folder / "out" / "prices.json").exists()


def test_mistakes_that_only_the_report_or_the_prices_would_meet_are_told_before_anything_is_planned(folder):
    table = table_of().rename_columns({"channel": "vendor"})
    pq.write_table(table, folder / "candidates.parquet")
    (folder / "monday.yaml").write_text(YAML.replace("channel", "vendor"))
    with pytest.raises(UnknownNameError, match="column of limit 'vendor=push' == 'vendor', must be one of"):
        plan_from_file(folder / "monday.yaml", folder / "out")
    pq.write_table(table_of(), folder / "candidates.parquet")
    for change, error, message in (
        (("{opt_outs: objective", "{opt_out: objective"), UnknownNameError, "amounts of the horizon == 'opt_out'"),
        (("objective.unsub", "unsub"), InvalidInputError, r"amount == 'unsubscribed', must be feature\.NAME"),
        (
            ("Z, amounts", "Z, traffic: [1, -2], amounts"),
            InvalidInputError,
            r"traffic == \[1\.0, -2\.0\], must be finite",
        ),
    ):
        (folder / "monday.yaml").write_text(YAML.replace(*change))
        with pytest.raises(error, match=message):
            plan_from_file(folder / "monday.yaml", folder / "out")
    hours = table_of().append_column("hour", pa.array(np.arange(200) % 48))
    pq.write_table(hours, folder / "candidates.parquet")
    text = YAML.replace("codes: [channel]", "codes: [channel, hour]").replace("{channel: push}", "{hour: [23, 24]}")
    (folder / "monday.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"hour of limit 'hour=23\|24' == '24', must be in '0' … '23'"):
        plan_from_file(folder / "monday.yaml", folder / "out")
    assert not (folder / "out").exists()


def test_a_range_has_its_report_and_its_prices(folder):
    """A budget and a floor on the same: half of the budget is less than the floor, in the sweep alone."""
    path = folder / "monday.yaml"
    path.write_text(YAML.replace("floors:", "sweep: channel=push\nfloors:\n  - {limit: 30, where: {channel: push}}"))
    found = plan_from_file(path, folder / "out")
    assert [point.value is None for point in found.sweeps[0].points[:4]] == [True, True, False, False]
    assert [item.name for item in load_prices(folder / "out" / "prices.json").budgets][2] == "channel=push (floor)"
    again = plan_from_file(path, folder / "two", warm_start=folder / "out" / "prices.json")
    assert again.plan.value == pytest.approx(found.plan.value, rel=1e-3)


@pytest.mark.parametrize("candidates", ["out", "out/plan.parquet", "out/plan-00000.parquet"])
def test_a_plan_is_not_written_where_its_candidates_are(folder, candidates):
    (folder / "out").mkdir()
    file = folder / candidates if candidates != "out" else folder / "out" / "one.parquet"
    pq.write_table(table_of(), file)
    (folder / "monday.yaml").write_text(YAML.replace("candidates.parquet", candidates))
    with pytest.raises(InvalidInputError, match=r"must not be where the plan is written\. Name another folder"):
        plan_from_file(folder / "monday.yaml", folder / "out")
    assert file.is_file()


def test_files_of_others_are_left_and_columns_of_others_keep_their_own(folder):
    (folder / "out").mkdir()
    (folder / "out" / "plan-of-last-year.parquet").write_text("mine")
    table = table_of(candidate=np.full(200, 7))
    pq.write_table(table, folder / "candidates.parquet")
    (folder / "monday.yaml").write_text(
        YAML.replace("codes: [channel]", "codes: [channel], keep: [candidate, channel]")
    )
    plan_from_file(folder / "monday.yaml", folder / "out")
    assert (folder / "out" / "plan-of-last-year.parquet").is_file()
    made = pq.read_table(folder / "out" / "plan.parquet")
    assert set(made["kept.candidate"].to_pylist()) == {7}
    assert made["channel"] == table.take(made["candidate"])["channel"]


def test_what_everybody_would_get_alone_is_their_best_not_what_is_greedy():
    """At 10 it is worth most, and shuts out 8 and 12, which together are worth more."""
    problem = PlanningProblem([0] * 3, [5.0, 6.0, 5.0], {"hour": [8, 10, 12]}, max_per_user=2, min_gap_hours=3)
    found = report(problem, solve(problem))
    assert found.unlimited == found.plan.value == 10.0 and found.greedy == 6.0
