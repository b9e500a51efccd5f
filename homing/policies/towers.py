"""A network over decisions: a tower for the context, one for candidates, and their product; scored with NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import check_features, check_inputs, check_widths, masked_softmax
from homing.policies.types import register

_ARRAYS = (
    "first", "first_bias", "second", "second_bias", "taste", "taste_bias", "candidate", "candidate_bias",
)  # fmt: skip


@register("towers")
@dataclass(frozen=True, eq=False)
class Towers:
    """h = relu(relu(x A + a) B + b), z(c) = [c, relu(c C + e)], and A_o(x, c) = (z(c) − z(silence)) · (h T_o + t_o).

    For each of o outputs, what a candidate adds to silence (candidate 0), whose own is 0 by construction. The context
    runs through its tower once a decision, whatever the number of candidates; a message that was never seen is scored
    by its features. e networks stand side by side: the members of an ensemble.

    Attributes:
        first: float32 (e, d, h1), A.
        first_bias: float32 (e, h1), a.
        second: float32 (e, h1, h2), B.
        second_bias: float32 (e, h2), b.
        taste: float32 (e, h2, o, c + u), T.
        taste_bias: float32 (e, o, c + u), t.
        candidate: float32 (e, c, u), C; u = 0 leaves candidates as they are.
        candidate_bias: float32 (e, u), e.
    """

    first: NDArray[np.float32]
    first_bias: NDArray[np.float32]
    second: NDArray[np.float32]
    second_bias: NDArray[np.float32]
    taste: NDArray[np.float32]
    taste_bias: NDArray[np.float32]
    candidate: NDArray[np.float32]
    candidate_bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, finite(name, getattr(self, name), np.float32))
        for name, wanted in (("first", "(e, d, h1)"), ("second", "(e, h1, h2)"), ("candidate", "(e, c, u)")):
            if getattr(self, name).ndim != 3:
                raise InvalidInputError(describe(f"{name}.shape", getattr(self, name).shape, f"must be {wanted}"))
        if self.taste.ndim != 4 or not len(self.taste):
            raise InvalidInputError(describe("taste.shape", self.taste.shape, "must be (e, h2, o, c + u), e >= 1"))
        (e, _, h1), (_, _, h2), (_, c, u) = self.first.shape, self.second.shape, self.candidate.shape
        outputs = self.taste.shape[2]
        expect("first", self.first, (e, self.first.shape[1], h1))
        expect("first_bias", self.first_bias, (e, h1))
        expect("second", self.second, (e, h1, h2))
        expect("second_bias", self.second_bias, (e, h2))
        expect("taste", self.taste, (e, h2, outputs, c + u))
        expect("taste_bias", self.taste_bias, (e, outputs, c + u))
        expect("candidate", self.candidate, (e, c, u))
        expect("candidate_bias", self.candidate_bias, (e, u))

    @property
    def outputs(self) -> int:
        """o."""
        return int(self.taste.shape[2])

    def trunk(self, context: NDArray[np.float32]) -> NDArray[np.float32]:
        """h (e, n, h2) for context (n, d)."""
        hidden = np.matmul(context, self.first) + self.first_bias[:, None]
        np.maximum(hidden, 0.0, out=hidden)
        out: NDArray[np.float32] = np.matmul(hidden, self.second) + self.second_bias[:, None]
        np.maximum(out, 0.0, out=out)
        return out

    def advantages(self, hidden: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        """A (e, n, k, o) for h (e, n, h2) and candidates (n, k, c)."""
        e, n, h2 = hidden.shape
        _, k, c = candidates.shape
        taste = np.matmul(hidden, self.taste.reshape(e, h2, -1)).reshape(e, n, *self.taste.shape[2:])
        taste += self.taste_bias[:, None]
        out: NDArray[np.float32] = np.matmul(candidates - candidates[:, :1], taste[..., :c].swapaxes(2, 3))
        if self.candidate.shape[2]:
            lifted = np.matmul(candidates.reshape(n * k, c), self.candidate) + self.candidate_bias[:, None]
            np.maximum(lifted, 0.0, out=lifted)
            lifted = lifted.reshape(e, n, k, lifted.shape[2])
            out += np.matmul(lifted - lifted[:, :, :1], taste[..., c:].swapaxes(2, 3))
        return out

    def check(
        self, context: NDArray[np.float32], candidates: NDArray[np.float32], extra: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features as float32 if they have the columns that it was trained on, `extra` of them not the user's.

        Raises:
            InvalidInputError: if they do not.
        """
        x, c = check_features(context, candidates)
        check_widths(x, c, self.first.shape[1] - extra, self.candidate.shape[1])
        return x, c


@register("clone")
@dataclass(frozen=True, eq=False)
class ClonePolicy:
    """What a logging policy was seen to do: a softmax over one output of `Towers`. Objectives play no part in it.

    Attributes:
        towers: with one output; probabilities are averaged over its members.
    """

    towers: Towers

    def __post_init__(self) -> None:
        if not isinstance(self.towers, Towers) or self.towers.outputs != 1:
            raise InvalidInputError(describe("towers", type(self.towers).__name__, "must be Towers of one output"))

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`."""
        x, c, mask = check_inputs(context, candidates, eligible)
        x, c = self.towers.check(x, c)
        logits = self.towers.advantages(self.towers.trunk(x), c)[..., 0]
        out: NDArray[np.float64] = np.mean([masked_softmax(each, mask) for each in logits], axis=0)
        return out
