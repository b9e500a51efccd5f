"""What a caller sends: candidates, decide requests, outcomes and consents, checked at the boundary.

Every type is frozen and refuses unknown keys, NaN and infinities, times without a zone and oversized input.
`parse` turns what pydantic finds into the project's error message; callers with untrusted input go through it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from homing.errors import InvalidInputError, UnknownNameError, describe, unknown_name
from homing.log import SILENCE, check_kind

#: Most candidates of one decision, silence not counted.
MAX_CANDIDATES = 1_000
#: Most named features of one context or candidate.
MAX_FEATURES = 1_000
#: Longest identifier and longest text feature, in characters.
MAX_ID_LENGTH = 256
MAX_TEXT_LENGTH = 1_024
#: Most outcomes or consents in one call.
MAX_BATCH = 1_000
#: Whole numbers beyond this are not exact as float64, in which the log keeps them.
MAX_EXACT = 2**53

#: The value of a named feature; None stands for "missing".
FeatureValue = float | int | str | bool | None

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def _identifier(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not hold control characters or lone surrogates")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    if not math.isfinite(value) if isinstance(value, float) else abs(value) > MAX_EXACT:
        raise ValueError("must be a finite number" if isinstance(value, float) else "must be at most 2**53 in size")
    return value


def _time(value: object) -> object:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be an ISO 8601 time such as 2026-11-23T09:00:00Z") from None
    if not isinstance(value, datetime):
        raise ValueError("must be an ISO 8601 time such as 2026-11-23T09:00:00Z")
    if value.utcoffset() is None:
        raise ValueError("must carry its time zone, such as 2026-11-23T09:00:00Z or +01:00")
    if not 1970 <= value.year <= 2200:
        raise ValueError("must be between the years 1970 and 2200")
    return value.astimezone(UTC)


def _zone(value: str) -> str:
    zone(value)
    return value


def _features(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object of named features")
    if len(value) > MAX_FEATURES:
        raise ValueError(f"must hold at most {MAX_FEATURES} features, not {len(value)}")
    for name, item in value.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_LENGTH or _CONTROL.search(name):
            raise ValueError(describe("feature name", name, f"must be a text of 1 to {MAX_ID_LENGTH} plain characters"))
        if item is None or isinstance(item, bool):
            continue
        if isinstance(item, str):
            if len(item) > MAX_TEXT_LENGTH or _CONTROL.search(item):
                raise ValueError(describe(f".{name}", item, f"must be at most {MAX_TEXT_LENGTH} plain characters"))
        elif isinstance(item, int | float):
            if not math.isfinite(item) if isinstance(item, float) else abs(item) > MAX_EXACT:
                bound = "must be a finite number of at most 2**53 in size"
                raise ValueError(describe(f".{name}", item, bound, "Leave a missing feature out, or send null."))
        else:
            bound = "must be a number, a text, true, false or null"
            raise ValueError(describe(f".{name}", item, bound, "Flatten nested values into named features."))
    return dict(value)


Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_identifier)]
Number = Annotated[float, BeforeValidator(_number)]
Time = Annotated[datetime, BeforeValidator(_time)]
Features = Annotated[dict[str, FeatureValue], BeforeValidator(_features)]


class Candidate(_Row):
    """One message on one channel and slot that could be sent now.

    >>> Candidate(message_id="trip_reminder", channel="push").domain
    'default'

    Attributes:
        message_id: names the message (or its template); shared by all users who may get it.
        campaign: groups messages that are planned and budgeted together.
        domain: the team whose generator proposes it.
        channel: push, email, in_app … : consent, quiet hours and caps are kept per channel.
        slot: place or time slot on the channel.
        value: the proposing team's value signal, in that team's unit.
        expires_at: it must not be sent at or after this time; None for never.
        features: further features, by the names that the policy was trained with.
    """

    message_id: Identifier
    channel: Identifier
    campaign: Identifier = "default"
    domain: Identifier = "default"
    slot: Identifier = "default"
    value: Number = 0.0
    expires_at: Time | None = None
    features: Features = Field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The candidate as one flat row of the decision log: features beside the fixed columns."""
        return {name: getattr(self, name) for name in CANDIDATE_COLUMNS} | self.features


