"""The few formulas that every policy shares, and the checks of what policies are given."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.errors import InvalidInputError, describe


def check_inputs(
    context: ArrayLike, candidates: ArrayLike, eligible: ArrayLike
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return context (n, d), candidates (n, k, c) and eligible (n, k) as arrays if their shapes agree.

    Raises:
        InvalidInputError: if shapes disagree, or a row has nothing eligible.
    """
    mask = np.asarray(eligible, dtype=bool)
    if mask.ndim != 2:
        raise InvalidInputError(describe("eligible.shape", mask.shape, "must be (n, k)"))
    x, c = check_features(context, candidates)
    if c.shape[:2] != mask.shape:
        raise InvalidInputError(describe("candidates.shape", c.shape, f"must be {mask.shape} and the features"))
    empty = ~mask.any(axis=1)
    if empty.any():
        row = int(np.argmax(empty))
        raise InvalidInputError(
            describe(
                f"eligible[{row}]",
                "all False",
                "must hold at least one True",
                "Silence is eligible when all else is not.",
            )
        )
    return x, c, mask


def check_features(context: ArrayLike, candidates: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return context (n, d) and candidates (n, k, c) as float32 if their shapes agree.

    Raises:
        InvalidInputError: if they do not.
    """
    x, c = (_numbers(name, array) for name, array in (("context", context), ("candidates", candidates)))
    if x.ndim != 2:
        raise InvalidInputError(describe("context.shape", x.shape, "must be (n, d)"))
    if c.ndim != 3 or len(c) != len(x):
        raise InvalidInputError(describe("candidates.shape", c.shape, f"must be ({len(x)}, k, c)"))
    return x, c


def _numbers(name: str, array: ArrayLike) -> NDArray[np.float32]:
    try:
        return np.asarray(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(describe(f"{name}.dtype", str(np.asarray(array).dtype), "must be numbers")) from error


def check_widths(context: NDArray[np.float32], candidates: NDArray[np.float32], d: int, c: int) -> None:
    """Check that features have the columns that a model was trained on: d of the context, c of a candidate.

    Raises:
        InvalidInputError: if not.
    """
    for name, got, want in (("context", context.shape[1], d), ("candidates", candidates.shape[2], c)):
        if got != want:
            raise InvalidInputError(
                describe(
                    f"{name} columns",
                    got,
                    f"must be {want}, as in training",
                    "Encode with the artifact's own features.",
                )
            )


def resolve_weights(weights: ArrayLike | None, default: NDArray[np.float64]) -> NDArray[np.float64]:
    """The importance of each objective (m,): those given, or the default.

    Raises:
        InvalidInputError: if there are not m of them, or one is not finite.
    """
    if weights is None:
        return default
    try:
        out = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(describe("weights", weights, "must be numbers, one per objective")) from error
    if out.shape != default.shape:
        raise InvalidInputError(describe("weights.shape", out.shape, f"must be {default.shape}, one per objective"))
    if not np.isfinite(out).all():
        raise InvalidInputError(describe("weights", out.tolist(), "must be finite"))
    return out


def masked_softmax(logits: NDArray[np.floating], eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """exp(logits) over what is eligible, normalised: float64 (n, k), rows sum to 1, exactly 0 elsewhere.

    The largest eligible logit is subtracted first, so that no size overflows. -inf among the eligible means never,
    unless a row has nothing else: it is then uniform.

    Raises:
        InvalidInputError: if the largest is NaN or infinite: of features that are, say.

    Example:
        >>> masked_softmax(np.array([[1e9, 1e9, 0.0]]), np.array([[True, True, False]])).tolist()
        [[0.5, 0.5, 0.0]]
    """
    z = np.where(eligible, np.asarray(logits, dtype=np.float64), -np.inf)
    top = check_top(z.max(axis=1, keepdims=True))
    never = np.isneginf(top[:, 0])
    if never.any():
        z[never] = np.where(eligible[never], 0.0, -np.inf)
        top[never] = 0.0
    out: NDArray[np.float64] = np.exp(z - top)
    out /= out.sum(axis=1, keepdims=True)
    return out


def check_top(top: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest score of each row, (n, …), if none is NaN or infinite; −inf is where there is nothing.

    Raises:
        InvalidInputError: if one is.
    """
    bad = ~(top < np.inf)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        step = "Look at that row's features."
        raise InvalidInputError(describe(f"largest score of row {row}", float(top[bad][0]), "must be finite", step))
    return top


def uniform_probs(eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The same probability for all that is eligible, (n, k).

    Example:
        >>> uniform_probs(np.array([[True, False, True]])).tolist()
        [[0.5, 0.0, 0.5]]
    """
    out: NDArray[np.float64] = eligible / eligible.sum(axis=1, keepdims=True)
    return out


def normalise(mass: NDArray[np.float64], eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Non-negative masses (n, k) over what is eligible, normalised; uniform where nothing eligible has any."""
    mass = np.where(eligible, mass, 0.0)
    total = mass.sum(axis=1, keepdims=True)
    out: NDArray[np.float64] = np.where(total > 0, mass / np.where(total > 0, total, 1.0), uniform_probs(eligible))
    return out


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-z)) without overflow, exact at both ends.

    Example:
        >>> sigmoid(np.array([-1e4, 0.0, 1e4])).tolist()
        [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(z))
    out: NDArray[np.float64] = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return out
