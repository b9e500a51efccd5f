"""Claim: from one log, a learner of what sticks beats in the long term the policy that logged and rules tuned on it.

Each seed is a population of `MessagingWorld` that the world's behaviour policy has decided about for 56 days. The last
28 are the log, so that its users have a history of messages. What is learnt is then judged by what it truly brings to
other users over 90 days, on common random numbers. The oracle is the same class of policy, trained in the simulator on
pairs of twins (`benchmarks.long_term.oracle`); it sees what every policy sees.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.long_term import oracle
from benchmarks.measure import publish, table
from homing.estimates import interval
from homing.learners import make
from homing.log import FeatureEncoder, LoggedDataset, build_dataset
from homing.policies import PolicyArtifact, load_policy, save_policy
from homing.simulation import AnyPolicy, Rollout, log_decisions, make_world, simulate

WARM_UP_DAYS = LOG_DAYS = 28
HORIZON_DAYS = 90
DAY_US = 86_400_000_000
ORACLE = "oracle trained in the simulator"
SHOWN = ("value", "opted_out", "sends")


class Trained(NamedTuple):
    """A learner, its settings, the weights that it is trained with (None for the world's own), and how many of the
    log's users it sees at most (0 for all)."""

    settings: Mapping[str, Any]
    weights: Mapping[str, float] | None
    users: int


LEARNERS = {
    "structured": Trained({}, None, 0),
    "best-ctr": Trained({}, {"clicked": 1.0}, 0),
    "r-learner": Trained({}, None, 1_000),
    "survival-rule": Trained({"objective": "sessions", "penalties": [100.0]}, None, 1_000),
}

#: What is fitted in seconds; the others take minutes a log and come last.
QUICK, SLOW = ("structured", "best-ctr"), ("r-learner", "survival-rule")


def logged(users: int, seed: int) -> LoggedDataset:
    """The log of one population, without its first weeks."""
    world = make_world("messaging")
    log = log_decisions(
        world, world.behaviour_policy(), days=WARM_UP_DAYS + LOG_DAYS, n_users=users, seed=seed
    )  # fmt: skip
    data = build_dataset(log, world.log_objectives)
    return data.take(np.flatnonzero(data.time >= data.time.min() + WARM_UP_DAYS * DAY_US))


def study(
    users: int, judged: int, seed: int, best: PolicyArtifact, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Each policy against the behaviour policy, a user, from one log."""
    data, world = logged(users, seed), make_world("messaging")

    def live(policy: AnyPolicy) -> Rollout:
        return simulate(
            world, policy, horizon_days=HORIZON_DAYS, n_users=judged, seed=1_000_000 + seed, encoder=data.encoder
        )  # fmt: skip

    base, out = live(world.behaviour_policy()), {}
    for name in names:
        settings, weights, most = LEARNERS[name]
        some = data if not most else data.take(np.flatnonzero(data.user < np.unique(data.user)[most]))
        learner = make(name, epsilon=0.0, **settings)
        out[name] = against(
            live(learner.fit(some, weights=weights or world.weights, rng=np.random.default_rng(seed))), base
        )  # fmt: skip
    if QUICK[0] in names:
        out[ORACLE] = against(live(best), base)
    return out


def against(run: Rollout, base: Rollout) -> dict[str, float]:
    """What a policy brought beyond the behaviour policy, a user."""
    return {
        "value": run.minus(base).value,
        "opted_out": run.minus(base, "opted_out").value,
        "sends": float((run.sends - base.sends).mean()),
    }


def trained_oracle(folder: Path, users: int, rounds: int) -> PolicyArtifact:
    """The oracle, trained if the folder does not hold it yet."""
    if not (folder / "manifest.json").exists():
        world = make_world("messaging")
        log = log_decisions(world, world.behaviour_policy(), days=WARM_UP_DAYS, n_users=2_000, seed=3_000_000)
        encoder = FeatureEncoder.fit(log)
        policy = oracle.train(world, encoder, world.behaviour_policy(), users, rounds, batch=min(users, 40_000))
        save_policy(policy, folder, name="oracle", features=encoder.to_dict())
    return load_policy(folder)


def shown(values: np.ndarray, digits: int) -> str:
    """Mean over seeds with its 95 % t interval; a single one has none."""
    if len(values) < 2:
        return f"{values[0]:+.{digits}f}"
    found = interval(float(values.mean()), (values - values.mean()) / len(values), 0.95)
    return f"{found.value:+.{digits}f} [{found.lower:+.{digits}f}, {found.upper:+.{digits}f}]"


def result(found: list[dict[str, dict[str, float]]], users: int, judged: int, rounds: int, pairs: int) -> str:
    """The tables; a rule that was tuned on fewer logs is held against `structured` on those."""
    gap = np.mean([each[ORACLE]["value"] for each in found])
    rows = []
    for name in (*QUICK, ORACLE, *SLOW):
        having = [each for each in found if name in each]
        if not having:
            continue
        own = {key: np.array([each[name][key] for each in having]) for key in SHOWN}
        less = np.array([each["structured"]["value"] for each in having]) - own["value"]
        rows.append(
            (
                name, str(len(having)), shown(own["value"], 2), f"{own['value'].mean() / gap:.0%}",
                shown(own["opted_out"], 4), f"{own['sends'].mean():+.0f}",
                "" if name == "structured" else shown(less, 2),
            )
        )  # fmt: skip
    mine = np.array([each["structured"]["value"] for each in found])
    most = max(each.users for each in LEARNERS.values())
    header = (
        "policy", "logs", "value", "of the oracle's gain", "opt-outs a user", "messages a user", "`structured` less it"
    )  # fmt: skip
    return "\n\n".join(
        [
            "## The long term, from one log",
            f"`MessagingWorld`, logs of {LOG_DAYS} days and {users:,} users; true values over {HORIZON_DAYS} days of "
            f"{judged:,} other users, against the policy that logged, in sessions' worth a user, paired. Means over "
            "logs with 95 % t intervals.",
            table(header, rows),
            f"`structured` beats the logging policy in {int((mine > 0).sum())} of {len(found)} logs, and closes "
            f"{shown(100.0 * mine / gap, 0)} % of the gap to the oracle, which sees what every policy sees. The oracle "
            f"is {rounds} step{'s' * (rounds > 1)} of improvement on the policy that logs, from {pairs:,} pairs of "
            "twins each; one that goes on from there may do better.",
            f"Thresholds of the uplift learner and the survival rule are tuned on held-out users; they see {most:,} of "
            "the log's users, and are held against `structured` on as many logs as the table says: they fit slowly.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000, help="of each log (default: %(default)s)")
    parser.add_argument("--judged", type=int, default=3_000, help="others, for true values (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--slow-seeds", type=int, default=3, help="logs for tuned rules (default: %(default)s)")
    parser.add_argument("--oracle-users", type=int, default=160_000, help="pairs of twins a round")
    parser.add_argument("--rounds", type=int, default=1, help="of the oracle's training (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("long-term"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    best = trained_oracle(args.keep / "oracle", args.oracle_users, args.rounds)
    found: list[dict[str, dict[str, float]]] = [{} for _ in range(args.seeds)]
    for names, seeds in ((QUICK, args.seeds), (SLOW, args.slow_seeds)):
        for seed in range(seeds):
            file = args.keep / f"{seed}-{names[0]}.json"
            if not file.exists():
                told = study(args.users, args.judged, seed, best, names)
                file.write_text(json.dumps(told), encoding="utf-8")
            found[seed] |= json.loads(file.read_text(encoding="utf-8"))
    publish("long_term", result(found, args.users, args.judged, args.rounds, args.oracle_users))


if __name__ == "__main__":
    main()
