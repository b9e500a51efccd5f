"""A peer: DuaLip's published algorithm, accelerated ascent on the ridge-smoothed dual, in PyTorch on one thread.

maximise g(λ) = min_x −v·x + γ/2 ‖x‖² + λ·(Ax − b) over each user's simplex, λ ≥ 0, by Nesterov's method with adaptive
restarts (O'Donoghue and Candès 2015), rows scaled to unit norm (Jacobi), γ lowered in stages with the last λ as a start
(Basu et al. 2020, "ECLIPSE", ICML, sections 3 and 4). It stops at the gap that is asked for, against a known optimum,
which it is told: a real run would have to find out.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from benchmarks.measure import report
from benchmarks.planning.instances import make
from benchmarks.planning.program import rows_of

torch.set_num_threads(1)
family, users, seed, gap, optimum = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:6])
problem = make(family, users, seed=seed)
width = problem.n_candidates // users  # every user has as many
value = torch.from_numpy(problem.value.reshape(users, width))
rows, limits = rows_of(problem)
channel = torch.from_numpy(problem.codes["channel"].astype(np.int64).reshape(users, width))
campaign = torch.from_numpy(problem.codes["campaign"].astype(np.int64).reshape(users, width))
cost = torch.from_numpy(problem.costs["opt_outs"].reshape(users, width))
n_channels, n_campaigns = int(channel.max()) + 1, int(campaign.max()) + 1
norm = torch.from_numpy(np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel()))
bound = torch.from_numpy(limits)


def reduced(price: torch.Tensor) -> torch.Tensor:
    p = price.float()
    return value - p[channel] - p[n_channels + campaign] - p[-1] * cost


def usage(x: torch.Tensor) -> torch.Tensor:
    flat = x.double()
    return torch.cat(
        [
            torch.zeros(n_channels, dtype=torch.float64).index_add_(0, channel.reshape(-1), flat.reshape(-1)),
            torch.zeros(n_campaigns, dtype=torch.float64).index_add_(0, campaign.reshape(-1), flat.reshape(-1)),
            (flat * cost).sum().reshape(1),
        ]
    )


def project(r: torch.Tensor, gamma: float) -> torch.Tensor:
    """Onto {x >= 0, Σ x <= 1} of r / γ, by sorting (Duchi et al. 2008)."""
    y = r / gamma
    clipped = y.clamp(min=0.0)
    over = clipped.sum(dim=1) > 1.0
    z = y[over]
    ordered = z.sort(dim=1, descending=True).values
    sums = ordered.cumsum(dim=1) - 1.0
    count = torch.arange(1, z.shape[1] + 1)
    top = ((ordered - sums / count) > 0).sum(dim=1, keepdim=True)
    level = sums.gather(1, top - 1) / top
    clipped[over] = (z - level).clamp(min=0.0)
    return clipped


def exact(price: torch.Tensor) -> float:
    best = reduced(price).max(dim=1).values.clamp(min=0.0)
    return float(best.double().sum() + price @ bound)


def work() -> dict[str, float | int]:
    price = torch.zeros(len(bound), dtype=torch.float64)
    passes, dual = 0, float("inf")
    scale = float(value.clamp(min=0.0).max(dim=1).values.mean())
    for gamma in (scale * 0.1 * 0.1**i for i in range(6)):
        step = gamma / 3.0  # rows have unit norm, and each candidate is in three: curvature is at most 3 / γ
        ahead, momentum = price.clone(), 1.0
        last = float("inf")
        for _ in range(400):
            x = project(reduced(ahead), gamma)
            slope = (bound - usage(x)) / norm**2
            passes += 1
            new = (ahead - step * slope).clamp(min=0.0)
            if float(((new - price) * slope).sum()) > 0:  # restart
                momentum = 1.0
            grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = (new + (momentum - 1) / grown * (new - price)).clamp(min=0.0)
            price, momentum = new, grown
            if passes % 10 == 0:
                dual = exact(price)
                if dual / optimum - 1.0 <= gap:
                    return {"gap": dual / optimum - 1.0, "passes": passes, "done": True}
                if passes % 50 == 0:
                    if last - dual < 1e-7 * abs(dual):
                        break
                    last = dual
    return {"gap": dual / optimum - 1.0, "passes": passes, "done": False}


report(work, repeats=1)
