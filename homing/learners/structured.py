"""The structured advantage: a step of policy improvement, taken apart into effects that randomised silence shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_positive
from homing.errors import InvalidInputError, describe, unknown_name
from homing.learners.doubts import Offered, steadied
from homing.learners.examination import Examined
from homing.learners.examples import user_folds
from homing.learners.findings import silence_by_chance
from homing.learners.gains import added_values
from homing.learners.lasting import Pace, end_of, pace_of, sequel
from homing.learners.learner import mapping, objective_weights
from homing.learners.logistic import fit_chances
from homing.learners.state_values import fit_values
from homing.learners.told_effects import Terms, Told, told_effects
from homing.learners.transitions import MICROSECONDS_PER_DAY, Gaps
from homing.log import LoggedDataset
from homing.policies import Effects, EpsilonGreedyPolicy, GreedyPolicy, LinearRewardModel, Policy, StructuredAdvantage
from homing.policies.wrappers import check_epsilon

FloatArray = NDArray[np.float64]
#: Rows that the response model is fitted on, at most: it needs fewer than the effects do.
RESPONSE_ROWS = 100_000
RESPONSE_PENALTY = 100.0
VALUE_RIDGE = 100.0
#: Decisions, at most, that tell what the learnt policy adds to the value of a state.
GAIN_ROWS = 100_000
#: An objective that this share of decisions bring something of is common.
COMMON = 0.05
#: Parts of each fold, at most, by whose differences it is told how sure a share is.
PARTS = 10


class Structured:
    """Sends the message with the largest advantage over silence, if it is positive.

    A(s, a) = Σ_m w_m (1 − leave) (now_m + pace(s) · sticks_m) − leave · V_reach − doubt − cost, see
    `StructuredAdvantage`.
    *now* is the effect on what shows within a day, *sticks* that on what comes later, in proportion to what the user
    brings anyway, told by what the log shows of it and counted until it has faded (`homing.learners.lasting`). Both are
    regressed with the log's randomisation (`homing.learners.action_centred`) on a few features, which say what is known
    of messages in general: the channel, the chance of a response, and the *fit*, what the message's own numbers (value
    signals, affinities) add to the logit of that chance; what fits a user better is taken to do no worse. What else
    tells messages and users apart is shrunk by what the log shows of it (`homing.learners.shrinkage`). Of effects on
    objectives that are not common, such as cancelling, as much counts as is sure, or a share of the effect on the
    common ones, one number each, as much of it as is sure (`homing.learners.told_effects`).

    *leave* and V_reach price a channel that is closed: the chance of it is a model of a rare event, and its worth the
    difference that an open channel makes to the value of a state, instead of the few users' futures in which it
    happened: its value under the log's policy, and what the learnt one, which will use the channel, adds to it
    (`homing.learners.gains`). The objective that counts closed channels has no effects beside these.

    *doubt* is as many standard errors of the effects, taken off or given, as lead back to how often the log's policy
    sent through each channel and are not known better (`homing.learners.doubts`): a log of few users does not tell
    well whether the messages of a channel help on the whole, and with more users doubt vanishes.

    Rewards should add up to what happened to a user: objectives with a long window and `attribute_unlinked`. Wrong to
    use where silence was never left to chance; it then says so. And where what users respond to most is what harms
    them, message by message of one channel: it then tells these apart by the shrunk terms alone.

    Args:
        response: the objective that tells that a user took a message up; the first 0–1 objective that never happens
            after silence without one.
        leave: the objective that tells that a channel was closed; the second such, if there is one; "" for none.
        permissions: {candidate column: context column} that tell a message's channel, and whether it is open; found by
            their names, `channel=push` and `push_allowed`, where not given.
        gamma_per_day: discount.
        fade_days: half-life with which what sticks is taken to fade. A short log cannot tell it.
        tail_days: decisions that the log follows for less than this do not teach effects.
        cost: of any message, in weighted reward.
        epsilon: share of uniform exploration over what is eligible.
        folds: of users, for cross-fitting.
    """

    def __init__(
        self,
        response: str | None = None,
        leave: str | None = None,
        permissions: Mapping[str, str] | None = None,
        gamma_per_day: float = 0.985,
        fade_days: float = 28.0,
        tail_days: float = 2.0,
        cost: float = 0.0,
        epsilon: float = 0.05,
        folds: int = 3,
    ) -> None:
        if not isinstance(gamma_per_day, int | float) or not 0.0 < gamma_per_day < 1.0:
            raise InvalidInputError(describe("gamma_per_day", gamma_per_day, "must be in (0, 1)"))
        for name, value in (("cost", cost), ("tail_days", tail_days)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < float("inf"):
                raise InvalidInputError(describe(name, value, "must be >= 0"))
        self.response, self.leave = response, leave
        if leave and leave == response:
            raise InvalidInputError(describe("leave", leave, "must be another objective than response"))
        self.permissions = None if permissions is None else mapping("permissions", permissions)
        self.gamma = float(gamma_per_day)
        self.fade_days = check_positive("fade_days", fade_days)
        self.tail_days, self.cost = float(tail_days), float(cost)
        self.epsilon = check_epsilon(epsilon)
        self.folds = check_count("folds", folds, least=2)
        self.report: dict[str, Any] = {}

    @property
    def life_days(self) -> float:
        """Days that a change of the pace counts from the end of the first one on, until it has faded, discounted."""
        rate = np.log(2.0) / self.fade_days - np.log(self.gamma)
        return float(np.exp(-rate) / rate)

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a log with randomised silence.

        Raises:
            InvalidInputError: if chance never chose between a message and silence, or no objective tells a response.
            UnknownNameError: if a name is none of the dataset's.
        """
        w = objective_weights(dataset, weights)
        if not silence_by_chance(dataset).any():
            raise InvalidInputError(
                describe(
                    "decisions in which chance chose silence", 0, "must be >= 1",
                    "Not identified: `now` and `sticks`, what a message adds over silence at once and later; told are "
                    "only `leave`, `reach` and how messages differ. Log an exploring slice that is sometimes silent.",
                )
            )  # fmt: skip
        heads = self._heads(dataset)
        columns, flags = self._permissions(dataset)
        parts = max(min(PARTS, len(np.unique(dataset.user)) // self.folds), 1)
        part = user_folds(dataset.user, self.folds * parts, rng)
        fold = part % self.folds
        sent = np.flatnonzero(dataset.action > 0)
        response = _responses(dataset, heads, sent, rng)
        models = [_responses(dataset, heads, sent[fold[sent] != number], rng, response) for number in range(self.folds)]
        gaps = Gaps.of(dataset)
        came = sequel(dataset, gaps, flags, self.fade_days)
        leave = heads[1] if len(heads) > 1 else -1
        asked = np.arange(len(w)) != leave
        common = _common(dataset.reward, w, asked)
        counted = _followed(dataset, self.tail_days) & _stays(dataset, heads)
        pace = _pace(dataset, came.promised, np.where(common, w, 0.0))
        each = pace.of(dataset.context)
        terms = Terms.of(dataset, columns, [*models, response])
        offered = Offered.of(dataset, columns, response, terms.maps[-1], rng)
        now, sticks = (
            told_effects(dataset, terms, outcome, precision * counted, part, models * parts, w, common, asked, offered)
            for outcome, precision in (
                (came.at_once, 1.0 / each),
                (came.later / np.maximum(each * came.exposure, 1e-12)[:, None], each * came.exposure),
            )
        )
        going = np.where(gaps.terminal, 0.0, self.gamma**gaps.days)
        values = fit_values(dataset.context, dataset.reward, gaps, going, flags, VALUE_RIDGE)
        d = dataset.context.shape[1]
        scorer = StructuredAdvantage(
            response=response,
            now=_effects(now.theta, d),
            sticks=_effects(sticks.theta * self.life_days, d),
            reach=values.of_permission(),
            reach_columns=columns,
            cost=np.append(self.cost, np.zeros(dataset.candidates.shape[2])),
            weights=w,
            leave=leave,
            pace=pace.linear,
            least_pace=pace.least,
            doubt=np.stack([now.error, sticks.error * self.life_days]),
        )
        if len(flags):
            rows = np.sort(rng.choice(dataset.n, min(dataset.n, GAIN_ROWS), replace=False))
            added = added_values(scorer, dataset, rows, gaps, going, flags, VALUE_RIDGE)
            scorer = replace(scorer, reach=scorer.reach + added.of_permission())
        scorer, doubted = steadied(scorer, dataset, offered.rows, columns)
        self.report = {
            "history": {},
            "settings": {
                "response": dataset.objectives[heads[0]],
                "leave": dataset.objectives[leave] if leave >= 0 else "",
                "decisions that teach effects": int(counted.sum()),
                "days that a change of pace counts": self.life_days,
                "standard errors taken off": dict(zip(_channels(dataset, columns), doubted.tolist(), strict=True)),
                "sure of own effects": _by_term(dataset, asked, now.sure, sticks.sure),
                "sure share of common effects": _by_term(dataset, asked, now.share, sticks.share),
                "features not identified": _unmoved(dataset, now.identified),
            },
            "warnings": _warnings(dataset, columns, (w != 0) & asked, now, sticks),
        }
        policy: Policy = GreedyPolicy(scorer)
        return EpsilonGreedyPolicy(policy, self.epsilon) if self.epsilon else policy

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

    def _permissions(self, dataset: LoggedDataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Candidate columns of channels, and the context columns that tell whether these are open."""
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
        columns = np.array([candidate_names.index(name) for name in names], dtype=np.int64)
        flags = np.array([context_names.index(flag) for flag in names.values()], dtype=np.int64)
        return columns, flags


def _warnings(
    dataset: LoggedDataset,
    channels: NDArray[np.int64],
    asked: NDArray[np.bool_],
    now: Told,
    sticks: Told,
) -> dict[str, str]:
    """Terms and objectives that the log cannot tell, by name."""
    out = {}
    if not len(channels):
        out["reach-not-identified"] = (
            "V_reach is not identified: no context column tells which channels are open. Name permissions."
        )
    silent = asked & ~now.any & ~sticks.any
    if silent.any():
        names = ", ".join(name for name, yes in zip(dataset.objectives, silent, strict=True) if yes)
        out["effects-not-told"] = (
            f"The log tells nothing that is sure of what messages do to {names}: too rare, or too few users. A weight "
            "on it moves no more than what a closed channel costs."
        )
    return out


def _channels(dataset: LoggedDataset, columns: NDArray[np.int64]) -> list[str]:
    """Names of messages in none of the channels, and of the channels, none of which there is without an encoder."""
    names = () if dataset.encoder is None else dataset.encoder.candidate_names
    return ["other messages" if len(columns) else "messages", *(names[i] for i in columns)]


def _open_channels(candidate_names: Sequence[str], context_names: Sequence[str]) -> dict[str, str]:
    channels = [name for name in candidate_names if name.startswith("channel=")]
    return {
        name: f"{name.removeprefix('channel=')}_allowed"
        for name in channels
        if f"{name.removeprefix('channel=')}_allowed" in context_names
    }


def _responses(
    dataset: LoggedDataset,
    heads: Sequence[int],
    rows: NDArray[np.int64],
    rng: np.random.Generator,
    start: LinearRewardModel | None = None,
) -> LinearRewardModel:
    """Chances of a response and of leaving after a message, from at most `RESPONSE_ROWS` of the rows."""
    if len(rows) > RESPONSE_ROWS:
        rows = np.sort(rng.choice(rows, RESPONSE_ROWS, replace=False))
    return fit_chances(dataset, rows, heads, RESPONSE_PENALTY, start)


def _followed(dataset: LoggedDataset, tail_days: float) -> NDArray[np.bool_]:
    """Decisions after which the log goes on for long enough to see what comes."""
    left = (end_of(dataset) - dataset.time) / MICROSECONDS_PER_DAY
    known: NDArray[np.bool_] = left >= tail_days
    if not known.any():
        raise InvalidInputError(
            describe(
                "decisions that the log follows", 0, f"must be >= 1 with tail_days={tail_days:g}",
                "Take a longer log, or a smaller tail_days.",
            )
        )  # fmt: skip
    return known


def _stays(dataset: LoggedDataset, heads: Sequence[int]) -> NDArray[np.bool_]:
    """Decisions after which no channel was closed."""
    if len(heads) == 1:
        return np.ones(dataset.n, dtype=bool)
    out: NDArray[np.bool_] = dataset.reward[:, heads[1]] == 0
    return out


def _common(reward: FloatArray, weights: FloatArray, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Objectives that are common, (m,); the commonest that matters too if none of these does, for without it there is
    nothing to decide by."""
    share = np.where(asked, (reward != 0).mean(axis=0), -1.0)
    out = share >= COMMON
    if not (out & (weights != 0)).any():
        mattering = asked & (weights != 0)
        out[np.where(mattering if mattering.any() else asked, share, -1.0).argmax()] = True
    return out


def _pace(dataset: LoggedDataset, promised: FloatArray, weights: FloatArray) -> Pace:
    """What a state promises of the objectives that only ever bring something good; without any, a constant."""
    good = np.where((dataset.reward * weights >= 0).all(axis=0), weights, 0.0)
    if not (dataset.reward @ good).any():
        return Pace.constant(dataset.context.shape[1])
    return pace_of(dataset.context, promised @ good)


def _effects(theta: FloatArray, d: int) -> Effects:
    """θ (2 (1 + d + c), m) as effects on m objectives."""
    parts = theta.T.reshape(theta.shape[1], 2, -1).transpose(1, 0, 2)
    return Effects(parts[:, :, 0], parts[:, :, 1 : 1 + d], parts[:, :, 1 + d :])


def _by_term(
    dataset: LoggedDataset, asked: NDArray[np.bool_], now: FloatArray, sticks: FloatArray
) -> dict[str, dict[str, float]]:
    return {dataset.objectives[i]: {"now": float(now[i]), "sticks": float(sticks[i])} for i in np.flatnonzero(asked)}


def _unmoved(dataset: LoggedDataset, identified: NDArray[np.bool_]) -> list[str]:
    """Candidate columns that chance never moved: effects that the log cannot tell."""
    d, c = dataset.context.shape[1], dataset.candidates.shape[2]
    lacking = np.flatnonzero(~identified[1 + d : 1 + d + c])
    names = range(c) if dataset.encoder is None else dataset.encoder.candidate_names
    return [str(names[i]) for i in lacking]
