"""Learners over sequences, in a world of five states whose values are known exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from homing.errors import CorruptFileError, InvalidInputError
from homing.learners import make, train_many
from homing.log import LoggedDataset
from homing.policies import dataset_probs, save_policy

DAY = 86_400_000_000
SMALL = {"sizes": (24, 24), "candidate_units": 0, "target_steps": 10, "learning_rate": 5e-3, "batch_rows": 128,
         "patience": 99}  # fmt: skip


@dataclass(frozen=True)
class Habit:
    """A message (`now`) brings 0.3 clicks and wears the habit down; silence builds it up; habits bring visits.

    States 0 to 4. After a message the habit falls by 1, or ends for good with chance `lost`; after silence it grows by
    1 with chance 1/2. Decisions are a day apart, or two days after a message if `slow`.
    """

    gamma: float = 0.8
    lost: float = 0.0
    slow: bool = False

    def reward(self) -> np.ndarray:
        """Expected (state, action, objective)."""
        out = np.zeros((5, 2, 2))
        out[:, 1, 0], out[:, :, 1] = 0.3, np.arange(5)[:, None] / 4
        return out

    def chances(self) -> np.ndarray:
        """Next states (state, action, state)."""
        out = np.zeros((5, 2, 5))
        for s in range(5):
            out[s, 0, s] += 0.5
            out[s, 0, min(s + 1, 4)] += 0.5
            out[s, 1, max(s - 1, 0)] = 1.0 - self.lost
        return out

    def values(self, policy: np.ndarray) -> np.ndarray:
        """Q (state, action, objective) of a policy (state, action), by iteration to rest."""
        discount = np.array([self.gamma, self.gamma ** (2 if self.slow else 1)])
        q = np.zeros((5, 2, 2))
        for _ in range(400):
            following = (policy[:, :, None] * q).sum(axis=1)
            q = self.reward() + discount[None, :, None] * np.einsum("sat,tm->sam", self.chances(), following)
        return q

    def best(self, weights) -> tuple[np.ndarray, np.ndarray]:
        """The best policy for the weights (state, action), and its values."""
        policy = np.full((5, 2), 0.5)
        for _ in range(20):
            policy = np.eye(2)[np.argmax(self.values(policy) @ np.asarray(weights), axis=1)]
        return policy, self.values(policy)

    def log(self, users: int, days: int, rng: np.random.Generator, send=0.5, noise: float = 0.1) -> LoggedDataset:
        """Decisions of users who start anywhere, messages with chance `send` (a number, or one for each state)."""
        chance = np.broadcast_to(send, 5)
        state, when = rng.integers(0, 5, users), np.zeros(users)
        there = np.ones(users, dtype=bool)
        parts = []
        for _ in range(days):
            user = np.flatnonzero(there & (when < days))
            at, p = state[user], chance[state[user]]
            action = (rng.random(len(user)) < p).astype(int)
            reward = self.reward()[at, action] + noise * rng.normal(size=(len(user), 2))
            parts.append((user, when[user], at, action, np.where(action == 1, p, 1 - p), reward))
            left = rng.random(len(user)) >= self.chances()[at, action].sum(axis=1)
            there[user[left]] = False
            up = (rng.random(len(user)) < 0.5).astype(int)
            state[user] = np.clip(np.where(action == 1, at - 1, at + up), 0, 4)
            when[user] += np.where(self.slow & (action == 1), 2, 1)
        user, days_at, at, action, propensity, reward = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((user, days_at))
        n = len(order)
        return LoggedDataset(
            context=np.eye(5)[at[order]], candidates=np.broadcast_to(np.eye(2), (n, 2, 2)),
            eligible=np.ones((n, 2), bool), action=action[order], propensity=propensity[order], reward=reward[order],
            objectives=("click", "visit"), user=user[order], time=(days_at[order] * DAY).astype(np.int64),
        )  # fmt: skip


STATES = np.eye(5), np.broadcast_to(np.eye(2), (5, 2, 2)), np.ones((5, 2), bool)


def sends(policy, weights=None) -> list[float]:
    return policy.action_probs(*STATES, weights)[:, 1].tolist()


@pytest.mark.parametrize("world", [Habit(lost=0.2), Habit(slow=True)], ids=["churn", "semi-Markov"])
def test_double_dqn_finds_the_exact_values(world, rng) -> None:
    """A message can lose a user (a journey's end that the log shows by silence), or time is irregular."""
    weights = np.array([2.5, 1.0])
    learner = make("double-dqn", gamma=world.gamma, epsilon=0.0, steps=400, **SMALL)
    policy = learner.fit(world.log(400, 20, rng), weights={"click": 2.5, "visit": 1.0}, rng=rng)
    best, q = world.best(weights)
    found, chosen = policy.scorer.predict(*STATES[:2]), policy.action_probs(*STATES)
    assert 0 < best[:, 1].sum() < 5  # neither always nor never is right
    # States where both are nearly as good leave values unsettled, by up to 0.4 over seeds.
    np.testing.assert_allclose(found @ weights, q @ weights, atol=0.5)
    clear = np.abs((q[:, 1] - q[:, 0]) @ weights) > 0.3
    assert clear.sum() >= 2
    assert chosen[clear].tolist() == best[clear].tolist()


def test_each_head_tells_its_own_objectives_return(rng) -> None:
    world = Habit()
    learner = make("double-dqn", gamma=0.8, epsilon=0.0, steps=400, **SMALL)
    policy = learner.fit(world.log(400, 20, rng), weights={"click": 4.0, "visit": 1.0}, rng=rng)
    assert sends(policy) == [1.0] * 5
    np.testing.assert_allclose(policy.scorer.predict(*STATES[:2]), world.best([4.0, 1.0])[1], atol=0.25)


def test_ends_that_are_taken_for_the_logs_end_cost_dear(rng) -> None:
    """Leaving is seen by silence alone. Taken for a cut, it never tells that messages drive users away."""
    world = Habit(lost=0.2)
    data = world.log(400, 20, rng)
    found = []
    for gone in (None, 1000.0):
        learner = make("double-dqn", gamma=0.8, epsilon=0.0, steps=200, gone_after_days=gone, **SMALL)
        policy = learner.fit(data, weights={"visit": 1.0}, rng=np.random.default_rng(0))
        found.append(policy.scorer.predict(*STATES[:2])[3, 1, 1])
    truth = world.best([0.0, 1.0])[1][3, 1, 1]
    assert abs(found[0] - truth) < 0.3 < found[1] - truth


def test_conservatism_stays_with_what_was_tried(rng) -> None:
    """Messages were hardly ever sent. The more conservatism, the lower is their advantage over silence."""
    data = Habit().log(200, 20, rng, send=0.03)
    advantages = []
    for conservatism in (0.0, 0.3, 3.0):
        learner = make("cql", conservatism=conservatism, gamma=0.8, epsilon=0.0, steps=100, **SMALL)
        policy = learner.fit(data, weights={"click": 4.0, "visit": 1.0}, rng=np.random.default_rng(0))
        advantages.append(policy.scorer.scores(*STATES[:2])[:, 1].mean())
    assert advantages[0] > advantages[1] + 0.1 > advantages[2] + 0.2


def test_iql_improves_on_the_log_and_stays_near_it(rng) -> None:
    world = Habit()
    weights = np.array([2.0, 1.0])
    send = np.array([0.2, 0.3, 0.5, 0.7, 0.8])  # the habit is worn where it is worth most
    data = world.log(400, 20, rng, send=send)
    learner = make("iql", gamma=0.8, epsilon=0.0, steps=300, **SMALL)
    policy = learner.fit(data, weights={"click": 2.0, "visit": 1.0}, rng=rng)
    logged = np.column_stack([1 - send, send])
    np.testing.assert_allclose(policy.reference.action_probs(*STATES)[:, 1], send, atol=0.05)
    found = policy.action_probs(*STATES)

    def worth(probs: np.ndarray) -> float:
        return float(((probs[:, :, None] * world.values(probs)).sum(axis=1) @ weights).mean())

    gap = worth(world.best(weights)[0]) - worth(logged)
    assert worth(found) - worth(logged) > 0.7 * gap


def test_expectile_of_one_half_values_the_logs_own_policy(rng) -> None:
    world = Habit()
    learner = make("iql", gamma=0.8, expectile=0.5, steps=300, **SMALL)
    policy = learner.fit(world.log(400, 20, rng), weights={"click": 1.0, "visit": 1.0}, rng=rng)
    found = policy.base.scorer.predict(*STATES[:2])
    np.testing.assert_allclose(found, world.values(np.full((5, 2), 0.5)), atol=0.3)


def test_clone_has_the_logs_probabilities(rng) -> None:
    send = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    data = Habit().log(400, 20, rng, send=send)
    policy = make("behaviour-cloning", steps=300, **SMALL).fit(data, rng=rng)
    for state, chance in enumerate(sends(policy)):
        seen = data.action[data.context[:, state] > 0]
        # Five standard errors of what was seen, and 0.01 for where the last steps left the network.
        assert abs(chance - send[state]) < 5 * np.sqrt(send[state] * (1 - send[state]) / len(seen)) + 0.01


@pytest.mark.slow
def test_weights_at_run_time_turn_the_policy(rng) -> None:
    """A network that is told the weights holds the best policy of each: clicks alone, visits alone, in between."""
    world = Habit()
    learner = make("double-dqn", gamma=0.8, epsilon=0.0, sampled_weights=True, steps=700, **SMALL)
    policy = learner.fit(world.log(400, 20, rng), weights={"click": 2.0, "visit": 1.0}, rng=rng)
    for weights in ([2.5, 1.0], [4.0, 0.0], [0.0, 1.0]):
        best, q = world.best(weights)
        clear = np.abs((q[:, 1] - q[:, 0]) @ np.array(weights)) > 0.3
        assert clear.sum() >= 2
        assert policy.action_probs(*STATES, np.array(weights))[clear].tolist() == best[clear].tolist()


def test_without_being_told_heads_still_turn_to_one_objective(rng) -> None:
    learner = make("double-dqn", gamma=0.8, epsilon=0.0, steps=200, **SMALL)
    policy = learner.fit(Habit().log(200, 20, rng), weights={"click": 0.3, "visit": 1.0}, rng=rng)
    assert sends(policy) == [0.0] * 5
    assert sends(policy, np.array([1.0, 0.0])) == [1.0] * 5


def test_members_together_are_as_each_alone(rng) -> None:
    data = Habit().log(60, 12, rng)
    settings = [
        {"gamma": 0.5, "sizes": (8, 16), "learning_rate": 1e-3, "target_steps": 7, "member_seed": 3},
        {"gamma": 0.9, "sizes": (12, 6), "learning_rate": 3e-3, "target_steps": 20, "members": 2, "caution": 1.0},
        {"gamma": 0.9, "sizes": (12, 6), "learning_rate": 3e-3, "weight_decay": 0.1, "conservatism": 0.5},
    ]
    common = {"steps": 60, "batch_rows": 64, "candidate_units": 4, "epsilon": 0.0}
    learners = [make("cql" if "conservatism" in each else "double-dqn", **(common | each)) for each in settings]
    together = train_many(data, learners, rng=np.random.default_rng(5))
    for learner, policy in zip(learners, together, strict=True):
        history = learner.report["history"]["loss"]
        alone = learner.fit(data, rng=np.random.default_rng(5))
        # 60 steps of float32 in another order of sums.
        np.testing.assert_allclose(policy.scorer.predict(*STATES[:2]), alone.scorer.predict(*STATES[:2]), atol=2e-3)
        np.testing.assert_allclose(learner.report["history"]["loss"], history, rtol=1e-3)
    with pytest.raises(InvalidInputError, match="steps of a learner == 7, must be 60, as in the first"):
        train_many(data, [learners[0], make("double-dqn", **(common | {"steps": 7}))], rng=rng)


def test_unseen_messages_are_scored_by_their_features(rng) -> None:
    """A message's reward is the product of its two numbers; messages of the largest products are met after training."""
    n, k = 3000, 4
    numbers = rng.uniform(-1, 1, (n, k, 2))
    numbers[:, 0] = 0.0
    action = rng.integers(0, k, n)
    product = numbers.prod(axis=2)
    data = LoggedDataset(
        context=rng.normal(size=(n, 2)), candidates=numbers, eligible=np.ones((n, k), bool), action=action,
        propensity=np.full(n, 1 / k), reward=product[np.arange(n), action][:, None], objectives=("listened",),
        user=np.arange(n), time=np.arange(n),
    )  # fmt: skip
    learner = make("double-dqn", epsilon=0.0, steps=400, learning_rate=1e-2, sizes=(16, 16))
    policy = learner.fit(data, weights={"listened": 1.0}, rng=rng)
    assert set(learner.report["warnings"]) == {"contextual-bandit"}
    fresh = rng.uniform(-1, 1, (500, k, 2))
    fresh[:, 0] = 0.0
    probs = policy.action_probs(rng.normal(size=(500, 2)), fresh, np.ones((500, k), bool))
    best = np.maximum(fresh.prod(axis=2), 0.0).max(axis=1)
    assert (probs * fresh.prod(axis=2)).sum(axis=1).mean() > 0.9 * best.mean()


PROGRAM = """
import sys, numpy as np
from homing.learners import make
from homing.log import LoggedDataset
data = LoggedDataset.load(sys.argv[1])
make("cql", checkpoint_dir=sys.argv[2], **eval(sys.argv[3])).fit(data, rng=np.random.default_rng(8))
"""
SETTINGS = {"steps": 500, "patience": 99, "sizes": (16, 16), "members": 2, "batch_rows": 32}


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_bits(rng, tmp_path) -> None:
    data = Habit().log(40, 10, rng)
    data.save(tmp_path / "log")
    folder = tmp_path / "kept"
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "log"), str(folder), repr(SETTINGS)]
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(words, cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while not (folder / "checkpoint.json").exists():
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    step = json.loads((folder / "checkpoint.json").read_text())["numbers"]["step"]
    assert 0 < step < SETTINGS["steps"]
    data = LoggedDataset.load(tmp_path / "log")
    digests = []
    for kept in (folder, None):
        policy = make("cql", checkpoint_dir=kept, **SETTINGS).fit(data, rng=np.random.default_rng(8))
        digests.append(save_policy(policy, tmp_path / f"policy-{kept is None}", objectives=data.objectives))
    assert digests[0] == digests[1]
    with pytest.raises(InvalidInputError, match="belongs to other data, settings or another seed"):
        make("cql", checkpoint_dir=folder, **SETTINGS).fit(data, rng=np.random.default_rng(9))
    state = next(folder.glob("state-*"))
    state.write_bytes(state.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptFileError, match="must have the SHA-256"):
        make("cql", checkpoint_dir=folder, **SETTINGS).fit(data, rng=np.random.default_rng(8))


def test_it_stops_when_held_out_users_see_no_more_progress(rng) -> None:
    """Rewards without any pattern: what is learnt beyond the first rounds is noise."""
    data = Habit().log(30, 6, rng, noise=50.0)
    learner = make("double-dqn", gamma=0.5, steps=5000, patience=2, learning_rate=0.01, sizes=(16, 16), batch_rows=64)
    learner.fit(data, rng=rng)
    settings, history = learner.report["settings"], learner.report["history"]
    assert settings["steps"] < 5000
    gains = np.array(history["held-out gain"])
    assert (gains[-2:] <= 1e-3).all()
    assert settings["best steps"][0] == settings["steps"] - 200
    assert ("no-progress" in learner.report["warnings"]) == (settings["steps"] == 200)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("double-dqn", {"gamma": 1.0}, r"gamma == 1.0, must be in \(0, 1\)"),
        ("double-dqn", {"caution": 1.0}, "members == 1, must be >= 2 with caution. One network disagrees with nobody"),
        ("double-dqn", {"sizes": (3,)}, r"sizes == \(3,\), must be two layers"),
        ("double-dqn", {"gone_after_days": -1}, "gone_after_days == -1, must be a number >= 0"),
        ("cql", {"conservatism": float("inf")}, "conservatism == inf, must be a number >= 0"),
        ("iql", {"expectile": 0.3}, "expectile == 0.3, must be >= 0.5"),
        ("iql", {"sharpness": 0}, "sharpness == 0, must be a finite number > 0"),
        ("behaviour-cloning", {"steps": 0}, "steps == 0, must be a whole number >= 1"),
    ],
)
def test_wrong_settings_are_refused(name, params, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(name, **params)


def test_logs_that_teach_nothing_are_refused(rng) -> None:
    data = Habit().log(10, 5, rng)
    with pytest.raises(InvalidInputError, match="must be finite and not all 0"):
        make("iql").fit(data, weights={"click": 0.0}, rng=rng)
    with pytest.raises(InvalidInputError, match=r"learning_rate == 1e\+30, must be smaller: values diverged"):
        make("double-dqn", learning_rate=1e30, steps=100).fit(data, rng=rng)
    exploring = make("double-dqn", epsilon=0.3, steps=50, sizes=(4, 4)).fit(data, rng=rng)
    assert dataset_probs(exploring, data).min() == pytest.approx(0.15)
