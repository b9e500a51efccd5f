"""Effects of messages on each objective, told by a log: frequent ones by themselves, rare ones by a share of these."""

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
#: Chance that noise passes for a share, over all rare objectives and both effects.
FALSE_SHARE = 0.05


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
        share: float64 (m,), of the weighted effect on what is frequent, by which rare objectives are told.
        identified: bool (f,), whether chance moved each column.
        error: float64 (m, 1 + c), standard errors by channel, see `homing.learners.doubts`.
    """

    theta: FloatArray
    share: FloatArray
    identified: NDArray[np.bool_]
    error: FloatArray


def told_effects(
    dataset: LoggedDataset,
    terms: Terms,
    outcome: FloatArray,
    precision: FloatArray,
    part: NDArray[np.int64],
    models: Sequence[LinearRewardModel],
    weights: FloatArray,
    often: NDArray[np.bool_],
    rare: NDArray[np.bool_],
    offered: Offered,
) -> Told:
    """Effects on each objective: of those that happen often by themselves, of rare ones by a share.

    Args:
        dataset: n decisions.
        terms: what effects are regressed on.
        outcome: (n, m), less what the state promised.
        precision: (n,), how much each decision counts; 0 leaves it out.
        part: of each decision's user, (n,); a part p belongs to fold p modulo the number of folds.
        models: each part's response model, that of its fold.
        weights: (m,).
        often: objectives that tell effects by themselves, (m,).
        rare: those that get a share, (m,).
        offered: messages whose effects' errors are told.
    """
    parts, folds, m = len(models), len(terms.maps) - 1, len(weights)
    rows = precision > 0
    if not rows.any():  # nobody comes back
        f = len(terms.maps[-1])
        nothing = np.zeros((m, 1 + dataset.candidates.shape[2]))
        return Told(np.zeros((f, m)), np.zeros(m), np.zeros(f, dtype=bool), nothing)
    sums = CentredSums.of(dataset, outcome, part, parts, precision=precision, responses=models)
    sums.check()
    noise = precision[rows] @ outcome[rows] ** 2 / max(int(rows.sum()), 1)
    fold = np.arange(parts) % folds
    maps = np.stack(terms.maps[:-1])[fold]
    gram = np.einsum("pfq,pfg,pgr->pqr", maps, sums.gram, maps, optimize=True)
    moment = np.einsum("pfq,pfm->pqm", maps, sums.moment)

    def solve(which: NDArray[np.bool_]) -> dict[int, Shrunk]:
        left, right = gram[which].sum(axis=0), moment[which].sum(axis=0)
        out = {}
        for i in np.flatnonzero(often & (noise > 0)):
            each = shrunk(left, right[:, i], float(noise[i]), terms.group)
            out[int(i)] = each.signed(0, float(np.sign(weights[i]))) if terms.fits and weights[i] else each
        return out

    def mattering(told: dict[int, Shrunk]) -> FloatArray:
        return sum((weights[i] * each.theta for i, each in told.items()), np.zeros(gram.shape[1]))

    told, share = solve(np.ones(parts, dtype=bool)), np.zeros(m)
    theta, error = np.zeros((gram.shape[1], m)), np.zeros((m, 1 + dataset.candidates.shape[2]))
    for i, each in told.items():
        theta[:, i], error[i] = each.theta, offered.errors(each)
    if rare.any():
        others = np.stack([mattering(solve(fold != number)) for number in range(folds)])[fold]
        level = 1.0 - FALSE_SHARE / (2 * int(rare.sum()))
        share[rare] = sure_shares(gram, moment[:, :, rare], others, level)
        theta += mattering(told)[:, None] * share
        error += np.abs(share)[:, None] * (np.abs(np.where(often, weights, 0.0)) @ error)
    return Told(terms.maps[-1] @ theta, share, sums.identified, error)
