"""A planning problem as a file: YAML that says where candidates are, and what limits hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homing.errors import InvalidInputError, describe, unknown_name
from homing.planning.limits import Budget, Floor
from homing.planning.problem import PlanningProblem, UserOffsets

_GUIDE = "See docs/guides/planning.md."


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LimitItem(_Strict):
    """One budget or floor; see `homing.planning.Limit`."""

    limit: float = Field(ge=0)
    where: dict[str, str | int | list[str] | list[int]] = Field(default_factory=dict)
    cost: str | None = None
    name: str = ""


class Columns(_Strict):
    """Names of the candidates' columns.

    Attributes:
        user: sorted: each user's candidates stand together.
        value: worth over silence.
        codes: what limits and caps speak of; texts or whole numbers.
        costs: real numbers >= 0.
        segments: codes of the user: the same in all of a user's rows.
    """

    user: str = "user_id"
    value: str = "value"
    codes: list[str] = Field(default_factory=list)
    costs: list[str] = Field(default_factory=list)
    segments: list[str] = Field(default_factory=list)

    @property
    def wanted(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys([self.user, self.value, *self.codes, *self.costs, *self.segments]))


class Horizon(_Strict):
    """What published prices need to know of the time planned for; see `homing.planning.Prices`."""

    start: datetime | None = None
    hours: float = Field(default=24.0, gt=0)
    traffic: list[float] = Field(default=[1.0], min_length=1)
    requests: float | None = Field(default=None, gt=0)
    policy: str | None = None
    amounts: dict[str, str] = Field(default_factory=dict)


class ProblemFile(_Strict):
    """A planning problem in YAML; unknown keys are refused.

    ```yaml
    version: 1
    candidates: candidates.parquet      # beside this file; a file or a folder of them
    columns: {user: user_id, value: value, codes: [channel, campaign], costs: [opt_outs], segments: [tier]}
    max_per_user: 1
    budgets:
      - {limit: 20000, where: {channel: push}}
      - {limit: 150, cost: opt_outs}
    floors:
      - {limit: 500, where: {campaign: launch}, name: launch}
    priorities: [{campaign: security}]  # what goes before all others, whatever it costs them
    sweep: opt_outs                     # the limit whose trade-off curve is drawn; the dearest one if left out
    horizon: {start: 2026-11-23T00:00:00Z, hours: 24}
    ```

    Example:
        >>> ProblemFile.from_dict({"candidates": "c.parquet", "budgets": [{"limit": 3, "where": {"channel": "push"}}]}
        ...                      ).budgets[0].limit
        3.0
    """

    version: Literal[1] = 1
    candidates: str
    columns: Columns = Columns()
    max_per_user: int = Field(default=1, ge=1, le=64)
    min_gap_hours: int = Field(default=0, ge=0)
    exclusive: list[str] = Field(default_factory=list)
    priorities: list[dict[str, str | int | list[str] | list[int]]] = Field(default_factory=list)
    budgets: list[LimitItem] = Field(default_factory=list)
    floors: list[LimitItem] = Field(default_factory=list)
    sweep: str | None = None
    horizon: Horizon = Horizon()
    seed: int = Field(default=0, ge=0)

    @classmethod
    def from_yaml(cls, path: str | Path) -> ProblemFile:
        """Read a file.

        Raises:
            InvalidInputError: if it is missing, is not YAML, or breaks a bound.
            UnknownNameError: on an unknown key, with the nearest known one.
        """
        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInputError(describe("problem file", str(path), "must be a readable file", _GUIDE)) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = " ".join(str(error).split())
            raise InvalidInputError(describe("problem file", path.name, f"must be YAML ({where})")) from error
        return cls.from_dict(data, source=path.name)

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "problem") -> ProblemFile:
        """Check and build; `source` names it in messages."""
        if not isinstance(data, Mapping):
            raise InvalidInputError(describe(source, data, "must be a mapping", _GUIDE))
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise _explain(error, source) from None

    def problem(self, folder: str | Path) -> PlanningProblem:
        """Read the candidates, from a path that is relative to `folder`.

        Raises:
            InvalidInputError: if they cannot be read, or a row breaks a bound.
            UnknownNameError: if a column is not there.
        """
        return self.problem_of(_read(Path(folder) / self.candidates, self.columns))

    def problem_of(self, table: Any, labels: Mapping[str, Sequence[str]] | None = None) -> PlanningProblem:
        """The problem of candidates in an Arrow table; `labels` gives texts their codes, by column, where it is a part.

        Raises:
            InvalidInputError: if a row breaks a bound.
        """
        offsets, ids = users_of(table[self.columns.user])
        names = {name: tuple(texts) for name, texts in (labels or {}).items()}
        codes = {name: _codes(name, table[name], names) for name in self.columns.codes}
        segments = {}
        for name in self.columns.segments:
            each = _codes(name, table[name], names)
            segments[name] = each[offsets[:-1]]
            wrong = np.flatnonzero(each != np.repeat(segments[name], np.diff(offsets)))
            if len(wrong):
                bound = f"must be the same in all rows of user {ids[np.searchsorted(offsets, wrong[0], 'right') - 1]!r}"
                raise InvalidInputError(describe(f"{name}[{wrong[0]}]", str(table[name][int(wrong[0])]), bound))
        return PlanningProblem(
            user=UserOffsets(offsets, ids),
            value=_numbers(self.columns.value, table[self.columns.value]),
            codes=codes,
            costs={name: _numbers(name, table[name]) for name in self.columns.costs},
            budgets=[Budget(**item.model_dump()) for item in self.budgets],
            floors=[Floor(**item.model_dump()) for item in self.floors],
            max_per_user=self.max_per_user,
            segments=segments,
            names=names,
            min_gap_hours=self.min_gap_hours,
            exclusive=self.exclusive,
            priorities=self.priorities,
        )

    @property
    def start(self) -> datetime:
        """When the horizon begins: the next midnight UTC when the file does not say."""
        given = self.horizon.start
        if given is None:
            now = datetime.now(UTC)
            return datetime(now.year, now.month, now.day, tzinfo=UTC)
        return given if given.utcoffset() is not None else given.replace(tzinfo=UTC)


def _read(path: Path, columns: Columns) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = columns.wanted
    try:
        schema = pq.read_schema(path) if path.is_file() else pq.ParquetDataset(path).schema
        missing = next((name for name in wanted if name not in schema.names), None)
        if missing is None:
            return pq.read_table(path, columns=wanted).combine_chunks()
    except (OSError, pa.ArrowInvalid) as error:
        bound = f"must be Parquet that can be read ({' '.join(str(error).split())})"
        raise InvalidInputError(describe("candidates", str(path), bound, _GUIDE)) from error
    raise unknown_name(f"column of {path.name}", str(missing), schema.names)


def users_of(column: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Where each user's rows begin, and their ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise InvalidInputError(describe(f"user[{row}]", None, "must be given", "Leave rows without a user out."))
    coded = pc.dictionary_encode(column)
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    codes = coded.indices.to_numpy(zero_copy_only=False)
    # Users are numbered as they first occur: in a file where they stand together the numbers never fall.
    falls = np.flatnonzero(codes[1:] < codes[:-1])
    if len(falls):
        row = int(falls[0]) + 1
        step = "Sort the rows by user; each user's candidates must stand together."
        raise InvalidInputError(
            describe(f"user[{row}]", str(column[row]), "occurred before, with others between", step)
        )
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    ids = coded.dictionary.to_numpy(zero_copy_only=False)
    return np.append(starts, len(codes)).astype(np.int64), ids


def _codes(name: str, column: Any, names: dict[str, tuple[str, ...]]) -> NDArray[Any]:
    """Whole numbers as they are; texts numbered by their order, with their names."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise InvalidInputError(describe(f"{name}[{row}]", None, "must be given"))
    if pa.types.is_integer(column.type):
        out: NDArray[Any] = column.to_numpy()
        return out
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InvalidInputError(describe(f"{name} type", str(column.type), "must be texts or whole numbers"))
    if name not in names:
        names[name] = tuple(pc.unique(column).sort().to_pylist())
    found = pc.index_in(column, value_set=pa.array(names[name], column.type))
    codes: NDArray[Any] = np.asarray(found.to_numpy()).astype(np.uint32)
    return codes


def _numbers(name: str, column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise InvalidInputError(describe(f"{name} type", str(column.type), "must be numbers"))
    out: NDArray[Any] = column.to_numpy()  # what is missing becomes NaN, and is refused by its row
    return out


def _explain(error: ValidationError, source: str) -> Exception:
    """The first problem in the project's message format, with the place in the file."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _model_at(first["loc"][:-1]).model_fields
        inside = f" of {'.'.join(str(part) for part in first['loc'][:-1])!r}" if len(first["loc"]) > 1 else ""
        return unknown_name(f"{source}: key{inside}", str(first["loc"][-1]), known)
    if first["type"] == "missing":
        return InvalidInputError(describe(f"{source}: {place}", None, "must be given", _GUIDE))
    message = first["msg"][0].lower() + first["msg"][1:]
    return InvalidInputError(describe(f"{source}: {place}", first["input"], message, _GUIDE))


def _model_at(path: Sequence[object]) -> type[_Strict]:
    inner: dict[object, type[_Strict]] = {
        "columns": Columns, "horizon": Horizon, "budgets": LimitItem, "floors": LimitItem,
    }  # fmt: skip
    return inner.get(path[0], ProblemFile) if path else ProblemFile
