"""HeartSteps: sending a suggestion against silence, beside the regression that the study's analysts use."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.ope_real.checks import Check, FloatArray, fit_by_message
from homing import datasets
from homing.log import build_dataset
from homing.ope import Estimate, compare, cross_fit, evaluate_policy
from homing.ope.estimate import Clusters, t_quantile
from homing.ope.messages import SILENCE, Messages

ESTIMATORS = ("ips", "snips", "dr")
#: All 37 participants (Klasnja et al. 2019); what is read here may be fewer.
PUBLISHED = 0.120


def checks(path: Path) -> tuple[Check, int, int]:
    """The effect on log steps in 30 minutes per available decision point; how many of these and of users there are."""
    log = build_dataset(datasets.load("heartsteps", path), datasets.objectives("heartsteps"))
    free = log.take(np.flatnonzero(log.eligible[:, 1:].any(axis=1)))
    messages = Messages.of(free)
    suggestion = next(name for name in messages.names if name != SILENCE)
    q_hat = cross_fit(free, fit_by_message, 5, np.random.default_rng(0))
    send, silence = (
        evaluate_policy(free, messages.always(name, free.eligible)[0], q_hat=q_hat, estimators=ESTIMATORS, policy=name)
        for name in (suggestion, SILENCE)
    )
    found = {name: compare(send, silence, "log_steps", name, interval="cluster-t") for name in ESTIMATORS}
    assert free.encoder is not None
    before = free.context[:, free.encoder.context_column("log_steps_30min_before")].astype(float)
    other = centred_least_squares(free.reward[:, 0], free.action == 1, before, free.user)
    return Check("send minus silence", other, found, send.support.verdict), free.n, free.n_users


def centred_least_squares(reward: FloatArray, sent: np.ndarray, control: FloatArray, user: np.ndarray) -> Estimate:
    """Weighted and centred least squares with a constant randomisation probability p: reward on 1, the control and
    (sent - p), with a sandwich variance by user corrected for few users (Boruvka, Almirall, Witkiewitz and Murphy 2018,
    section 4; Mancl and DeRouen 2001). Weights are 1, as p is what the effect is centred at.
    """
    p = 0.6
    x = np.column_stack([np.ones(len(reward)), control, sent - p])
    bread = np.linalg.inv(x.T @ x)
    slopes = bread @ (x.T @ reward)
    residual = reward - x @ slopes
    clusters = Clusters.of(user)
    meat = np.zeros((3, 3))
    for g in range(clusters.count):
        rows = np.flatnonzero(clusters.code == g)
        hat = x[rows] @ bread @ x[rows].T
        corrected = np.linalg.solve(np.eye(len(rows)) - hat, residual[rows])
        score = x[rows].T @ corrected
        meat += np.outer(score, score)
    error = float(np.sqrt((bread @ meat @ bread)[2, 2]))
    df = clusters.count - x.shape[1]
    half = t_quantile(0.95, df) * error
    value = float(slopes[2])
    return Estimate(value, error, value - half, value + half, 0.95, df, "sandwich")
