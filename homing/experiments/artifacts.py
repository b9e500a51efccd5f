"""From files to a decision: what the command line and the pipeline step do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homing.errors import InvalidInputError, describe
from homing.experiments.analysis import analyze
from homing.experiments.days import Day
from homing.experiments.decision import ShipDecision, decide
from homing.experiments.exposure import COLUMNS, for_analysis
from homing.experiments.interference import BudgetReading, SendCounts, read_budget
from homing.experiments.plan import ExperimentPlan
from homing.experiments.scorecard import Scorecard
from homing.experiments.statistics import SufficientStatistics


@dataclass(frozen=True)
class Readout:
    """An experiment as of a day: what was found, and what follows.

    Attributes:
        plan: the experiment's.
        scorecard: every comparison and quality test.
        decision: the rule's answer.
    """

    plan: ExperimentPlan
    scorecard: Scorecard
    decision: ShipDecision

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "plan": self.plan.to_dict(),
            "scorecard": self.scorecard.to_dict(),
            "decision": self.decision.to_dict(),
        }

    @property
    def numbers(self) -> dict[str, Any]:
        """Units by variant, and each effect with its interval, nested by metric and treatment: for a tracker."""
        effects: dict[str, dict[str, Any]] = {}
        for item in self.scorecard.comparisons:
            found = item.difference
            effects.setdefault(item.metric.name, {})[item.treatment] = {
                "difference": found.value,
                "lower": found.lower,
                "upper": found.upper,
                "information": item.information_fraction,
                **{f"{name}_p": test.sequential_p_value for name, test in item.tests.items()},
            }
        quality = {item.name: item.p_value for item in self.scorecard.quality}
        return {"units": dict(self.scorecard.n), "quality_p": quality, **effects}

    def write(self, folder: str | Path, *, notes: Sequence[str] = ()) -> None:
        """Write `experiment.json` and `experiment.html` into a folder, each whole or not at all.

        Args:
            folder: made if missing.
            notes: what a reader of the page must know of the data.
        """
        from homing.experiments.report import experiment_page

        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "experiment.json", self.to_dict())
        page = experiment_page(self.scorecard, self.plan, self.decision, notes=notes)
        _replace(out / "experiment.html", page)


def read_out(
    plan: ExperimentPlan | str | Path,
    data: Any,
    *,
    exposures: Any = None,
    aggregates: bool = False,
    as_of: Day | None = None,
    sends: SendCounts | BudgetReading | None = None,
) -> Readout:
    """Analyse an experiment and decide.

    Args:
        plan: or its YAML file.
        data: a table, or a file or folder (`read_table`): one row a unit.
        exposures: table or file of exposures, where the data hold outcomes alone; an exposure log is checked against
            the plan's digest.
        aggregates: the data hold sums by variant and day, as a warehouse makes them, not units.
        as_of: the day until which outcomes are complete; the last day of exposure when not given.
        sends: what each variant sent, so that a budget that they share becomes a warning on the scorecard, the page
            and the decision; where the budget is known or split, what `read_budget` says of it.

    Raises:
        InvalidInputError: if the plan or the data break a bound, or they do not belong together.
        SupportError: if sends are counted for fewer than two periods.

    Example:
        >>> import numpy as np, polars as pl
        >>> from homing.experiments import MDE, Metric
        >>> plan = ExperimentPlan("greeting", success=[(Metric("orders", "mean", "orders"), MDE(rel=0.1))])
        >>> rng = np.random.default_rng(0)
        >>> warm = rng.random(4000) < 0.5
        >>> found = read_out(plan, pl.DataFrame({
        ...     "user_id": np.arange(4000), "variant": np.where(warm, "treatment", "control"),
        ...     "orders": rng.poisson(np.where(warm, 1.2, 1.0))}))
        >>> found.decision.verdict, found.scorecard.n
        ('ship', {'control': 1969, 'treatment': 2031})
    """
    plan = plan if isinstance(plan, ExperimentPlan) else ExperimentPlan.from_yaml(plan)
    statistics = statistics_of(plan, data, exposures=exposures, aggregates=aggregates)
    card = analyze(statistics, plan, as_of=as_of)
    if sends is not None:
        card = replace(card, warnings=(*card.warnings, *_of_budget(sends, plan)))
    return Readout(plan, card, decide(card, plan))


def _of_budget(sends: SendCounts | BudgetReading, plan: ExperimentPlan) -> tuple[str, ...]:
    """What is to be said of a budget that the plan's variants may share."""
    found = read_budget(sends) if isinstance(sends, SendCounts) else sends
    if set(found.displacement) != set(plan.variants):
        bound = f"must be the plan's: {', '.join(plan.variants)}"
        raise InvalidInputError(describe("variants of sends", sorted(found.displacement), bound, "Count all of them."))
    return found.warnings


def statistics_of(
    plan: ExperimentPlan, data: Any, *, exposures: Any = None, aggregates: bool = False
) -> SufficientStatistics:
    """Sufficient statistics of tables or files; arguments as in `read_out`."""
    with readable(data):
        frame = read_table(data) if isinstance(data, str | Path) else data
        if aggregates:
            if exposures is not None:
                step = "Sums by variant and exposure day hold their exposures already."
                raise InvalidInputError(describe("exposures", "given", "must not be, with aggregates", step))
            return SufficientStatistics.from_aggregates(frame, plan)
        if exposures is not None:
            exposures = exposures_of(plan, exposures)
        return SufficientStatistics.from_frame(frame, plan, exposures=exposures)


def exposures_of(plan: ExperimentPlan, exposures: Any) -> Any:
    """A table of exposures, or a file; an exposure log becomes the plan's units, if it was written under the plan."""
    table = read_table(exposures) if isinstance(exposures, str | Path) else exposures
    names = table.collect_schema().names() if hasattr(table, "collect_schema") else table.columns
    if set(COLUMNS) <= set(names):
        return for_analysis(table.collect() if hasattr(table, "collect") else table, plan)
    return table


def read_table(path: str | Path) -> Any:
    """A Polars LazyFrame of a Parquet or CSV file, or of a folder of Parquet files.

    Raises:
        InvalidInputError: if there is no such file, it has another ending, or it is not what its ending says.
    """
    import polars as pl

    path = Path(path)
    if not path.exists():
        raise InvalidInputError(describe("data", str(path), "must be a file or a folder", "Check the path."))
    if path.is_dir():
        if next(path.rglob("*.parquet"), None) is None:
            step = "Give the folder that holds them, or one file."
            raise InvalidInputError(describe("data", str(path), "must be a folder with .parquet files", step))
        rows = pl.scan_parquet(path / "**" / "*.parquet")
    elif path.suffix == ".csv":
        rows = pl.scan_csv(path, try_parse_dates=True)
    elif path.suffix == ".parquet":
        rows = pl.scan_parquet(path)
    else:
        raise InvalidInputError(describe("data", str(path), "must end with .parquet or .csv", "Convert it to Parquet."))
    with readable(path):
        rows.collect_schema()
    return rows


@contextmanager
def readable(data: Any) -> Iterator[None]:
    """What Polars finds wrong with tables, while they are read, as a mistake in the input.

    Raises:
        InvalidInputError: with the first line of what it says.
    """
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as error:
        name = str(data) if isinstance(data, str | Path) else type(data).__name__
        found = (str(error).splitlines() or [type(error).__name__])[0]
        step = "Look at the files and at the types of their columns."
        raise InvalidInputError(describe("data", name, f"must be readable as one table ({found})", step)) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write strict JSON, whole or not at all."""
    _replace(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
