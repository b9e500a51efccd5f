"""The numbers behind an alert: how far a column moved, and whether chance explains it.

Notation: two windows w in {reference, current}, n_w rows of G_w users, K bins, p_wk the share of bin k in window w,
p_k the pooled share. Rows of one user are not independent, so every variance is clustered by user.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Numeric columns are cut at the reference's quantiles into this many bins (fewer where values tie).
NUMERIC_BINS = 10
#: A numeric column with at most this many distinct values is compared value by value.
DISCRETE_VALUES = 12
#: Bins expected to hold fewer rows than this in the smaller window are pooled (Cochran's rule for chi-square tests).
MINIMUM_EXPECTED = 5.0
MISSING, OTHER = "(missing)", "(rare)"


@dataclass(frozen=True)
class Shift:
    """How far one column moved between two windows.

    Attributes:
        psi: population stability index in excess of what sampling noise alone gives, >= 0.
        p_value: probability of a difference this large between two windows of one population.
        labels: the bins, K.
        reference: shares of the bins in the reference window, (K,).
        current: shares in the current window, (K,).
        design_effect: how many times the clustering by user inflates the variance, >= 1.
    """

    psi: float
    p_value: float
    labels: tuple[str, ...]
    reference: NDArray[np.float64]
    current: NDArray[np.float64]
    design_effect: float

    @property
    def constant(self) -> bool:
        """True if only one bin is left: nothing to compare."""
        return len(self.labels) < 2

    def largest_change(self) -> str:
        """The bin whose share moved most, for people."""
        if self.constant:
            return "constant"
        k = int(np.argmax(np.abs(self.current - self.reference)))
        return f"{self.labels[k]}: {self.reference[k]:.1%} → {self.current[k]:.1%}"


def population_shift(
    reference: Sequence[object] | NDArray[np.generic],
    current: Sequence[object] | NDArray[np.generic],
    reference_user: NDArray[np.generic],
    current_user: NDArray[np.generic],
) -> Shift:
    """Compare one column of two windows.

    The distance is PSI = Σ_k (p_1k - p_2k) ln(p_1k / p_2k), less its expectation under no shift. The p-value is that
    of Pearson's chi-square on the K bins with the second-order Rao-Scott correction: the statistic
    Σ_k (p_1k - p_2k)² / p_k is a weighted sum of chi-squares whose weights are the eigenvalues of
    diag(p)^-½ (V_1 + V_2) diag(p)^-½, V_w the covariance of p_w clustered by user; Satterthwaite's two moments match
    it, and an F reference with the users' degrees of freedom allows for V being estimated.

    Wrong to use when a user's rows are not a sample of that user's decisions, or on fewer than about ten users.

    Args:
        reference: (n_1,) numbers (NaN is missing) or strings (None is missing).
        current: (n_2,).
        reference_user: (n_1,) user codes or ids.
        current_user: (n_2,).

    References:
        Rao, J. N. K. and Scott, A. J. (1984). On chi-squared tests for multiway contingency tables with cell
        proportions estimated from survey data. Annals of Statistics 12.

    Example:
        >>> users = np.arange(1000)
        >>> same = population_shift(["a", "b"] * 500, ["a", "b"] * 500, users, users + 1000)
        >>> same.psi, round(same.p_value, 2)
        (0.0, 1.0)
        >>> moved = population_shift(["a", "b"] * 500, ["a", "b", "b", "b"] * 250, users, users + 1000)
        >>> moved.psi > 0.1, moved.p_value < 1e-6, moved.largest_change()
        (True, True, 'a: 50.0% → 25.0%')
    """
    codes, labels = _bins(reference, current)
    n = (len(reference), len(current))
    one, two = codes[: n[0]], codes[n[0] :]
    one, two, labels = _pool_rare(one, two, labels)
    size = len(labels)
    shares = np.stack([np.bincount(one, minlength=size) / n[0], np.bincount(two, minlength=size) / n[1]])
    if size < 2:
        return Shift(0.0, 1.0, labels, shares[0], shares[1], 1.0)
    pooled = (n[0] * shares[0] + n[1] * shares[1]) / (n[0] + n[1])
    scale = 1.0 / np.sqrt(pooled)
    parts, freedom = [], []
    for code, user, share in ((one, reference_user, shares[0]), (two, current_user, shares[1])):
        covariance, users = _clustered_covariance(code, user, share)
        parts.append(covariance * scale[:, None] * scale[None, :])
        freedom.append(users - 1)
    # Independent rows are the floor: users whose rows avoid one another would make the test too eager.
    independent = (size - 1) * (1 / n[0] + 1 / n[1])
    total = parts[0] + parts[1]
    trace = float(np.trace(total))
    effect = max(trace / independent, 1.0)
    degrees = trace**2 / float((total**2).sum()) if trace > 0 else float(size - 1)
    denominators = [np.trace(part) ** 2 / max(f, 1) for part, f in zip(parts, freedom, strict=True)]
    within = trace**2 / max(sum(denominators), 1e-300) if trace > 0 else float(sum(freedom))
    statistic = float(((shares[0] - shares[1]) ** 2 / pooled).sum())
    noise = float(independent * effect)
    p_value = f_tail(statistic / noise, degrees, max(within, 1.0))
    smooth = [(share * rows + 0.5) / (rows + 0.5 * size) for share, rows in zip(shares, n, strict=True)]
    psi = float(((smooth[0] - smooth[1]) * np.log(smooth[0] / smooth[1])).sum())
    return Shift(max(psi - noise, 0.0), p_value, labels, shares[0], shares[1], float(effect))


@dataclass(frozen=True)
class Calibration:
    """How well predicted rewards match observed ones.

    Attributes:
        error: expected calibration error Σ_b n_b/n |mean observed - mean predicted|, in units of the reward.
        bias: mean observed - mean predicted.
        predicted: mean prediction of each bin, (B,).
        observed: mean reward of each bin, (B,).
        share: share of the rows in each bin, (B,).
    """

    error: float
    bias: float
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    share: NDArray[np.float64]


def calibration(predicted: NDArray[np.floating], observed: NDArray[np.floating], *, bins: int = 10) -> Calibration:
    """Expected calibration error over bins of equal size by prediction.

    Biased upwards in small samples (noise of each bin counts as error): compare it with another window's, or use
    `calibration_shift`, which tests the difference.

    Example:
        >>> result = calibration(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0.0, 0.0, 1.0, 0.0]), bins=2)
        >>> round(result.error, 2), round(result.bias, 2)
        (0.25, -0.25)
    """
    predicted, observed = np.asarray(predicted, np.float64), np.asarray(observed, np.float64)
    bin_of = _equal_size_bins(predicted, predicted, bins)
    size = int(bin_of.max(initial=0)) + 1
    count = np.bincount(bin_of, minlength=size)
    keep = count > 0
    mean_predicted = np.bincount(bin_of, predicted, size)[keep] / count[keep]
    mean_observed = np.bincount(bin_of, observed, size)[keep] / count[keep]
    share = count[keep] / max(len(predicted), 1)
    error = float((share * np.abs(mean_observed - mean_predicted)).sum())
    return Calibration(error, float((observed - predicted).mean()), mean_predicted, mean_observed, share)


def calibration_shift(
    reference: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.generic]],
    current: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.generic]],
    *,
    rows_per_bin: int = 200,
) -> tuple[float, float]:
    """Did the prediction error change? Compares residuals r - q by bin of prediction.

    The effect is Σ_b (n_b / n) |mean residual now - mean residual then| beyond what noise gives, in standard
    deviations of the reference's reward; the p-value is a Wald test on the B bins with variances clustered by user.
    The variance of the current window is never taken below the reference's: a window without any event would
    otherwise be certain of its mean.

    Args:
        reference: predicted (n_1,), observed (n_1,) and user (n_1,).
        current: the same of the current window, (n_2,) each.
        rows_per_bin: one bin for every so many current rows, at most 10.

    Returns:
        effect >= 0 and p-value.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> q = rng.uniform(0.2, 0.8, 4000)
        >>> r = (rng.random(4000) < q).astype(float)
        >>> now = (rng.random(4000) < q - 0.15).astype(float)
        >>> effect, p_value = calibration_shift((q, r, np.arange(4000)), (q, now, np.arange(4000)))
        >>> effect > 0.1, p_value < 1e-6
        (True, True)
    """
    bins = int(np.clip(len(current[0]) // rows_per_bin, 1, 10))
    edges_from = np.asarray(reference[0], np.float64)
    difference, variance, share, degrees = [], [], [], []
    bin_one = _equal_size_bins(edges_from, edges_from, bins)
    bin_two = _equal_size_bins(edges_from, np.asarray(current[0], np.float64), bins)
    for b in np.unique(bin_one):
        then, now = bin_one == b, bin_two == b
        if now.sum() < 2 or then.sum() < 2:
            continue
        mean_then, var_then, users_then, spread = _clustered_mean(
            reference[1][then] - reference[0][then], reference[2][then]
        )
        mean_now, var_now, users_now, _ = _clustered_mean(current[1][now] - current[0][now], current[2][now])
        difference.append(mean_now - mean_then)
        variance.append(var_then + max(var_now, spread / int(now.sum())))
        share.append(int(now.sum()))
        degrees.append(min(users_then, users_now) - 1)
    if not difference or max(variance) <= 0:
        return 0.0, 1.0
    delta, var, weight = np.array(difference), np.maximum(variance, 1e-300), np.array(share) / sum(share)
    p_value = f_tail(float((delta**2 / var).mean()), len(delta), max(min(degrees), 1))
    # E|N(0, v)| = sqrt(2 v / π): what pure noise adds to the mean absolute difference.
    excess = float((weight * np.abs(delta)).sum() - (weight * np.sqrt(2 * var / np.pi)).sum())
    deviation = float(np.std(reference[1]))
    return (max(excess, 0.0) / deviation if deviation > 0 else 0.0), p_value


def mean_weight(weights: NDArray[np.floating], user: NDArray[np.generic]) -> tuple[float, float, float]:
    """Mean importance weight, its standard error clustered by user, and the two-sided p-value of "the mean is 1".

    Weights π(a|x) / p of any policy average 1 over the log when p is the probability with which a was drawn and the
    log supports π. A mean away from 1 says that propensities are logged wrong, or that support is missing.

    Example:
        >>> mean, error, p_value = mean_weight(np.array([0.5, 1.5] * 200), np.arange(400))
        >>> mean, round(error, 3), round(p_value, 2)
        (1.0, 0.025, 1.0)
    """
    mean, variance, users, _ = _clustered_mean(np.asarray(weights, np.float64), user)
    error = float(np.sqrt(variance))
    if error == 0.0:
        return mean, 0.0, 1.0 if abs(mean - 1.0) < 1e-9 else 0.0
    return mean, error, f_tail(((mean - 1.0) / error) ** 2, 1, max(users - 1, 1))


def _bins(reference: object, current: object) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """One code per row of both windows, reference first, and the bins' labels."""
    one, two = np.asarray(reference), np.asarray(current)
    if one.dtype.kind in "fiub" and two.dtype.kind in "fiub":
        values = np.concatenate([one, two]).astype(np.float64)
        seen = np.unique(values[~np.isnan(values)])
        if len(seen) <= DISCRETE_VALUES:
            codes = np.searchsorted(seen, values)
            labels = [f"{value:.4g}" for value in seen]
        else:
            known = one[~np.isnan(one.astype(np.float64))].astype(np.float64)
            cuts = np.quantile(known if len(known) else seen, np.linspace(0, 1, NUMERIC_BINS + 1)[1:-1])
            edges = np.unique(cuts)
            codes = np.searchsorted(edges, values, side="left")
            labels = [f"≤ {edges[0]:.4g}", *(f"({a:.4g}, {b:.4g}]" for a, b in itertools.pairwise(edges))]
            labels.append(f"> {edges[-1]:.4g}")
        missing = np.isnan(values)
    else:
        mixed = np.concatenate([one.astype(object), two.astype(object)])
        missing = np.array([value is None or value != value for value in mixed])
        names = np.where(missing, "", mixed).astype(str)
        levels, codes = np.unique(names[~missing], return_inverse=True)
        full = np.zeros(len(names), dtype=np.int64)
        full[~missing] = codes
        codes, labels = full, [str(level) for level in levels]
    codes = np.where(missing, len(labels), codes).astype(np.int64)
    return codes, (*labels, MISSING)


