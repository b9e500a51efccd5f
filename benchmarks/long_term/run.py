"""Claim: learners of what sticks beat the log's own policy in the long term, from one log; those of clicks fall behind.

Each seed is a population of `MessagingWorld` that the world's behaviour policy has decided about for 56 days. The last
28 are the log, so that its users have a history of messages. What is learnt is then judged by what it truly brings to
other users over 90 days, on common random numbers.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.measure import publish, table
from homing.estimates import interval
from homing.learners import make
from homing.log import LoggedDataset, build_dataset
from homing.policies import SilencePolicy
from homing.simulation import AnyPolicy, Rollout, log_decisions, make_world, simulate
from homing.simulation.messaging import LongTermRule

WARM_UP_DAYS = LOG_DAYS = 28
HORIZON_DAYS = 90
DAY_US = 86_400_000_000
#: Learner, its settings, and the weights that it is trained with; None for the world's own.
LEARNERS = (
    ("structured", {"epsilon": 0.0}, None),
    ("best-ctr", {"epsilon": 0.0}, {"clicked": 1.0}),
)
OTHERS = ("silence", "oracle that sees the truth")


@dataclass(frozen=True)
class Found:
    """What one policy brought beyond the behaviour policy, a user: value, opt-outs, messages sent."""

    value: float
    opted_out: float
    sends: float


def logged(users: int, seed: int) -> LoggedDataset:
    """The log of one population, without its first weeks."""
    world = make_world("messaging")
    log = log_decisions(
        world, world.behaviour_policy(), days=WARM_UP_DAYS + LOG_DAYS, n_users=users, seed=seed
    )  # fmt: skip
    data = build_dataset(log, world.log_objectives)
    return data.take(np.flatnonzero(data.time >= data.time.min() + WARM_UP_DAYS * DAY_US))


def study(users: int, judged: int, seed: int) -> dict[str, Found]:
    """Each policy against the behaviour policy, from one log."""
    data, world = logged(users, seed), make_world("messaging")
    policies: dict[str, AnyPolicy] = {"silence": SilencePolicy(), "oracle that sees the truth": LongTermRule()}
    for name, settings, weights in LEARNERS:
        learner = make(name, **settings)
        policies[name] = learner.fit(data, weights=weights or world.weights, rng=np.random.default_rng(seed))

    def live(policy: AnyPolicy) -> Rollout:
        return simulate(
            world, policy, horizon_days=HORIZON_DAYS, n_users=judged, seed=1_000_000 + seed, encoder=data.encoder
        )  # fmt: skip

    base = live(world.behaviour_policy())
    out = {}
    for name, policy in policies.items():
        run = live(policy)
        out[name] = Found(
            run.minus(base).value, run.minus(base, "opted_out").value, float((run.sends - base.sends).mean())
        )  # fmt: skip
    return out


def shown(values: list[float], digits: int) -> str:
    """Mean over seeds with its 95 % t interval."""
    x = np.array(values)
    found = interval(float(x.mean()), (x - x.mean()) / len(x), 0.95)
    return f"{found.value:+.{digits}f} [{found.lower:+.{digits}f}, {found.upper:+.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000, help="of each log (default: %(default)s)")
    parser.add_argument("--judged", type=int, default=10_000, help="others, for true values (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(
            pool.map(study, [args.users] * args.seeds, [args.judged] * args.seeds, range(args.seeds))
        )  # fmt: skip
    gap = np.mean([each["oracle that sees the truth"].value for each in found])
    names = [*(name for name, _, _ in LEARNERS), *OTHERS]
    rows = []
    for name in names:
        mine = [each[name] for each in found]
        share = np.mean([one.value for one in mine]) / gap
        rows.append(
            (
                name,
                shown([one.value for one in mine], 2),
                f"{share:.0%}",
                shown([one.opted_out for one in mine], 4),
                f"{np.mean([one.sends for one in mine]):+.0f}",
            )
        )
    better = sum(each["structured"].value > 0 for each in found)
    publish(
        "long_term",
        "\n\n".join(
            [
                "## The long term, from one log",
                f"`MessagingWorld`, {args.seeds} logs of 28 days and {args.users:,} users; true values over "
                f"{HORIZON_DAYS} days of {args.judged:,} other users, against the policy that logged, in sessions' "
                "worth a user, paired. Means over logs with 95 % t intervals.",
                table(("policy", "value", "of the oracle's gain", "opt-outs a user", "messages a user"), rows),
                f"`structured` beats the logging policy in {better} of {args.seeds} logs. The oracle knows each user's "
                "latent state and every parameter: no policy that sees what a log holds can reach it.",
            ]
        ),
    )


if __name__ == "__main__":
    main()
