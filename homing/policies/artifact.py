"""Policy artifacts: a folder of JSON and safetensors, loaded only when its digests match. Never pickle.

policy.json           what the policy is: types, parameters, features, objectives, weights, how it was trained
weights.safetensors   its arrays, under dotted names ("base.scorer.interaction")
manifest.json         {"files": {name: SHA-256}}; its own SHA-256 is the artifact's digest
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.errors import ArtifactError, HomingError, InvalidInputError, describe
from homing.policies.encoding import decode, encode
from homing.policies.policy import Policy

FORMAT = 1
POLICY, WEIGHTS, MANIFEST = "policy.json", "weights.safetensors", "manifest.json"
#: JSON files beyond this are refused before they are parsed.
MAX_JSON_BYTES = 64 * 2**20
_AGAIN = "Save the policy again, or take the artifact from the registry."
_KEYS = {"format", "name", "policy", "features", "objectives", "weights", "trained"}


@dataclass(frozen=True, eq=False)
class PolicyArtifact:
    """A saved policy with all that is needed to use it; a policy itself.

    Attributes:
        policy: what was saved.
        name: for people.
        features: `FeatureEncoder.to_dict()` of the encoder that it was trained with; None for a policy that sees none.
        objectives: names of the m objectives that its weights refer to.
        weights: float64 (m,), the default importance of each objective; None for the policy's own.
        digest: SHA-256 of the manifest, 64 hex digits.
        trained: how it was trained, for people.
    """

    policy: Policy
    name: str
    features: dict[str, Any] | None
    objectives: tuple[str, ...]
    weights: NDArray[np.float64] | None
    digest: str
    trained: dict[str, Any] = field(default_factory=dict)

    def action_probs(
        self,
        context: NDArray[np.float32],
        candidates: NDArray[np.float32],
        eligible: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities (n, k) under the given weights, or the artifact's; see `Policy.action_probs`."""
        return self.policy.action_probs(context, candidates, eligible, self.weights if weights is None else weights)


def save_policy(
    policy: Policy,
    directory: str | Path,
    *,
    name: str = "policy",
    features: Mapping[str, Any] | None = None,
    objectives: Sequence[str] = (),
    weights: ArrayLike | None = None,
    trained: Mapping[str, Any] | None = None,
) -> str:
    """Write a policy as an artifact; the manifest comes last, so that a torn write does not load.

    Args:
        policy: of a registered type (`homing.policies.type_names`).
        directory: made if need be; an artifact in it is replaced.
        name: for people; letters, digits, `-`, `_` and `.`.
        features: `FeatureEncoder.to_dict()`.
        objectives: names of the objectives, in the order of the weights.
        weights: default importance of each objective; None for the policy's own.
        trained: how it was trained: plain values for JSON.

    Returns:
        The artifact's digest: the same policy gives the same one.

    Raises:
        InvalidInputError: if names, weights or plain values break their bounds.
        UnknownNameError: if a part's type is not registered.

    Example:
        >>> import tempfile
        >>> from homing.policies import UniformPolicy
        >>> folder = tempfile.mkdtemp()
        >>> digest = save_policy(UniformPolicy(), folder, name="uniform")
        >>> load_policy(folder, digest=digest).policy
        UniformPolicy()
    """
    if not name or not all(ch.isalnum() or ch in "-_." for ch in name):
        raise InvalidInputError(describe("name", name, "must be letters, digits, '-', '_' and '.'"))
    given = None if weights is None else _check_weights(np.asarray(weights, dtype=np.float64), tuple(objectives))
    arrays: dict[str, NDArray[Any]] = {}
    document = {
        "format": FORMAT,
        "name": name,
        "policy": encode(policy, arrays),
        "features": None if features is None else dict(features),
        "objectives": list(objectives),
        "weights": None if given is None else given.tolist(),
        "trained": dict(trained or {}),
    }
    try:
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            describe("features or trained", str(error), "must be plain finite values", "Pass what JSON can hold.")
        ) from error
    from safetensors.numpy import save

    files = {POLICY: (text + "\n").encode(), WEIGHTS: save(arrays)}
    digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    manifest = (json.dumps({"files": digests}, indent=1, sort_keys=True) + "\n").encode()
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in (*files.items(), (MANIFEST, manifest)):
        _write(folder / file, data)
    return hashlib.sha256(manifest).hexdigest()


