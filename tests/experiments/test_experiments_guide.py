"""The guide runs as printed, and names every monitoring design."""

from __future__ import annotations

import doctest
from pathlib import Path

from homing.experiments import MONITORING

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/experiments.md"


def test_every_block_runs() -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(GUIDE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert result.attempted > 30
    assert result.failed == 0


def test_every_design_is_named() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    assert [kind.__name__ for kind in MONITORING.values() if f"| `{kind.__name__}(" not in page] == []
