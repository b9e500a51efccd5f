"""Metrics of a drift report: the text file, the exporter, and the alert rules that use them."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitoring.prometheus import METRICS, DriftCollector, samples, write_textfile

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "monitoring" / "alerts.yaml"


def parsed(text: str) -> dict[tuple[str, tuple], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_text_file_says_what_the_report_says(tmp_path: Path, drift_report: Callable) -> None:
    values = parsed(write_textfile(drift_report(alert=True), tmp_path / "drift.prom").read_text())
    assert values["homing_drift_alert", ()] == 1
    assert values["homing_drift_columns_share", ()] == 1
    assert values["homing_drift_score", (("column", "context.age"), ("group", "context"))] == 0.3
    assert values["homing_drift_rows", (("window", "current"),)] == 1000
    assert values["homing_drift_last_run_timestamp_seconds", ()] == 1767830400  # date -d 2026-01-08T00:00Z +%s
    assert [path.name for path in tmp_path.iterdir()] == ["drift.prom"]


def test_every_sample_is_declared_with_its_labels(drift_report: Callable) -> None:
    for name, labels, _ in samples(drift_report(alert=True)):
        assert len(METRICS[name][1]) == len(labels)


def test_nothing_is_exported_before_the_first_run(tmp_path: Path) -> None:
    assert list(DriftCollector(tmp_path / "drift.json").collect()) == []


@pytest.mark.slow
def test_the_exporter_serves_the_newest_report(tmp_path: Path, drift_report: Callable) -> None:
    command = [sys.executable, "-m", "monitoring.exporter", "--out", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stdout.readline())
            assert url is not None

            def scrape() -> dict:
                with urllib.request.urlopen(url[0], timeout=10) as answer:
                    return parsed(answer.read().decode())

            assert scrape() == {}
            for alert in (True, False):
                drift_report(alert=alert).save(tmp_path / "drift.json")
                assert scrape()["homing_drift_alert", ()] == float(alert)
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_alert_rules_use_metrics_that_exist(drift_report: Callable) -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
    for rule in rules:
        text = rule["expr"] + rule["annotations"]["description"]
        names = set(re.findall(r"\bhoming_\w+", text))
        assert names and names <= set(METRICS), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        for name, selector in re.findall(r"(homing_\w+)\{([^}]*)\}", rule["expr"]):
            for label, values in re.findall(r"(\w+)=~?\"([^\"]*)\"", selector):
                assert label in METRICS[name][1], rule["alert"]
                known = {dict(zip(METRICS[n][1], labels, strict=True)).get(label)
                         for n, labels, _ in samples(drift_report(alert=True)) if n == name}  # fmt: skip
                known |= {"weights", "calibration", "context"} if label == "group" else set()
                assert set(values.split("|")) <= known, rule["alert"]
