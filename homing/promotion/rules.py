"""What must hold before a challenger replaces the champion, as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from homing.errors import InvalidInputError, describe, unknown_name
from homing.ope.deciding import Deciding
from homing.plain_yaml import load_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ObjectiveRule(_Strict):
    """What one objective must show, on the paired interval of challenger minus champion.

    Attributes:
        rule: `superiority`: the gain's lower bound lies above `margin`; `non_inferiority`: it lies above -`margin`;
            `report`: shown, not judged.
        margin: the smallest gain worth having (superiority, default 0), or the largest loss that is bearable
            (non-inferiority, must be > 0).
        margin_kind: `relative`: a share of the champion's value; `absolute`: in the objective's own unit.
        direction: `minimize` for harms such as opt-outs: a gain is then a decrease.
    """

    rule: Literal["superiority", "non_inferiority", "report"]
    margin: float = Field(default=0.0, ge=0.0)
    margin_kind: Literal["relative", "absolute"] = "relative"
    direction: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="after")
    def _margin_fits_rule(self) -> ObjectiveRule:
        if self.rule == "non_inferiority" and self.margin == 0.0:
            raise ValueError("non_inferiority needs a margin > 0: the largest loss that is bearable")
        return self


class Guardrail(_Strict):
    """A bound on the challenger's own value, whatever the champion does.

    Attributes:
        limit: the bound, in the objective's unit.
        direction: `minimize`: the interval's upper end must not exceed `limit`; `maximize`: its lower end must reach
            it.
    """

    limit: float
    direction: Literal["maximize", "minimize"] = "minimize"


class PromotionRules(_Strict):
    """The gate's rules; read from YAML, unknown keys refused.

    At least one objective must be superior and all non-inferiority objectives and guardrails must hold. With several
    superiority objectives their level is divided among them (Bonferroni), so that a challenger that is no better is
    promoted with probability at most (1 - level) / 2.

    Attributes:
        estimator: the estimator whose intervals decide.
        level: two-sided level of the intervals; decisions use one end of them.
        interval: how they are made: `cressie-read` is right on rare events too, where `cluster-t` covers far less than
            it says; `anytime` for a gate that is asked again and again as the log grows; `bernstein` holds at every
            size, and needs reports with declared bounds.
        objectives: what each objective must show.
        guardrails: absolute bounds on the challenger, by objective.
        min_ess: least effective sample size of the challenger's weights; fewer is refused.
        min_users: least number of users in the evaluation log; fewer is refused.
        min_events: least effective number of users with events behind an objective that passes; fewer is held: a
            decision for all users should not rest on a few, and `cluster-t` intervals are too narrow there.
        max_weight: largest importance weight that is accepted; None for no bound.
        max_unsupported_share: largest share of the challenger's choices that the log never made; more is refused.

    Example:
        >>> rules = PromotionRules.from_dict({"objectives": {"conversion": {"rule": "superiority"}}})
        >>> rules.estimator, rules.objectives["conversion"].margin
        ('dr', 0.0)
    """

    version: Literal[1] = 1
    estimator: str = "dr"
    level: float = Field(default=0.95, gt=0.0, lt=1.0)
    interval: Literal["cressie-read", "cluster-t", "anytime", "bernstein"] = "cressie-read"
    objectives: dict[str, ObjectiveRule] = Field(min_length=1)
    guardrails: dict[str, Guardrail] = Field(default_factory=dict)
    min_ess: float = Field(default=100.0, ge=0.0)
    min_users: int = Field(default=50, ge=2)
    min_events: float = Field(default=10.0, ge=0.0)
    max_weight: float | None = Field(default=None, gt=0.0)
    max_unsupported_share: float = Field(default=0.05, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _one_superiority(self) -> PromotionRules:
        if not any(rule.rule == "superiority" for rule in self.objectives.values()):
            raise ValueError("at least one objective needs `rule: superiority`: name what a challenger must improve")
        return self

    def level_of(self, objective: str) -> float:
        """The level of an objective's intervals: any one superiority objective suffices, so they share the error."""
        rule = self.objectives.get(objective)
        if rule is None or rule.rule != "superiority":
            return self.level
        return 1.0 - (1.0 - self.level) / sum(item.rule == "superiority" for item in self.objectives.values())

    def shared(self, challengers: int) -> PromotionRules:
        """The same rules for each of several challengers on one log, which share the error of one (Bonferroni)."""
        return self.model_copy(update={"level": 1.0 - (1.0 - self.level) / challengers})

    def deciding(self, challengers: int = 1) -> Deciding:
        """The intervals that decide between so many challengers and the champion, to be shown first."""
        each = self.shared(challengers)
        levels = {name: each.level_of(name) for name in self.objectives}
        return Deciding(self.estimator, self.interval, each.level, levels, self.directions)

    @property
    def directions(self) -> dict[str, str]:
        """`maximize` or `minimize` for each objective that is named."""
        named: dict[str, str] = {name: item.direction for name, item in self.guardrails.items()}
        return named | {name: item.direction for name, item in self.objectives.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "promotion rules") -> PromotionRules:
        """Check and build.

        Raises:
            UnknownNameError: on an unknown key, with the nearest known one.
            InvalidInputError: on a value outside its bound.
        """
        if not isinstance(data, Mapping):
            raise InvalidInputError(describe(source, data, "must be a mapping", "Start with `version: 1`."))
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise _explain(error, source) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> PromotionRules:
        """Read rules from a YAML file.

        Raises:
            InvalidInputError: if the file is missing, is not YAML, or breaks a bound.
            UnknownNameError: on an unknown key, with the nearest known one.
        """
        path = Path(path)
        try:
            data = load_yaml(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInputError(
                describe("promotion rules", str(path), "must be a readable file", "See docs/guides/evaluation.md.")
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            first = str(error).splitlines()[0]
            raise InvalidInputError(describe("promotion rules", path.name, f"must be YAML ({first})")) from error
        return cls.from_dict(data, source=path.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML."""
        return self.model_dump(mode="json")


def _explain(error: ValidationError, source: str) -> Exception:
    """The first problem in the project's message format, with the place in the file."""
    # A misspelt key is the cause of what else is missing: name it first.
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        inner: dict[str, type[_Strict]] = {"objectives": ObjectiveRule, "guardrails": Guardrail}
        known = inner.get(str(first["loc"][0]), PromotionRules) if len(first["loc"]) > 1 else PromotionRules
        inside = f" of {'.'.join(str(part) for part in first['loc'][:-1])!r}" if len(first["loc"]) > 1 else ""
        return unknown_name(f"{source}: key{inside}", str(first["loc"][-1]), known.model_fields)
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    name = f"{source}: {place}" if place else source
    return InvalidInputError(describe(name, first["input"], message, "See docs/guides/evaluation.md."))
