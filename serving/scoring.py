"""Probabilities of the champion for given decisions, without drawing or logging: what the KServe predictor answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.decisions import DecideRequest
from homing.decisions.model import Encoded, ServedPolicy
from homing.errors import HomingError, InvalidInputError, describe
from serving.champion import Champion

#: Most numbers in one request's candidates: 64 MiB as float32.
MAX_NUMBERS = 2**24


@dataclass(frozen=True, eq=False)
class Scored:
    """Probabilities (n, k), silence first, 0 where not eligible; counts (n,) of real candidates; who said so."""

    probabilities: NDArray[np.float64]
    counts: NDArray[np.int64]
    policy: str


def score_requests(champion: Champion, requests: Sequence[Any], now: datetime) -> Scored:
    """Score decide requests; every candidate counts as eligible, since guards need the ledger.

    Raises:
        InvalidInputError: naming the request and what is wrong in it.
    """
    checked = []
    for i, item in enumerate(requests):
        try:
            checked.append(DecideRequest.from_dict(item))
        except HomingError as error:
            raise InvalidInputError(f"instances[{i}]: {error}") from None
    model = ServedPolicy.of(champion.artifact, champion.version)
    weights = [model.weights(request.weights) for request in checked]
    if len({None if w is None else w.tobytes() for w in weights}) > 1:
        bound = "must be the same in all instances"
        raise InvalidInputError(describe("weights", "different", bound, "Send one call for each set of weights."))
    features = model.encode(checked, [request.decided_at or now for request in checked])
    eligible = np.arange(features.candidates.shape[1])[None, :] < features.counts[:, None]
    return _score(model, features, eligible, weights[0])


def score_arrays(champion: Champion, context: Any, candidates: Any, eligible: Any) -> Scored:
    """Score columns as the policy sees them: context (n, d), candidates (n, k, c), eligible (n, k), silence first.

    Raises:
        InvalidInputError: naming the array, its shape or the value that breaks the bound.
    """
    model = ServedPolicy.of(champion.artifact, champion.version)
    d, c = (None, None)
    if model.encoder is not None:
        d, c = len(model.encoder.context_names), len(model.encoder.candidate_names)
    mask = _array("eligible", eligible, 2, bool)
    n, k = mask.shape
    x = _shaped("context", _array("context", context, 2, np.float32), (n, d))
    z = _shaped("candidates", _array("candidates", candidates, 3, np.float32), (n, k, c))
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        row = int(empty[0])
        bound = "must have at least one candidate eligible"
        raise InvalidInputError(
            describe(f"eligible[{row}]", mask[row].tolist(), bound, "Silence (the first) always may be.")
        )
    return _score(model, Encoded(x, z, np.full(n, k, dtype=np.int64)), mask, None)


def _score(
    model: ServedPolicy, features: Encoded, eligible: NDArray[np.bool_], weights: NDArray[np.float64] | None
) -> Scored:
    probs, problems = model.probabilities(features, np.arange(len(eligible)), eligible, weights)
    for i, problem in enumerate(problems):
        if problem is not None:
            # As in the decision service: a policy that cannot answer is silent.
            bound = f"gives no probabilities ({problem})"
            raise InvalidInputError(describe(f"policy for instance {i}", model.label, bound, "Treat it as silence."))
    return Scored(probs, features.counts, model.label)


def _array(name: str, value: Any, rank: int, dtype: Any) -> NDArray[Any]:
    try:
        out = np.asarray(value)
        if out.dtype == object or out.dtype.kind not in "biuf":
            raise ValueError
    except (ValueError, TypeError):
        bound = f"must be numbers in {rank} dimensions, all rows of one length"
        raise InvalidInputError(describe(name, "ragged or not numeric", bound)) from None
    if out.ndim != rank or 0 in out.shape[:2]:
        raise InvalidInputError(describe(f"{name}.shape", out.shape, f"must have {rank} dimensions, none of length 0"))
    if out.size > MAX_NUMBERS:
        raise InvalidInputError(
            describe(f"{name}.size", out.size, f"must be at most {MAX_NUMBERS}", "Send fewer rows.")
        )
    with np.errstate(over="ignore"):  # beyond float32: told below
        cast = out.astype(dtype)
    if not np.isfinite(cast).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(cast))[0]]
        bound = f"must be finite as {np.dtype(dtype).name}"
        raise InvalidInputError(describe(f"{name}{where}", float(out[tuple(where)]), bound))
    return cast


def _shaped(name: str, array: NDArray[Any], shape: tuple[int | None, ...]) -> NDArray[Any]:
    if any(want is not None and want != got for want, got in zip(shape, array.shape, strict=True)):
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise InvalidInputError(describe(f"{name}.shape", array.shape, f"must be {wanted}"))
    return array
