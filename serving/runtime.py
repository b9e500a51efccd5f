"""Everything that one serving process runs: the decision service, the refresh of what it serves, the log's export."""

from __future__ import annotations

import logging
import socket
import threading
from datetime import timedelta

from homing.decisions import Budgets, DecisionService, ExportCounts, GuardRules, SqliteLedger, export
from homing.errors import HomingError, InvalidInputError, describe
from serving.champion import ChampionSource, Repeater
from serving.settings import Settings

logger = logging.getLogger(__name__)


class Runtime:
    """Built from settings; `start` begins the background work, `close` ends it with a last export.

    Raises:
        HomingError: if the champion or the prices cannot be loaded or do not fit each other, or a setting is wrong.
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
        self.budgets = self._published()
        self.ledger = SqliteLedger(settings.ledger)
        self.service = DecisionService(
            self.champion.artifact,
            rules.guards(),
            self.ledger,
            version=self.champion.version,
            budgets=self.budgets,
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
        """Begin to follow champion and prices, and to export."""
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
        """Serve the champion and the prices of this moment; says whether either is another one than before.

        Both are replaced together, so that prices made for a new champion wait for it, and it for them.

        Raises:
            HomingError: if the champion cannot be loaded, or it and the prices do not fit each other; both old ones go
                on.
        """
        found = self._source.load(self.champion)
        try:
            budgets = self._published()
        except HomingError as error:  # the old prices are still today's budgets
            self.service.tally.add("prices_refresh_failures")
            logger.warning("prices not taken over: %s", error)
            budgets = self.budgets
        same = _version(budgets) == _version(self.budgets)
        if found is self.champion and same:
            return False
        self.service.replace_policy(found.artifact, found.version, budgets=budgets)
        if found is not self.champion:
            self.service.tally.add("policy_refreshes")
        if not same:
            self.service.tally.add("prices_refreshes")
        self.champion, self.budgets = found, budgets
        logger.info("now serving %s, prices %s", self.service.model.label, _version(budgets))
        return True

    def _published(self) -> Budgets | None:
        """Budgets at the prices of this moment.

        Raises:
            ArtifactError: if the file is missing, damaged, of another format or not the one that is asked for.
        """
        path = self.settings.prices
        return None if path is None else Budgets.from_file(path, digest=self.settings.prices_digest or None)

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
            "prices": _version(self.budgets),
            "objectives": list(model.artifact.objectives),
            "context": context,
            "candidate_features": candidate,
        }


def _version(budgets: Budgets | None) -> str | None:
    return None if budgets is None else budgets.prices.version


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
