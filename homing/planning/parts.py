"""Parts of a Parquet file (or folder) of candidates that hold whole users, read one at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homing.errors import InvalidInputError, describe, unknown_name
from homing.planning.tables import joined, plain_column

#: A plan's file, and those of a plan part by part.
PLAN, _PART = "plan.parquet", re.compile(r"plan-\d{5,}\.parquet")


@dataclass(frozen=True)
class Part:
    """Some row groups, and the users that begin in them.

    Attributes:
        number: place among all parts.
        groups: (file, row group), in order.
        before: the row group before them, None at the beginning: its last user's rows are not of this part.
        after: the row groups that follow: rows of this part's last user may go on there.
    """

    number: int
    groups: tuple[tuple[str, int], ...]
    before: tuple[str, int] | None
    after: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        file, group = self.groups[0]
        return f"part {self.number}, which begins in row group {group} of {Path(file).name}"

    def read(self, user: str, columns: Sequence[str]) -> Any:
        """The part's candidates as an Arrow table.

        Args:
            user: the column of users.
            columns: all that are wanted, `user` among them.
        """
        import pyarrow.compute as pc

        table = joined([_group(where, columns) for where in self.groups])
        if self.before is not None:
            # Rows of a user who began before stand first; where a user fills whole groups nothing may be left.
            same = _same(table[user], _group(self.before, [user])[user])
            first = pc.index(same, False).as_py()
            table = table.slice(table.num_rows if first < 0 else first)
        if not table.num_rows:
            return table
        mine = table[user].slice(table.num_rows - 1)
        for where in self.after:
            # Where nobody is cut in two the next group's other columns are not read.
            same = _same(_group(where, [user])[user], mine)
            count = pc.index(same, False).as_py()
            if count:
                more = _group(where, columns)
                table = joined([table, more if count < 0 else more.slice(0, count)])
            if count >= 0:
                break
        return table.combine_chunks()


def parts_of(path: Path, columns: Sequence[str], rows: int) -> tuple[list[Part], int]:
    """Cut candidates into parts of about so many rows (at least a row group), and count all rows.

    Raises:
        InvalidInputError: if nothing can be read there.
        UnknownNameError: if a column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    groups: list[tuple[tuple[str, int], int]] = []
    for file in files:
        try:
            found = pq.ParquetFile(file)
        except (OSError, pa.ArrowInvalid) as error:
            bound = f"must be Parquet that can be read ({' '.join(str(error).split())})"
            raise InvalidInputError(describe("candidates", str(file), bound)) from error
        for name in columns:
            if name not in found.schema_arrow.names:
                raise unknown_name(f"column of {file.name}", name, found.schema_arrow.names)
        meta = found.metadata
        groups += [((str(file), i), meta.row_group(i).num_rows) for i in range(meta.num_row_groups)]
    groups = [(where, count) for where, count in groups if count]
    if not groups:
        raise InvalidInputError(describe("candidates", str(path), "must hold rows", "Name a Parquet file or folder."))
    chunks: list[list[int]] = [[]]
    size = 0
    for i, (_, count) in enumerate(groups):
        if chunks[-1] and size + count > rows:
            chunks.append([])
            size = 0
        chunks[-1].append(i)
        size += count
    where = [item for item, _ in groups]
    parts = [
        Part(
            number,
            tuple(where[i] for i in chunk),
            where[chunk[0] - 1] if chunk[0] else None,
            tuple(where[chunk[-1] + 1 :]),
        )
        for number, chunk in enumerate(chunks)
    ]
    return parts, sum(count for _, count in groups)


def check_places(candidates: Path, out: Path) -> None:
    """Refuse to write a plan where its candidates are: over them, or among them, to be read with them tomorrow."""
    here, there = candidates.resolve(), out.resolve()
    among = here.is_dir() and here == there
    over = here.parent == there and (here.name == PLAN or _PART.fullmatch(here.name))
    if among or over:
        bound = "must not be where the plan is written"
        raise InvalidInputError(describe("candidates", str(candidates), bound, "Name another folder for it: --out."))


def remove_parts(out: Path, but: Sequence[Path] = ()) -> None:
    """Remove a plan's files, part by part, of an earlier run; nothing else."""
    for path in out.glob("plan-*.parquet"):
        if _PART.fullmatch(path.name) and path not in but:
            path.unlink(missing_ok=True)


def _same(users: Any, others: Any) -> Any:
    """Which rows are of the last one of other users; files may hold them as texts of different kinds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    one = plain_column(others.slice(len(others) - 1))[0]
    try:
        return pc.fill_null(pc.equal(plain_column(users), one), False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        bound = "must be of one kind in all of the candidates' files"
        raise InvalidInputError(describe("user type", f"{users.type}, {others.type}", bound)) from error


def _group(where: tuple[str, int], columns: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(where[0]) as file:
        return file.read_row_group(where[1], columns=list(columns), use_threads=False)
