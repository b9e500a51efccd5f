"""Q-learning from logs: what Double DQN and conservative Q-learning share, one policy or many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from homing.checks import check_count
from homing.errors import InvalidInputError, describe
from homing.learners.learner import yes_or_no
from homing.learners.network import Form
from homing.learners.prepared import Prepared
from homing.learners.prepared_parts import PreparedParts
from homing.learners.settings import Optimised, not_negative
from homing.learners.temporal_differences import TemporalDifferences
from homing.learners.training import Fitted, Member, fit_members
from homing.log import LoggedDataset, PartedDataset
from homing.policies import EpsilonGreedyPolicy, GreedyPolicy, Policy, QValues

FloatArray = NDArray[np.float64]

#: Settings that learners must agree in to be trained together.
SHARED = (
    "batch_rows", "steps", "patience", "validation_share", "gone_after_days", "candidate_units", "sampled_weights",
    "device", "checkpoint_dir", "engine", "workers",
)  # fmt: skip


@dataclass
class QLearner(Optimised):
    """What Double DQN and CQL share: settings, and how policies are made of networks.

    A log's decisions are a semi-Markov process: what comes Δt days later counts γ^Δt. Rewards are never summed: each
    objective has a head, and the weights, by which the best candidate is chosen in the targets, may be others at run
    time. Q-heads then still answer for the policy of the weights of training; with `sampled_weights` the network is
    told the weights, drawn anew for each transition of training, and answers for the policy of those.

    Training stops when, on users that were held out, the network no longer comes closer to the Bellman targets that it
    now believes in than the best network so far does. Residuals against different targets cannot be compared, and even
    a small one does not make a good policy (Fujimoto et al. 2022, "Why Should I Trust You, Bellman?"): the criterion
    stops overfitting, and which policy to take is a question for off-policy evaluation.

    Attributes:
        members: networks of an ensemble, each with targets of its own (Ghasemipour, Gu & Nachum 2022).
        caution: standard deviations of the members by which a message's advantage over silence is lowered.
        sampled_weights: whether the network is told the weights, drawn for each transition around those of training.
    """

    conservatism: ClassVar[float] = 0.0

    members: int = 1
    caution: float = 0.0
    sampled_weights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.members = check_count("members", self.members)
        self.caution = not_negative("caution", self.caution)
        self.sampled_weights = yes_or_no("sampled_weights", self.sampled_weights)
        if self.caution and self.members < 2:
            step = "One network disagrees with nobody: take at least 2 members."
            raise InvalidInputError(describe("members", self.members, "must be >= 2 with caution", step))

    def fit(
        self,
        dataset: LoggedDataset | PartedDataset,
        *,
        weights: Mapping[str, float] | None = None,
        rng: np.random.Generator,
    ) -> Policy:
        """Fit on a dataset of at least two users; an ε-greedy policy over Q-values."""
        return train_many(dataset, [self], weights=weights, rng=rng)[0]

    def networks(self) -> list[Member]:
        """The members of the ensemble: they differ in their first parameters."""
        return [self.network(self.member_seed + i) for i in range(self.members)]


def train_many(
    dataset: LoggedDataset | PartedDataset,
    learners: Sequence[QLearner],
    *,
    weights: Mapping[str, float] | None = None,
    rng: np.random.Generator,
) -> list[Policy]:
    """Train many Q-learners on one log as one batched network; each is as it would be alone with the same `rng`.

    They may differ in γ, ε, conservatism, members, caution, layer sizes, learning rate, weight decay, target steps and
    seed; what makes the minibatches and the form of the network is `SHARED`. Small layers are padded to the largest:
    group learners of like sizes. Each learner's `report` says how it went.

    Args:
        dataset: the log, in memory or in parts.
        learners: `DoubleDQN` and `CQL` objects, one policy each.
        weights: importance of each objective by name.
        rng: splits users and draws minibatches.

    Raises:
        InvalidInputError: if learners differ in what must be shared, or the log teaches nothing.

    Example:
        >>> from homing.learners import DoubleDQN
        >>> rng = np.random.default_rng(0)
        >>> action = rng.integers(0, 2, 200)
        >>> log = LoggedDataset(
        ...     context=np.zeros((200, 1)), candidates=[np.eye(2)] * 200, eligible=np.ones((200, 2), bool),
        ...     action=action, propensity=np.full(200, 0.5), reward=(rng.random(200) < 0.2 + 0.6 * action)[:, None],
        ...     objectives=("session",), user=np.arange(200) // 10, time=np.arange(200) * 86_400_000_000)
        >>> learners = [DoubleDQN(gamma=gamma, epsilon=0.0, steps=60) for gamma in (0.1, 0.5)]
        >>> decision = np.zeros((1, 1)), np.eye(2)[None], np.ones((1, 2), bool)
        >>> [policy.action_probs(*decision).tolist() for policy in train_many(log, learners, rng=rng)]
        [[[0.0, 1.0]], [[0.0, 1.0]]]
    """
    first = _shared(learners)
    loop = first.loop()
    begun = first.begin(dataset, weights, rng)
    m = len(begun.weights)
    scales = {gamma: begun.scale(gamma) for gamma in {learner.gamma for learner in learners}}
    owner = [i for i, learner in enumerate(learners) for _ in range(learner.members)]
    unit = np.array([scales[learners[i].gamma][1] for i in owner])
    bias = np.array([scales[learners[i].gamma][0] for i in owner]) / unit
    members = [member for learner in learners for member in learner.networks()]
    form = Form(
        begun.form[0] + (m if first.sampled_weights else 0), begun.form[1], m, m,
        first.candidate_units, (max(each.sizes[0] for each in members), max(each.sizes[1] for each in members)),
    )  # fmt: skip

    def tensor(values: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32)

    problem = TemporalDifferences(
        gamma=tensor([learners[i].gamma for i in owner]),
        conservatism=tensor([learners[i].conservatism for i in owner]),
        unit=tensor(unit),
        direction=torch.nn.functional.normalize(tensor(unit * begun.weights), dim=1),
        counted=torch.as_tensor(begun.weights != 0),
        sampled=first.sampled_weights,
        bandit=begun.bandit,
    )
    own = [[learners[i].gamma, learners[i].conservatism] for i in owner]
    fitted = fit_members(
        problem, begun.feed(loop), form, members, bias, loop=loop, seed=begun.seed,
        key=lambda: {**begun.key(), "learner": "q-learning", "settings": own},
    )  # fmt: skip
    policies = []
    for i, learner in enumerate(learners):
        which = [e for e, index in enumerate(owner) if index == i]
        policies.append(_policy(learner, fitted, which, members, unit[which[0]], begun.weights))
        learner.report = _report(learner, fitted, which, begun, scales[learner.gamma], dataset)
    return policies


def _policy(
    learner: QLearner,
    fitted: Fitted,
    which: Sequence[int],
    members: Sequence[Member],
    unit: FloatArray,
    weights: FloatArray,
) -> Policy:
    towers, value, value_bias = fitted.net.towers(which, [member.sizes for member in members], unit)
    scale = unit.astype(np.float32)
    model = QValues(towers, value * scale, value_bias * scale, weights, learner.caution, learner.sampled_weights)
    greedy = GreedyPolicy(model)
    return EpsilonGreedyPolicy(greedy, learner.epsilon) if learner.epsilon else greedy


def _report(
    learner: QLearner,
    fitted: Fitted,
    which: Sequence[int],
    begun: Prepared | PreparedParts,
    scale: tuple[FloatArray, FloatArray],
    dataset: LoggedDataset | PartedDataset,
) -> dict[str, Any]:
    named = dict(zip(dataset.objectives, scale[1].tolist(), strict=True))
    settings = {
        **begun.settings(), "gamma": learner.gamma, "steps": fitted.steps,
        "best steps": [fitted.best_step[e] for e in which], "unit of returns": named,
    }  # fmt: skip
    return {
        "history": fitted.of(which),
        "calibration": {},
        "settings": settings,
        "warnings": begun.warnings | fitted.warnings(which),
    }


def _shared(learners: Sequence[QLearner]) -> QLearner:
    """The first learner, if all agree in what cannot differ."""
    if not learners:
        raise InvalidInputError(describe("learners", 0, "must be >= 1"))
    for name in SHARED:
        values = [getattr(learner, name) for learner in learners]
        odd = next((value for value in values if value != values[0]), None)
        if odd is not None:
            bound = f"must be {values[0]!r}, as in the first"
            raise InvalidInputError(describe(f"{name} of a learner", odd, bound, "Train such learners apart."))
    return learners[0]
