"""The contract of format 1, rule by rule: each says which rows of a batch break it, over whole columns.

Rules stand in the order in which they are judged: a row is counted under the first that it breaks, and a rule may
rely on the ones before it only by being harmless on rows that broke them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from homing.errors import describe
from homing.log.ragged import Mask, Ragged, as_floats, as_mask, blank, not_finite
from homing.log.schema import CANDIDATE_NAMES, CUSTOM_KIND, SILENCE, SLICES, STANDARD_KINDS, unknown_kind

#: Logged probabilities must sum to 1, and agree with the propensity, up to this (32-bit floats do).
TOLERANCE = 1e-6
#: Times outside are taken for a unit mistaken for another (seconds read as microseconds …).
EARLIEST, LATEST = "1970-01-01", "2200-01-01"


class Columns:
    """One batch of a table, with what several rules need computed once."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch

    def __getitem__(self, name: str) -> pa.Array:
        return self.batch.column(name)

    @cached_property
    def candidates(self) -> Ragged:
        return Ragged(self["candidates"])

    @cached_property
    def fields(self) -> dict[str, pa.Array]:
        """Flat fields of all candidates, (N,) each."""
        values = self.candidates.values
        return dict(zip((field.name for field in values.type), values.flatten(), strict=True))

    @cached_property
    def first(self) -> Mask:
        """Which of the flat candidates are candidate 0, (N,)."""
        out = np.zeros(len(self.candidates.values), dtype=bool)
        out[self.candidates.starts[self.candidates.lengths > 0]] = True
        return out

    @cached_property
    def eligible(self) -> Ragged:
        return Ragged(self["eligible"])

    @cached_property
    def propensities(self) -> Ragged:
        return Ragged(self["propensities"])

    @cached_property
    def action(self) -> NDArray[np.int64]:
        """The chosen index, -1 where it is null, (n,)."""
        out: NDArray[np.int64] = pc.fill_null(self["action"].cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
        return out

    @cached_property
    def propensity(self) -> NDArray[np.float64]:
        return as_floats(self["propensity"])

    def items(self, row: int) -> list[dict[str, object] | None]:
        """The candidates of one row for a message; without `expires_at`, which no Python date may be able to hold."""
        values = self["candidates"][row].values
        names = [field.name for field in values.type if field.name != "expires_at"]
        items = zip(*(values.field(name).to_pylist() for name in names), strict=True)
        valid = values.is_valid().to_pylist()
        return [
            dict(zip(names, item, strict=True)) if is_item else None for is_item, item in zip(valid, items, strict=True)
        ]


@dataclass(frozen=True)
class Rule:
    """One rule of the contract.

    Attributes:
        column: what it is about, for example `propensity`.
        bound: what must hold.
        next_step: what a person can do about a row that breaks it.
        broken: rows of a batch that break it, bool (n,).
        value: the offending value of one row, for its message; the column's value when None.
    """

    column: str
    bound: str
    next_step: str
    broken: Callable[[Columns], Mask]
    value: Callable[[Columns, int], object] | None = None

    @property
    def reason(self) -> str:
        """The sentence under which rows are counted."""
        return f"{self.column} {self.bound}"

    def message(self, columns: Columns, row: int) -> str:
        """The project's error message for one row."""
        value = columns[self.column][row].as_py() if self.value is None else self.value(columns, row)
        if self.column == "kind" and isinstance(value, str):
            return str(unknown_kind(value))
        return describe(self.column, value, self.bound, self.next_step)


def _time(column: str) -> Rule:
    def broken(c: Columns) -> Mask:
        # Null is broken too: a comparison with null is null, and null is not "inside".
        low, high = (pa.scalar(day).cast(pa.timestamp("us")).cast(c[column].type) for day in (EARLIEST, LATEST))
        return ~as_mask(pc.and_(pc.greater_equal(c[column], low), pc.less(c[column], high)))

    step = "Check the unit (seconds, milliseconds and microseconds are easily mixed up) and the time zone."
    return Rule(
        column, f"must be a time in [{EARLIEST}, {LATEST})", step, broken, lambda c, row: _moment(c[column][row])
    )


def _moment(time: pa.TimestampScalar) -> str:
    try:
        return str(time)
    except (OverflowError, ValueError):  # beyond the years 1 to 9999 that Python has
        return f"{time.value:,} µs after 1970"


def _text(column: str, step: str) -> Rule:
    return Rule(column, "must not be null or empty", step, lambda c: blank(c[column]))


def _context_finite(c: Columns) -> Mask:
    out = np.zeros(len(c.batch), dtype=bool)
    for field, values in zip(c["context"].type, c["context"].flatten(), strict=True):
        if pa.types.is_floating(field.type):
            out |= not_finite(values)
    return out


def _context_value(c: Columns, row: int) -> object:
    found: dict[str, float] = c["context"][row].as_py()
    return {name: value for name, value in found.items() if isinstance(value, float) and not np.isfinite(value)}


def _candidate_names(c: Columns) -> Mask:
    broken = as_mask(c.candidates.values.is_null())
    for name in CANDIDATE_NAMES:
        broken |= blank(c.fields[name])
    return c.candidates.any(broken)


def _candidate_numbers(c: Columns) -> Mask:
    broken = as_mask(c.fields["value"].is_null())
    for values in c.fields.values():
        if pa.types.is_floating(values.type):
            broken |= not_finite(values)
    return c.candidates.any(broken)


def _broken_candidate(c: Columns, row: int) -> object:
    """The first candidate of a row that has a blank name or a number that is missing or not finite."""
    for index, item in enumerate(c.items(row)):
        if item is None:
            return f"candidate {index} is null"
        for name, value in item.items():
            number = isinstance(value, float) and not np.isfinite(value)
            if number or (name in CANDIDATE_NAMES and not value) or (name == "value" and value is None):
                return f"candidate {index}: {name} = {value!r}"
    return None


def _silence_first(c: Columns) -> Mask:
    broken = c.first.copy()
    is_silence = c.first & (as_floats(c.fields["value"]) == 0.0)
    for name in CANDIDATE_NAMES:
        is_silence &= as_mask(pc.equal(c.fields[name], SILENCE))
    return c.candidates.any(broken & ~is_silence)


def _silence_once(c: Columns) -> Mask:
    return c.candidates.any(as_mask(pc.equal(c.fields["message_id"], SILENCE)) & ~c.first)


def _first_candidate(c: Columns, row: int) -> object:
    item = c.items(row)[0]
    assert item is not None  # the rule before this one
    return {name: item[name] for name in (*CANDIDATE_NAMES, "value")}


def _lengths_differ(name: str) -> Callable[[Columns], Mask]:
    def broken(c: Columns) -> Mask:
        lists = c.eligible if name == "eligible" else c.propensities
        differ: Mask = lists.lengths != c.candidates.lengths
        return differ & ~lists.null if name == "propensities" else differ

    return broken


def _chosen_ineligible(c: Columns) -> Mask:
    return ~c.eligible.at(as_mask(c.eligible.values), c.action, False).astype(bool)


def _range(c: Columns, row: int) -> str:
    return f"{c['action'][row].as_py()} of {c.candidates.lengths[row]} candidates"


def _shares_broken(c: Columns) -> Mask:
    values = as_floats(c.propensities.values)
    return c.propensities.any(~((values >= 0.0) & (values <= 1.0)))


def _share_of_ineligible(c: Columns) -> Mask:
    same = c.propensities.lengths == c.eligible.lengths
    positive = as_floats(c.propensities.values) > 0.0
    # Flat positions line up where the lengths agree; the eligibility of row i, value j stands at starts[i] + j.
    place = np.arange(len(positive)) - c.propensities.starts[c.propensities.row] + c.eligible.starts[c.propensities.row]
    allowed = as_mask(c.eligible.values)
    known = same[c.propensities.row]
    out = np.zeros(len(positive), dtype=bool)
    out[known] = positive[known] & ~allowed[place[known]]
    return c.propensities.any(out)


def _sum_not_one(c: Columns) -> Mask:
    sums = c.propensities.sums(as_floats(c.propensities.values))
    off: Mask = np.abs(sums - 1.0) > TOLERANCE
    return ~c.propensities.null & off


def _disagrees(c: Columns) -> Mask:
    chosen = c.propensities.at(as_floats(c.propensities.values), c.action, np.nan).astype(np.float64)
    differs: Mask = np.abs(chosen - c.propensity) > TOLERANCE * c.propensity
    return ~c.propensities.null & differs


def _pair(c: Columns, row: int) -> str:
    shares, action = c["propensities"][row].as_py(), c.action[row]
    return f"{c['propensity'][row].as_py()}, propensities[{action}] = {shares[action]}"


def _sum_value(c: Columns, row: int) -> str:
    return f"sums to {sum(c['propensities'][row].as_py())!r}"


_SHARE = "Log the probability with which the action was chosen."
_AS_MANY = "Log one entry for each candidate, silence included."

DECISION_RULES: tuple[Rule, ...] = (
    _text("decision_id", "Give every decision its own id (homing.log.new_id)."),
    _text("user_id", "Log whom the decision was about; a pseudonym is enough."),
    _time("decided_at"),
    Rule(
        "policy",
        "must be name@version",
        "Name what chose, for example 'rules@2024-05'.",
        lambda c: ~as_mask(pc.match_substring_regex(c["policy"], r"^[^@]+@[^@]+$")),
    ),
    Rule("context", "must not be null", "Single features may be null.", lambda c: as_mask(c["context"].is_null())),
    Rule("context", "must be finite", "Log null where a feature is missing.", _context_finite, _context_value),
    Rule(
        "candidates",
        "must hold at least silence",
        "Log all that could have been sent, silence first.",
        lambda c: c.candidates.lengths == 0,
    ),
    Rule(
        "candidates",
        "must have no blank message_id, campaign, domain, channel or slot",
        "Write 'none' where there is none.",
        _candidate_names,
        _broken_candidate,
    ),
    Rule(
        "candidates",
        "must have finite numbers and a value",
        "Extra features may be null, value may not: 0.0 says that no value is known.",
        _candidate_numbers,
        _broken_candidate,
    ),
    Rule(
        "candidates",
        "must begin with silence",
        "Candidate 0 has 'silence' as message_id, campaign, domain, channel and slot, and value 0.0.",
        _silence_first,
        _first_candidate,
    ),
    Rule(
        "candidates",
        "must hold silence once",
        "Silence is candidate 0 and no other.",
        _silence_once,
        lambda c, row: [item and item["message_id"] for item in c.items(row)],
    ),
    Rule(
        "eligible",
        "must be as long as candidates",
        _AS_MANY,
        _lengths_differ("eligible"),
        lambda c, row: f"{c.eligible.lengths[row]} entries for {c.candidates.lengths[row]} candidates",
    ),
    Rule(
        "eligible",
        "must not hold null",
        "Log true or false: the mask as it stood when the action was drawn.",
        lambda c: c.eligible.any(as_mask(c.eligible.values.is_null())),
    ),
    Rule(
        "action",
        "must be an index into candidates",
        "Count from 0; 0 is silence.",
        lambda c: (c.action < 0) | (c.action >= c.candidates.lengths),
        _range,
    ),
    Rule(
        "action",
        "must be eligible",
        "Log the eligibility mask as it stood when the action was drawn.",
        _chosen_ineligible,
    ),
    Rule("propensity", "must be in (0, 1]", _SHARE, lambda c: ~((c.propensity > 0.0) & (c.propensity <= 1.0))),
    Rule(
        "propensities",
        "must be as long as candidates",
        _AS_MANY,
        _lengths_differ("propensities"),
        lambda c, row: f"{c.propensities.lengths[row]} entries for {c.candidates.lengths[row]} candidates",
    ),
    Rule("propensities", "must be in [0, 1]", _SHARE, _shares_broken),
    Rule("propensities", "must be 0 where not eligible", "A masked candidate cannot be drawn.", _share_of_ineligible),
    Rule("propensities", "must sum to 1", "Log the whole distribution, or null.", _sum_not_one, _sum_value),
    Rule("propensity", "must equal propensities at the action", _SHARE, _disagrees, _pair),
    Rule(
        "explored",
        "must not be null",
        "Log true where chance chose something else than the policy's best.",
        lambda c: as_mask(c["explored"].is_null()),
    ),
    Rule(
        "slice",
        "must be one of " + ", ".join(repr(name) for name in SLICES),
        "A log without a uniform slice or a holdout says 'policy'.",
        lambda c: ~as_mask(pc.is_in(c["slice"], value_set=pa.array(SLICES))),
    ),
)

#: Judged after all others, because it looks back at the rows that were accepted.
DUPLICATE = Rule(
    "decision_id",
    "must be unique",
    "A decision is logged once; the first row with this id is the one that counts.",
    lambda c: np.zeros(len(c.batch), dtype=bool),
)

OUTCOME_RULES: tuple[Rule, ...] = (
    _text("outcome_id", "Give every outcome its own id: it is what makes a repeated delivery harmless."),
    Rule(
        "decision_id",
        "must not be empty",
        "Write null where the decision is not known.",
        lambda c: as_mask(pc.equal(c["decision_id"], "")),
    ),
    _text("user_id", "Log whose outcome it is; a pseudonym is enough."),
    Rule(
        "kind",
        "must be a standard kind or custom:<lower_snake>",
        "Standard kinds are " + ", ".join(STANDARD_KINDS) + ".",
        lambda c: (
            ~(
                as_mask(pc.is_in(c["kind"], value_set=pa.array(STANDARD_KINDS)))
                | as_mask(pc.match_substring_regex(c["kind"], CUSTOM_KIND))
            )
        ),
    ),
    _time("occurred_at"),
    Rule(
        "value",
        "must be a finite number",
        "Log 1.0 where an outcome only happens, without an amount.",
        lambda c: ~np.isfinite(as_floats(c["value"])),
    ),
)
