"""Claim: the dial works: objectives truly move with their weights, and the preview tells beforehand, with intervals.

A policy is trained once on a log; then its objectives' weights are changed at run time, without training. (1) Under
each setting other users live with the policy for the ninety days that it looks ahead, on common random numbers
(`expected.py`): do the objectives move with their weights? A policy that is good already stands where an objective
hardly moves, and errors of what it learnt decide which way; so it is told how large a fall can be on the way up that
these logs do not exclude (`monotony.py`). What a log tells nothing of that is sure no weight can move in the right
direction, and the learner then says so (`effects-not-told`). In `MessagingWorld` conversions and leaving are so rare
that no log of this size tells of them. So the same is done for a product in which they are frequent, and for one in
which messages matter for them too, with logs of a size that tells it; both sizes were found on logs that are not shown.
(2) Small logs of the behaviour policy each give a preview of several settings (`homing.ope.pareto`, differences to the
log itself): how often do its 95 % intervals hold the truth? That truth is of single decisions in the log's states, as
the preview is (`truth.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.dial.expected import DIALLED, Life
from benchmarks.dial.lives import FACTORS, LIVED_DAYS, Product, Study
from benchmarks.dial.monotony import monotony
from benchmarks.dial.previews import PREVIEW_DAYS, PREVIEWED, Ends, covered_rows, previewed
from benchmarks.measure import publish, table
from homing.simulation.messaging import MessagingParameters

OFTEN = {"converted": 2.0, "cancelled": -2.0, "churned": -10.0}
#: By the folder that keeps what is done of each.
PRODUCTS = {
    "messaging": Product("`MessagingWorld`", seeds=(3, 8, 9, 0, 1, 2)),
    "passes": Product(
        "A product of passes, whose messages annoy: a pass costs two sessions, and a user who leaves ten; sessions "
        "bring one twenty-five times as often as they bring subscriptions in `MessagingWorld`, passes end after a "
        "month, users leave five times as often, and a message annoys twice as much",
        MessagingParameters(
            conversion_per_session=0.02, intent_factor=20.0, cancel_per_day=0.03, churn_per_day=0.008, annoyance=0.04
        ),
        OFTEN,
        judged=2_500,
        seeds=(10, 11, 12, 13, 14, 15),
    ),
    "offers": Product(
        "A product that sells by offers, and is left for what annoys, with the same weights: offers come twice as "
        "often, a click on a good one multiplies by fifty a chance to convert that is ten times as large as in "
        "`MessagingWorld`, a subscription ends after a month; four times as many leave, which hangs twice as much on "
        "habit and on annoyance, and a message annoys twice as much",
        MessagingParameters(
            conversion_per_session=0.008, intent_factor=80.0, arrivals_per_day=(0.18, 0.16, 0.06, 0.06, 0.2),
            cancel_per_day=0.03, churn_per_day=0.006, annoyance=0.04, leave_disengagement=5.0, leave_habit=4.0,
        ),
        OFTEN,
        users=80_000,
        judged=2_500,
        seeds=(60, 61, 62, 63, 64, 65),
    ),
}  # fmt: skip


def dial_rows(study: Study, lived: Sequence[Mapping[str, Sequence[Life]]], untold: Sequence[str]) -> list[list[str]]:
    """A row an objective: its mean under each factor, and how monotonically it moves."""
    rows = []
    for i, name in enumerate(DIALLED):
        better = 1.0 if study.product.weighted({})[name] > 0 else -1.0
        lives = np.array([[life.total[:, i] for life in each[name]] for each in lived])
        sends = np.array([[life.sends.mean() for life in each[name]] for each in lived]).mean(axis=0)
        found = monotony(better * lives)
        way = found.whole if better > 0 else found.whole.negated()
        told = sum(name not in each for each in untold)
        rows.append(
            [
                f"{name} ({'more' if better > 0 else 'fewer'} is better)",
                *(f"{mean:.4g}" for mean in lives.mean(axis=(0, 2))),
                f"{sends[0]:.0f} to {sends[-1]:.0f}",
                f"{told} of {len(lived)}",
                f"{way.value:+.3g} [{way.lower:+.3g}, {way.upper:+.3g}]",
                f"{found.rising} of {len(lived)}",
                f"{found.wrong_steps} of {len(lived) * (len(FACTORS) - 1)}",
                f"{found.surely}, {found.falling} of {len(lived)}",
                f"{found.fall:.2g}",
                f"{found.at_most:.2g}",
                f"{found.at_most / found.whole.value:.0%}" if found.whole.lower > 0 else "",
            ]
        )
    return rows


def dialled(study: Study, workers: int) -> str:
    """How objectives move with their weights, for one product."""
    product, seeds = study.product, study.product.seeds
    with ProcessPoolExecutor(workers) as pool:
        lived = list(pool.map(study.lived, seeds))
    learnt = [study.learnt(seed).trained for seed in seeds]
    still = [", ".join(each["still"]) or "none" for each in learnt]
    said = [each["untold"].partition("do to ")[2].partition(":")[0] or "none" for each in learnt]
    rows = dial_rows(study, lived, [each["untold"] for each in learnt])
    return "\n\n".join(
        [
            f"### {product.title}",
            f"{len(seeds)} logs, {product.users:,} users each; {product.judged:,} others live.",
            table(
                ("objective", *(f"× {factor:g}" for factor in FACTORS), "messages", "effects told", "first to last",
                 "surely better", "steps the wrong way", "surely so", "largest fall", "at most", "of the whole way"),
                rows,
            ),
            f"Objectives whose weight changes no decision, log by log: {'; '.join(still)}. Of which the learner says "
            f"that the log tells nothing that is sure: {'; '.join(said)}.",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learner", default="structured", help="(default: %(default)s)")
    parser.add_argument("--previews", type=int, default=60, help="small logs of the preview (default: %(default)s)")
    parser.add_argument("--preview-seed", type=int, default=3, help="log of its policy (default: %(default)s)")
    parser.add_argument("--log-users", type=int, default=1_000, help="of each (default: %(default)s)")
    parser.add_argument("--truth-users", type=int, default=4_000, help="of its truth (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("dial"), help="folder of what is done (default: %(default)s)")
    parser.add_argument("--logs", type=Path, help="folder to keep logs in, which take 300 MB each")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    parts = [
        dialled(Study(product, args.learner, args.logs and args.logs / name, args.keep / name), args.workers)
        for name, product in PRODUCTS.items()
    ]
    told, truth = previewed(
        args.learner, PRODUCTS["messaging"].users, args.logs and args.logs / "messaging", args.keep, args.preview_seed,
        args.previews, args.log_users, args.truth_users,
    )  # fmt: skip
    publish("dial", result(args, parts, told, truth))


def result(
    args: argparse.Namespace,
    parts: Sequence[str],
    told: Sequence[Mapping[tuple[str, str, str], Ends]],
    truth: Mapping[tuple[str, str], Ends],
) -> str:
    """The page."""
    covered = covered_rows(told, truth)
    short = [what for what, kind, share_of, *_ in covered if kind == "shown" and float(share_of.rstrip("%")) < 90.0]
    return "\n\n".join(
        [
            "## The dial",
            f"`{args.learner}`, trained once on a log of 28 days at the owner's weights. Then one weight at a time is "
            f"multiplied, at run time; other users live with the policy for {LIVED_DAYS} days under each setting, on "
            "common random numbers. Of converting, leaving and closing a channel their chances are counted, step by "
            "step, and not the draws.",
            "Means a user, and messages a user under the first factor and the last. First to last: the mean change "
            "over logs with its 95 % t interval over logs. Surely better: logs in which that change is told from none "
            "by their users, 95 % for all logs. Steps the wrong way: from one factor to the next, in single logs, as "
            "points. Surely so: pairs of factors between which the objective falls, told from none at 95 % for all "
            "pairs, by the means over logs; and logs with such a pair by their users. Largest fall: of the mean over "
            "logs, from any factor to any later one; at most: the bound of all of them at 95 %, and as a share of the "
            "way from first to last. The products and the sizes of their logs were found on other logs than these.",
            *parts,
            "### The preview",
            f"{len(told)} logs of {PREVIEW_DAYS} days and {args.log_users:,} users, {len(PREVIEWED)} settings each; DR "
            "differences to the log itself a decision, 95 % intervals clustered by user, as `pareto` shows them for "
            "any weights (Cressie–Read where events are rare), and what t alone would say. The truth is of "
            f"{args.truth_users:,} other users. Of the logs' intervals, these hold it:",
            table(
                ("", "interval", "all settings", "the worst (Clopper–Pearson)", "half width", "error of truth"),
                covered,
            ),
            f"Shown and below 90 % over all settings: {', '.join(short) or 'none'}. t intervals of rare events rest on "
            "a few users, and a log without one where it matters makes them far too short; Cressie–Read intervals "
            "count one unseen decision at its worst, and are wide where the log can tell little.",
        ]
    )


if __name__ == "__main__":
    main()