#: The columns that every candidate of the log has; features stand beside them.
CANDIDATE_COLUMNS = ("message_id", "campaign", "domain", "channel", "slot", "value", "expires_at")

#: The channel of a consent that covers every channel.
EVERY_CHANNEL = "*"

#: Candidate 0 of every decision.
SILENT = Candidate(message_id=SILENCE, campaign=SILENCE, domain=SILENCE, channel=SILENCE, slot=SILENCE)


class DecideRequest(_Row):
    """One user, now: what is known, and what could be sent; silence is added by the service.

    >>> request = DecideRequest.from_dict({
    ...     "user_id": "u1", "context": {"recency_days": 3},
    ...     "candidates": [{"message_id": "m1", "channel": "push"}], "consent": {"push": True}})
    >>> request.candidates[0].message_id
    'm1'

    Attributes:
        user_id: a pseudonym, never an address or a device token.
        context: named features of the user now.
        candidates: 1 to 1,000 of them.
        time_zone: the user's IANA zone; quiet hours are read on the user's clock.
        consent: channel (`*` for all) → may it be used? None leaves it to the consents on record.
        decided_at: only for replays; the service's own clock is used when it is None.
        weights: objective → what one of it is worth, below 0 for harms such as opt-outs; every objective of the policy,
            or None for the policy's own.
    """

    user_id: Identifier
    context: Features = Field(default_factory=dict)
    candidates: tuple[Candidate, ...] = Field(min_length=1, max_length=MAX_CANDIDATES)
    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] = "UTC"
    consent: dict[Identifier, Annotated[bool, Field(strict=True)]] | None = Field(default=None, max_length=100)
    decided_at: Time | None = None
    weights: dict[Identifier, Number] | None = Field(default=None, max_length=100)

    @classmethod
    def from_dict(cls, data: object) -> DecideRequest:
        """Check untrusted input.

        Raises:
            InvalidInputError: naming the first problems, each with value, bound and next step.
        """
        request = parse(cls, data)
        seen: set[tuple[str, str, str]] = set()
        for i, item in enumerate(request.candidates):
            key = (item.message_id, item.channel, item.slot)
            clash = next((name for name in item.features if name in CANDIDATE_COLUMNS), None)
            if clash is not None:
                bound = "is a fixed column of a candidate"
                name = f"candidates[{i}].features.{clash}"
                raise InvalidInputError(describe(name, item.features[clash], bound, "Rename the feature."))
            if item.channel in (EVERY_CHANNEL, SILENCE):
                bound = "is reserved: '*' stands for every channel, 'silence' for none"
                raise InvalidInputError(
                    describe(f"candidates[{i}].channel", item.channel, bound, "Name the channel that it is sent on.")
                )
            if item.message_id == SILENCE:
                raise InvalidInputError(
                    describe(
                        f"candidates[{i}].message_id", SILENCE, "is reserved", "Silence is always added; leave it out."
                    )
                )
            if key in seen:
                bound = "must be unique by message_id, channel and slot"
                raise InvalidInputError(describe(f"candidates[{i}]", key, bound, "Leave the repeated candidate out."))
            seen.add(key)
        return request


class Outcome(_Row):
    """An event after a decision: delivered, opened, clicked, converted, unsubscribed …

    Attributes:
        outcome_id: the sender's own id of the event; sending it twice counts once.
        decision_id: the decision that it answers; None when unknown.
        kind: one of `homing.log.STANDARD_KINDS`, or custom:lower_snake.
        value: 1.0 for an event that happened, an amount for custom kinds.
    """

    outcome_id: Identifier
    user_id: Identifier
    kind: Identifier
    occurred_at: Time
    decision_id: Identifier | None = None
    value: Number = 1.0

    @classmethod
    def from_dict(cls, data: object, *, prefix: str = "") -> Outcome:
        """Check untrusted input; see `DecideRequest.from_dict`. `prefix` names the item in messages: `outcomes[3]`."""
        outcome = parse(cls, data, prefix=prefix)
        try:
            check_kind(outcome.kind)
        except UnknownNameError as error:
            raise UnknownNameError(f"{prefix}.{error}" if prefix else str(error)) from None
        return outcome


