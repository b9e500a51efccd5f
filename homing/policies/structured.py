"""The structured advantage: what a message adds over silence as a sum of terms that one can read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe
from homing.policies.bilinear import expect, finite
from homing.policies.linear import LinearRewardModel
from homing.policies.numerics import check_features, check_widths, resolve_weights
from homing.policies.types import register

FloatArray = NDArray[np.float64]


@register("effects")
@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of a message on m objectives, linear in context and candidate, and again times the chance of a response:

        f_m(x, c, ρ) = α_m + a_m·x + b_m·c + ρ (β_m + u_m·x + v_m·c)

    The second part is what a response carries with it, the first what a message does to those who do not respond too.

    Attributes:
        constant: float64 (2, m), α and β.
        context: float64 (2, m, d), a and u.
        candidate: float64 (2, m, c), b and v.

    Example:
        >>> effects = Effects(np.array([[-0.1], [2.0]]), np.zeros((2, 1, 1)), np.zeros((2, 1, 1)))
        >>> effects.of(np.zeros((1, 1)), np.zeros((1, 2, 1)), np.array([[0.0, 0.3]]))[0, :, 0].round(3).tolist()
        [-0.1, 0.5]
    """

    constant: FloatArray
    context: FloatArray
    candidate: FloatArray

    def __post_init__(self) -> None:
        for name in ("constant", "context", "candidate"):
            object.__setattr__(self, name, finite(name, getattr(self, name), np.float64))
        if self.constant.ndim != 2 or len(self.constant) != 2:
            raise InvalidInputError(describe("constant.shape", self.constant.shape, "must be (2, m)"))
        m = self.constant.shape[1]
        expect("context", self.context, (2, m, self.context.shape[-1]))
        expect("candidate", self.candidate, (2, m, self.candidate.shape[-1]))

    def of(self, context: NDArray[np.floating], candidates: NDArray[np.floating], response: FloatArray) -> FloatArray:
        """f (n, k, m); context (n, d), candidates (n, k, c), chance of a response (n, k)."""
        # Few candidates carry many columns: one product for both parts.
        _, m, c = self.candidate.shape
        own = (candidates @ self.candidate.reshape(2 * m, c).T).reshape(*candidates.shape[:2], 2, m)
        shared = np.einsum("nd,pmd->npm", context, self.context) + self.constant
        both = own + shared[:, None]
        out: FloatArray = both[:, :, 0] + response[:, :, None] * both[:, :, 1]
        return out

    def weighted(self, weights: FloatArray) -> Effects:
        """The effects on Σ_m w_m · objective m, as the only objective."""
        return Effects(
            (self.constant @ weights)[:, None],
            np.einsum("pmd,m->pd", self.context, weights)[:, None],
            np.einsum("pmc,m->pc", self.candidate, weights)[:, None],
        )


