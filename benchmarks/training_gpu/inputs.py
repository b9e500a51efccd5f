"""A log of the messaging world, as a data set on disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from homing.log import LoggedDataset, build_dataset

DAYS, USERS, SEED = 28, 5_000, 11
#: `MessagingWorld`'s own, which a log does not hold: with one that was made elsewhere, no world is made here.
WEIGHTS = {
    "clicked": 0.0, "sessions": 1.0, "listening_hours": 0.2, "converted": 40.0, "cancelled": -40.0, "churned": -30.0,
    "opted_out": -4.0,
}  # fmt: skip


def log(folder: Path, users: int) -> LoggedDataset:
    """The log in a folder; made where there is none."""
    if not folder.exists():
        from homing.simulation import log_decisions
        from homing.simulation.messaging import MessagingWorld

        world = MessagingWorld()
        assert world.weights == WEIGHTS
        found = log_decisions(world, world.behaviour_policy(), days=DAYS, n_users=users, seed=SEED)
        build_dataset(found, world.log_objectives).save(folder)
    return LoggedDataset.load(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, default=USERS)
    args = parser.parse_args()
    print(f"{log(args.folder, args.users).n:,} decisions")
