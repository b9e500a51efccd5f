"""Selection: which estimator, and which setting of it, a log warrants.

`tune` chooses a threshold on weights, with intervals that do not forget that it was chosen; `select_estimator` tells
which of several estimators is likely to be least wrong.
"""

from __future__ import annotations

from homing.ope.selection.estimators import EstimatorSelection, JudgedEstimator, select_estimator
from homing.ope.selection.importance_fitting import Imitation, imitate
from homing.ope.selection.slope import FAMILIES, Candidate, Selection, slope, threshold_grid, tune

__all__ = [
    "FAMILIES",
    "Candidate",
    "EstimatorSelection",
    "Imitation",
    "JudgedEstimator",
    "Selection",
    "imitate",
    "select_estimator",
    "slope",
    "threshold_grid",
    "tune",
]
