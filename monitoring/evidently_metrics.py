"""Evidently metrics that test as `monitoring.statistics` does. Importing this imports Evidently (10 CPU seconds).

Evidently's own PSI has fixed bins and one threshold for every sample size: over 80 messages, two windows of 1,000 rows
of one population differ by 0.16 on average, above its limit of 0.1. These metrics subtract that noise, ask for
significance too, and allow for users with many rows.
"""

from __future__ import annotations

import os

os.environ.setdefault("DO_NOT_TRACK", "true")  # before the import: Evidently would report usage otherwise

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import (
    ColumnMetric,
    MetricTestResult,
    SingleValue,
    SingleValueCalculation,
    SingleValueMetric,
)
from evidently.core.report import Context, Snapshot
from evidently.legacy.model.widget import BaseWidgetInfo
from evidently.legacy.options import ColorOptions
from evidently.legacy.renderers.html_widgets import CounterData, WidgetSize, counter, plotly_figure, table_data
from evidently.legacy.tests.base_test import TestStatus

from monitoring.report import DriftReport
from monitoring.scoring import Scores
from monitoring.statistics import calibration, calibration_shift, mean_weight, population_shift
from monitoring.windows import Window

#: Columns that are not compared themselves: the user of each row (a code, not the id).
USER = "user"
#: At most so many bars in a chart; the rest are joined.
MAXIMUM_BARS = 40
#: The legend above the bars: on the right it lies under Plotly's buttons.
_LAYOUT: dict[str, Any] = {
    "margin": {"t": 30, "b": 10},
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
}
#: Additional data of a report: the limits of each metric, and the run's verdict. Not parameters of the metrics, since
#: the dashboard draws one line for each set of parameters.
LIMITS, VERDICT, TABLE = "limits", "verdict", "table"


class ColumnShift(ColumnMetric, SingleValueMetric):
    """PSI of one column above sampling noise; fails when it is significant and at least `threshold`."""


class ColumnShiftCalculation(SingleValueCalculation[ColumnShift]):
    """Computes `ColumnShift` with `population_shift`."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """PSI, its test, and the shares of both windows as a chart."""
        metric, now, then = self.metric, _frame(current_data), _frame(reference_data)
        limit, significance = _limits(context, metric.column)
        shift = population_shift(
            then[metric.column].to_numpy(), now[metric.column].to_numpy(), then[USER].to_numpy(), now[USER].to_numpy()
        )
        failed = shift.p_value <= significance and shift.psi >= limit
        text = (
            f"PSI above noise is {shift.psi:.3f} (limit {limit:g}), p = {shift.p_value:.1e} "
            f"(limit {significance:.1e}). Largest change: {shift.largest_change()}."
        )
        result = _judged(self, shift.psi, failed, f"Shift of {metric.column}", text)
        result.widget = [_shares_chart(metric.column, shift.labels, shift.reference, shift.current, failed)]
        return result

    def display_name(self) -> str:
        """Title in the report."""
        return f"Shift of {self.metric.column} (PSI above noise)"


class CalibrationError(SingleValueMetric):
    """Expected calibration error of one objective's predictions in the current window.

    Fails when the residuals by bin of prediction moved from the reference's by at least `threshold` standard
    deviations of the reward, and significantly.
    """

    objective: str


class CalibrationErrorCalculation(SingleValueCalculation[CalibrationError]):
    """Computes `CalibrationError` from the columns `predicted.OBJECTIVE` and `reward.OBJECTIVE`."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Calibration error, the test of its change, and the calibration curves of both windows."""
        metric = self.metric
        limit, significance = _limits(context, f"calibration.{metric.objective}")
        sides = [_triple(_frame(data), metric.objective) for data in (reference_data, current_data)]
        effect, p_value = calibration_shift(*sides)
        curves = [calibration(predicted, observed) for predicted, observed, _ in sides]
        failed = p_value <= significance and effect >= limit
        text = (
            f"Calibration error {curves[0].error:.4f} → {curves[1].error:.4f}; residuals moved by {effect:.3f} SD "
            f"(limit {limit:g}), p = {p_value:.1e} (limit {significance:.1e})."
        )
        result = _judged(self, curves[1].error, failed, f"Calibration of {metric.objective}", text)
        result.widget = [_curves_chart(metric.objective, curves)]
        return result

    def display_name(self) -> str:
        """Title in the report."""
        return f"Calibration error of {self.metric.objective}"


class MeanImportanceWeight(SingleValueMetric):
    """Mean importance weight of the champion over the log; 1 when propensities are logged right."""


