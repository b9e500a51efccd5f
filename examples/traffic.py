"""Traffic for the closed loop: held-back decisions as HTTP requests, and outcomes from donors.

A held-back user's context and candidates are real. What the served policy sends them is new, so what would have
happened is not in the data: the outcome is taken from a donor, a held-back decision that truly received that message,
drawn at random among the nearest in context (a nearest-neighbour hot deck). So rewards are real but semi-synthetic.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import HomingError, describe
from homing.log import CANDIDATE_FIELDS, SILENCE, DecisionLog, FeatureEncoder

#: Donors to draw from: the nearest in context among those that received the message.
NEAREST = 10
#: Requests under way at once.
CONCURRENCY = 8
#: Outcomes in one call, and the share of them that is sent a second time.
OUTCOMES_PER_CALL, SENT_TWICE = 50, 0.1
#: Kinds that would withdraw consent: none are sent, so that the story's length does not change its traffic.
WITHHELD = ("unsubscribed", "disabled")


class TrafficError(HomingError, RuntimeError):
    """The service refused what the story sent."""


@dataclass
class Sent:
    """What was sent and answered so far."""

    decisions: int = 0
    silences: int = 0
    outcomes: int = 0
    outcomes_sent_twice: int = 0
    without_donor: int = 0
    seconds: float = 0.0
    messages: Counter[str] = field(default_factory=Counter)


class HeldBack:
    """Held-back decisions: their requests, and the outcomes of the messages that they truly received.

    Args:
        log: the held-back users' decisions and outcomes; rows with a NaN or without candidates must not be in it.
        encoder: turns contexts into vectors, for nearness.

    Raises:
        TrafficError: if there is none.
    """

    def __init__(self, log: DecisionLog, encoder: FeatureEncoder) -> None:
        # A decision that offers silence alone is no question to ask.
        self.rows = [row for row in log.decisions().to_pylist() if len(row["candidates"]) > 1]
        if not self.rows:
            raise TrafficError(describe("held-back decisions", 0, "must be at least 1", "Hold back a larger share."))
        self.users = len({row["user_id"] for row in self.rows})
        self._vectors = encoder.encode_context([row["context"] for row in self.rows])
        outcomes: dict[str, list[dict[str, Any]]] = {}
        for outcome in log.outcomes().to_pylist():
            if outcome["decision_id"] is not None and outcome["kind"] not in WITHHELD:
                outcomes.setdefault(outcome["decision_id"], []).append(outcome)
        self._outcomes = [
            sorted(outcomes.get(row["decision_id"], []), key=lambda item: item["occurred_at"]) for row in self.rows
        ]
        received: dict[str, list[int]] = {}
        for i, row in enumerate(self.rows):
            received.setdefault(row["candidates"][row["action"]]["message_id"], []).append(i)
        self._received = {message: np.array(rows) for message, rows in received.items()}

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """n rows, each at most once more often than any other."""
        laps = [rng.permutation(len(self.rows)) for _ in range(-(-n // len(self.rows)))]
        return np.concatenate(laps)[:n]

    def shifted(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], str]:
        """n rows drawn so that one context feature's mix changes, and the sentence that says how."""
        for name in self.rows[0]["context"]:
            values = [row["context"][name] for row in self.rows]
            known = [value for value in values if value is not None]
            if len(set(known)) < 2:
                continue
            if isinstance(known[0], str | bool):
                level = (
                    Counter(known).most_common()[-1][0] if len(set(known)) == 2 else Counter(known).most_common()[0][0]
                )
                chosen, what = np.array([value == level for value in values]), f"{name} = {level!r}"
            else:
                middle = float(np.median([float(value) for value in known]))
                chosen = np.array([value is not None and float(value) > middle for value in values])
                what = f"{name} > {middle:.4g}"
            share = float(chosen.mean())
            if not 0.05 < share < 0.7:
                continue
            target = (1 + 2 * share) / 3  # two thirds of the way towards everybody
            weights = np.where(chosen, target / chosen.sum(), (1 - target) / (~chosen).sum())
            rows = rng.choice(len(self.rows), n, p=weights / weights.sum())
            return rows, f"{what} for {share:.0%} → {chosen[rows].mean():.0%} of the decisions"
        return self.sample(n, rng), "no context feature could be shifted"

    def request(self, i: int, *, value_added: float = 0.0) -> dict[str, Any]:
        """The body of a decide request: what was not eligible then has no consent, or is expired, now; what was to
        expire has as much time left as it had.
        """
        row = self.rows[i]
        offered = list(zip(row["candidates"], row["eligible"], strict=True))[1:]
        consent = {item["channel"]: False for item, _ in offered}
        for item, eligible in offered:
            consent[item["channel"]] |= bool(eligible)
        candidates = []
        for item, eligible in offered:
            one: dict[str, Any] = {name: item[name] for name in CANDIDATE_FIELDS if name not in ("expires_at", "value")}
            one["value"] = item["value"] + value_added
            one["features"] = {k: v for k, v in item.items() if k not in CANDIDATE_FIELDS and v is not None}
            if not eligible and consent[item["channel"]]:
                one["expires_at"] = "2000-01-01T00:00:00Z"
            elif item["expires_at"] is not None:
                one["expires_at"] = (datetime.now(UTC) + (item["expires_at"] - row["decided_at"])).isoformat()
            candidates.append(one)
        context = {name: value for name, value in row["context"].items() if value is not None}
        return {"user_id": row["user_id"], "context": context, "candidates": candidates, "consent": consent}

    def outcomes(
        self, i: int, message: str, decision: Mapping[str, Any], rng: np.random.Generator
    ) -> list[dict[str, Any]] | None:
        """What a donor of the message did, as outcomes of this decision; None without a donor."""
        donors = self._received.get(message)
        if donors is None:
            return None
        distance = ((self._vectors[donors] - self._vectors[i]) ** 2).sum(axis=1)
        nearest = donors[np.argsort(distance, kind="stable")[:NEAREST]]
        donor = int(rng.choice(nearest))
        decided_at = datetime.fromisoformat(decision["decided_at"])
        return [
            {
                "outcome_id": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                "decision_id": decision["decision_id"],
                "user_id": decision["user_id"],
                "kind": outcome["kind"],
                # Milliseconds stand for the days that the donor took: an event cannot lie in the future.
                "occurred_at": (decided_at + timedelta(milliseconds=1 + step)).isoformat(),
                "value": outcome["value"],
            }
            for step, outcome in enumerate(self._outcomes[donor])
        ]


