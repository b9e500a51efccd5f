"""A planning problem as a file: YAML that says where candidates are, and what limits hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError
from pydantic_core import PydanticCustomError

from homing.errors import InvalidInputError, describe, unknown_name
from homing.plain_yaml import load_yaml
from homing.planning.limits import Budget, Floor, Limit, distinct
from homing.planning.problem import PlanningProblem
from homing.planning.tables import problem_from_table

_GUIDE = "See docs/guides/planning.md."


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("switch", "must be a number, and YAML reads on, off, yes and no as switches")
    return value


#: Numbers: what YAML reads as true or false is none.
_Real = Annotated[float, BeforeValidator(_no_switch)]
_Whole = Annotated[int, BeforeValidator(_no_switch)]
_Where = dict[str, StrictStr | StrictInt | list[StrictStr] | list[StrictInt]]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LimitItem(_Strict):
    """One budget or floor; see `homing.planning.Limit`."""

    limit: _Real = Field(ge=0)
    where: _Where = Field(default_factory=dict)
    cost: str | None = None
    name: str = ""


class Columns(_Strict):
    """Names of the candidates' columns.

    Attributes:
        user: sorted: each user's candidates stand together; `decision_id` where `per: decision` and nothing is said.
        value: worth over silence.
        codes: what limits and caps speak of; texts or whole numbers.
        costs: real numbers >= 0.
        segments: codes of the user: the same in all of a user's rows.
        keep: others that the plan's file shows, ids say.
    """

    user: str = "user_id"
    value: str = "value"
    codes: list[str] = Field(default_factory=list)
    costs: list[str] = Field(default_factory=list)
    segments: list[str] = Field(default_factory=list)
    keep: list[str] = Field(default_factory=list)

    @property
    def wanted(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys([self.user, self.value, *self.codes, *self.costs, *self.segments, *self.keep]))


class Horizon(_Strict):
    """What published prices need to know of the time planned for; see `homing.planning.Prices`.

    Attributes:
        traffic: requests expected in each of equally long parts, in any unit; when None, the mean of `history`'s hours,
            or even without one.
        history: past days' requests, in a file or a folder beside this one (`homing.planning.history`): they say
            whether requests that are missing come later.
    """

    start: datetime | None = None
    hours: _Real = Field(default=24.0, gt=0)
    traffic: list[_Real] | None = Field(default=None, min_length=1)
    requests: _Real | None = Field(default=None, gt=0)
    history: str | None = None
    policy: str | None = None
    amounts: dict[str, str] = Field(default_factory=dict)


class ProblemFile(_Strict):
    """A planning problem in YAML; unknown keys are refused.

    ```yaml
    version: 1
    candidates: candidates.parquet      # beside this file; a file or a folder of them
    # policy: models/champion           # candidates are then a decision log, and this policy's scores the values;
    # per: decision                     # each decision by itself, instead of all of a user's together
    columns: {user: user_id, value: value, codes: [channel, campaign], costs: [opt_outs], segments: [tier]}
    max_per_user: 1
    budgets:
      - {limit: 20000, where: {channel: push}}
      - {limit: 150, cost: opt_outs}
    floors:
      - {limit: 500, where: {campaign: launch}, name: launch}
    priorities: [{campaign: security}]  # what goes before all others, whatever it costs them
    part_rows: 5000000                  # candidates in memory at once; 0 for all; by size if left out
    sweep: opt_outs                     # the limit whose trade-off curve is drawn; the dearest one if left out
    horizon: {start: 2026-11-23T00:00:00Z, hours: 24, history: past_days.csv}
    ```

    Example:
        >>> ProblemFile.from_dict({"candidates": "c.parquet", "budgets": [{"limit": 3, "where": {"channel": "push"}}]}
        ...                      ).budgets[0].limit
        3.0
    """

    version: Literal[1] = 1
    candidates: str
    policy: str | None = None
    per: Literal["user", "decision"] = "user"
    columns: Columns = Columns()
    max_per_user: _Whole = Field(default=1, ge=1, le=64)
    min_gap_hours: _Whole = Field(default=0, ge=0)
    exclusive: list[str] = Field(default_factory=list)
    priorities: list[_Where] = Field(default_factory=list)
    budgets: list[LimitItem] = Field(default_factory=list)
    floors: list[LimitItem] = Field(default_factory=list)
    part_rows: _Whole | None = Field(default=None, ge=0)
    sweep: str | None = None
    horizon: Horizon = Horizon()
    seed: _Whole = Field(default=0, ge=0)

    @classmethod
    def from_yaml(cls, path: str | Path) -> ProblemFile:
        """Read a file.

        Raises:
            InvalidInputError: if it is missing, is not YAML, or breaks a bound.
            UnknownNameError: on an unknown key, with the nearest known one.
        """
        path = Path(path)
        try:
            data = load_yaml(path.read_text(encoding="utf-8"))
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
            found = cls.model_validate(dict(data))
        except ValidationError as error:
            raise _explain(error, source) from None
        if found.per == "user":
            return found
        if found.policy is None:
            bound = "needs a decision log, and the policy whose scores are the values"
            raise InvalidInputError(describe(f"{source}: per", found.per, bound, "Name `policy`, or leave `per` out."))
        if "user" in found.columns.model_fields_set:
            return found
        # Caps and silence are then of each decision.
        return found.model_copy(update={"columns": found.columns.model_copy(update={"user": "decision_id"})})

    def problem(self, folder: str | Path) -> PlanningProblem:
        """Read the candidates, from a path that is relative to `folder`.

        Raises:
            InvalidInputError: if they cannot be read, or a row breaks a bound.
            UnknownNameError: if a column is not there.
        """
        return self.problem_of(self.table(folder))

    def table(self, folder: str | Path) -> Any:
        """The candidates' columns, from a path that is relative to `folder`, as an Arrow table; see `problem`."""
        path = Path(folder) / self.candidates
        if self.policy is None:
            return _read(path, self.columns.wanted)
        from homing.planning.scored_log import opportunities

        found = opportunities(path, Path(folder) / self.policy, per=self.per)
        for name in self.columns.wanted:
            if name not in found.column_names:
                raise unknown_name("column of the log's candidates", name, found.column_names)
        return found.select(self.columns.wanted)

    def problem_of(self, table: Any, labels: Mapping[str, Sequence[str]] | None = None) -> PlanningProblem:
        """The problem of candidates in an Arrow table; `labels` gives texts their codes, by column, where it is a part.

        Raises:
            InvalidInputError: if a row breaks a bound.
        """
        return problem_from_table(
            table,
            user=self.columns.user,
            value=self.columns.value,
            codes=self.columns.codes,
            costs=self.columns.costs,
            segments=self.columns.segments,
            labels=labels,
            budgets=self.limits[: len(self.budgets)],
            floors=self.limits[len(self.budgets) :],
            max_per_user=self.max_per_user,
            min_gap_hours=self.min_gap_hours,
            exclusive=self.exclusive,
            priorities=self.priorities,
        )

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Budgets, then floors, as those of a problem."""
        budgets = [Budget(**item.model_dump()) for item in self.budgets]
        return (*budgets, *distinct(budgets, [Floor(**item.model_dump()) for item in self.floors]))

    @property
    def start(self) -> datetime:
        """When the horizon begins: at today's first hour, in UTC, when the file does not say."""
        given = self.horizon.start
        if given is None:
            now = datetime.now(UTC)
            return datetime(now.year, now.month, now.day, tzinfo=UTC)
        return given if given.utcoffset() is not None else given.replace(tzinfo=UTC)


def _read(path: Path, wanted: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path) if path.is_file() else pq.ParquetDataset(path).schema
        missing = next((name for name in wanted if name not in schema.names), None)
        if missing is None:
            return pq.read_table(path, columns=list(wanted)).combine_chunks()
    except (OSError, pa.ArrowInvalid) as error:
        bound = f"must be Parquet that can be read ({' '.join(str(error).split())})"
        raise InvalidInputError(describe("candidates", str(path), bound, _GUIDE)) from error
    raise unknown_name(f"column of {path.name}", str(missing), schema.names)


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
