"""A policy artifact with an encoder, and a real HTTP server around the decision API."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from homing.log.features import FeatureEncoder, Field
from homing.policies import UniformPolicy, save_policy
from serving.replica import application
from serving.settings import Settings

ENCODER = FeatureEncoder(
    context=(Field("recency", "number", mean=5.0, scale=2.0), Field("city", "category", ("Bern", "Rome"))),
    candidate=(Field("message_id", "category", ("m0", "m1")), Field("affinity", "number")),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    save_policy(
        UniformPolicy(), tmp_path / "policy", name="uniform", features=ENCODER.to_dict(), objectives=("clicks",)
    )
    return tmp_path / "policy"


@pytest.fixture
def make_settings(tmp_path: Path, policy: Path) -> Callable[..., Settings]:
    def make(**keys: Any) -> Settings:
        keys = {"registry": f"policy:{policy}", "ledger": tmp_path / "ledger.db", "log_dir": tmp_path / "log", **keys}
        return Settings(**keys)

    return make


@pytest.fixture
def serve(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a uvicorn server on a real socket and gives a client of it."""
    servers: list[tuple[uvicorn.Server, threading.Thread, httpx.Client]] = []

    def start(app: Any = None, **keys: Any) -> httpx.Client:
        number = free_port()
        app = application(make_settings(**keys)) if app is None else app
        server = uvicorn.Server(uvicorn.Config(app, port=number, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run)
        thread.start()
        for _ in range(500):
            if server.started:
                break
            time.sleep(0.01)
        client = httpx.Client(base_url=f"http://127.0.0.1:{number}", timeout=30)
        servers.append((server, thread, client))
        return client

    yield start
    for server, thread, client in servers:
        client.close()
        server.should_exit = True
        thread.join()


@pytest.fixture
def body() -> dict[str, Any]:
    return {
        "user_id": "u-secret-1",
        "context": {"recency": 3, "city": "Bern"},
        "consent": {"push": True},
        "candidates": [
            {"message_id": "m0", "channel": "push", "features": {"affinity": 0.5}},
            {"message_id": "m1", "channel": "push"},
        ],
    }
