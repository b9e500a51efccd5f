"""Learners that explore by what they do not know: algebra by other routes, and regret that falls as theory says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from homing.errors import InvalidInputError
from homing.learners import make
from homing.learners.bayes import Moments, posterior
from homing.learners.decision_transformer import LEVELS, Transformer, dataset_history, earlier_rows
from homing.log import LoggedDataset
from homing.policies import DecisionTransformerPolicy, EpsilonGreedyPolicy, sample_actions


def test_evidence_and_posterior_are_those_of_the_whole_covariance(rng) -> None:
    n, p, m = 12, 3, 2
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, m))
    priors = (0.5, 4.0)
    found = posterior(Moments(n, x.T @ x, x.T @ y, y.T @ y), priors)
    for prior, evidence in zip(priors, found.evidence, strict=True):
        total = 0.0
        for j in range(m):
            shape = np.eye(n) + x @ x.T / prior  # covariance of y over σ²
            spread = y[:, j] @ np.linalg.solve(shape, y[:, j]) / n
            total += -0.5 * (n * np.log(2 * np.pi * spread) + np.linalg.slogdet(shape)[1] + n)
        assert evidence == pytest.approx(total, rel=1e-9)
    assert found.prior == priors[int(np.argmax(found.evidence))]
    b = found.prior * np.eye(p) + x.T @ x
    np.testing.assert_allclose(found.mean, np.linalg.solve(b, x.T @ y), rtol=1e-9)
    np.testing.assert_allclose(found.root @ found.root.T, np.linalg.inv(b), rtol=1e-9)
    np.testing.assert_allclose(found.noise, (y.T @ y - y.T @ x @ np.linalg.solve(b, x.T @ y)) / n, rtol=1e-9)


def test_draws_have_the_posteriors_moments(rng) -> None:
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) @ np.array([[1.0, 0.6], [0.0, 0.5]])
    found = posterior(Moments(40, x.T @ x, x.T @ y, y.T @ y), [1.0])
    draws = found.draws(40_000, rng).reshape(-1, 4)  # objective by objective
    wanted = np.kron(found.noise, found.root @ found.root.T)
    # Entries of a sample covariance: standard error at most √2 · the largest variance / √40,000, five of them.
    np.testing.assert_allclose(np.cov(draws, rowvar=False), wanted, atol=5 * 1.5 * wanted.max() / 200)
    np.testing.assert_allclose(draws.mean(axis=0), found.mean.T.ravel(), atol=5 * np.sqrt(wanted.max()) / 200)


def test_an_objective_without_variance_decides_nothing(world, rng) -> None:
    data = world.log(300, rng)
    data = replace(data, reward=np.column_stack([data.reward, np.ones(300)]), objectives=("r0", "flat"))
    policy = make("lin-ts", epsilon=0.0).fit(data, weights={"r0": 1.0, "flat": 5.0}, rng=np.random.default_rng(0))
    alone = make("lin-ts", epsilon=0.0).fit(data, weights={"r0": 1.0}, rng=np.random.default_rng(0))
    decisions = data.context, data.candidates[np.arange(300)], data.eligible
    np.testing.assert_allclose(policy.action_probs(*decisions), alone.action_probs(*decisions), atol=1e-9)


@pytest.mark.parametrize("name", ["lin-ts", "squarecb"])
def test_more_of_a_log_leaves_less_to_try(name, world) -> None:
    values = []
    for n in (150, 3_000):
        policy = make(name).fit(world.log(n, np.random.default_rng(n)), rng=np.random.default_rng(1))
        values.append(float(world.value(policy, n=4_000)[0]))
    uniform, best = float(world.uniform()[0]), float(world.best()[0])
    # From 3,000 decisions both take most of what there is to gain; from 150 they still try what they do not know.
    assert uniform - 0.01 < values[0] < values[1]
    assert values[1] > uniform + 0.6 * (best - uniform)


def test_neural_linear_is_a_ridge_on_the_networks_last_layer(two_objectives, rng) -> None:
    data = two_objectives.log(300, rng, users=60)
    learner = make("neural-linear", spread=0.0, draws=1, epsilon=0.0, max_epochs=2, sizes=(8, 5), priors=[20.0])
    policy = learner.fit(data, rng=rng)
    rows = np.arange(data.n)
    x = policy.map.features(data.context, data.candidates[rows][rows, data.action][:, None])[:, 0]
    y = data.reward - data.reward.mean(axis=0)
    wanted = np.linalg.solve(20.0 * np.eye(x.shape[1]) + x.T @ x, x.T @ y)
    np.testing.assert_allclose(policy.draws[0].T, wanted, rtol=1e-6, atol=1e-9)


def test_spread_0_is_the_best_guess_alone(world, rng) -> None:
    data = world.log(500, rng)
    policy = make("lin-ts", spread=0.0, epsilon=0.0, draws=3).fit(data, rng=rng)
    probs = policy.action_probs(data.context, data.candidates[np.arange(500)], data.eligible)
    assert set(np.unique(probs)) == {0.0, 1.0}


def test_settings_that_cannot_be() -> None:
    for name, params, message in (
        ("lin-ts", {"draws": 0}, "draws == 0, must be a whole number >= 1"),
        ("neural-linear", {"sizes": (0, 3)}, "sizes == 0, must be a whole number >= 1"),
        ("squarecb", {"model": "forest"}, "model == 'forest', must be 'linear' or 'neural'"),
        ("decision-transformer", {"units": 30}, "units == 30, must be a multiple of 4"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            make(name, **params)


def regret(world, name: str, rounds: int, size: int, seed: int, **settings) -> np.ndarray:
    """Expected regret per decision in each round, fitted anew on all that the policy itself has logged."""
    rng, logs, out = np.random.default_rng(seed), [world.log(size, np.random.default_rng(seed))], []
    for _ in range(rounds):
        whole = joined(logs)
        policy = make(name, **settings).fit(whole, rng=rng)
        x, candidates, eligible = world.arrays(size, rng)
        probs = policy.action_probs(x, candidates, eligible)
        chances = world.chances(x)[:, :, 0]
        out.append(float((chances.max(axis=1) - (probs * chances).sum(axis=1)).mean()))
        action, propensity = sample_actions(probs, rng)
        reward = (rng.random(size) < chances[np.arange(size), action]).astype(float)[:, None]
        log = LoggedDataset(
            context=x, candidates=candidates, eligible=eligible, action=action, propensity=propensity, reward=reward,
            objectives=("r0",), user=np.arange(size), time=np.arange(size),
        )  # fmt: skip
        logs.append(log)
    return np.array(out)


def joined(logs: list[LoggedDataset]) -> LoggedDataset:
    n = sum(log.n for log in logs)
    return LoggedDataset(
        context=np.concatenate([log.context for log in logs]),
        candidates=np.concatenate([log.candidates[np.arange(log.n)] for log in logs]),
        eligible=np.concatenate([log.eligible for log in logs]),
        action=np.concatenate([log.action for log in logs]),
        propensity=np.concatenate([log.propensity for log in logs]),
        reward=np.concatenate([log.reward for log in logs]), objectives=("r0",), user=np.arange(n), time=np.arange(n),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lin-ts", "squarecb"])
def test_regret_falls_with_the_root_of_time(name, world) -> None:
    """Cumulative regret of order √T: four times the decisions bring about twice the regret, not four times."""
    settings = {"epsilon": 0.0} if name == "lin-ts" else {}
    runs = np.mean([regret(world, name, 16, 150, seed, **settings) for seed in range(3)], axis=0)
    uniform = float(world.best()[0] - world.uniform()[0])
    total = runs.cumsum()
    # √T gives 2; linear regret 4. The model is linear in the reward, which is only nearly so here.
    assert total[15] / total[3] < 3.0
    assert runs[12:].mean() < 0.35 * uniform


def journeys(n_users: int, length: int, rng: np.random.Generator) -> LoggedDataset:
    """Users with good and bad days: on good days a message goes out and visits follow; on bad ones silence, nothing."""
    n = n_users * length
    user, step = np.divmod(np.arange(n), length)
    good = rng.random(n) < 0.5
    action = np.where(rng.random(n) < 0.85, good, ~good).astype(int)
    reward = (rng.random(n) < np.where(action == 1, 0.8, 0.2)).astype(float)
    return LoggedDataset(
        context=rng.normal(size=(n, 2)).astype(np.float32), candidates=np.eye(2, dtype=np.float32)[None].repeat(n, 0),
        eligible=np.ones((n, 2), bool), action=action, propensity=np.full(n, 0.5), reward=reward[:, None],
        objectives=("visit",), user=user, time=step * 86_400_000_000,
    )  # fmt: skip


def test_a_transformer_asked_for_more_does_what_went_well(rng) -> None:
    data = journeys(300, 8, rng)
    learner = make("decision-transformer", gamma=0.05, max_epochs=12, units=16, learning_rate=5e-3, epsilon=0.0)
    policy = learner.fit(data, weights={"visit": 1.0}, rng=np.random.default_rng(2))
    assert isinstance(policy, DecisionTransformerPolicy)

    def sends(prompt: float, weights: list[float]) -> float:
        x, c = data.context, data.candidates[np.arange(data.n)]
        return float(replace(policy, prompt=prompt).action_probs(x, c, data.eligible, np.array(weights))[:, 1].mean())

    # P(message | visit) = 0.8 and P(message | none) = 0.2 by Bayes; half of each cloned without returns.
    assert sends(0.95, [1.0]) > 0.7 > 0.3 > sends(0.05, [1.0])
    assert sends(0.95, [-1.0]) == pytest.approx(sends(0.05, [1.0]))
    assert sends(0.05, [1.0]) < sends(0.5, [1.0]) + 0.05 and sends(0.5, [1.0]) < sends(0.95, [1.0]) + 0.05
    assert set(learner.report["history"]) == {"train loss", "held-out loss"}


def test_numpy_scores_what_torch_trained(rng) -> None:
    data = journeys(20, 5, rng)
    net = Transformer(2, 2, 1, 8, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    policy = DecisionTransformerPolicy(
        **{name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}, levels=np.array(LEVELS),
        unit=np.ones(1), weights=np.ones(1), prompt=0.7,
    )  # fmt: skip
    past = dataset_history(data)
    told = np.concatenate([past.context, past.chosen, np.log1p(past.days)[:, :, None]], axis=2)
    x, c = data.context, data.candidates[np.arange(data.n)]
    asked = policy.returns(x)
    with torch.no_grad():
        tensors = (torch.from_numpy(np.asarray(part)) for part in (x, asked, told, past.known, c))
        wanted = net(*tensors).softmax(dim=1).numpy()
        quantiles = net.quantiles(torch.from_numpy(x)).sort(dim=2).values.numpy()
    np.testing.assert_allclose(policy.action_probs(x, c, data.eligible, history=past), wanted, atol=1e-5)
    np.testing.assert_allclose(asked[:, 0], quantiles[:, 0, LEVELS.index(0.7)], atol=1e-6)


def test_earlier_rows_are_a_users_own(rng) -> None:
    data = journeys(3, 6, rng)
    data = data.take(np.sort(rng.permutation(data.n)[:14]))
    earlier = earlier_rows(data)
    for i in range(data.n):
        mine = [j for j in range(data.n) if data.user[j] == data.user[i] and data.time[j] < data.time[i]]
        mine = sorted(mine, key=lambda j: -data.time[j])[:3]
        assert earlier[i].tolist() == mine + [-1] * (3 - len(mine))
    past = dataset_history(data)
    assert (past.days[past.known] > 0).all()


def test_exploration_wraps_what_has_probability_0(world, rng) -> None:
    policy = make("lin-ts", draws=4).fit(world.log(200, rng), rng=rng)
    assert isinstance(policy, EpsilonGreedyPolicy) and policy.epsilon == 0.02
