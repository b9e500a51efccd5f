"""Diagnostics: whether a log can answer, each with a verdict (fine, caution, refuse) and its reason in words."""

from __future__ import annotations

from homing.ope.diagnostics.propensity import MomentTest, PropensityCalibration, propensity_calibration
from homing.ope.diagnostics.tails import WeightTail, kish, weight_tail
from homing.ope.diagnostics.verdict import Findings, Verdict, worst

__all__ = [
    "Findings",
    "MomentTest",
    "PropensityCalibration",
    "Verdict",
    "WeightTail",
    "kish",
    "propensity_calibration",
    "weight_tail",
    "worst",
]
