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
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.long_term import oracle
from benchmarks.measure import publish, table
from homing.estimates import interval
from homing.learners import make
from homing.log import FeatureEncoder, LoggedDataset, build_dataset
from homing.policies import Policy, PolicyArtifact, SendIfPolicy, load_policy, save_policy
from homing.simulation import AnyPolicy, Rollout, log_decisions, make_world, simulate
from homing.simulation.messaging import MessagingWorld

WARM_UP_DAYS = LOG_DAYS = 28
HORIZON_DAYS = 90
DAY_US = 86_400_000_000
ORACLE = "oracle trained in the simulator"
SHOWN = ("value", "opted_out", "sends")
#: Learners that take most of a minute a log.
RULES = ("r-learner", "survival-rule")
#: What a rule's threshold is tuned on, in held-out users of the log.
TUNINGS = ("fewest messages", "off-policy value", "own prediction")


class Trained(NamedTuple):
    """A learner, its settings, and the weights that it is trained with (None for the world's own)."""

    learner: str
    settings: Mapping[str, Any]
    weights: Mapping[str, float] | None = None


LEARNERS = {
    "structured": Trained("structured", {}),
    "best-ctr": Trained("best-ctr", {}, {"clicked": 1.0}),
    "r-learner": Trained("r-learner", {}),
    "survival-rule": Trained("survival-rule", {"objective": "sessions"}),
}


def logged(
    users: int,
    seed: int,
    folder: Path | None = None,
    world: MessagingWorld | None = None,
    encoder: FeatureEncoder | None = None,
) -> LoggedDataset:
    """The log of one population, without its first weeks; kept in a folder, if one is given. Its features are fitted on
    it, or those of another's."""
    if folder is not None and folder.exists():
        return LoggedDataset.load(folder)
    world = world or MessagingWorld()
    log = log_decisions(
        world, world.behaviour_policy(), days=WARM_UP_DAYS + LOG_DAYS, n_users=users, seed=seed
    )  # fmt: skip
    data = build_dataset(log, world.log_objectives, encoder=encoder)
    data = data.take(np.flatnonzero(data.time >= data.time.min() + WARM_UP_DAYS * DAY_US))
    if folder is not None:
        data.save(folder)
    return data


def thresholds(policy: SendIfPolicy, history: Mapping[str, Sequence[float]]) -> dict[str, SendIfPolicy]:
    """A rule by what its threshold is tuned on: off-policy value with the fewest messages that are as good, off-policy
    value alone, and what the rule itself predicts, of which it sends whatever raises it."""
    best = history["threshold"][int(np.argmax(history["gain over silence on held-out users"]))]
    return {TUNINGS[0]: policy, TUNINGS[1]: replace(policy, threshold=best), TUNINGS[2]: replace(policy, threshold=0.0)}


def learnt(name: str, data: LoggedDataset, seed: int) -> dict[str, Policy]:
    """What a learner makes of a log; a rule with a threshold, by each way to tune it."""
    trained = LEARNERS[name]
    learner = make(trained.learner, epsilon=0.0, **trained.settings)
    weights = trained.weights or make_world("messaging").weights
    policy = learner.fit(data, weights=weights, rng=np.random.default_rng(seed))
    history = learner.report.get("history", {})
    if not isinstance(policy, SendIfPolicy) or "threshold" not in history:
        return {name: policy}
    return {f"{name}, {how}": rule for how, rule in thresholds(policy, history).items()}


