"""Progressive effects: against conditioning by brute force, calibrated under the prior, patient in the limit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from homing.errors import InvalidInputError, SupportError
from homing.experiments.intervals import welch
from homing.experiments.progressive import EffectPrior, progressive_effect


def staggered(traces: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.where(np.arange(traces.shape[1]) < seen[:, None], traces, np.nan)


def test_posterior_is_conditioning_on_everything_seen() -> None:
    """Brute force: one normal vector of δ, the control's level (all but flat) and every observed day of every user."""
    rng = np.random.default_rng(0)
    w, sizes = 3, (4, 5)
    a, b = rng.normal(size=(2, w, w))
    prior = EffectPrior(rng.normal(size=w), a @ a.T, b @ b.T + np.eye(w))
    traces = [rng.normal(size=(n, w)) for n in sizes]
    seen = [rng.integers(0, w + 1, n) for n in sizes]
    weights = np.array([1.0, 2.0, -0.5])
    arms = [staggered(t, s) for t, s in zip(traces, seen, strict=True)]
    found = progressive_effect(*arms, prior, weights=weights)
    flat = 1e7
    # Observation = level + arm · δ + noise of its user.
    rows = [(arm, user, day) for arm in (0, 1) for user in range(sizes[arm]) for day in range(seen[arm][user])]
    design = np.zeros((len(rows), 2 * w))
    noise = np.zeros((len(rows), len(rows)))
    y = np.array([traces[arm][user, day] for arm, user, day in rows])
    for i, (arm, user, day) in enumerate(rows):
        design[i, day], design[i, w + day] = 1.0, arm
        for j, (arm2, user2, day2) in enumerate(rows):
            if (arm, user) == (arm2, user2):
                noise[i, j] = prior.noise[day, day2]
    start = np.concatenate([np.zeros(w), prior.mean])
    spread = np.block([[flat * np.eye(w), np.zeros((w, w))], [np.zeros((w, w)), prior.covariance]])
    gain = spread @ design.T @ np.linalg.inv(design @ spread @ design.T + noise)
    mean = (start + gain @ (y - design @ start))[w:]
    covariance = (spread - gain @ design @ spread)[w:, w:]
    assert found.effect.value == pytest.approx(weights @ mean, rel=1e-5)
    assert found.effect.std_error**2 == pytest.approx(weights @ covariance @ weights, rel=1e-5)
    assert found.probability_positive == pytest.approx(stats.norm.sf(0, found.effect.value, found.effect.std_error))
    json.dumps(found.to_dict(), allow_nan=False)


def test_with_all_days_and_a_wide_prior_it_is_the_difference() -> None:
    rng = np.random.default_rng(1)
    control, treatment = rng.normal(size=(2, 400, 5)).cumsum(axis=2)
    noise = np.cov(np.concatenate([control, treatment]), rowvar=False)
    found = progressive_effect(control, treatment, EffectPrior(np.zeros(5), 1e4 * np.eye(5), noise))
    patient = welch(control.sum(axis=1), treatment.sum(axis=1), 0.95)
    assert found.effect.value == pytest.approx(patient.value, rel=1e-3)
    assert found.effect.std_error == pytest.approx(patient.std_error, rel=0.02)
    assert found.days == 5
    nothing = progressive_effect(control * np.nan, treatment * np.nan, EffectPrior(np.ones(5), np.eye(5), noise))
    assert nothing.effect == nothing.prior
    assert nothing.effect.value == 5.0


def world(days: int) -> EffectPrior:
    """Effects that mostly last: a persistent part and one that fades; users who differ for good and day by day."""
    fade = np.exp(-np.arange(days) / 5)
    covariance = 0.03**2 * np.ones((days, days)) + 0.05**2 * np.outer(fade, fade)
    return EffectPrior(np.zeros(days), covariance, 0.15 * np.ones((days, days)) + 0.2 * np.eye(days))


@pytest.mark.slow
def test_the_tenth_day_is_calibrated_and_sharper_than_the_prior() -> None:
    """250 experiments of 300 users a variant, seen for 6 to 10 of 60 days; coverage .9 has a standard error of .019."""
    rng = np.random.default_rng(2)
    prior, days, n = world(60), 60, 300
    roots = [np.linalg.cholesky(each + 1e-12 * np.eye(days)) for each in (prior.covariance, prior.noise)]
    inside, errors, naive = 0, [], []
    seen = rng.integers(6, 11, n)
    for _ in range(250):
        effect = roots[0] @ rng.normal(size=days)
        arms = [rng.normal(size=(n, days)) @ roots[1].T + shift for shift in (0.0, effect)]
        found = progressive_effect(*(staggered(arm, seen) for arm in arms), prior, level=0.9)
        truth = effect.sum()
        inside += found.effect.lower <= truth <= found.effect.upper
        errors.append(found.effect.value - truth)
        # What one would do without it: six days, times ten.
        naive.append(10 * (arms[1][:, :6] - arms[0][:, :6]).sum(axis=1).mean() - truth)
    assert abs(inside / 250 - 0.9) < 4 * 0.019
    assert found.days == 10
    assert 0.2 < found.learnt < 1
    # The posterior's own standard deviation is that of its errors: known to 1 / sqrt(2 · 250) = 4.5 %; 4 of those.
    assert np.std(errors) == pytest.approx(found.effect.std_error, rel=0.18)
    assert np.std(naive) > 1.5 * np.std(errors)


def test_prior_is_learnt_without_the_noise() -> None:
    """150 past experiments with 200 users a variant: effects of sd .1 under errors of sd .1 on each day."""
    rng = np.random.default_rng(3)
    past = []
    for _ in range(150):
        effect = rng.normal(0, 0.1)
        past.append((rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + effect))
    prior = EffectPrior.fit(past)
    # A variance of .01 from 150 effects of variance .02 (with noise): standard error .02 · sqrt(2 / 150) = .0023.
    np.testing.assert_allclose(prior.covariance, 0.01, atol=4 * 0.0023)
    np.testing.assert_allclose(prior.noise, np.eye(3), atol=0.03)
    assert np.linalg.eigvalsh(prior.covariance)[0] >= -1e-15
    raw = np.mean([(t.mean(axis=0) - c.mean(axis=0)) ** 2 for c, t in past])
    assert raw > 0.017


def test_bad_input() -> None:
    prior = world(3)
    good = np.zeros((4, 3))
    with pytest.raises(InvalidInputError, match=r"control\[0, 1\] == nan, must be given, as a later day is"):
        progressive_effect([[1.0, np.nan, 2.0]] * 2, good, prior)
    with pytest.raises(InvalidInputError, match=r"treatment.shape == \(4, 2\), must be \(users, 3\)"):
        progressive_effect(good, good[:, :2], prior)
    with pytest.raises(SupportError, match="users of control == 1"):
        progressive_effect(good[:1], good, prior)
    with pytest.raises(InvalidInputError, match="noise == 'singular'"):
        EffectPrior(np.zeros(2), np.eye(2), np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match="past experiments == 1"):
        EffectPrior.fit([(good, good)])
    with pytest.raises(InvalidInputError, match="Take experiments that are over"):
        EffectPrior.fit([(good, good * np.nan)])
