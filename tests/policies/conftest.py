"""Random decisions and one instance of every registered type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from homing.policies import (
    BilinearScorer,
    ClonePolicy,
    ColumnScorer,
    CrossedFeatures,
    DecisionTransformerPolicy,
    Effects,
    EpsilonGreedyPolicy,
    FixedCandidatePolicy,
    GreedyPolicy,
    HiddenFeatures,
    InverseGapPolicy,
    LinearRewardModel,
    MessageGroups,
    MessageSharesPolicy,
    NeuralRewardModel,
    PredictingScorer,
    QValues,
    Recency,
    RecoveringScorer,
    SendIfPolicy,
    SilencePolicy,
    SoftmaxPolicy,
    StructuredAdvantage,
    ThompsonPolicy,
    Towers,
    TwoModelScorer,
    UniformPolicy,
    WeibullVisitModel,
)

N, K, D, C, M = 40, 6, 3, 5, 2


@dataclass(frozen=True)
class Decisions:
    context: np.ndarray
    candidates: np.ndarray
    eligible: np.ndarray

    def probs(self, policy, weights=None):
        return policy.action_probs(self.context, self.candidates, self.eligible, weights)


@pytest.fixture
def decisions(rng: np.random.Generator) -> Decisions:
    """40 decisions, 6 candidates: one-hot messages in two columns, numbers in the others; some not eligible."""
    candidates = rng.normal(size=(N, K, C)).astype(np.float32)
    candidates[:, :, :2] = np.eye(2)[rng.integers(0, 2, (N, K))]
    eligible = rng.random((N, K)) < 0.7
    eligible[:, 0] |= ~eligible.any(axis=1)
    return Decisions(rng.normal(size=(N, D)).astype(np.float32), candidates, eligible)


def linear(rng: np.random.Generator) -> LinearRewardModel:
    return LinearRewardModel(
        rng.normal(size=(M, C, D)), rng.normal(size=(M, C)), rng.normal(size=(M, D)), rng.normal(size=M),
        ("logit", "identity"), np.array([0.8, 2.0]), np.array([-0.5, 1.0]), np.array([1.0, 0.5]),
    )  # fmt: skip


def neural(rng: np.random.Generator) -> NeuralRewardModel:
    return NeuralRewardModel(
        rng.normal(size=(D, 7)), rng.normal(size=(C, 7)), rng.normal(size=7), rng.normal(size=(7, 4)),
        rng.normal(size=4), rng.normal(size=(4, M)), rng.normal(size=(C, M)), rng.normal(size=M),
        ("logit", "identity"), np.array([0.8, 2.0]), np.array([-0.5, 1.0]), np.array([1.0, 0.5]),
    )  # fmt: skip


def bilinear(rng: np.random.Generator) -> BilinearScorer:
    return BilinearScorer(
        rng.normal(size=(M, C, D)), rng.normal(size=(M, C)), np.array([1.0, 0.5]), np.array([0.5, 3.0])
    )


def towers(rng: np.random.Generator, outputs: int, *, members: int = 3, extra: int = 0) -> Towers:
    shapes = ((D + extra, 7), (7,), (7, 6), (6,), (6, outputs, C + 4), (outputs, C + 4), (C, 4), (4,))
    return Towers(*(rng.normal(size=(members, *shape)) for shape in shapes))


def q_values(rng: np.random.Generator, **options) -> QValues:
    extra = M if options.get("conditioned") else 0
    return QValues(
        towers(rng, M, extra=extra),
        rng.normal(size=(3, 6, M)),
        rng.normal(size=(3, M)),
        np.array([1.0, 0.5]),
        **options,
    )


def shares() -> MessageSharesPolicy:
    return MessageSharesPolicy(np.array([1.0, 3.0]), np.array([0, 1]), silence=2.0, other=0.5)


def weibull(rng: np.random.Generator) -> WeibullVisitModel:
    return WeibullVisitModel(
        rng.normal(size=(C, D)) * 0.3, rng.normal(size=C) * 0.3, rng.normal(size=D) * 0.3, 2.0, 0.8, 24.0
    )


def recovering(rng: np.random.Generator, recency: Recency | None) -> RecoveringScorer:
    return RecoveringScorer(rng.normal(size=(2, 4)) * 0.02, np.array([0, 1]), np.array([2]), recency)


def structured(rng: np.random.Generator) -> StructuredAdvantage:
    response = LinearRewardModel(
        rng.normal(size=(2, C, D)), rng.normal(size=(2, C)), rng.normal(size=(2, D)), rng.normal(size=2),
        ("logit", "logit"), np.ones(2), np.zeros(2), np.ones(2),
    )  # fmt: skip
    now, sticks = (
        Effects(rng.normal(size=(2, M)), rng.normal(size=(2, M, D)), rng.normal(size=(2, M, C))) for _ in range(2)
    )
    return StructuredAdvantage(
        response, now, sticks, rng.normal(size=(1, M, 1 + D)), np.array([1]), np.full(1 + C, 0.1), np.array([1.0, 0.5])
    )


def transformer(rng: np.random.Generator) -> DecisionTransformerPolicy:
    h, f, q, levels = 8, 6, 5, 3
    shapes = (
        (D + C + 1, h), (h,), (D + M, h), (h,), (h, h), (h, h), (h, h), (h, h), (h, f), (f,), (f, h), (h,),
        (h, C), (C,), (D, q), (q,), (q, M * levels), (M * levels,),
    )  # fmt: skip
    arrays = (rng.normal(size=shape) * 0.4 for shape in shapes)
    return DecisionTransformerPolicy(*arrays, np.array([0.1, 0.5, 0.9]), np.array([0.5, 2.0]), np.array([1.0, 0.5]))


@pytest.fixture
def instances(rng: np.random.Generator) -> dict[str, object]:
    """One policy around (or of) every registered type, by the type's name."""
    return {
        "uniform": UniformPolicy(),
        "silence": SilencePolicy(),
        "fixed": FixedCandidatePolicy(column=1),
        "message-shares": shares(),
        "greedy": GreedyPolicy(neural(rng)),
        "softmax": SoftmaxPolicy(linear(rng), 0.3, shares()),
        "epsilon-greedy": EpsilonGreedyPolicy(GreedyPolicy(linear(rng)), 0.2),
        "bilinear": SoftmaxPolicy(bilinear(rng), 1.0),
        "predicting-scorer": EpsilonGreedyPolicy(SoftmaxPolicy(PredictingScorer(bilinear(rng), linear(rng)), 2.0)),
        "linear-reward": SoftmaxPolicy(linear(rng), 0.5),
        "towers": GreedyPolicy(q_values(rng, conditioned=True)),
        "q-values": SoftmaxPolicy(q_values(rng, caution=0.5), 4.0),
        "clone": ClonePolicy(towers(rng, 1)),
        "neural-reward": SoftmaxPolicy(neural(rng), 0.5),
        "column-scores": SoftmaxPolicy(ColumnScorer(np.arange(1.0, C + 1), D)),
        "recency": SoftmaxPolicy(recovering(rng, Recency(column=4, mean=9.0, scale=5.0, missing=3)), 0.01),
        "recovering": GreedyPolicy(recovering(rng, None)),
        "effects": SoftmaxPolicy(structured(rng), 0.5),
        "structured-advantage": EpsilonGreedyPolicy(SoftmaxPolicy(structured(rng), 2.0)),
        "send-if": SendIfPolicy(linear(rng), 0.2),
        "two-models": SoftmaxPolicy(TwoModelScorer(linear(rng), linear(rng)), 0.5),
        "crossed-features": ThompsonPolicy(
            CrossedFeatures(rng.normal(size=(D, 2)), C), rng.normal(size=(20, M, 3 * C)), np.array([1.0, 0.5])
        ),
        "message-groups": ThompsonPolicy(
            MessageGroups(np.array([0, 2]), np.array([1]), 2, (D, C)), rng.normal(size=(20, M, 8)), np.array([1.0, 0.5])
        ),
        "hidden-features": ThompsonPolicy(
            HiddenFeatures(neural(rng)), rng.normal(size=(20, M, 4 + C)), np.array([1.0, 0.5])
        ),
        "thompson": EpsilonGreedyPolicy(
            ThompsonPolicy(CrossedFeatures(np.zeros((D, 0)), C), rng.normal(size=(30, M, C)), np.array([1.0, 0.5])), 0.1
        ),
        "inverse-gap": InverseGapPolicy(linear(rng), 20.0, np.diag([1.0, 4.0]), np.array([1.0, 0.5])),
        "decision-transformer": transformer(rng),
        "weibull-visit": SendIfPolicy(weibull(rng), 0.1, "relative"),
    }
