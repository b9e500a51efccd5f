"""The structured advantage: a step of policy improvement, taken apart into effects that randomised silence shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive
from homing.errors import InvalidInputError, describe, unknown_name
from homing.learners.action_centred import CentredSums
from homing.learners.examples import user_folds
from homing.learners.learner import objective_weights, positive_numbers, whole_number
from homing.learners.reward_models import fit_linear
from homing.learners.state_values import StateValues, fit_values, outcomes, precision_of
from homing.learners.transitions import MICROSECONDS_PER_DAY, Gaps
from homing.log import LoggedDataset
from homing.policies import Effects, EpsilonGreedyPolicy, GreedyPolicy, LinearRewardModel, Policy, StructuredAdvantage
from homing.policies.wrappers import check_epsilon

FloatArray = NDArray[np.float64]
#: Strengths of the penalty on effects that are tried, in observations.
PENALTIES = (1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
#: Rows that the response model is fitted on, at most: it needs fewer than the effects do.
RESPONSE_ROWS = 100_000
RESPONSE_PENALTY = 100.0
VALUE_RIDGE = 100.0


@dataclass(frozen=True, eq=False)
class Story:
    """What came of n decisions, m objectives.

    Attributes:
        gaps: where journeys go on.
        values: of states.
        at_once: float64 (n, m), see `homing.learners.state_values`.
        later: float64 (n, m).
    """

    gaps: Gaps
    values: StateValues
    at_once: FloatArray
    later: FloatArray


class Structured:
    """Sends the message with the largest advantage over silence, if it is positive.

    A(s, a) = Σ_m w_m (now_m + (1 − leave) · sticks_m) − leave · V_reach − cost, see `StructuredAdvantage`. *now* is the
    effect on what shows at once, *sticks* that on what comes later, by the outcomes of
    `homing.learners.state_values`; both are regressed on a few features with the log's randomisation
    (`homing.learners.action_centred`). *leave* and V_reach price a channel that is closed: the chance of it is a model
    of a rare event, and its worth the difference that an open channel makes to the value of a state, instead of the
    few users' futures in which it happened.

    Rewards should be those of the time until the next decision: objectives with a long window and `attribute_unlinked`.
    Wrong to use where silence was never left to chance; it then says so.

    Args:
        response: the objective that tells that a user took a message up; the first 0–1 objective that never happens
            after silence without one.
        leave: the objective that tells that a channel was closed; the second such, if there is one; "" for none.
        permissions: {candidate column: context column} that tell a message's channel, and whether it is open; found by
            their names, `channel=push` and `push_allowed`, where not given.
        gamma_per_day: discount.
        trace_days: half-life of the trace, in which what a message does is seen even if the state does not show it.
        tail_days: decisions that the log follows for less than this do not teach what sticks.
        cost: of any message, in weighted reward.
        epsilon: share of uniform exploration over what is eligible.
        folds: of users, for cross-fitting and validation.
        penalties: strengths to choose from, in observations.
    """

    def __init__(
        self,
        response: str | None = None,
        leave: str | None = None,
        permissions: Mapping[str, str] | None = None,
        gamma_per_day: float = 0.985,
        trace_days: float = 14.0,
        tail_days: float = 7.0,
        cost: float = 0.0,
        epsilon: float = 0.05,
        folds: int = 3,
        penalties: Sequence[float] = PENALTIES,
    ) -> None:
        if not isinstance(gamma_per_day, int | float) or not 0.0 < gamma_per_day < 1.0:
            raise InvalidInputError(describe("gamma_per_day", gamma_per_day, "must be in (0, 1)"))
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0.0 <= cost < float("inf"):
            raise InvalidInputError(describe("cost", cost, "must be >= 0"))
        if isinstance(tail_days, bool) or not isinstance(tail_days, int | float) or not 0.0 <= tail_days < float("inf"):
            raise InvalidInputError(describe("tail_days", tail_days, "must be >= 0"))
        self.response, self.leave = response, leave
        self.permissions = None if permissions is None else dict(permissions)
        self.gamma = float(gamma_per_day)
        self.trace_days = check_positive("trace_days", trace_days)
        self.tail_days, self.cost = float(tail_days), float(cost)
        self.epsilon = check_epsilon(epsilon)
        self.folds = whole_number("folds", folds, 2)
        self.penalties = positive_numbers("penalties", penalties)
        self.report: dict[str, Any] = {}

    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a log with randomised silence.

        Raises:
            InvalidInputError: if chance never chose between a message and silence, or no objective tells a response.
            UnknownNameError: if a name is none of the dataset's.
        """
        w = objective_weights(dataset, weights)
        heads = self._heads(dataset)
        columns, flags, notes = self._permissions(dataset)
        fold = user_folds(dataset.user, self.folds, rng)
        sent = np.flatnonzero(dataset.action > 0)
        models = [_responses(dataset, heads, sent[fold[sent] != number], rng) for number in range(self.folds)]
        story = self._story(dataset, flags)
        known = _followed(dataset, story.gaps, self.tail_days)
        stays = np.ones(dataset.n, dtype=bool) if len(heads) == 1 else dataset.reward[:, heads[1]] == 0
        total = (story.at_once + story.later) @ w
        counted = known & stays
        precision = np.zeros(dataset.n)
        precision[counted] = precision_of(total[counted] - total[counted].mean(), dataset.context[counted], flags)
        m = len(w)
        both = np.concatenate([story.at_once, story.later], axis=1)
        sums = CentredSums.of(dataset, both, fold, self.folds, precision=precision, responses=models)
        theta, losses, penalty = sums.ridge(self.penalties, np.concatenate([w, w]))
        scorer = StructuredAdvantage(
            response=_responses(dataset, heads, sent, rng),
            now=_effects(theta[:, :m], dataset.context.shape[1]),
            sticks=_effects(theta[:, m:], dataset.context.shape[1]),
            reach=story.values.of_permission(),
            reach_columns=columns,
            cost=np.append(self.cost, np.zeros(dataset.candidates.shape[2])),
            weights=w,
            leave=heads[1] if len(heads) > 1 else -1,
        )
        self.report = {
            "history": {"held-out error of effects by penalty": losses},
            "settings": {
                "response": dataset.objectives[heads[0]],
                "leave": dataset.objectives[heads[1]] if len(heads) > 1 else "",
                "decisions that teach effects": int(counted.sum()),
                "penalty": penalty,
                "features not identified": _unmoved(dataset, sums.identified),
            },
            "warnings": [*notes, *_unseen(dataset, w, counted, heads)],
        }
        policy: Policy = GreedyPolicy(scorer)
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

    def _story(self, dataset: LoggedDataset, flags: NDArray[np.int64]) -> Story:
        """What each decision's outcome was worth beyond what its state promised."""
        gaps = Gaps.of(dataset)
        going = np.where(gaps.terminal, 0.0, self.gamma**gaps.days)
        values = fit_values(dataset.context, dataset.reward, gaps, going, flags, VALUE_RIDGE)
        trace = self.gamma * 0.5 ** (1.0 / self.trace_days)
        at_once, later = outcomes(dataset.reward, values.of(dataset.context), gaps, going, trace, dataset.user)
        return Story(gaps, values, at_once, later)

    def _heads(self, dataset: LoggedDataset) -> list[int]:
        """Objectives of the response and, if there is one, of leaving."""
        silent = dataset.action == 0
        reward = dataset.reward
        binary = ((reward == 0) | (reward == 1)).all(axis=0)
        caused = np.flatnonzero(binary & ~reward[silent].any(axis=0) & reward[~silent].any(axis=0))
        found = []
        for role, given in (("response", self.response), ("leave", self.leave)):
            if given:
                if given not in dataset.objectives:
                    raise unknown_name(role, given, dataset.objectives)
                found.append(dataset.objectives.index(given))
            elif given is None:
                rest = [int(i) for i in caused if int(i) not in found]
                found += rest[:1]
            if role == "response" and not found:
                raise InvalidInputError(
                    describe(
                        "response", None, "must be an objective that is 0 or 1 and happens only after a message",
                        "Add one to the objectives, such as clicked, or name it.",
                    )
                )  # fmt: skip
        return found

    def _permissions(self, dataset: LoggedDataset) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
        """Candidate columns of channels, the context columns that tell whether these are open, and what is amiss."""
        if dataset.encoder is None:
            if self.permissions:
                raise InvalidInputError(
                    describe("permissions", self.permissions, "needs a dataset with an encoder", "Build it from a log.")
                )
            names: dict[str, str] = {}
            candidate_names: tuple[str, ...] = ()
            context_names: tuple[str, ...] = ()
        else:
            candidate_names, context_names = dataset.encoder.candidate_names, dataset.encoder.context_names
            names = self.permissions if self.permissions is not None else _open_channels(candidate_names, context_names)
        for channel, flag in names.items():
            if channel not in candidate_names:
                raise unknown_name("permissions", channel, candidate_names)
            if flag not in context_names:
                raise unknown_name(f"permissions[{channel!r}]", flag, context_names)
        notes = []
        if not names:
            notes.append(
                "V_reach is not identified: no context column tells which channels are open. Name permissions."
            )
        columns = np.array([candidate_names.index(name) for name in names], dtype=np.int64)
        flags = np.array([context_names.index(flag) for flag in names.values()], dtype=np.int64)
        return columns, flags, notes


