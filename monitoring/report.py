"""`DriftReport`: what a drift run found. Frozen, rendered as text for people and as a dictionary for programs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

#: ok: judged, no drift.  drift: moved.  missing, empty: not there at all.  unjudged: too little data to tell.
Status = Literal["ok", "drift", "missing", "empty", "unjudged"]

#: What to do when a group drifts: one sentence a group, printed under the table.
ADVICE = {
    "context": "The users differ from those of training: retrain on the recent log; first check the feature's source.",
    "candidates": "The supply of messages changed: new ones are unknown to the model until it is retrained.",
    "eligibility": "Guards or consents changed: check the guard configuration before you retrain.",
    "action": "The same policy chooses differently: its input changed; see the context and candidate columns.",
    "propensity": "The same policy is differently sure of its choices: see the context and candidate columns.",
    "reward": "Outcomes changed under the same policy: check the delivery and tracking pipeline, then retrain.",
    "calibration": "The reward model no longer predicts what happens: retrain, and compare before you promote.",
    "weights": "Propensities do not match the policy that logged them: fix the logging; do not train on this window.",
}


@dataclass(frozen=True)
class ColumnDrift:
    """One row of the report.

    Attributes:
        name: the column, for example `context.recency`.
        group: one of `monitoring.rules.GROUPS`.
        status: see `Status`.
        alerts: True if this row is a reason for the run's alert.
        score: size of the difference; None where it was not judged.
        threshold: the size from which it matters, in the unit of `score`.
        unit: what `score` measures: "PSI", "SD" (standard deviations of the reward) or "weight".
        p_value: probability of such a difference by chance.
        detail: what moved most, or why it was not judged.
    """

    name: str
    group: str
    status: Status
    alerts: bool
    score: float | None
    threshold: float | None
    unit: str
    p_value: float | None
    detail: str


@dataclass(frozen=True)
class WindowSummary:
    """What a window holds: rows read out of rows there, users, time span, who logged it, numbers of each objective."""

    rows: int
    rows_total: int
    users: int
    first_at: str | None
    last_at: str | None
    policies: tuple[str, ...]
    reward_mean: Mapping[str, float]
    calibration_error: Mapping[str, float]
    importance_weight_mean: float | None


@dataclass(frozen=True)
class DriftReport:
    """Result of one drift run.

    Attributes:
        run_id: identifies the run: digest of windows, policy, rules and time.
        created_at: ISO 8601, UTC.
        policy: name and digest of the policy (the champion) that the windows were held against.
        reference, current: the windows.
        reference_digest: identifies the reference window; part of a drift episode's key.
        rules_digest: identifies the rules.
        columns: every comparison, alerts first.
        alert: True if the rules say so; `reasons` are its sentences.
        seconds: how long the run took.

    Example:
        >>> window = WindowSummary(100, 100, 50, None, None, ("uniform@1",), {}, {}, None)
        >>> report = DriftReport("r1", "2026-01-01T00:00:00+00:00", "champion (ab12)", window, window, "d1", "d2",
        ...     (ColumnDrift("context.age", "context", "drift", True, 0.31, 0.1, "PSI", 1e-9, "> 40: 10% → 35%"),),
        ...     True, ("context.age drifted.",), 1.0)
        >>> report.headline, report.share_drifted
        ('1 of 1 judged columns drifted: context.age.', 1.0)
    """

    run_id: str
    created_at: str
    policy: str
    reference: WindowSummary
    current: WindowSummary
    reference_digest: str
    rules_digest: str
    columns: tuple[ColumnDrift, ...]
    alert: bool
    reasons: tuple[str, ...]
    seconds: float

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that moved or vanished, whether or not they may alert."""
        return tuple(column.name for column in self.columns if column.status in ("drift", "missing", "empty"))

    @property
    def share_drifted(self) -> float:
        """Share of the judged columns that drifted."""
        judged = [column for column in self.columns if column.status != "unjudged"]
        return len(self.drifted) / len(judged) if judged else 0.0

    @property
    def headline(self) -> str:
        """One sentence."""
        if not self.judged:
            return self.reasons[0]
        judged = sum(column.status != "unjudged" for column in self.columns)
        named = ", ".join(self.drifted[:6]) + (" and more" if len(self.drifted) > 6 else "")
        return f"{len(self.drifted)} of {judged} judged columns drifted" + (f": {named}." if self.drifted else ".")

    @property
    def judged(self) -> bool:
        """False if no column could be judged: then "no alert" does not mean "no drift"."""
        return any(column.status != "unjudged" for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads it back."""
        return {"format": 1, **asdict(self), "drifted": list(self.drifted), "share_drifted": self.share_drifted}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftReport:
        """Rebuild a report from `to_dict`."""
        fields = {name: values[name] for name in cls.__dataclass_fields__}
        for name in ("reference", "current"):
            fields[name] = WindowSummary(**{**fields[name], "policies": tuple(fields[name]["policies"])})
        fields["columns"] = tuple(ColumnDrift(**column) for column in fields["columns"])
        fields["reasons"] = tuple(fields["reasons"])
        return cls(**fields)

    def save(self, path: Path) -> Path:
        """Write JSON; readers (the exporter) never see half a file."""
        write_atomically(path, json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n")
        return path

    def to_text(self, *, rows: int = 12) -> str:
        """What drifted, by how much, what to do."""
        one, two = self.reference, self.current
        lines = [
            f"Drift run {self.run_id}: {'ALERT' if self.alert else 'no alert'}",
            f"  policy     {self.policy}",
            f"  reference  {_window_line(one)}",
            f"  current    {_window_line(two)}",
            f"  columns    {len(self.columns)} compared, {len(self.drifted)} drifted, "
            f"{sum(column.status == 'unjudged' for column in self.columns)} not judged",
        ]
        shown = self.columns[: max(rows, sum(column.alerts for column in self.columns))]
        if shown:
            width = max(len(column.name) for column in shown)
            lines += ["", f"  {'column':<{width}}  {'status':<9} {'size':>11}  {'limit':>6}  {'p':>8}  largest change"]
            for column in shown:
                size = "-" if column.score is None else f"{column.score:.3f} {column.unit}"
                limit = "-" if column.threshold is None else f"{column.threshold:.2f}"
                p = "-" if column.p_value is None else f"{column.p_value:.1e}"
                status = column.status + ("*" if column.alerts else "")
                lines.append(f"  {column.name:<{width}}  {status:<9} {size:>11}  {limit:>6}  {p:>8}  {column.detail}")
            if len(self.columns) > len(shown):
                lines.append(
                    f"  … and {len(self.columns) - len(shown)} more in the report (* counts towards the alert)"
                )
        for objective, mean in two.reward_mean.items():
            then = one.reward_mean.get(objective)
            was = "-" if then is None else f"{then:.4f}"
            errors = [side.calibration_error.get(objective) for side in (one, two)]
            model = "" if None in errors else f"; calibration error {errors[0]:.4f} → {errors[1]:.4f}"
            lines.append(f"  reward {objective}: mean {was} → {mean:.4f}{model}")
        lines += [""] + [f"  {reason}" for reason in self.reasons]
        groups = dict.fromkeys(column.group for column in self.columns if column.alerts)
        return "\n".join([*lines, *(f"  → {ADVICE[group]}" for group in groups)])


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def digest(*parts: object) -> str:
    """SHA-256 (first 16 hex digits) of some values that render as JSON.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _window_line(window: WindowSummary) -> str:
    sample = "" if window.rows == window.rows_total else f" (sampled from {window.rows_total:,})"
    span = f", {window.first_at} to {window.last_at}" if window.first_at else ""
    logged = ", ".join(window.policies[:3]) + (" …" if len(window.policies) > 3 else "")
    return f"{window.rows:,} decisions{sample} of {window.users:,} users{span}, logged by {logged or 'nobody'}"
