"""The support map: for every message in every segment, what a policy would send, what was sent, and what that tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_shape
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.segments import (
    CAUTION_ESS,
    CAUTION_UNSUPPORTED,
    REFUSE_ESS,
    REFUSE_UNSUPPORTED,
    context_segments,
)
from homing.ope.diagnostics.verdict import Verdict
from homing.ope.messages import Messages
from homing.ope.table import check_action_probs

FloatArray = NDArray[np.float64]
#: A map is for the eye: what is beyond these is joined into one.
MAX_SEGMENTS, MAX_MESSAGES = 6, 12
#: Rows that the feature is chosen on, and features that are tried.
ROWS_TRIED, FEATURES_TRIED = 20_000, 40
OTHERS = "(others)"


@dataclass(frozen=True, eq=False)
class Segments:
    """A partition of the rows that is small enough to be looked at.

    Attributes:
        feature: what it is by.
        names: of the segments, at most `MAX_SEGMENTS`; the smallest are joined.
        code: int64 (n,), the segment of each row.
    """

    feature: str
    names: tuple[str, ...]
    code: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: LoggedDataset, segments: str | ArrayLike) -> Segments:
        """By a context feature, or by one label for each row (n,).

        Raises:
            InvalidInputError: if labels do not fit the log.
            UnknownNameError: if there is no such feature.
        """
        if isinstance(segments, str):
            names, code = _joined(context_segments(dataset, segments), _column(dataset, segments))
            return cls(segments, names, code)
        step = "One label for each row of the log."
        return cls("segment", *_joined(check_shape("segments", segments, (dataset.n,), next_step=step).astype(str)))

    @classmethod
    def telling(cls, dataset: LoggedDataset, action_probs: FloatArray, messages: Messages) -> Segments:
        """By the context feature along which a policy departs most from the log: where it sends some users what others
        were sent, or what nobody of them was.

        The departure is the mean over segments of KL(policy's mix of messages ‖ log's mix), less what it is without
        segments and less what chance alone adds, (S - 1)(M - 1) / 2n. Found on a sample of the rows.

        Args:
            dataset: the log.
            action_probs: (n, k), the policy's probabilities on the log's decisions.
            messages: from `Messages.of(dataset)`.
        """
        names = (
            [f"context[{i}]" for i in range(dataset.context.shape[1])]
            if dataset.encoder is None
            else list(dict.fromkeys(column.split("=", 1)[0] for column in dataset.encoder.context_names))
        )
        some = np.arange(0, dataset.n, max(1, dataset.n // ROWS_TRIED))
        small, part = dataset.take(some), Messages(messages.names, messages.code[some])
        probs, chose = action_probs[some], np.zeros((len(some), dataset.k))
        chose[np.arange(len(some)), small.action] = 1.0
        one = np.zeros(len(some), np.int64)
        whole, whole_logged = (_by_segment(part, values, one, 1) for values in (probs, chose))
        used = int(((whole + whole_logged) > 0).sum())
        best, chosen = _departure(whole, whole_logged) + 1e-9, ""
        for name in names[:FEATURES_TRIED]:
            found = cls.of(small, name)
            count = len(found.names)
            mass, logged = (_by_segment(part, values, found.code, count) for values in (probs, chose))
            gain = _departure(mass, logged) - (count - 1) * (used - 1) / (2 * len(some))
            if gain > best:
                best, chosen = gain, name
        return cls.of(dataset, chosen) if chosen else cls("all rows", ("all rows",), np.zeros(dataset.n, np.int64))

    @property
    def labels(self) -> NDArray[np.str_] | None:
        """The name of each row's segment (n,); None where there is only one."""
        return np.asarray(self.names)[self.code] if len(self.names) > 1 else None


