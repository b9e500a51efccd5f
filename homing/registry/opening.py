"""From a URI to a registry."""

from __future__ import annotations

from pathlib import Path

from homing.errors import InvalidInputError, describe
from homing.registry.folder import FolderRegistry
from homing.registry.registry import ModelRegistry

KINDS = "'folder:PATH', 'mlflow+sqlite:///PATH' or 'mlflow+http(s)://HOST'"


def open_registry(uri: str, name: str = "homing", *, cache: Path | None = None) -> ModelRegistry:
    """Open the registry at a URI.

    Args:
        uri: `folder:PATH`, `mlflow+sqlite:///PATH` (full MLflow, one machine) or `mlflow+http(s)://HOST`
            (a tracking server; mlflow-skinny is enough).
        name: the policy's name: several can live in one registry.
        cache: where MLflow's artifacts are copied to; None for `~/.cache/homing/policies`. A folder needs none.

    Raises:
        InvalidInputError: if the URI is of no known kind, or the name is not made of letters, digits, - and _.
        MissingDependencyError: if MLflow is needed and not installed.

    Example:
        >>> open_registry("postgres://db")
        Traceback (most recent call last):
            ...
        homing.errors.InvalidInputError: registry == 'postgres://db', must be 'folder:PATH', 'mlflow+sqlite:///PATH' or 'mlflow+http(s)://HOST'.
    """
    if not name or not name.replace("-", "a").replace("_", "a").isalnum():
        raise InvalidInputError(describe("name", name, "must be made of letters, digits, '-' and '_'"))
    scheme, _, rest = uri.partition(":")
    if scheme == "folder" and rest:
        return FolderRegistry(Path(rest) / name)
    if scheme in ("mlflow+sqlite", "mlflow+http", "mlflow+https") and rest.strip("/"):
        from homing.registry.mlflow import MlflowRegistry

        return MlflowRegistry(uri.removeprefix("mlflow+"), name, cache=cache)
    raise InvalidInputError(describe("registry", uri, f"must be {KINDS}"))
