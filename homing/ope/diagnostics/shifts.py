"""How single features and messages have moved between a log and today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.log.dataset import LoggedDataset
from homing.ope.estimate import Clusters, Estimate, interval
from homing.ope.intervals.simultaneous import simultaneous_level
from homing.ope.messages import Messages
from homing.ope.table import check_probs

FloatArray = NDArray[np.float64]
#: A standardised difference up to 0.1 is held negligible (Austin, 2009), beyond 0.25 a regression on the feature is no
#: longer to be trusted (Rubin, 2001; Stuart, 2010).
NEGLIGIBLE, LARGE = 0.1, 0.25
#: Bins of the population stability index.
BINS = 10


@dataclass(frozen=True)
class FeatureShift:
    """How one feature has moved.

    Attributes:
        feature: a context column, the number of eligible candidates, or whether a message is eligible.
        log_mean, today_mean: its means.
        difference: (today - log) / the standard deviation of both, pooled; intervals hold for all features together.
        psi: population stability index over levels, or tenths of the log, which also sees what leaves the mean alone.
    """

    feature: str
    log_mean: float
    today_mean: float
    difference: Estimate
    psi: float

    @property
    def clear(self) -> bool:
        """Whether it has moved beyond chance, and by more than is negligible."""
        return abs(self.difference.value) > NEGLIGIBLE and not self.difference.lower <= 0.0 <= self.difference.upper


@dataclass(frozen=True)
class MessageShift:
    """One message then and now.

    Attributes:
        message: its name.
        logged: rows in which the log sent it.
        log_share, today_share: share of decisions in which it is eligible.
        policy_share: share of the policy's choices today; None without a policy.
        state: `new`: never sent in the log; `gone`: sent there, never eligible today; `kept`.
    """

    message: str
    logged: int
    log_share: float
    today_share: float
    policy_share: float | None
    state: str


def feature_shifts(
    names: Sequence[str],
    before: FloatArray,
    after: FloatArray,
    clusters: Clusters,
    level: float,
    rng: np.random.Generator,
) -> tuple[FeatureShift, ...]:
    """Every feature, those that moved most first."""
    n, m = len(before), len(after)
    means = before.mean(axis=0), after.mean(axis=0)
    spread = np.sqrt((before.var(axis=0) + after.var(axis=0)) / 2.0)
    influences = []
    for j in range(len(names)):
        error = np.concatenate([(means[0][j] - before[:, j]) / n, (after[:, j] - means[1][j]) / m])
        influences.append(clusters.sums(error) / (spread[j] or 1.0))
    if not influences:
        return ()
    each = simultaneous_level(influences, level, rng=rng)
    out = []
    for j, name in enumerate(names):
        value = float(means[1][j] - means[0][j]) / float(spread[j] or 1.0)
        shift = interval(value, influences[j], each)
        index = stability_index(before[:, j], after[:, j])
        out.append(FeatureShift(name, float(means[0][j]), float(means[1][j]), shift, index))
    return tuple(sorted(out, key=lambda item: (-abs(item.difference.value), item.feature)))


def stability_index(before: FloatArray, after: FloatArray) -> float:
    """Σ (q - p) ln(q / p) over levels, or tenths of the log, each with half a row more so that none is empty."""
    levels = np.unique(np.concatenate([before, after]))
    edges = levels[:-1] if len(levels) <= BINS else np.unique(np.quantile(before, np.arange(1, BINS) / BINS))
    shares = []
    for values in (before, after):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    return float((shares[1] - shares[0]) @ np.log(shares[1] / shares[0]))


def message_shifts(
    log: LoggedDataset,
    now: LoggedDataset,
    shares: Mapping[str, tuple[float, float]],
    action_probs: ArrayLike | None,
) -> tuple[MessageShift, ...]:
    """Every message, new ones first, then those that are gone, then the others by how often they were sent."""
    known, current = Messages.of(log), Messages.of(now)
    counts = np.bincount(known.code[np.arange(log.n), log.action], minlength=len(known.names))
    logged = dict(zip(known.names, counts.tolist(), strict=True))
    wanted: dict[str, float] | None = None
    if action_probs is not None:
        probs = check_probs("action_probs", action_probs, now.eligible)
        wanted = dict(zip(current.names, (current.totals(probs) / now.n).tolist(), strict=True))
    out = []
    for name, (then, today) in shares.items():
        sent = int(logged.get(name, 0))
        state = "new" if not sent and today > 0 else "gone" if sent and not today else "kept"
        out.append(MessageShift(name, sent, then, today, None if wanted is None else wanted.get(name, 0.0), state))
    order = {"new": 0, "gone": 1, "kept": 2}
    return tuple(sorted(out, key=lambda item: (order[item.state], -item.logged, item.message)))
