"""What is logged is what happened: every reward, every probability, by another route."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from homing.decisions import Slices as ServingSlices
from homing.errors import InvalidInputError
from homing.log import SLICES, DecisionLog, Objectives, build_dataset_with_report, validate
from homing.policies import SilencePolicy, UniformPolicy
from homing.simulation import Delivery, Mixture, Slices, decider, log_decisions
from homing.simulation.acting import play

N, DAYS, SEED = 90, 3, 5
#: A click within the step; minutes at its very end (a step is 12 hours); costs at once.
GOALS = Objectives.from_dict(
    {
        "objectives": {
            "clicked": {"kinds": ["clicked"], "window_hours": 12, "aggregate": "any"},
            "minutes": {"kinds": ["custom:minutes"], "window_hours": 12.01, "aggregate": "sum"},
            "cost": {"kinds": ["custom:cost"], "window_hours": 1, "aggregate": "sum"},
        }
    }
)
HALF = Mixture((UniformPolicy(), SilencePolicy()), (0.5, 0.5))


@pytest.mark.parametrize("delivery", [None, Delivery(mean_hours=30.0, duplicate_share=0.3)], ids=["at once", "late"])
def test_the_dataset_holds_the_worlds_own_rewards(small_world, delivery) -> None:
    log = log_decisions(small_world, HALF, days=DAYS, n_users=N, seed=SEED, delivery=delivery)
    assert validate(log).ok
    data, report = build_dataset_with_report(log, GOALS)
    user = np.array([int(name.split("-")[1]) for name in data.user_ids])[data.user]
    step = (data.time - round(small_world.start.timestamp() * 1e6)) // (12 * 3_600_000_000)
    small_world.reset(N, SEED)
    seen = 0
    for one in play(small_world, decider(small_world, HALF), steps=2 * DAYS, n_users=N, seed=SEED):
        rows = np.flatnonzero(step == one.index)
        rows = rows[np.argsort(user[rows])]
        asked = one.observation.user
        assert user[rows].tolist() == asked.tolist()
        assert np.allclose(data.reward[rows], one.outcomes.reward[asked])
        assert np.allclose(data.propensity[rows], one.propensity)
        real = one.observation.message >= 0
        for i, row in enumerate(rows):
            assert np.allclose(data.probs[row][: real[i].sum()], one.probs[i][real[i]])
            assert data.probs[row][data.action[row]] == one.propensity[i]
            # The place in the log's list and in the world's row name the same message.
            assert np.flatnonzero(real[i])[data.action[row]] == one.action[i]
        seen += len(rows)
    assert seen == data.n == report.rows
    # Sessions of users 5, 15, … come by themselves: no objective counts them here.
    assert report.other_kinds == 9 * 2 * DAYS
    assert (report.duplicates > 0) == (delivery is not None)
    assert report.orphans == report.wrong_user == report.before_decision == report.late == 0


def test_delivery_changes_the_order_and_nothing_else(small_world) -> None:
    options = {"days": DAYS, "n_users": N, "seed": SEED}
    plain = log_decisions(small_world, HALF, **options).outcomes().to_pylist()
    times = [row["occurred_at"] for row in plain]
    assert times == sorted(times)
    delayed = log_decisions(small_world, HALF, delivery=Delivery(24.0), **options).outcomes().to_pylist()
    assert [row["occurred_at"] for row in delayed] != sorted(row["occurred_at"] for row in delayed)
    by_id = {row["outcome_id"]: row for row in plain}
    assert len(by_id) == len(plain) == len(delayed)
    assert all(by_id[row["outcome_id"]] == row for row in delayed)
    twice = log_decisions(small_world, HALF, delivery=Delivery(1.0, duplicate_share=1.0), **options).outcomes()
    assert len(twice) == 2 * len(plain)


def test_slices_are_those_of_serving(small_world) -> None:
    n = 400
    slices = Slices(uniform_share=0.3, holdout_share=0.2)
    log = log_decisions(small_world, SilencePolicy(), days=1, n_users=n, seed=1, slices=slices)
    assert validate(log).ok
    serving = ServingSlices(uniform_share=0.3, holdout_share=0.2)
    seen = dict.fromkeys(SLICES, 0)
    for row in log.decisions().to_pylist():
        assert row["slice"] == serving.slice_of(row["user_id"])
        seen[row["slice"]] += 1
        if row["slice"] == "uniform":
            assert np.allclose(row["propensities"], np.array(row["eligible"]) / sum(row["eligible"]))
            assert row["explored"] == (sum(row["eligible"]) > 1)
        else:
            assert row["action"] == 0 and row["propensity"] == 1.0 and not row["explored"]
        if row["slice"] == "holdout":
            assert row["eligible"] == [True] + [False] * (len(row["candidates"]) - 1)
    assert min(seen.values()) > 50


def test_files_are_the_same_every_time(small_world, tmp_path) -> None:
    options = {"days": DAYS, "n_users": N, "seed": SEED, "delivery": Delivery(20.0, 0.2)}
    days = []
    for name in ("one", "two"):
        log_decisions(small_world, HALF, out=tmp_path / name, progress=lambda *done: days.append(done), **options)
    assert days == [(1, 3), (2, 3), (3, 3)] * 2
    assert digests(tmp_path / "one") == digests(tmp_path / "two") != {}
    from homing.log import read_log

    stored, held = read_log(tmp_path / "one"), log_decisions(small_world, HALF, **options)
    assert stored.decisions().equals(held.decisions())
    assert rows_of(stored) == rows_of(held)
    # Noon to noon: three days and a half of four calendar days.
    assert sorted(path.name for path in (tmp_path / "one" / "decisions").iterdir()) == [
        "day=2024-02-28", "day=2024-02-29", "day=2024-03-01", "day=2024-03-02",
    ]  # fmt: skip
    with pytest.raises(InvalidInputError, match="must hold no log"):
        log_decisions(small_world, HALF, out=tmp_path / "one", **options)


def test_whole_numbers_may_come_as_floats(small_world) -> None:
    options = {"days": 2, "n_users": 20, "seed": 3, "warm_up_days": 1}
    wanted = log_decisions(small_world, UniformPolicy(), **options)
    found = log_decisions(small_world, UniformPolicy(), **{name: float(value) for name, value in options.items()})
    assert found.decisions().equals(wanted.decisions()) and found.outcomes().equals(wanted.outcomes())


def test_what_would_be_no_log_is_refused_before_anything_is_simulated(small_world) -> None:
    for name in ("lift-rule", "@1", "a@", ""):
        with pytest.raises(InvalidInputError, match=f"policy_name == '{name}', must be name@version"):
            log_decisions(small_world, HALF, days=1, n_users=10, policy_name=name)
    small_world.start = small_world.start.replace(tzinfo=None)
    with pytest.raises(InvalidInputError, match="start == '2024-02-28T12:00:00', must have a time zone"):
        log_decisions(small_world, HALF, days=1, n_users=10)


def test_a_broken_run_leaves_nothing(small_world, tmp_path) -> None:
    class Breaks:
        def observation_probs(self, observation):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        log_decisions(small_world, Breaks(), days=1, n_users=10, out=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_ids_are_distinct_and_in_time_order(small_world) -> None:
    logs = [log_decisions(small_world, HALF, days=2, n_users=N, seed=seed) for seed in (1, 2)]
    both = DecisionLog.concat(*logs)
    ids = both.decisions()["decision_id"].to_pylist() + both.outcomes()["outcome_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert set(both.decisions()["policy"].to_pylist()) == {"Mixture@1"}
    first = logs[0].decisions()
    times = first["decided_at"].to_pylist()
    assert times == sorted(times)
    assert [x[:13] for x in first["decision_id"].to_pylist()] == sorted(
        x[:13] for x in first["decision_id"].to_pylist()
    )


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(log: DecisionLog) -> list[dict]:
    return sorted(log.outcomes().to_pylist(), key=lambda row: row["outcome_id"])


def test_a_warm_up_is_lived_and_not_logged(small_world) -> None:
    whole = log_decisions(small_world, HALF, days=3, n_users=N, seed=SEED)
    later = log_decisions(small_world, HALF, days=2, warm_up_days=1, n_users=N, seed=SEED)
    rows, kept = (log.decisions().to_pylist() for log in (whole, later))
    first = small_world.start + timedelta(days=1)
    assert kept == [row for row in rows if row["decided_at"] >= first] and 0 < len(kept) < len(rows)
    names = {row["decision_id"] for row in kept}

    def told(log: DecisionLog) -> list[tuple]:
        return sorted(
            (str(row["decision_id"]), row["user_id"], row["kind"], row["occurred_at"], row["value"])
            for row in log.outcomes().to_pylist()
            if (row["decision_id"] is None and row["occurred_at"] > first) or row["decision_id"] in names
        )

    assert told(later) == told(whole) and len(told(later)) == later.n_outcomes
