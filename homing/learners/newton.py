"""Newton's method for penalised losses of bilinear outputs, with conjugate gradients inside.

Steps solve H s = −g for the true Hessian H by conjugate gradients (Nocedal and Wright 2006, "Numerical Optimization",
algorithm 7.1), which only asks for products H v: two passes over the examples. The preconditioner is a Hessian of an
earlier point: its blocks on the diagonal, one for each candidate feature, until steps take so many products that all of
it, summed over some of the examples, is worth factorising. It stops by the Newton decrement, which says how far the
minimum is in units of what the data can tell (Boyd and Vandenberghe 2004, "Convex Optimization", section 9.5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.learners.bilinear_design import BilinearDesign
from homing.learners.threads import few_threads

FloatArray = NDArray[np.float64]
STEPS = 60
#: gᵀH⁻¹g before the last step: 0.1 standard deviations of the estimates away. The step is still taken, and leaves a
#: hundredth of it at most.
DECREMENT = 1e-2
#: Each step leaves this share of the gradient, in the preconditioner's norm.
CG_SHARE, CG_STEPS = 0.1, 200
#: Hessians of all parameters are made up to this size; as preconditioners from one of so many examples.
DENSE_SIZE, SAMPLED = 4_096, 4
#: Added to a Hessian that rounding made indefinite, times its largest entry, so that it can guide steps.
ROUNDED = 1e-6
#: Operations of a factorisation that take the time of one of a pass over examples.
FASTER = 5.0
#: What of the likelihood's own size rounding may take.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Local:
    """A loss Σ_i l_i(z_i, e) at one point: value and derivatives by outputs z (n,) and e, parameters of its own (q,).

    Attributes:
        value: Σ_i l_i.
        slope: (n,), ∂l_i/∂z_i.
        curve: (n,), ∂²l_i/∂z_i².
        own_slope: (q,), Σ_i ∂l_i/∂e.
        cross: (n, q), ∂²l_i/∂z_i∂e.
        own_curve: (q, q), Σ_i ∂²l_i/∂e².
    """

    value: float
    slope: FloatArray
    curve: FloatArray
    own_slope: FloatArray
    cross: FloatArray
    own_curve: FloatArray

    @classmethod
    def plain(cls, value: float, slope: FloatArray, curve: FloatArray) -> Local:
        """Of a loss without parameters of its own."""
        return cls(value, slope, curve, np.zeros(0), np.zeros((len(slope), 0)), np.zeros((0, 0)))


Loss = Callable[[FloatArray, FloatArray], Local]
Linear = Callable[[FloatArray], FloatArray]


class Curvature:
    """A Hessian of the loss, as the preconditioner of later steps.

    Args:
        design: the examples.
        weight: (n,), the loss's second derivatives by the outputs.
        dense: whether all of it is made, or its blocks on the diagonal alone.
        every: examples that one stands for, where all of it is made.

    Attributes:
        exact: whether its inverses are those of the sums; they guide steps all the same where rounding forbids it.
    """

    def __init__(self, design: BilinearDesign, weight: FloatArray, *, dense: bool, every: int = 1) -> None:
        self.dense, self.exact = dense, True
        self.sums = design.gram(weight, every) if dense else design.diagonal(weight)
        self._penalty = -1.0
        self._inverse: Linear = lambda rest: rest

    def inverse(self, penalty: float) -> Linear:
        """Solves (H + penalty) s = r for r (f,) or (f, m); the intercept, which comes first, is not shrunk."""
        if penalty != self._penalty:
            self._penalty, self._inverse = penalty, self._dense(penalty) if self.dense else self._blocks(penalty)
        return self._inverse

    def _dense(self, penalty: float) -> Linear:
        matrix = self.sums.copy()
        matrix[np.diag_indices(len(matrix))] += _ridge(len(matrix), penalty, least=1e-6)
        with few_threads():
            factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
            if failed:  # rounding of the largest features is more than what the smallest ones tell
                self.exact = False
                matrix[np.diag_indices(len(matrix))] += ROUNDED * float(np.diag(matrix).max())
                factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
        if failed:
            step = "Features are of too different sizes: standardise them, as a FeatureEncoder does."
            raise InvalidInputError(describe("curvature of the loss", "singular", "must be positive definite", step))

        def solve(rest: FloatArray) -> FloatArray:
            with few_threads():
                found = torch.cholesky_solve(torch.from_numpy(rest.reshape(len(rest), -1)), factor)
            out: FloatArray = found.numpy().reshape(rest.shape)
            return out

        return solve

    def _blocks(self, penalty: float) -> Linear:
        wide, long = self.sums.shape[:2]
        matrix = self.sums.copy()
        matrix[:, np.arange(long), np.arange(long)] += _ridge(wide * long, penalty, least=1e-6).reshape(wide, long)
        inverse = np.linalg.inv(matrix)

        def solve(rest: FloatArray) -> FloatArray:
            out: FloatArray = np.einsum("kij,kjm->kim", inverse, rest.reshape(wide, long, -1)).reshape(rest.shape)
            return out

        return solve


def is_dense(design: BilinearDesign) -> bool:
    """Whether a Hessian of all parameters fits in memory and is factorised in seconds."""
    return design.size <= DENSE_SIZE


def worthwhile(design: BilinearDesign) -> float:
    """Products with a Hessian that cost as much as to factorise one."""
    if not is_dense(design):
        return np.inf
    return (2.0 * design.gram_cost / SAMPLED + design.size**3 / 3.0) / (FASTER * 4.0 * design.pass_cost)


def minimise(
    design: BilinearDesign, loss: Loss, penalty: float, start: FloatArray, known: Curvature | None = None
) -> tuple[FloatArray, Curvature]:
    """The minimum over (Θ, e) of loss(outputs of Θ, e) + penalty / 2 · |Θ|², the intercept not counted.

    Args:
        design: the examples.
        loss: convex in the outputs.
        penalty: in observations, > 0.
        start: (f + q,), vec Θ and e, to begin with.
        known: a preconditioner of a fit like this one.

    Returns:
        vec Θ and e, and the preconditioner that it ended with.
    """
    size, enough = design.size, worthwhile(design)
    ridge = np.concatenate([_ridge(size, penalty), np.zeros(len(start) - size)])
    theta, curvature, worn = start.copy(), known, False
    z = design.outputs(theta[:size].reshape(design.shape))
    at = loss(z, theta[size:])
    value = at.value + 0.5 * ridge @ theta**2
    for _ in range(STEPS):
        gradient = np.concatenate([design.slopes(at.slope).ravel(), at.own_slope]) + ridge * theta
        if curvature is None or worn:
            curvature = Curvature(design, np.maximum(at.curve, 0.0), dense=worn, every=SAMPLED)
        inverse = _joined(curvature.inverse(penalty), size, at.own_curve)
        step, products = conjugate_gradients(_hessian(design, at, ridge), -gradient, inverse)
        worn = products > enough
        decrement = -float(gradient @ step)
        moved = design.outputs(step[:size].reshape(design.shape))
        length = 1.0
        while True:
            tried = theta + length * step
            new = loss(z + length * moved, tried[size:])
            reached = new.value + 0.5 * ridge @ tried**2
            if reached <= value - 1e-4 * length * decrement + ROUNDING * abs(value) or length < 1e-6:
                break
            length /= 2.0
        if reached > value + ROUNDING * abs(value):
            break  # no step is short enough: rounding is all that is left
        theta, z, at, value = tried, z + length * moved, new, reached
        if decrement < DECREMENT:
            break
    assert curvature is not None  # STEPS >= 1
    return theta, curvature


def conjugate_gradients(product: Linear, target: FloatArray, inverse: Linear) -> tuple[FloatArray, int]:
    """H s = target, to a share of the target; and how many products it took.

    Where H curves downwards, what was reached before is returned: a direction of descent for target = −gradient.

    Example:
        >>> h = np.array([[2.0, 1.0], [1.0, 3.0]])
        >>> exact = np.linalg.inv(h)
        >>> found, products = conjugate_gradients(lambda v: h @ v, np.array([4.0, 7.0]), lambda r: exact @ r)
        >>> found.round(6).tolist(), products
        ([1.0, 2.0], 1)
    """
    found, rest = np.zeros_like(target), target.copy()
    direction = inverse(rest)
    size = first = float(rest @ direction)
    for count in range(1, CG_STEPS + 1):
        image = product(direction)
        bend = float(direction @ image)
        if bend <= 0.0:
            return (found if count > 1 else direction), count
        found += size / bend * direction
        rest -= size / bend * image
        better = inverse(rest)
        new = float(rest @ better)
        if new <= CG_SHARE**2 * first:
            break
        direction = better + new / size * direction
        size = new
    return found, count


def _hessian(design: BilinearDesign, at: Local, ridge: FloatArray) -> Linear:
    size = design.size

    def product(v: FloatArray) -> FloatArray:
        moved, own = design.outputs(v[:size].reshape(design.shape)), v[size:]
        bent = at.curve * moved + at.cross @ own
        out: FloatArray = np.concatenate([design.slopes(bent).ravel(), at.cross.T @ moved + at.own_curve @ own])
        return out + ridge * v

    return product


def _joined(inverse: Linear, size: int, own_curve: FloatArray) -> Linear:
    """The preconditioner of Θ beside one of the loss's own parameters."""
    own = 1.0 / np.maximum(np.diag(own_curve), 1e-6)
    return lambda rest: np.concatenate([inverse(rest[:size]), own * rest[size:]])


def _ridge(size: int, penalty: float, least: float = 0.0) -> FloatArray:
    out = np.full(size, penalty)
    out[0] = least
    return out
