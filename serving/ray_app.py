"""The decision service as a Ray Serve application.

`python -m serving.ray_app` (or `make serve`) runs it on this machine; `serving.ray_app:build` is the application that
`serve run` and a RayService import. Both read the `HOMING_…` variables of `serving.settings`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

# Before Ray is imported: it reports usage unless told not to.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import serve

from homing.decisions import SqliteLedger, export
from homing.errors import HomingError, describe
from serving.runtime import preflight
from serving.settings import Settings

logger = logging.getLogger(__name__)


def _asgi() -> Any:
    from serving.replica import installed

    return installed()


@serve.deployment(max_ongoing_requests=64, max_queued_requests=256, graceful_shutdown_timeout_s=10)
@serve.ingress(_asgi)
class DecisionApplication:
    """One replica: one decision service on the ledger's file.

    Several replicas on one machine may share the ledger; /metrics then speaks for the replica that answers.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        from serving.replica import install

        install(Settings.from_environment({**os.environ, **variables}))


def build(args: Mapping[str, str] | None = None) -> Any:
    """The application for `serve run serving.ray_app:build` and RayService; `args` override the environment."""
    return DecisionApplication.bind(dict(args or {}))


def run(settings: Settings) -> None:
    """Serve on this machine until SIGINT or SIGTERM, then export what is left."""
    stop = _stop_on_signals()
    preflight(settings)
    # Not in TMPDIR: the paths of Ray's sockets, some 60 characters longer, may have 100 bytes.
    with tempfile.TemporaryDirectory(prefix="homing-ray-", dir="/tmp") as folder:
        _start_ray(folder)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        _stop_on_signals(stop)  # again: Ray puts its own handler of SIGTERM in place, which ends without the export
        try:
            serve.start(http_options={"host": settings.host, "port": settings.port, "request_timeout_s": 30})
            serve.run(build(settings.to_environment()), name="homing", route_prefix="/")
            print(_welcome(settings), flush=True)
            # In turns: with MLflow and Ray in one process, a signal was seen not to end a plain wait.
            while not stop.wait(0.2):
                pass
            print("\nStopping: exporting the log …", flush=True)
        finally:
            serve.shutdown()
            ray.shutdown()
    ledger = SqliteLedger(settings.ledger)
    counts = export(ledger, settings.log_dir)
    rows = ledger.counts()
    ledger.close()
    print(
        f"{rows['exported_decisions']} decisions and {rows['exported_outcomes']} outcomes are in {settings.log_dir}"
        f" ({counts.decisions} and {counts.outcomes} of them new)."
    )


def _start_ray(folder: str, attempts: int = 3) -> None:
    """Start a Ray of our own, again when its node was not up within Ray's fixed 30 seconds (a busy machine)."""
    # The thread of Ray's OpenTelemetry outlives `ray.shutdown` where Ray is started again, and may bring the process
    # down as it ends. The service's own metrics are at /metrics.
    os.environ.setdefault("RAY_enable_open_telemetry", "0")
    for attempt in range(attempts):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                num_cpus=1,
                _temp_dir=f"{folder}/{attempt}",
                _node_ip_address="127.0.0.1",
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
            return
        except Exception as error:  # Ray raises no narrower type here
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    bound = f"must be up within 30 seconds, tried {attempts} times"
    raise HomingError(describe("Ray's node", "not started", bound, "Look at what else keeps this machine busy."))


def _stop_on_signals(stop: threading.Event | None = None) -> threading.Event:
    stop = threading.Event() if stop is None else stop
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _welcome(settings: Settings) -> str:
    url = f"http://{settings.host}:{settings.port}"
    token = "" if settings.token_file is None else f' -H "Authorization: Bearer $(cat {settings.token_file})"'
    body = (
        '{"user_id": "u1", "consent": {"push": true}, "candidates": ['
        '{"message_id": "welcome", "channel": "push"}, {"message_id": "tips", "channel": "push"}]}'
    )
    return (
        f"\nHoming decides on {url} (decisions are exported to {settings.log_dir}). Try:\n\n"
        f"  curl -s {url}/v1/decide -H 'Content-Type: application/json'{token} \\\n    -d '{body}'\n"
        f"  curl -s {url}/readyz        # what is served, and the features that it knows\n\nCtrl-C stops it."
    )


def main() -> int:
    """The entry point; the exit status is 2 for a mistake that a person can correct."""
    try:
        run(Settings.from_environment(os.environ))
    except HomingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    # Under its own name, not as __main__, so that Ray's workers import the deployment instead of unpickling it.
    from serving import ray_app

    sys.exit(ray_app.main())
