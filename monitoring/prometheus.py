"""A drift report as Prometheus metrics: a text file for the node exporter, or collected anew at every scrape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from monitoring.report import DriftReport, write_atomically

#: Metric → (help, labels). The alert rules in `monitoring/alerts.yaml` may use these names only.
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "homing_drift_alert": ("1 if the last drift run alerts, else 0", ()),
    "homing_drift_last_run_timestamp_seconds": ("Unix time of the last drift run", ()),
    "homing_drift_duration_seconds": ("How long the last drift run took", ()),
    "homing_drift_columns_share": ("Share of the judged columns that drifted", ()),
    "homing_drift_columns": ("Columns by status: ok, drift, missing, empty, unjudged", ("status",)),
    "homing_drift_score": ("Size of each column's drift: PSI above noise, SD or weight", ("column", "group")),
    "homing_drift_column_alert": ("1 if this column is a reason for the alert, else 0", ("column", "group")),
    "homing_drift_rows": ("Decisions in the window, before sampling", ("window",)),
    "homing_drift_users": ("Users in the sampled window", ("window",)),
    "homing_drift_reward_mean": ("Mean reward of an objective", ("objective", "window")),
    "homing_drift_calibration_error": ("Expected calibration error of an objective", ("objective", "window")),
    "homing_drift_importance_weight_mean": ("Champion's mean importance weight; 1 when logged right", ("window",)),
}


def samples(report: DriftReport) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Every sample of a report: metric name, label values, value."""
    yield "homing_drift_alert", (), float(report.alert)
    yield "homing_drift_last_run_timestamp_seconds", (), datetime.fromisoformat(report.created_at).timestamp()
    yield "homing_drift_duration_seconds", (), report.seconds
    yield "homing_drift_columns_share", (), report.share_drifted
    for status in ("ok", "drift", "missing", "empty", "unjudged"):
        yield "homing_drift_columns", (status,), float(sum(column.status == status for column in report.columns))
    for column in report.columns:
        if column.score is not None:
            yield "homing_drift_score", (column.name, column.group), column.score
        yield "homing_drift_column_alert", (column.name, column.group), float(column.alerts)
    for name, window in (("reference", report.reference), ("current", report.current)):
        yield "homing_drift_rows", (name,), float(window.rows_total)
        yield "homing_drift_users", (name,), float(window.users)
        for objective, value in window.reward_mean.items():
            yield "homing_drift_reward_mean", (objective, name), value
        for objective, value in window.calibration_error.items():
            yield "homing_drift_calibration_error", (objective, name), value
        if window.importance_weight_mean is not None:
            yield "homing_drift_importance_weight_mean", (name,), window.importance_weight_mean


class DriftCollector:
    """Reads the newest report at every scrape; nothing is exported before the first run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def collect(self) -> Iterable[Any]:
        """The metric families of the report at `path`."""
        if not self.path.exists():
            return []
        return families(DriftReport.from_dict(json.loads(self.path.read_text(encoding="utf-8"))))


def families(report: DriftReport) -> list[Any]:
    """Prometheus metric families of one report."""
    from prometheus_client.core import GaugeMetricFamily

    out = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in METRICS.items()}
    for name, labels, value in samples(report):
        out[name].add_metric(labels, value)
    return [family for family in out.values() if family.samples]


def write_textfile(report: DriftReport, path: Path) -> Path:
    """Write the metrics for the node exporter's textfile collector (a `.prom` file, replaced atomically)."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import generate_latest

    class Once:
        def collect(self) -> Iterable[Any]:
            return families(report)

    registry = CollectorRegistry()
    registry.register(Once())
    write_atomically(path, generate_latest(registry).decode())
    return path
