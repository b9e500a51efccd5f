"""`evaluate_policy`: what a policy would have earned on a log that another policy wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.log.dataset import LoggedDataset
from homing.ope.bias import bias_notes, possible_bias
from homing.ope.diagnostics import PropensityCalibration, propensity_calibration, segment_support
from homing.ope.estimate import Clusters, Estimate, cluster_influence
from homing.ope.estimators import ESTIMATORS, Estimator, RowEstimate, Rows, get_estimator, marginal_weights
from homing.ope.estimators.mips import EMBEDDINGS, embedding_codes
from homing.ope.intervals import Bounds, Contributions, Interval, get_interval
from homing.ope.intervals.base import Extremes
from homing.ope.intervals.ingredients import DECISIONS, WEIGHT, Ingredients, Possible
from homing.ope.intervals.paired import Form, Pairing
from homing.ope.limits import SupportLimits
from homing.ope.messages import Messages
from homing.ope.report import LOGGED, OPEReport
from homing.ope.support import MessageSupport, assess, unsupported_share
from homing.ope.table import PolicyTable, check_action_probs

FloatArray = NDArray[np.float64]
DEFAULT_ESTIMATORS = ("ips", "snips", "dr", "switch-dr", "dros")


def evaluate_policy(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    *,
    q_hat: ArrayLike | None = None,
    ratios: Mapping[str, ArrayLike] | None = None,
    estimators: Sequence[str | Estimator] | None = None,
    cluster: str | NDArray[np.integer] = "user",
    level: float = 0.95,
    interval: str | Interval = "cluster-t",
    bounds: Bounds | None = None,
    rng: np.random.Generator | None = None,
    policy: str = "policy",
    against: Mapping[str, ArrayLike] | None = None,
    limits: SupportLimits | None = None,
    messages: Messages | None = None,
    calibration: PropensityCalibration | None = None,
    segments: str | ArrayLike | None = None,
) -> OPEReport:
    """Estimate a policy's value per decision on every objective, with intervals and a verdict on support.

    One pass in float64; memory is that of (n, k) arrays. Wrong to use on the rows that the policy or the reward model
    was trained on (split by user first), and for policies whose effect lasts beyond the reward's window (see
    `evaluate_sequential`).

    Args:
        dataset: the log.
        action_probs: (n, k), the policy's probabilities on the log's decisions; rows sum to 1 on eligible candidates.
        q_hat: (n, k) or (n, k, m), a reward model's predictions, fitted on other users (`cross_fit` makes them).
        ratios: other importance weights (n,) by name, for estimators that use them; those of `mips-message`,
            `mips-campaign` and their kin are computed where they are not given.
        estimators: names from `ESTIMATORS` or estimators with settings; by default `ips`, `snips`, `dr`, `switch-dr`
            and `dros`, or those of them that need no model when `q_hat` is not given (which `notes` then says).
        cluster: `user` (rows of one user may depend on each other), `decision` (rows are independent: intervals are
            too narrow where users come more than once), or labels (n,).
        level: nominal coverage of the intervals.
        interval: a name from `INTERVALS` or an interval with settings: `cluster-t` is fast and right where the verdict
            is fine, `cressie-read` right on rare events too, `bootstrap` recomputes ratios, `bernstein` holds at every
            size, `anytime` at every look at a growing log. Others can be had of the report later.
        bounds: the largest weight and the ranges of rewards that the design allows; `bernstein` needs them, and
            `cressie-read` takes what was seen where they are not declared.
        rng: for `bootstrap`; one draw of it seeds the report's.
        policy: a name for the report.
        against: other policies' probabilities (n, k) on this log by the names of their reports. Differences from them
            then know what a decision could weigh under both policies at once, which makes their `cressie-read` and
            `anytime` intervals much shorter where the policies resemble each other.
        limits: where `caution` and `refuse` begin.
        messages: from `Messages.of(dataset)`, to save time when many policies are judged on one log.
        calibration: from `propensity_calibration(dataset)`, likewise; it depends on the log alone.
        segments: a context feature, or one label for each row (n,): support is then asked of each segment too, and a
            refusal names it.

    Returns:
        An `OPEReport`.

    Raises:
        InvalidInputError: if probabilities do not fit the log, or an estimator named explicitly needs what is not
            given: `q_hat`, `ratios`, or a log that holds the logging policy's whole distribution; or an interval does:
            `bounds`, `rng`; or the log breaks the bounds.
        UnknownNameError: if there is no such estimator or interval.
        SupportError: if there are fewer than two clusters.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> n = 2000
        >>> action = rng.integers(0, 2, n)
        >>> data = LoggedDataset(
        ...     context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
        ...     propensity=np.full(n, 0.5), reward=(rng.random(n) < 0.2 + 0.2 * action)[:, None],
        ...     objectives=("clicked",), user=np.arange(n), time=np.arange(n))
        >>> report = evaluate_policy(data, np.tile([0.0, 1.0], (n, 1)), policy="always send")
        >>> report.support.verdict, str(report.estimate("clicked", "snips"))
        ('fine', '0.4151 [0.3852, 0.4451]')
    """
    check_probability("level", level)
    known = messages or Messages.of(dataset)
    chosen, notes = _choose(estimators, q_hat is not None)
    clusters, cluster_name = _clusters(dataset, cluster)
    kind, declared = get_interval(interval), bounds or Bounds()
    for name in declared.reward:
        if name not in dataset.objectives:
            raise unknown_name("bounds: objective", name, dataset.objectives)

    table = PolicyTable.read(dataset, action_probs, known, q_hat)
    weight = table.logged / dataset.propensity
    others = _check_ratios(dataset, table.probs, known, chosen, ratios)
    values: dict[tuple[str, str], float] = {}
    influence: dict[tuple[str, str], FloatArray] = {}
    details: dict[tuple[str, str], dict[str, float]] = {}
    bias: dict[tuple[str, str], float] = {}
    gathered = _Gathered(weight, clusters, declared)
    for j, objective in enumerate(dataset.objectives):
        reward = np.ascontiguousarray(dataset.reward[:, j])
        inputs = Rows(weight, reward, *table.predictions(j), others)
        gathered.open(objective, inputs, None if table.q_hat is None else table.q_hat[:, :, j])
        mean = float(reward.mean())
        values[LOGGED, objective] = mean
        influence[LOGGED, objective] = cluster_influence(reward - mean, clusters)
        gathered.logged(objective, mean)
        for estimator in chosen:
            key = (estimator.name, objective)
            try:
                result = estimator(inputs)
            except SupportError as error:
                notes = (*notes, f"{estimator.name} of {objective} is left out: {error}")
                continue
            influence[key] = cluster_influence(result.influence, clusters)
            values[key] = result.value
            details[key] = dict(result.details)
            gathered.add(key, estimator, result, influence[key])
            if result.unbiased is not None:
                bias[key] = details[key]["possible_bias"] = possible_bias(result, result.unbiased, clusters, level)
    others_probs = {
        name: check_action_probs(dataset, other, name=f"against[{name!r}]") for name, other in (against or {}).items()
    }
    pairings = {name: Pairing.of(dataset, table.probs, other, table.q_hat) for name, other in others_probs.items()}
    ingredients = gathered.done(pairings)
    seed = None if rng is None else int(rng.integers(2**53))  # which JSON keeps exactly
    items = {key: ingredients.of(*key, values[key], psi) for key, psi in influence.items()}
    estimates, left_out = _intervals(kind, items, level, None if seed is None else np.random.default_rng(seed))
    logged = {objective: estimates.pop((LOGGED, objective)) for objective in dataset.objectives}
    support = assess(
        weight,
        clusters,
        reward=dataset.reward,
        objectives=dataset.objectives,
        unsupported=unsupported_share(dataset, table.probs, known),
        messages=_message_table(table, known),
        limits=limits,
        propensity=calibration or propensity_calibration(dataset, clusters=clusters, messages=known),
        segments=()
        if segments is None
        else segment_support(dataset, table.probs, segments, clusters=clusters, messages=known),
    )
    return OPEReport(
        policy=policy,
        objectives=dataset.objectives,
        estimators=tuple(estimator.name for estimator in chosen),
        n=dataset.n,
        n_users=clusters.count,
        level=level,
        cluster=cluster_name,
        unit="decision",
        estimates=estimates,
        logged=logged,
        support=support,
        influence=influence,
        fingerprint=dataset.fingerprint,
        details={key: details[key] for key in estimates},
        notes=(*notes, *left_out, *bias_notes(bias, estimates)),
        interval=kind.name,
        ingredients=ingredients,
        seed=seed,
    )


class _Gathered:
    """What intervals need beside the influence, gathered while the rows are at hand."""

    def __init__(self, weight: FloatArray, clusters: Clusters, bounds: Bounds) -> None:
        self._weight, self._clusters, self._bounds = weight, clusters, bounds
        self._shares: dict[str, FloatArray] = {DECISIONS: clusters.sums(np.ones(len(weight))) / len(weight)}
        self._weighted: dict[tuple[str, str], tuple[str, FloatArray]] = {}
        self._extremes: dict[tuple[str, str], Extremes] = {}
        self._limits: dict[str, tuple[float, float]] = {}
        self._bounded: tuple[str, ...] = ()
        self._forms: dict[tuple[str, str], Form] = {}

    def open(self, objective: str, rows: Rows, q: FloatArray | None) -> None:
        """Begin an objective, whose predictions are q (n, k)."""
        known = self._bounds.max_weight is not None and objective in self._bounds.reward
        # The range of all predictions is a true bound, but costs a pass over (n, k); without declared bounds those of
        # the logged actions and of the policy do.
        predicted = None if q is None or rows.q_logged is None else (q if known else rows.q_logged)
        self._possible = Possible.of(objective, self._weight, rows.reward, predicted, self._bounds)
        self._model_mean = 0.0 if rows.q_policy is None else float(rows.q_policy.mean())
        if self._possible.limits is not None:
            self._limits[objective] = self._possible.limits
        if known:
            self._bounded = (*self._bounded, objective)

    def logged(self, objective: str, mean: float) -> None:
        """The log's own mean."""
        low, high = self._possible.reward
        self._extremes[LOGGED, objective] = (low - mean, low - mean), (high - mean, high - mean)

    def add(self, key: tuple[str, str], estimator: Estimator, result: RowEstimate, psi: FloatArray) -> None:
        """One estimate, with its influence by user ψ (G,)."""
        normaliser = None
        if result.weighted is not None:
            weights, term = result.weighted
            name = WEIGHT if weights is self._weight else estimator.name
            normaliser = float(weights.mean())
            if name not in self._shares:
                self._shares[name] = self._clusters.sums(weights) / (normaliser * len(weights))
            own = psi if term is result.influence else cluster_influence(term, self._clusters)
            self._weighted[key] = (name, own)
        modelled, mean = estimator.needs_q_hat, self._model_mean if estimator.needs_q_hat else 0.0
        low, high = self._possible.extremes(
            result.value, modelled=modelled, model_mean=mean, normaliser=normaliser, max_weight=result.max_weight
        )
        if result.plain:
            self._forms[key] = self._possible.form(result.value, modelled, mean, normaliser)
        # Estimators that are of another form are at least as extreme as what was seen.
        least, greatest = float(result.influence.min()), float(result.influence.max())
        if least < min(low[0], high[0]) or greatest > max(low[1], high[1]):
            low, high = ((min(one, least), max(two, greatest)) for one, two in (low, high))
        self._extremes[key] = low, high

    def done(self, pairings: Mapping[str, Pairing]) -> Ingredients:
        """All of it."""
        return Ingredients(
            self._shares, self._weighted, self._extremes, self._limits, self._bounded, len(self._weight), self._forms,
            pairings,
        )  # fmt: skip


