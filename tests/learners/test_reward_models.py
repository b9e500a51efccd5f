"""Reward models against scikit-learn on the expanded features, against the truth, and against overfitting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from homing.errors import InvalidInputError
from homing.learners import fit_reward_model
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.calibration import calibrate
from homing.learners.examples import Examples, links_of
from homing.learners.linear_fit import fit_path, outputs, parts
from homing.learners.neural_fit import SharedTrunk
from homing.log import CandidateStore, LoggedDataset
from homing.policies import LinearRewardModel, NeuralRewardModel


def expanded(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """[c ⊗ x, c, x] of each row."""
    return np.hstack([(c[:, :, None] * x[:, None, :]).reshape(len(x), -1), c, x])


@pytest.fixture
def examples(rng):
    n, d, c = 600, 3, 4
    x, chosen = rng.normal(size=(n, d)).astype(np.float32), rng.normal(size=(n, 1, c)).astype(np.float32)
    design = expanded(x, chosen[:, 0])
    z = design @ rng.normal(size=design.shape[1]) - 1.0
    reward = np.column_stack([rng.random(n) < 1 / (1 + np.exp(-z)), (z - z.mean()) / z.std() + rng.normal(size=n)])
    return Examples(x, CandidateStore.from_padded(chosen), reward.astype(float), np.arange(n)), design


@pytest.mark.parametrize("penalty", [1.0, 30.0])
def test_linear_fit_is_scikit_learns_on_expanded_features(examples, penalty) -> None:
    data, design = examples
    theta = fit_path(BilinearDesign.of(data), data.reward, ("logit", "identity"), [100.0, penalty])[1]
    cross, own, level, intercept = parts(theta)
    found = np.hstack([cross.reshape(2, -1), own, level])
    peer = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(design, data.reward[:, 0])
    # The decrement before the last step is below 0.01, and at most a hundredth is left: 0.01 standard errors of 0.2.
    np.testing.assert_allclose(found[0], peer.coef_[0], atol=3e-3)
    np.testing.assert_allclose(intercept[0], peer.intercept_[0], atol=3e-3)
    line = Ridge(alpha=penalty, solver="cholesky").fit(design, data.reward[:, 1])
    np.testing.assert_allclose(found[1], line.coef_, atol=1e-5)  # 32-bit sums
    np.testing.assert_allclose(intercept[1], line.intercept_, atol=1e-5)


def test_links_follow_the_rewards() -> None:
    reward = np.array([[0.0, 0.0, 1.0, 0.5], [1.0, 0.0, 1.0, 1.0]])
    assert links_of(reward) == ("logit", "identity", "identity", "identity")


@pytest.mark.parametrize("kind", ["linear", "neural"])
def test_predictions_are_close_to_the_truth(kind, world, rng) -> None:
    model = fit_reward_model(world.log(8000, rng), kind, np.ones(1), rng=rng).model
    x, candidates, _ = world.arrays(2000, rng)
    error = model.predict(x, candidates)[:, :, 0] - world.chances(x)[:, :, 0]
    assert np.sqrt((error**2).mean()) < 0.06  # the truth has a deviation of 0.25
    assert abs(error.mean()) < 0.02  # 3 standard errors of a rate of 0.3 over 8000 rows are 0.015


def test_a_continuous_reward_keeps_its_unit(rng) -> None:
    n = 3000
    x = rng.normal(size=(n, 2)).astype(np.float32)
    action = rng.integers(0, 2, n)
    spend = 50 + 20 * action * x[:, 0] + rng.normal(size=n)
    data = LoggedDataset(
        context=x, candidates=np.broadcast_to(np.eye(2), (n, 2, 2)), eligible=np.ones((n, 2), bool), action=action,
        propensity=np.full(n, 0.5), reward=spend[:, None], objectives=("spend",), user=np.arange(n), time=np.arange(n),
    )  # fmt: skip
    fitted = fit_reward_model(data, "linear", np.ones(1), rng=rng)
    seen = fitted.model.predict(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([np.eye(2)] * 2))[:, :, 0]
    np.testing.assert_allclose(seen, [[50, 70], [50, 30]], atol=0.5)
    assert fitted.calibration["spend"].loss == pytest.approx(1.0, abs=0.2)  # the noise's variance


@pytest.mark.parametrize("kind", ["linear", "neural"])
def test_rare_clicks_are_not_overfitted(kind, rng) -> None:
    """20 clicks in 5000 rows without any signal: predictions stay near the rate for every candidate."""
    n, k = 5000, 30
    data = LoggedDataset(
        context=rng.normal(size=(n, 8)), candidates=np.broadcast_to(np.eye(k, dtype=np.float32), (n, k, k)),
        eligible=np.ones((n, k), bool), action=rng.integers(0, k, n), propensity=np.full(n, 1 / k),
        reward=(np.arange(n) % 250 == 0)[:, None], objectives=("clicked",), user=np.arange(n), time=np.arange(n),
    )  # fmt: skip
    model = fit_reward_model(data, kind, np.ones(1), rng=rng).model
    predicted = model.predict(data.context[:500], data.candidates[np.arange(500)])[:, :, 0]
    fresh_loss = -(0.004 * np.log(predicted) + 0.996 * np.log1p(-predicted)).mean()
    constant = -(0.004 * np.log(0.004) + 0.996 * np.log(0.996))
    assert fresh_loss < 1.05 * constant
    assert predicted.max() < 0.02


def test_constant_rewards_are_no_problem(world, rng) -> None:
    data = world.log(200, rng)
    for value in (0.0, 1.0, 2.5):
        same = LoggedDataset(**{**vars(data), "reward": np.full((200, 1), value), "next": None})
        for kind in ("linear", "neural"):
            model = fit_reward_model(same, kind, np.ones(1), rng=rng).model
            np.testing.assert_allclose(model.predict(data.context, data.candidates[np.arange(200)]), value, atol=0.02)


def test_calibration_finds_slope_and_offset(rng) -> None:
    n = 40_000
    raw = rng.normal(size=n) * 2
    clicked = (rng.random(n) < 1 / (1 + np.exp(-(0.5 * raw - 1.0)))).astype(float)
    found = calibrate(raw, clicked, "logit", float(clicked.mean()), fit=True)
    assert found.slope == pytest.approx(0.5, abs=0.03)  # 4 standard errors of about 0.007
    assert found.offset == pytest.approx(-1.0, abs=0.06)
    assert found.error_after < 0.01 < found.error_before
    assert found.loss < found.loss_of_mean
    line = calibrate(raw, 3 * raw + 1, "identity", 1.0, fit=True)
    assert (line.slope, line.offset) == (pytest.approx(3.0, abs=0.01), pytest.approx(1.0, abs=0.01))


def test_calibration_does_not_believe_three_events() -> None:
    raw = np.full(1200, np.log(0.004 / 0.996))
    clicked = np.zeros(1200)
    clicked[:3] = 1  # 4.8 were expected: log(3 / 4.8) = -0.47 would believe them wholly
    found = calibrate(raw, clicked, "logit", 0.004, fit=True)
    assert abs(found.slope * raw[0] + found.offset - raw[0]) < 0.47 / 2


@pytest.mark.parametrize("link", ["logit", "identity"])
def test_a_model_that_held_out_users_contradict_predicts_the_training_mean(link, rng) -> None:
    """Without the slope its offset alone would be off by the mean of the raw outputs, -3 here."""
    raw = rng.normal(-3.0, 1.0, 8000)
    reward = (rng.random(8000) < 1 / (1 + np.exp(raw + 4.5))) * 1.0 if link == "logit" else -raw
    found = calibrate(raw, reward, link, float(reward.mean()), fit=True)
    assert found.slope == 0.0
    level = 1 / (1 + np.exp(-found.offset)) if link == "logit" else found.offset
    assert level == pytest.approx(reward.mean(), rel=1e-9)


def test_numpy_scores_are_torchs(rng) -> None:
    """The same parameters in the modules that are trained and in the models that are served."""
    x, c = rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(50, 1, 4)).astype(np.float32)
    given = torch.from_numpy(x), torch.from_numpy(c[:, 0])
    rest = {"links": ("logit", "identity"), "slope": np.ones(2), "offset": np.zeros(2), "weights": np.ones(2)}
    net = SharedTrunk(3, 4, 2, (8, 5), torch.Generator().manual_seed(1))
    with torch.no_grad():
        for part in net.parameters():
            part.copy_(torch.from_numpy(rng.normal(size=part.shape)))
        wanted = net(*given).numpy()
    served = NeuralRewardModel(**{name: part.numpy() for name, part in net.state_dict().items()}, **rest)
    np.testing.assert_allclose(served.raw(x, c)[:, 0], wanted, rtol=1e-4, atol=1e-4)
    theta = rng.normal(size=(2, 5, 4))
    examples = Examples(x, CandidateStore.from_padded(c), np.zeros((50, 2)), np.arange(50))
    wanted = outputs(BilinearDesign.of(examples), theta)
    np.testing.assert_allclose(LinearRewardModel(*parts(theta), **rest).raw(x, c)[:, 0], wanted, rtol=1e-4, atol=1e-4)


def test_early_stopping_keeps_the_best_epoch(world, rng) -> None:
    fitted = fit_reward_model(world.log(400, rng), "neural", np.ones(1), rng=rng, patience=3, learning_rate=0.05)
    losses = fitted.history["held-out loss"]
    assert len(losses) < 60
    assert min(losses) <= losses[-1]
    assert fitted.settings["epochs"] == len(losses)


def test_wrong_settings_are_refused(world, rng) -> None:
    data = world.log(50, rng)
    with pytest.raises(InvalidInputError, match="kind of reward model == 'forest'"):
        fit_reward_model(data, "forest", np.ones(1), rng=rng)
    with pytest.raises(InvalidInputError, match=r"number of users == 1, must be at least 2. Gather a longer log"):
        fit_reward_model(data.take(np.array([0])), "linear", np.ones(1), rng=rng)


def test_threads_and_seeds_of_torch_are_left_alone(world, rng) -> None:
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fit_reward_model(world.log(200, rng), "neural", np.ones(1), rng=rng, max_epochs=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_features_that_are_not_standardised_are_fitted_all_the_same(rng) -> None:
    """Three contexts of size 1e7 and one-hot candidates: sums are not positive definite, and steps are taken instead
    of the one solve; against ridge regression on columns of size 1, with penalties of their own."""
    n, size = 200, 1e7
    x = (size * rng.normal(size=(n, 3))).astype(np.float32)
    chosen = np.eye(3, dtype=np.float32)[rng.integers(0, 3, n)][:, None]
    target = 0.5 * chosen[:, 0, :1] + 0.3 * x[:, :1] / size + 0.1 * rng.normal(size=(n, 1))
    target = (target - target.mean()) / target.std()
    data = Examples(x, CandidateStore.from_padded(chosen), target, np.arange(n))
    theta = fit_path(BilinearDesign.of(data), target, ("identity",), [10.0])[0][0]
    wide = np.einsum(
        "ni,nj->nij", np.column_stack([np.ones(n), chosen[:, 0]]), np.column_stack([np.ones(n), x.astype(float)])
    ).reshape(n, -1)
    scale = np.abs(wide).max(axis=0)
    penalty = np.where(np.arange(len(scale)) > 0, 10.0, 0.0) / scale**2
    exact = np.linalg.lstsq((wide / scale).T @ (wide / scale) + np.diag(penalty), (wide / scale).T @ target[:, 0])[0]
    errors = [float(np.std(wide @ each - target[:, 0])) for each in (theta.ravel(), exact / scale)]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)
