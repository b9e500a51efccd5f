"""The closed loop with real processes, small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.closed_loop import main


def test_a_folder_with_other_files_is_not_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["--out", str(tmp_path)]) == 1
    assert "must be empty or an earlier story's (it holds 'thesis.tex')" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_loop_closes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "loop"
    said = main(["--dataset", "open-bandit", "--out", str(out), "--decisions", "500", "--learner", "linear"])
    text = capsys.readouterr()
    assert said == 0, text.err
    facts = json.loads((out / "loop.json").read_text())
    counts = facts["counts"]
    assert counts["decided"] == counts["logged"] == counts["prepared"] + counts["rejected"] == 1000
    assert counts["outcomes_logged"] == counts["outcomes"] and counts["outcomes_sent_twice"] > 0
    assert [facts[f"drift_{name}"]["alert"] for name in ("quiet", "shifted", "again")] == [False, True, True]
    assert "started retraining run" in facts["drift_shifted"]["trigger"]
    assert "was started before" in facts["drift_again"]["trigger"]
    assert facts["retrained"]["runs"] == 1
    assert int(facts["retrained"]["version"]) > int(facts["trained"]["version"])
    assert "1,000 = 1,000 = 1,000 + 0" in text.out and "1,000 = 1,000" in (out / "loop.html").read_text()
