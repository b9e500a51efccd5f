"""Claim: a model of how activity depends on volume learns the wrong thing from sends that happened, not from budgets.

Zhao et al. (Pinterest, KDD 2018): weekly budgets are assigned at random for four weeks, and active days in the fifth
are counted. Sends that happened are fewer for whoever closed the channel or left meanwhile, and those are the users who
are less active later: who got few messages seems to need more of them.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import HERE, publish, table
from homing.estimates import t_quantile
from homing.simulation.messaging import MessagingWorld

#: Pushes a week; the last is the world's own cap, what a product without budgets does.
LEVELS = (0, 1, 2, 3, 4, 6, 8)
WEEKS, DAYS = 4, 35
TIERS = ("least active third", "middle third", "most active third")
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """What all users did under one budget: active days of week five (N,), and pushes a week before (N,)."""

    active: FloatArray
    sends: FloatArray


def run(budget: int, users: int, seed: int) -> tuple[Run, FloatArray, FloatArray]:
    """Under one budget; and who allowed push at first (N,), and their sessions in 28 days (N,), NaN if never asked."""
    world = MessagingWorld()
    names = [feature.name for feature in world.context_features]
    sent, allows, activity = (names.index(name) for name in ("push_sends_7d", "push_allowed", "sessions_28d"))
    affinity = [feature.name for feature in world.candidate_features].index("affinity")
    push = np.array(world.catalogue.channel) == "push"
    session = world.objectives.index("sessions")
    world.reset(users, seed)
    active, sends = np.zeros((7, users), bool), np.zeros(users)
    allowed, before = np.full(users, np.nan), np.full(users, np.nan)
    steps_a_day = round(24 / world.step_hours)
    for step in range(DAYS * steps_a_day):
        day, seen = step // steps_a_day, world.observation
        new = np.isnan(allowed[seen.user]) & (day == 0)
        allowed[seen.user[new]], before[seen.user[new]] = seen.context[new, allows], seen.context[new, activity]
        # The push that the recommender thinks most of, while the week's budget lasts.
        may = seen.eligible & push[seen.message] & (seen.message > 0)
        best = np.where(may, seen.features[:, :, affinity], -np.inf).argmax(axis=1)
        action = np.where(may.any(axis=1) & (seen.context[:, sent] < budget), best, 0)
        if day < 7 * WEEKS:
            sends[seen.user] += action > 0
        reward = world.step(action).reward
        if day >= 7 * WEEKS:
            active[day - 7 * WEEKS] |= reward[:, session] > 0
    return Run(active.sum(axis=0).astype(float), sends / WEEKS), allowed, before


@dataclass(frozen=True)
class Readings:
    """Active days by tier and level (3, levels) as three ways of reading tell them, and as they truly are.

    Attributes:
        truth: all users under each budget.
        assigned: mean by assigned budget, in a log of budgets assigned at random.
        realised: mean by sends that happened, rounded to a level, in the same log.
        ordinary: the same in the log of a product without budgets.
    """

    truth: FloatArray
    assigned: FloatArray
    realised: FloatArray
    ordinary: FloatArray


def study(users: int, seed: int) -> Readings:
    """One population. Twins give the truth: a user under each budget; the log is one of them, drawn at random."""
    runs = []
    for budget in LEVELS:
        found, allowed, before = run(budget, users, seed)
        runs.append(found)
    reachable = np.flatnonzero(allowed == 1)
    tier = np.digitize(before[reachable], np.quantile(before[reachable], [1 / 3, 2 / 3]))
    active = np.array([one.active[reachable] for one in runs])
    sends = np.array([one.sends[reachable] for one in runs])
    drawn = np.random.default_rng([seed, 1]).integers(0, len(LEVELS), len(reachable)), np.arange(len(reachable))
    return Readings(
        np.array([active[:, tier == g].mean(axis=1) for g in range(3)]),
        _by(drawn[0], tier, active[drawn]),
        _by(_nearest(sends[drawn]), tier, active[drawn]),
        _by(_nearest(sends[-1]), tier, active[-1]),
    )


def _nearest(sends: FloatArray) -> IntArray:
    """The level that is nearest to each number of sends."""
    out: IntArray = np.abs(sends[:, None] - np.array(LEVELS)).argmin(axis=1)
    return out


def _by(level: IntArray, tier: IntArray, active: FloatArray) -> FloatArray:
    """Mean active days by tier and level; NaN where nobody is."""
    at = tier * len(LEVELS) + level
    size = 3 * len(LEVELS)
    counts = np.bincount(at, minlength=size)
    sums = np.bincount(at, active, minlength=size)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(3, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=25_000, help="of each population (default: %(default)s)")
    parser.add_argument("--populations", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(pool.map(study, [args.users] * args.populations, range(args.populations)))
    plot(found)
    publish("volume_trap", text(found, args.users))


def _ways(found: list[Readings]) -> dict[str, FloatArray]:
    """Active days (populations, 3, levels) by way of reading."""
    return {
        "budget assigned": np.array([one.assigned for one in found]),
        "sends, same log": np.array([one.realised for one in found]),
        "sends, ordinary log": np.array([one.ordinary for one in found]),
    }


def plot(found: list[Readings]) -> None:
    """Active days by volume and tier: the truth, and means over populations of the readings with 95 % bars."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained")
    for g, (tier, at) in enumerate(zip(TIERS, axes, strict=True)):
        truth = np.mean([one.truth[g] for one in found], axis=0)
        at.plot(LEVELS, truth, color="black", label="truth")
        for number, (name, way) in enumerate(_ways(found).items()):
            half = t_quantile(0.95, len(found) - 1) * way[:, g].std(axis=0, ddof=1) / np.sqrt(len(found))
            x = np.array(LEVELS) + 0.12 * (number - 1)
            at.errorbar(x, way[:, g].mean(axis=0), half, fmt="o", markersize=4, capsize=2, label=name)
        at.set(title=tier, xlabel="pushes a week", ylim=(0, 1.35 * truth.max()))
    axes[0].set_ylabel("active days in week five")
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(HERE / "volume_trap" / "volume.svg", metadata={"Date": None})


