"""Off-policy evaluation of logs that do not fit memory: sums that batches add to and that parts of a log merge."""

from homing.ope.sums.decisions import Decisions
from homing.ope.sums.evaluate_log import evaluate_log
from homing.ope.sums.parts import LogPart
from homing.ope.sums.policy_sums import PolicySums
from homing.ope.sums.report import SumsReport
from homing.ope.sums.support import SumsSupport

__all__ = ["Decisions", "LogPart", "PolicySums", "SumsReport", "SumsSupport", "evaluate_log"]
