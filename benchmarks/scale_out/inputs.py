"""A log of the messaging world on disk, and what both sides of the memory claim are given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

#: Decisions of a user in these days, about: the log is as long as its users make it.
DAYS = 28
SEED = 11


def peak_mib() -> float:
    """The most memory that this process has held, MiB (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def write(folder: str, users: int) -> int:
    """Write the log; returns its decisions."""
    from homing.simulation import Delivery, log_decisions, make_world

    world: Any = make_world("messaging")
    log = log_decisions(
        world, world.behaviour_policy(), days=DAYS, n_users=users, seed=SEED, delivery=Delivery(), out=folder
    )
    return log.n_decisions


if __name__ == "__main__":
    print(write(sys.argv[1], int(sys.argv[2])))
