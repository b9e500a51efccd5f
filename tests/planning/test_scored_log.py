"""From tables and scored logs to problems, and from plans back to who gets what."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log import DecisionLog, FeatureEncoder, decisions_schema, silence_candidate, write_log
from homing.log.features import Field
from homing.planning import Budget, PlanningProblem, load_prices, opportunities, plan_from_file, solve
from homing.policies import ColumnScorer, GreedyPolicy, UniformPolicy, save_policy

EXTRA = {"worth": pa.float64(), "money": pa.float64()}
ENCODER = FeatureEncoder(
    context=(Field("tier", "category", ("gold", "plain")),),
    candidate=(Field("worth", "number", mean=0.0, scale=1.0), Field("money", "number", mean=0.0, scale=1.0)),
)


@pytest.fixture
def policy(tmp_path):
    """Scores are twice `worth`, and 0.25 for silence."""
    values = np.zeros(len(ENCODER.candidate_names))
    values[ENCODER.column("worth")] = 2.0
    values[ENCODER.column("is_silence")] = 0.25
    scorer = ColumnScorer(values, width=len(ENCODER.context_names))
    digest = save_policy(GreedyPolicy(scorer), tmp_path / "policy", name="greedy", features=ENCODER.to_dict())
    return tmp_path / "policy", digest


def decision(number, user, worths, *, eligible=None):
    """One decision, its candidates by turns push and email."""
    candidates = [
        {**silence_candidate(EXTRA), "message_id": f"m{i}", "campaign": "c", "domain": "d", "slot": "s",
         "channel": ("push", "email")[i % 2], "value": 9.0, "worth": worth, "money": 0.1 * (i + 1)}
        for i, worth in enumerate(worths)
    ]  # fmt: skip
    return {
        "decision_id": f"d{number}", "user_id": user, "decided_at": number * 3_600_000_000, "policy": "p@1",
        "context": {"tier": "gold" if user == "ann" else "plain"},
        "candidates": [silence_candidate(EXTRA), *candidates],
        "eligible": [True, *(eligible or [True] * len(worths))],
        "action": 0, "propensity": 1.0, "explored": False, "slice": "policy",
    }  # fmt: skip


@pytest.fixture
def log():
    rows = [
        decision(0, "ann", [1.0, 0.5]),
        decision(1, "bob", [2.0, 1.9, 0.3], eligible=[True, True, False]),
        decision(30, "ann", [0.8]),
        decision(31, "cem", [0.1]),
    ]
    return DecisionLog.from_tables(pa.Table.from_pylist(rows, decisions_schema({"tier": pa.string()}, EXTRA)))


@pytest.mark.parametrize("batch_rows", [1, 4096])
def test_a_log_becomes_candidates_over_silence(log, policy, batch_rows):
    table = opportunities(log, policy[0], batch_rows=batch_rows)
    assert table["user_id"].to_pylist() == ["ann", "ann", "ann", "bob", "bob", "cem"]  # a user's rows together
    assert table["decision_id"].to_pylist() == ["d0", "d0", "d30", "d1", "d1", "d31"]
    assert table["candidate"].to_pylist() == [1, 2, 1, 1, 2, 1]  # what was not eligible is left out
    assert table["value"].to_pylist() == pytest.approx([1.75, 0.75, 1.35, 3.75, 3.55, -0.05])
    assert table["hour"].to_pylist() == [0, 0, 6, 1, 1, 7]
    assert table["money"].to_pylist() == pytest.approx([0.1, 0.2, 0.1, 0.1, 0.2, 0.1])
    assert table["tier"].to_pylist() == ["gold"] * 3 + ["plain"] * 3
    each = opportunities(log, policy[0], per="decision")
    assert each["decision_id"].to_pylist() == ["d0", "d0", "d1", "d1", "d30", "d31"]


def test_who_gets_what_comes_back(log, policy):
    """One push for three users: bob's is worth 3.75, an email in its place 3.55, so that ann's second best waits."""
    table = opportunities(log, policy[0])
    problem = PlanningProblem.from_table(
        table, codes=["channel"], costs=["money"], segments=["tier"],
        budgets=[Budget(1, {"channel": "push"}), Budget(10, {"tier": "gold"}, cost="money")],
    )  # fmt: skip
    plan = solve(problem)
    sent = table.take(plan.chosen).select(["user_id", "decision_id", "message_id"]).to_pylist()
    assert sent == [
        {"user_id": "ann", "decision_id": "d0", "message_id": "m0"},
        {"user_id": "bob", "decision_id": "d1", "message_id": "m1"},
    ]
    assert plan.value == pytest.approx(5.3)
    # Silence is worth more than cem's only message. Each decision by itself: ann is asked twice.
    each = opportunities(log, policy[0], per="decision")
    alone = solve(PlanningProblem.from_table(each, user="decision_id"))
    assert each.take(alone.chosen)["decision_id"].to_pylist() == ["d0", "d1", "d30"]


def test_polars_and_arrow_give_the_same(log, policy):
    table = opportunities(log, policy[0])
    frame = pl.from_arrow(table).with_columns(pl.col("campaign").cast(pl.Categorical))
    keys = {"codes": ["channel", "campaign"], "segments": ["tier"], "budgets": [Budget(1, {"channel": "push"})]}
    one, other = (PlanningProblem.from_table(given, **keys) for given in (table, frame))
    assert one.names == other.names and one.user.ids.tolist() == other.user.ids.tolist()
    assert frame[solve(other).chosen]["message_id"].to_list() == ["m0", "m1"]
    with pytest.raises(InvalidInputError, match=r"user\[2\] == 'ann', occurred before, with others between"):
        PlanningProblem.from_table(table.take([0, 3, 1]))
    with pytest.raises(UnknownNameError, match=r"column of the candidates == 'chanel'.*Did you mean 'channel'"):
        PlanningProblem.from_table(table, codes=["chanel"])
    with pytest.raises(InvalidInputError, match="table == 'dict', must be an Arrow table"):
        PlanningProblem.from_table({"user_id": [1]})


def test_a_file_may_name_a_log_and_a_policy(log, policy, tmp_path):
    write_log(log, tmp_path / "log")
    file = tmp_path / "monday.yaml"
    file.write_text(f"""
