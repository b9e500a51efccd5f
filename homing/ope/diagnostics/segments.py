"""Where in the log a policy has support: the same questions for each segment of the users or decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_shape
from homing.errors import InvalidInputError, describe, unknown_name
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.tails import kish
from homing.ope.diagnostics.verdict import Findings, Verdict
from homing.ope.estimate import Clusters, Estimate, interval
from homing.ope.messages import Messages

FloatArray = NDArray[np.float64]
#: More segments than these are no segments but rows.
MAX_SEGMENTS = 200
#: Rows in which a message must have been eligible in a segment before its absence counts as no support.
MIN_ELIGIBLE = 30
#: Share of a segment's choices without support, effective rows in it: where caution and where refusal begin.
CAUTION_UNSUPPORTED, REFUSE_UNSUPPORTED = 0.001, 0.05
CAUTION_ESS, REFUSE_ESS = 50.0, 10.0


@dataclass(frozen=True)
class SegmentSupport:
    """How much the log says about a policy in one segment.

    Attributes:
        segment: its name.
        rows, users: how many there are.
        share: of all rows.
        ess: effective sample size of the weights in it.
        weight_mean: mean importance weight, which should be 1, with its interval.
        unsupported: share of the policy's choices in it that the log never made there.
        messages: those that it would send there without support, at most three, the most sent first.
        verdict: `refuse`: the policy's value in this segment is unknown.
        reasons: sentences behind the verdict; they name the segment.
    """

    segment: str
    rows: int
    users: int
    share: float
    ess: float
    weight_mean: Estimate | None
    unsupported: float
    messages: tuple[str, ...]
    verdict: Verdict
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "messages": list(self.messages), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SegmentSupport:
        """Read back what `to_dict` wrote."""
        mean = data["weight_mean"]
        changed = {"messages": tuple(data["messages"]), "reasons": tuple(data["reasons"])}
        return cls(**{**data, **changed, "weight_mean": None if mean is None else Estimate.from_dict(mean)})


def context_segments(dataset: LoggedDataset, name: str) -> NDArray[np.str_]:
    """The segment of each row (n,) by one feature of the context: its levels, or quarters of a number.

    Args:
        dataset: the log.
        name: a context feature, such as `plan`; `context[3]` for the fourth column of a log that was built from arrays.

    Raises:
        UnknownNameError: if there is no such feature.

    Example:
        >>> data = LoggedDataset(
        ...     context=[[0.0], [1.0], [1.0]], candidates=np.zeros((3, 2, 1)), eligible=np.ones((3, 2), bool),
        ...     action=[0, 1, 0], propensity=np.full(3, 0.5), reward=np.zeros((3, 1)), objectives=("clicked",),
        ...     user=[0, 1, 2], time=[0, 1, 2])
        >>> context_segments(data, "context[0]").tolist()
        ['context[0]=0', 'context[0]=1', 'context[0]=1']
    """
    width = dataset.context.shape[1]
    if dataset.encoder is None:
        columns = {f"context[{i}]": [i] for i in range(width)}
        names = list(columns)
    else:
        names = list(dataset.encoder.context_names)
        columns = {}
        for i, column in enumerate(names):
            columns.setdefault(column.split("=", 1)[0], []).append(i)
    if name not in columns:
        raise unknown_name("segments", name, columns, "Or pass one label for each row.")
    block = columns[name]
    if len(block) > 1 or "=" in names[block[0]]:
        levels = np.array([names[i] for i in block] + [f"{name}=(other)"])
        values = dataset.context[:, block]
        return np.asarray(levels[np.where(values.max(axis=1) > 0, values.argmax(axis=1), len(block))])
    values = dataset.context[:, block[0]].astype(np.float64)
    known = np.unique(values)
    if len(known) <= 8:
        return np.array([f"{name}={value:g}" for value in known])[np.searchsorted(known, values)]
    edges = np.unique(np.quantile(values, (0.25, 0.5, 0.75)))
    bounds = [-np.inf, *edges, np.inf]
    labels = np.array([f"{name} in ({low:.3g}, {high:.3g}]" for low, high in pairwise(bounds)])
    return np.asarray(labels[np.searchsorted(edges, values, side="left")])


def segment_support(
    dataset: LoggedDataset,
    action_probs: FloatArray,
    segments: str | ArrayLike,
    *,
    clusters: Clusters | None = None,
    messages: Messages | None = None,
) -> tuple[SegmentSupport, ...]:
    """Diagnose a policy's weights in each segment of a log.

    A choice has no support in a segment if its message was eligible there and never sent there, or if the logging
    policy is known to have given it no probability. Support of the whole log hides a segment whose users were never
    sent what the policy would send them: their reward is then borrowed from others, or counted as 0. Wrong to read
    where segments hold few rows: what is rare is then taken for absent.

    Args:
        dataset: the log.
        action_probs: (n, k), the policy's probabilities on the log's decisions.
        segments: the name of a context feature, or one label for each row (n,).
        clusters: rows that may depend on each other; users by default.
        messages: from `Messages.of(dataset)`, to save time.

    Returns:
        One entry a segment, the gravest first.

    Raises:
        InvalidInputError: if there are as many segments as rows, or one label is missing.
        UnknownNameError: if there is no such feature.

    References:
        Sachdeva, Su and Joachims (2020), "Off-policy Bandits with Deficient Support", section 3.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> plan = np.repeat(["free", "pro"], 1000)
        >>> action = np.where(plan == "pro", 0, rng.integers(0, 2, 2000))  # "pro" is never sent anything
        >>> data = LoggedDataset(
        ...     context=np.zeros((2000, 1)), candidates=np.zeros((2000, 2, 1)), eligible=np.ones((2000, 2), bool),
        ...     action=action, propensity=np.where(plan == "pro", 1.0, 0.5), reward=np.zeros((2000, 1)),
        ...     objectives=("clicked",), user=np.arange(2000), time=np.arange(2000))
        >>> found = segment_support(data, np.full((2000, 2), 0.5), plan)
        >>> [(item.segment, item.verdict, item.unsupported) for item in found]
        [('pro', 'refuse', 0.5), ('free', 'fine', 0.0)]
    """
    labels = context_segments(dataset, segments) if isinstance(segments, str) else np.asarray(segments)
    labels = check_shape("segments", labels, (dataset.n,), next_step="One label for each row of the log.").astype(str)
    names, at = np.unique(labels, return_inverse=True)
    at = at.reshape(-1)
    if len(names) > MAX_SEGMENTS:
        raise InvalidInputError(
            describe("number of segments", len(names), f"must be <= {MAX_SEGMENTS}", "Join rare labels into one.")
        )
    clusters = clusters or Clusters.of(dataset.user)
    messages = messages or Messages.of(dataset)
    rows, width, count = np.arange(dataset.n), len(messages.names), len(names)
    weight = action_probs[rows, dataset.action] / dataset.propensity
    logged = np.bincount(at * width + messages.code[rows, dataset.action], minlength=count * width)
    cell = at[:, None] * width + np.maximum(messages.code, 0)
    eligible = np.bincount(cell[dataset.eligible], minlength=count * width)
    absent = (logged == 0) & (eligible >= MIN_ELIGIBLE)
    missing = absent[cell] & dataset.eligible
    if dataset.probs is not None:
        missing |= dataset.probs <= 0.0
    missing |= (dataset.propensity >= 1.0 - 1e-12)[:, None]
    missing[rows, dataset.action] = False  # what was done was possible
    lost = np.where(missing, action_probs, 0.0)
    by_message = np.bincount(cell.reshape(-1), weights=lost.reshape(-1), minlength=count * width).reshape(count, width)
    out = []
    for s, name in enumerate(names):
        inside = at == s
        here = Clusters.of(clusters.code[inside])
        unsupported = float(by_message[s].sum() / inside.sum())
        worst_first = np.argsort(-by_message[s], kind="stable")[:3]
        lacking = tuple(messages.names[i] for i in worst_first if by_message[s, i] > 0)
        out.append(_judge(str(name), weight[inside], here, dataset.n, unsupported, lacking))
    order = {"refuse": 0, "caution": 1, "fine": 2}
    return tuple(sorted(out, key=lambda item: (order[item.verdict], -item.rows)))


def _judge(
    name: str, weight: FloatArray, clusters: Clusters, n: int, unsupported: float, lacking: tuple[str, ...]
) -> SegmentSupport:
    found = Findings()
    ess = kish(weight)
    mean = None
    if clusters.count > 1:
        value = float(weight.mean())
        mean = interval(value, clusters.sums(weight - value) / len(weight), 0.95)
    if unsupported > CAUTION_UNSUPPORTED:
        found.add(
            "refuse" if unsupported > REFUSE_UNSUPPORTED else "caution",
            f"In {name}, {unsupported:.1%} of the policy's choices ({', '.join(lacking)}) were never made in this log.",
        )
    if ess < CAUTION_ESS:
        found.add(
            "refuse" if ess < REFUSE_ESS else "caution",
            f"In {name}, the effective sample size is {ess:,.1f} of {len(weight):,} rows.",
        )
    elif mean is not None and unsupported <= CAUTION_UNSUPPORTED:
        off = abs(mean.value - 1.0)
        if off > max(4.0 * mean.std_error, 0.02):
            found.add(
                "refuse" if off > max(5.0 * mean.std_error, 0.1) else "caution",
                f"In {name}, the mean importance weight is {mean.value:.3f} ± {mean.std_error:.3f} and should be 1: "
                "choices are missing there, or its propensities are wrong.",
            )
    return SegmentSupport(
        segment=name,
        rows=len(weight),
        users=clusters.count,
        share=len(weight) / n,
        ess=ess,
        weight_mean=mean,
        unsupported=unsupported,
        messages=lacking,
        verdict=found.verdict,
        reasons=tuple(found.reasons),
    )
