"""Known truths, recovered through Homing's log and off-policy evaluation: writes docs/results.md (`make docs`).

Each table stands against a number from the raw file, computed without Homing. Data sets that are not there are left out
and named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from homing import datasets
from homing.learners import fit_reward_model, make
from homing.log import LoggedDataset, build_dataset, split_by_user
from homing.ope import OPEReport, compare, evaluate_policy
from homing.policies import EpsilonGreedyPolicy, FixedCandidatePolicy, dataset_probs, dataset_values

SHOWN = ("ips", "snips", "dr")


def interval(value: float, lower: float, upper: float) -> str:
    return f"{value:.5g} [{lower:.5g}, {upper:.5g}]"


def cross_fitted(data: LoggedDataset, *, seed: int = 0) -> NDArray[np.float64]:
    """q̂ (n, k, m): every row is predicted by a model that saw none of its user's rows."""
    rng = np.random.default_rng(seed)
    out = np.zeros((data.n, data.k, len(data.objectives)))
    halves = split_by_user(data, 0.5, salt="evidence")
    for rows, others in (halves, halves[::-1]):
        model = fit_reward_model(data.take(others), "linear", np.ones(len(data.objectives)), rng=rng).model
        out[rows] = dataset_values(model, data.take(rows))
    return out


def estimates(report: OPEReport, objective: str) -> list[str]:
    found = [report.estimates[name, objective] for name in SHOWN]
    return [interval(item.value, item.lower, item.upper) for item in found]


def hillstrom(path: Path) -> Iterator[str]:
    raw = pd.read_parquet(path)
    log = datasets.load("hillstrom", path=path)
    data = build_dataset(log, datasets.objectives("hillstrom"))
    assert data.encoder is not None
    q_hat = cross_fitted(data)
    arms = {"No E-Mail": FixedCandidatePolicy(index=0)}
    for arm, message in (("Mens E-Mail", "mens-email"), ("Womens E-Mail", "womens-email")):
        arms[arm] = FixedCandidatePolicy(column=data.encoder.column(f"message_id={message}"))
    yield "## Hillstrom: fixed arms against their own randomised means\n"
    yield "Visits per customer. The observed mean is of the raw file's rows of the arm; the estimates use all rows."
    yield "\n| policy | observed mean | IPS | SNIPS | DR | all three intervals hold it |"
    yield "|---|---:|---|---|---|---|"
    for arm, policy in arms.items():
        report = evaluate_policy(data, dataset_probs(policy, data), q_hat=q_hat, estimators=SHOWN, policy=arm)
        truth = raw.loc[raw["segment"] == arm, "visit"].mean()
        held = all(report.estimates[n, "visit"].lower <= truth <= report.estimates[n, "visit"].upper for n in SHOWN)
        yield f"| always {arm} | {truth:.5f} | {' | '.join(estimates(report, 'visit'))} | {'yes' if held else 'NO'} |"
    train, rest = split_by_user(data, 0.6, salt="homing")
    learnt = make("doubly-robust").fit(
        data.take(train), weights=datasets.default_weights("hillstrom"), rng=np.random.default_rng(0)
    )
    held_out = data.take(rest)
    q_rest = q_hat[rest]
    # A policy that explores earns less than what it knows: both are shown.
    bare = learnt.base if isinstance(learnt, EpsilonGreedyPolicy) else learnt
    champion, knows = (
        evaluate_policy(held_out, dataset_probs(policy, held_out), q_hat=q_rest, estimators=SHOWN, policy=name)
        for policy, name in ((learnt, "learned"), (bare, "without exploration"))
    )
    value = champion.estimates["dr", "visit"]
    yield f"\nThe learned policy, trained on {len(train):,} customers, judged on the {len(rest):,} others:"
    yield f"**{interval(value.value, value.lower, value.upper)}** visits per customer (DR, 95 % interval). A share"
    yield "of its choices is drawn uniformly, to learn from; what that costs is the difference of the two columns.\n"
    yield "| against always | learned − arm, paired 95 % interval | without its exploration − arm |"
    yield "|---|---|---|"
    for arm, policy in arms.items():
        other = evaluate_policy(held_out, dataset_probs(policy, held_out), q_hat=q_rest, estimators=SHOWN, policy=arm)
        gaps = [compare(report, other, "visit", "dr") for report in (champion, knows)]
        yield f"| {arm} | {' | '.join(interval(gap.value, gap.lower, gap.upper) for gap in gaps)} |"
    yield ""


