"""Learners: from logged decisions to policies, one algorithm a file, found by name; trained in torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from homing.learners.learner import Learner, make, names, objective_weights
from homing.learners.train import TrainReport, train

if TYPE_CHECKING:
    from homing.learners.behaviour_cloning import BehaviourCloning
    from homing.learners.cql import CQL
    from homing.learners.decision_transformer import DecisionTransformer
    from homing.learners.direct_method import Linear, Neural
    from homing.learners.double_dqn import DoubleDQN
    from homing.learners.doubly_robust import DoublyRobust
    from homing.learners.iql import IQL
    from homing.learners.message_shares import MessageShares
    from homing.learners.progressive import Progressive
    from homing.learners.q_learning import train_many
    from homing.learners.recovering_softmax import RecoveringSoftmax
    from homing.learners.reward_models import FittedModel, fit_reward_model
    from homing.learners.rules import BestCTR, Priority, Uniform
    from homing.learners.squarecb import SquareCB
    from homing.learners.structured import Structured
    from homing.learners.surrogate import Surrogate, surrogate_rewards
    from homing.learners.survival import SurvivalRule
    from homing.learners.thompson import LinTS, NeuralLinear
    from homing.learners.uplift import DRLearner, RLearner, SLearner, TLearner, XLearner

#: Every learner by name: its module and class. A new one is a line here; it is imported when it is first made.
LEARNERS = {
    "behaviour-cloning": ("behaviour_cloning", "BehaviourCloning"),
    "best-ctr": ("rules", "BestCTR"),
    "cql": ("cql", "CQL"),
    "decision-transformer": ("decision_transformer", "DecisionTransformer"),
    "double-dqn": ("double_dqn", "DoubleDQN"),
    "doubly-robust": ("doubly_robust", "DoublyRobust"),
    "dr-learner": ("uplift", "DRLearner"),
    "iql": ("iql", "IQL"),
    "lin-ts": ("thompson", "LinTS"),
    "linear": ("direct_method", "Linear"),
    "message-shares": ("message_shares", "MessageShares"),
    "neural": ("direct_method", "Neural"),
    "neural-linear": ("thompson", "NeuralLinear"),
    "priority": ("rules", "Priority"),
    "progressive": ("progressive", "Progressive"),
    "r-learner": ("uplift", "RLearner"),
    "recovering-softmax": ("recovering_softmax", "RecoveringSoftmax"),
    "s-learner": ("uplift", "SLearner"),
    "squarecb": ("squarecb", "SquareCB"),
    "structured": ("structured", "Structured"),
    "surrogate": ("surrogate", "Surrogate"),
    "survival-rule": ("survival", "SurvivalRule"),
    "t-learner": ("uplift", "TLearner"),
    "uniform": ("rules", "Uniform"),
    "x-learner": ("uplift", "XLearner"),
}

_LATER = {cls: module for module, cls in LEARNERS.values()} | {
    "FittedModel": "reward_models",
    "fit_reward_model": "reward_models",
    "surrogate_rewards": "surrogate",
    "train_many": "q_learning",
}

__all__ = [
    "CQL",
    "IQL",
    "LEARNERS",
    "BehaviourCloning",
    "BestCTR",
    "DRLearner",
    "DecisionTransformer",
    "DoubleDQN",
    "DoublyRobust",
    "FittedModel",
    "Learner",
    "LinTS",
    "Linear",
    "MessageShares",
    "Neural",
    "NeuralLinear",
    "Priority",
    "Progressive",
    "RLearner",
    "RecoveringSoftmax",
    "SLearner",
    "SquareCB",
    "Structured",
    "Surrogate",
    "SurvivalRule",
    "TLearner",
    "TrainReport",
    "Uniform",
    "XLearner",
    "fit_reward_model",
    "make",
    "names",
    "objective_weights",
    "surrogate_rewards",
    "train",
    "train_many",
]


def __getattr__(name: str) -> object:
    # Torch takes seconds to import: only what fits models needs it.
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