def study(
    data: LoggedDataset, judged: int, seed: int, oracles: Mapping[str, PolicyArtifact], missing: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Each policy against the behaviour policy, a user, from one log."""
    world = make_world("messaging")

    def live(policy: AnyPolicy) -> Rollout:
        return simulate(
            world, policy, horizon_days=HORIZON_DAYS, n_users=judged, seed=1_000_000 + seed, encoder=data.encoder
        )  # fmt: skip

    base, out = live(world.behaviour_policy()), {}
    for name in missing:
        policies = {name: oracles[name]} if name in oracles else learnt(name, data, seed)
        out |= {each: against(live(policy), base) for each, policy in policies.items()}
    return out


def against(run: Rollout, base: Rollout) -> dict[str, float]:
    """What a policy brought beyond the behaviour policy, a user."""
    return {
        "value": run.minus(base).value,
        "opted_out": run.minus(base, "opted_out").value,
        "sends": float((run.sends - base.sends).mean()),
    }


def trained_oracles(folder: Path, users: Sequence[int]) -> dict[str, PolicyArtifact]:
    """The oracle after each step of improvement, the first from the policy that logs; trained where the folder does not
    hold it yet.

    Args:
        folder: with one of each step in it.
        users: pairs of twins for each step.
    """
    world = make_world("messaging")
    policy: AnyPolicy = world.behaviour_policy()
    out = {}
    for number, pairs in enumerate(users):
        kept = folder / str(number + 1)
        if not (kept / "manifest.json").exists():
            encoder = FeatureEncoder.fit(
                log_decisions(world, world.behaviour_policy(), days=WARM_UP_DAYS, n_users=2_000, seed=3_000_000)
            )
            better = oracle.improve(world, encoder, policy, pairs, number, batch=min(pairs, 40_000))
            save_policy(better, kept, name="oracle", features=encoder.to_dict())
        policy = load_policy(kept)
        out[oracle_name(number + 1)] = policy
    return out


def oracle_name(steps: int) -> str:
    return f"{ORACLE}, {steps} step{'s' * (steps > 1)}"


def shown(values: np.ndarray, digits: int) -> str:
    """Mean over seeds with its 95 % t interval; a single one has none."""
    if len(values) < 2:
        return f"{values[0]:+.{digits}f}"
    found = interval(float(values.mean()), (values - values.mean()) / len(values), 0.95)
    return f"{found.value:+.{digits}f} [{found.lower:+.{digits}f}, {found.upper:+.{digits}f}]"


def best_of(told: dict[str, dict[str, float]], name: str) -> dict[str, float] | None:
    """What is known of a policy on one log; of a tuned rule, of the tuning that was best in truth."""
    having = [told[each] for each in (name, *(f"{name}, {how}" for how in TUNINGS)) if each in told]
    return max(having, key=lambda each: each["value"]) if having else None


def result(found: list[dict[str, dict[str, float]]], users: int, judged: int, pairs: Sequence[int]) -> str:
    """The tables: rules by the better tuning on each log, then each tuning."""
    mine = np.array([each["structured"]["value"] for each in found])
    oracles = [oracle_name(number + 1) for number in range(len(pairs))]
    gaps = {name: np.array([each[name]["value"] for each in found]) for name in oracles}
    tunings = [f"{name}, {how}" for name in LEARNERS for how in TUNINGS]

    def rows(names: Sequence[str]) -> list[tuple[str, ...]]:
        out: list[tuple[str, ...]] = []
        for name in names:
            both = [(each["structured"]["value"], best_of(each, name)) for each in found]
            having = [(its, told) for its, told in both if told is not None]
            if not having:
                continue
            own = {key: np.array([told[key] for _, told in having]) for key in SHOWN}
            less = np.array([its for its, _ in having]) - own["value"]
            out.append(
                (
                    name, str(len(having)), shown(own["value"], 2), shown(own["opted_out"], 4),
                    f"{own['sends'].mean():+.0f}", "" if name == "structured" else shown(less, 2),
                )
            )  # fmt: skip
        return out

    closed = [
        f"{shown(100.0 * mine / gap.mean(), 0)} % of the gap to the oracle of {name.removeprefix(f'{ORACLE}, ')}"
        for name, gap in gaps.items()
    ]
    header = ("policy", "logs", "value", "opt-outs a user", "messages a user", "`structured` less it")
    return "\n\n".join(
        [
            "## The long term, from one log",
            f"`MessagingWorld`, {len(found)} logs of {LOG_DAYS} days and {users:,} users; true values "
            f"over {HORIZON_DAYS} days of {judged:,} others, against the policy that logged, in sessions' worth, "
            "paired. Means over logs with 95 % t intervals. Every learner sees the whole log.",
            table(header, rows([*LEARNERS, *oracles])),
            f"`structured` beats the logging policy in {int((mine > 0).sum())} of {len(found)} logs, and closes "
            f"{', '.join(closed)}. An oracle sees what every policy sees; each step improves on the one before it, the "
            f"first on the policy that logs, from {', '.join(f'{each:,}' for each in pairs)} pairs of twins.",
            "A rule with a threshold stands above with the tuning that was best in truth on each log, which no one "
            "could know: a favour to it. Tuned one way throughout:",
            table(header, rows(tunings)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000, help="of each log (default: %(default)s)")
    parser.add_argument("--judged", type=int, default=3_000, help="others, for true values (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--rule-seeds", type=int, default=10, help="logs for tuned rules (default: %(default)s)")
    parser.add_argument(
        "--oracle-users", type=int, nargs="+", default=[160_000], help="pairs of twins of each of its steps"
    )
    parser.add_argument("--keep", type=Path, default=Path("long-term"), help="folder of what is done")
    parser.add_argument("--logs", type=Path, help="folder to keep logs in, which take 300 MB each")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    oracles = trained_oracles(args.keep / "oracle", args.oracle_users)
    found: list[dict[str, dict[str, float]]] = []
    for seed in range(args.seeds):
        file = args.keep / f"{seed}.json"
        told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        names = [name for name in LEARNERS if name not in RULES or seed < args.rule_seeds]
        missing = [name for name in (*names, *oracles) if best_of(told, name) is None]
        if missing:
            data = logged(args.users, seed, None if args.logs is None else args.logs / str(seed) / "log")
            told |= study(data, args.judged, seed, oracles, missing)
            file.write_text(json.dumps(told), encoding="utf-8")
        found.append(told)
    publish("long_term", result(found, args.users, args.judged, args.oracle_users))


if __name__ == "__main__":
    main()
