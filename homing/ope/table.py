"""A policy's table of probabilities on a log, checked and read once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_shape
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.messages import Messages, pieces

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PolicyTable:
    """What estimators and diagnostics need of a policy's probabilities (n, k) and a model's predictions (n, k, m).

    Attributes:
        probs: float64 (n, k), the policy's probabilities.
        logged: (n,), the policy's probability of what was logged.
        q_hat: float64 (n, k, m), the model's predictions; None without a model.
        q_logged: (m, n), the model's prediction for what was logged; None without a model.
        q_policy: (m, n), Σ_a π(a | x) q̂(x, a); None without a model.
        policy_total: (J,), the policy's probability by message, summed over rows.
        eligible_total: (J,), candidates that could be chosen, by message.
        logged_total: (J,), choices that were made, by message.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((2, 1)), candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool), action=[0, 1],
        ...     propensity=[0.5, 0.5], reward=[[0.0], [1.0]], objectives=("clicked",), user=[0, 1], time=[0, 1])
        >>> table = PolicyTable.read(data, [[0.2, 0.8], [0.4, 0.6]], Messages.of(data), [[1.0, 2.0], [3.0, 4.0]])
        >>> table.logged.tolist(), table.q_logged.tolist(), table.q_policy.round(2).tolist()
        ([0.2, 0.6], [[1.0, 4.0]], [[1.8, 3.6]])
        >>> table.policy_total.round(2).tolist(), table.logged_total.tolist()
        ([0.6, 1.4], [1, 1])
    """

    probs: FloatArray
    logged: FloatArray
    q_hat: FloatArray | None
    q_logged: FloatArray | None
    q_policy: FloatArray | None
    policy_total: FloatArray
    eligible_total: FloatArray
    logged_total: NDArray[np.int64]

    @classmethod
    def read(
        cls, dataset: LoggedDataset, action_probs: ArrayLike, messages: Messages, q_hat: ArrayLike | None = None
    ) -> PolicyTable:
        """Read both arrays once, piece by piece.

        Args:
            dataset: the log.
            action_probs: (n, k), as `check_action_probs` wants them.
            messages: of the log.
            q_hat: (n, k, m), or (n, k) for one objective; finite. None without a model.

        Raises:
            InvalidInputError: if they are not so.
        """
        m, width = len(dataset.objectives), len(messages.names)
        probs = _shaped(dataset, action_probs)
        n, k = probs.shape
        q = None if q_hat is None else _predictions(dataset, q_hat)
        logged = np.empty(n)
        q_logged, q_policy = (None, None) if q is None else (np.empty((m, n)), np.empty((m, n)))
        policy_total, eligible_total = np.zeros(width), np.zeros(width)
        for rows in pieces(n, k):
            part, allowed, action = probs[rows], dataset.eligible[rows], dataset.action[rows]
            check_probs("action_probs", part, allowed, rows.start)
            cell = np.arange(len(part)) * k + action
            logged[rows] = part.reshape(-1).take(cell)
            policy_total += messages.totals(part, rows.start)
            eligible_total += messages.totals(allowed, rows.start)
            if q is not None and q_logged is not None and q_policy is not None:
                predicted = q[rows]
                q_logged[:, rows] = predicted.reshape(-1, m).take(cell, axis=0).T
                for j in range(m):
                    np.einsum("nk,nk->n", part, predicted[:, :, j], out=q_policy[j, rows])
                # What is not finite makes its row's sum so, even where its probability is 0.
                if not np.isfinite(q_policy[:, rows]).all():
                    _check_predictions(predicted, rows.start)
        return cls(probs, logged, q, q_logged, q_policy, policy_total, eligible_total, messages.chosen(dataset.action))

    def predictions(self, objective: int) -> tuple[FloatArray | None, FloatArray | None]:
        """The model's predictions (n,) of one objective, for what was logged and for the policy."""
        if self.q_logged is None or self.q_policy is None:
            return None, None
        return self.q_logged[objective], self.q_policy[objective]