async def send(
    url: str,
    held_back: HeldBack,
    rows: Sequence[int] | NDArray[np.int64],
    rng: np.random.Generator,
    sent: Sent,
    *,
    value_added: float = 0.0,
) -> None:
    """Ask for a decision for each row and report its outcomes: shuffled, and some of them twice.

    Raises:
        TrafficError: on any answer but 200.
    """
    import httpx

    outcomes: list[dict[str, Any]] = []
    limit = asyncio.Semaphore(CONCURRENCY)
    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:

        async def post(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            async with limit:
                answer = await client.post(path, json=body)
            if answer.status_code != 200:
                raise TrafficError(f"POST {path} answered {answer.status_code}: {answer.text[:300]}")
            return dict(answer.json())

        async def decide(i: int) -> None:
            decision = await post("/v1/decide", held_back.request(i, value_added=value_added))
            message = message_of(decision)
            sent.decisions += 1
            sent.silences += message == SILENCE
            sent.messages[message] += 1
            found = held_back.outcomes(i, message, decision, rng)
            sent.without_donor += found is None
            outcomes.extend(found or [])

        async with asyncio.TaskGroup() as group:
            for i in rows:
                group.create_task(decide(int(i)))
        # At least one, so that also a story with few outcomes shows that the copy is not counted.
        again = [item for i, item in enumerate(outcomes) if rng.random() < SENT_TWICE or i == 0]
        queue = [*outcomes, *again]
        order = rng.permutation(len(queue))
        async with asyncio.TaskGroup() as group:
            for part in chunks(order, OUTCOMES_PER_CALL):
                group.create_task(post("/v1/outcomes", {"outcomes": [queue[int(j)] for j in part]}))
    sent.outcomes += len(outcomes)
    sent.outcomes_sent_twice += len(again)


def message_of(decision: Mapping[str, Any]) -> str:
    """The message that a decide answer chose."""
    chosen = decision["candidates"][decision["action"]]
    return str(chosen["message_id"])


def chunks(items: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
