"""The registry's champion: loaded by alias with its digest verified, and followed when the alias moves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from homing.errors import UnknownNameError, describe
from homing.policies import PolicyArtifact, load_policy
from homing.registry import find_version, open_registry
from serving.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Champion:
    """A policy to serve.

    Attributes:
        artifact: loaded from files whose SHA-256 digests were verified.
        version: of the registry; the first 12 digits of the digest for a plain folder.
        digest: SHA-256 of the artifact's manifest.
    """

    artifact: PolicyArtifact
    version: str
    digest: str


class ChampionSource:
    """Where the champion comes from.

    `policy:PATH` is one artifact in a folder; everything else is a registry (see `homing.registry.open_registry`).
    """

    def __init__(self, settings: Settings) -> None:
        self._alias = settings.alias
        scheme, _, rest = settings.registry.partition(":")
        self._folder = Path(rest) if scheme == "policy" else None
        self._registry = None if self._folder is not None else open_registry(settings.registry, settings.policy_name)

    def load(self, known: Champion | None = None) -> Champion:
        """The champion now; `known` itself when it still is.

        Raises:
            UnknownNameError: if the alias points at nothing.
            ArtifactError: if the files are not those that were registered.
        """
        if self._registry is None:
            assert self._folder is not None
            artifact = load_policy(self._folder)
            same = known is not None and known.digest == artifact.digest
            return known if known is not None and same else Champion(artifact, artifact.digest[:12], artifact.digest)
        found = find_version(self._registry, self._alias)
        if found is None:
            step = "Run the training pipeline first: make run."
            raise UnknownNameError(describe("HOMING_ALIAS", self._alias, "points at no version of the registry", step))
        if known is not None and (known.version, known.digest) == (found.version, found.digest):
            return known
        # By number, not by alias: the alias may move between the two calls.
        directory = self._registry.resolve(found.version)
        return Champion(load_policy(directory, digest=found.digest), found.version, found.digest)


class Repeater:
    """Calls something every `seconds` on a thread of its own until it is stopped; errors are counted, never fatal."""

    def __init__(
        self, name: str, seconds: float, call: Callable[[], object], failed: Callable[[Exception], object]
    ) -> None:
        self._seconds, self._call, self._failed = seconds, call, failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after `seconds`. With 0 seconds nothing is ever called."""
        if self._seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """End, after a call that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._call()
            except Exception as error:  # the next turn may succeed; until then the old state goes on
                self._failed(error)
                logger.warning("%s failed: %s", self._thread.name, type(error).__name__)
