"""The guide runs as printed, and names every world."""

from __future__ import annotations

import doctest
from pathlib import Path

from homing.simulation import world_names

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/simulation.md"


def test_every_block_runs() -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(GUIDE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert result.attempted > 30
    assert result.failed == 0


def test_every_world_is_named() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    assert [name for name in world_names() if f"| `{name}` |" not in page] == []
