"""Checkpoints of training: a file of tensors and a JSON that names it. Whenever the power fails, one is whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from homing.errors import CorruptFileError, InvalidInputError, describe

_POINTER = "checkpoint.json"
_AGAIN = "Remove the folder to train from the beginning."


@dataclass(frozen=True)
class Checkpoints:
    """The newest state of one training in one folder.

    A state is written under a new name and forced to disk before the JSON that points to it is replaced, so that there
    is always one that is whole.

    Attributes:
        folder: made if need be.
        key: what is trained on what; a state of another key is refused.

    Example:
        >>> import tempfile
        >>> kept = Checkpoints(Path(tempfile.mkdtemp()), key="a")
        >>> kept.load() is None
        True
        >>> kept.save({"x": torch.ones(2)}, {"step": 3})
        >>> kept.load()[0]["x"].tolist(), kept.load()[1]
        ([1.0, 1.0], {'step': 3})
    """

    folder: Path
    key: str

    def save(self, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
        """Keep a state: tensors, and whatever JSON can hold."""
        from safetensors.torch import save

        self.folder.mkdir(parents=True, exist_ok=True)
        data = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        digest = hashlib.sha256(data).hexdigest()
        file = self.folder / f"state-{digest[:16]}.safetensors"
        _write(file, data)
        pointer = {"key": self.key, "file": file.name, "sha256": digest, "numbers": numbers}
        _write(self.folder / _POINTER, json.dumps(pointer, allow_nan=False).encode())
        for other in self.folder.glob("state-*.safetensors"):
            if other != file:
                other.unlink()

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The newest state; None where there is none yet.

        Raises:
            CorruptFileError: if its bytes are not those that were written.
            InvalidInputError: if it belongs to another training.
        """
        from safetensors.torch import load

        pointer = self.folder / _POINTER
        if not pointer.is_file():
            return None
        try:
            found = json.loads(pointer.read_bytes())
            key, digest, numbers = found["key"], found["sha256"], found["numbers"]
            data = (self.folder / Path(found["file"]).name).read_bytes()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(describe("checkpoint", str(pointer), "must be whole", _AGAIN)) from error
        if key != self.key:
            raise InvalidInputError(
                describe("checkpoint", str(self.folder), "belongs to other data, settings or another seed", _AGAIN)
            )
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptFileError(describe("checkpoint", str(pointer), f"must have the SHA-256 {digest}", _AGAIN))
        return load(data), numbers


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
