"""Claim: the dial works: objectives truly move with their weights, and the preview tells beforehand, with intervals.

A policy is trained once on a log of `MessagingWorld`; then its objectives' weights are changed at run time, without
training. (1) Under each setting other users live with the policy for four weeks, on common random numbers: do the
objectives move with their weights? A step in the wrong direction is one only if it is told from noise; all steps are
looked at, so each is held to its share of 5 %. What a log tells nothing of but noise no weight can move in the right
direction, and the learner then says so (`effects-not-told`). (2) Small logs of the behaviour policy each give a
preview of several settings (`homing.ope.pareto`, differences to the log itself): how often do its 95 % intervals hold
the truth? That truth is of single decisions in the log's states, as the preview is (`truth.py`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import binomtest

from benchmarks.dial.truth import FloatArray, per_decision
from benchmarks.long_term.run import logged
from benchmarks.measure import publish, table
from homing.estimates import Estimate, t_quantile
from homing.learners import fit_reward_model, make
from homing.log import FeatureEncoder, LoggedDataset, build_dataset
from homing.ope import evaluate_policy, pareto
from homing.policies import Policy, RewardModel, dataset_probs, dataset_values
from homing.simulation import Rollout, decider, log_decisions, make_world, simulate

Ends = tuple[float, float]
DIALLED = ("sessions", "converted", "churned", "opted_out")
FACTORS = (0.0, 0.25, 1.0, 4.0, 16.0)
#: Settings of the preview: the owner's weights, and each objective four times as important.
PREVIEWED = {"the owner's weights": {}, **{f"{name} × 4": {name: 4.0} for name in DIALLED}}
LIVED_DAYS = 28
PREVIEW_DAYS = 14
MODEL_ROWS = 15_000


@dataclass(frozen=True)
class Trained:
    """A policy with what it sees, a reward model for evaluation, and what the learner says it cannot tell."""

    policy: Policy
    encoder: FeatureEncoder
    model: RewardModel
    untold: str


def weights(factors: Mapping[str, float]) -> FloatArray:
    """The owner's weights, some of them times a factor, (m,)."""
    world = make_world("messaging")
    return np.array([world.weights[name] * factors.get(name, 1.0) for name in world.objectives])


def trained(learner: str, users: int, seed: int) -> Trained:
    """From one log, of users who have lived with the behaviour policy before."""
    world, rng = make_world("messaging"), np.random.default_rng(seed)
    data = logged(users, seed)
    assert data.encoder is not None
    maker = make(learner)
    policy = maker.fit(data, weights=world.weights, rng=rng)
    some = data.take(np.flatnonzero(data.user < np.sort(data.user)[min(MODEL_ROWS, data.n - 1)]))
    model = fit_reward_model(some, "linear", weights({}), rng=rng).model
    tell(f"trained on log {seed}")
    return Trained(policy, data.encoder, model, maker.report["warnings"].get("effects-not-told", ""))


def moved(judged: int, found: Trained, seed: int) -> dict[str, list[tuple[float, Estimate, Estimate]]]:
    """Of each objective: what it comes to under each factor, and how that differs from the factor before, paired."""
    world = make_world("messaging")

    def live(factors: Mapping[str, float]) -> Rollout:
        return simulate(
            world, found.policy, horizon_days=LIVED_DAYS, n_users=judged, seed=1_000_000 + seed,
            encoder=found.encoder, policy_weights=weights(factors),
        )  # fmt: skip

    base = live({})
    out = {}
    for name in DIALLED:
        runs = [base if factor == 1.0 else live({name: factor}) for factor in FACTORS]
        out[name] = [
            (run.value(name).value, run.minus(before, name), run.minus(runs[0], name))
            for run, before in zip(runs, [runs[0], *runs[:-1]], strict=True)
        ]
        tell(f"log {seed}, {name}: {[round(value, 5) for value, *_ in out[name]]}")
    return out


