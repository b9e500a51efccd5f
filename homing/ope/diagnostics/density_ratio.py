"""How much likelier today's contexts are than the log's: a density ratio by classification, cross-fitted by user."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from homing.errors import SupportError, describe
from homing.ope.crossfit import user_folds
from homing.ope.estimate import Clusters
from homing.ope.logistic import ridge_logistic

FloatArray = NDArray[np.float64]
#: Penalty on squared coefficients of standardised features.
PENALTY = 1.0
#: exp of it squared, and summed over any log, is still a number.
LARGEST_LOG = 300.0


def density_ratio(
    log: FloatArray, today: FloatArray, clusters: Clusters, *, folds: int, rng: np.random.Generator
) -> FloatArray:
    """r(x) = p_today(x) / p_log(x) at the log's rows (n,), by a classifier that has not seen their users.

    A logistic regression tells today's rows from the log's: its odds, times n / m, are the ratio. Right where log
    density ratios are linear in the features (normals of one variance, changed frequencies of levels); otherwise the
    nearest such ratio. Its mean over the log is the share of today that is like anything in the log: 1, unless some of
    today's rows are apart from all of the log's.

    Args:
        log: (n, F), features.
        today: (m, F).
        clusters: of both, the log's rows first.
        folds: of the users.
        rng: splits them.

    Raises:
        InvalidInputError: if there are fewer users than folds.
        SupportError: if all of the log's rows, or of today's, are of users of one fold.

    References:
        Qin (1998), "Inferences for case-control and semiparametric two-sample density ratio models"; Bickel, Brückner
        and Scheffer (2009), "Discriminative Learning Under Covariate Shift", section 4.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, now = np.repeat([0.0, 1.0], [800, 200]), np.repeat([0.0, 1.0], [500, 500])
        >>> ratio = density_ratio(x[:, None], now[:, None], Clusters(np.arange(2000), 2000), folds=2, rng=rng)
        >>> [round(float(ratio[x == level].mean()), 1) for level in (0, 1)]  # 0.5 / 0.8, and 0.5 / 0.2
        [0.6, 2.5]
    """
    n = len(log)
    x = np.concatenate([log, today])
    spread = x.std(axis=0)
    x = np.column_stack([np.ones(len(x)), (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)])
    label = np.arange(len(x)) >= n
    fold = user_folds(clusters.code, folds, rng)
    exponent = np.empty(n)
    for number in range(folds):
        outside = fold != number
        positive = label[outside].astype(np.float64)
        for side, count in (("log", len(positive) - positive.sum()), ("today", positive.sum())):
            if not count:
                bound = "must be some, to compare these users with"
                raise SupportError(describe(f"rows of {side} from other users", 0, bound, "Give more of its users."))
        beta = ridge_logistic(x[outside], positive, np.ones(len(positive)), PENALTY)
        asked = np.flatnonzero(fold[:n] == number)
        exponent[asked] = x[asked] @ beta - math.log(positive.sum() / (len(positive) - positive.sum()))
    return np.exp(np.clip(exponent, -LARGEST_LOG, LARGEST_LOG))
