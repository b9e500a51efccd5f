"""Claim: the dial works: objectives truly move with their weights, and the preview tells beforehand, with intervals.

A policy is trained once on a log of `MessagingWorld`; then its objectives' weights are changed at run time, without
training. (1) Under each setting other users live with the policy for the ninety days that it looks ahead, on common
random numbers: do the objectives move with their weights? A policy that is good already stands where an objective
hardly moves, and noise decides which way; so a step in the wrong direction, or the whole way from the smallest weight
to the largest, is one only if it is told from noise. All are looked at: each is held to its share of 5 %. What a log
tells nothing of that is sure no weight can move in the right direction, and the learner then says so
(`effects-not-told`). (2) Small logs of the behaviour policy each give a preview of several settings
(`homing.ope.pareto`, differences to the log itself): how often do its 95 % intervals hold the truth? That truth is of
single decisions in the log's states, as the preview is (`truth.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.dial.lives import DIALLED, FACTORS, LIVED_DAYS, Dialled, dialled
from benchmarks.dial.previews import PREVIEW_DAYS, PREVIEWED, Ends, covered_rows, previewed
from benchmarks.measure import publish, table
from homing.estimates import Estimate, t_quantile
from homing.simulation import make_world


def dial_rows(found: Sequence[Dialled]) -> list[tuple[str, ...]]:
    """A row an objective: its mean under each factor, steps in the wrong direction, and the whole way."""
    world, rows = make_world("messaging"), []
    wholes = len(found) * len(DIALLED)
    step_level, whole_level = 1.0 - 0.05 / (wholes * (len(FACTORS) - 1)), 1.0 - 0.05 / wholes
    for name in DIALLED:
        better = 1.0 if world.weights[name] > 0 else -1.0
        lived = [each.lived[name] for each in found]
        steps = [_signed(step, better).at(step_level) for each in lived for step in each.steps]
        whole = [_signed(each.whole, better).at(whole_level) for each in lived]
        told = sum(name not in each.untold for each in found)
        # Logs are what they are; users are drawn anew for each.
        change = float(np.mean([each.whole.value for each in lived]))
        half = t_quantile(0.95, sum(each.whole.df for each in lived)) * float(
            np.sqrt(np.sum([each.whole.std_error**2 for each in lived])) / len(lived)
        )
        rows.append(
            (
                f"{name} ({'more' if better > 0 else 'fewer'} is better)",
                *(f"{mean:.4g}" for mean in np.mean([each.means for each in lived], axis=0)),
                f"{change:+.3g} [{change - half:.3g}, {change + half:.3g}]",
                " to ".join(f"{np.mean([each.sends[end] for each in lived]):.0f}" for end in (0, -1)),
                f"{told} of {len(found)}",
                f"{sum(step.value < 0 for step in steps)} of {len(steps)}",
                f"{sum(step.upper < 0 for step in steps)}",
                f"{sum(item.lower > 0 for item in whole)} of {len(whole)}",
                f"{sum(item.upper < 0 for item in whole)}",
            )
        )
    return rows


def lived_by(found: Sequence[Dialled]) -> str:
    """How many users live with each log's policy."""
    users = [each.lived[DIALLED[0]].whole.df + 1 for each in found]
    return f"{users[0]:,}" if len(set(users)) == 1 else ", ".join(f"{each:,}" for each in users)


def _signed(item: Estimate, better: float) -> Estimate:
    return item if better > 0 else item.negated()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learner", default="structured", help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=20_000, help="of each training log (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 8, 9], help="training logs (default: 3 8 9)")
    parser.add_argument("--judged", type=int, default=15_000, help="users who live with it (default: %(default)s)")
    parser.add_argument("--previews", type=int, default=60, help="small logs of the preview (default: %(default)s)")
    parser.add_argument("--log-users", type=int, default=1_000, help="of each (default: %(default)s)")
    parser.add_argument("--truth-users", type=int, default=4_000, help="of its truth (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("dial"), help="folder of what is done (default: %(default)s)")
    parser.add_argument("--logs", type=Path, help="folder to keep logs in, which take 300 MB each")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    one = partial(dialled, args.learner, args.users, args.judged, args.logs, args.keep)
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(pool.map(one, args.seeds))
    told, truth = previewed(
        args.learner, args.users, args.logs, args.keep, args.seeds[0], args.previews, args.log_users, args.truth_users
    )
    publish("dial", result(args, found, told, truth))


def result(
    args: argparse.Namespace,
    found: Sequence[Dialled],
    told: Sequence[Mapping[tuple[str, str, str], Ends]],
    truth: Mapping[tuple[str, str], Ends],
) -> str:
    """The page."""
    covered = covered_rows(told, truth)
    short = [what for what, kind, share_of, *_ in covered if kind == "shown" and float(share_of.rstrip("%")) < 90.0]
    untold = "; ".join(f"log {seed}: {one.untold or 'nothing'}" for seed, one in zip(args.seeds, found, strict=True))
    return "\n\n".join(
        [
            "## The dial",
            f"`{args.learner}` on {len(found)} logs of `MessagingWorld` (28 days, {args.users:,} users), trained once "
            f"at the owner's weights. Then one weight at a time is multiplied, at run time; {lived_by(found)} other "
            f"users live with the policy for {LIVED_DAYS} days under each setting, on common random numbers. Means a "
            "user, the change from the first factor to the last with its 95 % interval, and messages a user under "
            "these two; a step is from one factor to the next. Surely: beyond the paired interval that is 95 % for all "
            "steps together, or for all ways from first to last.",
            table(
                ("objective", *(f"× {factor:g}" for factor in FACTORS), "first to last", "messages", "effects told",
                 "steps the wrong way", "surely so", "surely better from first to last", "surely worse"),
                dial_rows(found),
            ),
            f"What the learner says of it: {untold}",
            f"The preview: {len(told)} logs of {PREVIEW_DAYS} days and {args.log_users:,} users, "
            f"{len(PREVIEWED)} settings each; DR differences to the log itself a decision, 95 % intervals clustered by "
            "user, as `pareto` shows them for any weights (Cressie–Read where events are rare), and what t alone would "
            f"say. The truth is of {args.truth_users:,} other users. Of the logs' intervals, these hold it:",
            table(
                ("", "interval", "all settings", "the worst (Clopper–Pearson)", "half width", "error of truth"),
                covered,
            ),
            f"Shown and below 90 % over all settings: {', '.join(short) or 'none'}. t intervals of rare events rest on "
            "a few users, and a log without one where it matters makes them far too short; Cressie–Read intervals "
            "count one unseen decision at its worst, and are wide where the log can tell little.",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
