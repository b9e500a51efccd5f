"""Q-functions for sequential evaluation: given as arrays, as a function, or fitted here by linear FQE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_positive, check_shape
from homing.errors import InvalidInputError, SupportError, describe
from homing.log.dataset import Batch, LoggedDataset
from homing.ope.sequential.base import Trained
from homing.ope.sequential.trajectories import Trajectories, totals

FloatArray = NDArray[np.float64]
#: Rows that are expanded to (rows, k, p) at a time.
BATCH = 8192
#: Steps that the default features tell apart.
STEPS = 9
#: Fitted values beyond this many times the largest possible return have diverged.
MAX_RETURNS = 10.0


@dataclass(frozen=True, eq=False)
class QValues:
    """A Q-function on the decisions of a log, in the order of the trajectories.

    Attributes:
        logged: float64 (n, m), q̂ at the logged action, for each objective.
        policy: float64 (n, m), v̂ = Σ_a π q̂.
        trained: for each objective, how q̂ depends on the users it was fitted on; empty if it came from elsewhere.
    """

    logged: FloatArray
    policy: FloatArray
    trained: tuple[Trained, ...] = ()


@dataclass(frozen=True, eq=False)
class _LinearFit:
    """One objective's fit: implements `Trained`. See `LinearFQE` for the formula."""

    paths: Trajectories
    logged: FloatArray  # φ (n, p)
    policy: FloatArray  # φ^π (n, p)
    fold: NDArray[np.int64]  # (n,)
    inverses: FloatArray  # (folds, p, p), of Σ φ (φ - γ φ^π')ᵀ over the other folds
    delta: FloatArray  # (folds, n), r + γ v̂' - q̂ by each fold's model; 0 on its own users, whom it has not seen

    def __call__(
        self,
        at_logged: FloatArray,
        block_logged: NDArray[np.int64],
        at_policy: FloatArray,
        block_policy: NDArray[np.int64],
        blocks: int,
    ) -> FloatArray:
        folds, p = self.inverses.shape[:2]
        wanted = np.zeros((folds, blocks, p))
        for f in range(p):
            for values, at, block in ((self.logged, at_logged, block_logged), (self.policy, at_policy, block_policy)):
                sums = totals(self.fold * blocks + block, at * values[:, f], folds * blocks)
                wanted[:, :, f] += sums.reshape(folds, blocks)
        psi = np.zeros((self.paths.count, blocks))
        for k in range(folds):
            pull = self.delta[k][:, None] * (self.logged @ (wanted[k] @ self.inverses[k]).T)
            psi += np.add.reduceat(pull, self.paths.first, axis=0)
        return psi


