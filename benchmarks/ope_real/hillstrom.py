"""Hillstrom: every fixed arm and two learnt policies, against other customers of the same randomised trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.ope_real.checks import Check, FloatArray, check, fit_by_message
from homing import datasets
from homing.log import LoggedDataset, build_dataset
from homing.ope import Estimate, cross_fit, evaluate_policy
from homing.ope.crossfit import user_folds
from homing.ope.estimate import interval
from homing.ope.messages import Messages

OBJECTIVES = ("visit", "spend")
ESTIMATORS = ("ips", "snips", "dr")
#: Means of the whole challenge (64,000 customers), as published.
PUBLISHED = {
    ("silence", "visit"): 0.1062,
    ("womens-email", "visit"): 0.1514,
    ("mens-email", "visit"): 0.1828,
    ("silence", "spend"): 0.653,
    ("womens-email", "spend"): 1.077,
    ("mens-email", "spend"): 1.423,
}


def checks(path: Path) -> Iterator[tuple[Check, float | None]]:
    """Each policy and objective with the published mean where there is one.

    A third of the customers trains the learnt policies, a third is the log, and the last third says what is true: there
    each arm's customers are a random sample, so that a policy's value is a stratified mean of plain means.
    """
    log = build_dataset(datasets.load("hillstrom", path), datasets.objectives("hillstrom"))
    fold = user_folds(log.user, 3, np.random.default_rng(0))
    train, judged, others = (log.take(np.flatnonzero(fold == i)) for i in range(3))
    q_hat = cross_fit(judged, fit_by_message, 5, np.random.default_rng(1))
    for name, policy in policies(train).items():
        report = evaluate_policy(judged, policy(judged), q_hat=q_hat, estimators=ESTIMATORS, policy=name)
        for objective in OBJECTIVES:
            truth = randomised(others, policy(others), objective)
            yield check(f"{name}, {objective}", truth, report, objective), PUBLISHED.get((name, objective))


def policies(train: LoggedDataset) -> dict:
    """By name, functions from a log to probabilities (n, 3)."""
    names = Messages.of(train).names

    def always(arm: str):
        return lambda data: Messages.of(data).always(arm, data.eligible)[0]

    def visits(data: LoggedDataset) -> FloatArray:
        return fit_by_message(train, data)[:, :, train.objectives.index("visit")]

    def greedy(data: LoggedDataset) -> FloatArray:
        return np.eye(data.k)[visits(data).argmax(axis=1)]

    def sparing(data: LoggedDataset) -> FloatArray:
        """An e-mail only where it is expected to bring 7 visits in 100; and a tenth of choices at random."""
        gain = visits(data)
        best = gain.argmax(axis=1)
        chosen = np.where(gain.max(axis=1) - gain[:, 0] > 0.07, best, 0)
        return 0.9 * np.eye(data.k)[chosen] + 0.1 / data.k

    return {**{arm: always(arm) for arm in names}, "learnt, greedy": greedy, "learnt, sparing": sparing}


def randomised(data: LoggedDataset, probs: FloatArray, objective: str) -> Estimate:
    """A policy's value where arms were drawn at random: Σ over strata of like probabilities and over arms a of
    share · π(a) · (mean reward of the stratum's customers who were given a). No weights, no propensities."""
    reward = data.reward[:, data.objectives.index(objective)]
    strata, code = np.unique(probs.round(9), axis=0, return_inverse=True)
    value, psi = 0.0, np.zeros(data.n)
    for s, chance in enumerate(strata):
        inside = code.reshape(-1) == s
        share, mean = inside.mean(), 0.0
        for a in np.flatnonzero(chance > 0):
            given = inside & (data.action == a)
            arm = float(reward[given].mean())
            mean += chance[a] * arm
            psi[given] += share * chance[a] * (reward[given] - arm) / given.sum()
        value += share * mean
        psi[inside] += mean / data.n
    return interval(value, psi - psi.mean(), 0.95)
