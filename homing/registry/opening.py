"""From a URI to a registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from homing.errors import InvalidInputError, describe, unknown_name
from homing.registry.folder import FolderRegistry
from homing.registry.registry import ModelRegistry

KINDS = "'folder:PATH', 'mlflow+sqlite:///PATH' or 'mlflow+http(s)://HOST'"


#: The policy's name where nothing else is said.
DEFAULT_NAME = "homing"


def open_registry(uri: str, name: str = "", *, cache: Path | None = None) -> ModelRegistry:
    """Open the registry at a URI.

    Args:
        uri: `folder:PATH`, `mlflow+sqlite:///PATH` (full MLflow, one machine) or `mlflow+http(s)://HOST`
            (a tracking server; mlflow-skinny is enough).
        name: the policy's name, for policies of several products or data sets can live in one registry; "" for the
            only one that does, for `homing` where there are others or none.
        cache: where MLflow's artifacts are copied to; None for `~/.cache/homing/policies`. A folder needs none.

    Raises:
        InvalidInputError: if the URI is of no known kind, or the name is not made of letters, digits, - and _.
        UnknownNameError: if no name is given, and there are several policies, none of them `homing`.
        MissingDependencyError: if MLflow is needed and not installed.

    Example:
        >>> open_registry("postgres://db")
        Traceback (most recent call last):
            ...
        homing.errors.InvalidInputError: registry == 'postgres://db', must be 'folder:PATH', 'mlflow+sqlite:///PATH' or 'mlflow+http(s)://HOST'.
    """
    if name and not name.replace("-", "a").replace("_", "a").isalnum():
        raise InvalidInputError(describe("name", name, "must be made of letters, digits, '-' and '_'"))
    scheme, _, rest = uri.partition(":")
    if scheme == "folder" and rest:
        folder = Path(rest)
        return FolderRegistry(folder / (name or _only([path.parent.name for path in folder.glob("*/versions")])))
    if scheme in ("mlflow+sqlite", "mlflow+http", "mlflow+https") and rest.strip("/"):
        from homing.registry.mlflow import MlflowRegistry

        registry = MlflowRegistry(uri.removeprefix("mlflow+"), name or DEFAULT_NAME, cache=cache)
        if not name:
            registry.name = _only(registry.names())
        return registry
    raise InvalidInputError(describe("registry", uri, f"must be {KINDS}"))


def _only(names: Sequence[str]) -> str:
    """The name that is meant when none is given."""
    if len(names) == 1:
        return names[0]
    if not names or DEFAULT_NAME in names:
        return DEFAULT_NAME
    step = "Several policies live in this registry: name one (HOMING_POLICY_NAME; --name; make: NAME=…)."
    raise unknown_name("policy name", "", names, step)
