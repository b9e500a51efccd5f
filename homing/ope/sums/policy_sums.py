"""Off-policy evaluation from sums: batch by batch, mergeable, all objectives and policies in one pass.

An estimate here is a sum of ratios of sums over the log, and its error to first order a sum over users that is linear
in the users' own sums z_g (D,). So Σ_g z_g and Σ_g z_g z_gᵀ hold every value, every interval, and every covariance
between policies, estimators and objectives: what is kept does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_one_of, check_probability, check_shape
from homing.errors import InvalidInputError, SupportError, describe
from homing.ope.estimate import Clusters
from homing.ope.estimators import Estimator, Rows, get_estimator
from homing.ope.limits import SupportLimits
from homing.ope.report import LOGGED
from homing.ope.sums.decisions import Asked, Decisions, Model, predictions, probabilities
from homing.ope.sums.moments import Columns, UserMoments
from homing.ope.sums.report import SumsReport
from homing.ope.sums.support import support_of
from homing.ope.sums.terms import settled, terms_of
from homing.ope.sums.users import UserSums
from homing.ope.table import check_probs

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
        self.estimators = tuple(settled(get_estimator(item)) for item in estimators)
        _names("estimators", [item.name for item in self.estimators])
        check_one_of("cluster", cluster, CLUSTERS)
        self.cluster: Cluster = cluster
        self.n = 0
        self.max_weight = dict.fromkeys(self.policies, 0.0)
        self._columns: dict[str, int] = {_COUNT: 0}
        self._ratios: dict[tuple[str, str, str], Ratios] = {}
        self._total = np.zeros(0)
        self._moments = UserMoments()
        self._users = UserSums()

    def add(
        self,
        *,
        user: ArrayLike | None = None,
        reward: ArrayLike,
        weight: Mapping[str, ArrayLike],
        q_logged: ArrayLike | None = None,
        q_policy: Mapping[str, ArrayLike] | None = None,
        first: int | None = None,
    ) -> None:
        """Add a batch of b decisions.

        Args:
            user: integers (b,), a user's code or hash; not needed with `cluster="decision"`.
            reward: (b, m).
            weight: π(a | x) / propensity (b,) of each policy.
            q_logged: (b, m), the reward model's predictions for what was done.
            q_policy: (b, m) of each policy, Σ_a π(a | x) q̂(x, a).
            first: row of the whole log that errors count from; by default what was added so far.

        Raises:
            InvalidInputError: if shapes do not fit, a number is not finite, a weight is negative, or a policy or what
                an estimator needs is missing. Nothing of the batch is added then.
        """
        r = np.asarray(reward, dtype=np.float64)
        b, m = len(r), len(self.objectives)
        start = self.n if first is None else first
        check_finite("reward", check_shape("reward", r, (b, m)), first=start)
        q = None if q_logged is None else np.asarray(check_shape("q_logged", q_logged, (b, m)), dtype=np.float64)
        if b == 0:
            return
        columns: dict[str, FloatArray] = {_COUNT: np.ones(b)}
        ratios: dict[tuple[str, str, str], tuple[tuple[str, str], ...]] = {}
        tops = {}
        for j, objective in enumerate(self.objectives):
            columns[f"{LOGGED}/{objective}"] = r[:, j]
            columns[f"events/{objective}"] = (r[:, j] != 0.0).astype(np.float64)
            ratios[LOGGED, LOGGED, objective] = ((f"{LOGGED}/{objective}", _COUNT),)
        for policy in self.policies:
            w = _of("weight", weight, policy, (b,), start)
            if w.min() < 0:
                row = int(np.argmin(w))
                raise InvalidInputError(describe(f"weight[{policy!r}][{start + row}]", float(w[row]), "must be >= 0"))
            tops[policy] = max(self.max_weight[policy], float(w.max()))
            columns[f"{policy}/weight"], columns[f"{policy}/weight²"] = w, w * w
            needs = any(item.needs_q_hat for item in self.estimators)
            expected = _of("q_policy", q_policy or {}, policy, (b, m), start) if needs else None
            if needs and q is None:
                raise InvalidInputError(describe("q_logged", None, "must be given", "An estimator uses the model."))
            for j, objective in enumerate(self.objectives):
                columns[f"{policy}/weighted/{objective}"] = w * r[:, j]
                rows = Rows(
                    w, r[:, j], None if q is None else q[:, j], None if expected is None else expected[:, j]
                )  # fmt: skip
                for estimator in self.estimators:
                    terms = terms_of(estimator, rows)
                    place = f"{policy}/{estimator.name}/{objective}"
                    over = {"mean": _COUNT, "weighted": f"{policy}/weight"}
                    columns |= {f"{place}/{kind}": term for kind, term in terms.items()}
                    ratios[policy, estimator.name, objective] = tuple((f"{place}/{kind}", over[kind]) for kind in terms)
        self._grow(list(columns), ratios)
        z = np.column_stack([columns[name] for name in self._columns])
        self._put(user, z)
        self.n += b
        self.max_weight = tops

    def add_decisions(self, decisions: Decisions, policies: Mapping[str, Asked], *, q_hat: Model | None = None) -> None:
        """Add decisions as they stand in a log: policies are asked what they would do, the model what comes of it.

        Args:
            decisions: b of them.
            policies: those of `policies` by name: policies, artifacts, or functions that give probabilities (b, k).
            q_hat: a reward model's artifact, or a function that gives predictions (b, k, m).

        Raises:
            InvalidInputError: if probabilities are not a policy's, or predictions are not finite. Nothing is added.
        """
        b, k = decisions.eligible.shape
        at, m, first = np.arange(b), len(self.objectives), decisions.first
        q = q_logged = None
        if q_hat is not None:
            found = check_shape("q_hat", predictions(q_hat, decisions, self.objectives), (b, k, m))
            q = np.asarray(check_finite("q_hat", found, first=first), dtype=np.float64)
            q_logged = q[at, decisions.action]
        weight, q_policy = {}, {}
        for name in self.policies:
            if name not in policies:
                raise InvalidInputError(describe("policies", sorted(policies), f"must hold {name!r}"))
            probs = check_probs(f"probabilities of {name!r}", probabilities(policies[name], decisions),
                                decisions.eligible, first)  # fmt: skip
            weight[name] = probs[at, decisions.action] / decisions.propensity
            if q is not None:
                q_policy[name] = np.einsum("nk,nkm->nm", probs, q)
        user, reward = decisions.user, decisions.reward
        self.add(user=user, reward=reward, weight=weight, q_logged=q_logged, q_policy=q_policy, first=first)

    def like(self) -> PolicySums:
        """Empty sums with the same settings."""
        return PolicySums(self.objectives, policies=self.policies, estimators=self.estimators, cluster=self.cluster)

    def divided(self, shares: int) -> list[PolicySums]:
        """Sums whose users are disjoint and which merge to these; all in the first where users are not kept.

        A user is in the same share of every part of a log, so that shares can be merged and settled apart.
        """
        others = [self.like() for _ in range(shares - 1)]
        if self.cluster != "user" or not others or not self.n:
            return [self, *others]
        out = [self.like(), *others]
        for one, users in zip(out, self._users.divided(shares), strict=True):
            keys, z = users.all()
            if len(keys):
                one._columns, one._ratios = dict(self._columns), dict(self._ratios)
                one._total, one._users = z.sum(axis=0), users
                one.n, one.max_weight = round(float(z[:, self._columns[_COUNT]].sum())), dict(self.max_weight)
        return out

    def settled(self) -> PolicySums:
        """These sums as `whole-users`, their users forgotten: what is merged later must hold none of them."""
        if self.cluster != "user":
            return self
        out = PolicySums(self.objectives, policies=self.policies, estimators=self.estimators, cluster="whole-users")
        out._columns, out._ratios, out._total = self._columns, self._ratios, self._total
        out._moments = self._all_moments()
        out.n, out.max_weight = self.n, self.max_weight
        return out

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
            self._total = np.zeros_like(other._total)
        assert self._columns == other._columns, "the same settings make the same columns"
        self._total = self._total + other._total
        self._moments = self._moments + other._moments
        self._users.add(*other._users.all())
        self.n += other.n
        self.max_weight = {name: max(top, other.max_weight[name]) for name, top in self.max_weight.items()}

    def report(self, level: float = 0.95, *, limits: SupportLimits | None = None) -> SumsReport:
        """Values, intervals and covariances of what was added so far, with verdicts.

        Args:
            level: nominal coverage of the intervals.
            limits: where `caution` and `refuse` begin.

        Raises:
            SupportError: if there are fewer than two users, or a policy never takes a logged action.
        """
        check_probability("level", level)
        moments = self._all_moments()
        count, products = moments.count, moments.products
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
            support={
                name: support_of(name, self._total, moments, self._places(), self.max_weight[name], limits)
                for name in self.policies
            },
        )

    def _all_moments(self) -> UserMoments:
        """Of all users so far, those that may still come back among them."""
        if self.cluster != "user" or not self.n:
            return self._moments
        return UserMoments.of(self._users.all()[1], self._places())

    def _places(self) -> Columns:
        at = self._columns
        return Columns(
            count=at[_COUNT],
            logged={name: at[f"{LOGGED}/{name}"] for name in self.objectives},
            events={name: at[f"events/{name}"] for name in self.objectives},
            weight={name: at[f"{name}/weight"] for name in self.policies},
            squares={name: at[f"{name}/weight²"] for name in self.policies},
            weighted={(p, o): at[f"{p}/weighted/{o}"] for p in self.policies for o in self.objectives},
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
        self._total = np.zeros(len(names))

    def _put(self, user: ArrayLike | None, z: FloatArray) -> None:
        if self.cluster == "decision":
            self._moments = self._moments + UserMoments.of(z, self._places())
        else:
            if user is None:
                raise InvalidInputError(describe("user", None, "must be given", "Or set cluster='decision'."))
            labels = np.asarray(check_shape("user", user, (len(z),)))
            if labels.dtype.kind not in "iu":
                raise InvalidInputError(describe("user", labels.dtype, "must be integers", "Codes or 64-bit hashes."))
            keys, code = np.unique(labels, return_inverse=True)
            clusters = Clusters(code.reshape(-1), len(keys))
            by_user = np.column_stack([clusters.sums(column) for column in z.T])
            if self.cluster == "user":
                self._users.add(keys, by_user)
            else:
                self._moments = self._moments + UserMoments.of(by_user, self._places())
        self._total = self._total + z.sum(axis=0)


def _names(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not names or len(set(names)) < len(names) or LOGGED in names:
        raise InvalidInputError(describe(kind, names, f"must be distinct names, at least one, none of them {LOGGED!r}"))
    return tuple(names)


def _of(what: str, given: Mapping[str, ArrayLike], policy: str, shape: tuple[int, ...], first: int) -> FloatArray:
    if policy not in given:
        raise InvalidInputError(describe(what, sorted(given), f"must hold {policy!r}", "Each policy needs its own."))
    name = f"{what}[{policy!r}]"
    return np.asarray(check_finite(name, check_shape(name, given[policy], shape), first=first), dtype=np.float64)
