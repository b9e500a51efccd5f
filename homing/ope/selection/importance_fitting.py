"""A policy that the log can imitate: as close to the evaluated one as a bound on importance weights allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homing.errors import InvalidInputError, SupportError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.tails import kish
from homing.ope.estimators.mips import logging_policy
from homing.ope.intervals.base import FloatArray
from homing.ope.limits import SupportLimits

#: Bounds on weights that are tried, the least first: a subsample then keeps 1/2, 1/5 … of the decisions.
_BOUNDS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Imitation:
    """What a log's own subsample says as if the policy had logged it.

    Attributes:
        probs: (n, k), the policy that is imitated.
        weight: (n,), its importance weights on the logged decisions, at most 1 / `share`.
        share: of each decision's chance to be in the subsample: keeping a decision with probability share · weight
            leaves decisions that are distributed as under `probs`, in the same contexts.
        distance: mean total variation between it and the evaluated policy.
        ess: effective sample size of its weights.
    """

    probs: FloatArray
    weight: FloatArray
    share: float
    distance: float
    ess: float


def imitate(dataset: LoggedDataset, probs: FloatArray, *, max_distance: float = 0.05) -> Imitation:
    """Fit importance weights that a subsample of the log can have to those of a policy.

    A subsample that keeps decision (x, a) with probability ρ(x, a) is distributed as if logged by π̃ ∝ p ρ, p the
    logging policy. Here ρ = share · w̃ with weights w̃ that solve, for each decision, the convex problem

        minimise Σ_a p(a|x) (w̃(x, a) - π(a|x) / p(a|x))²  subject to  0 <= w̃ <= 1 / share,  Σ_a p(a|x) w̃(x, a) = 1:

    the weights closest to the policy's that are bounded, by projection. As every context is kept with the same
    probability, the subsample's contexts are the log's. The largest share from 1/2 down to 1/1000 is taken for which π̃
    differs from π by no more than `max_distance` in total variation.

    Args:
        dataset: a log that says how likely every candidate was: with `probs`, or uniformly random.
        probs: (n, k), the policy's probabilities.
        max_distance: mean total variation that is borne.

    Raises:
        InvalidInputError: if the logging policy's whole distribution is not known.
        SupportError: if no subsample is close enough, or the closest is worth too few decisions.

    References:
        Udagawa, Kiyohara, Narita, Saito and Tateno (2023), "Policy-Adaptive Estimator Selection for Off-Policy
        Evaluation", section 4, for subsampling and importance fitting; there ρ is a neural network trained by gradient
        descent, and contexts are not kept.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((900, 1)), candidates=np.zeros((900, 3, 1)), eligible=np.ones((900, 3), bool),
        ...     action=np.arange(900) % 3, propensity=np.full(900, 1 / 3), reward=np.zeros((900, 1)),
        ...     objectives=("clicked",), user=np.arange(900), time=np.arange(900))
        >>> found = imitate(data, np.tile([0.0, 0.1, 0.9], (900, 1)))
        >>> found.share, found.distance, found.weight[:3].round(2).tolist()
        (0.2, 0.0, [0.0, 0.3, 2.7])
    """
    try:
        logging = logging_policy(dataset)
    except InvalidInputError as error:
        raise InvalidInputError(
            describe(
                "dataset.probs",
                None,
                "must hold the logging policy's whole distribution, to tell how a subsample of the log is distributed",
                "Log `propensities` with each decision, or choose by `tune`, which does without.",
            )
        ) from error
    ratio = np.divide(probs, logging, out=np.zeros_like(probs), where=logging > 0.0)
    distance = 1.0
    for top in _BOUNDS:
        weight = project(ratio, logging, top)
        imitated = logging * weight
        distance = 0.5 * float(np.abs(imitated - probs).sum(axis=1).mean())
        if distance <= max_distance:
            break
    else:
        raise SupportError(
            describe(
                "distance of the closest subsample from the policy",
                round(distance, 3),
                f"must be <= {max_distance:g} in total variation",
                "The log does too little of what the policy does to say which estimator suits it.",
            )
        )
    logged = weight[np.arange(dataset.n), dataset.action]
    ess = kish(logged)
    least = SupportLimits().refuse_ess
    if ess < least:
        raise SupportError(
            describe(
                "effective sample size of the subsample",
                round(ess, 1),
                f"must be >= {least:g}",
                "The log says too little of the policy to tell which estimator suits it.",
            )
        )
    return Imitation(imitated, logged, 1.0 / top, distance, ess)


def project(ratio: FloatArray, logging: FloatArray, top: float) -> FloatArray:
    """The weights (n, k) in [0, top] of mean 1 under `logging` that are closest to `ratio` (n, k) in mean square.

    They are min(ratio + s, top), with s >= 0 such that the mean is 1: its mean is concave and piecewise linear in s, so
    that Newton's method from 0 climbs to the root without passing it, in at most k + 1 steps.

    Args:
        ratio: weights >= 0 of mean at most 1 under `logging`.
        logging: (n, k), probabilities; rows sum to 1.
        top: bound, above 1.

    Example:
        >>> project(np.array([[4.0, 0.5, 0.0]]), np.array([[0.2, 0.4, 0.4]]), 2.0).round(9).tolist()
        [[2.0, 1.0, 0.5]]
    """
    shift = np.zeros((len(ratio), 1))
    for _ in range(ratio.shape[1] + 1):
        raised = ratio + shift
        missing = 1.0 - (logging * np.minimum(raised, top)).sum(axis=1, keepdims=True)
        free = (logging * (raised < top)).sum(axis=1, keepdims=True)
        open_rows = (missing > 1e-12) & (free > 0.0)
        if not open_rows.any():
            break
        shift = shift + np.divide(missing, free, out=np.zeros_like(shift), where=open_rows)
    return np.minimum(ratio + shift, top)
