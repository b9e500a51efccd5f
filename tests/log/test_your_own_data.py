"""The guide for a company's own tables: its blocks run in order, and print what stands below them."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from homing.cli import main

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/your-own-data.md"
BLOCK = re.compile(r"^```(python|text|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_guide_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert {kind for kind, _ in blocks} == {"python", "text", "console"}
    names: dict[str, object] = {}
    printed = ""
    for kind, text in blocks:
        out = io.StringIO()
        if kind == "python":
            assert printed == "", "a block prints something that the guide does not show"
            with contextlib.redirect_stdout(out):
                exec(compile(text, GUIDE.name, "exec"), names)
            printed = out.getvalue()
        elif kind == "text":
            assert printed == text
            printed = ""
        else:
            command, _, wanted = text.partition("\n")
            with contextlib.redirect_stdout(out):
                assert main(command.removeprefix("$ homing ").split()) == 0
            assert out.getvalue() == wanted
    assert printed == ""
