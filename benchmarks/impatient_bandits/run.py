"""Claim: reading sixty-day traces as they come in learns nearly as fast as without delay; waiting and proxies do not.

McDonald et al. (KDD 2023), section 5.2: 200 shows, 50 recommendations a day for 180 days, Thompson sampling. The prior
is fitted on 200 other shows. Every belief plays against the same users of the same shows; a trial has new ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import matplotlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import HERE, publish, table
from homing.estimates import t_quantile
from homing.learners.impatient import Beliefs, TracePrior
from homing.simulation.impatient import TRACE_DAYS, ImpatientParameters, ImpatientWorld, Shows

SHOWS, PER_DAY, DAYS = 200, 50, 180
#: Users of each show that the prior is fitted on, as in the published generator.
HISTORIC_USERS = 10_000
#: CPU seconds of a trial with the authors' code, measured once on another machine: 563 s for 4 trials on one core.
AUTHORS_S = 140.0
SPANS = {
    "30 days": slice(30),
    "60 days": slice(60),
    "90 days": slice(90),
    "180 days": slice(180),
    "last 10": slice(170, 180),
}

FloatArray = NDArray[np.float64]
#: From messages (n,), entries seen (n,), and whole traces (n, 59): what is believed.
Believe = Callable[[NDArray[np.int64], NDArray[np.int64], FloatArray], Beliefs]


def believers(prior: TracePrior) -> dict[str, Believe]:
    """The four that are compared; each reads no more of the traces than it may."""
    total, proxy = prior.total(np.ones(TRACE_DAYS)), prior.total(np.eye(TRACE_DAYS)[0])

    def oracle(arm: NDArray[np.int64], seen: NDArray[np.int64], traces: FloatArray) -> Beliefs:
        return total.beliefs(arm, np.ones_like(seen), traces.sum(axis=1, keepdims=True), arms=SHOWS)

    def progressive(arm: NDArray[np.int64], seen: NDArray[np.int64], traces: FloatArray) -> Beliefs:
        return prior.beliefs(arm, seen, traces, arms=SHOWS)

    def delayed(arm: NDArray[np.int64], seen: NDArray[np.int64], traces: FloatArray) -> Beliefs:
        whole = (seen == TRACE_DAYS).astype(np.int64)
        return total.beliefs(arm, whole, traces.sum(axis=1, keepdims=True), arms=SHOWS)

    def day_two(arm: NDArray[np.int64], seen: NDArray[np.int64], traces: FloatArray) -> Beliefs:
        return proxy.beliefs(arm, np.minimum(seen, 1), traces[:, :1], arms=SHOWS)

    return {
        "no delay (oracle)": oracle, "progressive": progressive, "waits 60 days": delayed, "day-two proxy": day_two
    }  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What one trial gave: regret of each recommendation by belief (DAYS,), CPU seconds, and the uniform regret."""

    regret: dict[str, FloatArray]
    cpu_s: dict[str, float]
    uniform: float


def trial(number: int) -> Trial:
    """One trial: its own shows, users, history and draws."""
    rng = np.random.default_rng([number, 1])
    historic = Shows.draw(SHOWS, rng)
    prior = TracePrior.fit(historic.traces(np.full(HISTORIC_USERS, show), rng) for show in range(SHOWS))
    world = ImpatientWorld(ImpatientParameters(SHOWS, PER_DAY, shows_seed=number))
    lost = world.shows.stickiness.max() - world.shows.stickiness
    regret, cpu = {}, {}
    for name, believe in believers(prior).items():
        began = time.process_time()
        chosen = play(world, believe, number)
        cpu[name] = time.process_time() - began
        regret[name] = lost[chosen].reshape(DAYS, PER_DAY).mean(axis=1)
    return Trial(regret, cpu, float(lost.mean()))


def play(world: ImpatientWorld, believe: Believe, seed: int) -> NDArray[np.int64]:
    """Recommend day by day; the show that each user got, from 0."""
    world.reset(PER_DAY * DAYS, seed)
    rng = np.random.default_rng([seed, 2])
    show = np.zeros(0, np.int64)
    traces = np.zeros((0, TRACE_DAYS))
    for day in range(DAYS):
        user = world.observation.user
        arrived = np.arange(len(show)) // PER_DAY
        # On the morning of a day the days before it are known; the first entry is the day after the recommendation.
        seen = np.clip(day - 1 - arrived, 0, TRACE_DAYS)
        today = believe(show, seen, traces).thompson(len(user), rng)
        world.step(today + 1)
        show = np.concatenate([show, today])
        traces = np.concatenate([traces, world.traces(user, today)])
    return show


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        trials = list(pool.map(trial, range(args.trials)))
    plot(trials)
    publish("impatient_bandits", text(trials))


def text(trials: list[Trial]) -> str:
    """The result as Markdown."""
    names = list(trials[0].regret)
    curves = {name: np.array([one.regret[name] for one in trials]) for name in names}
    rows = [[name, *(_interval(curves[name][:, span].mean(axis=1)) for span in SPANS.values())] for name in names]
    cpu = {name: np.mean([one.cpu_s[name] for one in trials]) for name in names}
    gaps = {
        name: _interval((curves["progressive"] - curves[name]).mean(axis=1)) for name in names if name != "progressive"
    }
    uniform = np.array([one.uniform for one in trials])
    shares = [(name, _interval(curves[name].mean(axis=1) / uniform)) for name in names]
    for row, (_, share) in zip(rows, shares, strict=True):
        row.append(share)
    return "\n\n".join([
        "## Recommendations whose reward takes sixty days",
        f"{len(trials)} trials, each with {SHOWS} new shows, {PER_DAY} recommendations a day and {DAYS} days. Regret "
        "of a recommendation in active days of sixty, mean since the first day, ± half a 95 % interval over trials. A "
        f"uniform choice loses {_interval(uniform)}; the last column is the regret over all days as a share of that.",
        table(("belief", *SPANS, "share of uniform"), rows),
        "![Regret by day](regret.svg)",
        "Over all days, progressive less each other belief, paired by trial: "
        + "; ".join(f"{name} {gap}" for name, gap in gaps.items())
        + ".",
        f"A progressive trial takes {cpu['progressive']:.1f} CPU s, {AUTHORS_S / cpu['progressive']:.0f} times less "
        f"than the {AUTHORS_S:.0f} s that the authors' code took on one core of another machine. That code computes "
        "each message's posterior by itself, from all its traces; here what all messages' users did is summed in one "
        "pass, and their posteriors are solved together.",
    ])  # fmt: skip


def _interval(each: FloatArray) -> str:
    half = t_quantile(0.95, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    return f"{each.mean():.2f} ± {half:.2f}"


def plot(trials: list[Trial]) -> None:
    """Regret by day, smoothed over a week, with 95 % bands over trials."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    week = np.ones(7) / 7
    for name in trials[0].regret:
        smooth = np.array([np.convolve(one.regret[name], week, mode="valid") for one in trials])
        days = np.arange(smooth.shape[1]) + 4
        half = t_quantile(0.95, len(trials) - 1) * smooth.std(axis=0, ddof=1) / np.sqrt(len(trials))
        axes.plot(days, smooth.mean(axis=0), label=name)
        axes.fill_between(days, smooth.mean(axis=0) - half, smooth.mean(axis=0) + half, alpha=0.2, linewidth=0)
    axes.set(xlabel="day", ylabel="regret of a recommendation (active days of 60)", ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(HERE / "impatient_bandits" / "regret.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
