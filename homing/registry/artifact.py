"""Digests of a policy artifact's folder, checked without loading the policy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from homing.errors import ArtifactError, describe

MANIFEST = "manifest.json"


def verify_artifact(directory: Path, digest: str | None = None) -> str:
    """Check that a folder holds exactly the files of its manifest, each with its SHA-256; returns the manifest's.

    A folder that matches its own manifest may still be another artifact than the one wanted: pass `digest` wherever
    it is known from elsewhere (a registry's tag, a deployment). This detects damage and exchange, and is no signature:
    who can write both the files and the place that the digest is kept in can replace both.

    Args:
        directory: the artifact.
        digest: what the manifest's SHA-256 must be, as 64 hex digits.

    Raises:
        ArtifactError: if a file is missing, extra, changed, or outside the folder, or the digest differs.
    """
    path = directory / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise ArtifactError(describe("artifact", str(directory), f"has no {MANIFEST}", "Save it with save_policy."))
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise ArtifactError(
            describe(f"digest of {path}", found, f"must be {digest}, as registered", "Register the artifact again.")
        )
    try:
        files = json.loads(raw)["files"]
        entries = {str(name): str(value) for name, value in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(describe(str(path), raw[:60], 'must be JSON with "files": {name: sha256}')) from error
    there = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if not p.is_dir() or p.is_symlink()}
    there.discard(MANIFEST)
    if there != set(entries):
        odd = sorted(there ^ set(entries))[0]
        bound = "is not in the manifest" if odd in there else "is in the manifest but missing"
        raise ArtifactError(describe(f"file in {directory}", odd, bound, "Register the artifact again."))
    for name, value in entries.items():
        file = directory / name
        if file.is_symlink():
            raise ArtifactError(describe(f"file in {directory}", name, "must not be a link"))
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
        if actual != value:
            raise ArtifactError(
                describe(f"sha256 of {file}", actual, f"must be {value}, as in the manifest", "The file was changed.")
            )
    return found
