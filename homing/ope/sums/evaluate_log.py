"""`evaluate_log`: what policies would have earned on a log of any size, part by part, on one machine or on many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from homing.checks import check_positive, check_probability
from homing.engines import Engine, get_engine
from homing.errors import InvalidInputError, describe
from homing.log.dataset import LoggedDataset
from homing.ope.estimators import Estimator
from homing.ope.limits import SupportLimits
from homing.ope.sums.decisions import Asked, Model
from homing.ope.sums.parts import LogPart, part_of
from homing.ope.sums.policy_sums import Cluster, PolicySums
from homing.ope.sums.report import SumsReport


def evaluate_log(
    parts: Any,
    policies: Mapping[str, Asked],
    *,
    objectives: Sequence[str],
    q_hat: Model | None = None,
    estimators: Sequence[str | Estimator] = ("ips", "snips"),
    cluster: Cluster = "user",
    level: float = 0.95,
    batch_rows: int = 8_192,
    engine: str | Engine = "process",
    limits: SupportLimits | None = None,
) -> SumsReport:
    """Estimate policies' values on every objective in one pass over a log, with intervals clustered by user.

    Each part becomes `PolicySums`; users whose rows stand in several parts are put together before anything is
    squared. Values, intervals and covariances are those of `evaluate_policy` on the whole log (`cluster-t`) to
    rounding, whatever the parts, their order, and the engine. Each policy has a verdict on its weights and on the
    events behind each objective, by the same limits; what needs the rows again is not asked here: which messages and
    segments lack support, and whether propensities are true of each message. Evaluate a sample of users with
    `evaluate_policy` beside it where that matters.

    Args:
        parts: of the log, in order: data sets (`LoggedDataset`) or folders that hold one; Arrow tables, batches or
            paths of Parquet files, with the columns of the log's `decisions` and one column of rewards for each
            objective (see `Decisions.of_arrow`); or objects with the methods of `LogPart`. With engine `ray` also a
            Ray Data set of such rows, whose blocks are the parts. Users are told apart by their ids, or by the integers
            that stand for them: data sets without `user_ids` must number them alike.
        policies: by name, policies or artifacts, or functions that give probabilities (b, k) of `Decisions`. They must
            not have been trained on these users.
        objectives: m names.
        q_hat: a reward model's artifact, or a function that gives predictions (b, k, m) of `Decisions`.
        estimators: as for `PolicySums`.
        cluster: as for `PolicySums`; `whole-users` where no user has rows in two batches.
        level: nominal coverage of the intervals.
        batch_rows: decisions whose candidates are expanded at a time.
        engine: `process`, `ray`, or an `Engine` with settings (`homing.engines.ray.OnRay(shares=8)`).
        limits: where `caution` and `refuse` begin.

    Raises:
        InvalidInputError: if a row is wrong, which is named by its number in the whole log (in its block of a Ray Data
            set); or probabilities are not a policy's.
        SupportError: if there are fewer than two users, or a policy never takes a logged action.

    Example:
        >>> log = [
        ...     pa.table({"user_id": users, "eligible": [[True, True]] * 2, "action": action, "propensity": [0.5, 0.5],
        ...               "clicked": clicked})
        ...     for users, action, clicked in ((["a", "b"], [0, 1], [0, 1]), (["a", "c"], [1, 1], [1, 0]))]
        >>> report = evaluate_log(log, {"always": lambda rows: [[0.0, 1.0]] * len(rows)}, objectives=["clicked"])
        >>> report.n, report.n_users, round(report.estimate("clicked", "snips").value, 4)
        (4, 3, 0.6667)
    """
    check_positive("batch_rows", batch_rows)
    check_probability("level", level)  # before the log is read
    empty = PolicySums(objectives, policies=tuple(policies), estimators=estimators, cluster=cluster)
    needing = [item.name for item in empty.estimators if item.needs_q_hat]
    if needing and q_hat is None:
        raise InvalidInputError(describe("q_hat", None, f"is needed by {', '.join(needing)}", "Pass a reward model."))
    adding = _Adding(empty, dict(policies), q_hat, batch_rows)
    shares = get_engine(engine).map_reduce(_items(parts), adding.divided, _merged, PolicySums.settled)
    return reduce(_merged, shares).report(level, limits=limits)


@dataclass(frozen=True)
class _Numbered:
    """A part, and the row of the whole log that it begins with."""

    part: LogPart
    first: int = 0


def _items(parts: Any) -> Sequence[Any]:
    """The parts with their place in the log; the blocks of a Ray Data set stay on its cluster, and have none."""
    if hasattr(parts, "to_arrow_refs"):
        return list(parts.to_arrow_refs())
    single = LogPart | LoggedDataset | pa.Table | pa.RecordBatch | str | Path
    known = [part_of(source) for source in ([parts] if isinstance(parts, single) else parts)]
    if not known:
        raise InvalidInputError(describe("parts", [], "must be at least one"))
    starts = accumulate((part.n_rows for part in known), initial=0)
    return [_Numbered(part, first) for part, first in zip(known, starts, strict=False)]


@dataclass(frozen=True)
class _Adding:
    """What is done with each part, wherever that is."""

    empty: PolicySums
    policies: Mapping[str, Asked]
    q_hat: Model | None
    batch_rows: int

    def divided(self, item: Any, shares: int) -> list[PolicySums]:
        """A part's sums, its users in disjoint shares."""
        numbered = item if isinstance(item, _Numbered) else _Numbered(part_of(item))
        sums = self.empty.like()
        for decisions in numbered.part.decisions(sums.objectives, self.batch_rows, numbered.first):
            sums.add_decisions(decisions, self.policies, q_hat=self.q_hat)
        return sums.divided(shares)


def _merged(one: PolicySums, other: PolicySums) -> PolicySums:
    one.merge(other)
    return one
