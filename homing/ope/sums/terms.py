"""Estimators as sums: the per-row terms that add up to an estimate, whatever part of the log the rows are."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, SupportError, describe
from homing.ope.estimators import Estimator, RowEstimate, Rows

FloatArray = NDArray[np.float64]


def terms_of(estimator: Estimator, rows: Rows) -> dict[str, FloatArray]:
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


def settled(estimator: Estimator) -> Estimator:
    """The estimator, if it uses π / propensity alone and no setting of it is left to the length of the log."""
    if getattr(estimator, "needs_ratio", None) is not None:
        bound, step = "must use the weights π / propensity alone", "Leave it out, or evaluate a sample with it."
        raise InvalidInputError(describe("estimators", estimator.name, bound, step))
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