def preview(found: Trained, users: int, seed: int) -> dict[tuple[str, str, str], Ends]:
    """From one small log: (setting, objective or value, shown or t alone) → interval of the difference to the log."""
    world = make_world("messaging")
    log = log_decisions(world, world.behaviour_policy(), days=PREVIEW_DAYS, n_users=users, seed=10_000 + seed)
    data: LoggedDataset = build_dataset(log, world.log_objectives, encoder=found.encoder)
    q_hat = dataset_values(found.model, data)
    reports = [
        evaluate_policy(
            data,
            dataset_probs(found.policy, data, weights=weights(factors)),
            q_hat=q_hat,
            estimators=("dr",),
            policy=name,
        )
        for name, factors in PREVIEWED.items()
    ]
    told = pareto(reports, None, "dr")
    out: dict[tuple[str, str, str], Ends] = {}
    for what in ("value", *DIALLED):
        importance = world.weights if what == "value" else {what: 1.0}
        seen = told.weighted({name: w for name, w in importance.items() if name in told.objectives})
        for setting, item in seen.items():
            out[setting, what, "shown"] = (item.lower, item.upper)
            half = t_quantile(item.level, item.df) * item.std_error
            out[setting, what, "t alone"] = (item.value - half, item.value + half)
    return out


def true_previews(found: Trained, users: int) -> dict[tuple[str, str], tuple[float, float]]:
    """(setting, objective or value) → the true difference a decision, and its standard error."""
    world = make_world("messaging")
    policies = [
        decider(world, found.policy, encoder=found.encoder, weights=weights(factors)) for factors in PREVIEWED.values()
    ]
    steps = round(PREVIEW_DAYS * 24 / world.step_hours)
    mean, error = per_decision(
        world, decider(world, world.behaviour_policy()), policies, steps=steps, n_users=users, seed=77
    )  # fmt: skip
    names, w = world.objectives, weights({})
    out = {}
    for p, setting in enumerate(PREVIEWED):
        out[setting, "value"] = (float(mean[p] @ w), float(np.sqrt((error[p] ** 2) @ w**2)))
        for what in DIALLED:
            out[setting, what] = (float(mean[p, names.index(what)]), float(error[p, names.index(what)]))
    return out


def tell(what: str) -> None:
    """Where a long run stands."""
    print(f"{time.process_time():.0f} CPU s: {what}", file=sys.stderr, flush=True)


def share(count: int, total: int) -> str:
    """A share with its exact binomial interval (Clopper and Pearson, 1934)."""
    lower, upper = binomtest(count, total).proportion_ci(0.95)
    return f"{count / total:.1%} [{lower:.1%}, {upper:.1%}]"


def dial_rows(
    found: Sequence[Trained], lived: Sequence[dict[str, list[tuple[float, Estimate, Estimate]]]]
) -> list[tuple[str, ...]]:
    """A row an objective: its mean under each factor, steps in the wrong direction, and the whole way."""
    world, rows = make_world("messaging"), []
    level = 1.0 - 0.05 / (len(lived) * len(DIALLED) * (len(FACTORS) - 1))
    for name in DIALLED:
        sign = 1.0 if world.weights[name] > 0 else -1.0
        means = [np.mean([each[name][i][0] for each in lived]) for i in range(len(FACTORS))]
        steps = [each[name][i][1] for each in lived for i in range(1, len(FACTORS))]
        gains = [step if sign > 0 else step.negated() for step in steps]
        whole = [each[name][-1][2] if sign > 0 else each[name][-1][2].negated() for each in lived]
        told = sum(name not in one.untold for one in found)
        rows.append(
            (
                f"{name} ({'more' if sign > 0 else 'fewer'} is better)",
                *(f"{mean:.4g}" for mean in means),
                f"{told} of {len(found)}",
                f"{sum(step.value < 0 for step in gains)} of {len(gains)}",
                f"{sum(step.at(level).upper < 0 for step in gains)}",
                f"{sum(item.lower > 0 for item in whole)} of {len(whole)}",
                f"{sum(item.upper < 0 for item in whole)}",
            )
        )
    return rows


