"""SLOPE: the most stable of estimators that trade bias for variance, chosen by the log, with an honest interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_one_of, check_probability
from homing.errors import InvalidInputError, SupportError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.estimate import Clusters, Estimate, cluster_influence, interval
from homing.ope.estimators import ClippedIPS, DRos, DRps, Estimator, RowEstimate, Rows, SwitchDR

FloatArray = NDArray[np.float64]
#: Estimators with one setting, from a threshold on weights to the estimator with it; all shrink more below than above.
FAMILIES: dict[str, Callable[[float], Estimator]] = {
    "clipped-ips": lambda tau: ClippedIPS(tau=tau),
    "switch-dr": lambda tau: SwitchDR(tau=tau),
    "drps": lambda tau: DRps(tau=tau),
    "dros": lambda tau: DRos(lam=tau**2),
}


@dataclass(frozen=True)
class Candidate:
    """One estimator that SLOPE looked at.

    Attributes:
        estimator: its name.
        settings: its details, such as the threshold.
        estimate: its value with the interval of its variance alone, at the level of all candidates together.
        kept: whether SLOPE reached it: the intervals up to it have a point in common.
    """

    estimator: str
    settings: Mapping[str, float]
    estimate: Estimate
    kept: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "settings": dict(self.settings)}


@dataclass(frozen=True)
class Selection:
    """What SLOPE chose.

    Attributes:
        estimate: the chosen value with an honest interval, which covers the policy's value whatever was chosen.
        interval_by: `bounds`: by the declared range of rewards; `unbiased`: by the first candidate alone.
        chosen: index of the chosen candidate.
        candidates: all, least biased first.
    """

    estimate: Estimate
    interval_by: str
    chosen: int
    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "estimate": self.estimate.to_dict(),
            "interval_by": self.interval_by,
            "chosen": self.chosen,
            "candidates": [item.to_dict() for item in self.candidates],
        }


def slope(
    rows: Rows,
    candidates: Sequence[Estimator],
    clusters: Clusters,
    *,
    level: float = 0.95,
    reward_range: tuple[float, float] | None = None,
) -> Selection:
    """Choose among estimators of growing bias and falling variance, without knowing the bias.

    With θ_i and c_i the value of candidate i and the half width of its interval at the level of all candidates
    together, the choice is the last i for which the intervals θ_j ± 2 c_j, j <= i, have a point in common (Lepski's
    principle): up to there, what biases differ by is no more than what chance explains. Its error is at most
    6 (1 + 1 / κ) times that of the best candidate, κ the least ratio of neighbours' half widths, if bias grows and
    c falls along the candidates.

    No interval around the chosen value can be shorter than the least biased candidate's without knowing more: the bias
    is known no better than that one's variance allows. `estimate` therefore has the first candidate's interval, unless
    the range [lo, hi] of rewards is declared. Then shrunken weights ŵ <= w bound the value by themselves,
    lo + E[ŵ (r - lo)] <= V <= hi - E[ŵ (hi - r)], whatever the rewards of what was cut off or never tried; the interval
    is what the confidence limits of all candidates' bounds have in common, made at simultaneous level (Bonferroni).
    Candidates with weights as they are add their own intervals, unless the mean weight speaks against full support.
    The chosen value is moved into the interval where it lies outside.

    Wrong to use where the first candidate is itself biased, or where candidates are not ordered.

    Args:
        rows: weights, rewards and predictions.
        candidates: estimators that are means over rows, least biased first; the first with weights as they are.
        clusters: the independent units.
        level: of the honest interval, and of all candidates together.
        reward_range: least and greatest possible reward, by design.

    Returns:
        A `Selection`.

    Raises:
        InvalidInputError: if there is no candidate, or rewards lie outside their range.

    References:
        Su, Srinath and Krishnamurthy (2020), "Adaptive Estimator Selection for Off-Policy Evaluation", section 3 and
        theorem 3; Bottou et al. (2013), "Counterfactual Reasoning and Learning Systems", section 4.3, for bounds by
        clipped weights.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> weight = rng.pareto(1.2, 2000)
        >>> rows = Rows(weight / weight.mean(), (rng.random(2000) < 0.3).astype(float))
        >>> clipped = [ClippedIPS(tau=tau) for tau in (1e6, 30.0, 10.0, 3.0)]
        >>> found = slope(rows, clipped, Clusters(np.arange(2000), 2000), reward_range=(0.0, 1.0))
        >>> found.chosen, found.estimate.lower < 0.3 < found.estimate.upper
        (3, True)
    """
    check_probability("level", level)
    if not candidates:
        raise InvalidInputError(describe("candidates", [], "must hold at least one estimator"))
    each = 1.0 - (1.0 - level) / len(candidates)
    results = [estimator(rows) for estimator in candidates]
    estimates = [_interval(result, clusters, each) for result in results]
    # ∩ of θ_j ± 2 c_j for j <= i is not empty as long as the largest lower end stays below the least upper end.
    values = np.array([item.value for item in estimates])
    wide = np.array([item.upper - item.lower for item in estimates])  # 2 c
    common = np.maximum.accumulate(values - wide) <= np.minimum.accumulate(values + wide)
    kept = np.logical_and.accumulate(common)
    chosen = int(np.flatnonzero(kept)[-1])
    if reward_range is None:
        honest, by = _interval(results[0], clusters, level), "unbiased"
        lower, upper = honest.lower, honest.upper
    else:
        lower, upper = _bounded(rows, candidates, results, clusters, each, reward_range)
        by = "bounds"
    value = float(np.clip(values[chosen], lower, upper))
    picked = estimates[chosen]
    kind = "cluster-t" if by == "unbiased" else "bounded"
    return Selection(
        estimate=Estimate(value, picked.std_error, lower, upper, level, picked.df, kind),
        interval_by=by,
        chosen=chosen,
        candidates=tuple(
            Candidate(estimator.name, dict(result.details), item, bool(reached))
            for estimator, result, item, reached in zip(candidates, results, estimates, kept, strict=True)
        ),
    )


def tune(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    family: str = "clipped-ips",
    *,
    q_hat: ArrayLike | None = None,
    thresholds: Sequence[float] | None = None,
    clusters: Clusters | None = None,
    level: float = 0.95,
    reward_ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Selection]:
    """Choose the threshold of a family of estimators by SLOPE, for each objective of a log.

    Args:
        dataset: the log.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        family: a name from `FAMILIES`.
        q_hat: (n, k) or (n, k, m), predictions fitted on other users; needed by all but `clipped-ips`.
        thresholds: on weights; a grid of eight from the largest weight down to 1 when not given.
        clusters: rows that may depend on each other; users by default.
        level: of the honest intervals.
        reward_ranges: by objective, the least and the greatest possible reward; they make intervals shorter.

    Returns:
        A `Selection` for each objective.

    Raises:
        InvalidInputError: if probabilities or predictions do not fit the log, or rewards lie outside their range.
        UnknownNameError: if there is no such family.
        SupportError: if the policy never takes a logged action, and a reward's range is not given.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> n = 2000
        >>> action = (rng.random(n) < 0.1).astype(int)
        >>> data = LoggedDataset(
        ...     context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
        ...     propensity=np.where(action, 0.1, 0.9), reward=(rng.random(n) < 0.2 + 0.2 * action)[:, None],
        ...     objectives=("clicked",), user=np.arange(n), time=np.arange(n))
        >>> found = tune(data, np.tile([0.5, 0.5], (n, 1)), reward_ranges={"clicked": (0.0, 1.0)})["clicked"]
        >>> print(found.estimate)  # the truth is 0.3
        0.2361 [0.2361, 0.3443]
    """
    from homing.ope.table import check_action_probs, check_predictions

    check_one_of("family", family, FAMILIES)
    probs = check_action_probs(dataset, action_probs)
    clusters = clusters or Clusters.of(dataset.user)
    at = np.arange(dataset.n)
    weight = probs[at, dataset.action] / dataset.propensity
    q = None
    if q_hat is not None:
        q = check_predictions(dataset, q_hat)
    elif family != "clipped-ips":
        raise InvalidInputError(describe("q_hat", None, f"is needed by {family}", "Pass a reward model's predictions."))
    grid = threshold_grid(weight) if thresholds is None else sorted(thresholds, reverse=True)
    # The first is as good as unbiased: no weight is beyond it.
    members = [FAMILIES[family](max(float(tau), 1e-300)) for tau in grid]
    if family == "dros":
        members[0] = DRos(lam=1e12 * max(1.0, float(weight.max()) ** 2))
    out = {}
    for j, name in enumerate(dataset.objectives):
        logged = None if q is None else q[at, dataset.action, j]
        policy = None if q is None else np.einsum("nk,nk->n", probs, q[:, :, j])
        rows = Rows(weight, np.ascontiguousarray(dataset.reward[:, j]), logged, policy)
        limits = None if reward_ranges is None else reward_ranges.get(name)
        if limits is None and not weight.any():
            bound, step = "must be > 0", "The policy never takes a logged action: this log says nothing about it."
            raise SupportError(describe("mean importance weight", 0.0, bound, step))
        out[name] = slope(rows, members, clusters, level=level, reward_range=limits)
    return out


def threshold_grid(weight: FloatArray, size: int = 8) -> list[float]:
    """Thresholds from the largest weight, which cuts nothing, down to 1, in equal ratios.

    >>> [round(tau, 2) for tau in threshold_grid(np.array([0.0, 1.0, 16.0]), 5)]
    [16.0, 8.0, 4.0, 2.0, 1.0]
    """
    top = float(weight.max(initial=0.0))
    return [float(tau) for tau in np.geomspace(top, 1.0, size)] if top > 1.0 else [max(top, 1.0)]


def _interval(result: RowEstimate, clusters: Clusters, level: float) -> Estimate:
    return interval(result.value, cluster_influence(result.influence, clusters), level)


def _bounded(
    rows: Rows,
    candidates: Sequence[Estimator],
    results: Sequence[RowEstimate],
    clusters: Clusters,
    level: float,
    reward_range: tuple[float, float],
) -> tuple[float, float]:
    """What the simultaneous confidence limits of all candidates' bounds have in common."""
    low, high = float(reward_range[0]), float(reward_range[1])
    outside = (rows.reward < low) | (rows.reward > high)
    if not low < high or outside.any():
        row = int(np.argmax(outside))
        name, value = (f"reward[{row}]", float(rows.reward[row])) if low < high else ("reward_range", reward_range)
        raise InvalidInputError(
            describe(name, value, f"must be in [{low:g}, {high:g}]", "Declare the range of all possible rewards.")
        )
    lower, upper = low, high
    nothing = np.zeros(len(rows.reward))
    total = float(rows.weight.mean())
    whole = interval(total, cluster_influence(rows.weight - total, clusters), 0.997)
    supported = whole.lower <= 1.0 <= whole.upper  # otherwise weights as they are leave out what has no support
    for estimator, result in zip(candidates, results, strict=True):
        # Reward 1 and a model that says 0 leave the mean of the weights that are really used.
        used = estimator(Rows(rows.weight, np.ones(len(rows.reward)), nothing, nothing))
        weight = used.value + used.influence
        if supported and np.allclose(weight, rows.weight, rtol=1e-9, atol=0.0):
            plain = _interval(result, clusters, level)
            lower, upper = max(lower, plain.lower), min(upper, plain.upper)
        if (weight > rows.weight * (1.0 + 1e-9) + 1e-12).any():
            continue  # not a shrunken weight: no bound
        below, above = weight * (rows.reward - low), weight * (high - rows.reward)
        for terms, sign, end in ((below, 1.0, low), (above, -1.0, high)):
            mean = float(terms.mean())
            found = interval(end + sign * mean, cluster_influence(sign * (terms - mean), clusters), level)
            lower, upper = (max(lower, found.lower), upper) if sign > 0 else (lower, min(upper, found.upper))
    if lower > upper:  # limits that contradict each other: the candidates' own chance, or wrong propensities
        middle = 0.5 * (lower + upper)
        return middle, middle
    return lower, upper
