"""One estimate from a log beside what another route says of the same quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.log import LoggedDataset
from homing.ope import Estimate, OPEReport
from homing.ope.estimate import interval
from homing.ope.messages import Messages

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """A row of the result.

    Attributes:
        name: the quantity.
        other: what the other route says, with its own interval.
        found: estimates from the log by estimator.
        verdict: of the log's support.
    """

    name: str
    other: Estimate
    found: Mapping[str, Estimate]
    verdict: str = "fine"

    def covers(self, estimator: str) -> bool:
        """Whether the interval holds the other route's value."""
        item = self.found[estimator]
        return item.lower <= self.other.value <= item.upper

    def errors(self, estimator: str) -> float:
        """Distance in standard errors of both, as if they were independent."""
        item = self.found[estimator]
        return (item.value - self.other.value) / math.hypot(item.std_error, self.other.std_error)


def check(name: str, other: Estimate, report: OPEReport, objective: str) -> Check:
    """Every estimator of a report on one objective."""
    found = {key: report.estimate(objective, key) for key in report.estimators}
    return Check(name, other, found, report.support.verdict_for(objective))


def plain_mean(values: FloatArray) -> Estimate:
    """A sample mean with its t interval."""
    return interval(float(values.mean()), (values - values.mean()) / len(values), 0.95)


def fit_by_message(train: LoggedDataset, test: LoggedDataset, penalty: float = 10.0) -> FloatArray:
    """Ridge regression of rewards on the context, one for each message: predictions (rows of test, k, m)."""
    x, z = (np.column_stack([np.ones(data.n), data.context]).astype(float) for data in (train, test))
    spread = np.maximum(x.std(axis=0), 1e-9)
    spread[0] = 1.0
    x, z = x / spread, z / spread
    ours, theirs = Messages.of(train), Messages.of(test)
    sent = ours.code[np.arange(train.n), train.action]
    out = np.zeros((test.n, test.k, len(train.objectives)))
    for code in np.unique(sent):
        rows = sent == code
        slopes = np.linalg.solve(x[rows].T @ x[rows] + penalty * np.eye(x.shape[1]), x[rows].T @ train.reward[rows])
        here = theirs.code == theirs.names.index(ours.names[code])
        out += np.where(here[:, :, None], (z @ slopes)[:, None, :], 0.0)
    return out
