"""How much a log can say about a policy, and the verdict that stands beside every estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.propensity import PropensityCalibration
from homing.ope.diagnostics.segments import SegmentSupport
from homing.ope.diagnostics.tails import WeightTail, weight_tail
from homing.ope.diagnostics.tails import kish as kish
from homing.ope.diagnostics.verdict import Findings, Verdict, worst
from homing.ope.estimate import Clusters, cluster_influence
from homing.ope.events import EventSupport, judge_events
from homing.ope.limits import SupportLimits
from homing.ope.messages import Messages, pieces
from homing.ope.weights import WeightSpread, judge_weights

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MessageSupport:
    """One line of the support table.

    Attributes:
        message: its name.
        eligible: rows in which it could have been chosen.
        logged: rows in which it was.
        policy_share: share of the policy's probability that it gets.
    """

    message: str
    eligible: int
    logged: int
    policy_share: float


@dataclass(frozen=True)
class Support:
    """Diagnostics of a policy's importance weights on a log.

    Attributes:
        ess: effective sample size (Σw)² / Σw², in rows.
        ess_share: ess / n.
        effective_users: the same over users' summed weights.
        max_weight: the largest weight.
        top_user_share: share of all weight that the heaviest user carries.
        weight_mean: should be 1; far from it, propensities are wrong or support is missing.
        weight_mean_error: its standard error.
        share_of_mass_on_unsupported: share of the policy's probability on actions that the log never took.
        verdict: `fine`, `caution` (read with the reasons) or `refuse` (the estimates mean nothing).
        reasons: sentences behind the verdict.
        events: what stands behind each objective.
        messages: the support table, the policy's favourites first.
        histogram_edges, histogram_counts: of log10(weight) where weight > 0; see `zero_weight_share` for the others.
        zero_weight_share: share of rows whose logged action the policy never takes.
        limits: where `caution` and `refuse` begin.
        tail: how heavy the tail of the weights is.
        propensity: whether the logged propensities are true, as far as the log can tell.
        segments: the same questions for each segment, the gravest first; empty where none were named.
    """

    ess: float
    ess_share: float
    effective_users: float
    max_weight: float
    top_user_share: float
    weight_mean: float
    weight_mean_error: float
    share_of_mass_on_unsupported: float
    verdict: Verdict
    reasons: tuple[str, ...]
    events: Mapping[str, EventSupport]
    messages: tuple[MessageSupport, ...] = ()
    histogram_edges: tuple[float, ...] = ()
    histogram_counts: tuple[int, ...] = ()
    zero_weight_share: float = 0.0
    limits: SupportLimits = field(default_factory=SupportLimits)
    tail: WeightTail | None = None
    propensity: PropensityCalibration | None = None
    segments: tuple[SegmentSupport, ...] = ()

    def verdict_for(self, objective: str) -> Verdict:
        """The worse of the weights' verdict and the objective's own."""
        return worst(self.verdict, self.events[objective].verdict)

    def reasons_for(self, objective: str) -> tuple[str, ...]:
        """The sentences behind `verdict_for`."""
        return (*self.reasons, *self.events[objective].reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            **asdict(self),
            "reasons": list(self.reasons),
            "events": {name: {**asdict(item), "reasons": list(item.reasons)} for name, item in self.events.items()},
            "messages": [asdict(item) for item in self.messages],
            "histogram_edges": list(self.histogram_edges),
            "histogram_counts": list(self.histogram_counts),
            "tail": None if self.tail is None else self.tail.to_dict(),
            "propensity": None if self.propensity is None else self.propensity.to_dict(),
            "segments": [item.to_dict() for item in self.segments],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Support:
        """Read back what `to_dict` wrote."""
        tail, propensity = data.get("tail"), data.get("propensity")
        events = {
            name: EventSupport(**{**item, "reasons": tuple(item["reasons"])}) for name, item in data["events"].items()
        }
        return cls(
            **{
                **data,
                "reasons": tuple(data["reasons"]),
                "events": events,
                "messages": tuple(MessageSupport(**item) for item in data["messages"]),
                "histogram_edges": tuple(data["histogram_edges"]),
                "histogram_counts": tuple(data["histogram_counts"]),
                "limits": SupportLimits(**data["limits"]),
                "tail": None if tail is None else WeightTail.from_dict(tail),
                "propensity": None if propensity is None else PropensityCalibration.from_dict(propensity),
                "segments": tuple(SegmentSupport.from_dict(item) for item in data.get("segments", ())),
            }
        )


def unsupported_share(dataset: LoggedDataset, probs: FloatArray, messages: Messages) -> tuple[float, tuple[str, ...]]:
    """Share of the policy's probability on actions that the log never took, and the messages concerned.

    An action is unsupported in a row if the logging policy's whole distribution is known and gives it 0; if the logged
    action had propensity 1, so that all others had 0; or if its message was never sent in the whole log.
    """
    n = dataset.n
    never = messages.chosen(dataset.action) == 0
    certain = dataset.propensity >= 1.0 - 1e-12
    if dataset.probs is None and not never.any() and not certain.any():
        return 0.0, ()
    totals = np.zeros(len(messages.names))
    for rows in pieces(n, dataset.k):
        code = messages.code[rows]
        missing = (never[code] & (code >= 0)) | certain[rows, None]
        if dataset.probs is not None:
            missing |= dataset.probs[rows] <= 0.0
        missing[np.arange(len(code)), dataset.action[rows]] = False  # what was done was possible
        totals += messages.totals(np.where(missing, probs[rows], 0.0), rows.start)
    worst = np.argsort(-totals)[:3]
    return float(totals.sum() / n), tuple(messages.names[i] for i in worst if totals[i] > 0)


def assess(
    weight: FloatArray,
    clusters: Clusters,
    *,
    reward: FloatArray,
    objectives: tuple[str, ...],
    unsupported: tuple[float, tuple[str, ...]] = (0.0, ()),
    messages: tuple[MessageSupport, ...] = (),
    limits: SupportLimits | None = None,
    unit: str = "decisions",
    propensity: PropensityCalibration | None = None,
    segments: tuple[SegmentSupport, ...] = (),
) -> Support:
    """Diagnose weights (n,) against rewards (n, m).

    Args:
        weight: importance weights, >= 0.
        clusters: the independent units (users).
        reward: one column for each of `objectives`.
        unsupported: from `unsupported_share`.
        messages: the support table.
        limits: where `caution` and `refuse` begin.
        unit: what a row is, for the sentences.
        propensity: from `propensity_calibration`; it says how far the weights can be trusted at all.
        segments: from `segment_support`.
    """
    limits = limits or SupportLimits()
    n = len(weight)
    by_user = clusters.sums(weight)
    total = float(by_user.sum())
    mean = float(weight.mean())
    psi = cluster_influence(weight - mean, clusters)
    error = math.sqrt(clusters.count / max(clusters.count - 1, 1) * float(psi @ psi))
    ess, users = kish(weight), kish(by_user)
    top_share = float(by_user.max(initial=0.0) / total) if total > 0 else 0.0
    tail = weight_tail(weight, clusters)
    spread = WeightSpread(n, clusters.count, ess, users, top_share, mean, error)
    found = judge_weights(spread, tail, limits, unit)
    if propensity is not None and propensity.tested:
        for reason in propensity.reasons:
            found.add(propensity.verdict, reason)
    _judge_segments(found, segments, limits)
    share, names = unsupported
    if share > limits.caution_unsupported:
        where = f" (most on {', '.join(names)})" if names else ""
        found.add(
            "refuse" if share > limits.refuse_unsupported else "caution",
            f"{share:.1%} of the policy's choices{where} were never made in this log: "
            "IPS counts them as reward 0, and model-based estimators trust the model there.",
        )
    events = {
        name: judge_events(name, weight, reward[:, j], clusters, limits, unit) for j, name in enumerate(objectives)
    }
    edges, counts = _histogram(weight)
    return Support(
        ess=ess,
        ess_share=ess / n,
        effective_users=users,
        max_weight=float(weight.max()),
        top_user_share=top_share,
        weight_mean=mean,
        weight_mean_error=error,
        share_of_mass_on_unsupported=share,
        verdict=found.verdict,
        reasons=tuple(found.reasons),
        events=events,
        messages=messages,
        histogram_edges=edges,
        histogram_counts=counts,
        zero_weight_share=float((weight == 0).mean()),
        limits=limits,
        tail=tail,
        propensity=propensity,
        segments=segments,
    )


def _judge_segments(found: Findings, segments: tuple[SegmentSupport, ...], limits: SupportLimits) -> None:
    """A segment that the log cannot judge refuses the whole where it holds enough of what the policy does."""
    unknown = [item for item in segments if item.verdict == "refuse"]
    lost = sum(item.share * max(item.unsupported, float(item.ess < limits.refuse_users)) for item in unknown)
    wrong = any("mean importance weight" in reason for item in unknown for reason in item.reasons)
    verdict: Verdict = "refuse" if lost > limits.refuse_unsupported or wrong else "caution"
    for item in unknown[:3]:
        for reason in item.reasons:
            found.add(verdict, reason)
    if len(unknown) > 3:
        found.add(verdict, f"{len(unknown) - 3} more segments cannot be judged by this log; see `support.segments`.")
    for item in [item for item in segments if item.verdict == "caution"][:3]:
        for reason in item.reasons:
            found.add("caution", reason)


def _histogram(weight: FloatArray, bins: int = 30) -> tuple[tuple[float, ...], tuple[int, ...]]:
    positive = weight[weight > 0]
    if not len(positive):
        return (), ()
    logs = np.log10(positive)
    low, high = float(logs.min()), float(logs.max())
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    counts, edges = np.histogram(logs, bins=bins, range=(low, high))
    return tuple(float(edge) for edge in edges), tuple(int(count) for count in counts)
