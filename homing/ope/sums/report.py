"""What sums say: values, intervals, and the joint covariance of everything estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_one_of
from homing.errors import InvalidInputError, describe, unknown_name
from homing.ope.estimate import Estimate, t_quantile
from homing.ope.report import LOGGED
from homing.ope.sums.support import SumsSupport

FloatArray = NDArray[np.float64]
#: The kind of all its intervals.
INTERVAL = "cluster-t"


@dataclass(frozen=True, eq=False)
class SumsReport:
    """Estimates of several policies on several objectives, with their joint covariance.

    All intervals are cluster-robust t intervals (`cluster-t`), those of weighted sums and differences too: sums hold
    users' second moments, but not the largest term that one more decision could bring, from which `evaluate_policy`
    makes its `cressie-read` intervals. They are too narrow where few users have an event, of which `support` warns by
    objective; take the users' rows, or a sample of users, to `evaluate_policy` there.

    Attributes:
        objectives, policies, estimators: names.
        n: decisions.
        n_users: independent clusters.
        level: nominal coverage of intervals.
        keys: (policy, estimator, objective) of each of e estimates; the log's own mean is under `logged` for both.
        values: (e,).
        covariances: (e, e), of the estimation errors.
        support: what the log can say about each policy, with a verdict.
    """

    objectives: tuple[str, ...]
    policies: tuple[str, ...]
    estimators: tuple[str, ...]
    n: int
    n_users: int
    level: float
    keys: tuple[tuple[str, str, str], ...]
    values: FloatArray
    covariances: FloatArray
    support: Mapping[str, SumsSupport]

    def estimate(self, objective: str, estimator: str, policy: str | None = None) -> Estimate:
        """One value with its interval; `logged` as the estimator is the log's own mean."""
        return self._combined({objective: 1.0}, estimator, {self._policy(policy, estimator): 1.0})

    def weighted(self, weights: Mapping[str, float], estimator: str, policy: str | None = None) -> Estimate:
        """Σ_j weights_j V_j with the interval of the sum: objectives depend on each other.

        Args:
            weights: by objective; those left out count 0.
        """
        return self._combined(weights, estimator, {self._policy(policy, estimator): 1.0})

    def difference(
        self, challenger: str, champion: str, weights: str | Mapping[str, float], estimator: str
    ) -> Estimate:
        """Challenger minus champion, paired by user, on one objective or on a weighted sum of them."""
        chosen = {weights: 1.0} if isinstance(weights, str) else weights
        return self._combined(chosen, estimator, {challenger: 1.0, champion: -1.0})

    def covariance(self, estimator: str, policy: str | None = None) -> FloatArray:
        """Covariance (m, m) between the objectives' errors."""
        name = self._policy(policy, estimator)
        places = [self._place(name, estimator, objective) for objective in self.objectives]
        return self.covariances[np.ix_(places, places)]

    def pareto(self, estimator: str, directions: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Policies that no other one beats: as good on every objective, better on one, by the point estimates.

        A preview: look at `difference` before believing that one dominates another.

        Args:
            estimator: whose values.
            directions: `maximize` (which is meant where nothing is said) or `minimize`, by objective.
        """
        for objective, direction in (directions or {}).items():
            check_one_of(f"directions[{objective!r}]", direction, ("maximize", "minimize"))
        sign = np.array([-1.0 if (directions or {}).get(name) == "minimize" else 1.0 for name in self.objectives])
        table = np.array(
            [[self.values[self._place(p, estimator, o)] for o in self.objectives] for p in self.policies]
        ) * sign  # fmt: skip
        beaten = (table[None] >= table[:, None]).all(axis=2) & (table[None] > table[:, None]).any(axis=2)
        return tuple(name for name, worse in zip(self.policies, beaten.any(axis=1), strict=True) if not worse)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON; covariances are left out."""
        half = t_quantile(self.level, self.n_users - 1)
        errors = np.sqrt(np.diag(self.covariances).clip(0.0))
        return {
            "objectives": list(self.objectives),
            "policies": list(self.policies),
            "estimators": list(self.estimators),
            "n": self.n,
            "n_users": self.n_users,
            "level": self.level,
            "interval": INTERVAL,
            "estimates": [
                {"policy": policy, "estimator": estimator, "objective": objective, "value": float(value),
                 "std_error": float(error), "lower": float(value - half * error), "upper": float(value + half * error)}
                for (policy, estimator, objective), value, error in zip(self.keys, self.values, errors, strict=True)
            ],
            "support": {name: item.to_dict() for name, item in self.support.items()},
        }  # fmt: skip

    def _policy(self, policy: str | None, estimator: str) -> str:
        if estimator == LOGGED:
            return LOGGED
        if policy is None and len(self.policies) > 1:
            raise InvalidInputError(describe("policy", None, f"must be one of {', '.join(map(repr, self.policies))}"))
        return self.policies[0] if policy is None else policy

    def _place(self, policy: str, estimator: str, objective: str) -> int:
        for kind, name, known in (
            ("objective", objective, self.objectives),
            ("policy", policy, (*self.policies, LOGGED)),
            ("estimator", estimator, (*self.estimators, LOGGED)),
        ):
            if name not in known:
                raise unknown_name(kind, name, known)
        if estimator == LOGGED != policy:
            raise unknown_name("estimator", estimator, self.estimators, "The log's own mean is of no policy.")
        return self.keys.index((policy, estimator, objective))

    def _combined(self, weights: Mapping[str, float], estimator: str, policies: Mapping[str, float]) -> Estimate:
        c = np.zeros(len(self.keys))
        for policy, sign in policies.items():
            for objective, weight in weights.items():
                c[self._place(policy, LOGGED if policy == LOGGED else estimator, objective)] += sign * weight
        value, error = float(c @ self.values), math.sqrt(max(float(c @ self.covariances @ c), 0.0))
        df = self.n_users - 1
        half = t_quantile(self.level, df) * error
        return Estimate(value, error, value - half, value + half, self.level, df, INTERVAL)
