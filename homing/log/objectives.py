"""`Objectives`: which outcomes count, for how long after a decision, and how they add up. Read from YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from homing.errors import InvalidInputError, UnknownNameError, describe, unknown_name
from homing.log.schema import check_kind
from homing.plain_yaml import load_yaml

_HOUR_US = 3_600_000_000
_EXAMPLE = "Write, say, clicked: {kinds: [clicked], window_hours: 24, aggregate: any}."


class Objective(BaseModel):
    """One reward column.

    Attributes:
        kinds: the outcome kinds that count.
        window_hours: outcomes count in [decided_at, decided_at + window), at most to the microsecond.
        aggregate: over a decision's outcomes in the window: `any` is 1 if there is one, `count` their number, `sum` and
            `mean` of their values; all are 0 where there is none.
        direction: whether more is better. The reward keeps its natural sign; rules and reports read the direction.
        attribute_unlinked: an outcome without a decision id counts for the user's latest decision at or before it.

    Example:
        >>> Objective(kinds=("clicked",), window_hours=0.5, aggregate="any").window_us
        1800000000
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[str, ...] = Field(min_length=1)
    window_hours: float = Field(gt=0, allow_inf_nan=False, le=24 * 3660)
    aggregate: Literal["any", "count", "sum", "mean"]
    direction: Literal["maximize", "minimize"] = "maximize"
    attribute_unlinked: bool = False

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            try:
                check_kind(kind)
            except UnknownNameError as e:
                raise ValueError(str(e)) from e
        if len(set(kinds)) < len(kinds):
            raise ValueError(describe("kinds", list(kinds), "must differ from each other"))
        return kinds

    @property
    def window_us(self) -> int:
        """The window in microseconds, at least 1."""
        return max(round(self.window_hours * _HOUR_US), 1)


class Objectives(BaseModel):
    """The objectives of a training set by name, in the order of its reward columns.

    Example:
        >>> objectives = Objectives.from_dict({"version": 1, "objectives": {
        ...     "clicked": {"kinds": ["clicked"], "window_hours": 24, "aggregate": "any"}}})
        >>> objectives.names, objectives["clicked"].aggregate
        (('clicked',), 'any')
        >>> Objectives.from_dict({"objectives": {"a": {"kinds": ["clicked"], "windw_hours": 1, "aggregate": "any"}}})
        Traceback (most recent call last):
        homing.errors.UnknownNameError: objectives: key of 'a' == 'windw_hours', must ... Did you mean 'window_hours'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    objectives: dict[str, Objective] = Field(min_length=1)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the reward columns."""
        return tuple(self.objectives)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every outcome kind that counts for some objective, sorted."""
        return tuple(sorted({kind for objective in self.objectives.values() for kind in objective.kinds}))

    @property
    def longest_window_us(self) -> int:
        """After this many microseconds a decision's rewards are complete."""
        return max(objective.window_us for objective in self.objectives.values())

    def __getitem__(self, name: str) -> Objective:
        if name not in self.objectives:
            raise unknown_name("objective", name, self.objectives)
        return self.objectives[name]

    def items(self) -> Iterator[tuple[str, Objective]]:
        """Name and objective, in column order."""
        yield from self.objectives.items()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON or YAML; `from_dict` gives an equal value back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_yaml(cls, path: str | Path) -> Objectives:
        """Read a YAML file.

        Raises:
            InvalidInputError: if there is no such file, it is not YAML, or a value breaks its bound.
            UnknownNameError: for an unknown key, with the nearest known one and the file's name.
        """
        path = Path(path)
        try:
            data = load_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise InvalidInputError(describe("objectives file", str(path), f"cannot be read ({e})", _EXAMPLE)) from e
        except yaml.YAMLError as e:
            where = " ".join(str(e).split())
            raise InvalidInputError(describe("objectives file", str(path), f"must be YAML ({where})")) from e
        return cls.from_dict(data, source=path.name)

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "objectives") -> Objectives:
        """Build from plain data; `source` names it in error messages."""
        _check_mapping(f"{source}: content", data)
        _check_keys(f"{source}: key", data, cls.model_fields)
        _check_mapping(f"{source}: objectives", data.get("objectives"))
        for name, item in data["objectives"].items():
            _check_mapping(f"{source}: objective {name!r}", item)
            _check_keys(f"{source}: key of {name!r}", item, Objective.model_fields)
        try:
            return cls.model_validate(data)
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"] if part != "objectives")
            message = first["msg"].removeprefix("Value error, ")
            if first["type"] == "missing":
                text = describe(f"{source}: {where}", None, "must be given", _EXAMPLE)
            elif first["type"] == "value_error":
                text = f"{source}: {where}: {message}"
            else:
                text = describe(f"{source}: {where}", first["input"], message[0].lower() + message[1:])
        raise InvalidInputError(text)


def _check_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        raise InvalidInputError(describe(name, value, "must map names to values", _EXAMPLE))


def _check_keys(name: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for key in given:
        if key not in names:
            raise unknown_name(name, key, names)
