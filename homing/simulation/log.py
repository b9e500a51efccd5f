"""`log_decisions`: what a policy does in a world as a decision log in format 1, in memory or on disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from homing.checks import check_count
from homing.errors import InvalidInputError, describe
from homing.log import OUTCOMES_SCHEMA, DecisionLog, FeatureEncoder, Objectives, read_log
from homing.log.files import data_files
from homing.log.parts import TablePart
from homing.log.writing import TableWriter
from homing.policies import PolicyArtifact
from homing.simulation.acting import AnyPolicy, decider, play
from homing.simulation.arrow import LogRows
from homing.simulation.checks import check_seed
from homing.simulation.delivery import Delivery, Mail
from homing.simulation.rollout import Progress, steps_of
from homing.simulation.slices import Slices, sliced
from homing.simulation.world import UNLINKED, World, check_world


class LoggedWorld(World, Protocol):
    """A world that says how an ordinary product would have logged it, and how its objectives are read off the log.

    Attributes:
        log_objectives: the world's objectives by name, made of its outcomes: `build_dataset(log, log_objectives)` gives
            back a decision's own rewards, as far as a log can know whose they are.
    """

    log_objectives: Objectives

    def behaviour_policy(self) -> AnyPolicy:
        """What an ordinary product does there, with some chance in it."""
        ...


def check_logged(world: World) -> LoggedWorld:
    """Return the world if it says how it is logged.

    Raises:
        InvalidInputError: if not.
    """
    # Not isinstance: that would ask a world for an observation before it has begun.
    for name in ("log_objectives", "behaviour_policy"):
        if not hasattr(world, name):
            step = "See homing.simulation.LoggedWorld."
            raise InvalidInputError(describe("world", world.name, f"must have {name}", step))
    return cast(LoggedWorld, world)


def log_decisions(
    world: World,
    policy: AnyPolicy,
    *,
    days: int,
    warm_up_days: int = 0,
    n_users: int = 10_000,
    seed: int = 0,
    slices: Slices | None = None,
    delivery: Delivery | None = None,
    encoder: FeatureEncoder | None = None,
    policy_weights: ArrayLike | None = None,
    policy_name: str | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> DecisionLog:
    """Let a policy run for some days from a fresh start, and log it; the world itself is left as it is.

    Every decision carries the whole distribution that it was drawn from. Outcomes of the last decisions may still be
    under way when the log ends: give `build_dataset` the end as `until` where its windows are longer than a step.

    Args:
        world: of which a copy is used.
        policy: see `homing.simulation.decider`.
        days: length, >= 1.
        warm_up_days: for which the policy runs before the log begins, so that its users have a history of messages;
            neither these decisions nor what follows from them is in the log.
        n_users: of the world.
        seed: of users, chance, the policy's draws and all ids: the same seed writes the same log.
        slices: users with uniform-random decisions and users who are held out; none when not given.
        delivery: how outcomes reach the log; at once and in order when not given.
        encoder: of the features, for policies that bring none.
        policy_weights: (m,), the importance of objectives that the policy is asked to follow; None for its own.
        policy_name: `name@version` in the log; made of the policy when not given.
        out: a folder to write to, day by day, for logs that do not fit memory.
        progress: told after each day how many are done, of how many.

    Returns:
        The log, in memory or over the files in `out`.

    Raises:
        InvalidInputError: if a number is out of its bounds, or `out` holds a log already.

    Example:
        >>> from homing.log import validate
        >>> from homing.policies import UniformPolicy
        >>> from homing.simulation import make_world
        >>> log = log_decisions(make_world("linkedin"), UniformPolicy(), days=2, n_users=50)
        >>> validate(log).ok
        True
    """
    check_world(world)
    n_users, days = check_count("n_users", n_users), check_count("days", days)
    warm_up_days, seed = check_count("warm_up_days", warm_up_days, least=0), check_seed(seed)
    name = name_of(policy) if policy_name is None else policy_name
    if not re.fullmatch("[^@]+@[^@]+", name):
        raise InvalidInputError(describe("policy_name", name, "must be name@version", "Write 'lift-rule@1', say."))
    steps = steps_of(world, days)
    first = steps_of(world, warm_up_days) if warm_up_days else 0
    world = world.copy()
    world.reset(n_users, seed)
    rows = LogRows(world, n_users=n_users, seed=seed, policy=name)
    codes = (slices or Slices()).codes(rows.user_ids)
    decide = sliced(decider(world, policy, encoder=encoder, weights=policy_weights), codes)
    sink: _Sink = _Memory(rows.schema) if out is None else _Folder(Path(out), rows.schema, f"{world.name}-{seed}")
    mail = Mail(delivery, seed)
    try:
        for step in play(world, decide, steps=first + steps, n_users=n_users, seed=seed):
            if step.index < first:
                continue
            sink.put("decisions", rows.decisions(step, codes))
            events = step.outcomes.events
            if first:
                events = events.take(np.flatnonzero((events.step == UNLINKED) | (events.step >= first)))
            mail.send(rows.outcomes(events), events.hours)
            done = (step.index - first + 1) * days // steps
            if done > (step.index - first) * days // steps:
                sink.put("outcomes", mail.arrived((step.index + 1) * world.step_hours))
                sink.end_day()
                if progress is not None:
                    progress(done, days)
        sink.put("outcomes", mail.arrived(np.inf))
        return sink.log()
    except BaseException:
        sink.abort()
        raise


def name_of(policy: object) -> str:
    """`name@version` of a policy: an artifact's name and digest, another's own name or that of its type."""
    if isinstance(policy, PolicyArtifact):
        return f"{policy.name}@{policy.digest[:12]}"
    own = getattr(policy, "name", None)
    return f"{own if isinstance(own, str) else type(policy).__name__}@1"


class _Sink(Protocol):
    """Where a log's rows go."""

    def put(self, table: str, batch: pa.RecordBatch) -> None: ...
    def end_day(self) -> None: ...
    def log(self) -> DecisionLog: ...
    def abort(self) -> None: ...


