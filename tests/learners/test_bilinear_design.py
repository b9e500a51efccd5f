"""Sums over examples by kind of candidate against the same sums on expanded features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from homing.learners import linear_fit, newton
from homing.learners.bilinear_design import BilinearDesign, kinds_of
from homing.learners.examples import Examples
from homing.learners.linear_fit import fit_path
from homing.log import CandidateStore


def examples(n: int, levels: tuple[int, ...], numbers: int, rng: np.random.Generator) -> Examples:
    """Codes with unknown levels among them; the first level of the first feature has one number for all."""
    codes = np.column_stack([rng.integers(-1, size, n) for size in levels] or [np.zeros((n, 0))]).astype(np.int32)
    numeric = rng.normal(size=(n, numbers)).astype(np.float32)
    if levels:
        numeric[codes[:, 0] == 0] = 0.5
    store = CandidateStore(codes, levels, numeric, np.arange(n + 1))
    return Examples(rng.normal(size=(n, 3)).astype(np.float32), store, np.zeros((n, 1)), np.arange(n))


def expanded(data: Examples) -> np.ndarray:
    """vec((1, c) (1, x)ᵀ) of each example, (n, (1 + c) · 4)."""
    one = np.ones((len(data), 1))
    c, x = np.hstack([one, data.candidate(np.arange(len(data)))]), np.hstack([one, data.context])
    return (c[:, :, None] * x[:, None, :]).reshape(len(data), -1)


SHAPES = {
    "codes and numbers": ((3, 2), 2),
    "numbers alone": ((), 4),
    "codes alone": ((4, 2), 0),
    "one constant candidate": ((), 0),
}


@pytest.mark.parametrize(("levels", "numbers"), SHAPES.values(), ids=SHAPES)
def test_sums_are_those_of_expanded_features(levels, numbers, rng) -> None:
    data = examples(20_000 if levels == (3, 2) else 300, levels, numbers, rng)  # more than one block of a kind
    z, design = expanded(data), BilinearDesign.of(data)
    theta, weight = rng.normal(size=design.shape), rng.random(len(data))
    # 32-bit features: sums of n terms of size 1 err by about 1e-7 · √n · a few.
    close = {"rtol": 1e-4, "atol": 2e-3}
    np.testing.assert_allclose(design.outputs(theta), z @ theta.ravel(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(design.slopes(weight).ravel(), z.T @ weight, **close)
    gram = z.T @ (weight[:, None] * z)
    np.testing.assert_allclose(design.gram(weight), gram, **close)
    wide, long = design.shape
    blocks = gram.reshape(wide, long, wide, long)[np.arange(wide), :, np.arange(wide)]
    np.testing.assert_allclose(design.diagonal(weight), blocks, **close)


def test_some_examples_stand_for_all(rng) -> None:
    data = examples(40_000, (3,), 1, rng)
    design = BilinearDesign.of(data)
    whole, some = design.gram(np.ones(40_000)), design.gram(np.ones(40_000), 4)
    # Sums over a quarter of 10 000 examples of a kind: entries of size n err by about n / √2500 · 2.
    assert np.abs(some - whole).max() < 0.15 * whole.max()


def test_kinds_are_told_apart_however_many_levels(rng) -> None:
    codes = rng.integers(-1, 3, (500, 40)).astype(np.int32)
    codes[250:] = codes[:250]
    store = CandidateStore(codes, (2_000_000,) * 40, np.zeros((500, 0), np.float32), np.arange(501))
    _, found = np.unique(kinds_of(store), return_inverse=True)
    _, wanted = np.unique(codes, axis=0, return_inverse=True)
    assert len(set(zip(found, wanted, strict=True))) == found.max() + 1 == wanted.max() + 1 == 250


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "blocks"])
def test_either_preconditioner_leads_to_scikit_learns_optimum(dense, rng, monkeypatch) -> None:
    """Rare events, kinds without any, and a penalty that lets them matter."""
    data = examples(4000, (3, 2), 2, rng)
    z = expanded(data)
    happened = (rng.random(4000) < 1 / (1 + np.exp(4.0 - z[:, 1] - z[:, 5]))).astype(float)
    target = np.column_stack([happened, z[:, 2] + rng.normal(size=4000)])
    monkeypatch.setattr(newton, "worthwhile", lambda design: 0 if dense else np.inf)
    monkeypatch.setattr(linear_fit, "is_dense", lambda design: dense)
    fits = fit_path(BilinearDesign.of(data), target, ("logit", "identity"), [100.0, 3.0])
    for theta, penalty in zip(fits, (100.0, 3.0), strict=True):
        peer = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(z[:, 1:], happened)
        # Within 0.01 standard errors, which the penalty keeps below 1 / √penalty.
        np.testing.assert_allclose(theta[0].ravel()[1:], peer.coef_[0], atol=0.01 / np.sqrt(penalty))
        assert theta[0, 0, 0] == pytest.approx(peer.intercept_[0], abs=0.01)
        ridge = np.diag([0.0] + [penalty] * (z.shape[1] - 1))
        line = np.linalg.solve(z.T @ z + ridge, z.T @ target[:, 1])
        np.testing.assert_allclose(theta[1].ravel(), line, atol=1e-4 if dense else 0.01 / np.sqrt(penalty))


def test_an_outcome_that_never_happens_is_no_trap(rng) -> None:
    """The intercept has no finite optimum: the fit ends, with a chance below that of the half event it began with."""
    data = examples(500, (3,), 1, rng)
    design = BilinearDesign.of(data)
    theta = fit_path(design, np.zeros((500, 1)), ("logit",), [10.0])[0][0]
    assert np.isfinite(theta).all()
    assert design.outputs(theta).max() < np.log(0.5 / 500)
