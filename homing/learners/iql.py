"""Implicit Q-learning (Kostrikov, Nair & Levine 2021, arXiv 2110.06169) for candidates and several objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from homing.checks import check_positive, check_probability
from homing.errors import InvalidInputError, describe
from homing.learners.behaviour_cloning import clone_report, fit_clone
from homing.learners.network import Form, Network
from homing.learners.settings import Optimised
from homing.learners.temporal_differences import discount, explained, residual_moments
from homing.learners.training import fit_members
from homing.learners.transitions import Batch
from homing.log import Batch as Logged
from homing.log import LoggedDataset, PartedDataset
from homing.policies import EpsilonGreedyPolicy, Policy, QValues, SoftmaxPolicy


@dataclass
class IQL(Optimised):
    """Never asks what the log did not do is worth: an expectile of Q over logged actions takes the maximum's place.

    U is the `expectile` τ of Q(s, a) over the log's actions (equation 5), Q follows r + γ^Δt U(s') (equation 6), and
    the policy maximises advantage-weighted likelihood (equation 7), whose solution is π ∝ μ exp(β A): here μ is a
    clone of the log's policy, A = Q(s, a) − Q(s, silence), and the product is formed when the policy is asked. So the
    weights may be others at run time; with twice the weights it chooses more sharply.

    With several objectives the asymmetric weight |τ − 1[Σ w (Q − U) < 0]| of the weighted advantage is that of every
    head: U_m then is what objective m earns under the very policy that the weighted expectile implies, and Σ w_m U_m
    is that expectile.

    Wrong to expect leaps of: it stays where the log has been. With τ = 0.5 it evaluates the log's policy, and improves
    it once.

    Args:
        expectile: τ in [0.5, 1).
        sharpness: β, per standard deviation of the weighted advantages of what was logged.

    Other settings are those of `Optimised`.
    """

    expectile: float = 0.8
    sharpness: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expectile = check_probability("expectile", self.expectile)
        if self.expectile < 0.5:
            step = "Below it, the worst of the log is imitated."
            raise InvalidInputError(describe("expectile", self.expectile, "must be >= 0.5", step))
        self.sharpness = check_positive("sharpness", self.sharpness)

    def fit(
        self,
        dataset: LoggedDataset | PartedDataset,
        *,
        weights: Mapping[str, float] | None = None,
        rng: np.random.Generator,
    ) -> Policy:
        """Fit on a dataset of at least two users."""
        begun = self.begin(dataset, weights, rng)
        clone, cloned = fit_clone(self, begun, "clone")
        m = len(begun.weights)
        mean, unit = begun.scale(self.gamma)
        member = self.network(self.member_seed)
        form = Form(*begun.form, m, 2 * m, self.candidate_units, member.sizes)
        direction = unit * begun.weights / np.linalg.norm(unit * begun.weights)

        def tensor(values: NDArray[np.float64]) -> torch.Tensor:
            return torch.as_tensor(values[None], dtype=torch.float32)

        problem = ExpectileValues(tensor(np.array(self.gamma)), self.expectile, tensor(unit), tensor(direction))
        loop = self.loop("values")
        fitted = fit_members(
            problem, begun.feed(loop), form, [member], np.tile(mean / unit, 2)[None], loop=loop, seed=begun.seed,
            key=lambda: {**begun.key(), "learner": "iql", "settings": [self.gamma, self.expectile]},
        )  # fmt: skip
        towers, value, bias = fitted.net.towers([0], [member.sizes], unit)
        scale = unit.astype(np.float32)
        model = QValues(towers, value[..., :m] * scale, bias[..., :m] * scale, begun.weights)
        spread = self._spread(model, begun.held_out_batches(4096))
        policy: Policy = SoftmaxPolicy(model, spread / self.sharpness, clone)
        settings = {
            **begun.settings(), "gamma": self.gamma, "steps": fitted.steps, "best steps": fitted.best_step,
            "deviation of advantages": spread,
        }  # fmt: skip
        self.report = {
            "history": fitted.of([0]) | clone_report(cloned), "calibration": {}, "settings": settings,
            "warnings": begun.warnings | fitted.warnings([0]),
        }  # fmt: skip
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    @staticmethod
    def _spread(model: QValues, batches: Iterable[Logged]) -> float:
        """Standard deviation of the weighted advantages of what was logged."""
        parts = [
            model.scores(batch.context, batch.candidates)[np.arange(len(batch.rows)), batch.action] for batch in batches
        ]
        return float(np.concatenate(parts).std()) or 1.0


@dataclass(frozen=True, eq=False)
class ExpectileValues:
    """½ (Q − r − γ^Δt U'(s'))² + ½ |τ − 1[Σ w (Q' − U) < 0]| (Q' − U)², per objective, for e members.

    The first m value heads are Q's V, the others U.

    Attributes:
        gamma: (e,).
        expectile: τ.
        unit: (e, m), of returns.
        direction: (e, m), of the weights in these units.
    """

    gamma: torch.Tensor
    expectile: float
    unit: torch.Tensor
    direction: torch.Tensor

    def loss(self, net: Network, target: Network, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """See `Problem.loss`."""
        m = self.unit.shape[1]
        value, taste = net.heads(batch.now.context)
        found = value[..., :m] + net.chosen(taste, batch.now.candidates, batch.action)
        with torch.no_grad():
            wanted = self.wanted(target, batch)
            old, old_taste = target.heads(batch.now.context)
            settled = old[..., :m] + target.chosen(old_taste, batch.now.candidates, batch.action)
        gap = settled - value[..., m:]
        below = (gap * self.direction[:, None]).sum(dim=2, keepdim=True) < 0
        asymmetry = torch.where(below, 1.0 - self.expectile, self.expectile)
        return 0.5 * ((found - wanted).square() + asymmetry * gap.square()).mean(dim=(1, 2))

    def wanted(self, net: Network, batch: Batch) -> torch.Tensor:
        """r + γ^Δt U(s'), (e, b, m)."""
        later = net.heads(batch.later.context)[0][..., self.unit.shape[1] :]
        return batch.reward / self.unit[:, None] + discount(self.gamma, batch)[..., None] * later

    def moments(self, net: Network, best: Network, batch: Batch) -> torch.Tensor:
        """Squared Bellman residuals of both, y and y² along the weights, y by `net`."""
        found = []
        for each in (net, best):
            value, taste = each.heads(batch.now.context)
            advantage = each.chosen(taste, batch.now.candidates, batch.action)
            found.append(value[..., : self.unit.shape[1]] + advantage)
        return residual_moments(found, self.wanted(net, batch), self.direction[:, None])

    def quality(self, moments: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        """Share of the variance of y that Q explains."""
        return explained(moments, rows)
