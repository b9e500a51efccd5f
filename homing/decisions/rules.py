"""Guards and slices from a YAML file; unknown keys are refused."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from homing.decisions.guards import ConsentGuard, ExpiryGuard, FrequencyCapGuard, Guard, QuietHoursGuard
from homing.decisions.requests import Identifier, parse
from homing.errors import InvalidInputError, describe
from homing.plain_yaml import load_yaml


def _clock_time(value: object) -> object:
    # YAML reads 22:00 without quotes as a number in base 60.
    if not isinstance(value, str):
        raise ValueError("must be a time in quotes, such as '22:00'")
    try:
        found = time.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time in quotes, such as '22:00'") from None
    if found.tzinfo is not None:
        raise ValueError("must carry no zone: quiet hours are on the user's own clock")
    return found


#: Some channels; a rule for none of them would guard nothing.
Channels = Annotated[tuple[Identifier, ...], Field(min_length=1)]


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QuietHours(_Rules):
    """See `QuietHoursGuard`."""

    start: Annotated[time, BeforeValidator(_clock_time)]
    end: Annotated[time, BeforeValidator(_clock_time)]
    channels: Channels | None = None


class FrequencyCap(_Rules):
    """See `FrequencyCapGuard`."""

    max_messages: Annotated[int, Field(ge=1, le=10_000, strict=True)]
    window_hours: Annotated[float, Field(gt=0, le=24 * 366, strict=True)]
    channels: Channels | None = None


class ConsentRules(_Rules):
    """See `ConsentGuard`."""

    exempt_channels: tuple[Identifier, ...] = ()


class GuardRules(_Rules):
    """What may be sent, to whom and when: the guards' configuration file.

    Consent and expiry are always on. The file:

    ```yaml
    version: 1
    consent: {exempt_channels: [in_app]}
    quiet_hours:
      - {start: "22:00", end: "08:00", channels: [push]}
    frequency_caps:
      - {max_messages: 3, window_hours: 24}
      - {max_messages: 1, window_hours: 168, channels: [email]}
    uniform_share: 0.05     # of the users: uniform-random decisions, for evaluation
    holdout_share: 0.01     # of the users: never messaged
    salt: homing            # draws the users of both
    ```

    >>> rules = GuardRules.from_dict({"frequency_caps": [{"max_messages": 3, "window_hours": 24}]})
    >>> [guard.name for guard in rules.guards()]
    ['consent', 'expiry', 'frequency_cap']
    """

    version: Literal[1] = 1
    consent: ConsentRules = ConsentRules()
    quiet_hours: tuple[QuietHours, ...] = ()
    frequency_caps: tuple[FrequencyCap, ...] = ()
    uniform_share: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    holdout_share: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    salt: Identifier = "homing"

    @classmethod
    def from_dict(cls, data: object, *, name: str = "guards") -> GuardRules:
        """Check a configuration.

        Raises:
            InvalidInputError: naming the file, the key, its value and its bound.
        """
        try:
            rules = parse(cls, {} if data is None else data)
            rules.guards()
        except InvalidInputError as error:
            raise InvalidInputError(f"{name}: {error}") from None
        return rules

    @classmethod
    def from_yaml(cls, path: str | Path) -> GuardRules:
        """Read a configuration file; see `from_dict`."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            bound = f"cannot be read ({type(error).__name__})"
            raise InvalidInputError(describe("guards file", str(path), bound, "Check the path.")) from error
        try:
            data: Any = load_yaml(text)
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = "" if where is None else f", line {where.line + 1}"
            problem = getattr(error, "problem", None) or "not understood"
            raise InvalidInputError(describe(f"guards file{line}", str(path), f"must be YAML ({problem})")) from None
        return cls.from_dict(data, name=str(path))

    def guards(self) -> tuple[Guard, ...]:
        """The guards, cheapest first."""
        return (
            ConsentGuard(frozenset(self.consent.exempt_channels)),
            ExpiryGuard(),
            *(QuietHoursGuard(rule.start, rule.end, _channels(rule.channels)) for rule in self.quiet_hours),
            *(
                FrequencyCapGuard(cap.max_messages, cap.window_hours, _channels(cap.channels))
                for cap in self.frequency_caps
            ),
        )


def _channels(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
