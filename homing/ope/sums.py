"""Off-policy evaluation from sums: batch by batch, mergeable, all objectives and policies in one pass.

An estimate here is a sum of ratios of sums over the log, and its error to first order a sum over users that is linear
in the users' own sums z_g (D,). So Σ_g z_g and Σ_g z_g z_gᵀ hold every value, every interval, and every covariance
between policies, estimators and objectives: what is kept does not grow with the log.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_one_of, check_probability, check_shape
from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.ope.estimate import Clusters, Estimate, t_quantile
from homing.ope.estimators import Estimator, RowEstimate, Rows, get_estimator
from homing.ope.report import LOGGED

FloatArray = NDArray[np.float64]
Cluster = Literal["user", "whole-users", "decision"]
#: How rows are taken to depend on each other, see `PolicySums`.
CLUSTERS: tuple[Cluster, ...] = ("user", "whole-users", "decision")
#: An estimate is the sum of these ratios: (column of the numerator, column of the denominator).
Ratios = tuple[tuple[int, int], ...]
_COUNT = "decisions"


class PolicySums:
    """What a log says about policies, as sums that batches add to and that parts of a log merge.

    The numbers are those of `evaluate_policy` with `cluster-t` intervals, to rounding. Wrong to use where a reward's
    mean is more than a million times its deviation: variances are differences of sums here.

    Args:
        objectives: m names.
        policies: names of the policies that are judged on the same rows.
        estimators: names or estimators with settings. A threshold that follows from the log's length (√n) must be given
            as a number: a batch does not know the log.
        cluster: `user` keeps the sums of each user, so that their rows may come in any order (8 D bytes a user);
            `whole-users` forgets them with each batch, which must hold all rows of its users (a log partitioned by
            user); `decision` takes rows as independent: intervals are too narrow where users come more than once.

    Raises:
        InvalidInputError: if a name comes twice, or an estimator depends on the log's length.
        UnknownNameError: if there is no such estimator.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sums = PolicySums(("clicked",), estimators=("ips", "snips"))
        >>> for batch in range(4):
        ...     sent = rng.integers(0, 2, 500)
        ...     clicked = rng.random(500) < 0.2 + 0.2 * sent
        ...     sums.add(user=rng.integers(0, 800, 500), reward=clicked[:, None], weight={"policy": sent / 0.5})
        >>> report = sums.report()
        >>> report.n, str(report.estimate("clicked", "snips"))
        (2000, '0.3896 [0.3579, 0.4212]')
    """

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        policies: Sequence[str] = ("policy",),
        estimators: Sequence[str | Estimator] = ("ips", "snips"),
        cluster: Cluster = "user",
    ) -> None:
        self.objectives, self.policies = _names("objectives", objectives), _names("policies", policies)
        self.estimators = tuple(_settled(get_estimator(item)) for item in estimators)
        _names("estimators", [item.name for item in self.estimators])
        self.cluster = check_one_of("cluster", cluster, CLUSTERS)
        self.n = 0
        self.max_weight = dict.fromkeys(self.policies, 0.0)
        self._columns: dict[str, int] = {_COUNT: 0}
        self._ratios: dict[tuple[str, str, str], Ratios] = {}
        self._clusters = 0
        self._total = np.zeros(0)
        self._products = np.zeros((0, 0))
        self._users = _Users()

    def add(
        self,
        *,
        user: ArrayLike | None = None,
        reward: ArrayLike,
        weight: Mapping[str, ArrayLike],
        q_logged: ArrayLike | None = None,
        q_policy: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Add a batch of b decisions.

        Args:
            user: integers (b,), a user's code or hash; not needed with `cluster="decision"`.
            reward: (b, m).
            weight: π(a | x) / propensity (b,) of each policy.
            q_logged: (b, m), the reward model's predictions for what was done.
            q_policy: (b, m) of each policy, Σ_a π(a | x) q̂(x, a).

        Raises:
            InvalidInputError: if shapes do not fit, a number is not finite, a weight is negative, or a policy or what
                an estimator needs is missing. Nothing of the batch is added then.
        """
        r = np.asarray(reward, dtype=np.float64)
        b, m = len(r), len(self.objectives)
        check_finite("reward", check_shape("reward", r, (b, m)))
        q = None if q_logged is None else np.asarray(check_shape("q_logged", q_logged, (b, m)), dtype=np.float64)
        if b == 0:
            return
        columns: dict[str, FloatArray] = {_COUNT: np.ones(b)}
        ratios: dict[tuple[str, str, str], tuple[tuple[str, str], ...]] = {}
        tops = {}
        for j, objective in enumerate(self.objectives):
            columns[f"{LOGGED}/{objective}"] = r[:, j]
            ratios[LOGGED, LOGGED, objective] = ((f"{LOGGED}/{objective}", _COUNT),)
        for policy in self.policies:
            w = _of("weight", weight, policy, (b,))
            if w.min() < 0:
                row = int(np.argmin(w))
                raise InvalidInputError(describe(f"weight[{policy!r}][{row}]", float(w[row]), "must be >= 0"))
            tops[policy] = max(self.max_weight[policy], float(w.max()))
            columns[f"{policy}/weight"], columns[f"{policy}/weight²"] = w, w * w
            needs = any(item.needs_q_hat for item in self.estimators)
            expected = _of("q_policy", q_policy or {}, policy, (b, m)) if needs else None
            if needs and q is None:
                raise InvalidInputError(describe("q_logged", None, "must be given", "An estimator uses the model."))
            for j, objective in enumerate(self.objectives):
                rows = Rows(
                    w, r[:, j], None if q is None else q[:, j], None if expected is None else expected[:, j]
                )  # fmt: skip
                for estimator in self.estimators:
                    terms = _terms(estimator, rows)
                    place = f"{policy}/{estimator.name}/{objective}"
                    over = {"mean": _COUNT, "weighted": f"{policy}/weight"}
                    columns |= {f"{place}/{kind}": term for kind, term in terms.items()}
                    ratios[policy, estimator.name, objective] = tuple((f"{place}/{kind}", over[kind]) for kind in terms)
        self._grow(list(columns), ratios)
        z = np.column_stack([columns[name] for name in self._columns])
        self._put(user, z)
        self.n += b
        self.max_weight = tops

    def merge(self, other: PolicySums) -> None:
        """Add the sums of another part of the log, made with the same settings.

        With `whole-users` no user may be in both.

        Raises:
            InvalidInputError: if the settings differ.
        """
        for name in ("objectives", "policies", "estimators", "cluster"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                raise InvalidInputError(describe(f"other.{name}", its, f"must be {mine!r}, as in this one"))
        if other.n == 0:
            return
        if self.n == 0:
            self._columns, self._ratios = dict(other._columns), dict(other._ratios)
            self._total, self._products = np.zeros_like(other._total), np.zeros_like(other._products)
        assert self._columns == other._columns, "the same settings make the same columns"
        self._total = self._total + other._total
        self._products = self._products + other._products
        self._clusters += other._clusters
        self._users.add(*other._users.all())
        self.n += other.n
        self.max_weight = {name: max(top, other.max_weight[name]) for name, top in self.max_weight.items()}

    def report(self, level: float = 0.95) -> SumsReport:
        """Values, intervals and covariances of what was added so far.

        Raises:
            SupportError: if there are fewer than two users, or a policy never takes a logged action.
        """
        check_probability("level", level)
        count, products = self._clusters, self._products
        if self.cluster == "user":
            keys, z = self._users.all()
            count, products = len(keys), z.T @ z
        if count < 2:
            raise SupportError(describe("number of clusters", count, "must be >= 2 for an interval", "Add more users."))
        total = self._total
        keys_, values, gradients = [], [], []
        for key, ratios in self._ratios.items():
            value, gradient = 0.0, np.zeros(len(total))
            for top, bottom in ratios:
                if total[bottom] <= 0:
                    bound, step = "must be > 0", "The policy never takes a logged action: the log says nothing of it."
                    raise SupportError(describe(f"sum of the weights of {key[0]!r}", float(total[bottom]), bound, step))
                value += total[top] / total[bottom]
                gradient[top] += 1.0 / total[bottom]
                gradient[bottom] -= total[top] / total[bottom] ** 2
            keys_.append(key)
            values.append(value)
            gradients.append(gradient)
        g = np.array(gradients)
        covariance = count / (count - 1) * (g @ products @ g.T)
        weights = {name: self._columns[f"{name}/weight"] for name in self.policies}
        squares = {name: self._columns[f"{name}/weight²"] for name in self.policies}
        return SumsReport(
            objectives=self.objectives,
            policies=self.policies,
            estimators=tuple(item.name for item in self.estimators),
            n=self.n,
            n_users=count,
            level=level,
            keys=tuple(keys_),
            values=np.array(values),
            covariances=covariance,
            ess={
                name: float(total[weights[name]] ** 2 / total[squares[name]]) if total[squares[name]] else 0.0
                for name in self.policies
            },
            weight_mean={name: float(total[weights[name]] / self.n) for name in self.policies},
            max_weight=dict(self.max_weight),
        )

    def _grow(
        self, names: list[str], ratios: Mapping[tuple[str, str, str], tuple[tuple[str, str], ...]]
    ) -> None:  # fmt: skip
        if self.n:
            return
        self._columns = {name: place for place, name in enumerate(names)}
        self._ratios = {
            key: tuple((self._columns[top], self._columns[bottom]) for top, bottom in parts)
            for key, parts in ratios.items()
        }
        self._total, self._products = np.zeros(len(names)), np.zeros((len(names), len(names)))

    def _put(self, user: ArrayLike | None, z: FloatArray) -> None:
        if self.cluster == "decision":
            self._clusters += len(z)
            self._products = self._products + z.T @ z
        else:
            if user is None:
                raise InvalidInputError(describe("user", None, "must be given", "Or set cluster='decision'."))
            labels = np.asarray(check_shape("user", user, (len(z),)))
            if labels.dtype.kind not in "iu":
                raise InvalidInputError(describe("user", labels.dtype, "must be integers", "Codes or 64-bit hashes."))
            clusters = Clusters.of(labels)
            by_user = np.column_stack([clusters.sums(column) for column in z.T])
            if self.cluster == "user":
                self._users.add(np.unique(labels), by_user)
            else:
                self._clusters += clusters.count
                self._products = self._products + by_user.T @ by_user
        self._total = self._total + z.sum(axis=0)


@dataclass(frozen=True, eq=False)
class SumsReport:
    """Estimates of several policies on several objectives, with their joint covariance.

    Attributes:
        objectives, policies, estimators: names.
        n: decisions.
        n_users: independent clusters.
        level: nominal coverage of intervals.
        keys: (policy, estimator, objective) of each of e estimates; the log's own mean is under `logged` for both.
        values: (e,).
        covariances: (e, e), of the estimation errors.
        ess: effective sample size of each policy's weights, (Σ w)² / Σ w².
        weight_mean: of each policy; 1 up to its error where propensities are right.
        max_weight: of each policy.
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
    ess: Mapping[str, float]
    weight_mean: Mapping[str, float]
    max_weight: Mapping[str, float]

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
            "estimates": [
                {"policy": policy, "estimator": estimator, "objective": objective, "value": float(value),
                 "std_error": float(error), "lower": float(value - half * error), "upper": float(value + half * error)}
                for (policy, estimator, objective), value, error in zip(self.keys, self.values, errors, strict=True)
            ],
            "ess": dict(self.ess),
            "weight_mean": dict(self.weight_mean),
            "max_weight": dict(self.max_weight),
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
        return self.keys.index((policy, estimator, objective))

    def _combined(self, weights: Mapping[str, float], estimator: str, policies: Mapping[str, float]) -> Estimate:
        c = np.zeros(len(self.keys))
        for policy, sign in policies.items():
            for objective, weight in weights.items():
                c[self._place(policy, LOGGED if policy == LOGGED else estimator, objective)] += sign * weight
        value, error = float(c @ self.values), math.sqrt(max(float(c @ self.covariances @ c), 0.0))
        df = self.n_users - 1
        half = t_quantile(self.level, df) * error
        return Estimate(value, error, value - half, value + half, self.level, df)


class _Users:
    """Sums z (G, D) by user key, sorted; what is new is kept apart until it is as much as what is old."""

    def __init__(self) -> None:
        self._keys: NDArray[Any] = np.zeros(0, np.int64)
        self._z: FloatArray = np.zeros((0, 0))
        self._new: list[tuple[NDArray[Any], FloatArray]] = []
        self._waiting = 0

    def add(self, keys: NDArray[Any], z: FloatArray) -> None:
        if not len(keys):
            return
        self._new.append((keys, z))
        self._waiting += len(keys)
        if self._waiting > len(self._keys):  # so that each sum is moved a logarithmic number of times
            self._fold()

    def all(self) -> tuple[NDArray[Any], FloatArray]:
        self._fold()
        return self._keys, self._z

    def _fold(self) -> None:
        if not self._new:
            return
        parts = [*([(self._keys, self._z)] if len(self._keys) else []), *self._new]
        keys = np.concatenate([key for key, _ in parts])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        self._z = np.add.reduceat(np.concatenate([z for _, z in parts])[order], starts, axis=0)
        self._keys, self._new, self._waiting = keys[starts], [], 0


def _terms(estimator: Estimator, rows: Rows) -> dict[str, FloatArray]:
    """Per-row terms: V = Σ mean / n + Σ weighted / Σ w, whatever part of the log the rows are."""
    try:
        found = estimator(rows)
    except SupportError:  # a batch without weight may be part of a log with some
        found = estimator(dataclasses.replace(rows, weight=np.ones_like(rows.weight)))
        return {**_parts(found), "weighted": np.zeros_like(rows.weight)}
    if found.weighted is not None and found.weighted[0] is not rows.weight:
        bound = "must be normalised by decisions or by π / propensity"
        raise InvalidInputError(describe(f"estimator {estimator.name!r}", "normalised by other weights", bound))
    return _parts(found)


def _parts(found: RowEstimate) -> dict[str, FloatArray]:
    """The terms of which an estimate is made: those that are a mean, those of a weighted mean, or both."""
    if found.weighted is None:
        return {"mean": found.influence + found.value}
    weights, influence = found.weighted
    ratio = float(found.details.get("correction", found.value))
    out = {"weighted": influence * weights.mean() + weights * ratio}
    if influence is not found.influence:
        out["mean"] = found.influence - influence + (found.value - ratio)
    return out


def _settled(estimator: Estimator) -> Estimator:
    """The estimator, if no setting of it is left to the length of the log."""
    for item in dataclasses.fields(estimator):  # type: ignore[arg-type]  # estimators are dataclasses
        if getattr(estimator, item.name) is None:
            raise InvalidInputError(
                describe(
                    f"{item.name} of {estimator.name!r}",
                    None,
                    "must be a number",
                    f"By default it follows from the log's length; write {type(estimator).__name__}({item.name}=…).",
                )
            )
    return estimator


def _names(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not names or len(set(names)) < len(names) or LOGGED in names:
        raise InvalidInputError(describe(kind, names, f"must be distinct names, at least one, none of them {LOGGED!r}"))
    return tuple(names)


def _of(what: str, given: Mapping[str, ArrayLike], policy: str, shape: tuple[int, ...]) -> FloatArray:
    if policy not in given:
        raise InvalidInputError(describe(what, sorted(given), f"must hold {policy!r}", "Each policy needs its own."))
    name = f"{what}[{policy!r}]"
    return np.asarray(check_finite(name, check_shape(name, given[policy], shape)), dtype=np.float64)
