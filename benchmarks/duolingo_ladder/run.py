"""Claim: recovering difference softmax climbs its paper's ladder: random < templates < + recency, reuse-last worst.

Yancey and Settles (KDD 2020), offline results: mean reward in the rounds of a log whose templates were uniform. Here
the world's own probabilities stand in for the log's rewards, so that no chance is in the means but that of who the
users are; and each policy is also let loose, so that what it sent before is what it sent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import HERE, publish, table
from homing.estimates import t_quantile
from homing.learners import RecoveringSoftmax
from homing.log import FeatureEncoder, LoggedDataset
from homing.policies import GreedyPolicy, sample_actions
from homing.simulation import Observation, log_decisions
from homing.simulation.acting import AnyPolicy, decider
from homing.simulation.duolingo import DuolingoWorld
from homing.simulation.encode import ObservationEncoder
from homing.simulation.rules import UniformMessages

TRAIN_USERS, TEST_USERS, TEST_DAYS = 100_000, 10_000, 19
RANDOM, REUSE, BY_TEMPLATE = "random", "reuse last", "templates"
BY_LANGUAGE, RECENCY, SOFTMAX = "templates × language", "+ recency", "softmax"
PAPER_RANDOM = 0.1295
#: The paper's table; None where it has no such row.
PAPER = {RANDOM: PAPER_RANDOM, REUSE: 0.1289, BY_TEMPLATE: None, BY_LANGUAGE: 0.1318, RECENCY: 0.1320, SOFTMAX: 0.1319}

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ReuseLast:
    """The template that the user got last; where it sleeps, a uniform one."""

    def observation_probs(self, observation: Observation) -> FloatArray:
        """Probabilities (n, k)."""
        days = np.nan_to_num(observation.features[:, :, 0], nan=np.inf)
        last = (days == days.min(axis=1, keepdims=True)) & np.isfinite(days) & observation.eligible
        mass = np.where(last.any(axis=1, keepdims=True), last, UniformMessages().observation_probs(observation) > 0)
        out: FloatArray = mass / mass.sum(axis=1, keepdims=True)
        return out


def logged(world: DuolingoWorld, encoder: FeatureEncoder, rounds: int, seed: int) -> Iterator[LoggedDataset]:
    """A uniform log, a day at a time."""
    encode = ObservationEncoder(encoder, world)
    rng = np.random.default_rng([seed, 1])
    world.reset(TRAIN_USERS, seed)
    policy = world.behaviour_policy()
    for day in range(rounds // TRAIN_USERS):
        seen = world.observation
        probs = policy.observation_probs(seen)
        action, propensity = sample_actions(probs, rng)
        yield LoggedDataset(
            context=encode.context(seen), candidates=encode.candidates(seen), eligible=seen.eligible, action=action,
            propensity=propensity, reward=world.step(action).reward, objectives=world.objectives, user=seen.user,
            time=np.full(len(action), day), probs=probs, encoder=encoder,
        )  # fmt: skip


def learnt(world: DuolingoWorld, encoder: FeatureEncoder, rounds: int, seed: int) -> dict[str, AnyPolicy]:
    """The rungs, all from one log."""
    language = RecoveringSoftmax(group="ui_language").fit_parts(logged(world, encoder, rounds, seed))
    still = replace(language.scorer, recency=None)
    # The first row is of all users together: what scores without groups are.
    alone = replace(still, by_group=still.by_group[:1], groups=still.groups[:0])
    return {
        RANDOM: world.behaviour_policy(),
        REUSE: ReuseLast(),
        BY_TEMPLATE: GreedyPolicy(alone),
        BY_LANGUAGE: GreedyPolicy(still),
        RECENCY: GreedyPolicy(language.scorer),
        SOFTMAX: language,
    }


def study(rounds: int, seed: int) -> dict[str, tuple[float, float, float]]:
    """Of one log: by rung the mean reward on a uniform log, when let loose, and the share that is explored."""
    world = DuolingoWorld()
    encoder = FeatureEncoder.fit(log_decisions(world, world.behaviour_policy(), days=3, n_users=2_000, seed=seed))
    policies = learnt(world, encoder, rounds, seed)
    deciders = {name: decider(world, policy, encoder=encoder) for name, policy in policies.items()}
    replayed: dict[str, list[float]] = {name: [] for name in policies}
    explored: dict[str, list[float]] = {name: [] for name in policies}
    loose: dict[str, list[float]] = {name: [] for name in policies}
    world.reset(TEST_USERS, 10_000 + seed)
    twins = {name: world.copy() for name in policies}
    for day in range(TEST_DAYS):
        truth = world.lesson_probabilities()
        for name, decide in deciders.items():
            probs = decide(world)
            replayed[name].append(float((probs * truth).sum(axis=1).mean()))
            explored[name].append(float(1.0 - probs.max(axis=1).mean()))
            mine = decide(twins[name])
            loose[name].append(float((mine * twins[name].lesson_probabilities()).sum(axis=1).mean()))
            twins[name].step(sample_actions(mine, np.random.default_rng([seed, day]))[0])
        world.step(sample_actions(deciders[RANDOM](world), np.random.default_rng([seed, day, 7]))[0])
    return {
        name: (float(np.mean(replayed[name])), float(np.mean(loose[name])), float(np.mean(explored[name])))
        for name in policies
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12_000_000, help="of each training log (default: %(default)s)")
    parser.add_argument("--logs", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(pool.map(study, [args.rounds] * args.logs, range(args.logs)))
    plot(found)
    publish("duolingo_ladder", text(found, args.rounds))


def gains(found: list[dict[str, tuple[float, float, float]]], name: str) -> FloatArray:
    """Gain over random of each log (logs, 2): on replay, and let loose."""
    values = {rung: np.array([one[rung] for one in found])[:, :2] for rung in (name, RANDOM)}
    out: FloatArray = values[name] / values[RANDOM] - 1.0
    return out


def plot(found: list[dict[str, tuple[float, float, float]]]) -> None:
    """Gains with 95 % bars over logs, and the paper's."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for at, (name, paper) in enumerate(PAPER.items()):
        gain = 100 * gains(found, name)
        half = t_quantile(0.95, len(found) - 1) * gain.std(axis=0, ddof=1) / np.sqrt(len(found))
        for side, label in enumerate(("replay", "let loose")):
            where = at + 0.15 * (side - 1)
            axes.errorbar(where, gain[:, side].mean(), half[side], fmt="o", color=f"C{side}", capsize=3,
                          label=label if at == 0 else None)  # fmt: skip
        if paper:
            axes.plot(
                at + 0.15, 100 * (paper / PAPER_RANDOM - 1), "k_", markersize=12, label="paper" if at == 0 else None
            )
    axes.axhline(0.0, color="0.8", linewidth=1, zorder=0)
    axes.set(ylabel="gain over random (%)", xticks=range(len(PAPER)))
    axes.set_xticklabels([name.replace(" × ", " ×\n") for name in PAPER])
    axes.legend(frameon=False)
    figure.savefig(HERE / "duolingo_ladder" / "ladder.svg", metadata={"Date": None})


