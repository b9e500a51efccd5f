"""What a log says of a policy, by estimators from one that trusts no state to one that trusts it wholly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.linkedin_offline_rl.oracle import FloatArray
from homing.log import LoggedDataset
from homing.ope.sequential import ARP, SMIS, SNPDIS, Journeys, SequentialEstimator, Trajectories
from homing.ope.support import kish
from homing.policies import Policy

#: Bins of a feature, at most (the paper's ten); activeness has as many as leave enough users in each.
BINS, ACTIVE_BINS = 10, 5
#: Steps of four hours in a day.
DAY = 6
#: How decisions are weighed: by all of a user's earlier ones; by themselves; by badge and queue, which messages change
#: (the paper's reduced state); by these and activeness, which decides who gets into which of them; and by these in a
#: chain that has the same chances at an hour of every day.
WAYS = (
    "trajectory", "one step", "badge and queue", "badge, queue and activeness",
    "badge, queue and activeness, days pooled",
)  # fmt: skip
ESTIMATORS: tuple[SequentialEstimator, ...] = (SNPDIS(), SMIS(), SMIS(), SMIS(), ARP(period=DAY))
#: The way whose choice is held against the rules.
TRUSTED = WAYS[-1]
#: Of a log's decisions, the share that a policy's weights must leave in effect for it to be chosen. Fixed on seven logs
#: of other seeds (1, 5, 11, 9001 to 9004), on which anything from 0.15 to 0.3 chooses as well.
LEAST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Judge:
    """A log of users that no policy was trained on.

    Attributes:
        log: their decisions.
        states: reduced states by way of weighing, (n,) each.
        open: rows where anything waits.
    """

    log: LoggedDataset
    states: dict[str, NDArray[np.int64]]
    open: NDArray[np.int64]

    @classmethod
    def of(cls, log: LoggedDataset) -> Judge:
        """Work out the reduced states."""
        assert log.encoder is not None
        column = {name: log.context[:, log.encoder.context_column(name)] for name in ("badge", "queued", "activeness")}
        badge, queued = (
            np.minimum(np.unique(column[name], return_inverse=True)[1], BINS - 1) for name in ("badge", "queued")
        )
        edges = np.quantile(column["activeness"], np.arange(1, ACTIVE_BINS) / ACTIVE_BINS)
        moved = badge * BINS + queued
        active = np.searchsorted(edges, column["activeness"])
        apart = moved * ACTIVE_BINS + active
        parts = (np.zeros(log.n), moved, apart, apart)
        codes = (np.unique(part, return_inverse=True)[1].astype(np.int64) for part in parts)
        return cls(log, dict(zip(WAYS[1:], codes, strict=True)), np.flatnonzero(log.eligible[:, 1]))

    def look(self, policy: Policy) -> FloatArray:
        """Estimated visits a user and week more than logged, standard errors, shares in effect; (ways, 3)."""
        log = self.log
        paths = Trajectories(log.user, self._weights(policy), gamma=1.0)
        visits = np.ascontiguousarray(log.reward[paths.order, log.objectives.index("visits")])
        returns = paths.sums(visits)
        logged = returns.mean()
        whole = kish(np.exp(paths.log_weight[paths.last])) / paths.count
        out = []
        for way, estimator in zip(WAYS, ESTIMATORS, strict=True):
            state = self.states[way][paths.order] if way in self.states else None
            found = estimator(Journeys(paths, visits, state=state))
            influence = found.influence - (returns - logged)
            share = whole if state is None else found.details["ess"] / log.n
            out.append((found.value - logged, np.sqrt((influence**2).sum()) / paths.count, share))
        return np.array(out)

    def _weights(self, policy: Policy) -> FloatArray:
        """π(a | s) over the logged propensity (n,); 1 where nothing waits."""
        rows, log = self.open, self.log
        probs = policy.action_probs(log.context[rows], log.candidates[rows], log.eligible[rows])
        out = np.ones(log.n)
        out[rows] = probs[np.arange(len(rows)), log.action[rows]] / log.propensity[rows]
        return out
