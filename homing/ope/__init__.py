"""Off-policy evaluation: what a policy would have earned on a log that another policy wrote, with intervals.

`evaluate_policy` judges a policy per decision, `evaluate_sequential` per user over time; both return an `OPEReport`
whose `support` says whether the log can answer at all. `compare` pairs two reports by user, `compare_many` several.
`evaluate_log` makes the same estimates of a log's parts, for logs that do not fit memory, of `PolicySums`.
`evaluate_artifacts` does it all for saved policies on a saved log; `pareto` puts all objectives side by side,
`support_map` all messages and segments. `propensity_calibration` and `reward_model_calibration` test what estimates
stand on; `log_drift` says whether the log still speaks of today, `evaluate_today` what a policy is worth there. `tune`
and `select_estimator` choose thresholds and estimators by the log.
"""

from __future__ import annotations

from homing.ope.artifacts import evaluate_artifacts
from homing.ope.crossfit import cross_fit
from homing.ope.deciding import Deciding
from homing.ope.diagnostics import (
    LogDrift,
    PropensityCalibration,
    RewardModelCalibration,
    Today,
    log_drift,
    propensity_calibration,
    reward_model_calibration,
)
from homing.ope.estimate import Estimate
from homing.ope.estimators import (
    ESTIMATORS,
    Estimator,
    RowEstimate,
    Rows,
    balanced_weights,
    marginal_weights,
    mrdr_weights,
)
from homing.ope.evaluate import evaluate_policy
from homing.ope.evaluation import Evaluation
from homing.ope.events import EventSupport
from homing.ope.intervals import (
    INTERVALS,
    BettingSequence,
    Bounds,
    Interval,
    betting_sequence,
    empirical_likelihood,
    simultaneous_level,
)
from homing.ope.limits import SupportLimits
from homing.ope.pareto import Pareto, pareto
from homing.ope.report import OPEReport, compare, compare_many
from homing.ope.selection import EstimatorSelection, Selection, select_estimator, tune
from homing.ope.sequential import SEQUENTIAL, LinearFQE, MessagesSent, SequentialEstimator, evaluate_sequential
from homing.ope.sums import Decisions, LogPart, PolicySums, SumsReport, SumsSupport, evaluate_log
from homing.ope.support import MessageSupport, Support
from homing.ope.support_map import SupportMap, support_map
from homing.ope.today import evaluate_today

__all__ = [
    "ESTIMATORS",
    "INTERVALS",
    "SEQUENTIAL",
    "BettingSequence",
    "Bounds",
    "Deciding",
    "Decisions",
    "Estimate",
    "Estimator",
    "EstimatorSelection",
    "Evaluation",
    "EventSupport",
    "Interval",
    "LinearFQE",
    "LogDrift",
    "LogPart",
    "MessageSupport",
    "MessagesSent",
    "OPEReport",
    "Pareto",
    "PolicySums",
    "PropensityCalibration",
    "RewardModelCalibration",
    "RowEstimate",
    "Rows",
    "Selection",
    "SequentialEstimator",
    "SumsReport",
    "SumsSupport",
    "Support",
    "SupportLimits",
    "SupportMap",
    "Today",
    "balanced_weights",
    "betting_sequence",
    "compare",
    "compare_many",
    "cross_fit",
    "empirical_likelihood",
    "evaluate_artifacts",
    "evaluate_log",
    "evaluate_policy",
    "evaluate_sequential",
    "evaluate_today",
    "log_drift",
    "marginal_weights",
    "mrdr_weights",
    "pareto",
    "propensity_calibration",
    "reward_model_calibration",
    "select_estimator",
    "simultaneous_level",
    "support_map",
    "tune",
]
