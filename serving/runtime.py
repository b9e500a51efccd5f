"""Everything that one serving process runs: the decision service, the champion's refresh, the log's export."""

from __future__ import annotations

import logging
import socket
import threading
from datetime import timedelta

from homing.decisions import DecisionService, ExportCounts, GuardRules, SqliteLedger, export
from homing.errors import InvalidInputError, describe
from serving.champion import ChampionSource, Repeater
from serving.settings import Settings

logger = logging.getLogger(__name__)


class Runtime:
    """Built from settings; `start` begins the background work, `close` ends it with a last export.

    Raises:
        HomingError: if the champion cannot be loaded or a setting is wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        try:
            settings.log_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            bound = f"must be a folder that can be written ({error.strerror})"
            raise InvalidInputError(describe("HOMING_LOG_DIR", str(settings.log_dir), bound)) from error
        rules = GuardRules() if settings.guards is None else GuardRules.from_yaml(settings.guards)
        self._source = ChampionSource(settings)
        self.champion = self._source.load()
        self.ledger = SqliteLedger(settings.ledger)
        self.service = DecisionService(
            self.champion.artifact,
            rules.guards(),
            self.ledger,
            version=self.champion.version,
            uniform_share=rules.uniform_share,
            holdout_share=rules.holdout_share,
            salt=rules.salt,
            max_clock_skew=timedelta(seconds=settings.max_clock_skew_seconds),
        )
        self._exporting = threading.Lock()
        tally = self.service.tally
        self._repeaters = (
            Repeater("refresh", settings.refresh_seconds, self.refresh, lambda _: tally.add("policy_refresh_failures")),
            Repeater("export", settings.export_seconds, self.export, lambda _: tally.add("export_failures")),
        )

    def start(self) -> None:
        """Begin to follow the champion and to export."""
        for repeater in self._repeaters:
            repeater.start()

    def close(self) -> None:
        """Stop, export what is left, and close the ledger."""
        for repeater in self._repeaters:
            repeater.stop()
        try:
            self.export()
        except Exception as error:  # the rows stay in the ledger; the next start exports them
            logger.error("last export failed: %s", type(error).__name__)
        self.ledger.close()

    def refresh(self) -> bool:
        """Serve the champion of this moment; says whether it is another one than before."""
        found = self._source.load(self.champion)
        if found is self.champion:
            return False
        self.service.replace_policy(found.artifact, found.version)
        self.champion = found
        self.service.tally.add("policy_refreshes")
        logger.info("now serving %s", self.service.model.label)
        return True

    def export(self) -> ExportCounts:
        """Write what is new in the ledger into the log."""
        with self._exporting:
            counts = export(self.ledger, self.settings.log_dir)
        self.service.tally.add("exported_rows", counts.decisions, table="decisions")
        self.service.tally.add("exported_rows", counts.outcomes, table="outcomes")
        return counts

    def info(self) -> dict[str, object]:
        """What is served, for people and for the readiness answer."""
        model = self.service.model
        context, candidate = model.feature_kinds()
        return {
            "policy": model.label,
            "digest": self.champion.digest,
            "alias": self.settings.alias,
            "objectives": list(model.artifact.objectives),
            "context": context,
            "candidate_features": candidate,
        }


def preflight(settings: Settings) -> None:
    """Do once what a serving process will do, so that a mistake ends with its message before anything starts.

    Raises:
        HomingError: if a setting is wrong, the champion cannot be loaded or the port is taken.
    """
    settings.check_exposure()
    settings.token()
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        # Ports of connections that ended a moment ago are free again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            bound = f"cannot be listened on at {settings.host} ({error.strerror})"
            step = "Stop what listens there, or set HOMING_PORT to a free one."
            raise InvalidInputError(describe("HOMING_PORT", settings.port, bound, step)) from error
    Runtime(settings).ledger.close()
