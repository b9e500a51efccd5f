"""Learners recover the best policy of worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import make, names, objective_weights
from homing.learners.cross_fitting import doubly_robust_values
from homing.learners.doubly_robust import chosen_for_heads
from homing.learners.policy_problem import PolicyProblem
from homing.log import LoggedDataset
from homing.policies import (
    BilinearScorer,
    MessageSharesPolicy,
    SoftmaxPolicy,
    dataset_probs,
    load_policy,
    save_policy,
)

N = 6000
#: What a learner cannot do without on these worlds, and what keeps it short.
NEEDED = {
    "structured": {"response": "r0", "leave": "", "tail_days": 0.0},
    "survival-rule": {"objective": "r0"},
    "progressive": {"days": 3, "day_hours": 1e-8},
    **{name: {"steps": 40} for name in ("behaviour-cloning", "cql", "double-dqn", "iql")},
}


def share_of_best(world, policy) -> float:
    """Gain over uniform as a share of the best policy's gain."""
    uniform, best = world.uniform()[0], world.best()[0]
    return float((world.value(policy)[0] - uniform) / (best - uniform))


@pytest.mark.parametrize("name", ["linear", "neural", "doubly-robust"])
def test_finds_most_of_what_there_is_to_gain(name, world, rng) -> None:
    policy = make(name, epsilon=0.0).fit(world.log(N, rng), rng=rng)
    assert world.value(policy)[0] > 0.95 * world.best()[0]
    assert share_of_best(world, policy) > 0.9


def test_personal_choices_beat_main_effects(world, rng) -> None:
    """A logistic regression without interactions can only pick one candidate for everyone."""
    data = world.log(N, rng)
    peer = LogisticRegression().fit(np.hstack([np.eye(5)[data.action], data.context]), data.reward[:, 0])
    arm = int(np.argmax(peer.coef_[0, :5]))
    x, _, _ = world.arrays(20_000, np.random.default_rng(99))
    everyone = world.chances(x)[:, arm, 0].mean()
    policy = make("doubly-robust", epsilon=0.0).fit(data, rng=rng)
    assert world.value(policy)[0] > 1.3 * everyone


def test_one_message_that_is_best_for_everyone_is_sent_to_everyone(world, rng) -> None:
    """Twelve numbers of context tell nothing: a policy that falls behind the best message has chased noise."""
    same = replace(world, taste=np.zeros((1, 3, 12)), own=np.array([[0.0, 0.6, 0.3]]))
    best = int(np.argmax(same.own[0]))
    for seed in range(3):
        data = same.log(N // 2, np.random.default_rng(seed))
        policy = make("doubly-robust", epsilon=0.0, model_penalties=[100.0]).fit(data, rng=rng)
        assert dataset_probs(policy, data)[:, best].mean() > 0.97
        assert same.best()[0] - same.value(policy)[0] < 0.003


def test_network_sees_what_bilinear_models_cannot(curved, rng) -> None:
    data = curved.log(4000, rng)
    gains = {name: share_of_best(curved, make(name, epsilon=0.0).fit(data, rng=rng)) for name in ("linear", "neural")}
    assert gains["neural"] > 0.7 > 0.5 > gains["linear"]


@pytest.mark.parametrize("tilted", [False, True], ids=["uniform log", "tilted log"])
def test_right_propensities_make_up_for_a_wrong_model(tilted, world, rng) -> None:
    """A penalty of 1e9 leaves q̂ a constant; the corrections by propensity still find the policy."""

    def probs(x):
        z = np.exp(0.7 * x @ np.linspace(-1, 1, 20).reshape(4, 5))
        return 0.8 * z / z.sum(axis=1, keepdims=True) + 0.2 / 5

    data = world.log(N, rng, probs if tilted else None)
    learner = make("doubly-robust", epsilon=0.0, model_penalties=[1e9])
    assert share_of_best(world, learner.fit(data, rng=rng)) > 0.8


def test_without_evidence_the_policy_is_the_baseline(rng) -> None:
    """A log of pure noise with rare events: what is learnt stays evaluable and close to what was logged."""
    n, k = 4000, 20
    data = LoggedDataset(
        context=rng.normal(size=(n, 6)), candidates=np.broadcast_to(np.eye(k, dtype=np.float32), (n, k, k)),
        eligible=np.ones((n, k), bool), action=rng.integers(0, k, n), propensity=np.full(n, 1 / k),
        reward=(rng.random(n) < 0.004)[:, None], objectives=("clicked",), user=np.arange(n), time=np.arange(n),
    )  # fmt: skip
    policy = make("doubly-robust").fit(data, rng=rng)
    probs = dataset_probs(policy, data)
    weight = probs[np.arange(n), data.action] * k
    assert weight.sum() ** 2 / (weight**2).sum() > 0.5 * n


def test_exploration_has_a_floor(world, rng) -> None:
    data = world.log(500, rng)
    for name in ("linear", "neural", "doubly-robust"):
        assert dataset_probs(make(name, epsilon=0.2).fit(data, rng=rng), data).min() >= 0.2 / 5 - 1e-12


@pytest.mark.parametrize("name", ["linear", "neural", "doubly-robust"])
def test_weights_at_run_time_turn_the_choice(name, two_objectives, rng) -> None:
    world = two_objectives
    policy = make(name, epsilon=0.0).fit(world.log(4000, rng), rng=rng)
    for j, weights in enumerate(np.eye(2)):
        uniform, best = world.uniform()[j], world.best(weights)[j]
        assert (world.value(policy, weights)[j] - uniform) / (best - uniform) > 0.85
    less = world.value(policy, np.array([-1.0, 0.0]))[0]
    assert less < world.uniform()[0]


def test_weights_in_training_are_what_is_optimised(two_objectives, rng) -> None:
    data = two_objectives.log(2000, rng)
    for j, name in enumerate(data.objectives):
        learner = make("doubly-robust", epsilon=0.0, model_penalties=[30.0])
        policy = learner.fit(data, weights={name: 2.0}, rng=rng)
        assert two_objectives.value(policy)[j] > 0.95 * two_objectives.best(np.eye(2)[j])[j]


@pytest.mark.parametrize("name", sorted(names()))
def test_contract(name, world, tmp_path) -> None:
    """Reproducible from the seed with any number of threads; saved and loaded it gives the same bits; a report."""
    data = world.log(300, np.random.default_rng(1), users=60)
    digests = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            learner = make(name, **NEEDED.get(name, {}))
            assert learner.report == {}
            policy = learner.fit(data, rng=np.random.default_rng(3))
        finally:
            torch.set_num_threads(before)
        digests.append(save_policy(policy, tmp_path / str(threads), objectives=data.objectives))
        assert learner.report
    assert digests[0] == digests[1]
    probs = dataset_probs(policy, data)
    np.testing.assert_array_equal(probs, dataset_probs(load_policy(tmp_path / "1"), data))
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, atol=1e-12)


