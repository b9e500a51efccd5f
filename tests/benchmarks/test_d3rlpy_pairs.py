"""What stands for a decision where actions are fixed: `benchmarks.d3rlpy_value.pairs`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.d3rlpy_value.pairs import PairPolicy, Pairs, export
from homing.errors import InvalidInputError
from homing.log import build_dataset
from homing.simulation import log_decisions, make_world

PAIRS = Pairs(domains=(1, 2), channels=(3,), told=(4,))


def decision(*messages: tuple[int, float]) -> np.ndarray:
    """Silence, then messages of a domain with a value, on the only channel; (1, k, 5)."""
    out = np.zeros((1, 1 + len(messages), 5))
    out[0, 0, 0] = 1.0
    for j, (domain, value) in enumerate(messages, start=1):
        out[0, j, [1 + domain, 3]] = 1.0
        out[0, j, 4] = value
    return out


def test_what_is_seen_by_hand() -> None:
    observation, at = PAIRS.seen(np.array([[7.0]]), decision((1, 0.5), (0, 0.25)), np.array([[True, False, True]]))
    # Context; may be sent: domain 0 yes, domain 1 no; then of each domain that it waits, and its value.
    assert observation.tolist() == [[7.0, 1.0, 0.0, 1.0, 0.25, 1.0, 0.5]]
    assert at.tolist() == [[0, 2, -1]]


def test_the_best_of_what_is_eligible_is_sent() -> None:
    layers = [(np.zeros((3, 7), np.float32), np.array([0.0, 1.0, 2.0], np.float32))]  # domain 1 before 0 before silence
    policy = PairPolicy(PAIRS, layers)
    both = decision((1, 0.5), (0, 0.25))

    def sent(*eligible: bool) -> list[float]:
        return policy.action_probs(np.zeros((1, 1)), both, np.array([eligible]))[0].tolist()

    assert sent(True, True, True) == [0.0, 1.0, 0.0]
    assert sent(True, False, True) == [0.0, 0.0, 1.0]
    assert sent(True, False, False) == [1.0, 0.0, 0.0]


def test_two_candidates_of_a_pair_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="candidates of a domain and channel == 2, must be 1 at most"):
        PAIRS.seen(np.zeros((1, 1)), decision((1, 0.5), (1, 0.25)), np.ones((1, 3), bool))


def test_an_exported_log_is_that_log(tmp_path: Path) -> None:
    world = make_world("messaging")
    log = log_decisions(world, world.behaviour_policy(), days=7, n_users=200, seed=1)
    data = build_dataset(log, world.log_objectives)
    export(data, np.array([world.weights[name] for name in data.objectives]), 0.9, "churned", tmp_path / "log.npz")
    held = np.load(tmp_path / "log.npz")
    order = np.lexsort((data.time, data.user))
    table = {(each["user_id"], each["decided_at"]): each for each in log.decisions().to_pylist()}
    names = [name.split("=") for name in data.encoder.candidate_names]
    domains, channels = ([level for kind, *rest in names if kind == wanted for level in rest]
                         for wanted in ("domain", "channel"))  # fmt: skip
    wanted = []
    for row in order:
        moment = datetime.fromtimestamp(data.time[row] / 1e6, UTC)
        each = table[data.user_ids[data.user[row]], moment]
        sent = each["candidates"][each["action"]]
        pair = each["action"] and 1 + domains.index(sent["domain"]) * len(channels) + channels.index(sent["channel"])
        wanted.append(pair)
    assert len(set(wanted)) > 10
    assert held["action"].tolist() == wanted
    same = held["user"][1:] == held["user"][:-1]
    days = np.diff(data.time[order]) / 86_400e6
    assert np.allclose(held["days"][:-1][same], days[same])
    # Rewards come evenly over the days until the next decision: at 1,000 moments. None is known after the last.
    spread = np.ones(data.n)
    spread[:-1][same] = (0.9 ** (days[same, None] * (np.arange(1_000) + 0.5) / 1_000)).mean(axis=1)
    came = data.reward[order] @ [world.weights[name] for name in data.objectives]
    assert np.allclose(held["reward"], came * spread, rtol=1e-5, atol=1e-6)
    assert held["gone"].sum() == data.reward[:, data.objectives.index("churned")].sum()