@dataclass(frozen=True, eq=False)
class LinearFQE:
    """Fitted Q evaluation with a linear model, cross-fitted by user: nobody is scored by a model that saw them.

    q̂(x, a) = φ(x, a)ᵀ θ. Each round of FQE regresses r + γ v̂(x') on φ; with a linear model the rounds converge to the
    solution of Σ φ (φ - γ φ^π')ᵀ θ = Σ φ r with φ^π = Σ_a π φ, which is computed here at once, for all objectives in
    one solve. The value after a user's last decision is 0, as it is for all estimators here.

    Wrong to use where φ cannot express the value: `fqe` then is biased, while `dr` and `wdr` only lose precision. In
    particular, how much is left of a journey that always ends after so many decisions must be among the features, and
    where it changes what a message or the context is worth, their products too.

    The influence is that of the solution of estimating equations: a user in training fold -k changes θ by
    A⁻¹ Σ_t φ_t δ_t with δ_t = r_t + γ v̂(x_{t+1}) - q̂(x_t, a_t).

    Attributes:
        features: φ as an array (n, k, p), or a function of a batch that returns (b, k, p); by default an intercept, the
            context, the candidate's features, whether it is a message, that times the context, and how many decisions
            the user had before, as indicators up to 9.
        folds: users are split by their order into so many parts.
        ridge: penalty on θ in units of each feature's own sum of squares; it only keeps collinear features solvable.

    References:
        Le, Voloshin and Yue (2019), "Batch Policy Learning under Constraints" (FQE); Duan, Jia and Wang (2020),
        "Minimax-Optimal Off-Policy Evaluation with Linear Function Approximation" (the linear solution); Hao, Ji, Duan,
        Lu, Szepesvári and Wang (2021), "Bootstrapping Fitted Q-Evaluation for Off-Policy Inference" (its asymptotic
        normality).

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((4, 1)), candidates=np.zeros((4, 2, 1)), eligible=np.ones((4, 2), bool),
        ...     action=[1, 1, 0, 0], propensity=np.full(4, 0.5), reward=[[3.0], [3.0], [1.0], [1.0]],
        ...     objectives=("steps",), user=[0, 1, 2, 3], time=[0, 1, 2, 3])
        >>> paths = Trajectories(data.user, np.ones(4), gamma=1.0)
        >>> half = np.full((4, 2), 0.5)
        >>> LinearFQE(folds=2).fit(data, half, paths).policy[:, 0].round(3).tolist()
        [2.0, 2.0, 2.0, 2.0]
    """

    features: ArrayLike | Callable[[Batch], ArrayLike] | None = None
    folds: int = 5
    ridge: float = 1e-6

    def __post_init__(self) -> None:
        check_positive("ridge", self.ridge)
        if not (isinstance(self.folds, int) and self.folds >= 2):
            raise InvalidInputError(
                describe("folds", self.folds, "must be an integer >= 2", "A model must not score users it has seen.")
            )

    def fit(self, dataset: LoggedDataset, probs: FloatArray, paths: Trajectories) -> QValues:
        """Fit on the other folds' users and predict.

        Args:
            dataset: the log.
            probs: (n, k), the policy's probabilities.
            paths: trajectories of this log, with the discount.

        Raises:
            InvalidInputError: if features have another shape or are not finite.
            SupportError: if there are fewer than two users, or the fit diverges.
        """
        if paths.count < 2:
            raise SupportError(
                describe("number of users", paths.count, "must be >= 2 to cross-fit", "Pass a q_function instead.")
            )
        step = np.empty(dataset.n, dtype=np.int64)
        step[paths.order] = paths.step
        logged, policy = self._features(dataset, probs, step)
        logged, policy = logged[paths.order], policy[paths.order]
        reward = dataset.reward[paths.order]
        following = np.roll(policy, -1, axis=0) * paths.carry[:, None]  # carry is 0 at the last decisions
        folds = min(self.folds, paths.count)
        fold_of_user = np.arange(paths.count) % folds
        fold = fold_of_user[paths.user]
        p, m = logged.shape[1], reward.shape[1]
        systems, targets, squares = np.empty((folds, p, p)), np.empty((folds, p, m)), np.empty((folds, p))
        for k in range(folds):
            own = fold == k
            phi = logged[own]
            systems[k] = phi.T @ (phi - following[own])
            targets[k] = phi.T @ reward[own]
            squares[k] = (phi**2).sum(axis=0)
        out = QValues(np.empty((len(fold), m)), np.empty((len(fold), m)))
        inverses, delta = np.empty((folds, p, p)), np.empty((folds, len(fold), m))
        for k in range(folds):
            own = fold == k
            size = squares.sum(axis=0) - squares[k]
            penalty = self.ridge * np.where(size > 0.0, size, 1.0)  # a feature that is 0 throughout gets 0
            matrix = systems.sum(axis=0) - systems[k] + np.diag(penalty)
            try:
                inverses[k] = np.linalg.inv(matrix)
            except np.linalg.LinAlgError as error:
                raise SupportError(_diverged("no solution")) from error
            theta = inverses[k] @ (targets.sum(axis=0) - targets[k])
            out.logged[own], out.policy[own] = logged[own] @ theta, policy[own] @ theta
            delta[k] = reward - (logged - following) @ theta
            delta[k, own] = 0.0
        longest = float(paths.sums(paths.discount).max())
        bound = MAX_RETURNS * longest * np.abs(reward).max(axis=0)
        largest = np.abs(out.policy[paths.first]).max(axis=0)
        if not (largest <= bound + 1e-9).all():
            raise SupportError(_diverged(float(largest.max())))
        trained = (_LinearFit(paths, logged, policy, fold, inverses, delta[:, :, j].copy()) for j in range(m))
        return QValues(out.logged, out.policy, tuple(trained))

    def _features(
        self, dataset: LoggedDataset, probs: FloatArray, step: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """φ at the logged action and φ^π, both (n, p), without ever holding (n, k, p)."""
        given = None
        if self.features is not None and not callable(self.features):
            given = np.asarray(check_shape("features", self.features, (dataset.n, dataset.k, None)))
        logged, policy = [], []
        for start in range(0, dataset.n, BATCH):
            rows = np.arange(start, min(start + BATCH, dataset.n))
            if given is not None:
                phi = given[rows]
            elif callable(self.features):
                phi = np.asarray(self.features(dataset.rows(rows)))
                check_shape("features(batch)", phi, (len(rows), dataset.k, None))
            else:
                phi = default_features(dataset.rows(rows), step[rows])
            phi = np.asarray(check_finite("features", phi), dtype=np.float64)
            logged.append(phi[np.arange(len(phi)), dataset.action[rows]])
            policy.append(np.einsum("bk,bkp->bp", probs[rows], phi))
        return np.concatenate(logged), np.concatenate(policy)


def default_features(batch: Batch, step: NDArray[np.int64]) -> FloatArray:
    """Intercept, context, candidate's features, whether it is a message, that times the context, and the step.

    Args:
        batch: b rows.
        step: (b,), how many decisions each row's user had before; indicators of 1 to `STEPS`, the last for more.

    Returns:
        (b, k, 2 + 2d + c + STEPS).
    """
    b, k, _ = batch.candidates.shape
    context = np.broadcast_to(batch.context[:, None, :], (b, k, batch.context.shape[1])).astype(np.float64)
    message = np.broadcast_to((np.arange(k) > 0).astype(np.float64)[None, :, None], (b, k, 1))
    steps = np.minimum(step, STEPS)[:, None] == np.arange(1, STEPS + 1)
    steps = np.broadcast_to(steps[:, None, :], (b, k, STEPS)).astype(np.float64)
    return np.concatenate([np.ones((b, k, 1)), context, batch.candidates, message, message * context, steps], axis=2)


#: Predictions (n, k) or (n, k, m); a function of a batch that returns them for its rows; or a model to be fitted.
QFunction = ArrayLike | Callable[[Batch], ArrayLike] | LinearFQE


def q_values(dataset: LoggedDataset, probs: FloatArray, paths: Trajectories, q_function: QFunction) -> QValues:
    """Evaluate a Q-function on a log; see `evaluate_sequential`.

    Raises:
        InvalidInputError: if predictions have another shape or are not finite.
        SupportError: if a fit diverges.
    """
    if isinstance(q_function, LinearFQE):
        return q_function.fit(dataset, probs, paths)
    if not callable(q_function):
        q = _checked("q_function", q_function, dataset.n, dataset)
        logged, policy = q[np.arange(dataset.n), dataset.action], np.einsum("nk,nkm->nm", probs, q)
        return QValues(logged[paths.order], policy[paths.order])
    logged, policy = np.empty((2, dataset.n, len(dataset.objectives)))
    for batch in dataset.batches(BATCH):
        q = _checked("q_function(batch)", q_function(batch), len(batch.rows), dataset)
        logged[batch.rows] = q[np.arange(len(q)), batch.action]
        policy[batch.rows] = np.einsum("bk,bkm->bm", probs[batch.rows], q)
    return QValues(logged[paths.order], policy[paths.order])


def _checked(name: str, q: ArrayLike, rows: int, dataset: LoggedDataset) -> FloatArray:
    q = np.asarray(q, dtype=np.float64)
    if q.ndim == 2 and len(dataset.objectives) == 1:
        q = q[:, :, None]
    wanted = (rows, dataset.k, len(dataset.objectives))
    check_shape(name, q, wanted, next_step="One prediction for each decision, candidate and objective.")
    # Predictions where the probability is 0 are never used, but 0 · NaN is NaN.
    return np.asarray(check_finite(name, q), dtype=np.float64)


def _diverged(value: object) -> str:
    return describe(
        "fitted Q-function",
        value,
        "must be bounded by what journeys can return",
        "Its features cannot follow this policy from this log: use fewer features, more ridge, or give a q_function.",
    )
