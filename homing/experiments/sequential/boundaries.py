"""Crossing probabilities of a z-path looked at several times, by recursive numerical integration.

At looks with information t_1 < t_2 < … the path z_k √t_k is a Brownian motion with drift θ: increments are independent
and normal with mean θ (t_k - t_{k-1}) and variance t_k - t_{k-1}. The density of z_k on "not stopped before" follows
from the one before by one integral (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000, "Group Sequential
Methods with Applications to Clinical Trials", chapter 19), here on Gauss–Legendre nodes between the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite
from homing.errors import InvalidInputError, describe

FloatArray = NDArray[np.float64]

#: Paths below this z are let go: 3e-9 of them are, and they would have to come back up through the bound.
_FLOOR = -5.8
#: No path comes here under the null (5e-17); a higher bound is taken from its own tail alone.
_CEILING = 8.3
#: Increments below this are taken from the tail alone, too: there the bound is above any path on the grid.
_LEAST_INCREMENT = 1e-15
#: Least share of new information at a look. Less is taken as that much: less dependence between looks, hence a bound
#: no lower (Slepian's inequality), and no kernel too narrow for the grid.
_LEAST_NEWS = 1e-4
#: Elements of a transition matrix that are held at once.
_AT_ONCE = 1 << 21
#: Nodes per width: with one, bounds at 200 looks are within 1e-9 of a grid four times as fine.
_PER_WIDTH = 1.0
#: Exponents below are taken as this: e^-100 is nothing, and products with it are still normal numbers, which are fast.
_FAINT = -100.0
_SQRT_2PI = float(np.sqrt(2.0 * np.pi))


def spending_bounds(
    information: ArrayLike, spent: ArrayLike, *, sides: int = 1, given: ArrayLike | None = None
) -> FloatArray:
    """The z bounds at which the probability of having crossed by each look equals what may be spent by then.

    Two-sided bounds are symmetric (reject where |z| >= bound), each side spends `spent`, and crossing either side
    stops. Where nothing is spent the bound is infinite.

    Accuracy is that of the quadrature, better than 1e-6 in z where increments exceed 1e-14; below, the bound is the
    increment's own normal quantile, which is never too low.

    Args:
        information: (…, looks), >= 0 and never falling; the last may exceed 1. Where it stands still there is no look.
        spent: (…, looks), that broadcasts: cumulative error rate of one side, not decreasing.
        sides: 1 or 2.
        given: (…, looks), that broadcasts: bounds that are fixed already; NaN for those to be found, which get what is
            left of the spending by then.

    Raises:
        InvalidInputError: if information or spending falls.

    Example:
        >>> from homing.experiments.sequential.spending import spend
        >>> t = np.arange(1, 6) / 5
        >>> spending_bounds(t, spend(t, 0.025)).round(4).tolist()
        [4.8769, 3.357, 2.6803, 2.2898, 2.031]
    """
    check_sides(sides)
    t, a = np.broadcast_arrays(_information(information), np.asarray(check_finite("spent", spent), dtype=np.float64))
    if (np.diff(a, axis=-1) < 0).any() or (a < 0).any() or (sides * a >= 1).any():
        bound = "must not fall and stay in [0, 1) over both sides"
        raise InvalidInputError(describe("spent", a.tolist(), bound, "Pass cumulative rates per side."))
    c = np.broadcast_to(np.nan if given is None else np.asarray(given, dtype=np.float64), t.shape)
    shape = t.shape
    order, t = _looks_first(t.reshape(-1, shape[-1]))
    a, c = (np.take_along_axis(item.reshape(t.shape), order, 1) for item in (a, c))
    out = np.full(t.shape, np.inf)
    for rows, walk in _walks(t, sides):
        used = np.zeros(len(t[rows]))
        for k in range(t.shape[1]):
            found, fixed = walk.bound(np.maximum(a[rows, k] - used, 0.0)), ~np.isnan(c[rows, k])
            out[rows, k] = np.where(fixed & walk.looked[:, k], c[rows, k], found)
            here = walk.crossing(out[rows, k], np.zeros(1))[0] / sides if fixed.any() else 0.0
            used = np.where(fixed, used + here, np.maximum(a[rows, k], used))
            walk.advance(out[rows, k])
    bounds = np.empty_like(out)
    np.put_along_axis(bounds, order, out, 1)
    return bounds.reshape(shape)


def exit_probabilities(
    bounds: ArrayLike, information: ArrayLike, drift: ArrayLike = 0.0, *, sides: int = 1
) -> FloatArray:
    """Probability of stopping at each look by crossing its bound for the first time.

    The drift θ is the mean of z at t = 1: for a fixed test of power 1 - β it is z_{1-α} + z_{1-β}. Two-sided, both
    sides count.

    Wrong to use for drifts far beyond 8, where a path leaves the grid at its first look, or for bounds that are to be
    crossed downwards.

    Args:
        bounds: (…, looks), infinite where one does not stop.
        information: (…, looks), that broadcasts; as in `spending_bounds`.
        drift: scalar or (m,).
        sides: 1 or 2.

    Returns:
        (…, looks) for a scalar drift, (m, …, looks) otherwise; cumulative sums are probabilities of having stopped.

    Raises:
        InvalidInputError: if information falls, or a bound is not a number.

    Example:
        Three looks at 1.96 are wrong more than twice as often as one; the planned effect crosses Pocock's in time.

        >>> t = np.array([1, 2, 3]) / 3
        >>> float(exit_probabilities([1.96, 1.96, 1.96], t, sides=2).sum().round(4))
        0.1072
        >>> exit_probabilities([2.289, 2.289, 2.289], t, [0.0, 3.0], sides=2).sum(axis=-1).round(3).tolist()
        [0.05, 0.793]
    """
    check_sides(sides)
    c = np.asarray(bounds, dtype=np.float64)
    if np.isnan(c).any():
        raise InvalidInputError(describe("bounds", c.tolist(), "must be numbers", "Infinity means: do not stop here."))
    t, c = np.broadcast_arrays(_information(information), c)
    theta = np.atleast_1d(np.asarray(check_finite("drift", drift), dtype=np.float64))
    shape = t.shape
    order, t = _looks_first(t.reshape(-1, shape[-1]))
    c = np.take_along_axis(c.reshape(t.shape), order, 1)
    out = np.zeros((len(theta), *t.shape))
    for rows, walk in _walks(t, sides):
        for k in range(t.shape[1]):
            out[:, rows, k] = walk.crossing(c[rows, k], theta)
            walk.advance(c[rows, k])
    found = np.empty_like(out)
    np.put_along_axis(found, np.broadcast_to(order, out.shape), out, 2)
    found = found.reshape(len(theta), *shape)
    return found[0] if np.ndim(drift) == 0 else found


def check_sides(sides: int) -> None:
    """Refuse anything but one or two sides."""
    if sides not in (1, 2):
        raise InvalidInputError(describe("sides", sides, "must be 1 or 2"))


class _Walk:
    """Paths that have not stopped, for each row of a batch: their mass at nodes between the bounds of the last look."""

    def __init__(self, information: FloatArray, sides: int) -> None:
        before = np.concatenate([np.zeros((len(information), 1)), information[:, :-1]], axis=1)
        self.looked = information > before  # (B, K)
        self.root = np.sqrt(information)  # (B, K)
        # z_k = ρ z_{k-1} + σ ε; after the last look anything will do.
        share = np.where(self.looked, before / np.where(self.looked, information, 1.0), 0.0)
        self.rho = np.sqrt(np.minimum(share, 1.0 - _LEAST_NEWS))
        self.sigma = np.sqrt(1.0 - self.rho**2)
        self.sides = sides
        self.k = 0
        self.nodes = np.zeros((len(information), 1))  # (B, N)
        self.mass = np.ones((len(information), 1))  # (B, N)

    def bound(self, increment: FloatArray) -> FloatArray:
        """(B,), the bound that this look's increment is the probability of crossing first here."""
        from scipy.special import ndtri

        with np.errstate(divide="ignore"):
            c = np.where(self.looked[:, self.k], -np.asarray(ndtri(increment)), np.inf)
        solve = self.looked[:, self.k] & (increment > _LEAST_INCREMENT)
        if not solve.any():
            return c
        rho, sigma, target = self.rho[solve, self.k, None], self.sigma[solve, self.k, None], increment[solve]
        nodes, mass, root = self.nodes[solve], self.mass[solve], c[solve]
        # The tail is at most the normal one, so that the root lies below the increment's own quantile; log P is concave
        # (a marginal of a log-concave density), so that Newton's steps from there come down to it and never pass it.
        # Where the tail is no number yet, halves of the way to the grid's floor bring it there.
        for _ in range(100):
            u = (root[:, None] - rho * nodes) / sigma
            tail = (mass * _upper(u)).sum(axis=1)
            density = (mass * np.exp(np.maximum(-0.5 * u * u, _FAINT)) / (sigma * _SQRT_2PI)).sum(axis=1)
            seen = tail > 1e-30
            newton = tail * np.log(np.where(seen, tail, 1.0) / target) / density
            move = np.where(seen, newton, (_FLOOR - root) / 2.0)
            root = root + move
            if np.abs(move).max() < 1e-10:
                break
        c[solve] = root
        return c

    def crossing(self, bound: FloatArray, drift: FloatArray) -> FloatArray:
        """(m, B), probability under each drift of crossing first at this look, on any side."""
        before = self.root[:, self.k - 1, None] if self.k else np.zeros((len(bound), 1))
        rho, sigma = self.rho[:, self.k, None], self.sigma[:, self.k, None]
        out = np.zeros((len(drift), len(bound)))
        for sign in (1.0, -1.0)[: self.sides]:  # nodes are symmetric: the lower side is the upper one of -θ
            for i, theta in enumerate(sign * drift):
                # The density under θ over that under 0 depends on where a path is now alone.
                tilted = self.mass * np.exp(theta * before * (self.nodes - theta * before / 2.0))
                mean = rho * self.nodes + theta * (self.root[:, self.k, None] - rho * before)
                out[i] += (tilted * _upper((bound[:, None] - mean) / sigma)).sum(axis=1)
        return np.where(self.looked[:, self.k], out, 0.0)

    def advance(self, bound: FloatArray) -> None:
        """Stop the paths beyond this look's bound and go to the next look."""
        k = self.k
        self.k += 1
        if self.k == self.root.shape[1]:
            return
        high = np.clip(bound, _FLOOR + 1.0, _CEILING)
        low = -high if self.sides == 2 else np.full_like(high, _FLOOR)
        # What is integrated next is as smooth as the step that led here and the one that leads on.
        narrow = 1.0 / np.sqrt(1.0 / self.sigma[:, k] ** 2 + (self.rho[:, k + 1] / self.sigma[:, k + 1]) ** 2)
        x, w = _legendre(_node_count(float(((high - low) / narrow).max())))
        half = (high - low)[:, None] / 2.0
        nodes = low[:, None] + half * (1.0 + x)
        kernel = (nodes[:, :, None] - self.rho[:, k, None, None] * self.nodes[:, None, :]) / self.sigma[
            :, k, None, None
        ]
        np.multiply(kernel, kernel, out=kernel)
        kernel *= -0.5
        np.maximum(kernel, _FAINT, out=kernel)
        np.exp(kernel, out=kernel)
        density = np.matmul(kernel, self.mass[:, :, None])[:, :, 0] / (self.sigma[:, k, None] * _SQRT_2PI)
        self.nodes, self.mass = nodes, density * w * half