def _intervals(
    kind: Interval,
    items: Mapping[tuple[str, str], Contributions],
    level: float,
    rng: np.random.Generator | None,
) -> tuple[dict[tuple[str, str], Estimate], tuple[str, ...]]:
    """Estimates by key, all in one call where possible; and sentences on those that have no such interval."""
    try:
        return dict(zip(items, kind(list(items.values()), level, rng), strict=True)), ()
    except SupportError:
        out: dict[tuple[str, str], Estimate] = {}
        notes: tuple[str, ...] = ()
        for (name, objective), item in items.items():
            try:
                out[name, objective] = kind([item], level, rng)[0]
            except SupportError as error:
                if name == LOGGED:  # if the log itself has no interval, nothing has
                    raise
                notes = (*notes, f"{name} of {objective} is left out: {error}")
        return out, notes


def _check_ratios(
    dataset: LoggedDataset,
    probs: FloatArray,
    messages: Messages,
    chosen: Sequence[Estimator],
    ratios: Mapping[str, ArrayLike] | None,
) -> dict[str, FloatArray]:
    """The given weights, checked, and those that the estimators need beside them."""
    out: dict[str, FloatArray] = {}
    for name, values in (ratios or {}).items():
        shaped = check_finite(f"ratios[{name!r}]", check_shape(f"ratios[{name!r}]", values, (dataset.n,)))
        out[name] = np.asarray(shaped, dtype=np.float64)
        if out[name].min(initial=0.0) < 0:
            row = int(np.argmax(out[name] < 0))
            raise InvalidInputError(
                describe(f"ratios[{name!r}][{row}]", float(out[name][row]), "must be >= 0", "Weights are ratios.")
            )
    for item in chosen:
        needed = getattr(item, "needs_ratio", None)
        if needed in EMBEDDINGS and needed not in out:
            out[needed] = marginal_weights(dataset, probs, embedding_codes(dataset, needed, messages))
    return out


