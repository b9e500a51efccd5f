"""What a log says of a policy, by estimators from one that trusts no state to one that trusts it wholly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.linkedin_offline_rl.oracle import FloatArray
from homing.log import LoggedDataset
from homing.ope.sequential import SMIS, SNPDIS, Journeys, Trajectories
from homing.policies import Policy

#: Bins of a feature, at most (the paper's ten); activeness has as many as leave enough users in each.
BINS, ACTIVE_BINS = 10, 5
#: How decisions are weighed: by all of a user's earlier ones; by themselves; by badge and queue, which messages change
#: (the paper's reduced state); and by these and activeness, which decides who gets into which of them.
WAYS = ("trajectory", "one step", "badge and queue", "badge, queue and activeness")
#: The way whose choice is held against the rules.
TRUSTED = WAYS[-1]


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
        parts = (np.zeros(log.n), moved, moved * ACTIVE_BINS + active)
        codes = (np.unique(part, return_inverse=True)[1].astype(np.int64) for part in parts)
        return cls(log, dict(zip(WAYS[1:], codes, strict=True)), np.flatnonzero(log.eligible[:, 1]))

    def look(self, policy: Policy) -> FloatArray:
        """Estimated visits a user and week more than logged, and their standard errors; (ways, 2)."""
        log = self.log
        paths = Trajectories(log.user, self._weights(policy), gamma=1.0)
        visits = np.ascontiguousarray(log.reward[paths.order, log.objectives.index("visits")])
        returns = paths.sums(visits)
        logged = returns.mean()
        out = []
        for way in WAYS:
            state = self.states[way][paths.order] if way in self.states else None
            found = (SNPDIS() if state is None else SMIS())(Journeys(paths, visits, state=state))
            influence = found.influence - (returns - logged)
            out.append((found.value - logged, np.sqrt((influence**2).sum()) / paths.count))
        return np.array(out)

    def _weights(self, policy: Policy) -> FloatArray:
        """π(a | s) over the logged propensity (n,); 1 where nothing waits."""
        rows, log = self.open, self.log
        probs = policy.action_probs(log.context[rows], log.candidates[rows], log.eligible[rows])
        out = np.ones(log.n)
        out[rows] = probs[np.arange(len(rows)), log.action[rows]] / log.propensity[rows]
        return out