class Consent(_Row):
    """Whether one user may be contacted on one channel (`*` for all), from a moment on.

    Of two statements the later `changed_at` holds; of two at the same moment, the refusal.
    """

    user_id: Identifier
    channel: Identifier
    allowed: Annotated[bool, Field(strict=True)]
    changed_at: Time

    @classmethod
    def from_dict(cls, data: object, *, prefix: str = "") -> Consent:
        """Check untrusted input; see `DecideRequest.from_dict`. `prefix` names the item in messages: `consents[3]`."""
        return parse(cls, data, prefix=prefix)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        InvalidInputError: if there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        bound = "must be an IANA time zone"
        raise InvalidInputError(
            describe("time_zone", name, bound, "Write it like 'Europe/Berlin', or 'UTC'.")
        ) from None


_FEATURES_HINT = " Features of your own go under 'features'."
#: pydantic's kinds of problems that it words for Python rather than for JSON and YAML.
_BOUNDS = {
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (at - _EPOCH) // timedelta(microseconds=1)


T = TypeVar("T", bound=BaseModel)


def parse(model: type[T], data: object, *, prefix: str = "") -> T:
    """Build `model` from untrusted data, with the project's error message.

    >>> parse(Consent, {"user_id": "u1", "chanel": "push", "allowed": True, "changed_at": "2026-11-23T09:00:00Z"})
    Traceback (most recent call last):
    ...
    homing.errors.InvalidInputError: chanel == 'push', is not a known key. Did you mean 'channel'?

    Raises:
        InvalidInputError: with up to five problems, unknown keys first.
    """
    if not isinstance(data, Mapping):
        raise InvalidInputError(describe(prefix or "body", data, "must be a JSON object"))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
        unknown = {item["loc"][:-1] for item in problems if item["type"] == "extra_forbidden"}
        # A misspelt key makes the right one missing too: one message is enough.
        shown = [item for item in problems if not (item["type"] == "missing" and item["loc"][:-1] in unknown)]
        # Of a list whose items are wrong, pydantic also says that it is too short.
        shown = [item for item in shown if not (item["type"] == "too_short" and _at(data, list(item["loc"])))]
        texts = [_problem(model, item, data, prefix) for item in shown]
        more = f" ({len(texts) - 5} more problems.)" if len(texts) > 5 else ""
        raise InvalidInputError(" ".join(texts[:5]) + more) from None


def _problem(model: type[BaseModel], item: ErrorDetails, data: Mapping[str, Any], prefix: str) -> str:
    path = [part for part in item["loc"] if part != "[key]"]
    name = prefix + ("." if prefix else "") + _dotted(path)
    value = _at(data, path)
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(_model_at(model, path[:-1]).model_fields)
        near = _nearest(str(path[-1]), known) or "Known keys: " + ", ".join(known) + "."
        return describe(name, value, "is not a known key", near + _FEATURES_HINT * ("features" in known))
    if kind == "missing":
        return describe(name, None, "is required", "Add it to the request.")
    if kind == "value_error":
        text = str(context.get("error", item["msg"]))
        # Some checks already speak the whole message; that of a single feature begins with ".feature == value".
        if text.startswith("."):
            return name + text
        return text if " == " in text else describe(name, value, text)
    if kind == "too_short" and path and path[-1] == "candidates":
        return describe(name, value, "must hold at least one candidate", "Silence is added by the service.")
    if kind == "too_short":
        return describe(name, value, f"must hold at least {context.get('min_length')}")
    if kind == "too_long":
        return describe(f"len({name})", context.get("actual_length"), f"must be at most {context.get('max_length')}")
    if kind == "string_too_long":
        return describe(f"len({name})", len(str(value)), f"must be at most {context.get('max_length')}")
    return describe(name, value, _BOUNDS.get(kind) or item["msg"].replace("Input should be", "must be"))


def _nearest(name: str, known: list[str]) -> str:
    message = str(unknown_name("key", name, known))
    return message[message.index("Did you mean") :] if "Did you mean" in message else ""


def _dotted(path: list[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text or "body"


def _at(data: Any, path: list[Any]) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _model_at(model: type[BaseModel], path: list[Any]) -> type[BaseModel]:
    """The model at a path: `candidates`, 0 → Candidate."""
    for part in path:
        if isinstance(part, str):
            found: Any = model.model_fields[part].annotation
            model = next(item for item in (found, *get_args(found)) if isinstance(item, type))
    return model
