"""A log of some users alone, as a view: nothing is copied, rows are filtered while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from homing.log import DecisionLog
from homing.log.parts import Part

_USER = "user_id"


@dataclass(frozen=True)
class UserPart:
    """One part of a log's table with the rows of users who pass a test. Rows without a user pass none.

    Attributes:
        part: what is filtered.
        test: whether a user id passes; each id is tested once.
        invert: keep the others instead, and rows without a user.
    """

    part: Part
    test: Callable[[str], bool]
    invert: bool = False
    known: dict[str, bool] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def schema(self) -> pa.Schema:
        return self.part.schema

    @property
    def n_rows(self) -> int:
        """Counted: one pass over the users."""
        return sum(batch.num_rows for batch in self.batches([_USER], 65_536))

    @property
    def n_bytes(self) -> int:
        return self.part.n_bytes

    def batches(self, columns: Sequence[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Rows in order, those of the other users left out."""
        wanted = None if columns is None else [*dict.fromkeys([*columns, _USER])]
        for batch in self.part.batches(wanted, batch_rows):
            kept = batch.filter(self._mask(batch.column(_USER)))
            yield kept if columns is None else kept.select([name for name in kept.schema.names if name in columns])

    def _mask(self, users: pa.Array) -> pa.Array:
        coded = users if pa.types.is_dictionary(users.type) else users.dictionary_encode()
        for user in coded.dictionary.to_pylist():
            if user not in self.known:
                self.known[user] = self.test(user)
        passes = pa.array([self.known[user] for user in coded.dictionary.to_pylist()], pa.bool_())
        mask = pc.fill_null(passes.take(coded.indices), False)
        return pc.invert(mask) if self.invert else mask


def by_user(log: DecisionLog, test: Callable[[str], bool]) -> tuple[DecisionLog, DecisionLog]:
    """The log of users who pass the test, and the log of the others; together they hold every row once.

    Example:
        >>> from homing.log import decisions_schema
        >>> log = DecisionLog.from_tables(decisions_schema({"age": pa.int64()}).empty_table())
        >>> [part.n_decisions for part in by_user(log, lambda user: user < "m")]
        [0, 0]
    """
    known: dict[str, bool] = {}
    sides = []
    for invert in (False, True):
        decisions = [UserPart(part, test, invert, known) for part in log.decision_parts]
        outcomes = [UserPart(part, test, invert, known) for part in log.outcome_parts]
        refused = log.refused if invert else ()
        sides.append(DecisionLog(decisions, outcomes, paths=log.paths, refused=refused))
    return sides[0], sides[1]
