"""Question: at equal volume, is planning over all users worth more in the long run than a threshold for each user?

Both decide on the same learnt values, from one log. The threshold of a user follows their own scores, so that everybody
gets about the same share of messages, and nothing that is worth less than silence. The plan has as many messages as the
thresholds sent at that very step, and fewer expected opt-outs, and gives them to whom they are worth most.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import publish, table
from homing.estimates import interval
from homing.learners import make
from homing.log import FeatureEncoder, LoggedDataset, build_dataset
from homing.planning import Budget, PlanningProblem, UserOffsets, solve
from homing.policies import StructuredAdvantage
from homing.simulation import log_decisions, make_world, simulate
from homing.simulation.encode import ObservationEncoder
from homing.simulation.world import Observation

WARM_UP_DAYS = LOG_DAYS = 28
HORIZON_DAYS = 90
DAY_US = 86_400_000_000
#: Messages per decision that thresholds aim at, and the share of their expected opt-outs that a plan may have.
RATE, OPT_OUT_SHARE = 0.1, 0.9
#: Users of each log, and seeds. The second batch was settled before it was run, to confirm what the first suggested.
BATCHES = ((5_000, range(10)), (10_000, range(10, 20)))
#: How fast a user's threshold follows their scores.
STEP = 0.05
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Values:
    """What was learnt of messages: worth over silence, and the chance that they close their channel."""

    scorer: StructuredAdvantage
    encoder: ObservationEncoder

    @classmethod
    def of(cls, scorer: StructuredAdvantage, encoder: FeatureEncoder) -> Values:
        """As the world's observations are encoded."""
        return cls(scorer, ObservationEncoder(encoder, make_world("messaging")))

    def read(self, seen: Observation) -> tuple[FloatArray, FloatArray]:
        """Worth (n, k), -inf where not eligible, and chances (n, k)."""
        x, c = self.encoder.context(seen), self.encoder.candidates(seen)
        leave = self.scorer.response.predict(x, c)[:, :, 1]
        worth = np.where(seen.eligible, self.scorer.scores(x, c), -np.inf)
        worth[:, 0] = 0.0
        return worth, leave


@dataclass(eq=False)
class Thresholds:
    """The best message of each user where it beats their own threshold, and silence."""

    values: Values
    rate: float
    users: int
    sent: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.threshold = np.zeros(self.users)
        self.scale = np.full(self.users, np.nan)

    def observation_probs(self, seen: Observation) -> FloatArray:
        """Probabilities (n, k), 1 for one candidate; thresholds move on."""
        worth, leave = self.values.read(seen)
        row, best = np.arange(len(seen)), worth.argmax(axis=1)
        top = worth[row, best]
        send = (best > 0) & (top > np.maximum(self.threshold[seen.user], 0.0))
        # A stochastic step to the (1 − rate) quantile of the user's scores, in units of how large they are.
        scale = np.where(np.isnan(self.scale[seen.user]), np.abs(top), self.scale[seen.user])
        self.scale[seen.user] = scale + STEP * (np.abs(top) - scale)
        self.threshold[seen.user] += STEP * self.scale[seen.user] * (send - self.rate) / self.rate
        self.sent.append((int(send.sum()), float(leave[row, best][send].sum())))
        return _one(np.where(send, best, 0), seen)


@dataclass(eq=False)
class Planned:
    """A plan over all users at every step, within as many messages as were sent there, and fewer opt-outs."""

    values: Values
    budgets: list[tuple[int, float]]
    opt_out_share: float | None
    step: int = 0

    def observation_probs(self, seen: Observation) -> FloatArray:
        """Probabilities (n, k), 1 for one candidate."""
        worth, leave = self.values.read(seen)
        messages, opt_outs = self.budgets[self.step]
        self.step += 1
        row, column = np.nonzero(worth > 0)
        ends = np.cumsum(np.bincount(row, minlength=len(seen)))
        limits = [Budget(messages, name="messages")]
        if self.opt_out_share is not None:
            limits.append(Budget(self.opt_out_share * opt_outs, cost="opt_outs"))
        problem = PlanningProblem(
            UserOffsets(np.concatenate([[0], ends])),
            worth[row, column],
            costs={"opt_outs": np.maximum(leave[row, column], 0.0)},
            budgets=limits,
        )
        chosen = solve(problem, threads=1).chosen
        action = np.zeros(len(seen), dtype=np.int64)
        action[row[chosen]] = column[chosen]
        return _one(action, seen)


