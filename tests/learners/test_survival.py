"""The survival rule: times to a visit by hand, the fit against known parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from homing.errors import InvalidInputError, UnknownNameError
from homing.learners import make
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.examples import Examples
from homing.learners.weibull_fit import HOUR_US, CensoredTimes, VisitTimes, fit_weibull
from homing.log import LoggedDataset
from homing.policies import dataset_probs

STEP_HOURS = 2.0


def walk(n_users: int, steps: int, rng: np.random.Generator, *, effect: float = 0.7, shape: float = 0.8):
    """Users who are decided for every two hours; after each decision the clock to the visit starts anew.

    log λ = 2 + 0.5 x − effect · 1[message] · x: a message brings the visit closer for x > 0 and puts it off for x < 0.
    """
    x = np.repeat(rng.normal(size=n_users), steps)
    n = n_users * steps
    action = rng.integers(0, 2, n)
    scale = np.exp(2.0 + 0.5 * x - effect * action * x)
    visited = scale * rng.weibull(shape, n) <= STEP_HOURS
    return LoggedDataset(
        context=x[:, None], candidates=np.broadcast_to(np.eye(2, dtype=np.float32), (n, 2, 2)),
        eligible=np.ones((n, 2), bool), action=action, propensity=np.full(n, 0.5),
        reward=visited.astype(float)[:, None], objectives=("session",), user=np.repeat(np.arange(n_users), steps),
        time=np.tile(np.arange(steps) * int(STEP_HOURS) * HOUR_US, n_users),
    )  # fmt: skip


def test_times_to_a_visit_by_hand() -> None:
    """Two users, interleaved in time; visits after the second decision of each, and one after the last of all."""
    data = LoggedDataset(
        context=np.zeros((6, 1)), candidates=np.zeros((6, 2, 1)), eligible=np.ones((6, 2), bool),
        action=np.zeros(6, dtype=int), propensity=np.ones(6), reward=np.array([0, 1, 0, 0, 1, 1.0])[:, None],
        objectives=("session",), user=[1, 1, 1, 2, 2, 2], time=np.array([0, 1, 4, 0, 10, 40]) * HOUR_US,
    )  # fmt: skip
    times = VisitTimes.of(data, 0, 24.0)
    # User 1: a visit in (1, 4]; nothing is known after hour 4. User 2: in (10, 40], which ends beyond the horizon.
    assert times.lower.tolist() == [1, 0, 0, 10, 0, 0]
    assert times.upper.tolist() == [4, 3, np.inf, np.inf, np.inf, np.inf]


def test_recovers_who_comes_back_sooner_for_a_message(rng) -> None:
    data = walk(4000, 4, rng)
    policy = make("survival-rule", horizon_hours=STEP_HOURS, threshold=0.0, epsilon=0.0, penalties=[1.0]).fit(
        data, rng=rng
    )
    model = policy.scorer
    x = data.context[:, 0]
    # One interval alone does not identify the shape, but the chance of a visit in it: from 12 000 decisions with a next
    # one for five parameters, each within about 0.01 in the middle of x and 0.03 at its ends.
    scale = np.exp(2.0 + 0.5 * x[:, None] - 0.7 * np.array([0.0, 1.0]) * x[:, None])
    truth = -np.expm1(-((STEP_HOURS / scale) ** 0.8))
    error = model.scores(data.context, data.candidates[np.arange(data.n)]) - truth
    assert np.sqrt((error**2).mean()) < 0.02
    sends = dataset_probs(policy, data)[:, 1]
    assert sends[x > 0.15].mean() > 0.99
    assert sends[x < -0.15].mean() < 0.01


def test_shape_and_scale_are_found_over_several_intervals(rng) -> None:
    """No effects, one clock from the user's first decision on: P(T > t) is the Weibull's at every step."""
    n, steps, shape, scale = 6000, 6, 0.7, 9.0
    visit = scale * rng.weibull(shape, n)
    time = np.arange(steps) * STEP_HOURS
    visited = (visit[:, None] > time) & (visit[:, None] <= time + STEP_HOURS)
    rows = n * steps
    data = LoggedDataset(
        context=np.zeros((rows, 1)), candidates=np.broadcast_to(np.eye(2, dtype=np.float32), (rows, 2, 2)),
        eligible=np.ones((rows, 2), bool), action=np.tile([0, 1, 0, 1, 0, 1], n), propensity=np.full(rows, 0.5),
        reward=visited.reshape(-1, 1).astype(float), objectives=("session",), user=np.repeat(np.arange(n), steps),
        time=np.tile((time * HOUR_US).astype(np.int64), n),
    )  # fmt: skip
    first = np.arange(0, rows, steps)
    times = VisitTimes.of(data, 0, 1000.0)
    fitted = fit_weibull(BilinearDesign.of(Examples.of(data).rows(first)), times.rows(first), [1e6])[0]
    found_scale, found_shape = np.exp(fitted.theta[0, 0]), fitted.shape
    # Standard errors of both are about 0.02 with 4 000 visits seen: four of them, and the last interval is cut off.
    assert found_shape == pytest.approx(shape, abs=0.06)
    assert found_scale == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("log_shape", [-0.7, 0.4])
def test_derivatives_of_the_likelihood_are_its_differences(log_shape, rng) -> None:
    """Rows that were seen or not, from the start or later; central differences of 64-bit values."""
    lower = np.array([0.0, 0.0, 3.0, 7.0, 1.0, 2.0])
    upper = np.array([2.0, np.inf, 5.0, np.inf, 1.001, 30.0])
    loss, z, k, step = CensoredTimes.of(VisitTimes(lower, upper)), rng.normal(1.0, 1.0, 6), np.array([log_shape]), 1e-5
    at = loss(z, k)
    each = [loss(z + step * row, k) for row in np.eye(6)], [loss(z - step * row, k) for row in np.eye(6)]
    np.testing.assert_allclose([(a.value - b.value) / (2 * step) for a, b in zip(*each, strict=True)], at.slope, 1e-6)
    above, below = loss(z + step, k), loss(z - step, k)
    np.testing.assert_allclose((above.slope - below.slope) / (2 * step), at.curve, rtol=1e-6, atol=1e-8)
    above, below = loss(z, k + step), loss(z, k - step)
    np.testing.assert_allclose((above.value - below.value) / (2 * step), at.own_slope[0], rtol=1e-6)
    np.testing.assert_allclose((above.slope - below.slope) / (2 * step), at.cross[:, 0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose((above.own_slope - below.own_slope) / (2 * step), at.own_curve[0], rtol=1e-5)


def test_fit_is_scipys_maximum(rng) -> None:
    """The penalised likelihood, written out on expanded features, maximised by SciPy without derivatives of ours."""
    data = walk(300, 4, rng)
    times, examples, penalty = VisitTimes.of(data, 0, 24.0), Examples.of(data), 5.0
    chosen = np.eye(2)[data.action]
    design = np.column_stack([np.ones(data.n), data.context, chosen, chosen * data.context])

    def negative(free: np.ndarray) -> float:
        shape, scale = np.exp(free[-1]), np.exp(design @ free[:-1])
        survived = [np.exp(-((t / scale) ** shape)) for t in (times.lower, times.upper)]
        return -np.log(survived[0] - survived[1]).sum() + penalty / 2 * (free[1:-1] ** 2).sum()

    peer = minimize(negative, np.append([1.0], np.zeros(6)), method="BFGS", options={"gtol": 1e-5})
    found = fit_weibull(BilinearDesign.of(examples), times, [penalty])[0]
    theta = found.theta
    ours = [theta[0, 0], theta[0, 1], theta[1, 0], theta[2, 0], theta[1, 1], theta[2, 1], found.log_shape]
    # Ours may be 0.01 standard errors of at most 0.5 away; SciPy's differences are good to about 1e-3.
    np.testing.assert_allclose(ours, peer.x, atol=5e-3)
    assert negative(np.array(ours)) <= peer.fun + 1e-4


def test_threshold_asks_for_more_or_sends_always(rng) -> None:
    data = walk(800, 4, rng)
    share = [
        dataset_probs(
            make("survival-rule", horizon_hours=2.0, threshold=tau, epsilon=0.0, penalties=[10.0]).fit(data, rng=rng),
            data,
        )[:, 1].mean()
        for tau in (-1.0, 0.0, 0.5)
    ]
    assert share[0] == 1.0 > share[1] > share[2] > 0.0


def test_mistakes_are_named(rng) -> None:
    data = walk(50, 3, rng)
    with pytest.raises(UnknownNameError, match=r"objective of the .* 'sesion', .* Did you mean 'session'"):
        make("survival-rule", objective="sesion").fit(data, rng=rng)
    with pytest.raises(InvalidInputError, match=r"visits within 0\.5 hours of a decision == 0, must be >= 1"):
        make("survival-rule", horizon_hours=0.5).fit(data, rng=rng)
