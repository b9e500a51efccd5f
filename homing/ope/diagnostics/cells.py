"""A log's choices folded to messages: what was chosen, what could have been, in which parts of the log."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from homing.log.dataset import LoggedDataset
from homing.ope.estimate import Clusters
from homing.ope.messages import Messages

FloatArray = NDArray[np.float64]
#: Messages that stand for themselves, and columns of the context that are looked at.
MAX_MESSAGES, MAX_COLUMNS = 24, 32
#: Bins of a candidate's predicted probability.
BINS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class Cells:
    """The rows of a log that are looked at, folded from candidates to J messages; the last of them is all others.

    Attributes:
        rows: int64 (n,), which rows of the log these are.
        clusters: of these rows.
        names: J names.
        column: int (messages + 1,), the column of each message code; J where it could never be chosen, as padding.
        action: int64 (n,), column of the chosen message.
        inverse: (n,), 1 / propensity.
        certain: bool (n,), the logged propensity is 1: nothing else could have been chosen.
        possible: (n, J), how many candidates of a message could have been chosen.
        predicted: (n, J), their logged probability; None where the log has only that of the chosen one.
    """

    rows: NDArray[np.int64]
    clusters: Clusters
    names: tuple[str, ...]
    column: NDArray[np.int64]
    action: NDArray[np.int64]
    inverse: FloatArray
    certain: NDArray[np.bool_]
    possible: FloatArray
    predicted: FloatArray | None

    @property
    def n(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, dataset: LoggedDataset, clusters: Clusters, messages: Messages, max_rows: int) -> Cells:
        """Fold a log; of one with more than `max_rows` rows every m-th cluster."""
        rows = np.arange(dataset.n)
        if dataset.n > max_rows:
            rows = np.flatnonzero(clusters.code % math.ceil(dataset.n / max_rows) == 0)
            clusters = Clusters.of(clusters.code[rows])
        every = len(rows) == dataset.n
        code, action = (messages.code, dataset.action) if every else (messages.code[rows], dataset.action[rows])
        propensity = dataset.propensity if every else dataset.propensity[rows]
        allowed = dataset.eligible if every else dataset.eligible[rows]
        probs = dataset.probs if every or dataset.probs is None else dataset.probs[rows]
        n, at, count = len(rows), np.arange(len(rows)), len(messages.names)
        chosen = code[at, action]
        logged = np.bincount(chosen, minlength=count)
        # Those most often possible are tested one by one, whatever was sent: the least sent of many look too rare.
        if probs is None:
            due = np.bincount((code[allowed] + 1), minlength=count + 1)[1:].astype(np.float64)
            due[logged == 0] = 0.0  # never sent: there are no propensities to test
        else:
            sums = np.bincount((code + 1).reshape(-1), weights=probs.reshape(-1), minlength=count + 1)[1:]
            due = np.asarray(sums, dtype=np.float64)
            due[logged > 0] += 1e-9  # chosen within the tolerance of a logged 0
        order = np.argsort(-due, kind="stable")
        known = order[: min(MAX_MESSAGES, int((due > 0).sum()))]
        column = np.full(count + 1, len(known))
        column[known] = np.arange(len(known))
        width = len(known) + 2  # all other messages, and what could not be chosen
        column[:-1][due <= 0] = width - 1
        column[-1] = width - 1  # padding has code -1
        possible = allowed if probs is None else allowed & (probs > 0)
        certain = propensity >= 1.0 - 1e-12
        if certain.any():
            possible = possible & ~certain[:, None]
            possible[at, action] = True
        cell = (np.where(possible, column[code], width - 1) + (at * width)[:, None]).reshape(-1)
        counts = np.bincount(cell, minlength=n * width).reshape(n, width)[:, :-1].astype(np.float64)
        predicted = None
        if probs is not None:
            sums = np.bincount(cell, weights=probs.reshape(-1), minlength=n * width)
            predicted = np.asarray(sums.reshape(n, width)[:, :-1], dtype=np.float64)
        names = (*(messages.names[i] for i in known), "other messages")
        return cls(rows, clusters, names, column, column[chosen], 1.0 / propensity, certain, counts, predicted)

    def half(self) -> NDArray[np.bool_]:
        """Half of the clusters, by row (n,): by a multiplicative hash of their codes, which follows no pattern."""
        hashed = self.clusters.code.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray((hashed >> np.uint64(40)) & np.uint64(1), dtype=bool)


def probability_bins(probs: FloatArray, action: NDArray[np.int64]) -> tuple[FloatArray, FloatArray, list[str]]:
    """Choices made and expected (n, bins) by bin of logged probability (n, k), and what each bin holds."""
    n, at, bins = len(probs), np.arange(len(probs)), len(BINS) - 1
    part = np.searchsorted(np.asarray(BINS)[1:-1], probs, side="left")
    sums = np.bincount((part + (at * bins)[:, None]).reshape(-1), weights=probs.reshape(-1), minlength=n * bins)
    made = np.zeros((n, bins))
    made[at, part[at, action]] = 1.0
    names = [f"candidates with a probability of {low:g} to {high:g}" for low, high in pairwise(BINS)]
    return made, np.asarray(sums.reshape(n, bins), dtype=np.float64), names


def splits(dataset: LoggedDataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], list[str]]:
    """Parts of a log that it suggests itself: bool (n, parts), and in words.

    Both halves by each column of the context (above its median and not, or a level and the others), by time, and by
    the number of candidates that were eligible.
    """
    context = dataset.context if len(rows) == dataset.n else dataset.context[rows]
    names = dataset.encoder.context_names if dataset.encoder is not None else ()
    if len(names) != context.shape[1]:
        names = tuple(f"context[{i}]" for i in range(context.shape[1]))
    columns = [(names[i], context[:, i]) for i in range(min(context.shape[1], MAX_COLUMNS))]
    columns.append(("the number of eligible candidates", dataset.eligible[rows].sum(axis=1, dtype=np.float32)))
    parts: list[NDArray[np.bool_]] = []
    labels: list[str] = []
    for name, values in columns:
        low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
        if not low < high:
            continue
        middle = float(np.median(values))
        level = bool(((values == low) | (values == high)).all())
        cut = low if level or middle >= high else middle
        above = values > cut
        parts += [above, ~above]
        if level:
            labels += [name, f"not {name}"] if "=" in name else [f"{name} == {high:g}", f"{name} == {low:g}"]
        else:
            labels += [f"{name} > {cut:.3g}", f"{name} <= {cut:.3g}"]
    time = dataset.time[rows]
    if len(time) and time.min() < time.max():
        late = time > np.median(time)
        parts += [late, ~late]
        labels += ["the log is in its later half", "the log is in its earlier half"]
    return (np.stack(parts, axis=1) if parts else np.zeros((len(rows), 0), bool)), labels