def test_gradient_is_that_of_finite_differences(two_objectives, rng) -> None:
    data = two_objectives.log(40, rng)
    eligible = rng.random((40, 4)) < 0.7
    eligible[np.arange(40), data.action] = True
    data = replace(data, eligible=eligible)
    reference = data.eligible * rng.random(data.eligible.shape) + 1e-9 * data.eligible
    values = doubly_robust_values(data, rng.random((40, 4, 2)))
    reference /= reference.sum(axis=1, keepdims=True)
    problem = PolicyProblem.of(data, values, reference, np.array([1.0, -2.0]), np.array([0.5, 0.4]))
    rows = np.arange(40)
    point = [rng.normal(size=s) for s in ((2, 4, 3), (2, 4))]

    def objective(parts) -> torch.Tensor:
        return problem.row_values(parts, rows, problem.expand(rows)).sum(dim=0) @ torch.tensor([1.0, 0.3, 0.7]).double()

    tensors = [torch.tensor(part, requires_grad=True) for part in point]
    objective(tensors).backward()
    step = 1e-6
    for number, part in enumerate(point):
        for index in [tuple(rng.integers(0, size) for size in part.shape) for _ in range(8)]:
            moved = []
            for sign in (1, -1):
                other = [np.array(p) for p in point]
                other[number][index] += sign * step
                moved.append(float(objective([torch.tensor(p) for p in other])))
            slope = (moved[0] - moved[1]) / (2 * step)
            assert float(tensors[number].grad[index]) == pytest.approx(slope, abs=1e-6)


def test_the_policy_scored_with_numpy_is_the_one_optimised_in_torch(two_objectives, rng) -> None:
    """Σ_a π(a|x) Γ(x, a): by the torch problem, and from the probabilities that serving computes without torch."""
    data = two_objectives.log(200, rng)
    weights, deviation = np.array([1.0, -2.0]), np.array([0.5, 0.4])
    gamma, reference = rng.normal(size=(200, 4, 2)), MessageSharesPolicy(np.array([0.1, 0.2, 0.3, 0.4]))
    problem = PolicyProblem.of(data, gamma, dataset_probs(reference, data), weights, deviation)
    cross, own = (rng.normal(size=s).astype(np.float32) for s in ((2, 4, 3), (2, 4)))
    found = problem.direction_values([torch.from_numpy(cross), torch.from_numpy(own)], np.arange(200))
    policy = SoftmaxPolicy(BilinearScorer(cross, own, weights, deviation), 1.0, reference)
    for s, given in enumerate((None, np.array([1.0, 0.0]), np.array([0.0, -1.0]))):
        probs = dataset_probs(policy, data, weights=given)
        unit = np.linalg.norm((weights if given is None else given) * deviation)
        value = (probs * (gamma @ (weights if given is None else given))).sum(axis=1) / unit
        np.testing.assert_allclose(found[:, s], value, atol=2e-5)  # float32 logits of about 10