def open_bandit(folder: Path | None) -> Iterator[str]:
    yield "## Open Bandit: the Thompson-sampling policy from the random log\n"
    yield "Clicks per shown item. Its own log is another sample of the same week: compare the intervals.\n"
    yield "| campaign | its own log's mean | IPS | SNIPS | DR |"
    yield "|---|---|---|---|---|"
    for campaign in ("men", "all"):
        random = datasets.load("open-bandit", path=folder, behaviour="random", campaign=campaign)
        thompson = datasets.load("open-bandit", path=folder, behaviour="bts", campaign=campaign)
        goals = datasets.objectives("open-bandit")
        data = build_dataset(random, goals)
        own = build_dataset(thompson, goals).reward[:, 0]
        half = 1.96 * own.std() / np.sqrt(len(own))
        probs = datasets.thompson_probs(data, datasets.thompson_shares(thompson))
        report = evaluate_policy(data, probs, q_hat=cross_fitted(data), estimators=SHOWN, policy="thompson")
        own_text = interval(own.mean(), own.mean() - half, own.mean() + half)
        yield f"| {campaign} | {own_text} | {' | '.join(estimates(report, data.objectives[0]))} |"
    yield ""


def heartsteps(path: Path) -> Iterator[str]:
    import statsmodels.api as sm

    raw = pd.read_parquet(path)
    log = datasets.load("heartsteps", path=path)
    data = build_dataset(log, datasets.objectives("heartsteps"))
    free = data.take(np.flatnonzero(data.eligible[:, 1:].any(axis=1)))
    send = evaluate_policy(
        free, dataset_probs(FixedCandidatePolicy(index=1), free), estimators=("snips",), policy="send"
    )
    silence = evaluate_policy(
        free, dataset_probs(FixedCandidatePolicy(index=0), free), estimators=("snips",), policy="silence"
    )
    gap = compare(send, silence, data.objectives[0], "snips")
    rows = raw[raw["avail"]]
    fit = sm.OLS(np.log(rows["jbsteps30"]), sm.add_constant(rows["send"].astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": rows["user"]}
    )
    low, high = fit.conf_int().loc["send"]
    yield "## HeartSteps: sending an activity suggestion against silence\n"
    yield f"Log steps in the following 30 minutes, at {free.n:,} available decision points of {free.n_users} users.\n"
    yield "| route | effect, 95 % interval, clustered by user |"
    yield "|---|---|"
    yield f"| Homing's log, SNIPS, paired difference (t quantile) | {interval(gap.value, gap.lower, gap.upper)} |"
    yield f"| least squares on the raw table (normal quantile) | {interval(fit.params['send'], low, high)} |"
    yield "| published, all 37 users | 0.12 ± 1.96 · 0.064 |"
    yield ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HOMING_DATA", "data")), help="real data sets")
    parser.add_argument("--write", type=Path, help="also write it to this file")
    args = parser.parse_args()
    parts = ["# Results against known truth\n\nWritten by `make docs`.\n"]
    sources = {
        "hillstrom": (args.data / "hillstrom" / "hillstrom_dev.parquet", (hillstrom,)),
        "heartsteps": (args.data / "heartsteps_v1" / "decisions_dev.parquet", (heartsteps,)),
    }
    for line in open_bandit(None):
        parts.append(line)
        print(line, flush=True)
    for name, (path, stories) in sources.items():
        if not path.exists():
            print(f"{name} == not found at {path}, left out. Set HOMING_DATA to the folder with the data sets.")
            continue
        for story in stories:
            for line in story(path):
                parts.append(line)
                print(line, flush=True)
    if args.write:
        args.write.write_text("\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
