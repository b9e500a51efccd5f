"""`evaluate_sequential`: what a policy would have earned over each user's whole trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, SupportError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.bias import bias_notes, possible_bias
from homing.ope.diagnostics import PropensityCalibration, propensity_calibration
from homing.ope.estimate import Clusters, cluster_influence
from homing.ope.intervals import Contributions, Interval, get_interval
from homing.ope.limits import SupportLimits
from homing.ope.messages import Messages
from homing.ope.report import LOGGED, OPEReport
from homing.ope.sequential.base import Journeys, SequentialEstimator
from homing.ope.sequential.q_function import LinearFQE, QFunction, QValues, q_values
from homing.ope.sequential.registry import SEQUENTIAL, get_sequential
from homing.ope.sequential.states import MessagesSent, State, state_codes
from homing.ope.sequential.trajectories import Trajectories
from homing.ope.support import assess, unsupported_share
from homing.ope.table import check_action_probs

FloatArray = NDArray[np.float64]
#: Estimators whose every term has the weight of a whole trajectory, and intervals that take a sum of such for normal.
WHOLE_JOURNEYS, NORMAL_INTERVALS = ("tis", "sntis"), ("cluster-t", "bootstrap")
#: Squares of weights up to exp(300) fit float64, summed and with room for rewards.
MAX_LOG_WEIGHT = 300.0


def evaluate_sequential(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    *,
    gamma: float,
    q_function: QFunction | None = None,
    state: State | None = None,
    time_unit: timedelta | None = None,
    estimators: Sequence[str | SequentialEstimator] | None = None,
    level: float = 0.95,
    interval: str | Interval = "cluster-t",
    rng: np.random.Generator | None = None,
    policy: str = "policy",
    limits: SupportLimits | None = None,
    messages: Messages | None = None,
    calibration: PropensityCalibration | None = None,
) -> OPEReport:
    """Estimate a policy's discounted return per user, where its decisions change what comes later.

    Each user's rows are one trajectory, of any length, with candidates and eligibility of their own at every decision.
    Wrong to use on long trajectories with estimators that multiply weights (`tis`, `pdis`, `dr` and their kin): the
    variance grows exponentially, and the verdict, which is on those weights, will say so. `smis`, `mwl`, `arp` and
    `fqe` do not multiply weights; what they assume instead is said at each.

    Args:
        dataset: the log; every user's decisions from the first one on.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        gamma: discount in [0, 1], per decision, or per `time_unit` of elapsed time.
        q_function: what a journey earns from a decision on if the policy goes on from the next one, discounted like
            here: predictions (n, k) or (n, k, m) of a model fitted on other users, a function of a batch that returns
            (b, k, m), or a `LinearFQE`, which is fitted here and cross-fitted by user.
        state: the reduced state of `smis`, `mwl` and `arp`: labels (n,), parts (n, c), or a function of the log.
        time_unit: γ^(elapsed time / time_unit) discounts what comes later (a semi-Markov process): decisions that lie a
            week apart weigh less than those of one day. Per decision when None.
        estimators: names from `SEQUENTIAL` or estimators with settings. By default `pdis` and `snpdis`, with a
            `q_function` also `dr`, `wdr` and `fqe`, with a `state` also `smis`. Those that are named and lack what they
            need get `LinearFQE()` and `MessagesSent()`, which `notes` says.
        level: nominal coverage of the intervals.
        interval: a name from `INTERVALS` or an interval with settings, on users' contributions. `bernstein` is refused:
            whole trajectories' weights have no bound that would help.
        rng: for `bootstrap`; one draw of it seeds the report's.
        policy: a name for the report.
        limits: where `caution` and `refuse` begin; the effective sample size is that of whole trajectories' weights.
        messages: from `Messages.of(dataset)`, to save time when many policies are judged on one log.
        calibration: from `propensity_calibration(dataset)`, likewise; it depends on the log alone.

    Returns:
        An `OPEReport` per user; `compare` and the gate read it like one per decision.

    Raises:
        InvalidInputError: if probabilities, predictions or states do not fit the log, or `gamma` is outside [0, 1].
        UnknownNameError: if there is no such estimator.
        SupportError: if there are fewer than two users, or a trajectory's weight is beyond float64.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((4, 1)), candidates=np.zeros((4, 2, 1)), eligible=np.ones((4, 2), bool),
        ...     action=[1, 1, 0, 1], propensity=np.full(4, 0.5), reward=[[1.0], [1.0], [5.0], [1.0]],
        ...     objectives=("steps",), user=[0, 0, 1, 1], time=[0, 1, 0, 1])
        >>> always = np.tile([0.0, 1.0], (4, 1))
        >>> evaluate_sequential(data, always, gamma=0.5).estimate("steps", "pdis").value  # (2·1 + 0.5·4·1 + 0) / 2
        2.0
        >>> q = [[0.5, 1.5], [0.0, 1.0], [0.5, 1.5], [0.0, 1.0]]  # silence earns nothing, a message 1
        >>> evaluate_sequential(data, always, gamma=0.5, q_function=q).estimate("steps", "dr").value
        1.5
    """
    check_probability("level", level)
    if not (isinstance(gamma, int | float) and 0.0 <= gamma <= 1.0):
        raise InvalidInputError(
            describe("gamma", gamma, "must be in [0, 1]", "It discounts per decision, or per time_unit.")
        )
    if time_unit is not None:
        _check_time_unit(time_unit)
    kind = get_interval(interval)
    if kind.name == "bernstein":
        raise InvalidInputError(
            describe("interval", kind.name, "must not need bounds on weights", "Use 'cressie-read' or 'bootstrap'.")
        )
    chosen = _choose(estimators, q_function is not None, state is not None)
    names = tuple(item.name for item in chosen)
    probs = check_action_probs(dataset, action_probs)
    weight = probs[np.arange(dataset.n), dataset.action] / dataset.propensity
    paths = Trajectories(dataset.user, weight, gamma=float(gamma), time=dataset.time, time_unit=time_unit)
    top = float(paths.log_weight.max())
    if top > MAX_LOG_WEIGHT:
        raise SupportError(
            describe("log of a trajectory's weight", top, f"must be <= {MAX_LOG_WEIGHT:g}", "Shorten the trajectories.")
        )
    known = messages or Messages.of(dataset)
    notes: list[str] = []
    q = _q_values(dataset, probs, paths, q_function, [item.name for item in chosen if item.needs_q], notes)
    codes = _states(dataset, paths, state, [item.name for item in chosen if item.needs_state], notes)
    values: dict[tuple[str, str], float] = {}
    influence: dict[tuple[str, str], FloatArray] = {}
    details: dict[tuple[str, str], dict[str, float]] = {}
    bias: dict[tuple[str, str], float] = {}
    returns = np.empty((paths.count, len(dataset.objectives)))
    clusters = Clusters(np.arange(paths.count), paths.count)
    for j, objective in enumerate(dataset.objectives):
        reward = np.ascontiguousarray(dataset.reward[paths.order, j])
        returns[:, j] = paths.sums(paths.discount * reward)
        mean = float(returns[:, j].mean())
        values[LOGGED, objective], influence[LOGGED, objective] = mean, (returns[:, j] - mean) / paths.count
        journeys = _journeys(paths, reward, q, j, codes)
        for estimator in chosen:
            if estimator.needs_q and q is None:
                continue
            key = (estimator.name, objective)
            try:
                result = estimator(journeys)
            except SupportError as error:
                notes.append(f"{estimator.name} of {objective} is left out: {error}")
                continue
            values[key], influence[key] = result.value, cluster_influence(result.influence, clusters)
            details[key] = dict(result.details)
            if result.unbiased is not None:
                bias[key] = details[key]["possible_bias"] = possible_bias(result, result.unbiased, clusters, level)
    seed = None if rng is None else int(rng.integers(2**53))  # which JSON keeps exactly
    items = [Contributions(values[key], psi) for key, psi in influence.items()]
    made = kind(items, level, None if seed is None else np.random.default_rng(seed))
    estimates = dict(zip(influence, made, strict=True))
    logged = {objective: estimates.pop((LOGGED, objective)) for objective in dataset.objectives}
    return OPEReport(
        policy=policy,
        objectives=dataset.objectives,
        estimators=names,
        n=paths.count,
        n_users=paths.count,
        level=level,
        cluster="user",
        unit="user",
        estimates=estimates,
        logged=logged,
        support=assess(
            np.exp(paths.log_weight[paths.last]),
            clusters,
            reward=returns,
            objectives=dataset.objectives,
            unsupported=unsupported_share(dataset, probs, known),
            limits=limits,
            unit="trajectories",
            propensity=calibration or propensity_calibration(dataset, messages=known),
        ),
        influence=influence,
        fingerprint=dataset.fingerprint,
        details=details,
        notes=(*notes, *bias_notes(bias, estimates), *_narrow_notes(names, kind.name)),
        gamma=float(gamma),
        interval=kind.name,
        seed=seed,
        time_unit_seconds=None if time_unit is None else time_unit.total_seconds(),
    )


def _narrow_notes(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """A sentence where intervals are known to cover less than they say."""
    narrow = [name for name in names if name in WHOLE_JOURNEYS]
    if not narrow or kind not in NORMAL_INTERVALS:
        return ()
    return (
        f"Caution: {kind} intervals of {', '.join(narrow)} are too narrow, as the tails of whole trajectories' weights "
        "are not in the sample; ask for interval='cressie-read', or use pdis or snpdis.",
    )


def _check_time_unit(time_unit: timedelta) -> None:
    if not isinstance(time_unit, timedelta):
        raise InvalidInputError(
            describe("time_unit", time_unit, "must be a timedelta", "Write datetime.timedelta(days=1).")
        )
    check_positive("time_unit.total_seconds()", time_unit.total_seconds())


def _choose(
    estimators: Sequence[str | SequentialEstimator] | None, has_q: bool, has_state: bool
) -> tuple[SequentialEstimator, ...]:
    if isinstance(estimators, str):
        raise InvalidInputError(describe("estimators", estimators, "must be a sequence of names", "Write (name,)."))
    if estimators is None:
        estimators = ("pdis", "snpdis", *(("dr", "wdr", "fqe") if has_q else ()), *(("smis",) if has_state else ()))
    chosen = tuple(get_sequential(item) for item in estimators)
    names = [item.name for item in chosen]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(
            describe("estimators", names, "must be distinct names, at least one", f"Known: {', '.join(SEQUENTIAL)}.")
        )
    return chosen


def _q_values(
    dataset: LoggedDataset,
    probs: FloatArray,
    paths: Trajectories,
    q_function: QFunction | None,
    needing: list[str],
    notes: list[str],
) -> QValues | None:
    if not needing:
        return None
    if q_function is None:
        notes.append(
            f"No Q-function was given: {', '.join(needing)} use a linear one on the log's features, cross-fitted by "
            "user."
        )
    try:
        return q_values(dataset, probs, paths, LinearFQE() if q_function is None else q_function)
    except SupportError as error:
        notes.append(f"{', '.join(needing)} are left out: {error}")
        return None


def _states(
    dataset: LoggedDataset, paths: Trajectories, state: State | None, needing: list[str], notes: list[str]
) -> NDArray[np.int64] | None:
    if not needing:
        return None
    if state is None:
        state = MessagesSent()
        notes.append(
            f"No state was given: {', '.join(needing)} take the number of messages that a user had been sent "
            f"(up to {state.most}) for all that matters of the past."
        )
    return state_codes(dataset, state)[paths.order]


def _journeys(
    paths: Trajectories, reward: FloatArray, q: QValues | None, j: int, codes: NDArray[np.int64] | None
) -> Journeys:
    if q is None:
        return Journeys(paths, reward, state=codes)
    trained = q.trained[j] if q.trained else None
    logged, policy = (np.ascontiguousarray(values[:, j]) for values in (q.logged, q.policy))
    return Journeys(paths, reward, logged, policy, trained, codes)