def _pool_rare(
    one: NDArray[np.int64], two: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Join the bins that are too rare to compare; drop the empty ones."""
    size = len(labels)
    count = np.bincount(one, minlength=size) + np.bincount(two, minlength=size)
    expected = count / (len(one) + len(two)) * min(len(one), len(two))
    kept = np.flatnonzero(expected >= MINIMUM_EXPECTED)
    rare = (count > 0) & (expected < MINIMUM_EXPECTED)
    new = np.full(size, len(kept), dtype=np.int64)
    new[kept] = np.arange(len(kept))
    names = [labels[k] for k in kept]
    if rare.any():
        if expected[rare].sum() >= MINIMUM_EXPECTED or not len(kept):
            names.append(OTHER if rare.sum() > 1 else labels[int(np.flatnonzero(rare)[0])])
        else:  # too few even together: they go to the smallest bin that is kept
            new[rare] = int(np.argmin(count[kept]))
    return new[one], new[two], tuple(names)


def _clustered_covariance(
    codes: NDArray[np.int64], user: NDArray[np.generic], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """Covariance (K, K) of the shares of K bins when rows come in users, and the number of users."""
    n, size = len(codes), len(share)
    _, group = np.unique(user, return_inverse=True)
    users = int(group.max()) + 1
    if users < 2:
        return np.zeros((size, size)), users
    # Sparse: only the (user, bin) pairs that occur; Σ_g (n_gk - n_g p_k)(n_gl - n_g p_l) expands into three terms.
    pair, times = np.unique(group * size + codes, return_counts=True)
    per_user = np.bincount(group, minlength=users).astype(np.float64)
    cross = np.zeros((size, size))
    owner, bin_of = pair // size, pair % size
    starts = np.searchsorted(owner, np.arange(users + 1))
    single = np.diff(starts) == 1
    alone = single[owner]
    np.add.at(cross, (bin_of[alone], bin_of[alone]), times[alone].astype(np.float64) ** 2)
    for g in np.flatnonzero(~single):
        rows = slice(starts[g], starts[g + 1])
        cross[np.ix_(bin_of[rows], bin_of[rows])] += np.outer(times[rows], times[rows])
    linear = np.bincount(bin_of, times * per_user[owner], size)
    centred = cross - np.outer(linear, share) - np.outer(share, linear) + (per_user**2).sum() * np.outer(share, share)
    return centred * users / (users - 1) / n**2, users


def _clustered_mean(values: NDArray[np.float64], user: NDArray[np.generic]) -> tuple[float, float, int, float]:
    """Mean, its variance clustered by user, the number of users, and the variance of one value."""
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    _, group = np.unique(user, return_inverse=True)
    users = int(group.max()) + 1
    total = np.bincount(group, values - mean)
    variance = float((total**2).sum()) / len(values) ** 2 * users / max(users - 1, 1)
    return mean, variance, users, float(values.var())


def _equal_size_bins(edges_from: NDArray[np.float64], values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    edges = np.unique(np.quantile(edges_from, np.linspace(0, 1, bins + 1)[1:-1])) if bins > 1 else np.empty(0)
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def f_tail(statistic: float, degrees: float, within: float) -> float:
    """P(F > statistic) for F with `degrees` and `within` degrees of freedom; both may be fractional.

    The regularised incomplete beta function by its continued fraction (modified Lentz), so that a drift run needs no
    SciPy. Relative error below 1e-7 for degrees up to 10 million, see the test against SciPy.

    References:
        Press, W. H. et al. (2007). Numerical Recipes, 3rd edition, section 6.4.

    Example:
        >>> round(f_tail(3.841458820694124, 1, 1e7), 4)
        0.05
    """
    if not statistic > 0.0:
        return 1.0
    share = float(within / (within + degrees * statistic))
    return _incomplete_beta(within / 2, degrees / 2, share)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    a, b = float(a), float(b)
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return fraction
