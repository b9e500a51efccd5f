"""Diagnostics: whether a log can answer, each with a verdict (fine, caution, refuse) and its reason in words."""

from __future__ import annotations

from homing.ope.diagnostics.drift import LogDrift, log_drift
from homing.ope.diagnostics.moments import MomentTest, zero_mean_p_value
from homing.ope.diagnostics.propensity import PropensityCalibration, propensity_calibration
from homing.ope.diagnostics.reward_model import CalibrationBin, RewardModelCalibration, reward_model_calibration
from homing.ope.diagnostics.segments import SegmentSupport, context_segments, segment_support
from homing.ope.diagnostics.shifts import FeatureShift, MessageShift
from homing.ope.diagnostics.tails import WeightTail, kish, weight_tail
from homing.ope.diagnostics.today import Today
from homing.ope.diagnostics.verdict import Findings, Verdict, worst

__all__ = [
    "CalibrationBin",
    "FeatureShift",
    "Findings",
    "LogDrift",
    "MessageShift",
    "MomentTest",
    "PropensityCalibration",
    "RewardModelCalibration",
    "SegmentSupport",
    "Today",
    "Verdict",
    "WeightTail",
    "context_segments",
    "kish",
    "log_drift",
    "propensity_calibration",
    "reward_model_calibration",
    "segment_support",
    "weight_tail",
    "worst",
    "zero_mean_p_value",
]
