"""Effects of messages on each objective, told by a log: as such where they are common, else as much as is sure.

A weight at run time multiplies the errors of effects with the effects, and messages are then chosen for them. So of an
objective that is not common as much of its effects counts as is sure to hold for users who were left out, or a share of
the effect on what is common, as much of it as is sure, whichever says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.learners.action_centred import CentredSums
from homing.learners.doubts import Offered
from homing.learners.rare_effects import sure_shares
from homing.learners.shrinkage import FREE, Shrunk, shrunk
from homing.log import LoggedDataset
from homing.policies import LinearRewardModel

FloatArray = NDArray[np.float64]
#: Chance that noise passes for an effect, its own or a share, over all weighted objectives that are not common and both
#: effects; at most half as much again, as each is asked for both.
FALSE_SHARE = 0.05
#: An objective that fewer decisions bring anything of tells nothing: all of the few may have been sent what is mostly
#: sent, and parts of users then differ by much less than another log would.
FEW = 100
#: Errors of a slope on effects that the same objective told, relative to those of one on given effects: where there is
#: nothing to tell, two parts' moments are multiplied twice, once as the effects and once as what is told by them.
OWN_ERROR = 2.0**0.5


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
        sure: float64 (m,), how much of an objective's own effects is told: 1 if it is common, and 0 if none.
        share: float64 (m,), of the weighted effect on what is common, by which the others are told; 0 if none.
        identified: bool (f,), whether chance moved each column.
        error: float64 (m, 1 + c), standard errors by channel, see `homing.learners.doubts`.
    """

    theta: FloatArray
    sure: FloatArray
    share: FloatArray
    identified: NDArray[np.bool_]
    error: FloatArray

    @property
    def any(self) -> NDArray[np.bool_]:
        """Of which objectives anything is told, (m,)."""
        out: NDArray[np.bool_] = (self.sure > 0) | (self.share != 0)
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
    """Effects on each objective, as much as is sure of its own or a share of those on what is common.

    Args:
        dataset: n decisions.
        terms: what effects are regressed on.
        outcome: (n, m), less what the state promised.
        precision: (n,), how much each decision counts; 0 leaves it out.
        part: of each decision's user, (n,); a part p belongs to fold p modulo the number of folds.
        models: each part's response model, that of its fold.
        weights: (m,).
        common: objectives whose effects are told as such, (m,).
        asked: those that have effects, (m,), these among them; the others get none.
        offered: messages whose effects' errors are told.
    """
    parts, folds, m = len(models), len(terms.maps) - 1, len(weights)
    rows = precision > 0
    if not rows.any():  # nobody comes back
        f = len(terms.maps[-1])
        nothing = np.zeros((m, 1 + dataset.candidates.shape[2]))
        return Told(np.zeros((f, m)), common.astype(np.float64), np.zeros(m), np.zeros(f, dtype=bool), nothing)
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

    def mattering(told: dict[int, Shrunk]) -> FloatArray:
        return sum((weights[i] * each.theta for i, each in told.items() if common[i]), np.zeros(gram.shape[1]))

    many = (dataset.reward[rows] != 0).sum(axis=0) >= FEW
    rest = np.flatnonzero(asked & ~common & (noise > 0) & many)
    sure, share = common.astype(np.float64), np.zeros(m)
    if len(rest):
        level = 1.0 - FALSE_SHARE / (2 * max(int((asked & ~common & (weights != 0)).sum()), 1))
        without = [solve(fold != number, asked) for number in range(folds)]
        others = np.stack([mattering(each) for each in without])[fold]
        for i, of_others in zip(rest, sure_shares(gram, moment[:, :, rest], others, level), strict=True):
            own = np.stack([each[int(i)].theta for each in without])[fold]
            of_own = sure_shares(gram, moment[:, :, [i]], own, level, OWN_ERROR)[0]
            of_own = min(max(float(of_own), 0.0), 1.0)
            if of_own**2 * _size(gram, own) > of_others**2 * _size(gram, others):
                sure[i] = of_own
            else:
                share[i] = of_others
    told = solve(np.ones(parts, dtype=bool), sure > 0)
    theta, error = np.zeros((gram.shape[1], m)), np.zeros((m, 1 + dataset.candidates.shape[2]))
    for number, each in told.items():
        theta[:, number], error[number] = sure[number] * each.theta, sure[number] * offered.errors(each)
    theta += mattering(told)[:, None] * share
    error += np.abs(share)[:, None] * (np.abs(np.where(common, weights, 0.0)) @ error)
    return Told(terms.maps[-1] @ theta, sure, share, sums.identified, error)


def _size(gram: FloatArray, theta: FloatArray) -> float:
    """Σ of squared effects, of parts' grams (p, f, f) and θ (p, f)."""
    return float(np.einsum("pf,pfg,pg->", theta, gram, theta))
