"""All objectives at once: what each policy gains and loses, how surely together, with weights applied afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of
from homing.errors import InvalidInputError, describe, unknown_name
from homing.ope.deciding import has
from homing.ope.estimate import Estimate, t_quantile
from homing.ope.intervals.cressie_read import unseen_ends, unseen_user
from homing.ope.report import LOGGED, OPEReport, difference

FloatArray = NDArray[np.float64]
#: What policies are compared with where there is no champion.
THE_LOG = "the log itself"


@dataclass(frozen=True, eq=False)
class Pareto:
    """Policies' differences to one of them on every objective, with their covariances.

    Attributes:
        policies: P names.
        champion: the name of what they are compared with.
        objectives: m names.
        directions: `maximize` or `minimize`, one an objective.
        estimator: whose estimates these are.
        base: (m,), the champion's values.
        differences: (P, m), policy minus champion.
        covariances: (P, m, m), of the differences, robust to dependence within clusters.
        df: degrees of freedom.
        unseen: (P, m, 2), least and greatest contribution u = G ψ of a user who was not seen but could have been, where
            a policy's or the champion's events are too few for t intervals (`EventSupport`); 0 where they are enough.
    """

    policies: tuple[str, ...]
    champion: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    estimator: str
    base: FloatArray
    differences: FloatArray
    covariances: FloatArray
    df: int
    unseen: FloatArray

    def weighted(self, weights: Mapping[str, float], *, level: float = 0.95) -> dict[str, Estimate]:
        """Each policy's difference in Σ weight · objective, with its interval: weights need no further pass.

        Harms count with the sign that they are given: a negative weight. The interval is the cluster-robust t interval
        where enough events stand behind every objective that counts. Where some are rare it is that of `CressieRead`,
        with one unseen user among them: one decision brings the worst of one rare objective, not of several at once.
        With all weight on one objective it is what `compare` says of it.

        Args:
            weights: by objective; those that are not named count 0.
            level: nominal coverage of each interval.

        Raises:
            UnknownNameError: for the name of no objective.
        """
        for name in weights:
            if name not in self.objectives:
                raise unknown_name("weight of objective", name, self.objectives)
        w = np.array([float(weights.get(name, 0.0)) for name in self.objectives])
        lower, upper = self.ends(w[None], t_quantile(level, self.df), t_quantile(level, self.df + 1))
        out = {}
        for i, (policy, covariance) in enumerate(zip(self.policies, self.covariances, strict=True)):
            value, error = float(w @ self.differences[i]), math.sqrt(max(float(w @ covariance @ w), 0.0))
            kind = "cressie-read" if (w @ np.abs(self.unseen[i])).any() else "cluster-t"
            ends = float(lower[0, i]), float(upper[0, i])
            out[policy] = Estimate(value, error, *ends, level, self.df, kind)
        return out

    def ends(
        self, weights: FloatArray, quantile: float, with_unseen: float | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper ends (s, P) for each of s settings of the weights (s, m).

        Args:
            weights: of objectives.
            quantile: standard errors from the value to an end.
            with_unseen: the same where an unseen user counts; `quantile` when not given.
        """
        value = weights @ self.differences.T
        square = np.maximum(np.einsum("si,pij,sj->sp", weights, self.covariances, weights), 0.0)
        each = weights[:, None, :, None] * self.unseen
        low, high = each.min(axis=(2, 3), initial=0.0), each.max(axis=(2, 3), initial=0.0)
        count = self.df + 1
        moments = count, 0.0, count * (count - 1) * square
        rare = (low < 0.0) | (high > 0.0)
        lower, upper = unseen_ends(value, moments, (low, high), with_unseen or quantile)
        half = quantile * np.sqrt(square)
        return np.where(rare, lower, value - half), np.where(rare, upper, value + half)

    @property
    def front(self) -> tuple[str, ...]:
        """The policies, the champion among them, that no other one beats: at least as good on all, better on one."""
        sign = np.array([1.0 if item == "maximize" else -1.0 for item in self.directions])
        names = (self.champion, *self.policies)
        gains = np.vstack([np.zeros(len(self.objectives)), self.differences]) * sign
        return tuple(
            name
            for name, mine in zip(names, gains, strict=True)
            if not any((other >= mine).all() and (other > mine).any() for other in gains)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "policies": list(self.policies),
            "champion": self.champion,
            "objectives": list(self.objectives),
            "directions": list(self.directions),
            "estimator": self.estimator,
            "base": self.base.tolist(),
            "differences": self.differences.tolist(),
            "covariances": self.covariances.tolist(),
            "df": self.df,
            "unseen": self.unseen.tolist(),
            "front": list(self.front),
        }