def _open_channels(candidate_names: Sequence[str], context_names: Sequence[str]) -> dict[str, str]:
    channels = [name for name in candidate_names if name.startswith("channel=")]
    return {
        name: f"{name.removeprefix('channel=')}_allowed"
        for name in channels
        if f"{name.removeprefix('channel=')}_allowed" in context_names
    }


def _responses(
    dataset: LoggedDataset, heads: Sequence[int], rows: NDArray[np.int64], rng: np.random.Generator
) -> LinearRewardModel:
    """Chances of a response and of leaving after a message, from at most `RESPONSE_ROWS` of the rows."""
    if len(rows) > RESPONSE_ROWS:
        rows = np.sort(rng.choice(rows, RESPONSE_ROWS, replace=False))
    some = dataset.take(rows)
    columns = list(heads)
    some = replace(some, reward=some.reward[:, columns], objectives=tuple(some.objectives[i] for i in columns))
    fitted = fit_linear(some, np.ones(len(columns)), penalties=(RESPONSE_PENALTY,), rng=rng)
    assert isinstance(fitted.model, LinearRewardModel)
    return fitted.model


def _followed(dataset: LoggedDataset, gaps: Gaps, tail_days: float) -> NDArray[np.bool_]:
    """Decisions after which the log goes on for long enough to see what sticks."""
    left = (dataset.time.max() - dataset.time) / MICROSECONDS_PER_DAY
    known: NDArray[np.bool_] = ~gaps.truncated & (left >= tail_days)
    if not known.any():
        raise InvalidInputError(
            describe(
                "decisions that the log follows", 0, f"must be >= 1 with tail_days={tail_days:g}",
                "Take a longer log, or a smaller tail_days.",
            )
        )  # fmt: skip
    return known


