"""What learners are worth from the log of one seed, and from its first users alone; what is done is kept in files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.long_term.run import HORIZON_DAYS, against, logged
from homing.learners import make
from homing.log import LoggedDataset
from homing.policies import Policy
from homing.simulation import AnyPolicy, Rollout, make_world, simulate

STRUCTURED = "structured"
#: Of each policy by name: `value`, `opted_out` and `sends` beyond the policy that logged, a user; and what it cost.
Worth = dict[str, dict[str, float]]


class Seed:
    """One log, and one population that policies are judged on.

    Args:
        seed: of both.
        users: of the log.
        judged: how many others true values are of.
        logs: a folder that holds the log as SEED/log; made where there is none.
        keep: folder of what is done.
    """

    def __init__(self, seed: int, users: int, judged: int, logs: Path | None, keep: Path) -> None:
        self.seed, self.users, self.judged, self.logs, self.keep = seed, users, judged, logs, keep

    @cached_property
    def data(self) -> LoggedDataset:
        """The log."""
        if self.logs is not None and (kept := self.logs / str(self.seed) / "log").exists():
            return LoggedDataset.load(kept)
        return logged(self.users, self.seed)

    def first(self, users: int) -> LoggedDataset:
        """The log of the first of its users: of as many of those who were ever decided on as it has them among all."""
        if users >= self.users:
            return self.data
        known = np.unique(self.data.user)
        return self.data.take(np.flatnonzero(self.data.user < known[len(known) * users // self.users]))

    def worth(self, policy: AnyPolicy) -> dict[str, float]:
        """What a policy truly brings."""
        return against(self._live(policy), self._behaviour)

    def kept(self, name: str, work: Callable[[], Worth]) -> Worth:
        """What some work found, done if it was not before."""
        file = self.keep / f"{self.seed}-{name}.json"
        if not file.exists():
            file.write_text(json.dumps(work()), encoding="utf-8")
        out: Worth = json.loads(file.read_text(encoding="utf-8"))
        return out

    def structured(self, users: int) -> Worth:
        """Of the default learner from the first users."""
        return self.kept(f"{STRUCTURED}-{users}", lambda: self.learnt(users, self._structured))

    def learnt(self, users: int, fit: Callable[[LoggedDataset], Mapping[str, Policy]]) -> Worth:
        """Of policies that are fitted together on the first users, with the CPU seconds of that."""
        data = self.first(users)
        began = time.process_time()
        policies = fit(data)
        spent = time.process_time() - began
        return {name: {**self.worth(policy), "cpu_s": spent} for name, policy in policies.items()}

    def _structured(self, data: LoggedDataset) -> dict[str, Policy]:
        rng, weights = np.random.default_rng(self.seed), make_world("messaging").weights
        return {STRUCTURED: make(STRUCTURED, epsilon=0.0).fit(data, weights=weights, rng=rng)}

    @cached_property
    def _behaviour(self) -> Rollout:
        return self._live(make_world("messaging").behaviour_policy())

    def _live(self, policy: AnyPolicy) -> Rollout:
        return simulate(
            make_world("messaging"), policy, horizon_days=HORIZON_DAYS, n_users=self.judged,
            seed=1_000_000 + self.seed, encoder=self.data.encoder,
        )  # fmt: skip