@register("structured-advantage")
@dataclass(frozen=True, eq=False)
class StructuredAdvantage:
    """A(x, c) = Σ_m w_m (1 − p)(now_m + pace(x) · sticks_m) − p · reach − doubt − cost, with A(silence) = 0.

    p is the chance that the message makes the user close its channel.

    - *now*: the effect on what shows at once, for those who keep the channel open;
    - *sticks*: the effect on what comes later, for the same, in proportion to the user's pace max(a + b·x, least): what
      a state like theirs brings a day;
    - *reach*: what is lost where the channel is closed: what its being open is worth to the objectives from then on
      (V_reach), never negative as one may stay silent on it, and the weight of closing it as such;
    - *doubt*: Σ_m |w_m| (1 − p)(d_m + pace(x) · e_m), taken off (or, if negative, given) for what is not told for sure;
    - *cost*: of sending, in weighted reward.

    Attributes:
        response: predicts the probability of a response and, as its second head if it has one, of closing the channel.
        now: effects that show at once.
        sticks: effects that come later, per unit of pace.
        reach: float64 (h, m, 1 + d), value of h channels' being open to each objective, linear in (1, x).
        reach_columns: int64 (h,), the candidate columns that tell these channels.
        cost: float64 (1 + c,), of any message, and added by each candidate column.
        weights: float64 (m,), the default importance of each objective.
        leave: the objective that counts closed channels; -1 where there is none.
        pace: float64 (1 + d,), a and b; None for a pace of 1.
        least_pace: > 0.
        doubt: float64 (2, m, 1 + c), d and e of any message, and added by each candidate column; None for none.

    References:
        The structure, a chance of a response times what the response is worth later, is that of Maystre, Russo and Zhao
        (2023), "Optimizing Audio Recommendations for the Long-Term: A Reinforcement Learning Perspective", arXiv
        2302.03561; here with harms, and against silence.
    """

    response: LinearRewardModel
    now: Effects
    sticks: Effects
    reach: FloatArray
    reach_columns: NDArray[np.int64]
    cost: FloatArray
    weights: FloatArray
    leave: int = -1
    pace: FloatArray | None = None
    least_pace: float = 1.0
    doubt: FloatArray | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("reach", "cost", "weights"):
            put(self, name, finite(name, getattr(self, name), np.float64))
        put(self, "reach_columns", np.asarray(self.reach_columns, dtype=np.int64))
        for name, kind in (("response", LinearRewardModel), ("now", Effects), ("sticks", Effects)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidInputError(describe(name, type(getattr(self, name)).__name__, f"must be {kind.__name__}"))
        heads, c, d = self.response.interaction.shape
        if heads not in (1, 2):
            raise InvalidInputError(describe("heads of the response model", heads, "must be 1 or 2"))
        m, h = len(self.weights), len(self.reach_columns)
        for effects in (self.now, self.sticks):
            expect("context", effects.context, (2, m, d))
            expect("candidate", effects.candidate, (2, m, c))
        expect("reach", self.reach, (h, m, 1 + d))
        expect("cost", self.cost, (1 + c,))
        pace = np.append(1.0, np.zeros(d)) if self.pace is None else finite("pace", self.pace, np.float64)
        expect("pace", pace, (1 + d,))
        put(self, "pace", pace)
        check_positive("least_pace", self.least_pace)
        doubt = np.zeros((2, m, 1 + c)) if self.doubt is None else finite("doubt", self.doubt, np.float64)
        expect("doubt", doubt, (2, m, 1 + c))
        put(self, "doubt", doubt)
        if isinstance(self.leave, bool) or not isinstance(self.leave, int) or not -1 <= self.leave < m:
            raise InvalidInputError(describe("leave", self.leave, f"must be in [-1, {m})"))
        if ((self.reach_columns < 0) | (self.reach_columns >= c)).any():
            raise InvalidInputError(describe("reach_columns", self.reach_columns.tolist(), f"must be in [0, {c})"))

    def terms(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> dict[str, FloatArray]:
        """`now`, `sticks`, `reach`, `doubt` and `cost`, (n, k) each, in weighted reward; they sum to the score.

        Silence has 0 of each.

        Args:
            context: (n, d).
            candidates: (n, k, c).
            weights: (m,), the importance of each objective; None for the policy's own.
        """
        w = resolve_weights(weights, self.weights)
        x, c = check_features(context, candidates)
        check_widths(x, c, self.response.interaction.shape[2], self.response.interaction.shape[1])
        response, leave = self._chances(x, c)
        now = (1.0 - leave) * self.now.weighted(w).of(x, c, response)[:, :, 0]
        sticks = (1.0 - leave) * self._pace(x)[:, None] * self.sticks.weighted(w).of(x, c, response)[:, :, 0]
        reach = -leave * (self._reach(x, c, w) - (w[self.leave] if self.leave >= 0 else 0.0))
        doubt = -(1.0 - leave) * self._doubt(x, c, w)
        cost = -(self.cost[0] + c @ self.cost[1:])
        out = {"now": now, "sticks": sticks, "reach": reach, "doubt": doubt, "cost": cost}
        for term in out.values():
            term[:, 0] = 0.0
        return out

    def effects(self, context: NDArray[np.float32], candidates: NDArray[np.float32]) -> FloatArray:
        """What each message does to each objective, at once and later, (n, k, m): (1 − p)(now_m + pace · sticks_m).

        In the objectives' own units, 0 for silence; what a closed channel loses is not in it.

        Args:
            context: (n, d).
            candidates: (n, k, c).
        """
        x, c = check_features(context, candidates)
        check_widths(x, c, self.response.interaction.shape[2], self.response.interaction.shape[1])
        response, leave = self._chances(x, c)
        sticks = self._pace(x)[:, None, None] * self.sticks.of(x, c, response)
        out: FloatArray = (1.0 - leave)[:, :, None] * (self.now.of(x, c, response) + sticks)
        out[:, 0] = 0.0
        return out

    def scores(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        weights: NDArray[np.float64] | None = None,
    ) -> FloatArray:
        """Scores (n, k), silence's 0; see `Scorer.scores`."""
        out: FloatArray = sum(self.terms(context, candidates, weights).values(), np.zeros(np.shape(candidates)[:2]))
        return out

    def _chances(self, x: NDArray[np.float32], c: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """Of a response and of leaving, (n, k) each."""
        chances = self.response.predict(x, c)
        response = chances[:, :, 0]
        return response, chances[:, :, 1] if chances.shape[2] > 1 else np.zeros_like(response)

    def _pace(self, x: NDArray[np.float32]) -> FloatArray:
        """(n,)."""
        assert self.pace is not None  # set when built
        out: FloatArray = np.maximum(x @ self.pace[1:] + self.pace[0], self.least_pace)
        return out

    def _doubt(self, x: NDArray[np.float32], c: NDArray[np.float32], weights: FloatArray) -> FloatArray:
        """(n, k), of an open channel."""
        assert self.doubt is not None  # set when built
        each = np.einsum("pmc,m->pc", self.doubt, np.abs(weights))
        at_once, later = (part[0] + c @ part[1:] for part in each)
        out: FloatArray = at_once + self._pace(x)[:, None] * later
        return out

    def _reach(self, x: NDArray[np.float32], c: NDArray[np.float32], weights: FloatArray) -> FloatArray:
        """V_reach of each candidate's channel, (n, k)."""
        if not len(self.reach_columns):
            return np.zeros(c.shape[:2])
        worth = np.einsum("hmd,m->hd", self.reach, weights)
        each = np.maximum(x @ worth[:, 1:].T + worth[:, 0], 0.0)  # (n, h)
        out: FloatArray = np.einsum("nkh,nh->nk", (c[:, :, self.reach_columns] > 0).astype(np.float64), each)
        return out
