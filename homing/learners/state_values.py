"""What a user's state is worth under the log's own policy, and sums of what came of it.

V is fitted by least-squares temporal differences (Bradtke and Barto 1996, "Linear Least-Squares Algorithms for Temporal
Difference Learning", Machine Learning 22) with semi-Markov discounting γ^days.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from homing.learners.transitions import Gaps

FloatArray = NDArray[np.float64]
#: A standardised number is cut here before it is squared.
MOST_DEVIATIONS = 4.0
BATCH_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class StateValues:
    """V(x) = θᵀφ(x), with φ = (1, x, x² − 1, and x times each permission).

    Attributes:
        theta: float64 (f, m).
        permissions: int64 (h,), the context columns that tell which channels are open.
    """

    theta: FloatArray
    permissions: NDArray[np.int64]

    def of(self, context: NDArray[np.float32]) -> FloatArray:
        """V (n, m) of contexts (n, d)."""
        parts = [
            features(context[begin : begin + BATCH_ROWS], self.permissions) @ self.theta
            for begin in range(0, len(context), BATCH_ROWS)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.theta.shape[1]))

    def of_permission(self) -> FloatArray:
        """What each permission adds to V, (h, m, 1 + d), linear in (1, x): V where it is given less V where it is not.

        A permission's own column is 0 or 1; its square and its product with itself are the same number.
        """
        d = (len(self.theta) - 1) // (2 + len(self.permissions))
        linear, square = self.theta[1 : 1 + d], self.theta[1 + d : 1 + 2 * d]
        out = np.zeros((len(self.permissions), self.theta.shape[1], 1 + d))
        for h, column in enumerate(self.permissions):
            times = self.theta[1 + (2 + h) * d : 1 + (3 + h) * d]
            out[h, :, 0] = linear[column] + square[column] + times[column]
            out[h, :, 1:] = times.T
            out[h, :, 1 + column] = 0.0
            for other, its in enumerate(self.permissions):
                if other != h:  # x_other · x_column appears in the other's block too
                    cross = self.theta[1 + (2 + other) * d + column]
                    out[h, :, 1 + its] += cross
        return out


def features(context: NDArray[np.floating], permissions: NDArray[np.int64]) -> FloatArray:
    """φ (n, 1 + (2 + h) d) of contexts (n, d)."""
    x = np.clip(np.asarray(context, dtype=np.float64), -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return np.concatenate([np.ones((len(x), 1)), x, x**2 - 1.0, *(x[:, [p]] * x for p in permissions)], axis=1)


def fit_values(
    context: NDArray[np.float32],
    reward: FloatArray,
    gaps: Gaps,
    going: FloatArray,
    permissions: NDArray[np.int64],
    ridge: float,
) -> StateValues:
    """Solve Σ φ_i (φ_i − g_i φ_{i+1})ᵀ θ = Σ φ_i r_i over the decisions whose sequel is known.

    Args:
        context: (n, d).
        reward: (n, m), until the user's next decision.
        gaps: where journeys go on.
        going: float64 (n,), g: discount until the next decision, 0 where there will be none.
        permissions: see `StateValues`.
        ridge: added to the diagonal, in observations; not to the constant.
    """
    rows = np.flatnonzero(~gaps.truncated)
    size = 1 + (2 + len(permissions)) * context.shape[1]
    left, right = np.zeros((size, size)), np.zeros((size, reward.shape[1]))
    for begin in range(0, len(rows), BATCH_ROWS):
        some = rows[begin : begin + BATCH_ROWS]
        now, later = features(context[some], permissions), features(context[gaps.next[some]], permissions)
        left += now.T @ (now - going[some, None] * later)
        right += now.T @ reward[some]
    left[np.diag_indices(size)] += np.where(np.arange(size) > 0, ridge, 1e-9)
    theta = np.linalg.lstsq(left, right, rcond=1e-12)[0]
    return StateValues(theta, permissions)


def discounted_sums(values: FloatArray, rate: float, gaps: Gaps, user: NDArray[np.int64]) -> FloatArray:
    """Σ_{l >= i} rate^(days from i to l) values_l over the user's decisions from i on, (n, m)."""
    out = values.copy()
    order = np.argsort(user, kind="stable")
    # From the back, one step of all users at once: a decision's place counts from its user's last one.
    starts = np.flatnonzero(np.diff(user[order], prepend=-1) != 0)
    lengths = np.diff(np.append(starts, len(order)))
    from_back = np.repeat(starts + lengths, lengths) - np.arange(len(order)) - 1
    by_place = order[np.argsort(from_back, kind="stable")]
    bounds = np.searchsorted(np.sort(from_back), np.arange(1, int(lengths.max(initial=1)) + 1))
    factor = rate**gaps.days
    for begin, end in pairwise(bounds):
        rows = by_place[begin:end]
        out[rows] += factor[rows, None] * out[gaps.next[rows]]
    return out