def _walks(information: FloatArray, sides: int) -> Iterator[tuple[slice, _Walk]]:
    """A batch in parts whose transition matrices fit."""
    growth = np.diff(information, axis=1) / np.maximum(information[:, 1:], 1e-300)
    news = max(float(np.min(growth, where=growth > 0, initial=1.0)), _LEAST_NEWS)
    size = max(1, _AT_ONCE // _node_count((_CEILING - _FLOOR) * math.sqrt(2.0 / news)) ** 2)
    for start in range(0, len(information), size):
        rows = slice(start, start + size)
        yield rows, _Walk(information[rows], sides)


def _looks_first(information: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Rows with their looks to the left and what repeats the one before to the right, and how they were ordered."""
    repeated = np.diff(information, axis=1, prepend=0.0) <= 0
    order = np.argsort(repeated, axis=1, kind="stable")
    # At the end information stands still.
    return order, np.maximum.accumulate(np.take_along_axis(information, order, 1), axis=1)


def _information(information: ArrayLike) -> FloatArray:
    t = np.atleast_1d(np.asarray(check_finite("information", information), dtype=np.float64))
    if (t < 0).any() or (np.diff(t, axis=-1) < 0).any():
        bound = "must be >= 0 and never fall from look to look"
        raise InvalidInputError(describe("information", t.tolist(), bound, "It is users so far over users planned."))
    return t


def _upper(u: FloatArray) -> FloatArray:
    from scipy.special import ndtr

    return np.asarray(ndtr(-u))


def _node_count(width: float) -> int:
    """Nodes for an interval of a width in units of what must be resolved: in steps, so that they are made once."""
    return 16 * math.ceil((_PER_WIDTH * width + 16) / 16)


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[FloatArray, FloatArray]:
    x, w = np.polynomial.legendre.leggauss(count)
    return x, w