class MeanImportanceWeightCalculation(SingleValueCalculation[MeanImportanceWeight]):
    """Computes `MeanImportanceWeight` from the column `weight`."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """The mean with its test against 1."""
        now = _frame(current_data)
        now = now[now["weight"].notna()]
        limit, significance = _limits(context, "weights.mean")
        mean, error, p_value = mean_weight(now["weight"].to_numpy(), now[USER].to_numpy())
        failed = p_value <= significance and abs(mean - 1.0) >= limit
        text = f"Mean weight {mean:.3f} ± {error:.3f}; must be 1 within {limit:g}; p = {p_value:.1e}."
        result = _judged(self, mean, failed, "Mean importance weight is 1", text)
        result.widget = [
            counter(title="", counters=[CounterData("Mean importance weight of the champion", f"{mean:.3f}")])
        ]
        return result

    def display_name(self) -> str:
        """Title in the report."""
        return "Mean importance weight of the champion"


class ColumnsDrifted(SingleValueMetric):
    """Share of the compared columns that drifted: the number that the dashboard plots over time."""


class ColumnsDriftedCalculation(SingleValueCalculation[ColumnsDrifted]):
    """Carries the run's verdict into the snapshot."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """The share, with the verdict as its test."""
        verdict = context.additional_data[VERDICT].as_dataframe().iloc[0]
        result = _judged(self, verdict["share"], bool(verdict["alert"]), "The run's verdict", verdict["text"])
        said = CounterData("verdict", "ALERT" if verdict["alert"] else "no alert")
        share = CounterData("share of columns drifted", f"{verdict['share']:.0%}")
        table = context.additional_data[TABLE].as_dataframe()
        result.widget = [
            counter(title=verdict["text"], counters=[said, share]),
            table_data(title="Columns", column_names=list(table.columns), data=table.to_numpy().tolist()),
        ]
        return result

    def display_name(self) -> str:
        """Title in the report."""
        return "Share of columns drifted"


def dataset(columns: dict[str, np.ndarray], user: np.ndarray) -> Dataset:
    """An Evidently data set of named columns, (n,) each; `user` (n,) is coded, so that no id reaches the workspace."""
    frame = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    frame[USER] = np.unique(user, return_inverse=True)[1]
    numeric = [name for name, values in columns.items() if values.dtype.kind == "f"]
    text = [name for name in columns if name not in numeric]
    definition = DataDefinition(numerical_columns=[*numeric, USER], categorical_columns=text)
    return Dataset.from_pandas(frame, data_definition=definition)


def additional(report: DriftReport, limits: Mapping[str, tuple[float, float]]) -> dict[str, Dataset]:
    """What the metrics of a report need beside the two windows: the limits, the verdict, and the table of columns."""
    rows = [{"name": name, "threshold": a, "significance": b} for name, (a, b) in limits.items()]
    verdict = {"share": report.share_drifted, "alert": int(report.alert), "text": report.headline}
    table = [
        {
            "column": column.name,
            "status": column.status + (" (alert)" if column.alerts else ""),
            "size": "–" if column.score is None else f"{column.score:.3f} {column.unit}",
            "limit": "–" if column.threshold is None else f"{column.threshold:g}",
            "p": "–" if column.p_value is None else f"{column.p_value:.1e}",
            "detail": column.detail,
        }
        for column in report.columns
    ]
    frames = {
        LIMITS: pd.DataFrame(rows, columns=["name", "threshold", "significance"]),
        VERDICT: pd.DataFrame([verdict]),
        TABLE: pd.DataFrame(table, columns=["column", "status", "size", "limit", "p", "detail"]),
    }
    return {name: Dataset.from_pandas(frame, data_definition=DataDefinition()) for name, frame in frames.items()}


def run_report(
    report: DriftReport,
    limits: Mapping[str, tuple[float, float]],
    windows: tuple[Window, Window],
    scores: tuple[Scores, Scores],
) -> Snapshot:
    """Run an Evidently report over two windows: the verdict, then every judged column in the report's order.

    Args:
        report: the finished drift report.
        limits: judged column → (threshold, p-value limit).
        windows: reference and current.
        scores: of the two windows.
    """
    metrics: list[SingleValueMetric] = [ColumnsDrifted()]
    for column in report.columns:
        if column.name not in limits:
            continue
        if column.group == "calibration":
            metrics.append(CalibrationError(objective=column.name.removeprefix("calibration.")))
        elif column.group == "weights":
            metrics.append(MeanImportanceWeight())
        else:
            metrics.append(ColumnShift(column=column.name))
    sets = []
    for window, side in zip(windows, scores, strict=True):
        columns = {name: values for name, values in window.columns.items() if name in limits}
        columns |= {f"reward.{name}": values for name, values in side.reward.items()}
        columns |= {f"predicted.{name}": values for name, values in side.predicted.items()}
        columns["weight"] = side.weight
        # Evidently cannot summarise a column without a single value; nothing judges one either.
        kept = {name: values for name, values in columns.items() if not pd.isna(values).all()}
        sets.append(dataset(kept, window.user))
    return Report(metrics, include_tests=True).run(
        sets[1],
        sets[0],
        additional_data=additional(report, limits),
        timestamp=datetime.fromisoformat(report.created_at),
        metadata={"run_id": report.run_id, "policy": report.policy, "rules": report.rules_digest[:16]},
        tags=["alert"] if report.alert else ["no alert"],
        name=f"drift {report.created_at[:16]}",
    )