class _Memory:
    """A part a day for each table."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schemas = {"decisions": schema, "outcomes": OUTCOMES_SCHEMA}
        self._batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in self._schemas}
        self._parts: dict[str, list[TablePart]] = {name: [] for name in self._schemas}

    def put(self, table: str, batch: pa.RecordBatch) -> None:
        self._batches[table].append(batch)

    def end_day(self) -> None:
        for name, batches in self._batches.items():
            if batches:
                part = TablePart(
                    f"{name} {len(self._parts[name])}", pa.Table.from_batches(batches, self._schemas[name])
                )
                self._parts[name].append(part)
                self._batches[name] = []

    def log(self) -> DecisionLog:
        self.end_day()
        return DecisionLog(self._parts["decisions"], self._parts["outcomes"])

    def abort(self) -> None:
        """Memory lets go by itself."""


class _Folder:
    """Files by UTC day, which appear together when all is written."""

    def __init__(self, folder: Path, schema: pa.Schema, name: str) -> None:
        if data_files(folder / "decisions"):
            step = "Give an empty folder, or delete the log that is there."
            raise InvalidInputError(describe("out", str(folder), "must hold no log", step))
        self._folder = folder
        self._writers = {
            "decisions": TableWriter(folder / "decisions", schema, name=name, time_column="decided_at"),
            "outcomes": TableWriter(folder / "outcomes", OUTCOMES_SCHEMA, name=name, time_column="occurred_at"),
        }

    def put(self, table: str, batch: pa.RecordBatch) -> None:
        self._writers[table].write(batch)

    def end_day(self) -> None:
        """The writers flush by themselves."""

    def log(self) -> DecisionLog:
        for writer in self._writers.values():
            writer.finish()
        # Outcomes first: who reads in between sees outcomes without their decision, never lost ones.
        self._writers["outcomes"].commit()
        self._writers["decisions"].commit()
        return read_log(self._folder)

    def abort(self) -> None:
        for writer in self._writers.values():
            writer.abort()
