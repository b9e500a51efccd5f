"""Selection: which setting of an estimator a log warrants, with intervals that do not forget that it was chosen."""

from __future__ import annotations

from homing.ope.selection.slope import FAMILIES, Candidate, Selection, slope, threshold_grid, tune

__all__ = ["FAMILIES", "Candidate", "Selection", "slope", "threshold_grid", "tune"]
