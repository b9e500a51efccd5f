"""Claim: what structured effects learn from a log, black-box Q-learning needs ten times as many users for.

Logs of `MessagingWorld` as in `benchmarks.long_term`, and their first users alone. Regret is what the oracle trained in
the simulator brings over 90 days beyond what is learnt, a user, both judged on the same other users and common random
numbers. The black box is d3rlpy's conservative Q-learner as in `benchmarks.d3rlpy_value`, whose folder this shares, and
takes as many steps as it still gains by, whatever they cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.d3rlpy_value.run import NAMED, SETTINGS, peers
from benchmarks.d3rlpy_value.seeds import STRUCTURED, Seed, Worth
from benchmarks.long_term.oracle import Pairs, improved, twins
from benchmarks.long_term.run import HORIZON_DAYS, LOG_DAYS, WARM_UP_DAYS, shown
from benchmarks.measure import HERE, publish, table
from homing.estimates import Estimate, interval
from homing.log import FeatureEncoder
from homing.policies import Policy, load_policy, save_policy
from homing.simulation import log_decisions, make_world

FloatArray = NDArray[np.float64]
#: Regret by learner and users of the log; (logs,).
Regret = dict[str, dict[int, FloatArray]]
ORACLE = "oracle"
CQL = "cql"
BLACK_BOX = NAMED[CQL]
TIMES = 10
USERS = 50_000
SIZES = (200, 500, 2_000, 5_000, 20_000)
#: Of gradient, by users of the log; at 2,000 and 20,000 chosen by true value on another log: more brought no more.
STEPS = {2_000: 1_300, 5_000: 1_300, 20_000: 2_600, 50_000: 4_000}
RESAMPLES = 10_000
PAIRS_AT_A_TIME = 40_000


def trained(folder: Path, users: int) -> Policy:
    """The oracle: a step of improvement on the policy that logs, trained if the folder does not hold it yet.

    Args:
        folder: of its artifact.
        users: pairs of twins.
    """
    if not (folder / "manifest.json").exists():
        world, batch = make_world("messaging"), min(users, PAIRS_AT_A_TIME)
        policy = world.behaviour_policy()
        encoder = FeatureEncoder.fit(log_decisions(world, policy, days=WARM_UP_DAYS, n_users=2_000, seed=3_000_000))
        pairs = [twins(world, policy, encoder, batch, 2_000_000 + number) for number in range(users // batch)]
        save_policy(improved(Pairs.concat(pairs)), folder, name="oracle", features=encoder.to_dict())
    return load_policy(folder)


def oracle(seed: Seed, best: Policy) -> Worth:
    """What the oracle is worth."""
    return {ORACLE: seed.worth(best)}


def black_box(seed: Seed, users: int) -> Worth:
    """What the black box is worth from the first users of a log."""
    settings = {CQL: {**SETTINGS[CQL], "steps": STEPS[users]}}
    return seed.kept(f"{CQL}-{users}", partial(peers, seed, users, settings))


def worths(seed: Seed, best: Policy) -> dict[str, dict[int, float]]:
    """What the oracle (for any number of users: 0) and each learner are worth, by users of one log."""
    return {
        ORACLE: {0: seed.kept(ORACLE, partial(oracle, seed, best))[ORACLE]["value"]},
        BLACK_BOX: {users: black_box(seed, users)[CQL]["value"] for users in STEPS},
        STRUCTURED: {users: seed.structured(users)[STRUCTURED]["value"] for users in SIZES},
    }


def regrets(found: Sequence[dict[str, dict[int, float]]]) -> tuple[FloatArray, Regret]:
    """What the oracle is worth on each log, and what each learner falls short of it."""
    most = np.array([each[ORACLE][0] for each in found])
    return most, {
        name: {users: most - [each[name][users] for each in found] for users in found[0][name]}
        for name in (STRUCTURED, BLACK_BOX)
    }


def needed(curve: Mapping[int, float], level: float) -> float:
    """Users with which a curve of regret first comes down to a level, linear in log users between its sizes.

    What it rises to in between counts as the best so far. The first size where it starts there already; infinity where
    it never comes down.
    """
    sizes, lowest = np.log(list(curve)), np.minimum.accumulate(list(curve.values()))
    if level < lowest[-1]:
        return np.inf
    at = int(np.argmax(lowest <= level))
    return float(np.exp(np.interp(-level, -lowest[max(at - 1, 0) : at + 1], sizes[max(at - 1, 0) : at + 1])))


def times(regret: Regret, rng: np.random.Generator) -> dict[int, FloatArray]:
    """How many times its users the black box needs for the mean regret of `structured` on a log of each size.

    Returns:
        From all logs, then the ends of the 95 % percentile interval over logs drawn with replacement.
    """
    own, peer = regret[STRUCTURED], regret[BLACK_BOX]
    logs = len(next(iter(own.values())))

    def of(which: NDArray[np.int64]) -> list[float]:
        curve = {users: float(each[which].mean()) for users, each in peer.items()}
        return [needed(curve, float(each[which].mean())) / users for users, each in own.items()]

    draws = np.array([of(rng.integers(0, logs, logs)) for _ in range(RESAMPLES)])
    # Infinities are not interpolated.
    ends = np.quantile(draws, (0.025, 0.975), axis=0, method="closest_observation")
    return dict(zip(own, np.stack([of(np.arange(logs)), *ends], axis=1), strict=True))


def result(regret: Regret, most: FloatArray, judged: int) -> str:
    """The tables, and what follows from them."""
    own, peer = regret[STRUCTURED], regret[BLACK_BOX]
    less = {users: each - peer[TIMES * users] for users, each in own.items() if TIMES * users in peer}
    lowest, from_users = min((float(each.mean()), users) for users, each in peer.items())
    rows = [
        (f"{users:,}", *(shown(each[users], 2) if users in each else "" for each in regret.values()))
        for users in (*SIZES, USERS)
    ]
    ten = [
        (f"{users:,}", f"{TIMES * users:,}", shown(each, 2), f"{int((each <= 0).sum())} of {len(each)}")
        for users, each in less.items()
    ]  # fmt: skip
    level = [
        (f"{users:,}", f"{own[users].mean():+.2f}", _times(each, users))
        for users, each in times(regret, np.random.default_rng(0)).items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "## Regret by log size",
            f"`MessagingWorld`, {len(most)} logs of {LOG_DAYS} days and {USERS:,} users, and their first users "
            f"alone; true values over {HORIZON_DAYS} days of {judged:,} other users. Regret is what the oracle trained "
            "in the simulator brings beyond a learner, in sessions' worth a user; that of the policy that logged is "
            f"{shown(most, 2)}. Means over logs with 95 % t intervals.",
            table(("users of the log", *regret), rows),
            "![Regret by log size](regret.svg)",
            f"`{STRUCTURED}` less the black box on {TIMES} times as many users, paired by log:",
            table((f"users of `{STRUCTURED}`", "of the black box", "difference", "logs in which it is not above"), ten),
            _statement(less),
            f"How many times its users the black box needs to come down to the regret of `{STRUCTURED}`, from the mean "
            "curves, linear in log users between sizes; 95 % percentile intervals over logs drawn with replacement. "
            f"Beyond {max(peer):,} users and below {min(peer):,} nobody looked: what lies there is bounded.",
            table((f"users of `{STRUCTURED}`", "its regret", "times as many"), level),
            f"From {min(peer):,} to {max(peer):,} users the regret of the black box falls by "
            f"{shown(peer[min(peer)] - peer[max(peer)], 2)}: what it lacks is not data alone. "
            f"The lowest regret of the black box is {lowest:+.2f}, on {from_users:,} users; {_users(own, lowest)}.",
            f"The black box is {BLACK_BOX}, as in [d3rlpy_value](../d3rlpy_value/result.md) but for its steps of "
            f"gradient: {_steps()}. On one other log these were the best by true value from 2,000 users (of 350 to "
            "2,600 steps) and from 20,000 (of 650 to 12,000), where neither a discount of 0.95 a day, nor an alpha of "
            "0.3 or 3, nor Homing's own `cql` brought more.",
        ]
    )  # fmt: skip


def _users(own: Mapping[int, FloatArray], level: float) -> str:
    """How many users `structured` needs for a regret."""
    users = needed({users: float(each.mean()) for users, each in own.items()}, level)
    if np.isinf(users):
        return f"`{STRUCTURED}` does not reach it with {max(own):,}"
    if users == min(own):
        return f"`{STRUCTURED}` is there with {users:,.0f} or fewer"
    return f"`{STRUCTURED}` reaches it with about {float(f'{users:.2g}'):,.0f}"


def _steps() -> str:
    return ", ".join(f"{steps:,} from {users:,} users" for users, steps in STEPS.items())


def _times(found: FloatArray, users: int) -> str:
    """A ratio and its interval, each number bounded where no log is that large or small."""
    fewest, most = (size / users for size in (min(STEPS), max(STEPS)))

    def told(ratio: float) -> str:
        if ratio <= fewest:
            return f"< {fewest:.3g}"
        return f"> {most:.3g}" if np.isinf(ratio) else f"{ratio:.3g}"

    value, lower, upper = map(told, found)
    return f"{value} [{lower}, {upper}]"


def _statement(less: Mapping[int, FloatArray]) -> str:
    """Where ten times less data is as good beyond doubt, where it is worse, and where the logs do not tell."""
    found = {users: _mean(each) for users, each in less.items()}
    at = {
        "holds": [users for users, each in found.items() if each.upper <= 0],
        "does not hold": [users for users, each in found.items() if each.lower > 0],
        "is not decided": [users for users, each in found.items() if each.lower <= 0 < each.upper],
    }
    said = [f"{how} at {_listed(sizes)}" for how, sizes in at.items() if sizes]
    means = [users for users, each in found.items() if each.value <= 0]
    return (
        f"**The same regret or less with {TIMES} times fewer users {'; it '.join(said)} users of `{STRUCTURED}`.** "
        f"Means alone are at or below at {_listed(means) or 'none'}."
    )  # fmt: skip


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(f"{users:,}" for users in sizes)


def _mean(each: FloatArray) -> Estimate:
    """Over logs, with its 95 % t interval."""
    return interval(float(each.mean()), (each - each.mean()) / len(each), 0.95)


def plot(regret: Regret) -> None:
    """Mean regret by users of the log, with 95 % intervals over logs."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, sizes in regret.items():
        found = [_mean(each) for each in sizes.values()]
        mean, half = ([each.value for each in found], [each.upper - each.value for each in found])
        axes.errorbar(list(sizes), mean, yerr=half, label=name, marker="o", capsize=3)
    axes.set(xlabel="users of the log", ylabel="regret (sessions' worth a user)", xscale="log", ylim=(0, None))
    sizes = (*SIZES, USERS)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(HERE / "log_size" / "regret.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--judged", type=int, default=2_500, help="others, for true values (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20, 25)), help="(default: 20 to 24)")
    parser.add_argument("--oracle", type=Path, help="folder of a trained oracle (default: trained into --keep)")
    parser.add_argument("--oracle-users", type=int, default=160_000, help="pairs of twins (default: %(default)s)")
    parser.add_argument("--logs", type=Path, help="folder of logs that were saved as SEED/log; others are made")
    parser.add_argument("--keep", type=Path, default=Path("log-size"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    best = trained(args.oracle or args.keep / "oracle", args.oracle_users)
    found = [worths(Seed(number, USERS, args.judged, args.logs, args.keep), best) for number in args.seeds]
    most, regret = regrets(found)
    plot(regret)
    publish("log_size", result(regret, most, args.judged))


if __name__ == "__main__":
    main()
