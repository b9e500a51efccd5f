"""The registry protocol and its types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from homing.errors import HomingError, InvalidInputError, UnknownNameError, describe, unknown_name

CHAMPION = "champion"
CHALLENGER = "challenger"
ALIASES = (CHAMPION, CHALLENGER)


class RegistryUnavailableError(HomingError, ConnectionError):
    """The registry's server or database does not answer, or refuses. What was resolved before can still be used."""


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of the policy, as the registry lists it.

    Attributes:
        version: its number as a string, counting from "1".
        digest: SHA-256 of the artifact's manifest (64 hex digits), taken when it was registered.
        aliases: the aliases that point at it now.
        created_at: seconds since 1970-01-01 UTC.
        run_id: the tracked run that it came from.
        key: what made this registration unique; registering the same artifact under the same key again adds nothing.
    """

    version: str
    digest: str
    aliases: tuple[str, ...]
    created_at: float
    run_id: str
    key: str = ""

    def to_dict(self) -> dict[str, object]:
        """As JSON types."""
        return {**self.__dict__, "aliases": list(self.aliases)}


@dataclass(frozen=True)
class RunReport:
    """What is tracked beside a version: how it came about and what is known of it.

    Attributes:
        run_name: a name that a person recognises.
        params: settings (learner, seed, data set, fingerprint …).
        metrics: finite numbers by name; an estimate goes in as `…/value`, `…/lower`, `…/upper`.
        history: a metric's values by step (loss by epoch).
        tags: short texts to search by.
        artifacts: name → file or folder to keep (reports, evaluation).
        key: registering the same artifact under the same key again returns the first version; "" for always anew.

    Raises:
        InvalidInputError: if a metric is not a finite number or an artifact is not there.

    Example:
        >>> RunReport(run_name="first", metrics={"loss": float("nan")})
        Traceback (most recent call last):
            ...
        homing.errors.InvalidInputError: metrics['loss'] == nan, must be a finite number. Leave out ...
    """

    run_name: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        numbers = [(f"metrics[{name!r}]", value) for name, value in self.metrics.items()]
        numbers += [
            (f"history[{name!r}][{i}]", v) for name, values in self.history.items() for i, v in enumerate(values)
        ]
        for name, value in numbers:
            if not (isinstance(value, int | float | np.number) and np.isfinite(value)):
                raise InvalidInputError(
                    describe(name, value, "must be a finite number", "Leave out what was not measured.")
                )
        for name, path in self.artifacts.items():
            if not Path(path).exists():
                raise InvalidInputError(
                    describe(f"artifacts[{name!r}]", str(path), "must be a file or a folder that exists")
                )


@runtime_checkable
class ModelRegistry(Protocol):
    """Keeps versions of one policy, and the aliases by which others find them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from homing.policies import SilencePolicy, save_policy
        >>> from homing.registry import FolderRegistry, RunReport
        >>> folder = Path(tempfile.mkdtemp())
        >>> digest = save_policy(SilencePolicy(), folder / "policy")
        >>> registry = FolderRegistry(folder / "registry")
        >>> version = registry.register(folder / "policy", RunReport(run_name="first"))
        >>> registry.promote(version)
        >>> registry.resolve("champion").joinpath("policy.json").is_file()
        True
    """

    def register(self, directory: Path, report: RunReport, *, alias: str | None = CHALLENGER) -> str:
        """Add a policy artifact with its report as a new version, then point `alias` at it; returns the version.

        A process that dies in between leaves a version without alias: readers never see half of one.

        Raises:
            ArtifactError: if the artifact does not match its own manifest.
        """
        ...

    def resolve(self, alias: str) -> Path:
        """A local folder with the policy artifact of an alias ("champion") or a version ("3"), its digests verified.

        Raises:
            UnknownNameError: if there is no such alias or version.
            ArtifactError: if the files are not those that were registered.
        """
        ...

    def promote(self, version: str) -> None:
        """Make a version the champion. Its files are verified first; the champion alias moves last.

        Promoting an older version is the way back. If the version was the challenger, it is the challenger no more.
        """
        ...

    def versions(self) -> tuple[RegisteredVersion, ...]:
        """All versions, oldest first."""
        ...


def find_version(registry: ModelRegistry, alias: str) -> RegisteredVersion | None:
    """The version that an alias ("champion") or a number ("3") stands for, or None."""
    for item in registry.versions():
        if alias == item.version or alias in item.aliases:
            return item
    return None


def no_such_version(alias: str, versions: Sequence[RegisteredVersion]) -> UnknownNameError:
    """The error for an alias or a version that the registry does not have."""
    if not versions:
        return UnknownNameError(
            describe("version", alias, "the registry is empty", "Run the training pipeline first: make run.")
        )
    known = {item.version for item in versions} | {alias for item in versions for alias in item.aliases}
    return unknown_name("version", alias, known)


def check_alias(alias: str | None) -> None:
    """Refuse an alias other than champion and challenger."""
    if alias is not None and alias not in ALIASES:
        raise unknown_name("alias", alias, ALIASES)