@dataclass(frozen=True)
class Cell:
    """One message in one segment.

    Attributes:
        message: its name.
        segment: its name.
        policy_share: share of the policy's choices in the segment.
        logged_share: share of the log's.
        logged: rows in which it was sent there.
        ess: effective sample size of the weights of these rows.
        verdict: `refuse` where the policy sends it and the log hardly ever did, `caution` where few rows tell.
    """

    message: str
    segment: str
    policy_share: float
    logged_share: float
    logged: int
    ess: float
    verdict: Verdict


@dataclass(frozen=True)
class SupportMap:
    """A policy's choices beside the log's, by message and segment.

    Attributes:
        policy: its name.
        feature: what the segments are of.
        messages: those that the policy sends most, first; the others joined.
        segments: the largest first; the others joined.
        rows: in each segment.
        cells: message by message, each with one cell a segment.
    """

    policy: str
    feature: str
    messages: tuple[str, ...]
    segments: tuple[str, ...]
    rows: tuple[int, ...]
    cells: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        kept = {name: list(getattr(self, name)) for name in ("messages", "segments", "rows")}
        return {"policy": self.policy, "feature": self.feature, **kept, "cells": [asdict(cell) for cell in self.cells]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SupportMap:
        """Read back what `to_dict` wrote."""
        kept = {name: tuple(data[name]) for name in ("messages", "segments", "rows")}
        return cls(data["policy"], data["feature"], **kept, cells=tuple(Cell(**item) for item in data["cells"]))


def support_map(
    dataset: LoggedDataset,
    action_probs: ArrayLike,
    *,
    policy: str = "policy",
    segments: Segments | str | ArrayLike | None = None,
    messages: Messages | None = None,
) -> SupportMap:
    """Hold a policy's choices against the log's, message by message and segment by segment.

    A cell's effective sample size is (Σw)² / Σw² over the rows of the segment in which the message was sent. The
    thresholds are those of `segment_support`: a cell that the log never made, or on fewer than 10 effective rows, is
    `refuse` where the policy puts more than 5% of the segment's choices there and `caution` where it puts more than
    0.1%; fewer than 50 effective rows are `caution`. A picture of where support is, wrong to use as a gate: it has many
    cells, and joins what is rare.

    Args:
        dataset: the log.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        policy: its name.
        segments: a context feature, or one label for each row (n,); by default `Segments.telling`.
        messages: from `Messages.of(dataset)`, to save time.

    Raises:
        InvalidInputError: if probabilities or labels do not fit the log.
        UnknownNameError: if there is no such feature.

    Example:
        >>> plan = np.repeat(["free", "pro"], 500)
        >>> action = np.where(plan == "pro", 0, np.arange(1000) % 2)  # "pro" was never sent anything
        >>> data = LoggedDataset(
        ...     context=np.zeros((1000, 1)), candidates=np.zeros((1000, 2, 1)), eligible=np.ones((1000, 2), bool),
        ...     action=action, propensity=np.where(plan == "pro", 1.0, 0.5), reward=np.zeros((1000, 1)),
        ...     objectives=("clicked",), user=np.arange(1000), time=np.arange(1000))
        >>> for cell in support_map(data, np.tile([0.2, 0.8], (1000, 1)), segments=plan).cells:
        ...     shares = f"{cell.policy_share:.0%} of the policy, {cell.logged_share:.0%} of the log"
        ...     print(f"{cell.message}, {cell.segment}: {shares}, {cell.ess:.0f} rows, {cell.verdict}")
        candidate 1, free: 80% of the policy, 50% of the log, 250 rows, fine
        candidate 1, pro: 80% of the policy, 0% of the log, 0 rows, refuse
        silence, free: 20% of the policy, 50% of the log, 250 rows, fine
        silence, pro: 20% of the policy, 100% of the log, 500 rows, fine
    """
    known = messages or Messages.of(dataset)
    probs = check_action_probs(dataset, action_probs)
    if isinstance(segments, Segments):
        parts = segments
    elif segments is None:
        parts = Segments.telling(dataset, probs, known)
    else:
        parts = Segments.of(dataset, segments)
    names, at = parts.names, parts.code
    rows = np.bincount(at, minlength=len(names))
    sent = _by_segment(known, probs, at, len(names))
    order = np.argsort(-sent.sum(axis=0), kind="stable")
    logged_message = known.code[np.arange(dataset.n), dataset.action]
    used = np.bincount(logged_message, minlength=len(known.names)) + sent.sum(axis=0) > 0
    order = order[used[order]]
    kept = order if len(order) <= MAX_MESSAGES else order[: MAX_MESSAGES - 1]
    group = np.full(len(known.names), len(kept))
    group[kept] = np.arange(len(kept))
    shown = [known.names[i] for i in kept] + ([OTHERS] if len(order) > len(kept) else [])
    weight = probs[np.arange(dataset.n), dataset.action] / dataset.propensity
    count = len(names)
    place = group[logged_message] * count + at
    size = (len(kept) + 1) * count
    logged, first, second = (np.bincount(place, weights=values, minlength=size) for values in (None, weight, weight**2))
    mass = np.zeros((len(kept) + 1, count))
    np.add.at(mass, group, sent.T)
    cells = []
    for i, message in enumerate(shown):
        for s, segment in enumerate(names):
            j = i * count + s
            ess = float(first[j] ** 2 / second[j]) if second[j] > 0 else 0.0
            share = float(mass[i, s] / rows[s])
            cells.append(
                Cell(message, segment, share, float(logged[j] / rows[s]), int(logged[j]), ess, _verdict(share, ess))
            )
    return SupportMap(policy, parts.feature, tuple(shown), names, tuple(int(n) for n in rows), tuple(cells))


def _verdict(share: float, ess: float) -> Verdict:
    if share <= CAUTION_UNSUPPORTED or ess >= CAUTION_ESS:
        return "fine"
    return "refuse" if ess < REFUSE_ESS and share > REFUSE_UNSUPPORTED else "caution"


def _by_segment(messages: Messages, probs: FloatArray, at: NDArray[np.int64], count: int) -> FloatArray:
    """The policy's mass (segments, messages)."""
    width = len(messages.names)
    cell = at[:, None] * width + np.maximum(messages.code, 0)
    found = np.bincount(cell.reshape(-1), weights=probs.reshape(-1), minlength=count * width)
    return np.asarray(found.reshape(count, width), dtype=np.float64)


def _column(dataset: LoggedDataset, feature: str) -> NDArray[np.floating] | None:
    """The values (n,) of a feature that is a number; None for others."""
    if dataset.encoder is None:
        names = [f"context[{i}]" for i in range(dataset.context.shape[1])]
    else:
        names = list(dataset.encoder.context_names)
    return dataset.context[:, names.index(feature)] if feature in names else None


def _joined(
    labels: NDArray[np.str_], value: NDArray[np.floating] | None = None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the largest segments by value, the others joined at the end, and each row's index."""
    names, at, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if value is not None:
        order = np.argsort(np.bincount(at.reshape(-1), weights=value) / counts, kind="stable")
        names, counts, at = names[order], counts[order], np.argsort(order)[at.reshape(-1)]
    if len(names) <= MAX_SEGMENTS:
        return tuple(str(name) for name in names), at.reshape(-1)
    kept = np.sort(np.argsort(-counts, kind="stable")[: MAX_SEGMENTS - 1])
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    return (*(str(names[i]) for i in kept), OTHERS), place[at.reshape(-1)]


def _departure(mass: FloatArray, logged: FloatArray) -> float:
    """Mean over segments of KL(policy ‖ log) in nats, from tables (segments, messages) of choices; half a choice more
    in each cell of the log keeps it finite."""
    rows = mass.sum(axis=1, keepdims=True)
    mine, theirs = mass / rows, (logged + 0.5) / (rows + 0.5 * mass.shape[1])
    size = np.where(mine > 0, mine * np.log(np.where(mine > 0, mine, 1.0) / theirs), 0.0)
    return float((size * rows).sum() / rows.sum())
