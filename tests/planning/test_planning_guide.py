"""The guide runs as it stands."""

from __future__ import annotations

import doctest
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "planning.md"


def test_the_guide_runs() -> None:
    outcome = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 25
    assert outcome.failed == 0
