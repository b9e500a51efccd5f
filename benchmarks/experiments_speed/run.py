"""Claim: a scorecard with every daily look costs a fraction of what peers need for the same numbers, and they agree.

20 metrics × 5 variants × 30 daily looks: 2,400 comparisons. Every side runs in a process of its own on one thread, the
peers in an environment of their own. At the last look all differences, intervals and p-values must agree where
definitions do; a small experiment then shows each definition by itself, and where a peer is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.experiments_speed import inputs
from benchmarks.measure import HERE, publish, run, table
from homing.experiments import Covariate, ExperimentPlan, Metric, SufficientStatistics, analyze
from homing.experiments.sequential import exit_probabilities, spending_bounds

PEERS = HERE.parent / ".venv-peers-experiments" / "bin" / "python"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    side = "benchmarks.experiments_speed"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs.write(folder, args.rows)
        rows = run(f"{side}.ours", folder, "rows")
        tea = run(f"{side}.tea", folder, inputs.DAYS, python=PEERS)
        sums = run(f"{side}.ours", folder, "sums")
        gb = run(f"{side}.gb", folder, python=PEERS)
        spotify = run(f"{side}.spotify", folder, python=PEERS)
        definitions = agreement(folder)
    gaps = {
        "tea-tasting": largest(rows.answer, tea.answer, inputs.MEANS),
        "gbstats": largest(rows.answer, gb.answer, inputs.METRICS),
    }
    for peer, gap in gaps.items():
        if gap > 1e-9:
            raise SystemExit(f"largest difference from {peer} == {gap:.2g}, must be <= 1e-9.")
    spotify_gap = largest(rows.answer, spotify.answer, inputs.METRICS)
    sides = [
        ("Homing, from users' rows", rows, rows),
        ("tea-tasting (Polars), from users' rows", tea, rows),
        ("Homing, from sums", sums, sums),
        ("gbstats, from sums", gb, sums),
        ("spotify-confidence, from sums", spotify, sums),
    ]
    publish(
        "experiments_speed",
        "## Experiments: every look of 20 metrics × 5 variants × 30 days\n\n"
        f"{args.rows:,} users. CPU seconds of the fastest run, one thread; Homing's side is the whole scorecard "
        "(differences, relative effects, tests, paths, sample ratio).\n\n"
        + table(
            ("side", "CPU s", "× ours"),
            [(title, f"{one.best_cpu_s:.4f}", f"{one.best_cpu_s / ours.best_cpu_s:.0f}") for title, one, ours in sides],
        )
        + "\n\nAt the last look, the largest relative difference of differences, interval ends and p-values: "
        + "; ".join(f"{peer} {gap:.0e}" for peer, gap in gaps.items())
        + f"; spotify-confidence {spotify_gap:.0e}, whose quantiles are normal rather than Student's.\n\n"
        + definitions,
    )


def largest(ours: dict[str, Any], theirs: dict[str, Any], metrics: tuple[str, ...]) -> float:
    """Largest difference, relative to the interval's width; p-values absolutely."""
    gap = 0.0
    for metric in metrics:
        one, two = np.array(ours[metric]), np.array(theirs[metric])
        width = (one[:, 2] - one[:, 1])[:, None]
        gap = max(gap, float((np.abs(one - two)[:, :3] / width).max()), float(np.abs(one - two)[:, 3].max()))
    return gap


