"""Reports on disk: strict JSON and safetensors under a manifest of SHA-256 digests, refused when a byte has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import ArtifactError, InvalidInputError, describe

MANIFEST = "manifest.json"


def strict_json(data: Mapping[str, Any]) -> str:
    """JSON that every parser reads: no NaN, no infinities.

    >>> strict_json({"value": float("nan")})
    Traceback (most recent call last):
    homing.errors.InvalidInputError: report == 'Out of range float values are not JSON compliant...', must hold ...
    """
    try:
        return json.dumps(data, indent=1, allow_nan=False)
    except ValueError as error:
        raise InvalidInputError(describe("report", str(error), "must hold finite numbers only")) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write strict JSON through a temporary name, so that a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(strict_json(data) + "\n", encoding="utf-8")
    temporary.replace(path)


def write_manifest(directory: Path, names: tuple[str, ...]) -> str:
    """Seal files with their digests; returns the manifest's own digest."""
    files = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
    write_json(directory / MANIFEST, {"files": files})
    return hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()


def read_verified(directory: str | Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes of the named files, each checked against the manifest.

    Raises:
        ArtifactError: if the manifest or a file is missing, unreadable or altered.
    """
    directory = Path(directory)
    again = "Write the report anew."
    try:
        listed = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError as error:
        raise ArtifactError(describe("report", str(directory), f"must hold {MANIFEST}", again)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(describe(MANIFEST, str(directory), "must be readable JSON with `files`", again)) from error
    if not isinstance(listed, dict) or set(listed) != set(names):
        shown = sorted(listed) if isinstance(listed, dict) else listed
        raise ArtifactError(describe(f"{MANIFEST}: files", shown, f"must be {', '.join(names)}", again))
    out = {}
    for name in names:
        try:
            out[name] = (directory / name).read_bytes()
        except OSError as error:
            raise ArtifactError(describe("file", str(directory / name), "must exist", again)) from error
        digest = hashlib.sha256(out[name]).hexdigest()
        if digest != listed[name]:
            raise ArtifactError(
                describe(f"sha256 of {name}", digest, f"must be {listed[name]}, as the manifest says", again)
            )
    return out


def tensors(arrays: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Arrays as safetensors bytes."""
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def untensors(data: bytes) -> dict[str, NDArray[np.float64]]:
    """Arrays from safetensors bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(data))
    except SafetensorError as error:
        raise ArtifactError(
            describe("safetensors", str(error), "must be readable", "Write the report anew.")
        ) from error
