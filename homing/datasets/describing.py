"""`describe`: what a data set is, and what one copy of it holds."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homing.datasets.registry import card, check_options, load, objectives
from homing.log import DecisionLog
from homing.log.ragged import Ragged, as_mask

_COLUMNS = ["user_id", "decided_at", "candidates", "eligible", "action", "propensity"]


@dataclass(frozen=True)
class Counts:
    """What one log holds.

    Attributes:
        decisions: rows.
        users: distinct users.
        outcomes: rows.
        outcomes_by_kind: of each kind, how many.
        chosen: of each message (silence included), how often it was chosen.
        choices: decisions with more than one eligible candidate.
        max_candidates: most candidates of a decision, silence included.
        min_propensity: smallest probability with which a chosen candidate was chosen.
        max_propensity: largest.
        first: earliest decision, ISO 8601 in UTC.
        last: latest decision.
    """

    decisions: int
    users: int
    outcomes: int
    outcomes_by_kind: dict[str, int]
    chosen: dict[str, int]
    choices: int
    max_candidates: int
    min_propensity: float | None
    max_propensity: float | None
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Description:
    """A data set's card with the counts of one copy.

    Attributes:
        name: how it is loaded.
        title: one line.
        source: where people get it.
        licence: under which terms.
        randomisation: how actions were chosen.
        caveats: what not to conclude.
        objectives: what decisions are judged on.
        counts: of the copy that was read; None where none was given.
    """

    name: str
    title: str
    source: str
    licence: str
    randomisation: str
    caveats: tuple[str, ...]
    objectives: tuple[str, ...]
    counts: Counts | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "caveats": list(self.caveats), "objectives": list(self.objectives)}

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}", ""]
        for label in ("source", "licence", "randomisation"):
            lines += _paragraph(f"{label}: ", getattr(self, label))
        lines += ["caveats:"]
        for caveat in self.caveats:
            lines += _paragraph("  - ", caveat)
        lines += _paragraph("objectives: ", ", ".join(self.objectives))
        if self.counts is None:
            return "\n".join([*lines, "counts: none, no copy was read; pass the path of yours"])
        c = self.counts
        lines += [
            f"decisions: {c.decisions:,} of {c.users:,} users, {c.choices:,} with a choice, "
            f"at most {c.max_candidates} candidates",
            f"time: {c.first} to {c.last}",
            f"propensity of what was chosen: {_number(c.min_propensity)} to {_number(c.max_propensity)}",
        ]
        lines += _paragraph("chosen: ", _listed(c.chosen))
        lines += _paragraph(f"outcomes: {c.outcomes:,}: ", _listed(c.outcomes_by_kind))
        return "\n".join(lines)


def describe(name: str, path: str | Path | None = None, *, counted: bool = True, **options: object) -> Description:
    """Describe a data set; with a path (or where it can be fetched), count what is in it.

    Args:
        name: one of `names()`.
        path: your copy; None to describe without counts, where the data cannot be fetched.
        counted: whether to count what is in it at all.
        options: of that data set, see `load`.

    Example:
        >>> description = describe("hillstrom")
        >>> description.counts is None, description.objectives
        (True, ('visit', 'conversion', 'spend'))
        >>> print(description)
        hillstrom: Hillstrom MineThatData e-mail challenge: men's e-mail, women's e-mail or silence
        ...
    """
    about = card(name)
    check_options(name, options)
    there = counted and (path is not None or not about.needs_path)
    counts = count(load(name, path, **options)) if there else None
    return Description(
        name=about.name,
        title=about.title,
        source=about.source,
        licence=about.licence,
        randomisation=about.randomisation,
        caveats=about.caveats,
        objectives=tuple(objectives(name).names),
        counts=counts,
    )


def count(log: DecisionLog) -> Counts:
    """Count a log, batch by batch: memory does not grow with the number of decisions, only with that of users."""
    users: set[str] = set()
    chosen: dict[str, int] = {}
    decisions = choices = widest = 0
    lows: list[Any] = []
    highs: list[Any] = []
    firsts: list[Any] = []
    lasts: list[Any] = []
    for batch in log.decision_batches(columns=_COLUMNS):
        decisions += batch.num_rows
        users.update(pc.unique(batch["user_id"]).to_pylist())
        for name, n in _chosen(batch).items():
            chosen[name] = chosen.get(name, 0) + n
        eligible = Ragged(batch["eligible"])
        choices += int((eligible.sums(as_mask(eligible.values).astype(np.float64)) > 1).sum())
        widest = max(widest, int(pc.max(pc.list_value_length(batch["candidates"])).as_py()))
        for column, low, high in (("propensity", lows, highs), ("decided_at", firsts, lasts)):
            ends = pc.min_max(batch[column])
            low.append(ends["min"].as_py())
            high.append(ends["max"].as_py())
    kinds: dict[str, int] = {}
    for batch in log.outcome_batches(columns=["kind"]):
        for item in pc.value_counts(batch["kind"]).to_pylist():
            kinds[item["values"]] = kinds.get(item["values"], 0) + item["counts"]
    return Counts(
        decisions=decisions,
        users=len(users),
        outcomes=sum(kinds.values()),
        outcomes_by_kind=dict(sorted(kinds.items())),
        chosen=dict(sorted(chosen.items(), key=lambda item: (-item[1], item[0]))),
        choices=choices,
        max_candidates=widest,
        min_propensity=_extreme(lows, min),
        max_propensity=_extreme(highs, max),
        first=_moment(_extreme(firsts, min)),
        last=_moment(_extreme(lasts, max)),
    )


def _chosen(batch: pa.RecordBatch) -> dict[str, int]:
    """How often each message was chosen; an action outside the candidates counts for none."""
    candidates = batch["candidates"]
    counts = pc.fill_null(pc.list_value_length(candidates), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    action = pc.fill_null(batch["action"], -1).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(counts) - counts
    good = (action >= 0) & (action < counts)
    messages = candidates.flatten().field("message_id").take(pa.array((starts + action)[good]))
    return {item["values"]: item["counts"] for item in pc.value_counts(messages).to_pylist()}


def _extreme(values: list[Any], pick: Any) -> Any:
    present = [value for value in values if value is not None]
    return pick(present) if present else None


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="seconds")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _listed(counts: dict[str, int], most: int = 12) -> str:
    shown = [f"{name} {n:,}" for name, n in list(counts.items())[:most]]
    rest = len(counts) - most
    return ", ".join([*shown, f"and {rest} more"] if rest > 0 else shown) or "none"


def _paragraph(label: str, text: str) -> list[str]:
    indent = " " * (4 if label.startswith("  ") else 2)
    return textwrap.wrap(
        label + text, width=110, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
