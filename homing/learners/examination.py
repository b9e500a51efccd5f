"""Every learner looks at its log before it fits: nothing trains silently on garbage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from homing.errors import InvalidInputError
from homing.learners.learner import objective_weights
from homing.log import LoggedDataset
from homing.policies import Policy

logger = logging.getLogger(__name__)
Fit = TypeVar("Fit", bound=Callable[..., Policy])


class Examined:
    """Decorates a learner's `fit`: what is odd about the log is logged, and stands in `report["warnings"]`.

    Learners over transitions do the same when their log is made ready (`homing.learners.prepared`).

    Args:
        rewards: whether rewards are learnt from; who does not is only warned of a log that teaches nothing.

    Example:
        >>> class Silent:
        ...     report = {}
        ...     @Examined(rewards=True)
        ...     def fit(self, dataset, *, weights=None, rng):
        ...         return SilencePolicy()
        >>> from homing.policies import SilencePolicy
        >>> data = LoggedDataset(
        ...     context=[[0.0], [1.0]], candidates=np.zeros((2, 2, 1)), eligible=np.ones((2, 2), bool), action=[0, 1],
        ...     propensity=[0.5, 0.5], reward=[[0.0], [1.0]], objectives=("clicked",), user=[0, 0], time=[0, 10**9])
        >>> learner = Silent()
        >>> policy = learner.fit(data, rng=np.random.default_rng(0))
        >>> learner.report["warnings"]
        {'candidates-alike': 'All candidates have the same features: no message can be told from silence.'}
        >>> data.reward[:] = 0.0
        >>> learner.fit(data, rng=np.random.default_rng(0))
        Traceback (most recent call last):
        homing.errors.InvalidInputError: rewards == {'clicked': 0.0}, must vary. The objectives that count are ...
    """

    def __init__(self, *, rewards: bool) -> None:
        self.rewards = rewards

    def __call__(self, fit: Fit) -> Fit:
        @wraps(fit)
        def examined(
            learner: Any, dataset: LoggedDataset, *, weights: Mapping[str, float] | None = None,
            rng: np.random.Generator,
        ) -> Policy:  # fmt: skip
            found = self._look(dataset, weights)
            policy = fit(learner, dataset, weights=weights, rng=rng)
            learner.report = {**learner.report, "warnings": found | learner.report.get("warnings", {})}
            return policy

        return cast(Fit, examined)

    def _look(self, dataset: LoggedDataset, weights: Mapping[str, float] | None) -> dict[str, str]:
        # Rules need no torch until they are fitted.
        from homing.learners.findings import findings
        from homing.learners.transitions import Gaps

        importance = objective_weights(dataset, weights)
        try:
            found = findings(dataset, importance, Gaps.of(dataset), rewards=self.rewards)
        except InvalidInputError as refused:
            if self.rewards:
                raise
            found = {"nothing-to-learn": str(refused)}
        for name, text in found.items():
            logger.warning("%s: %s", name, text)
        return found
