"""Experiments: design, run, decide, explain; independent of how messages are chosen.

A plan says what is measured, on whom, and what will be decided how (`ExperimentPlan`). The data become mergeable sums
(`SufficientStatistics`), the sums a scorecard (`analyze`), and the scorecard a decision (`decide`). The exposure log
and the outcomes are the only contract with the rest: any experiment can be analysed, not just of messages.
"""

from __future__ import annotations

from homing.experiments.decomposition import Decomposition, Term, decompose
from homing.experiments.encouragement import ComplierEffect, complier_effect
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
from homing.experiments.scorecard import Comparison, ComparisonPath, OneSidedTest, QualityResult, Scorecard
from homing.experiments.surrogate import FittedIndex, SurrogateEffect, SurrogateIndex
from homing.experiments.surrogate_validation import PastExperiment, SurrogateValidation, validate_surrogate

__all__ = [
    "MDE",
    "MONITORING",
    "NIM",
    "Comparison",
    "ComparisonPath",
    "ComplierEffect",
    "ConfidenceSequence",
    "Covariate",
    "Decomposition",
    "ExperimentPlan",
    "FittedIndex",
    "FixedHorizon",
    "FixedPower",
    "GroupSequential",
    "Hybrid",
    "Metric",
    "Monitoring",
    "OneSidedTest",
    "PastExperiment",
    "PreExposureBias",
    "QualityResult",
    "RatioSet",
    "SampleRatio",
    "Scorecard",
    "SurrogateEffect",
    "SurrogateIndex",
    "SurrogateValidation",
    "Term",
    "Window",
    "complier_effect",
    "decompose",
    "validate_surrogate",
]