def test_value_of_the_problem_is_the_doubly_robust_estimate(two_objectives, rng) -> None:
    """By the definition, with plain NumPy, at the starting point (the reference) and without scaling."""
    data = two_objectives.log(50, rng)
    q = rng.random((50, 4, 2))
    weights, deviation = np.array([1.0, -2.0]), np.array([0.5, 0.4])
    values = doubly_robust_values(data, q)
    rows = np.arange(50)
    for i in rows:
        for a in range(4):
            want = q[i, a] + (a == data.action[i]) * (data.reward[i] - q[i, a]) / data.propensity[i]
            np.testing.assert_allclose(values[i, a], want)
    problem = PolicyProblem.of(data, values, np.full((50, 4), 0.25), weights, deviation)
    estimate = problem.direction_values(problem.zeros(), rows)[:, 0] * np.linalg.norm(weights * deviation)
    np.testing.assert_allclose(estimate, values.mean(axis=1) @ weights, atol=1e-5)


def test_each_head_is_as_free_as_a_direction_that_uses_it_needs() -> None:
    """Two heads, three directions (both, each alone); only the second alone gains from being personal."""
    user = np.arange(100)
    wave = np.where(user % 2 == 0, 1.0, -1.0)
    alike = [np.column_stack([wave, wave + 0.5, wave]), np.column_stack([wave, wave + 0.9, wave])]
    better = np.column_stack([wave, wave, wave + 2.0])
    noisy = np.column_stack([5 * wave + 0.1, 5 * wave + 1.0, wave + 2.0])  # by 0.1, with a standard error of 0.4
    directions = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]])
    personal, position = chosen_for_heads(alike, [alike[0], better, noisy], directions, user)
    assert personal.tolist() == [False, True]
    assert position.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"folds": 1}, "folds == 1, must be a whole number >= 2"),
        ({"folds": 2.5}, "folds == 2.5, must be a whole number"),
        ({"folds": float("nan")}, "folds == nan, must be a whole number"),
        ({"folds": float("inf")}, "folds == inf, must be a whole number"),
        ({"penalties": []}, "penalties == .* must be a list of numbers > 0"),
        ({"epsilon": 2}, r"epsilon == 2, must be in \[0, 1\]"),
        ({"validation_share": 1.0}, r"validation_share == 1.0, must be in \(0, 1\)"),
    ],
)
def test_wrong_settings_are_refused(params, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make("doubly-robust", **params)


def test_unknown_names_get_a_hint(world, rng) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'neural'"):
        make("neurla")
    with pytest.raises(UnknownNameError, match=r"parameter of neural == 'patients', .* Did you mean 'patience'"):
        make("neural", patients=3)
    with pytest.raises(UnknownNameError, match="reward_model == 'forest'"):
        make("doubly-robust", reward_model="forest")
    data = world.log(20, rng)
    with pytest.raises(UnknownNameError, match="weight of objective == 'clicks'"):
        make("linear").fit(data, weights={"clicks": 1.0}, rng=rng)
    with pytest.raises(InvalidInputError, match="must be finite and not all 0"):
        make("linear").fit(data, weights={"r0": 0.0}, rng=rng)
    with pytest.raises(InvalidInputError, match="must be a number"):
        make("linear").fit(data, weights={"r0": "much"}, rng=rng)


def test_default_weights_are_per_deviation_and_direction(rng) -> None:
    data = LoggedDataset(
        context=np.zeros((4, 1)), candidates=np.zeros((4, 2, 1)), eligible=np.ones((4, 2), bool), action=[0, 1, 0, 1],
        propensity=[0.5] * 4, reward=[[0, 0, 7], [4, 0, 7], [0, 1, 7], [4, 1, 7]], objectives=("a", "b", "c"),
        user=range(4), time=range(4),
    )  # fmt: skip
    assert objective_weights(data, None).tolist() == [0.5, 2.0, 1.0]
    assert objective_weights(data, None, {"b": "minimize"}).tolist() == [0.5, -2.0, 1.0]
    assert objective_weights(data, {"b": 3}, {"b": "minimize"}).tolist() == [0.0, 3.0, 0.0]
