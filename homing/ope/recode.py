"""Showing one log to policies that were trained on other columns.

Every policy carries the encoder that it was trained with. Last month's champion knows last month's levels, means and
scales; this month's evaluation log is encoded with this month's. Fed as they are, the numbers would mean something else
to it, so they are translated: numbers back to raw and into the policy's scale, levels by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.log.candidates import CandidateStore
from homing.log.dataset import LoggedDataset
from homing.log.features import IS_SILENCE, FeatureEncoder, Field


@dataclass(frozen=True, eq=False)
class Recoded:
    """A log in another encoder's columns.

    Attributes:
        dataset: the same decisions, `encoder` replaced.
        notes: what was done, in sentences; empty when the encoders are the same.
    """

    dataset: LoggedDataset
    notes: tuple[str, ...] = ()


def recode(dataset: LoggedDataset, features: Mapping[str, Any] | None) -> Recoded:
    """Translate a log's columns into those of a policy's encoder.

    A log or a policy without an encoder is passed as it is. A feature that the log lacks counts as missing, as it would
    in serving; one that was constant in the log's training part, and so has no column, counts as average; a level that
    the log's encoder did not know stays unknown.

    Args:
        dataset: the log.
        features: the policy artifact's encoder, as `FeatureEncoder.to_dict` gives it.
    """
    if features is None or dataset.encoder is None:
        return Recoded(dataset)
    source, target = dataset.encoder, FeatureEncoder.from_dict(features)
    if source.to_dict() == target.to_dict():
        return Recoded(dataset)
    context, lost = _context(dataset.context, source, target)
    store, lost_candidate = _candidates(dataset.candidates, source, target)
    note = "The policy was trained with another encoder: the log's columns were translated into its own"
    if gone := [*lost, *lost_candidate]:
        note += f"; {', '.join(gone)} have no column in the log and count as missing or average"
    return Recoded(replace(dataset, context=context, candidates=store, encoder=target), (note + ".",))


def _context(
    values: NDArray[np.float32], source: FeatureEncoder, target: FeatureEncoder
) -> tuple[NDArray[np.float32], list[str]]:
    column = {name: i for i, name in enumerate(source.context_names)}
    known = {field.name: field for field in source.context}
    out = np.zeros((len(values), len(target.context_names)), dtype=np.float32)
    lost: list[str] = []
    start = 0
    for field in target.context:
        was = _same(field, known)
        width = len(field.names)
        if width and _is_lost(field, was):
            lost.append(f"context.{field.name}")
        missing = np.full(len(values), float(was is None), np.float32)
        if was is not None and was.missing:
            missing = values[:, column[f"{field.name}__missing"]]
        if was is not None and not _is_lost(field, was):
            if field.kind == "category":
                for i, level in enumerate(field.levels):
                    if f"{field.name}={level}" in column:
                        out[:, start + i] = values[:, column[f"{field.name}={level}"]]
            elif field.scale > 0:
                out[:, start] = _rescale(values[:, column[field.name]], missing, was, field)
        if field.missing:
            out[:, start + width - 1] = missing
        start += width
    return out, lost


def _same(field: Field, known: Mapping[str, Field]) -> Field | None:
    """The log's field of the same name and kind."""
    was = known.get(field.name)
    return was if was is not None and was.kind == field.kind else None


def _own_columns(field: Field) -> bool:
    return bool(field.levels) if field.kind == "category" else field.scale > 0


def _is_lost(field: Field, was: Field | None) -> bool:
    """Whether the policy has columns for what the log's encoder lacks, or left out as constant."""
    return was is None or (_own_columns(field) and not _own_columns(was))


def _rescale(
    values: NDArray[np.float32], missing: NDArray[np.float32], was: Field, field: Field
) -> NDArray[np.float32]:
    """From one standardisation to another; missing stays 0, the mean."""
    raw = values.astype(np.float64) * was.scale + was.mean
    raw[missing > 0] = np.nan
    return field.standardise(raw)


def _candidates(
    store: CandidateStore, source: FeatureEncoder, target: FeatureEncoder
) -> tuple[CandidateStore, list[str]]:
    total = len(store.numeric)
    silent = np.zeros(total, dtype=bool)
    silent[store.offsets[:-1]] = True
    blocks = [field for field in source.candidate if field.kind == "category" and field.levels]
    block = {field.name: i for i, field in enumerate(blocks)}
    known = {field.name: field for field in source.candidate}
    numeric_names = source.candidate_names[sum(store.levels) :]
    numeric = {name: store.numeric[:, i] for i, name in enumerate(numeric_names)}
    codes: list[NDArray[np.int32]] = []
    numbers: list[NDArray[np.float32]] = [numeric[IS_SILENCE]]
    indicators: list[NDArray[np.float32]] = []
    lost: list[str] = []
    for field in target.candidate:
        was = _same(field, known)
        if field.names and _is_lost(field, was):
            lost.append(f"candidates.{field.name}")
        missing = np.where(silent, 0.0, float(was is None)).astype(np.float32)
        if was is not None and was.missing:
            missing = numeric[f"{field.name}__missing"]
        if field.kind == "category" and field.levels:
            code = np.full(total, -1, dtype=np.int32)
            if was is not None and not _is_lost(field, was):
                # The last entry answers for code -1: unknown stays unknown.
                to = np.array([field.index.get(level, -1) for level in was.levels] + [-1], dtype=np.int32)
                code = to[store.codes[:, block[field.name]]]
            codes.append(code)
        elif field.kind != "category" and field.scale > 0:
            if was is None or _is_lost(field, was):
                numbers.append(np.zeros(total, np.float32))
            else:
                number = _rescale(numeric[field.name], missing, was, field)
                numbers.append(np.where(silent, np.float32(0.0), number))
        if field.missing:
            indicators.append(missing)
    levels = tuple(len(field.levels) for field in target.candidate if field.kind == "category" and field.levels)
    return CandidateStore(
        np.stack(codes, axis=1) if codes else np.zeros((total, 0), np.int32),
        levels,
        np.stack([*numbers, *indicators], axis=1),
        store.offsets,
    ), lost
