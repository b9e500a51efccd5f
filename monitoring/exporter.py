"""`python -m monitoring.exporter --out DIR`: serve the last drift run's metrics at /metrics."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from monitoring.prometheus import DriftCollector


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Binds to the loopback address unless told otherwise: metrics name features and objectives of the product.
    """
    parser = argparse.ArgumentParser(prog="python -m monitoring.exporter", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder that drift runs write drift.json to")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=9108, help="0 picks a free one")
    args = parser.parse_args(argv)
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(DriftCollector(args.out / "drift.json"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, thread = start_http_server(args.port, addr=args.host, registry=registry)
    print(f"Drift metrics on http://{args.host}:{server.server_port}/metrics", flush=True)
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
