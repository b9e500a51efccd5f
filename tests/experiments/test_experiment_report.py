"""What people see of an experiment: the page, the terminal, the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from homing.cli import main
from homing.errors import InvalidInputError
from homing.experiments import (
    MDE,
    NIM,
    Assignment,
    ExperimentPlan,
    FixedHorizon,
    GroupSequential,
    Metric,
    SendCounts,
    Window,
    decompose,
    expose,
    read_budget,
    write_exposures,
)
from homing.experiments.artifacts import read_out, statistics_of
from homing.experiments.report import decision_text, experiment_page, plan_text, scorecard_text, status_text
from homing.pages import Line, lines_svg

DAYS, PER_DAY = 20, 400


def plan(**changes) -> ExperimentPlan:
    settings = {
        "success": [(Metric("orders", "mean", "orders", window=Window(3)), MDE(rel=0.1))],
        "guardrail": [(Metric("reached", "proportion", "reached", window=Window(3)), NIM(rel=0.05))],
        "deterioration": [Metric("errors", "mean", "errors", window=Window(3), direction="decrease")],
        "variants": {"control": 0.5, "warm": 0.25, "<b>hot</b>": 0.25},
        "monitoring": GroupSequential(),
        "planned_size": DAYS * PER_DAY,
    }
    return ExperimentPlan("greeting", **(settings | changes))


def units(rng: np.random.Generator, *, share: float = 0.5) -> pl.DataFrame:
    """Orders rise from 1 to 1.3 with `warm` and not with the other; nothing else moves."""
    n = DAYS * PER_DAY
    variant = rng.choice(["control", "warm", "<b>hot</b>"], n, p=[share, (1 - share) / 2, (1 - share) / 2])
    day = np.repeat(np.arange(DAYS), PER_DAY)
    return pl.DataFrame(
        {
            "user_id": np.arange(n),
            "variant": variant,
            "exposed_at": [date(2026, 3, 1) + timedelta(days=int(d)) for d in day],
            "orders": rng.poisson(np.where(variant == "warm", 1.3, 1.0)),
            "reached": (rng.random(n) < 0.9).astype(float),
            "errors": rng.poisson(0.2, n),
            "country": rng.choice(["de", "fr"], n),
        }
    )


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    return units(np.random.default_rng(1))


@pytest.fixture(scope="module")
def found(data):
    return read_out(plan(), data, as_of="2026-03-23")


def test_the_page_says_what_was_decided_why_and_shows_every_metric(found, data) -> None:
    assert (found.decision.verdict, found.decision.treatment) == ("ship", "warm")
    why = decompose(data, plan().metric("orders"), "mix_rate", baseline="control", comparison="warm", by=["country"])
    page = experiment_page(
        found.scorecard, found.plan, found.decision, decompositions=[why], notes=["It is <made> up."]
    )
    for reason in found.decision.reasons:
        assert reason.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in page.replace("&#34;", '"')
    # One forest plot a metric; two paths for each metric and treatment; progress; quality; a waterfall.
    figures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(figures) == 3 + 3 * 2 * 2 + 2 + 1
    for figure in figures:
        ElementTree.fromstring(figure)
    # Self-contained, and nothing of the data is markup.
    assert "<script" not in page and "<b>hot</b>" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert "It is &lt;made&gt; up." in page and found.plan.digest[:16] in page
    # A guardrail's margin is the red line of its forest plot, and nobody else's.
    assert [figure.count('class="limit"') for figure in figures if "value and interval" in figure] == [0, 1, 0]


def test_a_single_look_has_no_paths(data) -> None:
    metric = Metric("orders", "mean", "orders")
    single = plan(success=[metric], guardrail=[], deterioration=[], monitoring=FixedHorizon())
    one = read_out(single, data.drop("exposed_at"))
    page = experiment_page(one.scorecard, one.plan, one.decision)
    assert page.count("<svg") == 1 and "look by look" not in page.split("<footer>")[0]


def test_the_terminal_says_the_same(found) -> None:
    text = scorecard_text(found.scorecard, found.plan)
    warm = found.scorecard.comparison("orders", "warm")
    [line] = [line for line in text.splitlines() if line.split()[:2] == ["orders", "warm"]]
    assert line.endswith("superior") and f"{100 * warm.relative.value:+.2f}%" in line
    assert [line for line in text.splitlines() if line.startswith("  errors") and line.endswith("no harm shown")]
    assert decision_text(found.decision, found.plan).startswith(
        "ship warm: ship it\n  - warm ships: orders is superior"
    )
    assert "group-sequential monitoring, 8,000 units planned" in plan_text(found.plan)
    assert "non-inferiority within 5%" in plan_text(found.plan)
    # The status shows no effects.
    status = status_text(found.scorecard, found.plan)
    assert "8,000 units of 8,000 (100%)" in status and "superior" not in status and "0.3" not in status


def test_nothing_tells_to_ship_at_an_error_rate_that_is_not_kept(data) -> None:
    # The same data: without a window sequential bounds do not hold, at one look they do.
    open_ended = {"success": [Metric("orders", "mean", "orders")], "guardrail": [], "deterioration": []}
    for monitoring, kept in ((GroupSequential(), False), (FixedHorizon(), True)):
        found = read_out(plan(**open_ended, monitoring=monitoring), data)
        assert found.decision.verdict == "ship"
        text = decision_text(found.decision, found.plan)
        page = experiment_page(found.scorecard, found.plan, found.decision)
        for rendering in (text, page):
            assert ("ship it" in rendering, "an error rate that is not kept" in rendering) == (kept, not kept)
        assert "; it is not inferior." in text


def test_a_broken_experiment_is_told_first() -> None:
    broken = read_out(plan(), units(np.random.default_rng(2), share=0.6), as_of="2026-03-23")
    assert broken.decision.verdict == "invalid"
    page = experiment_page(broken.scorecard, broken.plan, broken.decision)
    assert "invalid: the experiment itself is broken" in page and 'class="badge no">sample ratio' in page
    assert "✗ sample_ratio" in scorecard_text(broken.scorecard, broken.plan)


def test_a_budget_that_variants_share_is_a_warning_on_every_rendering(data) -> None:
    # 100 a day for all: what one variant sends more, the others send less.
    warm = np.array([30.0, 26, 31, 25, 29, 33])
    counts = SendCounts(tuple(plan().variants), np.array([4000, 2000, 2000]), np.column_stack(
        [100 - warm - 20, warm, np.full(6, 20.0)]))  # fmt: skip
    # The same sends, beside the budget as it is known: the sentence says that it was reached.
    for sends, sentence in ((counts, "They seem to share a cap"), (read_budget(counts, budget=100), "in 100% of")):
        shared = read_out(plan(), data, as_of="2026-03-23", sends=sends)
        page = experiment_page(shared.scorecard, shared.plan, shared.decision)
        for text in (page, scorecard_text(shared.scorecard, shared.plan), decision_text(shared.decision, shared.plan)):
            assert sentence in text
    # Each with a budget of its own that does not bind: nothing to say.
    apart = SendCounts(counts.variants, counts.users, np.random.default_rng(0).poisson(50.0, (30, 3)))
    assert not any("share" in text for text in read_out(plan(), data, sends=apart).scorecard.warnings)
    with pytest.raises(InvalidInputError, match=r"variants of sends == .*must be the plan's"):
        read_out(plan(), data, sends=SendCounts(("control", "hot"), np.array([1, 1]), np.full((9, 2), 30.0)))


def test_the_import_draws_no_pages() -> None:
    """Nor does asking for a readout: only writing it does. What is asked for less often comes when it is."""
    for asked, there in (("pass", "analysis"), ("homing.experiments.read_out", "artifacts")):
        told = "print(*(name for name in sys.modules if name.startswith('homing.')))"
        code = f"import sys, homing.experiments; {asked}; {told}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())
        assert f"homing.experiments.{there}" in loaded
        assert not loaded & {"homing.pages", "homing.experiments.report"}
    import homing.experiments

    assert all(hasattr(homing.experiments, name) for name in homing.experiments.__all__)
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        homing.experiments.analyse


def test_lines_have_gaps_and_leave_the_figure_where_they_are_cut() -> None:
    inf, nan = float("inf"), float("nan")
    one = Line("a", [1.0, nan, 2.0, 3.0], "#111", [0.0, 0.0, 1.0, -inf], [2.0, 2.0, 3.0, 9.0])
    svg = lines_svg([one, Line("b", [inf] * 4, "#222")], ["1", "2", "3", "4"], label="x & y", span=(0.0, 2.5))
    ElementTree.fromstring(svg)
    # A dot, then a line of two points; a band of three looks.
    assert (svg.count("<polyline"), svg.count("<circle"), svg.count("<polygon")) == (1, 1, 1) and "x &amp; y" in svg


@pytest.fixture
def files(tmp_path: Path, data) -> Path:
    plan().to_yaml(tmp_path / "plan.yaml")
    data.write_parquet(tmp_path / "units.parquet")
    data.write_csv(tmp_path / "units.csv")
    return tmp_path


def run(capsys, *words) -> tuple[int, str]:
    status = main(["experiment", *map(str, words)])
    out = capsys.readouterr()
    return status, out.out + out.err


def test_the_command_line_from_plan_to_decision(files, capsys) -> None:
    design, table, page = files / "plan.yaml", files / "units.parquet", files / "pages" / "page.html"
    status, text = run(
        capsys, "plan", design, "--history", table, "--units-per-day", PER_DAY, "--freeze", files / "f.yaml"
    )
    assert status == 0 and "until the last window has ended" in text
    frozen = ExperimentPlan.from_yaml(files / "f.yaml")
    needed = re.search(r"\n([\d,]+) units in", text)[1]
    assert frozen.planned_size == int(needed.replace(",", ""))
    # Of a plan with a size: what is to be done with another.
    which = "fewer" if frozen.planned_size > DAYS * PER_DAY else "more"
    assert f"its size already, 8,000 units: {which} than the {needed} that are needed" in text
    status, text = run(capsys, "plan", files / "f.yaml", "--history", table, "--units-per-day", PER_DAY)
    assert status == 0 and f"has this size, {needed} units, already" in text
    status, text = run(capsys, "status", design, table, "--as-of", "2026-03-12", "--json", files / "s.json")
    assert status == 0 and "2026-03-12, look 12: 4,800 units of 8,000 (60%)" in text
    assert json.loads((files / "s.json").read_text())["n"].keys() == {"control", "warm", "<b>hot</b>"}
    # The same from a CSV, and from exposures with outcomes.
    answers = [
        run(capsys, "analyze", design, files / name, "--as-of", "2026-03-23") for name in ("units.parquet", "units.csv")
    ]
    assert answers[0] == answers[1] and answers[0][0] == 0 and "orders" in answers[0][1]
    status, text = run(
        capsys, "decide", design, table, "--as-of", "2026-03-23", "--html", page, "--json", files / "d.json"
    )
    assert status == 0 and text.startswith("ship warm") and page.read_text().lower().startswith("<!doctype html>")
    assert json.loads((files / "d.json").read_text())["decision"]["treatment"] == "warm"
    # Nothing is decided on the second day: the exit status is no.
    assert run(capsys, "decide", design, table, "--as-of", "2026-03-05")[0] == 1
    status, text = run(capsys, "decompose", design, table, "--metric", "orders", "--how", "mix_rate", "--by", "country",
                       "--treatment", "warm")  # fmt: skip
    assert status == 0 and "movement" in text


def test_an_exposure_log_and_outcomes_are_joined_under_the_plan(tmp_path, data) -> None:
    one = plan(unit="user")
    rows = expose(Assignment.of(one), one, list(range(5000)), np.datetime64("2026-03-01"))
    write_exposures(rows, tmp_path / "exposures.parquet")
    told = data.head(5000).rename({"user_id": "user"}).with_columns(pl.col("user").cast(pl.String))
    with pytest.raises(InvalidInputError, match="outcomes and exposures have different variants"):
        read_out(one, told, exposures=tmp_path / "exposures.parquet", as_of="2026-03-04")
    outcomes = told.drop("variant", "exposed_at")
    found = read_out(one, outcomes, exposures=tmp_path / "exposures.parquet", as_of="2026-03-04")
    codes = Assignment.of(one).codes(range(5000))
    assert [*found.scorecard.n.values()] == np.bincount(codes).tolist()
    with pytest.raises(InvalidInputError, match="Analyse under the plan that was running"):
        read_out(plan(unit="user", power=0.9), outcomes, exposures=tmp_path / "exposures.parquet")


_WHY = ["decompose", "plan.yaml", "units.parquet", "--metric", "orders", "--how", "mix_rate", "--by", "country",
        "--treatment", "warm"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["decide", "plan.yaml", "none.parquet"], "data == '.*none.parquet', must be a file or a folder"),
        (["decide", "plan.yaml", "plan.yaml"], "must end with .parquet or .csv"),
        (["decompose", "plan.yaml", "units.parquet", "--metric", "orders", "--how", "parts"], "--treatment == None"),
        (["decompose", "plan.yaml", "units.parquet", "--metric", "order", "--how", "parts", "--treatment", "warm"],
         "Did you mean 'orders'"),
        (["plan", "units.csv"], "plan"),
        (["decide", "plan.yaml", "junk.parquet"], "junk.parquet', must be readable as one table"),
        (["analyze", "plan.yaml", "cut.parquet"], "cut.parquet', must be readable as one table"),
        (["status", "plan.yaml", "empty.csv"], "empty.csv', must be readable as one table"),
        (["plan", "plan.yaml", "--history", "junk.parquet"], "junk.parquet', must be readable as one table"),
        (["decide", "plan.yaml", "folder"], "must be a folder with .parquet files"),
        (["decide", "plan.yaml", "units.parquet", "--exposures", "text.csv"], "must be readable as one table"),
        ([*_WHY, "--exposures", "half.csv"], "units of outcomes without exposures == 4000"),
        ([*_WHY, "--exposures", "text.csv"], "must be readable as one table"),
    ],
    ids=[
        "no file", "ending", "which treatment", "metric", "no plan", "no parquet", "cut parquet", "empty csv",
        "no history", "empty folder", "types of ids", "decompose: other units", "decompose: types of ids",
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(files, capsys, words, message) -> None:
    (files / "junk.parquet").write_text("junk")
    whole = (files / "units.parquet").read_bytes()
    (files / "cut.parquet").write_bytes(whole[:4] + bytes(2000) + whole[2004:])
    (files / "empty.csv").write_text("")
    (files / "folder").mkdir()
    ids = pl.read_csv(files / "units.csv").select("user_id", "variant", "exposed_at")
    ids.head(4000).write_csv(files / "half.csv")
    ids.with_columns(pl.format("u{}", "user_id").alias("user_id")).write_csv(files / "text.csv")
    places = [files / word if word == "folder" or "." in word else word for word in words]
    status, text = run(capsys, *places)
    assert status == 2 and re.search(message, text) and text.startswith("homing: ") and "Traceback" not in text


def test_days_that_data_number_are_text_on_the_command_line(files, capsys, data) -> None:
    numbered = data.with_columns(pl.Series("exposed_at", np.repeat(np.arange(DAYS) - 10, PER_DAY)))
    numbered.write_parquet(files / "numbered.parquet")
    for day, look in (("-2", 9), ("8", 19)):
        status, text = run(capsys, "status", files / "plan.yaml", files / "numbered.parquet", f"--as-of={day}")
        assert status == 0 and f"greeting, {day}, look {look}: {look * PER_DAY:,} units" in text
    status, text = run(capsys, "status", files / "plan.yaml", files / "numbered.parquet", "--as-of", "2026-03-12")
    assert status == 2 and "as_of == '2026-03-12', must be a whole number" in text


def test_aggregates_have_their_exposures(data) -> None:
    with pytest.raises(InvalidInputError, match="must not be, with aggregates"):
        statistics_of(plan(), data, exposures=data, aggregates=True)


def test_a_baseline_in_yaml_sizes_the_plan(files, capsys) -> None:
    known = "metrics:\n  orders: {mean: 1.0, variance: 1.0}\n  reached: {mean: 0.9}\nunits_per_day: 400\n"
    (files / "baseline.yaml").write_text(known)
    status, text = run(capsys, "plan", files / "plan.yaml", "--baseline", files / "baseline.yaml")
    assert status == 0 and "decided" not in text and "orders" in text
    # What has no window ends when its last unit is exposed.
    open_ended = [(Metric("orders", "mean", "orders"), MDE(rel=0.1))]
    plan(success=open_ended, guardrail=[], deterioration=[]).to_yaml(files / "open.yaml")
    (files / "one.yaml").write_text("metrics:\n  orders: {mean: 1.0, variance: 1.0}\nunits_per_day: 400\n")
    status, text = run(capsys, "plan", files / "open.yaml", "--baseline", files / "one.yaml")
    assert status == 0 and re.search(r"units in \d+ days \(control", text)
    (files / "baseline.yaml").write_text(known.replace("orders", "order"))
    assert "Did you mean 'orders'" in run(capsys, "plan", files / "plan.yaml", "--baseline", files / "baseline.yaml")[1]
