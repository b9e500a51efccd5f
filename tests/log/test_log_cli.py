"""`homing log validate`, as a person calls it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from homing.cli import main
from homing.log import write_log
from tests.log._builders import make_log


def test_a_good_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(make_log(3), tmp_path)
    assert main(["log", "validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "decisions: 3 read, 3 accepted, 0 rejected\n"
        "outcomes:  3 read, 3 accepted, 0 rejected\n\n"
        "The log keeps the contract.\n"
    )


def test_a_bad_log_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(make_log(3, {1: {"propensity": 0.0}}), tmp_path)
    assert main(["log", "validate", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["reasons"] == {"decisions.propensity must be in (0, 1]": 1}


def test_rejected_rows_are_written_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(make_log(3, {1: {"propensity": float("nan")}}, {0: {"kind": "open"}}), tmp_path / "log")
    assert main(["log", "validate", str(tmp_path / "log"), "--rejected", str(tmp_path / "bad")]) == 1
    assert "Did you mean 'opened'?" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "bad/decisions")["decision_id"].to_pylist() == ["d1"]
    assert pq.read_table(tmp_path / "bad/outcomes")["outcome_id"].to_pylist() == ["o0"]
    assert sorted(item.name for item in (tmp_path / "log").iterdir()) == ["decisions", "outcomes"]


@pytest.mark.parametrize("options", [[], ["--rejected"]], ids=["report only", "with rejected rows"])
def test_nothing_but_damaged_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    write_log(make_log(2), tmp_path / "log")
    for file in (tmp_path / "log").rglob("*.parquet"):
        file.write_bytes(b"")
    extra = [*options, str(tmp_path / "bad")] if options else []
    assert main(["log", "validate", str(tmp_path / "log"), *extra]) == 1
    out = capsys.readouterr().out
    assert "2 files refused, nothing of them was read:" in out
    assert "it is 0 bytes long, too short to be Parquet" in out


def test_a_mistake_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "validate", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("homing: path == ")
    assert len(captured.err.splitlines()) == 1


def test_rejected_rows_need_a_folder_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(make_log(2, {1: {"propensity": 0.0}}), tmp_path / "log")
    (tmp_path / "file").write_text("x")
    assert main(["log", "validate", str(tmp_path / "log"), "--rejected", str(tmp_path / "file")]) == 2
    assert "rejected == " in (error := capsys.readouterr().err)
    assert "must be a folder" in error
    assert main(["log", "validate", str(tmp_path / "log"), "--rejected", str(tmp_path / "bad")]) == 1
    assert main(["log", "validate", str(tmp_path / "log"), "--rejected", str(tmp_path / "bad")]) == 2
    assert "must not hold Parquet files yet" in capsys.readouterr().err