def load_policy(directory: str | Path, *, digest: str | None = None) -> PolicyArtifact:
    """Read an artifact: every byte is checked against the manifest, every value against its type.

    Args:
        directory: the artifact's folder.
        digest: what the manifest's SHA-256 must be, where it is known from elsewhere. Without it, an artifact whose
            files were all exchanged together is not noticed.

    Raises:
        ArtifactError: if a file is missing or changed, or what it holds is not a policy.
    """
    folder = Path(directory)
    manifest = _read(folder, MANIFEST)
    found = hashlib.sha256(manifest).hexdigest()
    if digest is not None and found != digest:
        raise ArtifactError(describe(f"digest of {folder}", found, f"must be {digest}", _AGAIN))
    files = _json(folder / MANIFEST, manifest).get("files")
    # The names are compared, never followed: a manifest cannot point outside of its folder.
    if not isinstance(files, dict) or set(files) != {POLICY, WEIGHTS}:
        raise ArtifactError(
            describe(f"files of {folder / MANIFEST}", files, f"must name {POLICY} and {WEIGHTS}", _AGAIN)
        )
    content = {}
    for file, want in files.items():
        content[file] = _read(folder, file)
        got = hashlib.sha256(content[file]).hexdigest()
        if got != want:
            raise ArtifactError(
                describe(f"sha256 of {folder / file}", got, f"must be {want}, as in the manifest", _AGAIN)
            )
    document = _json(folder / POLICY, content[POLICY])
    if document.get("format") != FORMAT:
        raise ArtifactError(
            describe(
                f"format of {folder}", document.get("format"), f"must be {FORMAT}", "Install a version that reads it."
            )
        )
    if set(document) != _KEYS:
        odd = sorted(set(document) ^ _KEYS)[0]
        bound = "is missing" if odd in _KEYS else "is not a key of a policy"
        raise ArtifactError(describe(f"key of {folder / POLICY}", odd, bound, _AGAIN))
    return _build(folder, document, _tensors(folder / WEIGHTS, content[WEIGHTS]), found)


def _build(folder: Path, document: dict[str, Any], arrays: dict[str, NDArray[Any]], digest: str) -> PolicyArtifact:
    name, objectives, features = document["name"], document["objectives"], document["features"]
    trained, raw_weights = document["trained"], document["weights"]
    strings = isinstance(objectives, list) and all(isinstance(item, str) for item in objectives)
    mappings = isinstance(trained, dict) and (features is None or isinstance(features, dict))
    if not (isinstance(name, str) and strings and mappings):
        raise ArtifactError(describe(str(folder / POLICY), name, "has a key of the wrong type", _AGAIN))
    try:
        left = dict(arrays)
        policy = decode(document["policy"], left)
        if left:
            raise InvalidInputError(describe("tensor", sorted(left)[0], "belongs to nothing in the policy"))
        if not callable(getattr(policy, "action_probs", None)):
            raise InvalidInputError(describe("type", type(policy).__name__, "must be a policy"))
        weights = None if raw_weights is None else np.asarray(raw_weights, dtype=np.float64)
        if weights is not None:
            _check_weights(weights, tuple(objectives))
    except (HomingError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ArtifactError(f"{folder}: {error} {_AGAIN}") from error
    return PolicyArtifact(policy, name, features, tuple(objectives), weights, digest, trained)


def _check_weights(weights: NDArray[np.float64], objectives: tuple[str, ...]) -> NDArray[np.float64]:
    if weights.shape != (len(objectives),) or not np.isfinite(weights).all():
        raise InvalidInputError(
            describe("weights", weights.tolist(), f"must be {len(objectives)} finite numbers, one per objective")
        )
    return weights


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ArtifactError(describe("artifact", str(folder), f"has no file {name}", _AGAIN))
    return path.read_bytes()


def _json(path: Path, data: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a finite number")

    try:
        if len(data) > MAX_JSON_BYTES:
            raise ValueError(f"{len(data)} bytes are too many")
        value = json.loads(data, parse_constant=refuse)
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(describe(str(path), data[:40], f"must be a JSON object: {error}", _AGAIN)) from error
    return value


def _tensors(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load

    try:
        arrays: dict[str, NDArray[Any]] = load(data)
    except Exception as error:  # safetensors raises its own, KeyError and others on what it cannot read
        raise ArtifactError(describe(str(path), data[:40], f"must be safetensors: {error}", _AGAIN)) from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ArtifactError(describe(f"tensor {name} of {path}", "NaN or infinite", "must be finite", _AGAIN))
    return arrays


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