def _choose(estimators: Sequence[str | Estimator] | None, has_q: bool) -> tuple[tuple[Estimator, ...], tuple[str, ...]]:
    if isinstance(estimators, str):
        raise InvalidInputError(describe("estimators", estimators, "must be a sequence of names", "Write (name,)."))
    chosen = tuple(get_estimator(item) for item in (DEFAULT_ESTIMATORS if estimators is None else estimators))
    names = [item.name for item in chosen]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(
            describe("estimators", names, "must be distinct names, at least one", f"Known: {', '.join(ESTIMATORS)}.")
        )
    needing = [item.name for item in chosen if item.needs_q_hat]
    if has_q or not needing:
        return chosen, ()
    if estimators is not None:
        raise InvalidInputError(
            describe(
                "q_hat", None, f"is needed by {', '.join(needing)}", "Pass a reward model's predictions (n, k, m)."
            )
        )
    note = f"No reward model was given: {', '.join(needing)} are left out."
    return tuple(item for item in chosen if not item.needs_q_hat), (note,)


def _clusters(dataset: LoggedDataset, cluster: str | NDArray[np.integer]) -> tuple[Clusters, str]:
    if isinstance(cluster, str):
        if cluster == "user":
            return Clusters.of(dataset.user), "user"
        if cluster == "decision":
            return Clusters(np.arange(dataset.n), dataset.n), "decision"
        raise unknown_name("cluster", cluster, ("user", "decision"), "Or pass labels (n,).")
    clusters = Clusters.of(np.asarray(check_shape("cluster", cluster, (dataset.n,))))
    # Named by what they hold: influences of other clusters must not be paired.
    return clusters, f"custom {hashlib.sha256(clusters.code.tobytes()).hexdigest()[:12]}"


def _message_table(table: PolicyTable, messages: Messages) -> tuple[MessageSupport, ...]:
    """One line a message, the policy's favourites first."""
    eligible, logged, share = table.eligible_total, table.logged_total, table.policy_total / len(table.probs)
    order = np.lexsort((np.arange(len(share)), -logged, -share))
    return tuple(
        MessageSupport(messages.names[i], int(eligible[i]), int(logged[i]), float(share[i]))
        for i in order
        if eligible[i] > 0
    )