def covered_rows(
    told: Sequence[Mapping[tuple[str, str, str], Ends]], truth: Mapping[tuple[str, str], Ends]
) -> list[tuple[str, ...]]:
    """A row an objective and kind of interval: how many of the logs' intervals hold the truth."""
    rows = []
    for what, kind in ((what, kind) for what in ("value", *DIALLED) for kind in ("shown", "t alone")):
        ends = {setting: [each[setting, what, kind] for each in told] for setting in PREVIEWED}
        hits = {
            setting: sum(lower <= truth[setting, what][0] <= upper for lower, upper in found)
            for setting, found in ends.items()
        }
        worst = min(hits, key=lambda setting: hits[setting])
        half = np.median([(upper - lower) / 2 for found in ends.values() for lower, upper in found])
        rows.append(
            (
                what,
                kind,
                f"{sum(hits.values()) / (len(hits) * len(told)):.1%}",
                f"{share(hits[worst], len(told))}: {worst}",
                f"{half:.2g}",
                f"{max(truth[setting, what][1] for setting in PREVIEWED):.2g}",
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learner", default="structured", help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=20_000, help="of each training log (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7], help="training logs (default: 5 6 7)")
    parser.add_argument("--judged", type=int, default=15_000, help="users who live with it (default: %(default)s)")
    parser.add_argument("--logs", type=int, default=60, help="small logs of the preview (default: %(default)s)")
    parser.add_argument("--log-users", type=int, default=1_000, help="of each (default: %(default)s)")
    parser.add_argument("--truth-users", type=int, default=4_000, help="of its truth (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(pool.map(partial(trained, args.learner, args.users), args.seeds))
        lived = list(pool.map(partial(moved, args.judged), found, args.seeds))
        told = list(pool.map(partial(preview, found[0], args.log_users), range(args.logs)))
        tell(f"{args.logs} previews")
    truth = true_previews(found[0], args.truth_users)
    covered = covered_rows(told, truth)
    short = [what for what, kind, share_of, *_ in covered if kind == "shown" and float(share_of.rstrip("%")) < 90.0]
    untold = "; ".join(f"log {seed}: {one.untold or 'nothing'}" for seed, one in zip(args.seeds, found, strict=True))
    publish(
        "dial",
        "\n\n".join(
            [
                "## The dial",
                f"`{args.learner}` on {len(found)} logs of `MessagingWorld` (28 days, {args.users:,} users), trained "
                f"once at the owner's weights. Then one weight at a time is multiplied, at run time; {args.judged:,} "
                f"other users live with the policy for {LIVED_DAYS} days under each setting, on common random numbers. "
                "Means a user; a step is from one factor to the next. Surely: beyond the paired interval at 95 %, of "
                "steps at 95 % for all of them together.",
                table(
                    ("objective", *(f"× {factor:g}" for factor in FACTORS), "effects told", "steps the wrong way",
                     "surely so", "surely better from first to last", "surely worse"),
                    dial_rows(found, lived),
                ),
                f"What the learner says of it: {untold}",
                f"The preview: {args.logs} logs of {PREVIEW_DAYS} days and {args.log_users:,} users, "
                f"{len(PREVIEWED)} settings each; DR differences to the log itself a decision, 95 % intervals "
                "clustered by user, as `pareto` shows them for any weights (Cressie–Read where events are rare), and "
                f"what t alone would say. The truth is of {args.truth_users:,} other users. Of the logs' intervals, "
                "these hold it:",
                table(
                    ("", "interval", "all settings", "the worst (Clopper–Pearson)", "half width", "error of truth"),
                    covered,
                ),
                f"Shown and below 90 % over all settings: {', '.join(short) or 'none'}. t intervals of rare events "
                "rest on a few users, and a log without one where it matters makes them far too short; Cressie–Read "
                "intervals count one unseen decision at its worst, and are wide where the log can tell little.",
            ]
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
