"""Effects of messages from randomised choices: regression on features centred by the logged probabilities.

With z(s, a) features of a message, 0 for silence, and Y an outcome, θ minimises

    Σ_i ω_i (Y_i − V(s_i) − (z(s_i, a_i) − Σ_a π(a | s_i) z(s_i, a))ᵀ θ)².

As the centred features have mean zero given the state, whatever the state does to Y cannot disturb θ, and V, any guess
of it, only takes away noise: the logged probabilities alone need to be right (Robinson 1988, Econometrica 56:4; Nie and
Wager 2021, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika 108:2, with known propensities; for
micro-randomised sequences Boruvka et al. 2018, JASA 113:523). No probability is divided by where the whole distribution
was logged. Where only that of what was chosen is known, decisions are weighted to a uniform choice: ω_i = 1 / (K_i p_i)
and π = 1 / K_i. Times either, a precision that depends on the state alone lets users whose outcomes vary little tell
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.log import Batch, LoggedDataset
from homing.policies import RewardModel

FloatArray = NDArray[np.float64]
BATCH_ROWS = 8_192
#: What all messages do, and all responses, is hardly shrunk: it is one number each, and matters most.
LIGHT = 0.01
#: A feature whose centred variance is below this share of the largest is not identified: chance never moved it.
LEAST_VARIATION = 1e-9


@dataclass(frozen=True, eq=False)
class CentredSums:
    """Gram matrices of centred features, a fold of users each: all that ridge regressions and their validation need.

    Features of a message are (1, x, c): what all messages do, what the user changes of it, and what the message does.
    With a response model the same follow times ρ, the chance that the user responds.

    Attributes:
        gram: float64 (folds, f, f), Σ ω z zᵀ with f = 1 + d + c, or twice that.
        moment: float64 (folds, f, m), Σ ω z (Y − V).
        rows: int64 (folds,).
        width: 1 + d + c.
    """

    gram: FloatArray
    moment: FloatArray
    rows: NDArray[np.int64]
    width: int

    @classmethod
    def of(
        cls,
        dataset: LoggedDataset,
        outcome: FloatArray,
        fold: NDArray[np.int64],
        folds: int,
        *,
        precision: FloatArray | None = None,
        responses: Sequence[RewardModel] | None = None,
    ) -> CentredSums:
        """One pass over a dataset.

        Args:
            dataset: n decisions.
            outcome: (n, m), Y − V.
            fold: of each row's user, (n,), 0 to folds − 1.
            folds: their number.
            precision: (n,), how much each row counts; 0 leaves it out.
            responses: for each fold a model that saw none of its users, whose first objective is the response.
        """
        width = 1 + dataset.context.shape[1] + dataset.candidates.shape[2]
        f = width if responses is None else 2 * width
        counts = np.ones(dataset.n) if precision is None else precision
        gram, moment = np.zeros((folds, f, f)), np.zeros((folds, f, outcome.shape[1]))
        for number in range(folds):
            mine = np.flatnonzero((fold == number) & (counts > 0))
            model = None if responses is None else responses[number]
            for begin in range(0, len(mine), BATCH_ROWS):
                rows = mine[begin : begin + BATCH_ROWS]
                z, weight = centred_features(dataset, rows, model)
                weight = weight * counts[rows]
                gram[number] += z.T @ (weight[:, None] * z)
                moment[number] += z.T @ (weight[:, None] * outcome[rows])
        return cls(gram, moment, np.bincount(fold[counts > 0], minlength=folds), width)

    @property
    def spread(self) -> FloatArray:
        """Standard deviation of each centred feature, (f,)."""
        out: FloatArray = np.sqrt(np.maximum(np.diag(self.gram.sum(axis=0)) / max(int(self.rows.sum()), 1), 0.0))
        return out

    @property
    def identified(self) -> NDArray[np.bool_]:
        """Whether chance moved each feature, (f,): the effects of others cannot be told."""
        spread = self.spread
        out: NDArray[np.bool_] = spread > np.sqrt(LEAST_VARIATION) * max(float(spread.max()), 1e-300)
        return out

    def check(self) -> None:
        """Refuse a log in which nothing can be told.

        Raises:
            InvalidInputError: if chance never, or next to never, chose between a message and silence.
        """
        if self.identified[0]:
            return
        least, step = 0.0, "Effects need decisions in which chance chose between a message and silence: explore."
        if self.spread[0] > 0.0:
            least = LEAST_VARIATION * float(self.spread.max()) ** 2
            step = "Beside features so large it is lost: explore more, or standardise them, as a FeatureEncoder does."
        sending = float(self.spread[0]) ** 2
        raise InvalidInputError(
            describe("variance of sending under the log's policy", sending, f"must be > {least:.3g}", step)
        )

    def ridge(self, penalties: Sequence[float], weights: FloatArray) -> tuple[FloatArray, list[float], float]:
        """θ (f, m) by the penalty under which the weighted outcome is told best in folds that were left out.

        One penalty serves all objectives: what is decided on is their weighted sum, and the noise of each is in it.

        Args:
            penalties: in observations, on features scaled to unit variance.
            weights: (m,), of the objectives.

        Returns:
            θ, 0 where it is not identified; the held-out errors from the strongest penalty, less what does not depend
            on θ; and the penalty that was taken.

        Raises:
            InvalidInputError: if chance never chose between a message and silence.
        """
        n, spread, known = max(int(self.rows.sum()), 1), self.spread, self.identified
        self.check()
        scale = spread[known]
        gram = self.gram[:, known][:, :, known] / np.outer(scale, scale)
        moment = self.moment[:, known] / scale[None, :, None]
        strength = np.where(np.flatnonzero(known) % self.width == 0, LIGHT, 1.0)
        tried, losses = sorted(penalties, reverse=True), []
        for penalty in tried:
            loss = 0.0
            for number in range(len(gram)):
                left, right = gram.sum(axis=0) - gram[number], moment.sum(axis=0) - moment[number]
                fitted = np.linalg.solve(left + np.diag(penalty * strength), right @ weights)
                loss += float(fitted @ gram[number] @ fitted - 2.0 * fitted @ (moment[number] @ weights))
            losses.append(loss / n)
        best = tried[int(np.argmin(losses))]
        theta = np.zeros((len(spread), moment.shape[2]))
        fitted = np.linalg.solve(gram.sum(axis=0) + np.diag(best * strength), moment.sum(axis=0))
        theta[known] = fitted / scale[:, None]
        return theta, losses, best


def centred_features(
    dataset: LoggedDataset, rows: NDArray[np.int64], response: RewardModel | None = None
) -> tuple[FloatArray, FloatArray]:
    """z (b, f) of what was chosen, less its mean under the log's policy; and the weights ω (b,).

    Example:
        >>> data = LoggedDataset(
        ...     context=np.array([[2.0]]), candidates=np.array([[[0.0], [5.0]]]), eligible=np.ones((1, 2), bool),
        ...     action=[1], propensity=[0.25], reward=[[1.0]], objectives=("clicked",), user=[0], time=[0],
        ...     probs=np.array([[0.75, 0.25]]))
        >>> z, weight = centred_features(data, np.array([0]))
        >>> z.tolist(), weight.tolist()  # 0.75 of (1, 2, 5)
        ([[0.75, 1.5, 3.75]], [1.0])
    """
    batch = dataset.rows(rows)
    if dataset.probs is not None:
        probs, weight = dataset.probs[rows], np.ones(len(rows))
        probs = probs / probs.sum(axis=1, keepdims=True)
    else:
        count = batch.eligible.sum(axis=1)
        probs, weight = batch.eligible / count[:, None], 1.0 / (count * batch.propensity)
    # Silence has no features: what is left is the message chosen, if one was, less the messages that might have been.
    share = -probs
    share[np.arange(len(rows)), batch.action] += 1.0
    share[:, 0] = 0.0
    parts = _summed(share, batch)
    if response is not None:
        parts += _summed(share * response.predict(batch.context, batch.candidates)[:, :, 0], batch)
    return np.concatenate(parts, axis=1), weight


def _summed(share: FloatArray, batch: Batch) -> list[FloatArray]:
    """Σ_a share_a (1, x, c_a)."""
    total = share.sum(axis=1, keepdims=True)
    own = np.einsum("nk,nkc->nc", share.astype(np.float32), batch.candidates).astype(np.float64)
    return [total, total * batch.context, own]