def logged(users: int, seed: int) -> LoggedDataset:
    """The log of one population, without its first weeks: its users have a history of messages."""
    world = make_world("messaging")
    days = WARM_UP_DAYS + LOG_DAYS
    log = log_decisions(world, world.behaviour_policy(), days=days, n_users=users, seed=seed)  # type: ignore[attr-defined]
    data = build_dataset(log, world.log_objectives)  # type: ignore[attr-defined]
    return data.take(np.flatnonzero(data.time >= data.time.min() + WARM_UP_DAYS * DAY_US))


def study(users: int, judged: int, seed: int) -> dict[str, dict[str, Any]]:
    """Plans against thresholds, from one log."""
    data, world = logged(users, seed), make_world("messaging")
    policy: Any = make("structured", epsilon=0.0).fit(data, weights=world.weights, rng=np.random.default_rng(seed))
    scorer = policy
    while not isinstance(scorer, StructuredAdvantage):
        scorer = getattr(scorer, "scorer", None) or scorer.base
    values = Values.of(scorer, data.encoder)

    def live(rule: Any) -> Any:
        return simulate(world, rule, horizon_days=HORIZON_DAYS, n_users=judged, seed=1_000_000 + seed)

    thresholds = Thresholds(values, RATE, judged)
    base = live(thresholds)
    out = {}
    for name, share in (("plan, opt-out budget", OPT_OUT_SHARE), ("plan, volume alone", None)):
        run = live(Planned(values, thresholds.sent, share))
        gain = run.minus(base)
        out[name] = {
            "value": gain.value,
            "lower": gain.lower,
            "opted_out": run.minus(base, "opted_out").value,
            "sends": float(run.sends.mean() / base.sends.mean() - 1.0),
            "sends a user": float(base.sends.mean()),
            "least, most": np.quantile(run.sends, [0.1, 0.9]).tolist(),
        }
    return out


def _one(action: NDArray[np.int64], seen: Observation) -> FloatArray:
    out = np.zeros(seen.eligible.shape)
    out[np.arange(len(seen)), action] = 1.0
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--judged", type=int, default=2_500, help="others, for true values (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("planning-world"), help="folder of what is done")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    parts = []
    for users, seeds in BATCHES:
        found = []
        for seed in seeds:
            file = args.keep / f"{RATE:g}-{seed}.json"
            if not file.is_file():
                file.write_text(json.dumps(study(users, args.judged, seed)))
            found.append(json.loads(file.read_text()))
        parts.append(section(found, users))
    publish("planning_world", "\n\n".join([INTRODUCTION.format(judged=args.judged), *parts]))


def shown(values: list[float], digits: int) -> str:
    """Mean over logs with its 95 % t interval."""
    x = np.array(values)
    found = interval(float(x.mean()), (x - x.mean()) / len(x), 0.95)
    return f"{found.value:+.{digits}f} [{found.lower:+.{digits}f}, {found.upper:+.{digits}f}]"


def section(found: list[dict[str, dict[str, Any]]], users: int) -> str:
    """One batch as Markdown."""
    rows = [
        (
            name,
            shown([one[name]["value"] for one in found], 3),
            f"{sum(one[name]['lower'] > 0 for one in found)} of {len(found)}",
            shown([one[name]["opted_out"] for one in found], 4),
            f"{100 * np.mean([one[name]['sends'] for one in found]):+.2f} %",
        )
        for name in found[0]
    ]
    sends = np.mean([one["plan, volume alone"]["sends a user"] for one in found])
    gain = np.array([one["plan, opt-out budget"]["value"] for one in found])
    held = interval(float(gain.mean()), (gain - gain.mean()) / len(gain), 0.95).lower > 0
    return "\n\n".join(
        [
            f"### {len(found)} logs of {users:,} users ({sends:.0f} messages a user in 90 days)",
            f"The interval of the plan with an opt-out budget {'excludes' if held else '**does not exclude**'} 0.",
            table(("", "value", "its own interval excludes 0", "opt-outs a user", "messages"), rows),
        ]
    )


INTRODUCTION = """## Planning in the reference world

`MessagingWorld`, logs of 28 days; learner `structured`. True values over 90 days of {judged:,} other users, plan minus
thresholds, in sessions' worth a user, paired. Means over logs with 95 % t intervals, which hold what logs make of the
learner, too. Batches are told apart: the second was settled when the first was known, and stands by itself."""


if __name__ == "__main__":
    main()
