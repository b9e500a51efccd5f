"""The same training by one worker and by two, in a world whose truth is known; a line of JSON a seed.

With `--folder` each seed's line is kept there, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale_out.threads import InThreads
from homing.learners import make
from homing.log import LoggedDataset, build_dataset
from homing.policies import save_policy
from homing.simulation import LoggedWorld, log_decisions, make_world, true_value

#: Users whose log is learnt from, users of the truth, and days of both: the paper's episode.
USERS, JUDGED_USERS, DAYS = 300, 5_000, 50
SETTINGS = {
    "gamma": 0.9, "epsilon": 0.0, "steps": 600, "patience": 99, "sizes": (32, 32), "candidate_units": 0,
    "batch_rows": 128, "learning_rate": 3e-3,
}  # fmt: skip


def policy_of(data: LoggedDataset, rng_seed: int, **more: Any) -> tuple[Any, str]:
    """A policy, and its artifact's digest."""
    policy = make("double-dqn", **SETTINGS, **more).fit(
        data, weights={"steps": 1.0}, rng=np.random.default_rng(rng_seed)
    )
    with tempfile.TemporaryDirectory() as folder:
        return policy, save_policy(policy, folder, objectives=data.objectives)


def seed_of(seed: int, world: LoggedWorld) -> dict[str, Any]:
    """True steps a user of each policy from one log, and of the policy that logged it."""
    log = log_decisions(world, world.behaviour_policy(), days=DAYS, n_users=USERS, seed=seed)
    data = build_dataset(log, world.log_objectives)

    def truth(policy: Any) -> float:
        return true_value(
            world, policy, horizon_days=DAYS, n_users=JUDGED_USERS, seed=10_000 + seed, objective="steps",
            encoder=data.encoder,
        ).value  # fmt: skip

    found = {"seed": seed, "behaviour": truth(world.behaviour_policy()), "1": truth(policy_of(data, seed)[0])}
    two, digest = policy_of(data, seed, engine=InThreads(), workers=2)
    return found | {"2": truth(two), "digest": digest}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        kept = None if args.folder is None else args.folder / f"seed-{seed}.json"
        if kept is None or not kept.is_file():
            line = json.dumps(seed_of(seed, make_world("step-count")))
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(line)
        print(line if kept is None else kept.read_text(), flush=True)


if __name__ == "__main__":
    main()
