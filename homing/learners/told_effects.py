"""Effects of messages on each objective, told by a log: by themselves where that is sure, else by a share of these.

A weight at run time multiplies the errors of effects with the effects, and messages are then chosen for them. So an
objective that is not common tells its effects by itself only where they surely tell users who were left out better than
no effects do: with θ of the others, Σ (2 θᵀ moment − θᵀ gram θ) over parts of users is by how much squared errors fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.estimates import interval
from homing.learners.action_centred import CentredSums
from homing.learners.doubts import Offered
from homing.learners.rare_effects import sure_shares
from homing.learners.shrinkage import FREE, Shrunk, shrunk
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel

FloatArray = NDArray[np.float64]
#: Chance that noise passes for a share, over all objectives that get one and both effects.
FALSE_SHARE = 0.05
#: Level of the interval by which effects are surely better than none.
SURE = 0.95


@dataclass(frozen=True, eq=False)
class Terms:
    """What effects are regressed on: q combinations of the f columns of `CentredSums`.

    The fit and what is picked: what all messages do, channels and the chance of a response, which are free; candidate
    columns, and context columns, a group each. What fits a user better is taken to do no worse by an objective that
    matters, so that few users' noise does not send what fits least.

    Attributes:
        maps: float64 (f, q) each, one for each fold, with the response model of the others; the last with that of all.
        group: int64 (q,), of each combination, see `homing.learners.shrinkage`.
        fits: whether the fit, the first combination, is known to be of numbers.
    """

    maps: tuple[FloatArray, ...]
    group: NDArray[np.int64]
    fits: bool

    @classmethod
    def of(cls, dataset: LoggedDataset, channels: NDArray[np.int64], responses: Sequence[LinearRewardModel]) -> Terms:
        """Terms of messages.

        Args:
            dataset: n decisions.
            channels: candidate columns that tell channels.
            responses: a model for each fold, of the users of the others; then one of all.
        """
        d, c = dataset.context.shape[1], dataset.candidates.shape[2]
        width = 1 + d + c
        numbers = _numbers(dataset)
        # Without an encoder nobody knows which columns are numbers: each is a part of the fit, and told by itself.
        rest = np.setdiff1d(np.arange(c), channels if dataset.encoder is None else np.append(numbers, channels))
        free = [0, *(1 + d + channels), width]
        picked = np.array([*free, *(1 + d + rest), *range(1, 1 + d)], dtype=np.int64)
        group = np.concatenate([np.full(1 + len(free), FREE), np.zeros(len(rest)), np.ones(d)]).astype(np.int64)
        maps = []
        for response in responses:
            fit = np.zeros((2 * width, 1))
            fit[1 + d + numbers, 0] = response.candidate[0, numbers]
            maps.append(np.concatenate([fit, np.eye(2 * width)[:, picked]], axis=1))
        return cls(tuple(maps), group, dataset.encoder is not None)


def _numbers(dataset: LoggedDataset) -> NDArray[np.int64]:
    """Candidate columns that are numbers; all of them without an encoder."""
    if dataset.encoder is None:
        return np.arange(dataset.candidates.shape[2])
    names = dataset.encoder.candidate_names
    found = [names.index(field.name) for field in dataset.encoder.candidate if field.kind == "number" and field.scale]
    return np.array(found, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Told:
    """What a log tells of effects on m objectives.

    Attributes:
        theta: float64 (f, m), of the columns of `CentredSums`.
        itself: bool (m,), which objectives are told by themselves.
        share: float64 (m,), of the weighted effect on these, by which the others are told.
        identified: bool (f,), whether chance moved each column.
        error: float64 (m, 1 + c), standard errors by channel, see `homing.learners.doubts`.
    """

    theta: FloatArray
    itself: NDArray[np.bool_]
    share: FloatArray
    identified: NDArray[np.bool_]
    error: FloatArray

    @property
    def any(self) -> NDArray[np.bool_]:
        """Of which objectives anything is told, (m,)."""
        out: NDArray[np.bool_] = self.itself | (self.share != 0)
        return out


def told_effects(
    dataset: LoggedDataset,
    terms: Terms,
    outcome: FloatArray,
    precision: FloatArray,
    part: NDArray[np.int64],
    models: Sequence[LinearRewardModel],
    weights: FloatArray,
    common: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    offered: Offered,
) -> Told:
    """Effects on each objective, by themselves or by a share.

    Args:
        dataset: n decisions.
        terms: what effects are regressed on.
        outcome: (n, m), less what the state promised.
        precision: (n,), how much each decision counts; 0 leaves it out.
        part: of each decision's user, (n,); a part p belongs to fold p modulo the number of folds.
        models: each part's response model, that of its fold.
        weights: (m,).
        common: objectives that tell effects by themselves in any case, (m,).
        asked: those that have effects, (m,), these among them; the others get none.
        offered: messages whose effects' errors are told.
    """
    parts, folds, m = len(models), len(terms.maps) - 1, len(weights)
    rows = precision > 0
    if not rows.any():  # nobody comes back
        f = len(terms.maps[-1])
        nothing = np.zeros((m, 1 + dataset.candidates.shape[2]))
        return Told(np.zeros((f, m)), common, np.zeros(m), np.zeros(f, dtype=bool), nothing)
    sums = CentredSums.of(dataset, outcome, part, parts, precision=precision, responses=models)
    sums.check()
    noise = precision[rows] @ outcome[rows] ** 2 / max(int(rows.sum()), 1)
    fold = np.arange(parts) % folds
    maps = np.stack(terms.maps[:-1])[fold]
    gram = np.einsum("pfq,pfg,pgr->pqr", maps, sums.gram, maps, optimize=True)
    moment = np.einsum("pfq,pfm->pqm", maps, sums.moment)

    def solve(which: NDArray[np.bool_], objectives: NDArray[np.bool_]) -> dict[int, Shrunk]:
        left, right = gram[which].sum(axis=0), moment[which].sum(axis=0)
        out = {}
        for i in np.flatnonzero(objectives & (noise > 0)):
            each = shrunk(left, right[:, i], float(noise[i]), terms.group)
            out[int(i)] = each.signed(0, float(np.sign(weights[i]))) if terms.fits and weights[i] else each
        return out

    def mattering(told: dict[int, Shrunk], itself: NDArray[np.bool_]) -> FloatArray:
        return sum((weights[i] * each.theta for i, each in told.items() if itself[i]), np.zeros(gram.shape[1]))

    without = [solve(fold != number, asked) for number in range(folds)]
    itself = common.copy()
    for number in np.flatnonzero(asked & ~common & (noise > 0)):
        left_out = np.stack([each[int(number)].theta for each in without])[fold]
        itself[number] = better_than_none(gram, moment[:, :, number], left_out)
    told, share = solve(np.ones(parts, dtype=bool), itself), np.zeros(m)
    theta, error = np.zeros((gram.shape[1], m)), np.zeros((m, 1 + dataset.candidates.shape[2]))
    for i, each in told.items():
        theta[:, i], error[i] = each.theta, offered.errors(each)
    rest = asked & ~itself
    if rest.any():
        others = np.stack([mattering(each, itself) for each in without])[fold]
        level = 1.0 - FALSE_SHARE / (2 * max(int((rest & (weights != 0)).sum()), 1))
        share[rest] = sure_shares(gram, moment[:, :, rest], others, level)
        theta += mattering(told, itself)[:, None] * share
        error += np.abs(share)[:, None] * (np.abs(np.where(itself, weights, 0.0)) @ error)
    return Told(terms.maps[-1] @ theta, itself, share, sums.identified, error)


def better_than_none(gram: FloatArray, moment: FloatArray, theta: FloatArray) -> bool:
    """Whether effects surely tell more of users who were left out than no effects do.

    Args:
        gram: Σ ω z zᵀ of each part of users, (p, f, f).
        moment: Σ ω z y, (p, f).
        theta: told without each part's users, (p, f).

    Example:
        Effects of 1 in four parts, told as 1.1; and told as 3, which is farther from the truth than 0.

        >>> one = np.ones((4, 1, 1))
        >>> moment = np.array([[1.0], [1.1], [0.9], [1.0]])
        >>> better_than_none(one, moment, np.full((4, 1), 1.1)), better_than_none(one, moment, np.full((4, 1), 3.0))
        (True, False)
    """
    gain = 2.0 * np.einsum("pf,pf->p", theta, moment) - np.einsum("pf,pfg,pg->p", theta, gram, theta)
    return interval(float(gain.sum()), gain - gain.mean(), SURE).lower > 0.0
