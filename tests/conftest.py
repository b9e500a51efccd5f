"""Fixtures that every room shares."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

# Before NumPy loads its linear algebra: threads in products as small as the tests' wait for each other more than they
# work. With one the quick tests of evaluation take 68 s instead of 188 s on two busy cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np

# Before anything imports them: no telemetry of dependencies, no pickles.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_enable_open_telemetry", "0")  # see homing.engines.ray
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """What the modules hold is there to stay: collections of garbage need not walk it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator: every draw of a test is the same in each run."""
    return np.random.default_rng(20261123)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets: $HOMING_DATA, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("HOMING_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"no real data at {folder.name!r}: set HOMING_DATA to the folder that holds hillstrom/, obd_sample/ …"
        )
    return folder
