"""The optimisation inside the doubly robust learner: the value of softmax policies under per-candidate estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.threads import few_threads
from homing.log import CandidateStore, LoggedDataset

BATCH_ROWS = 8_192
MAX_ITERATIONS = 100
#: Candidates are kept expanded in memory up to this size.
MAX_CACHE_BYTES = 2**29


@dataclass(frozen=True, eq=False)
class PolicyProblem:
    """Maximise Σ_s mass_s / scale_s mean_i Σ_a π_s(a|x_i) Γ_s(i, a) over bilinear softmax policies.

    π_s(a|x) ∝ reference(a|x) · exp(Σ_m v_sm (c_a·W_m x + b_m·c_a)) and Γ_s = Σ_m v_sm Γ_m, with one head for each
    objective and directions v_s over them: the default weights first, then each objective alone. So one policy serves
    all weights: the maximiser of value less divergence from the reference has logits linear in the rewards, and the
    heads stand for them.

    Attributes:
        context: float32 (n, d).
        candidates: of n decisions.
        eligible: bool (n, k).
        log_reference: float32 (n, k), log of the reference policy; -inf where it never goes.
        values: float32 (n, k, m), Γ of each objective in standard deviations of its reward.
        directions: float32 (s, m), v, unit vectors.
        mass: (s,), how much each direction counts; sums to 1.
        scale: (s,), deviation of Γ_s over the candidates of a decision.
    """

    context: NDArray[np.float32]
    candidates: CandidateStore
    eligible: NDArray[np.bool_]
    log_reference: NDArray[np.float32]
    values: NDArray[np.float32]
    directions: NDArray[np.float32]
    mass: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(
        cls, dataset: LoggedDataset, values: NDArray[np.float64], reference: NDArray[np.float64],
        weights: NDArray[np.float64], deviation: NDArray[np.float64],
    ) -> PolicyProblem:  # fmt: skip
        """Put Γ (n, k, m) on common scales; reference (n, k), weights (m,), deviation (m,) of each reward."""
        default = weights * deviation / np.linalg.norm(weights * deviation)
        alone = np.diag(np.where(weights < 0, -1.0, 1.0))
        m = len(weights)
        directions = np.vstack([default, alone]) if m > 1 else default[None]
        mass = np.concatenate([[0.5], np.full(m, 0.5 / m)]) if m > 1 else np.ones(1)
        values = values / deviation
        scale = np.array([_deviation(values @ direction, dataset.eligible) for direction in directions])
        with np.errstate(divide="ignore"):
            log_reference = np.log(reference).astype(np.float32)
        return cls(
            dataset.context, dataset.candidates, dataset.eligible, log_reference, values.astype(np.float32),
            directions.astype(np.float32), mass, scale,
        )  # fmt: skip

    def zeros(self) -> list[torch.Tensor]:
        """[W (m, c, d), b (m, c)] of the reference policy."""
        m, c, d = self.values.shape[2], self.candidates.shape[2], self.context.shape[1]
        return [torch.zeros(m, c, d), torch.zeros(m, c)]

    def maximise(
        self,
        rows: NDArray[np.int64],
        penalty: NDArray[np.float64],
        personal: NDArray[np.bool_],
        start: Sequence[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """[W, b] that maximise the value on `rows` less Σ_m penalty_m / (2n) · (|W_m|² + |b_m|²), by L-BFGS.

        Args:
            rows: to maximise on.
            penalty: (m,), in observations.
            personal: (m,), the heads whose W is fitted; it stays 0 in the others, the same preferences for everyone.
            start: parameters to begin with.
        """
        parameters = [tensor.clone().requires_grad_() for tensor in (start or self.zeros())]
        if not parameters[1].numel():
            return [tensor.detach() for tensor in parameters]  # candidates without columns: nothing to prefer
        kept = torch.from_numpy(personal.astype(np.float32))[:, None, None]
        strength = torch.from_numpy((penalty / (2 * len(rows))).astype(np.float32))
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=MAX_ITERATIONS, history_size=20, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
        )
        pieces = self._pieces(rows)
        k, c = self.candidates.shape[1:]
        cached = [self.expand(piece) for piece in pieces] if len(rows) * k * c * 4 <= MAX_CACHE_BYTES else None
        share = torch.from_numpy((self.mass / self.scale / len(rows)).astype(np.float32))

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            cross, own = parameters[0] * kept, parameters[1]
            prior = strength @ ((cross**2).sum(dim=(1, 2)) + (own**2).sum(dim=1))
            prior.backward()
            total = prior.detach()
            for number, piece in enumerate(pieces):
                candidates = cached[number] if cached is not None else self.expand(piece)
                part = -(self.row_values([parameters[0] * kept, own], piece, candidates) @ share).sum()
                part.backward()
                total = total + part.detach()
            return total

        with few_threads():
            optimiser.step(closure)
        return [tensor.detach() for tensor in parameters]

    def expand(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Candidates of some rows, (len(rows), k, c)."""
        return torch.from_numpy(self.candidates[rows])

    def row_values(
        self, parameters: Sequence[torch.Tensor], rows: NDArray[np.int64], candidates: torch.Tensor
    ) -> torch.Tensor:
        """Σ_a π_s(a|x_i) Γ_s(i, a) of each row and direction, (len(rows), s), in the parameters' dtype."""
        cross, own = parameters
        m, c, d = cross.shape
        dtype = cross.dtype
        context = torch.from_numpy(self.context[rows]).to(dtype)
        taste = (context @ cross.reshape(m * c, d).T).reshape(len(rows), m, c) + own
        heads = torch.matmul(candidates.to(dtype), taste.transpose(1, 2))  # (n, k, m)
        to_directions = torch.from_numpy(self.directions).to(dtype).T
        score = heads @ to_directions + torch.from_numpy(self.log_reference[rows]).to(dtype)[:, :, None]
        score = score.masked_fill(~torch.from_numpy(self.eligible[rows])[:, :, None], float("-inf"))
        values = torch.from_numpy(self.values[rows]).to(dtype) @ to_directions
        return (torch.softmax(score, dim=1) * values).sum(dim=1)

    def direction_values(self, parameters: Sequence[torch.Tensor], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Estimated value of each row and direction (len(rows), s); the first is of the default weights over |w∘s|."""
        with torch.no_grad(), few_threads():
            parts = [self.row_values(parameters, piece, self.expand(piece)).numpy() for piece in self._pieces(rows)]
        return np.concatenate(parts).astype(np.float64)

    @staticmethod
    def _pieces(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [rows[begin : begin + BATCH_ROWS] for begin in range(0, len(rows), BATCH_ROWS)]


def clustered_mean(each: NDArray[np.float64], user: NDArray[np.int64]) -> tuple[float, float]:
    """Mean of values (n,) and its standard error with users as clusters.

    Example:
        >>> mean, error = clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
        >>> mean, error  # two clusters: as a mean of two values, 1 and 3
        (2.0, 1.0)
    """
    mean = float(each.mean())
    _, code = np.unique(user, return_inverse=True)
    sums = np.bincount(code, weights=each - mean)
    clusters = len(sums)
    error = np.sqrt((sums**2).sum() * clusters / max(clusters - 1, 1)) / len(each)
    return mean, float(error)


def _deviation(values: NDArray[np.float64], eligible: NDArray[np.bool_]) -> float:
    # What all candidates of a decision share moves no policy: only the spread within decisions counts.
    mean = np.where(eligible, values, 0.0).sum(axis=1, keepdims=True) / eligible.sum(axis=1, keepdims=True)
    centred = np.where(eligible, values - mean, 0.0)
    return float(np.sqrt((centred**2).sum() / eligible.sum())) or 1.0
