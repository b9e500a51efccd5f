"""Monitoring: is what the champion sees, does and earns still what it was trained on?

`python -m monitoring.drift` compares the training window with the recent decision log and writes a report, an
Evidently run, Prometheus metrics and, on an alert, starts the retraining pipeline once per episode.
`python -m monitoring.exporter` serves the metrics. Nothing heavy is imported here: Evidently costs 10 CPU seconds.
"""

from monitoring.report import ColumnDrift, DriftReport, WindowSummary
from monitoring.rules import DriftRules

__all__ = ["ColumnDrift", "DriftReport", "DriftRules", "WindowSummary"]
