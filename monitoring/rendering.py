"""From a comparison to Evidently: the HTML report, and the run in a workspace that `evidently ui` shows."""

from __future__ import annotations

import fcntl
import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monitoring.compare import Comparison
from monitoring.report import DriftReport, write_atomically
from monitoring.scoring import Scores
from monitoring.windows import Window

#: The project in the Evidently workspace.
PROJECT = "homing"


def render(
    report: DriftReport,
    comparison: Comparison,
    windows: tuple[Window, Window],
    scores: tuple[Scores, Scores],
    *,
    html_path: Path,
    workspace: Path | None,
) -> str | None:
    """Write the HTML report and add the run to the workspace.

    Args:
        report: the finished report.
        comparison: its columns and limits.
        windows: reference and current.
        scores: of the two windows.
        html_path: where the HTML goes.
        workspace: an Evidently workspace folder, made if needed; None for none.

    Returns:
        The snapshot's id in the workspace; None when there was nothing to compare or no workspace.
    """
    if not windows[0].rows or not windows[1].rows:
        page = f"<!doctype html><meta charset=utf-8><title>Drift</title><pre>{html.escape(report.to_text())}</pre>"
        write_atomically(html_path, page)
        return None
    from monitoring import evidently_metrics as evidently

    snapshot = evidently.run_report(report, comparison.limits, windows, scores)
    failed = evidently.failed_columns(snapshot)
    judged = {column.name for column in report.columns if column.status == "drift"}
    assert failed == judged, f"Evidently's tests and the report disagree on {failed ^ judged}"
    write_atomically(html_path, snapshot.get_html_str(as_iframe=False))
    if workspace is None:
        return None
    return str(add_run(workspace, snapshot))


def add_run(workspace: Path, snapshot: Any) -> Any:
    """Add a snapshot to the project, which is made with its dashboard on first use; returns its id."""
    from evidently.ui.workspace import Workspace

    workspace.mkdir(parents=True, exist_ok=True)
    with _lock(workspace / ".homing.lock"):  # two first runs at once would make two projects
        home = Workspace.create(str(workspace))
        found = home.search_project(PROJECT)
        project = found[0] if found else home.create_project(PROJECT, "Drift of the decision log against training.")
        if not project.dashboard.model().panels:
            for panel, tab in _panels():
                project.dashboard.add_panel(panel, tab=tab)
        return home.add_run(project.id, snapshot, include_data=False).id


def _panels() -> Iterator[tuple[Any, str]]:
    from evidently.sdk.models import PanelMetric
    from evidently.sdk.panels import counter_panel, line_plot_panel

    share = PanelMetric(metric="ColumnsDrifted", legend="share of columns drifted")
    yield counter_panel("Columns drifted (share, last run)", [share], size="half"), "Overview"
    weight = PanelMetric(metric="MeanImportanceWeight", legend="mean importance weight")
    yield counter_panel("Mean importance weight (1 is right)", [weight], size="half"), "Overview"
    yield line_plot_panel("Share of columns drifted", [share], "Every run"), "Overview"
    errors = PanelMetric(metric="CalibrationError", legend="{{objective}}")
    yield (
        line_plot_panel("Calibration error by objective", [errors], "Expected calibration error, every run"),
        "Overview",
    )
    shifts = PanelMetric(metric="ColumnShift", legend="{{column}}")
    yield line_plot_panel("Shift of each column", [shifts], "PSI above sampling noise; limit 0.1"), "Columns"


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