def text(found: list[Readings], users: int) -> str:
    """The result as Markdown."""
    truth = np.array([one.truth for one in found])  # (populations, 3, levels)
    ways = _ways(found)
    parts = [
        "## The volume trap",
        f"`MessagingWorld`, {len(found)} populations of {users:,} users, of which those who allow push are looked at; "
        "pushes a week for four weeks, active days of week five. The truth is each user under each budget, on common "
        "random numbers. Errors of three ways of reading logs, in active days, ± half a 95 % interval over "
        "populations.",
        "![Active days by volume](volume.svg)",
    ]
    for g, tier in enumerate(TIERS):
        errors = {name: way[:, g] - truth[:, g] for name, way in ways.items()}
        rows = [
            (str(level), f"{truth[:, g, i].mean():.2f}", *(_interval(error[:, i]) for error in errors.values()))
            for i, level in enumerate(LEVELS)
        ]
        parts += [f"### {tier}", table(("pushes a week", "truth", *ways), rows)]
    best = truth.max(axis=2)
    lost = {
        name: np.mean(
            [
                [best[p, g] - truth[p, g, int(np.nanargmax(way[p, g]))] for g in range(3)]
                for p in range(len(found))
            ],
            axis=1,
        )
        for name, way in ways.items()
    }  # fmt: skip
    chosen = {
        name: [float(np.mean([LEVELS[int(np.nanargmax(way[p, g]))] for p in range(len(found))])) for g in range(3)]
        for name, way in ways.items()
    } | {"truth": [float(np.mean([LEVELS[int(truth[p, g].argmax())] for p in range(len(found))])) for g in range(3)]}
    rows = [
        (name, *(f"{level:.1f}" for level in chosen[name]), _interval(lost[name]) if name in lost else "0.00")
        for name in ("truth", *ways)
    ]
    parts += [
        "### Volume that each would choose",
        table(("read from", *TIERS, "active days lost"), rows),
        "Who got few messages although more were meant for them had closed the channel or left: that they are less "
        "active is no effect of few messages. Budgets that were assigned at random do not know who would stay.",
    ]
    return "\n\n".join(parts)


def _interval(each: FloatArray) -> str:
    if np.isnan(each).any():
        return "–"
    half = t_quantile(0.95, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    return f"{each.mean():+.2f} ± {half:.2f}"


if __name__ == "__main__":
    main()
