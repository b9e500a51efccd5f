"""Versions of policies: registered with their evidence, found by alias, loaded only when their digests match.

Two registries pass one contract test: a folder, and MLflow. `open_registry` picks one by its URI:

>>> import tempfile
>>> registry = open_registry(f"folder:{tempfile.mkdtemp()}")
>>> registry.versions()
()
"""

from __future__ import annotations

from homing.registry.folder import FolderRegistry
from homing.registry.opening import open_registry
from homing.registry.registering import RegisterReport, find_champion, register_run
from homing.registry.registry import (
    CHALLENGER,
    CHAMPION,
    ModelRegistry,
    RegisteredVersion,
    RegistryUnavailableError,
    RunReport,
    find_version,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "FolderRegistry",
    "ModelRegistry",
    "RegisterReport",
    "RegisteredVersion",
    "RegistryUnavailableError",
    "RunReport",
    "find_champion",
    "find_version",
    "open_registry",
    "register_run",
]