def pareto(
    challengers: Sequence[OPEReport],
    champion: OPEReport | None,
    estimator: str,
    *,
    directions: Mapping[str, str] | None = None,
) -> Pareto:
    """What challengers gain and lose on each objective against a champion, from their reports alone.

    Each user's contributions to the differences, ψ (G, m), give the covariances G / (G - 1) · ψᵀψ, of which the
    variance of any weighted sum of objectives follows; where events are rare, what an unseen user could bring counts
    too. A preview: the front is one of estimates, on which a policy may
    stand by luck; wrong to promote by (see `homing.promotion.gate_many`).

    Args:
        challengers: reports on one log, each with a name of its own.
        champion: report on what they are compared with; None for what the log itself earned.
        estimator: which. Challengers that the log gives no estimate of under it are left out, then objectives that a
            report lacks: where it says nothing of anyone, nothing is left.
        directions: `minimize` for harms, by objective.

    Raises:
        InvalidInputError: if there is no challenger, the reports are on different logs, or one was made without the
            estimator.
        UnknownNameError: for the direction of no objective, or one that is neither `maximize` nor `minimize`.

    Example:
        >>> from homing.log import LoggedDataset
        >>> from homing.ope import evaluate_policy
        >>> rng = np.random.default_rng(0)
        >>> action = rng.integers(0, 3, 6000)
        >>> clicked, left = rng.random(6000) < 0.1 + 0.05 * action, rng.random(6000) < 0.01 * action
        >>> data = LoggedDataset(
        ...     context=np.zeros((6000, 1)), candidates=np.zeros((6000, 3, 1)), eligible=np.ones((6000, 3), bool),
        ...     action=action, propensity=np.full(6000, 1 / 3), reward=np.stack([clicked, left], axis=1),
        ...     objectives=("clicked", "left"), user=np.arange(6000), time=np.arange(6000))
        >>> silent, one, two = (
        ...     evaluate_policy(data, np.tile(np.eye(3)[a], (6000, 1)), policy=f"always {a}") for a in range(3))
        >>> found = pareto([one, two], silent, "snips", directions={"left": "minimize"})
        >>> found.front
        ('always 0', 'always 1', 'always 2')
        >>> for policy, gain in found.weighted({"clicked": 1.0, "left": -2.0}).items():
        ...     print(policy, gain)
        always 1 0.04084 [0.0174, 0.06431]
        always 2 0.05692 [0.03029, 0.08358]
    """
    if not challengers:
        raise InvalidInputError(describe("challengers", [], "must be at least one report"))
    reports = [*challengers, *([] if champion is None else [champion])]
    for report in reports:
        for what in ("fingerprint", "cluster"):
            found, wanted = getattr(report, what), getattr(challengers[0], what)
            if found != wanted:
                bound, step = f"must be {wanted!r}, the first challenger's", "Evaluate on one log in the same way."
                raise InvalidInputError(describe(f"{what} of {report.policy!r}", found, bound, step))
        if estimator not in report.estimators:
            step = f"That of {report.policy!r} has {', '.join(report.estimators)}."
            raise InvalidInputError(describe("estimator", estimator, "must be in all reports", step))
    name = LOGGED if champion is None else estimator
    other = challengers[0] if champion is None else champion
    for objective, direction in (directions or {}).items():
        check_one_of("directions: objective", objective, other.objectives)
        check_one_of(f"directions[{objective!r}]", direction, ("maximize", "minimize"))
    kept = [report for report in challengers if any(has(report, estimator, item) for item in report.objectives)]
    objectives = [
        objective
        for objective in other.objectives
        if kept and has(other, name, objective) and all(has(report, estimator, objective) for report in kept)
    ]
    m = len(objectives)
    base = np.array([other.estimate(objective, name).value for objective in objectives])
    theirs = _influences(other, name, objectives)
    differences, covariances = np.zeros((len(kept), m)), np.zeros((len(kept), m, m))
    unseen = np.zeros((len(kept), m, 2))
    for i, report in enumerate(kept):
        for j, objective in enumerate(objectives):
            if any(item.support.events[objective].verdict != "fine" for item in (report, other)):
                unseen[i, j] = unseen_user(difference(report, other, objective, estimator, name))
        psi = _influences(report, estimator, objectives) - theirs
        differences[i] = [report.estimate(objective, estimator).value for objective in objectives] - base
        covariances[i] = report.n_users / (report.n_users - 1) * psi @ psi.T
    return Pareto(
        policies=tuple(report.policy for report in kept),
        champion=THE_LOG if champion is None else champion.policy,
        objectives=tuple(objectives),
        directions=tuple((directions or {}).get(objective, "maximize") for objective in objectives),
        estimator=estimator,
        base=base,
        differences=differences,
        covariances=covariances,
        df=other.n_users - 1,
        unseen=unseen,
    )


def _influences(report: OPEReport, estimator: str, objectives: Sequence[str]) -> FloatArray:
    """Each user's contribution to each objective's error, (m, G)."""
    rows = [report.influence[estimator, objective] for objective in objectives]
    return np.stack(rows) if rows else np.zeros((0, report.n_users))
