"""Rewards from the state after the window: what a decision led to stands in for what is yet to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_count, check_probability
from homing.errors import InvalidInputError, describe
from homing.learners.examination import Examined
from homing.learners.examples import user_folds
from homing.learners.learner import make, mapping, objective_weights
from homing.learners.settings import not_negative
from homing.learners.state_values import fit_values
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset
from homing.policies import Policy

FloatArray = NDArray[np.float64]
#: Of the regression of values, in decisions.
RIDGE = 100.0


def surrogate_rewards(
    dataset: LoggedDataset,
    *,
    gamma: float = 0.97,
    gone_after_days: float | None = None,
    folds: int = 2,
    rng: np.random.Generator,
) -> LoggedDataset:
    """The log with long-term rewards: r + γ^Δt V(x′) − V(x), until the user's next decision in state x′, Δt days later.

    V is what a state is worth under the policy that logged, told from users of other folds by least-squares temporal
    differences (`homing.learners.state_values`). Given state and candidate the new reward is, on average, the
    advantage of the candidate over what the log does; so any learner of single decisions that maximises it takes one
    step of policy improvement in the long term. Decisions whose sequel the log's end cuts off are left out.

    As with every surrogate, what outlasts the step and does not show in the state is lost, and a state that only tells
    who a user is passes for what a message made of them: put into the context what messages change (days since the last
    session, open channels, messages of late). `structured` does not need this.

    Args:
        dataset: with sequences. Rewards until the next decision: windows that reach beyond it would count twice.
        gamma: discount per day, in (0, 1).
        gone_after_days: see `Gaps.of`.
        folds: of users.
        rng: splits users.

    Raises:
        InvalidInputError: if no user was decided for twice, or there are fewer users than folds.

    References:
        Athey, Chetty, Imbens and Kang (2019), "The Surrogate Index", NBER 26463; Yang, Eckles, Dhillon and Aral (2020),
        "Targeting for Long-Term Outcomes", arXiv 2010.15835, who learn policies on imputed outcomes.

    Example:
        >>> day = 86_400_000_000
        >>> state = np.tile([0.0, 1.0], 50)[:, None]  # 50 users; state 1 is worth 1, and nothing comes after it
        >>> log = LoggedDataset(
        ...     context=state, candidates=np.zeros((100, 2, 1)), eligible=np.ones((100, 2), bool), action=np.zeros(100),
        ...     propensity=np.full(100, 0.5), reward=state, objectives=("visits",), user=np.repeat(np.arange(50), 2),
        ...     time=np.tile([0, day], 50) + np.repeat(np.arange(50), 2) * day)
        >>> told = surrogate_rewards(log, gamma=0.5, rng=np.random.default_rng(0))
        >>> told.n < log.n, told.objectives  # the log's end cuts some sequels off
        (True, ('visits',))
    """
    check_probability("gamma", gamma)
    folds = check_count("folds", folds, least=2)
    gone_after_days = None if gone_after_days is None else not_negative("gone_after_days", gone_after_days)
    gaps = Gaps.of(dataset, gone_after_days)
    if (gaps.next == np.arange(dataset.n)).all():
        raise InvalidInputError(
            describe("decisions of a user", 1, "must be >= 2 for some", "Where there are no sequences, no state after "
                     "the window is logged: learn from the rewards as they are.")
        )  # fmt: skip
    reward = np.asarray(dataset.reward, dtype=np.float64)
    going = np.where(gaps.terminal | gaps.truncated, 0.0, gamma**gaps.days)
    fold = user_folds(dataset.user, folds, rng)
    out = reward.copy()
    nothing = np.zeros(0, dtype=np.int64)
    for number in range(folds):
        others, mine = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        place = np.full(dataset.n, -1)
        place[others] = np.arange(len(others))
        told = Gaps(
            place[gaps.next[others]], gaps.days[others], gaps.terminal[others], gaps.truncated[others],
            gaps.gone_after_days,
        )  # fmt: skip
        values = fit_values(dataset.context[others], reward[others], told, going[others], nothing, RIDGE)
        after = values.of(dataset.context[gaps.next[mine]])
        out[mine] += going[mine, None] * after - values.of(dataset.context[mine])
    kept = np.flatnonzero(~gaps.truncated)
    return replace(dataset, reward=out).take(kept)


class Surrogate:
    """Any learner of single decisions, on rewards from the state after the window (`surrogate_rewards`).

    One step of improvement on the policy that logged, in the long term; see there when it is wrong to use.

    Args:
        base: the learner's name.
        params: its settings.
        gamma: discount per day.
        gone_after_days: how long a user must have been silent when the log ended to have left; None as in `Gaps.of`.
        folds: of users, for values.

    Attributes:
        report: of the learner, with what was done to its rewards among the settings.
    """

    def __init__(
        self,
        base: str = "doubly-robust",
        params: Mapping[str, Any] | None = None,
        gamma: float = 0.97,
        gone_after_days: float | None = None,
        folds: int = 2,
    ) -> None:
        if base == "surrogate":
            raise InvalidInputError(describe("base", base, "must be another learner", "Try doubly-robust."))
        self.base, self.params = str(base), {} if params is None else mapping("params", params)
        make(self.base, **self.params)  # mistakes show before the log is read
        self.gamma, self.folds = check_probability("gamma", gamma), check_count("folds", folds, least=2)
        self.gone_after_days = None if gone_after_days is None else not_negative("gone_after_days", gone_after_days)
        self.report: dict[str, Any] = {}

    @Examined(rewards=True)
    def fit(
        self, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None, rng: np.random.Generator
    ) -> Policy:
        """Fit on a log with sequences.

        Raises:
            InvalidInputError: if no user was decided for twice.
        """
        w = objective_weights(dataset, weights)
        told = surrogate_rewards(
            dataset, gamma=self.gamma, gone_after_days=self.gone_after_days, folds=self.folds, rng=rng
        )  # fmt: skip
        learner = make(self.base, **self.params)
        policy = learner.fit(told, weights=dict(zip(dataset.objectives, w.tolist(), strict=True)), rng=rng)
        own = learner.report
        mine = {"base": self.base, "gamma": self.gamma, "decisions left out": dataset.n - told.n}
        self.report = {**own, "settings": {**own.get("settings", {}), **mine}}
        return policy
