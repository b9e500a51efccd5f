"""Hold one window against another, column by column, and apply the rules. NumPy only: Evidently renders it later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitoring.report import ColumnDrift
from monitoring.rules import DriftRules
from monitoring.scoring import Scores
from monitoring.statistics import Shift, calibration_shift, mean_weight, population_shift
from monitoring.windows import Window


@dataclass(frozen=True)
class Comparison:
    """Every column's result, alerts first, then by how far it went beyond its threshold.

    Attributes:
        columns: the results.
        limits: judged column → (threshold, p-value limit): what Evidently's tests are given.
        alert: whether the rules call this an alert.
        reasons: why, or why nothing could be said; one sentence each.
    """

    columns: tuple[ColumnDrift, ...]
    limits: dict[str, tuple[float, float]]
    alert: bool
    reasons: tuple[str, ...]


def compare(reference: Window, current: Window, scores: tuple[Scores, Scores], rules: DriftRules) -> Comparison:
    """Compare all columns of two windows.

    Each column's p-value is held against `rules.significance` divided by the number of columns that may alert, so
    that two windows of one population alert with at most that probability in total.

    Args:
        reference: what the champion was trained on.
        current: what it meets now.
        scores: of the reference and of the current window.
        rules: thresholds and roles.
    """
    few = _too_few(reference, current, rules)
    same_policy = bool(reference.policies) and reference.policies == current.policies
    tested: list[tuple[ColumnDrift, float]] = []
    settled: list[ColumnDrift] = []
    for column, p_value in _results(reference, current, scores, rules, few=bool(few)):
        role = rules.role(column.group)
        may_alert = role == "alert" or (role == "same_policy" and same_policy)
        column = replace(column, alerts=may_alert)
        if role == "same_policy" and not same_policy and column.score is not None:
            column = replace(column, detail=f"{column.detail} (another policy)")
        if p_value is None:
            settled.append(replace(column, alerts=may_alert and column.status in ("missing", "empty")))
        else:
            tested.append((column, p_value))
    alpha = rules.significance / max(sum(column.alerts for column, _ in tested), 1)
    for column, p_value in tested:
        assert column.score is not None and column.threshold is not None  # tested ones have both
        drifted = p_value <= alpha and column.score >= column.threshold
        settled.append(replace(column, status="drift" if drifted else "ok", alerts=column.alerts and drifted))
    settled.sort(key=lambda column: (not column.alerts, column.status in ("ok", "unjudged"), -_excess(column)))
    alerts = [column for column in settled if column.alerts]
    judged = sum(column.status != "unjudged" for column in settled)
    enough = len(alerts) >= rules.minimum_drifted_columns and len(alerts) >= rules.columns_share * judged
    reasons = [*few, *(_sentence(column) for column in alerts)]
    if alerts and not enough:
        reasons.append(
            f"{len(alerts)} of {judged} columns drifted; the rules alert from {rules.minimum_drifted_columns} columns "
            f"and {rules.columns_share:.0%} of them on."
        )
    elif not reasons:
        reasons.append(f"None of {judged} columns moved beyond its limit and beyond chance.")
    for name, window in (("reference", reference), ("current", current)):
        reasons += [f"In the {name} window, {note}" for note in window.notes]
    reasons += dict.fromkeys(note for side in scores for note in side.notes)
    limits = {column.name: (column.threshold or 0.0, alpha) for column, _ in tested}
    return Comparison(tuple(settled), limits, bool(alerts) and enough, tuple(reasons))


def _too_few(reference: Window, current: Window, rules: DriftRules) -> list[str]:
    return [
        f"Not judged: the {name} window holds {window.rows:,} decisions of {window.users:,} users; "
        f"the rules ask for {rules.minimum_rows:,} of {rules.minimum_users:,}."
        for name, window in (("reference", reference), ("current", current))
        if window.rows < rules.minimum_rows or window.users < rules.minimum_users
    ]


def _results(
    reference: Window, current: Window, scores: tuple[Scores, Scores], rules: DriftRules, *, few: bool
) -> Iterator[tuple[ColumnDrift, float | None]]:
    """Each column with its p-value; None where there is nothing to test."""
    groups = {**current.groups, **reference.groups}
    one, two = dict(reference.columns), dict(current.columns)
    for name in dict.fromkeys([*scores[0].reward, *scores[1].reward]):
        groups[f"reward.{name}"] = "reward"
        for columns, side in ((one, scores[0]), (two, scores[1])):
            if name in side.reward:
                columns[f"reward.{name}"] = side.reward[name]
    for name, group in groups.items():
        if name in rules.ignore:
            continue
        unjudged = ColumnDrift(name, group, "unjudged", False, None, None, "PSI", None, "too few rows or users")
        if few:
            yield unjudged, None
            continue
        gone = _absent(name, one, two)
        if gone is not None:
            yield replace(unjudged, status=gone[0], detail=gone[1]), None
            continue
        then, now, user_then, user_now = one[name], two[name], reference.user, current.user
        if group == "reward":  # open outcome windows are not zero rewards
            known_then, known_now = ~np.isnan(then.astype(float)), ~np.isnan(now.astype(float))
            then, now, user_then, user_now = (
                then[known_then],
                now[known_now],
                user_then[known_then],
                user_now[known_now],
            )
            if (text := _scarce(then, now, user_now, rules)) is not None:
                yield replace(unjudged, detail=text), None
                continue
        shift = population_shift(then, now, user_then, user_now)
        yield _of_shift(unjudged, shift, rules), None if shift.constant else shift.p_value
    yield from _model_results(reference, current, scores, rules, few=few)


def _model_results(
    reference: Window, current: Window, scores: tuple[Scores, Scores], rules: DriftRules, *, few: bool
) -> Iterator[tuple[ColumnDrift, float | None]]:
    """Calibration of each objective, and the mean importance weight."""
    for name in scores[0].predicted:
        row = ColumnDrift(
            f"calibration.{name}", "calibration", "unjudged", False, None, None, "SD", None, "too few rows"
        )
        if name not in scores[1].predicted or row.name in rules.ignore:
            continue
        sides = []
        for window, side in zip((reference, current), scores, strict=True):
            known = ~np.isnan(side.predicted[name]) & ~np.isnan(side.reward[name])
            sides.append((side.predicted[name][known], side.reward[name][known], window.user[known]))
        text = "too few rows or users" if few else _scarce(sides[0][1], sides[1][1], sides[1][2], rules)
        if text is not None:
            yield replace(row, detail=text), None
            continue
        effect, p_value = calibration_shift(sides[0], sides[1])
        bias = [float((observed - predicted).mean()) for predicted, observed, _ in sides]
        detail = f"observed - predicted: {bias[0]:+.4f} → {bias[1]:+.4f}"
        yield replace(row, score=effect, threshold=rules.calibration_error, p_value=p_value, detail=detail), p_value
    known = ~np.isnan(scores[1].weight)
    if known.any() and "weights.mean" not in rules.ignore:
        row = ColumnDrift("weights.mean", "weights", "unjudged", False, None, None, "weight", None, "too few rows")
        if few:
            yield row, None
            return
        mean, error, p_value = mean_weight(scores[1].weight[known], current.user[known])
        off, detail = abs(mean - 1.0), f"champion's mean importance weight {mean:.3f} ± {error:.3f}, must be 1"
        yield replace(row, score=off, threshold=rules.weight_error, p_value=p_value, detail=detail), p_value


def _absent(name: str, one: dict[str, NDArray[np.generic]], two: dict[str, NDArray[np.generic]]) -> tuple | None:
    """Status and sentence of a column that is not there or has no value; None if both windows have some."""
    for columns, where, other in ((two, "current", "reference"), (one, "reference", "current")):
        if name not in columns:
            return "missing", f"not in the {where} window, but in the {other} one"
    empty = [bool(_is_missing(columns[name]).all()) for columns in (one, two)]
    if all(empty):
        return "unjudged", "no value in either window"
    if any(empty):
        return "empty", f"no value in the {'reference' if empty[0] else 'current'} window"
    return None


def _scarce(
    then: NDArray[np.generic], now: NDArray[np.generic], users: NDArray[np.generic], rules: DriftRules
) -> str | None:
    """Why rewards cannot be judged, or None."""
    if len(now) < rules.minimum_rows or len(np.unique(users)) < rules.minimum_users or not len(then):
        return f"{len(now):,} decisions with a closed outcome window: too few"
    expected = float(np.mean(then != 0)) * len(now)
    if expected < rules.minimum_events and float(np.mean(now != 0)) * len(now) < rules.minimum_events:
        return f"{expected:.1f} rewards above zero expected: too few"
    return None


def _is_missing(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.array([value is None for value in values], dtype=bool)


def _of_shift(row: ColumnDrift, shift: Shift, rules: DriftRules) -> ColumnDrift:
    if shift.constant:
        return replace(row, status="ok", score=0.0, threshold=rules.psi_of(row.name), p_value=1.0, detail="constant")
    return replace(
        row, score=shift.psi, threshold=rules.psi_of(row.name), p_value=shift.p_value, detail=shift.largest_change()
    )


def _excess(column: ColumnDrift) -> float:
    return (column.score or 0.0) / (column.threshold or 1.0)


def _sentence(column: ColumnDrift) -> str:
    if column.status in ("missing", "empty"):
        return f"{column.name}: {column.detail}."
    return f"{column.name} drifted by {column.score:.2f} {column.unit} (limit {column.threshold:g}): {column.detail}."