def agreement(folder: Path) -> str:
    """A small experiment, definition by definition: a table, and sentences on where peers differ."""
    rng = np.random.default_rng(3)
    arms = {}
    for name, n, lift in (("control", 900, 0.0), ("treatment", 700, 0.4)):
        before = rng.gamma(2.0, 2.0, n)
        spend = before + rng.gamma(1.0, 2.0, n) + lift
        bought = (rng.random(n) < 0.2 + lift / 10).astype(float)
        arms[name] = np.column_stack([spend, rng.integers(1, 5, n), before, bought])
    np.savez(folder / "arms.npz", **arms)
    command = [str(PEERS), "-m", "benchmarks.experiments_speed.agreement", str(folder / "arms.npz")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        raise SystemExit(f"agreement failed:\n{done.stderr.strip()}")
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    mine = ours_of(arms)
    total = total_slope(arms)
    rows = []
    for name, value in theirs.items():
        peer, _, kind = name.partition(" ")
        if kind in mine:
            expected = total if kind == "CUPED" else mine[kind]
            shown = [f"{x:.6f}" for x in value[:3]]
            gap = np.abs(np.array(value[: len(expected)]) - expected).max()
            rows.append((f"{kind}: {peer}", *shown, f"{gap:.0e}"))
    for kind, value in mine.items():
        rows.append((f"{kind}: Homing", *(f"{x:.6f}" for x in value[:3]), ""))
    rows.sort(key=lambda row: (row[0].split(":")[0], not row[0].endswith("Homing")))
    looks = np.arange(1, 21) / 10
    told = np.array(theirs["spotify-confidence bounds"])
    frozen = spending_bounds(looks[:10], 0.05 * looks[:10] ** 2)
    failed, tried = theirs["tea-tasting solve_power"]
    wrong = [
        f"**gbstats 0.8.0, one-sided lesser**: the interval of a difference of {mine['mean'][0]:.4f} ends at "
        f"{theirs['gbstats lesser'][2]:.4f}, below the difference itself; the upper limit is {upper_limit(arms):.4f} "
        "(its width is subtracted where it is to be added).",
        "**spotify-confidence 4.1.0, running over**: ten planned looks at one-sided .05 that go on to twenty are wrong "
        f"in {exit_probabilities(told, looks / 2).sum():.4f} of experiments, since information is counted anew over "
        f"what there is; its bounds up to the plan differ from ours by {np.abs(told[:10] - frozen).max():.0e}. Here "
        "the plan is frozen and the tenth look the last: "
        f"{exit_probabilities(frozen, looks[:10]).sum():.4f}.",
        "**spotify-confidence, relative**: the interval of the difference over the control's mean, "
        f"[{theirs['spotify-confidence relative'][1]:.4f}, {theirs['spotify-confidence relative'][2]:.4f}], leaves out "
        f"the control's own error: Fieller's is [{mine['relative'][1]:.4f}, {mine['relative'][2]:.4f}]. gbstats uses "
        "the delta method, tea-tasting the delta method of the logarithm: both are within a few per cent of its width.",
        "**CUPED**: gbstats and tea-tasting take the slope of all units, variants not told apart, in which an effect "
        f"adds noise: {theirs['theta']:.6f} against {pooled_slope(arms):.6f} within variants, which is the "
        "regression's. The table compares them with Welch's test on what their slope leaves; Homing's row has the "
        "slope within variants.",
        "**proportion**: tea-tasting takes p (1 - p) n / (n - 1) for the variance, gbstats and Homing p (1 - p).",
        f"**tea-tasting 1.14.0, solve_power**: {failed} of {tried} sizes of ordinary designs are no number.",
    ]
    return (
        "### Definition by definition\n\n1,600 users; difference and interval at .95, and the largest difference from "
        "Homing's.\n\n"
        + table(("definition: side", "difference", "lower", "upper", "off by"), rows)
        + "\n\n"
        + "\n".join(f"- {sentence}" for sentence in wrong)
    )


def ours_of(arms: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Difference, lower and upper at .95 by definition, through the public functions."""
    frame = pl.concat(
        pl.DataFrame(rows, schema=["spend", "orders", "before", "bought"]).with_columns(variant=pl.lit(name))
        for name, rows in arms.items()
    ).with_row_index("user_id")
    metrics = [
        Metric("mean", "mean", "spend"),
        Metric("ratio", "ratio", "spend", "orders"),
        Metric("proportion", "proportion", "bought"),
        Metric("CUPED", "mean", "spend", covariates=(Covariate("before"),)),
    ]
    out = {}
    for metric in metrics:
        plan = ExperimentPlan(
            "one",
            success=[metric],
            quality=(),
            variants={"control": 0.5, "treatment": 0.5},
            alpha=0.025,
            adjustment="pooled",
        )
        one = analyze(SufficientStatistics.from_frame(frame, plan), plan).comparison(metric.name)
        out[metric.name] = np.array([one.difference.value, one.difference.lower, one.difference.upper])
        if metric.name == "mean" and one.relative is not None:
            out["relative"] = np.array([one.relative.value, one.relative.lower, one.relative.upper])
    return out


def total_slope(arms: dict[str, np.ndarray]) -> np.ndarray:
    """CUPED with the slope of all units together, as gbstats and tea-tasting have it: Welch on what is left."""
    from scipy import stats

    both = np.vstack(list(arms.values()))
    slope = np.cov(both[:, 0], both[:, 2])[0, 1] / both[:, 2].var(ddof=1)
    control, treatment = (rows[:, 0] - slope * rows[:, 2] for rows in arms.values())
    interval = stats.ttest_ind(treatment, control, equal_var=False).confidence_interval(0.95)
    return np.array([treatment.mean() - control.mean(), interval.low, interval.high])


def pooled_slope(arms: dict[str, np.ndarray]) -> float:
    """The regression's slope on the covariate, given the variant."""
    centred = np.vstack([rows - rows.mean(axis=0) for rows in arms.values()])
    return float(centred[:, 0] @ centred[:, 2] / (centred[:, 2] @ centred[:, 2]))


def upper_limit(arms: dict[str, np.ndarray]) -> float:
    """The one-sided upper limit of the difference at .95."""
    from scipy import stats

    test = stats.ttest_ind(arms["treatment"][:, 0], arms["control"][:, 0], equal_var=False, alternative="less")
    return float(test.confidence_interval(0.95).high)


if __name__ == "__main__":
    main()
