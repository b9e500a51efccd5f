"""`LoggedDataset` on disk: arrays in safetensors, names in JSON, and a manifest of SHA-256 digests. No pickle."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from homing.errors import CorruptFileError, InvalidInputError, describe
from homing.log.candidates import CandidateStore
from homing.log.dataset import LoggedDataset
from homing.log.features import FeatureEncoder

ARRAYS, META, MANIFEST = "arrays.safetensors", "meta.json", "manifest.json"
FORMAT = 1
_REQUIRED = ("context", "codes", "numeric", "offsets", "eligible", "action", "propensity", "reward", "user", "time")
_AGAIN = "Write it again with LoggedDataset.save, or copy the whole folder."


def save_dataset(dataset: LoggedDataset, directory: str | Path) -> str:
    """Write a dataset into a folder, the manifest last: a folder that was not finished is refused by `load_dataset`.

    Returns:
        The digest: SHA-256 of `manifest.json`. The same data gives the same bytes.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    _replace(directory / ARRAYS, lambda path: save_file(_arrays(dataset), path))
    meta = {
        "format": FORMAT,
        "objectives": list(dataset.objectives),
        "levels": list(dataset.candidates.levels),
        "encoder": None if dataset.encoder is None else dataset.encoder.to_dict(),
        "rows": dataset.n,
        "users": dataset.n_users,
        "fingerprint": dataset.fingerprint,
    }
    _replace(directory / META, lambda path: _write_json(path, meta))
    files = {name: file_digest(directory / name) for name in (ARRAYS, META)}
    _replace(directory / MANIFEST, lambda path: _write_json(path, {"format": FORMAT, "files": files}))
    return file_digest(directory / MANIFEST)


def load_dataset(directory: str | Path) -> LoggedDataset:
    """Read a folder that `save_dataset` wrote.

    Raises:
        InvalidInputError: if the folder holds no dataset, or one of another format.
        CorruptFileError: if a file is missing or its bytes do not match the manifest.
    """
    directory = Path(directory)
    if not (directory / MANIFEST).is_file():
        raise InvalidInputError(
            describe(
                "dataset folder",
                str(directory),
                f"must hold {MANIFEST}",
                "Give a folder that `prepare` or LoggedDataset.save wrote.",
            )
        )
    manifest = _read_json(directory / MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict) or set(files) != {ARRAYS, META}:
        raise InvalidInputError(
            describe(
                str(directory / MANIFEST), manifest, f"must be of format {FORMAT} and list {ARRAYS}, {META}", _AGAIN
            )
        )
    for name, expected in files.items():
        path = directory / name
        if not path.is_file():
            raise CorruptFileError(describe("file", str(path), "is listed in the manifest but missing", _AGAIN))
        if (found := file_digest(path)) != expected:
            raise CorruptFileError(describe(f"sha256 of {path}", found, f"must be {expected}", _AGAIN))
    meta = _read_json(directory / META)
    try:
        arrays = load_file(directory / ARRAYS)
    except SafetensorError as e:
        raise CorruptFileError(describe("file", str(directory / ARRAYS), f"cannot be read ({e})", _AGAIN)) from e
    return _rebuild(meta, arrays, directory)


def dataset_rows(directory: str | Path) -> int:
    """How many rows a saved data set has, as its description says: nothing else of it is read."""
    path = Path(directory) / META
    if not path.is_file():
        raise InvalidInputError(describe("dataset folder", str(directory), f"must hold {META}"))
    return int(_read_json(path)["rows"])


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _arrays(dataset: LoggedDataset) -> dict[str, NDArray[Any]]:
    store = dataset.candidates
    arrays: dict[str, NDArray[Any]] = {
        "context": dataset.context,
        "codes": store.codes,
        "numeric": store.numeric,
        "offsets": store.offsets,
        "eligible": dataset.eligible,
        "action": dataset.action,
        "propensity": dataset.propensity,
        "reward": dataset.reward,
        "user": dataset.user,
        "time": dataset.time,
    }
    if dataset.probs is not None:
        arrays["probs"] = dataset.probs
    if dataset.user_ids is not None:
        encoded = [name.encode() for name in dataset.user_ids.tolist()]
        arrays["user_ids"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        arrays["user_ids_ends"] = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    # safetensors writes the memory as it lies: strides must be those of the shape.
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _rebuild(meta: dict[str, Any], arrays: dict[str, NDArray[Any]], directory: Path) -> LoggedDataset:
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing or meta.get("format") != FORMAT:
        raise CorruptFileError(describe("dataset folder", str(directory), f"lacks {missing or 'its format'}", _AGAIN))
    user_ids = None
    if "user_ids" in arrays:
        text = arrays["user_ids"].tobytes()
        ends = arrays["user_ids_ends"].tolist()
        user_ids = np.array(
            [text[a:b].decode() for a, b in zip([0, *ends[:-1]], ends, strict=True)] if ends else [], dtype=str
        )
    return LoggedDataset(
        context=arrays["context"],
        candidates=CandidateStore(arrays["codes"], tuple(meta["levels"]), arrays["numeric"], arrays["offsets"]),
        eligible=arrays["eligible"],
        action=arrays["action"],
        propensity=arrays["propensity"],
        reward=arrays["reward"],
        objectives=tuple(meta["objectives"]),
        user=arrays["user"],
        time=arrays["time"],
        encoder=None if meta["encoder"] is None else FeatureEncoder.from_dict(meta["encoder"]),
        user_ids=user_ids,
        probs=arrays.get("probs"),
    )


def _replace(path: Path, write: Any) -> None:
    """Write to a name of our own beside `path`, then rename: readers see the whole file or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise CorruptFileError(describe("file", str(path), f"must be JSON ({e})", _AGAIN)) from e
    if not isinstance(data, dict):
        raise CorruptFileError(describe("file", str(path), "must be a JSON object", _AGAIN))
    return data
