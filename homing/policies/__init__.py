"""Policies: from decisions to probabilities over candidates, with NumPy alone; saved as JSON and safetensors."""

from homing.policies.artifact import FORMAT, PolicyArtifact, load_policy, save_policy
from homing.policies.batches import dataset_probs, dataset_values
from homing.policies.bilinear import BilinearScorer
from homing.policies.column_scores import ColumnScorer
from homing.policies.decision_transformer import DecisionTransformerPolicy, History
from homing.policies.fixed import FixedCandidatePolicy, SilencePolicy, UniformPolicy
from homing.policies.inverse_gap import InverseGapPolicy
from homing.policies.linear import LinearRewardModel
from homing.policies.neural import NeuralRewardModel
from homing.policies.numerics import masked_softmax, uniform_probs
from homing.policies.policy import Policy, sample_actions
from homing.policies.q_values import QValues
from homing.policies.recovering import Recency, RecoveringScorer
from homing.policies.scorer import PredictingScorer, RewardModel, Scorer
from homing.policies.send_if import SendIfPolicy, TwoModelScorer
from homing.policies.shares import MessageSharesPolicy
from homing.policies.structured import Effects, StructuredAdvantage
from homing.policies.thompson import CrossedFeatures, FeatureMap, HiddenFeatures, MessageGroups, ThompsonPolicy
from homing.policies.towers import ClonePolicy, Towers
from homing.policies.types import register, type_named, type_names
from homing.policies.weibull import WeibullVisitModel
from homing.policies.wrappers import EpsilonGreedyPolicy, GreedyPolicy, SoftmaxPolicy

__all__ = [
    "FORMAT",
    "BilinearScorer",
    "ClonePolicy",
    "ColumnScorer",
    "CrossedFeatures",
    "DecisionTransformerPolicy",
    "Effects",
    "EpsilonGreedyPolicy",
    "FeatureMap",
    "FixedCandidatePolicy",
    "GreedyPolicy",
    "HiddenFeatures",
    "History",
    "InverseGapPolicy",
    "LinearRewardModel",
    "MessageGroups",
    "MessageSharesPolicy",
    "NeuralRewardModel",
    "Policy",
    "PolicyArtifact",
    "PredictingScorer",
    "QValues",
    "Recency",
    "RecoveringScorer",
    "RewardModel",
    "Scorer",
    "SendIfPolicy",
    "SilencePolicy",
    "SoftmaxPolicy",
    "StructuredAdvantage",
    "ThompsonPolicy",
    "Towers",
    "TwoModelScorer",
    "UniformPolicy",
    "WeibullVisitModel",
    "dataset_probs",
    "dataset_values",
    "load_policy",
    "masked_softmax",
    "register",
    "sample_actions",
    "save_policy",
    "type_named",
    "type_names",
    "uniform_probs",
]
