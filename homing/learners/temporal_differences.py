"""The loss of Q-learning over a batch of transitions, for all members at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.network import Network
from homing.learners.transitions import Batch, Decisions

FloatArray = NDArray[np.float64]

#: Weight of a head's own error beside that of the weighted sum, by which candidates are chosen. Where two candidates
#: are nearly as good, the choice turns with every copy of the network, and what the heads should say turns far, in
#: opposite directions: with equal weights, weighted values were off by 0.5 to 1.4 of 5 there; so by 0.1 to 0.3.
SEPARATELY = 0.125


@dataclass(frozen=True, eq=False)
class TemporalDifferences:
    """½ (Q(s, a) − y)² with y = r + γ^Δt Q'(s', argmax Q(s', ·)), and CQL's penalty; e members, m objectives.

    The errors are those of the weighted sum and, with less weight, of each head (`squared_errors`). Everything is in
    units of each member's returns. The argmax is over eligible candidates, along `direction`.

    Attributes:
        gamma: (e,), discount per day.
        conservatism: (e,), weight of log Σ exp Q − Q(s, a) along `direction`.
        unit: (e, m).
        direction: (e, m), of length 1.
        counted: bool (m,), objectives of weight other than 0.
        sampled: whether each transition draws weights of its own, of which the network is told.
        bandit: whether nothing ever follows.
    """

    gamma: torch.Tensor
    conservatism: torch.Tensor
    unit: torch.Tensor
    direction: torch.Tensor
    counted: torch.Tensor
    sampled: bool
    bandit: bool

    @cached_property
    def _conservative(self) -> bool:
        """Whether any member is: asked once, for on a GPU the answer is waited for."""
        return bool(self.conservatism.any())

    def loss(self, net: Network, target: Network, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """See `Problem.loss`."""
        told, direction = self._weights(len(batch.action), generator)
        value, taste = net.heads(_seeing(batch.now, told))
        candidates = batch.now.candidates
        wanted = self.wanted(net, target, batch, told, direction)
        if not self._conservative:
            found = value + net.chosen(taste, candidates, batch.action)
            return squared_errors(found - wanted, direction)
        every = net.advantages(taste, candidates)  # (e, b, m, k)
        at = batch.action[None, :, None, None].expand(*every.shape[:3], 1)
        found = value + every.gather(3, at)[..., 0]
        # V is in both terms of the penalty and falls out.
        along = (every * direction[..., None]).sum(dim=2)
        rest = batch.now.only_eligible(along).logsumexp(dim=2)
        penalty = (rest - along.gather(2, at[:, :, 0])[..., 0]).mean(dim=1)
        return squared_errors(found - wanted, direction) + self.conservatism * penalty

    def wanted(
        self, net: Network, target: Network, batch: Batch, told: torch.Tensor | None, direction: torch.Tensor
    ) -> torch.Tensor:
        """y (e, b, m)."""
        reward = batch.reward / self.unit[:, None]
        if self.bandit:
            return reward
        with torch.no_grad():
            seen = _seeing(batch.later, told)
            value, taste = net.heads(seen)
            action = net.greedy(batch.later, taste, direction)
            if target is not net:
                value, taste = target.heads(seen)
            future = value + target.chosen(taste, batch.later.candidates, action)
            return reward + discount(self.gamma, batch)[..., None] * future

    def moments(self, net: Network, best: Network, batch: Batch) -> torch.Tensor:
        """Squared Bellman residuals of both, y and y² along the direction of training, y by `net`."""
        told = torch.zeros(len(batch.action), len(self.counted), device=self.unit.device) if self.sampled else None
        direction = self.direction[:, None]
        wanted = self.wanted(net, net, batch, told, direction)
        found = []
        for each in (net, best):
            value, taste = each.heads(_seeing(batch.now, told))
            found.append(value + each.chosen(taste, batch.now.candidates, batch.action))
        return residual_moments(found, wanted, direction)

    def quality(self, moments: FloatArray, rows: int) -> FloatArray:
        """Share of the variance of y that Q explains."""
        return explained(moments, rows)

    def _weights(self, rows: int, generator: torch.Generator) -> tuple[torch.Tensor | None, torch.Tensor]:
        """What the network is told (b, m), and directions (e, 1 or b, m)."""
        if not self.sampled:
            return None, self.direction[:, None]
        # From pinned memory, or a GPU would be waited for at every step.
        gpu = self.unit.is_cuda
        draw = torch.empty(rows, len(self.counted), pin_memory=gpu).exponential_(generator=generator)
        draw = draw.to(self.unit.device, non_blocking=gpu) * self.counted
        share = draw / draw.sum(dim=1, keepdim=True) * self.counted.sum()
        direction = torch.nn.functional.normalize(self.direction[:, None] * share, dim=2)
        return torch.where(self.counted, share - 1.0, 0.0), direction


def _seeing(now: Decisions, told: torch.Tensor | None) -> torch.Tensor:
    return now.context if told is None else torch.cat([now.context, told], dim=1)


def discount(gamma: torch.Tensor, batch: Batch) -> torch.Tensor:
    """γ^days where a journey goes on, 0 where it has ended; (e, b)."""
    return gamma[:, None] ** batch.days * batch.goes_on


def squared_errors(error: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """½ (v · δ)² + ½ `SEPARATELY` · mean_m δ_m² for errors δ (e, b, m) along directions v; means over rows, (e,)."""
    if error.shape[2] == 1:
        return 0.5 * error.square().mean(dim=(1, 2))
    along = (error * direction).sum(dim=2)
    return 0.5 * (along.square().mean(dim=1) + SEPARATELY * error.square().mean(dim=(1, 2)))


def residual_moments(found: Sequence[torch.Tensor], wanted: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Sums of (y − Q)² for each Q, y and y² along a direction, (s, e) in float64."""
    errors = [((each - wanted) * direction).sum(dim=2).double().square().sum(dim=1) for each in found]
    y = (wanted * direction).sum(dim=2).double()
    return torch.stack([*errors, y.sum(dim=1), y.square().sum(dim=1)])


def explained(moments: FloatArray, rows: int) -> FloatArray:
    """1 − E(y − Q)² / Var y, (e,), of the first Q of `residual_moments`; minus E(y − Q)² where y is constant.

    Example:
        >>> explained(np.array([[1.0], [9.0], [2.0], [4.0]]), rows=2).tolist()  # y = 0, 2 and errors of 0, 1
        [0.5]
    """
    error, _, total, squares = moments / rows
    variance = squares - total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        out: FloatArray = np.where(variance > 1e-12, 1.0 - error / variance, -error)
    return out
