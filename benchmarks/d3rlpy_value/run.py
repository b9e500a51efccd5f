"""Claim: from one log and with as much computing, the default learner is worth more than d3rlpy's Q-learners.

A seed is a log of `MessagingWorld` as in `benchmarks.long_term`. d3rlpy knows a fixed number of actions, and no masks:
a domain and a channel are an action here (`pairs.py`), its networks see the same columns, and its policy chooses among
what is eligible. It maximises the same weighted reward, discounted by the time that passes, and trains for as many CPU
seconds as Homing's fit took on that log. What is learnt is judged by what it truly brings to other users over 90 days,
on common random numbers.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.d3rlpy_value.pairs import PairPolicy, Pairs, export
from benchmarks.d3rlpy_value.seeds import STRUCTURED, Seed, Worth
from benchmarks.long_term.run import HORIZON_DAYS, LOG_DAYS, shown
from benchmarks.measure import PEERS, publish, run, table
from homing.simulation import make_world

NAMED = {"cql": "d3rlpy 2.8.1, DiscreteCQL", "double-dqn": "d3rlpy 2.8.1, DoubleDQN"}
#: The objective after which nothing comes.
LEAVING = "churned"
#: Chosen by true value on one other log; `alpha` is CQL's. d3rlpy's own defaults take far more steps than there is time
#: for: batches of 32, a learning rate of 6e-5, and a target network that is renewed after 8,000 steps.
SHARED = {"batch_size": 256, "learning_rate": 1e-3, "target_update_interval": 100, "gamma": 0.985}
SETTINGS: dict[str, dict[str, Any]] = {"cql": {**SHARED, "alpha": 1.0}, "double-dqn": SHARED}


def peers(seed: Seed, users: int, settings: Mapping[str, Mapping[str, Any]], seconds: float = math.inf) -> Worth:
    """What d3rlpy's learners are worth from the first users of a log.

    Args:
        seed: the log.
        users: of it.
        settings: of each learner by name; `steps` is how many it takes at most.
        seconds: of the CPU, at most, for each learner.
    """
    world, data, out = make_world("messaging"), seed.first(users), {}
    assert data.encoder is not None
    pairs = Pairs.of(data.encoder)
    weights = np.array([world.weights[name] for name in data.objectives])
    with TemporaryDirectory() as folder:
        log, net = Path(folder) / "log.npz", Path(folder) / "net.npz"
        export(data, weights, SHARED["gamma"], LEAVING, log)
        for name, each in settings.items():
            told = json.dumps(each)
            side = run("benchmarks.d3rlpy_value.peer", name, log, seed.seed, seconds, told, net, python=PEERS)
            found = seed.worth(PairPolicy.load(net, pairs))
            out[name] = {**found, "cpu_s": side.best_cpu_s, "steps": side.answer["steps"]}
    return out


def both(seed: Seed) -> Worth:
    """Homing's default learner, and d3rlpy's with its CPU seconds."""
    ours = seed.structured(seed.users)
    seconds = ours[STRUCTURED]["cpu_s"]
    return {**ours, **seed.kept("d3rlpy", lambda: peers(seed, seed.users, SETTINGS, seconds))}


def result(found: list[Worth], users: int, judged: int) -> str:
    """The table."""
    told = {
        name: {key: np.array([each[name][key] for each in found]) for key in found[0][name]} for name in found[0]
    }  # fmt: skip
    mine = told[STRUCTURED]
    rows = [(f"Homing, `{STRUCTURED}`", *_row(mine), "", "", "")]
    for name, peer in NAMED.items():
        less = mine["value"] - told[name]["value"]
        rows.append((
            peer, *_row(told[name]), f"{told[name]['steps'].mean():,.0f}", shown(less, 2),
            f"{int((less > 0).sum())} of {len(found)}",
        ))  # fmt: skip
    header = (
        "learner", "value", "opt-outs a user", "messages a user", "CPU s", "steps of gradient",
        f"`{STRUCTURED}` less it", f"logs in which `{STRUCTURED}` is better",
    )  # fmt: skip
    better = np.all([mine["value"] > told[name]["value"] for name in NAMED], axis=0)
    return "\n\n".join(
        [
            "## Against d3rlpy, from one log",
            f"`MessagingWorld`, {len(found)} logs of {LOG_DAYS} days and {users:,} users; true values over "
            f"{HORIZON_DAYS} days of {judged:,} other users, against the policy that logged, in sessions' worth a "
            "user, paired. Means over logs with 95 % t intervals.",
            table(header, rows),
            f"`{STRUCTURED}` is better than both in {int(better.sum())} of {len(found)} logs.",
            "d3rlpy trains for as many CPU seconds as Homing's fit took on the same log when d3rlpy was run, which is "
            "not run again where only Homing has changed; reading the log is not counted. "
            "Its actions are silence and 15 pairs of domain and channel, of which no user has two messages at a time. "
            "It sees the same columns, standardised; a transition's interval is the time that passed; users who leave "
            "end an episode. Its targets do not know what is eligible; its policy does. What it was set to, the best "
            f"of a few by true value on one other log: {_told()}.",
        ]
    )  # fmt: skip


def _row(told: dict[str, np.ndarray]) -> tuple[str, str, str, str]:
    return (
        shown(told["value"], 2), shown(told["opted_out"], 4), f"{told['sends'].mean():+.0f}",
        f"{told['cpu_s'].mean():.0f}",
    )  # fmt: skip


def _told() -> str:
    return "; ".join(
        f"{NAMED[name].split(', ')[1]} " + ", ".join(f"{key} {value:g}" for key, value in each.items())
        for name, each in SETTINGS.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000, help="of each log (default: %(default)s)")
    parser.add_argument("--judged", type=int, default=2_500, help="others, for true values (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="(default: 0 to 9)")
    parser.add_argument("--logs", type=Path, help="folder of logs that were saved as SEED/log; others are made")
    parser.add_argument("--keep", type=Path, default=Path("d3rlpy-value"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    found = [both(Seed(number, args.users, args.judged, args.logs, args.keep)) for number in args.seeds]
    publish("d3rlpy_value", result(found, args.users, args.judged))


if __name__ == "__main__":
    main()
