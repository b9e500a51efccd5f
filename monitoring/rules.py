"""Alert rules: how large a difference, on how many rows, is an alert. Read from YAML, unknown keys refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homing.errors import InvalidInputError, describe, unknown_name
from homing.plain_yaml import load_yaml

#: The rules that hold when none are named.
DEFAULT_RULES = Path(__file__).with_name("rules.yaml")
#: The groups of columns that a run compares.
GROUPS = ("context", "candidates", "eligibility", "action", "propensity", "reward", "calibration", "weights")
#: What a group's columns may do: alert, only be shown, or alert when one policy logged both windows.
Role = Literal["alert", "report", "same_policy"]


class DriftRules(BaseModel):
    """Thresholds of a drift run; see `monitoring/rules.yaml` for what each means and its default.

    A column drifts when its p-value is at most `significance` divided by the number of columns judged, and its
    effect is at least the threshold of its kind. Both are needed: with 20 rows every threshold on size alone is
    crossed by chance, with 10 million rows every p-value is small.

    Example:
        >>> rules = DriftRules.from_dict({"psi": 0.2, "groups": {"reward": "report"}})
        >>> rules.psi, rules.role("reward"), rules.role("context")
        (0.2, 'report', 'alert')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    significance: float = Field(0.01, gt=0, lt=1)
    psi: float = Field(0.1, gt=0)
    calibration_error: float = Field(0.1, gt=0)
    weight_error: float = Field(0.1, gt=0)
    minimum_rows: int = Field(200, ge=1)
    minimum_users: int = Field(20, ge=2)
    minimum_events: float = Field(10, ge=1)
    minimum_drifted_columns: int = Field(1, ge=1)
    columns_share: float = Field(0.0, ge=0, le=1)
    maximum_rows: int = Field(20_000, ge=100)
    groups: Mapping[str, Role] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    column_psi: Mapping[str, float] = Field(default_factory=dict)

    def role(self, group: str) -> Role:
        """What the columns of `group` may do."""
        policy_moves_it = group in ("action", "propensity", "reward")
        return self.groups.get(group, "same_policy" if policy_moves_it else "alert")

    def psi_of(self, column: str) -> float:
        """The PSI threshold of one column."""
        return self.column_psi.get(column, self.psi)

    @property
    def digest(self) -> str:
        """SHA-256 of the rules: a report names the rules that it was judged by."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @classmethod
    def from_yaml(cls, path: str | Path) -> DriftRules:
        """Read a rules file.

        Raises:
            InvalidInputError: if the file is missing, is not YAML, or holds a value outside its bound.
            UnknownNameError: for a key that does not exist, with the nearest one that does.
        """
        path = Path(path)
        try:
            values = load_yaml(path.read_text(encoding="utf-8"))
        except OSError as e:
            raise InvalidInputError(describe("rules", str(path), "cannot be read", f"{e.strerror}.")) from e
        except yaml.YAMLError as e:
            raise InvalidInputError(describe("rules", str(path), "is not YAML", str(e).replace("\n", " "))) from e
        if not isinstance(values, dict):
            raise InvalidInputError(describe("rules", str(path), "must be a mapping", "See monitoring/rules.yaml."))
        return cls.from_dict(values, name=path.name)

    @classmethod
    def from_dict(cls, values: Mapping[str, object], *, name: str = "rules") -> DriftRules:
        """Check and build rules from a mapping; `name` is what errors call it."""
        for key in values:
            if key not in cls.model_fields:
                raise unknown_name(f"{name} key", str(key), cls.model_fields)
        groups = values.get("groups") or {}
        for key in groups if isinstance(groups, Mapping) else ():
            if key not in GROUPS:
                raise unknown_name(f"{name} group", str(key), GROUPS)
        try:
            return cls.model_validate(dict(values))
        except ValidationError as e:
            first = e.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            bound = first["msg"][0].lower() + first["msg"][1:]
            raise InvalidInputError(
                describe(f"{name}: {where}", first["input"], bound, "See monitoring/rules.yaml.")
            ) from e
