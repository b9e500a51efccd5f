"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import monitoring

# Importing the Evidently metrics costs 10 CPU seconds, and they hold no example.
MODULES = sorted(path.stem for path in Path(monitoring.__file__).parent.glob("[a-z]*.py"))
WITH_EXAMPLES = {"report", "rules", "starters", "statistics", "trigger"}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "evidently_metrics"])
def test_docstring_examples_hold(name: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(importlib.import_module(f"monitoring.{name}"), optionflags=flags)
    assert found.failed == 0
    assert (found.attempted > 0) == (name in WITH_EXAMPLES)
