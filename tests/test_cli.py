"""The command line tells a user's mistake in one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from homing.cli import main


def test_mistake_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "validate", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("homing: ")
    assert "Traceback" not in error


def test_unknown_dataset_is_hinted_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "describe", "hilstrom"]) == 2
    assert "Did you mean 'hillstrom'?" in capsys.readouterr().err


def test_help_names_every_room(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("log", "datasets", "ope"))


def test_what_the_system_refuses_is_one_sentence_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "x" * 300  # longer than file systems allow
    assert main(["log", "validate", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith(f"homing: file == '{tmp_path}")


def test_more_than_memory_holds_is_one_sentence_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["world", "value", "linkedin", "--users", str(10**13), "--horizon-days", "1"]) == 2
    assert "must suffice. Ask for less at once: fewer users" in capsys.readouterr().err


def test_who_interrupts_sees_no_stack(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=interrupted)
    monkeypatch.setattr("homing.cli.build_parser", lambda: parser)
    assert main([]) == 130
    assert capsys.readouterr().err == "homing: interrupted\n"