def _effects(theta: FloatArray, d: int) -> Effects:
    """θ (2 (1 + d + c), m) as effects on m objectives."""
    parts = theta.T.reshape(theta.shape[1], 2, -1).transpose(1, 0, 2)
    return Effects(parts[:, :, 0], parts[:, :, 1 : 1 + d], parts[:, :, 1 + d :])


def _unseen(dataset: LoggedDataset, weights: FloatArray, counted: NDArray[np.bool_], heads: Sequence[int]) -> list[str]:
    """Objectives that matter and never happen in what effects are learnt from."""
    return [
        f"Effects on {name} are not identified: it only happens after a user's last decision, or as the log ends."
        for i, name in enumerate(dataset.objectives)
        if weights[i] != 0 and i not in heads and dataset.reward[:, i].any() and not dataset.reward[counted, i].any()
    ]


def _unmoved(dataset: LoggedDataset, identified: NDArray[np.bool_]) -> list[str]:
    """Candidate columns that chance never moved: effects that the log cannot tell."""
    d, c = dataset.context.shape[1], dataset.candidates.shape[2]
    lacking = np.flatnonzero(~identified[1 + d : 1 + d + c])
    names = range(c) if dataset.encoder is None else dataset.encoder.candidate_names
    return [str(names[i]) for i in lacking]
