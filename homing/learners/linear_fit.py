"""Penalised bilinear reward models, fitted with L-BFGS in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.examples import Examples
from homing.learners.threads import few_threads

BATCH_ROWS = 32_768
MAX_ITERATIONS = 150


def fit_bilinear(
    data: Examples,
    links: Sequence[str],
    penalty: float,
    start: list[torch.Tensor] | None = None,
    weight: NDArray[np.float64] | None = None,
) -> tuple[list[torch.Tensor], float]:
    """Minimise loss / n + penalty / (2n) · (|a|² + |b|² + |W|²) over z = c·W x + b·c + a·x + i.

    Args:
        data: the examples.
        links: of each objective; identity targets are expected standardised.
        penalty: in observations: the weight of the prior against the data.
        start: parameters to begin with.
        weight: (n,), of each example's loss; 1 without.

    Returns:
        [W (m, c, d), b (m, c), a (m, d), i (m,)] and the objective reached.
    """
    n, d = data.context.shape
    c, m = data.chosen.shape[2], len(links)
    if start is None:
        start = [torch.zeros(m, c, d), torch.zeros(m, c), torch.zeros(m, d), starting_intercept(data.reward, links)]
    parameters = [tensor.clone().requires_grad_() for tensor in start]
    logit = torch.tensor([link == "logit" for link in links])
    counts = torch.from_numpy((np.ones(n) if weight is None else weight).astype(np.float32))
    batches = [np.arange(begin, min(begin + BATCH_ROWS, n)) for begin in range(0, n, BATCH_ROWS)]
    small = n * c * 4 <= 2**28
    cached = [torch.from_numpy(data.candidate(rows)) for rows in batches] if small else None
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=MAX_ITERATIONS, history_size=20, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        total = torch.zeros(())
        for number, rows in enumerate(batches):
            candidate = cached[number] if cached is not None else torch.from_numpy(data.candidate(rows))
            z = raw_output(parameters, torch.from_numpy(data.context[rows]), candidate)
            target = torch.from_numpy(data.reward[rows].astype(np.float32))
            part = counts[rows] @ pointwise_loss(z, target, logit).sum(dim=1) / n
            part.backward()
            total = total + part.detach()
        prior = penalty / (2 * n) * sum((tensor**2).sum() for tensor in parameters[:3])
        prior.backward()
        return total + prior.detach()

    with few_threads():
        reached = float(optimiser.step(closure))
    return [tensor.detach() for tensor in parameters], reached


def raw_output(parameters: Sequence[torch.Tensor], context: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """z (n, m) for one candidate of each decision: context (n, d), candidate (n, c)."""
    cross, own, level, intercept = parameters
    m, c, d = cross.shape
    taste = (context @ cross.reshape(m * c, d).T).reshape(len(context), m, c) + own
    return (taste * candidate[:, None, :]).sum(dim=2) + context @ level.T + intercept


def pointwise_loss(z: torch.Tensor, target: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """Log loss where the link is a logit, half the squared error elsewhere; (n, m)."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(z, target.clamp(0, 1), reduction="none")
    return torch.where(logit, entropy, 0.5 * (z - target) ** 2)


def starting_intercept(reward: NDArray[np.float64], links: Sequence[str]) -> torch.Tensor:
    """Each objective's mean on its own scale: rare events start where they are."""
    mean = reward.mean(axis=0)
    edge = 0.5 / len(reward)
    odds = np.clip(mean, edge, 1 - edge)
    start: Any = np.where([link == "logit" for link in links], np.log(odds / (1 - odds)), mean)
    return torch.from_numpy(start.astype(np.float32))
