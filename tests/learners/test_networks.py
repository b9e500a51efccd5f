"""Networks and losses against plain NumPy: the served model, Bellman targets, the conservative and expectile terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from homing.learners.adamw import AdamW
from homing.learners.behaviour_cloning import LogLoss
from homing.learners.iql import ExpectileValues
from homing.learners.network import Form, Network, gathered
from homing.learners.temporal_differences import SEPARATELY, TemporalDifferences
from homing.learners.transitions import Gaps, Transitions
from homing.log import CandidateStore, LoggedDataset
from homing.policies import QValues
from homing.policies.q_values import emphasis

N, D, C, M = 30, 3, 4, 2
DAY = 86_400_000_000
UNIT = np.array([[2.0, 0.5], [1.5, 0.7]])
WEIGHTS = np.array([1.0, -3.0])
GAMMA = np.array([0.8, 0.95])


@pytest.fixture(params=["ragged", "shared"])
def data(request, rng) -> LoggedDataset:
    """Six users, five decisions each, up to four candidates; some not eligible."""
    if request.param == "shared":
        counts = np.full(N, 4)
        store = CandidateStore.from_padded(np.broadcast_to(rng.normal(size=(4, C)), (N, 4, C)))
    else:
        counts = rng.integers(2, 5, N)
        store = CandidateStore.from_padded(rng.normal(size=(N, 4, C)), counts)
    k = store.shape[1]
    eligible = (rng.random((N, k)) < 0.7) & (np.arange(k) < counts[:, None])
    action = rng.integers(0, counts)
    eligible[np.arange(N), action] = True
    return LoggedDataset(
        context=rng.normal(size=(N, D)), candidates=store, eligible=eligible, action=action,
        propensity=np.full(N, 0.5), reward=rng.normal(size=(N, M)), objectives=("a", "b"), user=np.arange(N) % 6,
        time=np.arange(N) * DAY // 4,
    )  # fmt: skip


def networks(rng, *, values: int = M, units: int = 3, extra: int = 0, outputs: int = M) -> tuple[Network, Network]:
    form = Form(D + extra, C, outputs, values, units, (6, 5))
    flat = [torch.from_numpy(rng.normal(size=2 * Network.parameters(form))).float() * 0.5 for _ in range(2)]
    return Network(form, flat[0]), Network(form, flat[1])


def served(net: Network, member: int, *, conditioned: bool = False) -> QValues:
    """One member as it is saved."""
    towers, value, bias = net.towers([member], [(6, 5)] * 2, UNIT[member])
    unit = UNIT[member].astype(np.float32)
    return QValues(towers, value[..., :M] * unit, bias[..., :M] * unit, WEIGHTS, conditioned=conditioned)


def problem(conservatism=(0.0, 0.0), *, sampled: bool = False) -> TemporalDifferences:
    direction = UNIT * WEIGHTS / np.linalg.norm(UNIT * WEIGHTS, axis=1, keepdims=True)
    tensors = (torch.tensor(array).float() for array in (GAMMA, conservatism, UNIT, direction))
    return TemporalDifferences(*tensors, torch.tensor([True, True]), sampled, bandit=False)


def wanted(data, online: QValues, target: QValues, gaps: Gaps, gamma: float, rows) -> np.ndarray:
    """r + γ^Δt Q'(s', argmax over eligible of w·Q(s', ·)), row by row, in the rewards' own units."""
    out = []
    for i in rows:
        y = data.reward[i].copy()
        if not gaps.terminal[i]:
            j = data.next[i]
            x, c = data.context[[j]], data.candidates[np.array([j])]
            weighted = np.where(data.eligible[j], (online.predict(x, c)[0] * WEIGHTS).sum(axis=1), -np.inf)
            y += gamma ** ((data.time[j] - data.time[i]) / DAY) * target.predict(x, c)[0, np.argmax(weighted)]
        out.append(y)
    return np.array(out)


def test_loss_is_the_papers_row_by_row(data, rng) -> None:
    """Double DQN and CQL; a member beside another is as it is by itself."""
    online, target = networks(rng)
    gaps = replace(Gaps.of(data), terminal=np.arange(N) == 7)
    rows = np.flatnonzero(~gaps.truncated)
    batch = Transitions.of(data, gaps, torch.device("cpu")).batch(torch.from_numpy(rows))
    conservatism = (0.0, 0.3)
    found = problem(conservatism).loss(online, target, batch, torch.Generator()).detach().numpy()
    plain = problem().loss(online, target, batch, torch.Generator()).detach().numpy()
    for e in range(2):
        mine, other = served(online, e), served(target, e)
        q = mine.predict(data.context[rows], data.candidates[rows])
        y = wanted(data, mine, other, gaps, GAMMA[e], rows)
        chosen = q[np.arange(len(rows)), data.action[rows]]
        error = (chosen - y) / UNIT[e]
        v = UNIT[e] * WEIGHTS / np.linalg.norm(UNIT[e] * WEIGHTS)
        td = 0.5 * ((error @ v) ** 2).mean() + 0.5 * SEPARATELY * (error**2).mean()
        along = (q @ WEIGHTS) / np.linalg.norm(UNIT[e] * WEIGHTS)
        total = logsumexp(np.where(data.eligible[rows], along, -np.inf), axis=1)
        penalty = (total - along[np.arange(len(rows)), data.action[rows]]).mean()
        assert plain[e] == pytest.approx(td, rel=1e-4)
        assert found[e] == pytest.approx(td + conservatism[e] * penalty, rel=1e-4)


def test_both_networks_are_judged_by_the_targets_of_the_newer(data, rng) -> None:
    online, other = networks(rng)
    gaps = Gaps.of(data)
    rows = np.flatnonzero(~gaps.truncated)
    batch = Transitions.of(data, gaps, torch.device("cpu")).batch(torch.from_numpy(rows))
    task = problem()
    with torch.no_grad():
        moments = task.moments(online, other, batch).numpy()
    quality = task.quality(moments, len(rows))
    for e in range(2):
        newer = served(online, e)
        y = wanted(data, newer, newer, gaps, GAMMA[e], rows) @ WEIGHTS
        error = []
        for model in (newer, served(other, e)):
            q = model.predict(data.context[rows], data.candidates[rows])[np.arange(len(rows)), data.action[rows]]
            error.append(((y - q @ WEIGHTS) ** 2).mean())
        assert moments[0, e] / moments[1, e] == pytest.approx(error[0] / error[1], rel=1e-3)
        assert quality[e] == pytest.approx(1 - error[0] / y.var(), abs=1e-3)


def test_sampled_weights_are_told_to_the_network(data, rng) -> None:
    """Each transition's direction is that of weights which `QValues` would translate to what the network is told."""
    task = problem(sampled=True)
    told, direction = task._weights(50, torch.Generator().manual_seed(1))
    for row in range(50):
        weights = WEIGHTS * (told[row].numpy() + 1.0)
        np.testing.assert_allclose(emphasis(weights, WEIGHTS), told[row], atol=1e-5)
        for e in range(2):
            along = UNIT[e] * weights
            np.testing.assert_allclose(direction[e, row], along / np.linalg.norm(along), atol=1e-5)
    assert told.std(dim=0).min() > 0.3
    online, target = networks(rng, extra=M)
    rows = torch.arange(10)
    batch = Transitions.of(data, Gaps.of(data), torch.device("cpu")).batch(rows)
    assert task.loss(online, target, batch, torch.Generator()).shape == (2,)
    given = WEIGHTS * np.array([1.5, 0.5])
    model, x = served(online, 0, conditioned=True), data.context[:10]
    seen = torch.from_numpy(np.hstack([x, np.tile(np.array([0.5, -0.5], dtype=np.float32), (10, 1))]))
    with torch.no_grad():
        _, taste = online.heads(seen)
        scores = online.advantages(taste, batch.now.candidates)[0].permute(0, 2, 1).numpy() * UNIT[0] @ given
    np.testing.assert_allclose(model.scores(x, data.candidates[np.arange(10)], given), scores, atol=1e-4)


def test_expectile_loss_by_hand(data, rng) -> None:
    online, target = networks(rng, values=2 * M)
    gaps = Gaps.of(data)
    rows = np.flatnonzero(~gaps.truncated)
    batch = Transitions.of(data, gaps, torch.device("cpu")).batch(torch.from_numpy(rows))
    direction = problem().direction
    task = ExpectileValues(torch.tensor(GAMMA).float(), 0.8, torch.tensor(UNIT).float(), direction)
    found = task.loss(online, target, batch, torch.Generator()).detach().numpy()

    def u(net: Network, e: int, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net.heads(torch.from_numpy(x))[0][e, :, M:].numpy() * UNIT[e]

    for e in range(2):
        at = np.arange(len(rows)), data.action[rows]
        q, old = (served(net, e).predict(data.context[rows], data.candidates[rows])[at] for net in (online, target))
        following = data.next[rows]
        days = (data.time[following] - data.time[rows]) / DAY
        y = data.reward[rows] + GAMMA[e] ** days[:, None] * u(target, e, data.context[following])
        gap = old - u(online, e, data.context[rows])
        weight = np.where(gap @ WEIGHTS < 0, 0.2, 0.8)[:, None]
        loss = 0.5 * (((q - y) / UNIT[e]) ** 2 + weight * (gap / UNIT[e]) ** 2).mean()
        assert found[e] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("logged", [False, True], ids=["actions", "probabilities"])
def test_log_loss_by_hand(data, rng, logged) -> None:
    online, _ = networks(rng, values=0, outputs=1)
    probs = rng.random(data.eligible.shape) * data.eligible
    probs /= probs.sum(axis=1, keepdims=True)
    if logged:
        data = replace(data, probs=probs, propensity=probs[np.arange(N), data.action])
    batch = Transitions.of(data, Gaps.of(data), torch.device("cpu")).batch(torch.arange(N))
    found = LogLoss().loss(online, online, batch, torch.Generator()).detach().numpy()
    share = probs if logged else np.eye(data.k)[data.action]
    for e in range(2):
        towers = online.towers([e], [(6, 5)] * 2, np.ones(1))[0]
        logits = towers.advantages(towers.trunk(data.context), data.candidates[np.arange(N)])[0, :, :, 0]
        total = logsumexp(np.where(data.eligible, logits, -np.inf), axis=1)
        assert found[e] == pytest.approx((total - (share * logits).sum(axis=1)).mean(), rel=1e-4)


def test_members_of_different_sizes_are_as_alone(rng) -> None:
    """What a small member has no use for is 0, gets no gradient, and is left out of what is saved."""
    form = Form(D, C, M, M, 3, (8, 7))
    sizes = [(3, 7), (8, 4)]
    net = Network.new(form, sizes, [1, 2], np.zeros((2, M)), "cpu")
    alone = Network.new(Form(D, C, M, M, 3, (3, 7)), sizes[:1], [1], np.zeros((1, M)), "cpu")
    with torch.no_grad():
        for which, size in ((net, 7), (alone, 7)):
            which.layer["heads"][0, :, :size] = torch.linspace(-1, 1, 7 * (M + M * (C + 3))).view(-1, 7)
    x, c = rng.normal(size=(5, D)).astype(np.float32), rng.normal(size=(5, 2, C)).astype(np.float32)
    found = []
    for which in (net, alone):
        value, taste = which.heads(torch.from_numpy(x))
        out = value[0].sum() + which.advantages(taste, torch.from_numpy(c))[0].square().sum()
        out.backward()
        found.append(float(out.detach()))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert not net.layer["first"].grad[0, 3:].any()
    assert not net.layer["second"].grad[0, :, 3:].any()
    towers, _, _ = net.towers([0], sizes, np.ones(M))
    assert towers.first.shape == (1, D, 3)
    both, _, _ = net.towers([0, 1], sizes, np.ones(M))
    assert both.first.shape == (2, D, 8)


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.1, 0.02)], ids=["one rate", "two rates"])
def test_steps_are_adams_with_decoupled_decay(rates, rng) -> None:
    """Kingma & Ba (2015), algorithm 1, and Loshchilov & Hutter (2019), algorithm 2, written out."""
    rate, decay = np.repeat(rates, 3), 0.3
    value, gradients = rng.normal(size=6), rng.normal(size=(20, 6))
    parameters, gradient = torch.from_numpy(value.copy()), torch.zeros(6, dtype=torch.float64)
    optimiser = AdamW(parameters, gradient, torch.from_numpy(rate), torch.full((6,), decay, dtype=torch.float64))
    first = second = np.zeros(6)
    for t, g in enumerate(gradients, start=1):
        gradient.copy_(torch.from_numpy(g))
        optimiser.step()
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        step = first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        value = value - rate * decay * value - rate * step
    np.testing.assert_allclose(parameters, value, rtol=1e-10)


@pytest.mark.parametrize("ordered", [False, True], ids=["as indices", "as a product"])
def test_what_many_decisions_pick_gets_the_sum_of_their_gradients(ordered, rng) -> None:
    columns = torch.from_numpy(rng.normal(size=(2, 3, 4))).requires_grad_()
    which, gradient = rng.integers(0, 4, (2, 50)), rng.normal(size=(2, 3, 50))
    found = gathered(columns, torch.from_numpy(which), ordered=ordered)
    found.backward(torch.from_numpy(gradient))
    wanted = np.zeros((2, 3, 4))
    for e in range(2):
        np.testing.assert_array_equal(found[e].detach().numpy(), columns[e].detach().numpy()[:, which[e]])
        np.add.at(wanted[e].T, which[e], gradient[e].T)
    np.testing.assert_allclose(columns.grad.numpy(), wanted, rtol=1e-12)
