"""Marginalised inverse propensity scoring: weights of what candidates share, not of the candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_shape
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.estimators.base import FloatArray, RowEstimate, Rows, linear, self_normalised
from homing.ope.messages import OTHER, Messages

#: What candidates can share, by their fields in the log.
EMBEDDINGS = ("message", "campaign", "domain", "channel", "slot")
#: How far a propensity may be from 1 / eligible candidates for the log to count as uniformly random.
UNIFORM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class MIPS:
    """V = mean(w(x,e) r) with w(x,e) = p(e | x, π) / p(e | x, μ), e being the message (campaign …) that was sent.

    Where one message stands among the candidates on several channels or slots, or one campaign in several messages,
    what a policy does among these does not move the weights: they are smaller, and the estimate is more precise.

    Unbiased if the reward depends on a candidate through e alone (and silence stays apart from all messages), and every
    e that the policy uses was logged with probability > 0. Wrong to use where channel or time matter beyond the
    message: the interval does not cover that bias. Support is judged on the plain weights, so it is stricter than need
    be; the details hold `ess`, `largest_weight` and `weight_mean` (1 up to noise under full support) of the marginal
    ones.

    Attributes:
        embedding: `message`, `campaign`, `domain`, `channel`, `slot`, or a name of one's own with weights from
            `marginal_weights` in `evaluate_policy(ratios=…)`.
        name: in reports; `mips-` and the embedding when not given.

    References:
        Saito and Joachims (2022), "Off-Policy Evaluation for Large Action Spaces via Embeddings", section 3.1
        (definition) and 3.2 (assumptions).

    Example:
        >>> rows = Rows(np.array([4.0, 0.0]), np.ones(2), ratios={"message": np.array([1.5, 0.5])})
        >>> MIPS()(rows).value
        1.0
    """

    embedding: str = "message"
    name: str = ""
    needs_q_hat: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"mips-{self.embedding}")

    @property
    def needs_ratio(self) -> str:
        """The weights that it uses, from `Rows.ratios`."""
        return self.embedding

    def __call__(self, rows: Rows) -> RowEstimate:
        weight = rows.ratio(self.embedding)
        return linear(weight * rows.reward, _details(weight), unbiased=linear(rows.weight * rows.reward))


@dataclass(frozen=True)
class SNMIPS:
    """V = Σ w(x,e) r / Σ w(x,e): `MIPS` divided by the sum of its weights, as `SNIPS` is to `IPS`.

    The same assumptions; inside the range of the rewards, and indifferent to a shift of them.

    Attributes:
        embedding: as at `MIPS`.
        name: in reports; `snmips-` and the embedding when not given.

    References:
        Saito and Joachims (2022), "Off-Policy Evaluation for Large Action Spaces via Embeddings", for the weights;
        Swaminathan and Joachims (2015), "The Self-Normalized Estimator for Counterfactual Learning".

    Example:
        >>> rows = Rows(np.array([4.0, 0.0]), np.array([1.0, 0.0]), ratios={"message": np.array([1.5, 0.5])})
        >>> SNMIPS()(rows).value
        0.75
    """

    embedding: str = "message"
    name: str = ""
    needs_q_hat: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"snmips-{self.embedding}")

    @property
    def needs_ratio(self) -> str:
        """The weights that it uses, from `Rows.ratios`."""
        return self.embedding

    def __call__(self, rows: Rows) -> RowEstimate:
        weight = rows.ratio(self.embedding)
        found = self_normalised(weight, rows.reward)
        plain = self_normalised(rows.weight, rows.reward) if rows.weight.any() else None
        return RowEstimate(found.value, found.influence, _details(weight), weighted=found.weighted, unbiased=plain)


def _details(weight: FloatArray) -> dict[str, float]:
    squares = float(weight @ weight)
    return {
        "ess": float(weight.sum()) ** 2 / squares if squares > 0 else 0.0,
        "largest_weight": float(weight.max()),
        "weight_mean": float(weight.mean()),
    }


def marginal_weights(dataset: LoggedDataset, action_probs: ArrayLike, codes: ArrayLike) -> FloatArray:
    """w(x,e) = p(e | x, π) / p(e | x, μ) of the logged rows, float64 (n,).

    p(e | x, π) is the probability that π takes any candidate of this decision with the logged one's code. With a code
    of its own for each candidate this is π / propensity.

    Args:
        dataset: the log. It must say how likely *every* candidate was: `probs` where it has them, or propensities that
            are all 1 / eligible candidates, as a uniformly random log's are.
        action_probs: (n, k), the policy's probabilities.
        codes: integer (n, k), equal where two candidates of a decision count as the same.

    Raises:
        InvalidInputError: if the logging policy's whole distribution is not known, or shapes do not fit.

    Example:
        >>> data = LoggedDataset(
        ...     context=np.zeros((1, 1)), candidates=np.zeros((1, 3, 1)), eligible=np.ones((1, 3), bool), action=[1],
        ...     propensity=[0.2], reward=[[1.0]], objectives=("clicked",), user=[0], time=[0], probs=[[0.5, 0.2, 0.3]])
        >>> marginal_weights(data, [[0.0, 1.0, 0.0]], codes=[[0, 1, 1]]).tolist()
        [2.0]
    """
    shape = (dataset.n, dataset.k)
    probs = np.asarray(check_shape("action_probs", action_probs, shape), dtype=np.float64)
    labels = check_shape("codes", codes, shape, next_step="One code for each candidate of each decision.")
    rows = np.arange(dataset.n)
    same = labels == labels[rows, dataset.action][:, None]
    # The chosen candidate's own probability is the propensity, which may be more exact than its entry in probs.
    same[rows, dataset.action] = False
    logged = np.einsum("nk,nk->n", logging_policy(dataset), same) + dataset.propensity
    taken = np.einsum("nk,nk->n", probs, same) + probs[rows, dataset.action]
    return np.asarray(taken / logged, dtype=np.float64)


def logging_policy(dataset: LoggedDataset) -> FloatArray:
    """How likely the logging policy took each candidate, (n, k).

    Raises:
        InvalidInputError: if the log does not say.
    """
    if dataset.probs is not None:
        return dataset.probs
    share = 1.0 / dataset.eligible.sum(axis=1)
    other = np.abs(dataset.propensity - share) > UNIFORM_TOLERANCE
    if other.any():
        row = int(np.argmax(other))
        raise InvalidInputError(
            describe(
                "dataset.probs",
                None,
                "must hold the logging policy's whole distribution: marginal weights need the probabilities of the "
                f"candidates that were not chosen too (row {row} has propensity {dataset.propensity[row]:.4g}, and "
                f"1 / eligible is {share[row]:.4g}, so the log is not uniformly random)",
                "Log `propensities` with each decision, or leave these estimators out.",
            )
        )
    return np.asarray(dataset.eligible * share[:, None], dtype=np.float64)


def embedding_codes(dataset: LoggedDataset, embedding: str, messages: Messages) -> NDArray[np.integer]:
    """Which candidates share a message, campaign … : integer (n, k), silence 0, padding -1.

    Candidates of a level that the log's encoder does not know count as different ones.

    Args:
        dataset: the log.
        embedding: one of `EMBEDDINGS`.
        messages: of the log.

    Raises:
        InvalidInputError: if the log's encoder has no columns of that field.
    """
    position = np.arange(dataset.k, dtype=np.int32)
    if embedding == "message":
        known = messages.names.index(OTHER) if OTHER in messages.names else len(messages.names)
        return np.where(messages.code == known, known + position, messages.code)
    encoder, store = dataset.encoder, dataset.candidates
    blocks = [] if encoder is None else [item for item in encoder.candidate if item.kind == "category" and item.levels]
    names = [item.name for item in blocks]
    if embedding not in names:
        raise InvalidInputError(
            describe(
                "embedding",
                embedding,
                f"must have columns in the log's encoder, which has {', '.join(names) or 'none'}",
                "A field that is constant, or told by another, has none: marginal_weights(dataset, probs, codes) takes "
                "codes of your own, for evaluate_policy(ratios=…).",
            )
        )
    column = names.index(embedding)
    codes = np.full((dataset.n, dataset.k), -1, dtype=np.int32)
    codes[position < store.counts[:, None]] = store.codes[:, column] + np.int32(1)
    codes = np.where(codes == 0, len(blocks[column].levels) + 1 + position, codes)
    codes[:, 0] = 0
    return codes
