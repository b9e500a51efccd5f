"""Claim: what structured effects learn from a log, black-box Q-learning needs ten times as many users for.

Logs of `MessagingWorld` as in `benchmarks.long_term`, and their first users alone. Regret is what the oracle trained in
the simulator brings over 90 days beyond what is learnt, a user, both judged on the same other users and common random
numbers. Homing's Q-learners see the same features and weights, and are trained as one network on the same minibatches;
d3rlpy's are those of `benchmarks.d3rlpy_value`, whose folder this shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.d3rlpy_value.run import NAMED, both
from benchmarks.d3rlpy_value.seeds import STRUCTURED, Seed, Worth
from benchmarks.long_term.oracle import Pairs, improved, twins
from benchmarks.long_term.run import HORIZON_DAYS, LOG_DAYS, WARM_UP_DAYS, shown
from benchmarks.measure import HERE, publish, table
from homing.estimates import t_quantile
from homing.learners import CQL, DoubleDQN, train_many
from homing.log import FeatureEncoder, LoggedDataset
from homing.policies import Policy, load_policy, save_policy
from homing.simulation import log_decisions, make_world

FloatArray = NDArray[np.float64]
#: A number for each seed; and by learner and users of the log.
BySeed = dict[int, float]
Regret = dict[str, dict[int, BySeed]]
ORACLE = "oracle"
SIZES = (500, 1_000, 2_000, 5_000, 20_000)
#: Of users on which Q-learners are trained too: they take minutes.
Q_SIZES = (2_000, 20_000)
#: Chosen by true value on one other log. Training stops earlier where held-out users see no more progress.
SETTINGS = {"gamma": 0.95, "epsilon": 0.0, "steps": 3_000, "patience": 5}
CONSERVATISM = 1.0
BLACK_BOX = ("cql", "double-dqn")
PAIRS_AT_A_TIME = 40_000


def black_box(seed: int, data: LoggedDataset) -> dict[str, Policy]:
    """Both Q-learners, trained as one network."""
    learners = [CQL(conservatism=CONSERVATISM, **SETTINGS), DoubleDQN(**SETTINGS)]
    weights, rng = make_world("messaging").weights, np.random.default_rng(seed)
    return dict(zip(BLACK_BOX, train_many(data, learners, weights=weights, rng=rng), strict=True))


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


def regrets(seeds: Sequence[Seed], q_seeds: Sequence[int], best: Policy) -> tuple[BySeed, Regret]:
    """What the oracle is worth in each seed, and what each learner falls short of it, by users of the log.

    Args:
        seeds: all.
        q_seeds: those of Homing's Q-learners.
        best: the oracle.
    """
    gains: BySeed = {}
    out: Regret = {name: {} for name in (STRUCTURED, *BLACK_BOX, *NAMED.values())}
    for seed in seeds:
        gains[seed.seed] = seed.kept(ORACLE, partial(oracle, seed, best))[ORACLE]["value"]
        worth = [(size, seed.structured(size)) for size in SIZES]
        if seed.seed in q_seeds:
            fit = partial(black_box, seed.seed)
            worth += [(size, seed.kept(f"q-{size}", partial(seed.learnt, size, fit))) for size in Q_SIZES]
        peers = both(seed)
        worth.append((max(SIZES), {label: peers[name] for name, label in NAMED.items()}))
        for size, each in worth:
            for name, told in each.items():
                out[name].setdefault(size, {})[seed.seed] = gains[seed.seed] - told["value"]
    return gains, {name: sizes for name, sizes in out.items() if sizes}


def result(regret: Regret, gains: BySeed, judged: int) -> str:
    """The tables, and what follows from them."""
    largest, names = max(SIZES), tuple(regret)
    rows = [
        (f"{size:,}", *(_cell(regret[name][size]) if size in regret[name] else "" for name in names)) for size in SIZES
    ]  # fmt: skip
    black = min(names[1:], key=lambda name: float(_array(regret[name].get(largest, {0: np.inf})).mean()))
    less = {size: _less(each, regret[black][largest]) for size, each in regret[STRUCTURED].items()}
    lines = [(f"{size:,}", f"{largest // size}", _cell(each)) for size, each in less.items()]
    return "\n\n".join(
        [
            "## Regret by log size",
            f"`MessagingWorld`, logs of {LOG_DAYS} days; true values over {HORIZON_DAYS} days of {judged:,} other "
            "users. Regret is what the oracle trained in the simulator brings beyond a learner, in sessions' worth a "
            f"user; that of the policy that logged is {_cell(gains)}. Means over logs with 95 % t intervals, and the "
            "number of logs.",
            table(("users of the log", *names), rows),
            "![Regret by log size](regret.svg)",
            f"The best Q-learner on {largest:,} users is {black}. Regret of `{STRUCTURED}` less that, paired by log:",
            table((f"users of `{STRUCTURED}`'s log", "times less data", "difference"), lines),
            _statement(black, less),
            f"Homing's Q-learners: discount {SETTINGS['gamma']:g} a day, at most {SETTINGS['steps']:,} steps of "
            f"gradient, a conservatism of {CONSERVATISM:g}; the best of a few by true value on one other "
            "log. d3rlpy's are those of [d3rlpy_value](../d3rlpy_value/result.md).",
        ]
    )  # fmt: skip


def _array(each: BySeed) -> FloatArray:
    return np.array(list(each.values()))


def _cell(each: BySeed) -> str:
    return f"{shown(_array(each), 2)} ({len(each)})"


def _less(one: BySeed, other: BySeed) -> BySeed:
    """Differences in the seeds that both have."""
    return {seed: value - other[seed] for seed, value in one.items() if seed in other}


def _statement(black: str, less: Mapping[int, BySeed]) -> str:
    """From which size on it is no worse, on average and beyond doubt."""
    largest = max(less)
    enough = [size for size, each in less.items() if _array(each).mean() <= 0]
    surely = [size for size, each in less.items() if _array(each).mean() + _half(each) <= 0]
    if not enough:
        return f"**`{STRUCTURED}` reaches the regret of {black} at no size.**"
    text = f"`{STRUCTURED}` is at or below it on average from {min(enough):,} users on, {largest // min(enough)} times"
    text += " less data"
    if surely:
        text += f"; with an interval that excludes the contrary from {min(surely):,}, {largest // min(surely)} times"
    return text + ("." if largest >= 10 * min(enough) else ". **That is less than ten times.**")


def _half(each: BySeed) -> float:
    """Half of the 95 % t interval of the mean; not a number for a single one."""
    n = len(each)
    return float(t_quantile(0.95, n - 1) * _array(each).std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan


def plot(regret: Regret) -> None:
    """Mean regret by users of the log, with 95 % intervals over logs."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, sizes in regret.items():
        mean = [_array(each).mean() for each in sizes.values()]
        half = [_half(each) for each in sizes.values()]
        axes.errorbar(list(sizes), mean, yerr=half, label=name, marker="o", capsize=3)
    axes.set(xlabel="users of the log", ylabel="regret (sessions' worth a user)", xscale="log", ylim=(0, None))
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(HERE / "log_size" / "regret.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--judged", type=int, default=2_500, help="others, for true values (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="(default: 0 to 9)")
    parser.add_argument("--q-seeds", type=int, nargs="*", default=[0, 1], help="of Homing's Q-learners (default: 0 1)")
    parser.add_argument("--oracle", type=Path, help="folder of a trained oracle (default: trained into --keep)")
    parser.add_argument("--oracle-users", type=int, default=160_000, help="pairs of twins (default: %(default)s)")
    parser.add_argument("--logs", type=Path, help="folder of logs that were saved as SEED/log; others are made")
    parser.add_argument("--keep", type=Path, default=Path("d3rlpy-value"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    best = trained(args.oracle or args.keep / "oracle", args.oracle_users)
    seeds = [Seed(number, max(SIZES), args.judged, args.logs, args.keep) for number in args.seeds]
    gains, regret = regrets(seeds, args.q_seeds, best)
    plot(regret)
    publish("log_size", result(regret, gains, args.judged))


if __name__ == "__main__":
    main()
