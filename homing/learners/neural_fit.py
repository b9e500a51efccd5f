"""The neural reward model's training loop: minibatches, early stopping on held-out users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.examples import Examples, seed_of
from homing.learners.linear_fit import starting_intercept
from homing.learners.threads import few_threads


class SharedTrunk(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """relu(context·A + candidate·B + b), one more hidden layer, a linear head for each objective."""

    def __init__(self, d: int, c: int, m: int, sizes: tuple[int, int], generator: torch.Generator) -> None:
        super().__init__()
        first, second = sizes
        self.context = _glorot(d, first, generator)
        self.candidate = _glorot(c, first, generator)
        self.trunk_bias = torch.nn.Parameter(torch.zeros(first))
        self.hidden = _glorot(first, second, generator)
        self.hidden_bias = torch.nn.Parameter(torch.zeros(second))
        self.heads = torch.nn.Parameter(torch.zeros(second, m))  # starts as the constant mean
        self.direct = torch.nn.Parameter(torch.zeros(c, m))  # main effects of the candidate bypass the trunk
        self.heads_bias = torch.nn.Parameter(torch.zeros(m))

    def forward(self, context: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
        """z (n, m) for context (n, d) and one candidate (n, c) of each decision."""
        first = torch.relu(context @ self.context + candidate @ self.candidate + self.trunk_bias)
        second = torch.relu(first @ self.hidden + self.hidden_bias)
        return second @ self.heads + candidate @ self.direct + self.heads_bias


def _glorot(rows: int, columns: int, generator: torch.Generator) -> torch.nn.Parameter:
    bound = (6.0 / (rows + columns)) ** 0.5
    return torch.nn.Parameter((2 * torch.rand(rows, columns, generator=generator) - 1) * bound)


def fit_trunk(
    data: Examples,
    held: NDArray[np.bool_],
    links: Sequence[str],
    *,
    sizes: tuple[int, int],
    weight_decay: float,
    learning_rate: float,
    batch_rows: int,
    max_epochs: int,
    patience: int,
    rng: np.random.Generator,
) -> tuple[SharedTrunk, dict[str, list[float]]]:
    """Train until the loss on held-out users has not improved for `patience` epochs; the best epoch is returned."""
    generator = torch.Generator().manual_seed(seed_of(rng))
    net = SharedTrunk(data.context.shape[1], data.chosen.shape[2], len(links), sizes, generator)
    train, validation = np.flatnonzero(~held), np.flatnonzero(held)
    with torch.no_grad():
        net.heads_bias.copy_(torch.from_numpy(starting_intercept(data.reward[train], links)))
    logit = torch.tensor([link == "logit" for link in links])
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)

    def batch_loss(rows: NDArray[np.int64]) -> torch.Tensor:
        z = net(torch.from_numpy(data.context[rows]), torch.from_numpy(data.candidate(rows)))
        return _pointwise_loss(z, torch.from_numpy(data.reward[rows].astype(np.float32)), logit).sum(dim=1)

    def mean_loss(rows: NDArray[np.int64]) -> float:
        with torch.no_grad():
            parts = [float(batch_loss(rows[i : i + 16_384]).sum()) for i in range(0, len(rows), 16_384)]
        return sum(parts) / len(rows)

    history: dict[str, list[float]] = {"train loss": [], "held-out loss": []}
    with few_threads():
        best, best_loss, since = _copy(net), mean_loss(validation), 0
        for _ in range(max_epochs):
            order = train[torch.randperm(len(train), generator=generator).numpy()]
            total = 0.0
            for begin in range(0, len(order), batch_rows):
                rows = order[begin : begin + batch_rows]
                optimiser.zero_grad()
                value = batch_loss(rows)
                value.mean().backward()
                optimiser.step()
                total += float(value.detach().sum())
            found = mean_loss(validation)
            history["train loss"].append(total / len(order))
            history["held-out loss"].append(found)
            if found < best_loss - 1e-7:
                best, best_loss, since = _copy(net), found, 0
            else:
                since += 1
                if since >= patience:
                    break
    net.load_state_dict(best)
    return net, history


def _copy(net: SharedTrunk) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def _pointwise_loss(z: torch.Tensor, target: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """Log loss where the link is a logit, half the squared error elsewhere; (n, m)."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(z, target.clamp(0, 1), reduction="none")
    return torch.where(logit, entropy, 0.5 * (z - target) ** 2)