def failed_columns(snapshot: Snapshot) -> set[str]:
    """Names of the columns whose test has status FAIL."""
    failed = [test for test in snapshot.dict()["tests"] if test["status"] == TestStatus.FAIL]
    return {name for test in failed if (name := _column_of(test["metric_config"]["params"])) is not None}


def _column_of(params: Mapping[str, Any]) -> str | None:
    kind = params["type"].rsplit(":", 1)[-1]
    if kind == "CalibrationError":
        return f"calibration.{params['objective']}"
    return "weights.mean" if kind == "MeanImportanceWeight" else params.get("column")


def _judged(calculation: SingleValueCalculation, value: float, failed: bool, name: str, text: str) -> SingleValue:
    result = calculation.result(float(value))
    status = TestStatus.FAIL if failed else TestStatus.SUCCESS
    result.set_tests(
        [
            MetricTestResult(
                id="drift",
                name=name,
                description=text,
                status=status,
                metric_config=calculation.to_metric_config(),
                test_config={},
            )
        ]
    )
    return result


def _limits(context: Context, name: str) -> tuple[float, float]:
    """Threshold and significance of one comparison."""
    row = context.additional_data[LIMITS].as_dataframe().set_index("name").loc[name]
    return float(row["threshold"]), float(row["significance"])


def _frame(data: Dataset | None) -> pd.DataFrame:
    if data is None:
        raise ValueError("a drift metric compares two windows: run the report with reference data")
    return data.as_dataframe()


def _triple(frame: pd.DataFrame, objective: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = frame[f"reward.{objective}"].notna() & frame[f"predicted.{objective}"].notna()
    rows = frame[known]
    return rows[f"predicted.{objective}"].to_numpy(), rows[f"reward.{objective}"].to_numpy(), rows[USER].to_numpy()


def _shares_chart(
    column: str, labels: tuple[str, ...], reference: np.ndarray, current: np.ndarray, failed: bool
) -> BaseWidgetInfo:
    if len(labels) > MAXIMUM_BARS:
        kept = np.sort(np.argsort(-np.abs(current - reference), kind="stable")[: MAXIMUM_BARS - 1])
        rest = np.setdiff1d(np.arange(len(labels)), kept)
        labels = (*(labels[k] for k in kept), f"({len(rest)} others)")
        reference = np.append(reference[kept], reference[rest].sum())
        current = np.append(current[kept], current[rest].sum())
    return _bars(f"{column}: {'drifted' if failed else 'no drift'}", labels, reference, current)


def _bars(title: str, labels: tuple[str, ...], reference: np.ndarray, current: np.ndarray) -> BaseWidgetInfo:
    from plotly import graph_objs as go

    colors = ColorOptions()
    figure = go.Figure(
        [
            go.Bar(
                name="reference", x=list(labels), y=reference.tolist(), marker_color=colors.get_reference_data_color()
            ),
            go.Bar(name="current", x=list(labels), y=current.tolist(), marker_color=colors.get_current_data_color()),
        ]
    )
    figure.update_layout(barmode="group", yaxis_tickformat=".0%", xaxis_type="category", **_LAYOUT)
    return plotly_figure(title=title, figure=figure, size=WidgetSize.HALF)


def _curves_chart(objective: str, curves: list) -> BaseWidgetInfo:
    from plotly import graph_objs as go

    colors = ColorOptions()
    top = max(float(np.max([curve.predicted.max(), curve.observed.max()])) for curve in curves)
    low = min(float(np.min([curve.predicted.min(), curve.observed.min()])) for curve in curves)
    figure = go.Figure(
        [
            go.Scatter(x=[low, top], y=[low, top], mode="lines", name="perfect", line={"dash": "dot", "color": "grey"}),
            *(
                go.Scatter(
                    x=curve.predicted.tolist(),
                    y=curve.observed.tolist(),
                    mode="lines+markers",
                    name=name,
                    line={"color": color},
                )
                for curve, name, color in zip(
                    curves,
                    ("reference", "current"),
                    (colors.get_reference_data_color(), colors.get_current_data_color()),
                    strict=True,
                )
            ),
        ]
    )
    figure.update_layout(xaxis_title="predicted", yaxis_title="observed", **_LAYOUT)
    return plotly_figure(title=f"Calibration of {objective}", figure=figure, size=WidgetSize.HALF)