candidates: log
policy: policy
columns: {{codes: [channel], costs: [money], segments: [tier], keep: [decision_id, message_id]}}
budgets: [{{limit: 1, where: {{channel: push}}}}]
horizon: {{start: 2026-11-23T00:00:00Z, policy: {policy[1]}}}
""")
    plan_from_file(file, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "plan.parquet")
    assert rows.select(["user", "decision_id", "message_id", "channel"]).to_pylist() == [
        {"user": "ann", "decision_id": "d0", "message_id": "m0", "channel": "push"},
        {"user": "bob", "decision_id": "d1", "message_id": "m1", "channel": "email"},
    ]
    assert load_prices(tmp_path / "out" / "prices.json").policy == policy[1]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["plan"]["n_users"] == 3
    file.write_text(file.read_text() + "part_rows: 2\n")
    with pytest.raises(InvalidInputError, match="policy == 'policy', must be none where candidates are planned part"):
        plan_from_file(file, tmp_path / "out")
    save_policy(UniformPolicy(), tmp_path / "uniform", name="uniform", features=ENCODER.to_dict())
    with pytest.raises(InvalidInputError, match="policy == 'uniform', has no scores that could be planned with"):
        opportunities(log, tmp_path / "uniform")
    with pytest.raises(InvalidInputError, match="per == 'day', must be user or decision"):
        opportunities(log, policy[0], per="day")


def test_a_file_plans_each_decision_by_itself(log, policy, tmp_path):
    """Ann is asked twice, and may get one message each time."""
    write_log(log, tmp_path / "log")
    file = tmp_path / "monday.yaml"
    file.write_text("candidates: log\npolicy: policy\nper: decision\ncolumns: {codes: [channel]}\n")
    plan_from_file(file, tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "plan.parquet")["user"].to_pylist() == ["d0", "d1", "d30"]
    file.write_text("candidates: log\nper: decision\n")
    with pytest.raises(InvalidInputError, match=r"monday\.yaml: per == 'decision', needs a decision log"):
        plan_from_file(file, tmp_path / "out")