def check_action_probs(dataset: LoggedDataset, action_probs: ArrayLike, *, name: str = "action_probs") -> FloatArray:
    """Return the probabilities as float64 (n, k) if they are a policy on this log's decisions.

    Args:
        dataset: the log.
        action_probs: (n, k).
        name: what errors call them.

    Raises:
        InvalidInputError: on another shape, NaN, a negative number, a row that does not sum to 1 within 1e-6, or
            probability on a candidate that is not eligible.
    """
    probs = _shaped(dataset, action_probs, name)
    for rows in pieces(*probs.shape):
        check_probs(name, probs[rows], dataset.eligible[rows], rows.start)
    return probs


def check_predictions(dataset: LoggedDataset, q_hat: ArrayLike) -> FloatArray:
    """Return a model's predictions as float64 (n, k, m), (n, k) for one objective, if they fit the log and are finite.

    Raises:
        InvalidInputError: if they do not, or are not.
    """
    q = _predictions(dataset, q_hat)
    _check_predictions(q, 0)
    return q


def check_probs(name: str, probs: ArrayLike, eligible: NDArray[np.bool_], first: int = 0) -> FloatArray:
    """Return some rows of a policy's probabilities, of which the first is row `first` of the log; see above.

    Args:
        name: what errors call them.
        probs: (b, k).
        eligible: bool (b, k).
        first: row of the log.
    """
    out = np.asarray(check_shape(name, probs, eligible.shape), dtype=np.float64)
    # One that is not finite makes a total that is not 1. (Of short rows `einsum` is the faster sum.)
    whole = (np.abs(np.einsum("nk->n", out) - 1.0) <= 1e-6).all()
    if not (whole and out.min(initial=0.0) >= 0.0 and (eligible.all() or not out[~eligible].any())):
        raise _broken(name, out, eligible, first)
    return out


def _shaped(dataset: LoggedDataset, action_probs: ArrayLike, name: str = "action_probs") -> FloatArray:
    return np.asarray(check_shape(name, action_probs, (dataset.n, dataset.k)), dtype=np.float64)


def _broken(name: str, probs: FloatArray, eligible: NDArray[np.bool_], first: int) -> InvalidInputError:
    finite = np.isfinite(probs)
    for found, bound, step in (
        (~finite, "must be finite", "Look for NaN in the policy's scores."),
        (finite & (probs < 0), "must be >= 0", ""),
        (finite & (probs > 0) & ~eligible, "must be 0 where the candidate is not eligible",
         "Mask with dataset.eligible, then normalise."),
    ):  # fmt: skip
        if found.any():
            row, column = (int(i) for i in np.argwhere(found)[0])
            place = f"{name}[{first + row}, {column}]"
            return InvalidInputError(describe(place, float(probs[row, column]), bound, step))
    totals = probs.sum(axis=1)
    row = int(np.argmax(np.abs(totals - 1.0) > 1e-6))
    place = f"{name}[{first + row}].sum()"
    return InvalidInputError(describe(place, float(totals[row]), "must be 1", "Normalise over the eligible."))


def _predictions(dataset: LoggedDataset, q_hat: ArrayLike) -> FloatArray:
    q = np.asarray(q_hat, dtype=np.float64)
    if q.ndim == 2 and len(dataset.objectives) == 1:
        q = q[:, :, None]
    wanted = (dataset.n, dataset.k, len(dataset.objectives))
    check_shape("q_hat", q, wanted, next_step="One prediction for each decision, candidate and objective.")
    return q


def _check_predictions(q: FloatArray, first: int) -> None:
    bad = np.argwhere(~np.isfinite(q))
    if len(bad):
        row, column, j = (int(i) for i in bad[0])
        name = f"q_hat[{first + row}, {column}, {j}]"
        raise InvalidInputError(describe(name, float(q[row, column, j]), "must be finite"))
