"""What a user's state is worth under the log's own policy, and what each decision's outcome was worth beyond that.

V is fitted by least-squares temporal differences (Bradtke and Barto 1996, "Linear Least-Squares Algorithms for Temporal
Difference Learning", Machine Learning 22) with semi-Markov discounting γ^days. The outcome of decision i is then

    Y_i = Σ_{l >= i} (γλ)^(days from i to l) δ_l,     δ_l = r_l + γ^(days to l+1) V(s_{l+1}) − V(s_l),

the generalised advantage of Schulman et al. (2016, arXiv 1506.02438, eq. 16) with γ and λ per day instead of per step:
its mean given state and action is the advantage of the action under the log's policy if V is right, or λ is 1, and V
only takes away variance. δ_i is what shows at once: what happened until the next decision, and what the state is then
worth. What a message does that the state does not show (a habit, an annoyance) comes later, and is seen as long as the
trace lasts. Rewards until the next decision alone would not do: a message that is sent no longer waits, which puts the
next decision off.
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
#: How far the precision of outcomes may be from its median, as a factor.
MOST_PRECISE = 10.0
PRECISION_RIDGE = 100.0


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


def expected(
    context: NDArray[np.float32], reward: FloatArray, permissions: NDArray[np.int64], ridge: float
) -> FloatArray:
    """E[r | s] (n, m) by ridge regression on φ: what the states tell of rewards.

    Args:
        context: (n, d).
        reward: (n, m).
        permissions: see `StateValues`.
        ridge: in observations; not on the constant.
    """
    size = 1 + (2 + len(permissions)) * context.shape[1]
    left, right = np.zeros((size, size)), np.zeros((size, reward.shape[1]))
    for begin in range(0, len(context), BATCH_ROWS):
        now = features(context[begin : begin + BATCH_ROWS], permissions)
        left += now.T @ now
        right += now.T @ reward[begin : begin + BATCH_ROWS]
    left[np.diag_indices(size)] += np.where(np.arange(size) > 0, ridge, 1e-9)
    return StateValues(np.linalg.lstsq(left, right, rcond=1e-12)[0], permissions).of(context)


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


def outcomes(
    reward: FloatArray, value: FloatArray, gaps: Gaps, going: FloatArray, trace: float, user: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """δ (n, m) and Y − δ (n, m), see above; where a journey is cut off nothing is known of the future, and δ is 0.

    Args:
        reward: (n, m).
        value: (n, m), V of each decision's state.
        gaps: where journeys go on.
        going: (n,), as for `fit_values`.
        trace: γλ per day.
        user: of each row, rows of one user in time order.

    Example:
        One user, two decisions a day apart, V = 1 everywhere: the second is cut off.

        >>> gaps = Gaps(np.array([1, 1]), np.array([1.0, 0.0]), np.zeros(2, bool), np.array([False, True]), 9.0)
        >>> going = np.array([0.5, 0.0])
        >>> at_once, later = outcomes(np.array([[2.0], [5.0]]), np.ones((2, 1)), gaps, going, 0.5, np.zeros(2))
        >>> at_once.tolist(), later.tolist()
        ([[1.5], [0.0]], [[0.0], [0.0]])
    """
    delta = np.where(gaps.truncated[:, None], 0.0, reward + going[:, None] * value[gaps.next] - value)
    return delta, discounted_sums(delta, trace, gaps, user) - delta


def precision_of(outcome: FloatArray, context: NDArray[np.float32], permissions: NDArray[np.int64]) -> FloatArray:
    """1 / Var(Y | s), up to a factor, (n,): log-linear in φ, within a factor of `MOST_PRECISE` of its median.

    Users who come often vary more, whatever is sent to them; weights of the state alone leave effects unbiased where
    these are as the features say (Harvey 1976, "Estimating Regression Models with Multiplicative Heteroscedasticity").

    Args:
        outcome: (n,), mean about 0.
        context: (n, d).
        permissions: see `StateValues`.
    """
    floor = 0.01 * float(np.mean(outcome**2)) + 1e-12
    size = np.log(outcome**2 + floor)
    told = -expected(context, size[:, None], permissions, PRECISION_RIDGE)[:, 0]
    told -= np.median(told)
    out: FloatArray = np.exp(np.clip(told, -np.log(MOST_PRECISE), np.log(MOST_PRECISE)))
    return out


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
