"""A registry in a folder: no server, no database; several processes may use it at once."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from homing.errors import ArtifactError, describe
from homing.registry.artifact import verify_artifact
from homing.registry.registry import (
    ALIASES,
    CHALLENGER,
    CHAMPION,
    RegisteredVersion,
    RunReport,
    check_alias,
    find_version,
    no_such_version,
)


class FolderRegistry:
    """Versions as folders, aliases as files.

    `versions/3/policy` is an artifact, `versions/3/version.json` what is known of it, `aliases/champion` holds "3".
    A version appears by one rename of a finished folder, an alias moves by one rename of a finished file, so that
    a reader, or a process killed anywhere, sees the old state or the new one.

    Example:
        >>> import tempfile
        >>> FolderRegistry(Path(tempfile.mkdtemp())).resolve("champion")
        Traceback (most recent call last):
            ...
        homing.errors.UnknownNameError: version == 'champion', the registry is empty. Run the training pipeline ...
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def register(self, directory: Path, report: RunReport, *, alias: str | None = CHALLENGER) -> str:
        """Add an artifact as a new version, then point `alias` at it; see `ModelRegistry.register`."""
        check_alias(alias)
        digest = verify_artifact(Path(directory))
        version = self._same(digest, report.key) or self._add(Path(directory), digest, report)
        if alias is not None:
            self._point(alias, version)
        return version

    def resolve(self, alias: str) -> Path:
        """The folder of an alias or a version, verified; see `ModelRegistry.resolve`."""
        found = find_version(self, alias)
        if found is None:
            raise no_such_version(alias, self.versions())
        directory = self.path / "versions" / found.version / "policy"
        verify_artifact(directory, found.digest)
        return directory

    def promote(self, version: str) -> None:
        """Make a version the champion; see `ModelRegistry.promote`."""
        self.resolve(version)
        found = find_version(self, version)
        assert found is not None  # resolve raises when there is none
        if CHALLENGER in found.aliases:
            (self.path / "aliases" / CHALLENGER).unlink(missing_ok=True)
        self._point(CHAMPION, found.version)

    def versions(self) -> tuple[RegisteredVersion, ...]:
        """All versions, oldest first."""
        # Aliases first: a version that one points at by then is in the listing that follows.
        aliases = {alias: self._pointed(alias) for alias in ALIASES}
        folder = self.path / "versions"
        names = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
        return tuple(self._read(str(name), aliases) for name in names)

    def _read(self, version: str, aliases: dict[str, str | None]) -> RegisteredVersion:
        path = self.path / "versions" / version / "version.json"
        try:
            known = json.loads(path.read_bytes())
            return RegisteredVersion(
                version=version,
                digest=str(known["digest"]),
                aliases=tuple(alias for alias, value in aliases.items() if value == version),
                created_at=float(known["created_at"]),
                run_id=str(known["run_id"]),
                key=str(known["key"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                describe(str(path), "unreadable", "must be a version's JSON as this registry wrote it")
            ) from error

    def _pointed(self, alias: str) -> str | None:
        try:
            return (self.path / "aliases" / alias).read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _same(self, digest: str, key: str) -> str | None:
        """The version that this very registration made before, if it did."""
        if not key:
            return None
        return next((v.version for v in self.versions() if (v.key, v.digest) == (key, digest)), None)

    def _add(self, directory: Path, digest: str, report: RunReport) -> str:
        folder = self.path / "versions"
        folder.mkdir(parents=True, exist_ok=True)
        # A name that is no number: never listed, whatever happens to this process.
        draft = folder / f".draft-{uuid.uuid4().hex}"
        try:
            shutil.copytree(directory, draft / "policy")
            verify_artifact(draft / "policy", digest)
            for name, source in report.artifacts.items():
                copy: Callable[[Path, Path], object] = shutil.copytree if Path(source).is_dir() else shutil.copyfile
                target = draft / "reports" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy(Path(source), target)
            record = {
                "digest": digest,
                "created_at": time.time(),
                "run_id": uuid.uuid4().hex,
                "key": report.key,
                "run_name": report.run_name,
                "params": {name: str(value) for name, value in report.params.items()},
                "metrics": {name: float(value) for name, value in report.metrics.items()},
                "history": {name: [float(v) for v in values] for name, values in report.history.items()},
                "tags": dict(report.tags),
            }
            (draft / "version.json").write_text(json.dumps(record, indent=1))
            _sync(draft)
            return self._publish(draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _publish(self, draft: Path) -> str:
        """Rename the draft to the next free number. A rename onto a version that another process took fails."""
        while True:
            taken = [int(p.name) for p in draft.parent.iterdir() if p.name.isdigit()]
            target = draft.parent / str(max(taken, default=0) + 1)
            try:
                draft.rename(target)
            except OSError:
                if not target.exists():
                    raise
                continue
            _sync_folder(draft.parent)
            return target.name

    def _point(self, alias: str, version: str) -> None:
        folder = self.path / "aliases"
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{alias}-{uuid.uuid4().hex}"
        with draft.open("w") as file:
            file.write(version)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / alias)
        _sync_folder(folder)


def _sync(directory: Path) -> None:
    """Have all files of a folder on disk before a rename makes them visible."""
    for path in [*directory.rglob("*"), directory]:
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
