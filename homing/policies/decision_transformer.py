"""The decision transformer: what the log's policy did when things then went as well as they are asked to go now."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.numerics import check_inputs, check_widths, masked_softmax, resolve_weights
from homing.policies.types import register

Array = NDArray[np.float32]
#: Earlier decisions that are looked at; with the present one the context is four long.
EARLIER = 3
HEADS = 4


@dataclass(frozen=True, eq=False)
class History:
    """Each user's latest decisions before this one, t of them.

    Attributes:
        context: float32 (n, t, d), as they were then.
        chosen: float32 (n, t, c), columns of the candidate that was chosen.
        days: float32 (n, t), since then.
        known: bool (n, t); what is not known may hold anything finite.
    """

    context: Array
    chosen: Array
    days: Array
    known: NDArray[np.bool_]

    @classmethod
    def none(cls, n: int, d: int, c: int) -> History:
        """No earlier decision for any of n users."""
        shape, f = (n, 0), np.float32
        return cls(np.zeros((*shape, d), f), np.zeros((*shape, c), f), np.zeros(shape, f), np.zeros(shape, bool))


@register("decision-transformer")
@dataclass(frozen=True, eq=False)
class DecisionTransformerPolicy:
    """π(a | history, x, g) ∝ exp(A(a)): a clone of the log's policy, told the returns g that are to come.

    Tokens are made of up to three earlier decisions (context, what was chosen, days since) and of the present one
    (context and g); the present one attends to all (h hidden units, four heads, one layer with a residual network of
    f units). Candidates are scored by their columns against silence's: also those that the log never showed.

    g (m,) is what quantile heads expect of this context: for each objective the return-to-go at a level between
    1 − `prompt` and `prompt`, the further up the more the objective weighs: ½ + (prompt − ½) w_m s_m / max |w s|, s
    being the returns' deviations. So prompt and weights are dials at run time.

    It imitates: it asks what was done where things went well, not what made them go well. Where luck decides, it
    clones the log.

    Attributes:
        past, past_bias: float32 (d + c + 1, h), (h,): tokens of earlier decisions.
        now, now_bias: float32 (d + m, h), (h,): of the present one.
        query, key, value, out: float32 (h, h).
        up, up_bias, down, down_bias: float32 (h, f), (f,), (f, h), (h,).
        taste, taste_bias: float32 (h, c), (c,): what the state makes of each candidate column.
        hidden, hidden_bias: float32 (d, q), (q,): of the quantiles' network.
        heads, heads_bias: float32 (q, m · l), (m · l,): quantiles of each objective's return in standard deviations.
        levels: float64 (l,), of the quantiles, rising.
        unit: float64 (m,), deviation of each objective's returns.
        weights: float64 (m,), the default importance of each objective.
        prompt: in (0, 1), the quantile of returns that is asked for.

    References:
        Chen et al. (2021), "Decision Transformer", NeurIPS; Ocejo et al. (2025), "Generative Sequential Notification
        Optimization via Multi-Objective Decision Transformers", arXiv 2509.02458: returns by quantiles.
    """

    past: Array
    past_bias: Array
    now: Array
    now_bias: Array
    query: Array
    key: Array
    value: Array
    out: Array
    up: Array
    up_bias: Array
    down: Array
    down_bias: Array
    taste: Array
    taste_bias: Array
    hidden: Array
    hidden_bias: Array
    heads: Array
    heads_bias: Array
    levels: NDArray[np.float64]
    unit: NDArray[np.float64]
    weights: NDArray[np.float64]
    prompt: float = 0.8

    def __post_init__(self) -> None:
        for item in fields(self)[:-1]:
            dtype = np.float64 if item.name in ("levels", "unit", "weights") else np.float32
            object.__setattr__(self, item.name, finite(item.name, getattr(self, item.name), dtype))
        check_probability("prompt", self.prompt)
        for name in ("past", "now", "up", "taste", "hidden"):
            if getattr(self, name).ndim != 2:
                raise InvalidInputError(describe(f"{name}.shape", getattr(self, name).shape, "must be a matrix"))
        (d, q), (h, c), f, m = self.hidden.shape, self.taste.shape, self.up.shape[1], self.weights.size
        levels = len(self.levels)
        shapes: dict[str, tuple[int, ...]] = {
            "past": (d + c + 1, h), "past_bias": (h,), "now": (d + m, h), "now_bias": (h,), "query": (h, h),
            "key": (h, h), "value": (h, h), "out": (h, h), "up": (h, f), "up_bias": (f,), "down": (f, h),
            "down_bias": (h,), "taste_bias": (c,), "hidden_bias": (q,), "heads": (q, m * levels),
            "heads_bias": (m * levels,), "levels": (levels,), "unit": (m,), "weights": (m,),
        }  # fmt: skip
        for name, shape in shapes.items():
            expect(name, getattr(self, name), shape)
        if h % HEADS:
            raise InvalidInputError(describe("hidden units", h, f"must be a multiple of {HEADS}"))
        if not levels or (np.diff(self.levels) <= 0).any() or self.levels[0] <= 0 or self.levels[-1] >= 1:
            raise InvalidInputError(describe("levels", self.levels.tolist(), "must rise within (0, 1)"))

    def action_probs(
        self,
        context: Array,
        candidates: Array,
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
        history: History | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k); see `Policy.action_probs`. Without a history the present decision stands alone."""
        x, c, mask = check_inputs(context, candidates, eligible)
        d, columns = self.hidden.shape[0], self.taste.shape[1]
        check_widths(x, c, d, columns)
        before = history or History.none(len(x), d, columns)
        state = self._state(x, self.returns(x, weights), before)
        score = np.matmul(c - c[:, :1], (state @ self.taste + self.taste_bias)[:, :, None])[:, :, 0]
        return masked_softmax(score, mask)

    def returns(self, context: Array, weights: NDArray[np.float64] | None = None) -> Array:
        """g (n, m): the returns that are asked for, in standard deviations around their mean.

        Quantiles are sorted (Chernozhukov et al. 2010: never worse) and interpolated between the levels.
        """
        given = resolve_weights(weights, self.weights) * self.unit
        most = np.abs(given).max(initial=0.0)
        level = 0.5 + (self.prompt - 0.5) * (given / most if most > 0 else given)
        lifted = np.maximum(context @ self.hidden + self.hidden_bias, 0.0)
        shape = len(level), len(self.levels)
        quantiles = np.sort((lifted @ self.heads + self.heads_bias).reshape(len(context), *shape), axis=2)
        place = np.interp(level, self.levels, np.arange(len(self.levels)))
        below = np.minimum(place.astype(np.int64), len(self.levels) - 1)
        above = np.minimum(below + 1, len(self.levels) - 1)
        each = np.arange(len(level))
        part = (place - below).astype(np.float32)
        found: Array = quantiles[:, each, below] * (1 - part) + quantiles[:, each, above] * part
        return found

    def _state(self, x: Array, asked: Array, before: History) -> Array:
        """The present token after attention and the residual network, (n, h)."""
        n, h = len(x), self.query.shape[0]
        current = np.concatenate([x, asked], axis=1) @ self.now + self.now_bias
        told = np.concatenate([before.context, before.chosen, np.log1p(before.days)[:, :, None]], axis=2)
        tokens = np.concatenate([told @ self.past + self.past_bias, current[:, None]], axis=1)
        t = tokens.shape[1]
        query = (current @ self.query).reshape(n, HEADS, h // HEADS)
        key, value = ((tokens @ part).reshape(n, t, HEADS, h // HEADS) for part in (self.key, self.value))
        match = np.einsum("nhe,nthe->nht", query, key) / np.float32(np.sqrt(h / HEADS))
        seen = np.concatenate([before.known, np.ones((n, 1), bool)], axis=1)
        share = masked_softmax(match.reshape(n * HEADS, t), np.repeat(seen, HEADS, axis=0)).astype(np.float32)
        read = np.einsum("nht,nthe->nhe", share.reshape(n, HEADS, t), value).reshape(n, h)
        state = current + read @ self.out
        out: Array = state + np.maximum(state @ self.up + self.up_bias, 0.0) @ self.down + self.down_bias
        return out
