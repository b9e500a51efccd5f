"""Machine code that is kept on disk is not used after what it was made of has changed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

MODULE = """
from homing.simulation.compiled import compiled
{imports}
@compiled
def {name}(x):
    return {body}
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "room_of_two"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    # Python's own bytecode tells times apart by the second only.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def write(room: Path, name: str, body: str, imports: str = "") -> None:
    (room / f"{name}.py").write_text(MODULE.format(name=name, body=body, imports=imports))


def answer(room: Path) -> int:
    """What `outer(1)` is for a process that imports it now."""
    for name in [name for name in sys.modules if name.startswith(room.name)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    # What is kept in memory for this process is forgotten, as in a new one.
    from homing.simulation.compiled import _sources

    _sources.cache_clear()
    return importlib.import_module(f"{room.name}.outer").outer(1)


def test_a_change_in_a_module_that_is_called_counts(room: Path) -> None:
    write(room, "inner", "x + 1")
    write(room, "outer", "inner(x) * 10", f"from {room.name}.inner import inner")
    assert answer(room) == 20
    assert list(room.glob("__pycache__/outer*.nbi"))
    write(room, "inner", "x + 200")
    assert answer(room) == 2010
