"""Experiments: design, run, decide, explain; independent of how messages are chosen.

A plan says what is measured, on whom, and what will be decided how (`ExperimentPlan`). The data become mergeable sums
(`SufficientStatistics`), the sums a scorecard (`analyze`), and the scorecard a decision (`decide`). The exposure log
and the outcomes are the only contract with the rest: any experiment can be analysed, not just of messages.
"""

from __future__ import annotations

from homing.experiments.analysis import analyze
from homing.experiments.artifacts import Readout, read_out
from homing.experiments.assignment import Assignment, Layer
from homing.experiments.baseline import Baseline, MetricBaseline
from homing.experiments.certificate import Certificate
from homing.experiments.certify import simulate_aa, simulate_aa_on, simulate_power
from homing.experiments.corrections import Adjustment, Corrections, correct
from homing.experiments.decision import ShipDecision, TreatmentDecision, decide
from homing.experiments.decomposition import Decomposition, Term, decompose
from homing.experiments.encouragement import ComplierEffect, complier_effect
from homing.experiments.exposure import (
    ExposureLog,
    expose,
    for_analysis,
    merge_exposures,
    read_exposures,
    write_exposures,
)
from homing.experiments.heterogeneity import SegmentEffect, SegmentEffects, segment_effects
from homing.experiments.holdout import HoldoutReadout, SystemEffect, read_holdout
from homing.experiments.interference import BudgetReading, BudgetSplit, SendCounts, read_budget
from homing.experiments.intervals import RatioSet
from homing.experiments.metrics import MDE, NIM, Covariate, Metric, Window
from homing.experiments.monitoring import (
    MONITORING,
    ConfidenceSequence,
    FixedHorizon,
    FixedPower,
    GroupSequential,
    Hybrid,
    Monitoring,
)
from homing.experiments.plan import ExperimentPlan
from homing.experiments.progressive import EffectPrior, ProgressiveEffect, progressive_effect
from homing.experiments.quality import PreExposureBias, SampleRatio
from homing.experiments.reachability import (
    BreakEven,
    KaplanMeier,
    Reachability,
    ReachabilityReadout,
    ReachableTime,
    break_even,
    losses_of,
    per_send,
    reachable_at,
    reachable_days,
    read_reachability,
)
from homing.experiments.sample_size import Detectable, MetricSize, SampleSize, detectable, plan_sample_size
from homing.experiments.scorecard import Comparison, ComparisonPath, OneSidedTest, QualityResult, Scorecard
from homing.experiments.sequential import anytime_regression_half_width, anytime_regression_p_value
from homing.experiments.statistics import SufficientStatistics, aggregates_needed
from homing.experiments.surrogate import FittedIndex, SurrogateEffect, SurrogateIndex
from homing.experiments.surrogate_validation import PastExperiment, SurrogateValidation, validate_surrogate
from homing.experiments.switchback import switchback_periods

__all__ = [
    "MDE",
    "MONITORING",
    "NIM",
    "Adjustment",
    "Assignment",
    "Baseline",
    "BreakEven",
    "BudgetReading",
    "BudgetSplit",
    "Certificate",
    "Comparison",
    "ComparisonPath",
    "ComplierEffect",
    "ConfidenceSequence",
    "Corrections",
    "Covariate",
    "Decomposition",
    "Detectable",
    "EffectPrior",
    "ExperimentPlan",
    "ExposureLog",
    "FittedIndex",
    "FixedHorizon",
    "FixedPower",
    "GroupSequential",
    "HoldoutReadout",
    "Hybrid",
    "KaplanMeier",
    "Layer",
    "Metric",
    "MetricBaseline",
    "MetricSize",
    "Monitoring",
    "OneSidedTest",
    "PastExperiment",
    "PreExposureBias",
    "ProgressiveEffect",
    "QualityResult",
    "RatioSet",
    "Reachability",
    "ReachabilityReadout",
    "ReachableTime",
    "Readout",
    "SampleRatio",
    "SampleSize",
    "Scorecard",
    "SegmentEffect",
    "SegmentEffects",
    "SendCounts",
    "ShipDecision",
    "SufficientStatistics",
    "SurrogateEffect",
    "SurrogateIndex",
    "SurrogateValidation",
    "SystemEffect",
    "Term",
    "TreatmentDecision",
    "Window",
    "aggregates_needed",
    "analyze",
    "anytime_regression_half_width",
    "anytime_regression_p_value",
    "break_even",
    "complier_effect",
    "correct",
    "decide",
    "decompose",
    "detectable",
    "expose",
    "for_analysis",
    "losses_of",
    "merge_exposures",
    "per_send",
    "plan_sample_size",
    "progressive_effect",
    "reachable_at",
    "reachable_days",
    "read_budget",
    "read_exposures",
    "read_holdout",
    "read_out",
    "read_reachability",
    "segment_effects",
    "simulate_aa",
    "simulate_aa_on",
    "simulate_power",
    "switchback_periods",
    "validate_surrogate",
    "write_exposures",
]
