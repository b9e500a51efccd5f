"""Experiments: design, run, decide, explain; independent of how messages are chosen.

A plan says what is measured, on whom, and what will be decided how (`ExperimentPlan`). The data become mergeable sums
(`SufficientStatistics`), the sums a scorecard (`analyze`), and the scorecard a decision (`decide`). The exposure log
and the outcomes are the only contract with the rest: any experiment can be analysed, not just of messages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from homing.experiments.analysis import analyze
from homing.experiments.assignment import Assignment, Layer
from homing.experiments.corrections import Adjustment, Corrections, correct
from homing.experiments.decision import ShipDecision, TreatmentDecision, decide
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
from homing.experiments.quality import PreExposureBias, SampleRatio
from homing.experiments.sample_size import Detectable, MetricSize, SampleSize, detectable, plan_sample_size
from homing.experiments.scorecard import Comparison, ComparisonPath, OneSidedTest, QualityResult, Scorecard
from homing.experiments.sequential import anytime_regression_half_width, anytime_regression_p_value
from homing.experiments.statistics import SufficientStatistics, aggregates_needed

if TYPE_CHECKING:
    from homing.experiments.artifacts import Readout, read_out
    from homing.experiments.baseline import Baseline, MetricBaseline
    from homing.experiments.certificate import Certificate
    from homing.experiments.certify import simulate_aa, simulate_aa_on, simulate_power
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
    from homing.experiments.progressive import EffectPrior, ProgressiveEffect, progressive_effect
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
    from homing.experiments.surrogate import FittedIndex, SurrogateEffect, SurrogateIndex
    from homing.experiments.surrogate_validation import PastExperiment, SurrogateValidation, validate_surrogate
    from homing.experiments.switchback import switchback_periods

#: What is asked for less often comes when it is: an import of this room stays light.
_LATER = {
    "Baseline": "baseline",
    "BreakEven": "reachability",
    "BudgetReading": "interference",
    "BudgetSplit": "interference",
    "Certificate": "certificate",
    "ComplierEffect": "encouragement",
    "Decomposition": "decomposition",
    "EffectPrior": "progressive",
    "ExposureLog": "exposure",
    "FittedIndex": "surrogate",
    "HoldoutReadout": "holdout",
    "KaplanMeier": "reachability",
    "MetricBaseline": "baseline",
    "PastExperiment": "surrogate_validation",
    "ProgressiveEffect": "progressive",
    "Reachability": "reachability",
    "ReachabilityReadout": "reachability",
    "ReachableTime": "reachability",
    "Readout": "artifacts",
    "SegmentEffect": "heterogeneity",
    "SegmentEffects": "heterogeneity",
    "SendCounts": "interference",
    "SurrogateEffect": "surrogate",
    "SurrogateIndex": "surrogate",
    "SurrogateValidation": "surrogate_validation",
    "SystemEffect": "holdout",
    "Term": "decomposition",
    "break_even": "reachability",
    "complier_effect": "encouragement",
    "decompose": "decomposition",
    "expose": "exposure",
    "for_analysis": "exposure",
    "losses_of": "reachability",
    "merge_exposures": "exposure",
    "per_send": "reachability",
    "progressive_effect": "progressive",
    "reachable_at": "reachability",
    "reachable_days": "reachability",
    "read_budget": "interference",
    "read_exposures": "exposure",
    "read_holdout": "holdout",
    "read_out": "artifacts",
    "read_reachability": "reachability",
    "segment_effects": "heterogeneity",
    "simulate_aa": "certify",
    "simulate_aa_on": "certify",
    "simulate_power": "certify",
    "switchback_periods": "switchback",
    "validate_surrogate": "surrogate_validation",
    "write_exposures": "exposure",
}

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


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"homing.experiments.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
