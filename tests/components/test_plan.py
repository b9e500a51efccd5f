"""The planning step as a function: what it leaves for the service, and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homing.planning import load_prices

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:kfp"),
    pytest.mark.slow,  # kfp's import
]
PROBLEM = "candidates: c.parquet\ncolumns: {codes: [channel]}\nbudgets: [{limit: 2, where: {channel: push}}]\n"


@dataclass
class Artifact:
    """What kfp hands to a step: a path, and a place for numbers."""

    path: str
    metadata: dict[str, float] = field(default_factory=dict)

    def log_metric(self, name: str, value: float) -> None:
        self.metadata[name] = value


def test_plan_leaves_prices_where_the_service_reads_them(tmp_path: Path) -> None:
    from components.plan import plan

    values = [3.0, 2.0, 1.0]
    pq.write_table(
        pa.table({"user_id": ["a", "b", "c"], "value": values, "channel": ["push"] * 3}), tmp_path / "c.parquet"
    )
    outputs = [Artifact(str(tmp_path / name)) for name in ("planned", "prices", "report", "metrics")]
    where = tmp_path / "serving" / "prices.json"
    first = plan.python_func(*outputs, PROBLEM, str(tmp_path), "", str(where))
    prices = load_prices(where, digest=first)
    assert 1.0 <= prices.budgets[0].price <= 2.0
    assert outputs[3].metadata["value"] == 5.0
    assert outputs[3].metadata["limits.channel=push.used"] == 2.0
    assert pq.read_table(tmp_path / "planned" / "plan.parquet")["user"].to_pylist() == ["a", "b"]
    assert "Who is silent" in (tmp_path / "report").read_text()
    again = plan.python_func(*outputs, PROBLEM, str(tmp_path), str(where), "")
    assert load_prices(tmp_path / "prices", digest=again).budgets[0].limit == 2.0
    # Priorities are kept by the plan alone: there is nothing to publish.
    where.unlink()
    third = plan.python_func(*outputs, PROBLEM + "priorities: [{channel: push}]\n", str(tmp_path), "", str(where))
    assert third == "" and not where.exists()