def text(found: list[dict[str, tuple[float, float, float]]], rounds: int) -> str:
    """The result as Markdown."""
    values = {name: np.array([one[name] for one in found]) for name in PAPER}  # (logs, 3)
    rows = []
    for name, paper in PAPER.items():
        gain = gains(found, name)
        rows.append((
            name, f"{paper:.4f}" if paper else "–", f"{paper / PAPER_RANDOM - 1:+.1%}" if paper else "–",
            f"{values[name][:, 0].mean():.4f}", _interval(gain[:, 0]), _interval(gain[:, 1]),
            f"{values[name][:, 2].mean():.0%}",
        ))  # fmt: skip
    kept = (values[SOFTMAX] - values[RANDOM]) / (values[RECENCY] - values[RANDOM])
    return "\n\n".join([
        "## Duolingo's ladder",
        f"{len(found)} logs of {rounds:,} rounds with uniform templates; policies learnt from each are judged on "
        f"{TEST_USERS:,} other users over {TEST_DAYS} days, by the world's true probabilities. Gains over random, ± "
        "half a 95 % interval over logs. Replay: on a uniform log's histories, as in the paper. Let loose: on the "
        "policy's own.",
        "![Gains over random](ladder.svg)",
        table(("policy", "paper", "", "replay", "gain", "gain, let loose", "explored"), rows),
        f"Softmax keeps {kept[:, 0].mean():.0%} of the gain that the best template with recency has on replay (lowest "
        f"of all logs {kept[:, 0].min():.0%}; paper: more than 90 %), {kept[:, 1].mean():.0%} when let loose.",
        "Recency adds on replay what it does in the paper, and next to nothing when a policy is let loose: with a "
        "half-life of 15 days a template that is sent often never recovers, and to change it for the second best gains "
        "about what the second best is worse.",
    ])  # fmt: skip


def _interval(gain: FloatArray) -> str:
    half = t_quantile(0.95, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    return f"{gain.mean():+.2%} ± {half:.2%}"


if __name__ == "__main__":
    main()
