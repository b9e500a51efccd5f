"""Guards: what may be sent to this user now. They mask candidates; they are never a penalty.

Guards run inside the ledger's transaction, before the draw, so what they rule out has propensity 0 and the
logged propensity is that of the draw actually made. Silence is never masked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol, runtime_checkable

from homing.checks import check_positive
from homing.decisions.ledger import ConsentState, LedgerView
from homing.decisions.requests import EVERY_CHANNEL, Candidate, DecideRequest, zone
from homing.decisions.slices import Slices
from homing.errors import InvalidInputError, describe

#: How the reason begins when consent is not known at all (rather than refused).
NO_CONSENT = "no consent"


@runtime_checkable
class Guard(Protocol):
    """Says for each candidate why it may not be sent, or None.

    Example:
        >>> class NoPush:
        ...     name = "no_push"
        ...     def mask(self, request, candidates, ledger, now):
        ...         return ["push is off" if c.channel == "push" else None for c in candidates]
        >>> NoPush().mask(None, [Candidate(message_id="m", channel="push")], None, None)
        ['push is off']
    """

    @property
    def name(self) -> str:
        """Stands in receipts and metrics."""
        ...

    def mask(
        self, request: DecideRequest, candidates: Sequence[Candidate], ledger: LedgerView, now: datetime
    ) -> Sequence[str | None]:
        """One reason or None for each of `candidates` (silence is not among them).

        Args:
            request: the whole request.
            candidates: (k - 1,) those that could be sent.
            ledger: answers within the decision's transaction.
            now: UTC, the time of the decision.
        """
        ...


@dataclass(frozen=True)
class ConsentGuard:
    """Nothing on a channel without consent: in the request, or on record.

    A refusal wins, wherever it stands: a request's `true` does not undo a withdrawal on record (an unsubscribe,
    say); a later consent on record does. With neither, the channel is refused.

    Attributes:
        exempt: channels that need no consent, such as a slot on a page that the user opened.
    """

    exempt: frozenset[str] = frozenset()
    name: str = "consent"

    def mask(
        self, request: DecideRequest, candidates: Sequence[Candidate], ledger: LedgerView, now: datetime
    ) -> list[str | None]:
        record = ledger.consents(request.user_id)
        reasons = {channel: self._reason(channel, request, record) for channel in {c.channel for c in candidates}}
        return [reasons[c.channel] for c in candidates]

    def _reason(self, channel: str, request: DecideRequest, record: Mapping[str, ConsentState]) -> str | None:
        if channel in self.exempt:
            return None
        states = [record[key] for key in (channel, EVERY_CHANNEL) if key in record]
        # The later statement holds; of two at the same moment, the refusal.
        last = max(states, key=lambda state: (state.changed_at, not state.allowed), default=None)
        if last is not None and not last.allowed:
            return f"consent for {channel} was withdrawn at {last.changed_at.isoformat()} ({last.source})"
        said = request.consent or {}
        sent = [said[key] for key in (channel, EVERY_CHANNEL) if key in said]
        if not all(sent):
            return f"the request says that {channel} is not allowed"
        if not sent and last is None:
            return f"{NO_CONSENT} for {channel}: none in the request and none on record"
        return None


@dataclass(frozen=True)
class QuietHoursGuard:
    """No message while it is between `start` and `end` on the user's own clock, half-open; may wrap midnight.

    The user's clock at an instant is never ambiguous, so daylight-saving gaps and folds need no rule: an hour that
    the clock shows twice is quiet twice.

    >>> guard = QuietHoursGuard(time(22), time(8))
    >>> guard.is_quiet(datetime.fromisoformat("2026-11-23T21:30+00:00"), "Europe/Berlin")
    True

    Attributes:
        channels: only these; None for all.
    """

    start: time
    end: time
    channels: frozenset[str] | None = None
    name: str = "quiet_hours"

    def __post_init__(self) -> None:
        if self.start == self.end:
            text = f"{self.start:%H:%M}-{self.end:%H:%M}"
            raise InvalidInputError(
                describe("quiet_hours", text, "must not start when they end", "Leave them out, or name two times.")
            )

    def is_quiet(self, at: datetime, time_zone: str) -> bool:
        """Whether the instant `at` is in quiet hours there."""
        local = at.astimezone(zone(time_zone)).time()
        if self.start < self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end

    def mask(
        self, request: DecideRequest, candidates: Sequence[Candidate], ledger: LedgerView, now: datetime
    ) -> list[str | None]:
        if not self.is_quiet(now, request.time_zone):
            return [None] * len(candidates)
        local = now.astimezone(zone(request.time_zone))
        reason = f"{local:%H:%M} in {request.time_zone} is within {self.start:%H:%M}-{self.end:%H:%M}"
        return [reason if _on(c.channel, self.channels) else None for c in candidates]


@dataclass(frozen=True)
class FrequencyCapGuard:
    """At most `max_messages` in any rolling window of `window_hours`; silences do not count.

    Counts what was decided within the window *or later*: a clock that was set back never frees a slot.

    Attributes:
        channels: counts and limits only these; None for all.
    """

    max_messages: int
    window_hours: float
    channels: frozenset[str] | None = None
    name: str = "frequency_cap"

    def __post_init__(self) -> None:
        if not isinstance(self.max_messages, int) or isinstance(self.max_messages, bool) or self.max_messages < 1:
            bound = "must be a whole number >= 1"
            raise InvalidInputError(
                describe("max_messages", self.max_messages, bound, "To send nothing, use the holdout.")
            )
        check_positive("window_hours", self.window_hours)

    def mask(
        self, request: DecideRequest, candidates: Sequence[Candidate], ledger: LedgerView, now: datetime
    ) -> list[str | None]:
        since = now - timedelta(hours=self.window_hours)
        sent = ledger.sends(request.user_id, since=since, channels=self.channels)
        if sent < self.max_messages:
            return [None] * len(candidates)
        where = "" if self.channels is None else f" on {', '.join(sorted(self.channels))}"
        reason = f"{sent} messages in {self.window_hours:g} h{where}, at most {self.max_messages}"
        return [reason if _on(c.channel, self.channels) else None for c in candidates]


@dataclass(frozen=True)
class ExpiryGuard:
    """Nothing at or after its `expires_at`."""

    name: str = "expiry"

    def mask(
        self, request: DecideRequest, candidates: Sequence[Candidate], ledger: LedgerView, now: datetime
    ) -> list[str | None]:
        return [
            f"expired at {c.expires_at.isoformat()}" if c.expires_at is not None and c.expires_at <= now else None
            for c in candidates
        ]


@dataclass(frozen=True)
class HoldoutGuard:
    """Nothing at all for users of the global holdout."""

    slices: Slices
    name: str = "holdout"

    def mask(
        self, request: DecideRequest, candidates: Sequence[Candidate], ledger: LedgerView, now: datetime
    ) -> list[str | None]:
        held = self.slices.slice_of(request.user_id) == "holdout"
        return ["the user is in the holdout"] * len(candidates) if held else [None] * len(candidates)


def _on(channel: str, channels: Collection[str] | None) -> bool:
    return channels is None or channel in channels
