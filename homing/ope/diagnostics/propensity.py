"""Whether the logged propensities are true: exact moments that they imply, held against the log itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive, check_shape
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.moments import zero_mean_p_value
from homing.ope.diagnostics.tails import kish
from homing.ope.diagnostics.verdict import Findings, Verdict
from homing.ope.estimate import Clusters, Estimate, t_quantile
from homing.ope.messages import Messages
from homing.ope.text import number

FloatArray = NDArray[np.float64]
#: Combined p-values below which the verdict is caution, and refuse.
CAUTION_P, REFUSE_P = 1e-3, 1e-6
#: Deviations of a ratio from 1 that matter, and that are serious.
CAUTION_OFF, REFUSE_OFF = 0.01, 0.05
#: Messages tested one by one, splits of the context that are looked through, and pairs of both that are tested.
MAX_MESSAGES, MAX_SPLITS, MAX_PAIRS = 24, 32, 16
#: Least effective number of users behind a test; below, its t statistic is not Student's.
MIN_EFFECTIVE = 100.0
#: Least number of users with weight before a mean that is too small is evidence: rare large weights may be missing.
MIN_MISSING = 500
#: The heaviest share of users, and what they may carry of all weight before the tail counts as heavy.
TOP, TOP_CARRIES = 0.01, 0.02
#: Quantile at which heavy weights are cut in the test of too large a mean.
CAP = 0.98
#: Users' rows and steps that a model of the log's choices is fitted with.
MAX_FIT, FIT_STEPS = 10_000, 40
#: Bins of a candidate's predicted probability.
BINS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True)
class MomentTest:
    """One moment that true propensities fix, and what the log says of it.

    Attributes:
        what: which decisions or candidates it is about.
        kind: `weight`: the mean of 1{choice} / propensity over what could have been chosen; `frequency`: how often
            candidates were chosen over how often their logged probabilities say.
        ratio: observed over expected, 1 where propensities are true; its interval is clustered by user.
        p_value: two-sided, of ratio 1.
        effective: effective number of users behind it.
    """

    what: str
    kind: Literal["weight", "frequency"]
    ratio: Estimate
    p_value: float
    effective: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class PropensityCalibration:
    """Whether a log's propensities are true, as far as the log can tell.

    Attributes:
        verdict: `fine`; `caution`; `refuse`: no weight that is made of them means anything.
        reasons: sentences behind the verdict.
        p_value: combined over all tests (Bonferroni); 1 where nothing could be tested.
        tested: number of tests.
        skipped: tests left out because too few users stood behind them.
        tests: all tests on messages and bins, and those on pairs of message and context, smallest p-value first.
        n: rows that were looked at.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    p_value: float
    tested: int
    skipped: int
    tests: tuple[MomentTest, ...]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {**asdict(self), "reasons": list(self.reasons), "tests": [item.to_dict() for item in self.tests]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PropensityCalibration:
        """Read back what `to_dict` wrote."""
        tests = tuple(MomentTest(**{**item, "ratio": Estimate.from_dict(item["ratio"])}) for item in data["tests"])
        return cls(**{**data, "reasons": tuple(data["reasons"]), "tests": tests})


def propensity_calibration(
    dataset: LoggedDataset,
    *,
    clusters: Clusters | None = None,
    messages: Messages | None = None,
    max_rows: int = 50_000,
) -> PropensityCalibration:
    """Test that the logged propensities are the probabilities with which the log was drawn.

    Control variates, where only the chosen candidate's propensity p is logged: E[1{a is j} / p] is the number of
    candidates that are message j and could be chosen, for every message j and in any part of the log that the context
    defines; E[w] = 1 for the policy that sends messages as often as the log does, and, where its weights are heavy, for
    a softmax model of the log's choices. Bins, where whole distributions are
    logged (`dataset.probs`): candidates of a predicted probability, or message, are chosen that often. Each test
    compares a ratio with 1 by a t statistic over users' sums, corrected for skewness. Pairs of a message and a split
    of the context are chosen on half of the users and tested on the others. All p-values are combined by Bonferroni's
    rule, which no dependence between them breaks.

    A ratio below 1 has two explanations where only the chosen candidate's propensity is logged: it is too large, or
    the policy never takes the message in a part of the decisions in which it was eligible. No log can tell them apart,
    so that such a finding is a caution; whether it matters for a policy shows in its own mean weight
    (`Support.weight_mean`). All other findings refuse. Wrong to take as proof: errors that average out within messages,
    bins and splits stay hidden.

    Args:
        dataset: the log.
        clusters: rows that may depend on each other; users by default.
        messages: from `Messages.of(dataset)`, to save time.
        max_rows: about how many rows are looked at; of longer logs every m-th user.

    Returns:
        A `PropensityCalibration`.

    Raises:
        InvalidInputError: if `clusters` are of other rows, or `max_rows` is not positive.

    References:
        Li, Chen, Kleban and Gupta (2015), "Counterfactual Estimation and Optimization of Click Metrics in Search
        Engines", for tests of logged propensities by arithmetic and harmonic means; Hesterberg (1995), "Weighted
        Average Importance Sampling and Defensive Mixture Distributions", for E[w] = 1 as a control variate.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> n = 20_000
        >>> action = (rng.random(n) < 0.2).astype(int)  # 20 % is what happens
        >>> def log(propensity):
        ...     return LoggedDataset(
        ...         context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool),
        ...         action=action, propensity=propensity, reward=np.zeros((n, 1)), objectives=("clicked",),
        ...         user=np.arange(n), time=np.arange(n))
        >>> propensity_calibration(log(np.where(action == 1, 0.2, 0.8))).verdict
        'fine'
        >>> propensity_calibration(log(np.full(n, 0.5))).verdict
        'refuse'
    """
    check_positive("max_rows", max_rows)
    clusters = clusters or Clusters.of(dataset.user)
    check_shape("clusters.code", clusters.code, (dataset.n,), next_step="One label for each row of the log.")
    messages = messages or Messages.of(dataset)
    cells = _Cells.of(dataset, clusters, messages, max_rows)
    tests: list[MomentTest] = []
    skipped = 0
    for item in cells.tests():
        if item is None:
            skipped += 1
        else:
            tests.append(item)
    tests.sort(key=lambda item: item.p_value)
    found = Findings()
    if tests:
        _judge(found, tests)
        combined = min(1.0, len(tests) * tests[0].p_value)
    else:
        found.add("caution", f"Too few users to test the logged propensities ({cells.clusters.count:,}).")
        combined = 1.0
    return PropensityCalibration(
        found.verdict, tuple(found.reasons), combined, len(tests), skipped, tuple(tests), len(cells.action)
    )


def _judge(found: Findings, tests: list[MomentTest]) -> None:
    """One sentence for the gravest and clearest finding of each sort."""
    said: set[str] = set()
    findings = []
    for item in tests:
        p = min(1.0, len(tests) * item.p_value)
        off = item.ratio.value - 1.0
        if p < CAUTION_P and abs(off) > CAUTION_OFF:
            findings.append((not (p < REFUSE_P and abs(off) > REFUSE_OFF), p, off, item))
    for mild, p, off, item in sorted(findings, key=lambda finding: finding[:2]):
        verdict: Verdict = "caution" if mild else "refuse"
        if item.kind == "frequency":
            sort = "frequency"
            text = (
                f"The logged probabilities are not those that the log was drawn with: {item.what} were chosen "
                f"{number(item.ratio.value)} times as often as they say"
            )
        elif off > 0:
            sort = "weight"
            text = (
                f"The logged propensities are not those that the log was drawn with: weighted by 1 / propensity, "
                f"{item.what} count {number(item.ratio.value)} times as often as they could be chosen "
                "(the propensities are too small)"
            )
        else:
            sort, verdict = "missing", "caution"
            text = (
                f"Weighted by 1 / propensity, {item.what} count {number(item.ratio.value)} times as often as they "
                "could be chosen: the logged propensities are too large, or the logging policy never makes some "
                "choices that were eligible"
            )
        if sort not in said:
            said.add(sort)
            lower, upper = number(item.ratio.lower), number(item.ratio.upper)
            small = f"= {p:.1g}" if p > 1e-12 else "< 1e-12"
            found.add(verdict, f"{text}; it should be 1, 95% interval [{lower}, {upper}], p {small}.")


@dataclass(frozen=True, eq=False)
class _Cells:
    """The rows that are looked at, folded from candidates to J messages.

    Attributes:
        action: (n,), column of the chosen message in the tables below.
        inverse: (n,), 1 / propensity.
        possible: (n, J), how many candidates of a message could have been chosen.
        predicted: (n, J), their logged probability; None where it was not logged.
        binned: (n, bins), expected choices by bin of probability, and `hits` (n, bins), those that were made; None.
        context: (n, d).
    """

    action: NDArray[np.int64]
    inverse: FloatArray
    possible: FloatArray
    predicted: FloatArray | None
    binned: FloatArray | None
    hits: FloatArray | None
    context: NDArray[np.float32]
    context_names: tuple[str, ...]
    names: tuple[str, ...]
    clusters: Clusters

    @classmethod
    def of(cls, dataset: LoggedDataset, clusters: Clusters, messages: Messages, max_rows: int) -> _Cells:
        rows = np.arange(dataset.n)
        if dataset.n > max_rows:
            rows = np.flatnonzero(clusters.code % math.ceil(dataset.n / max_rows) == 0)
            clusters = Clusters.of(clusters.code[rows])
        every = len(rows) == dataset.n
        code = messages.code if every else messages.code[rows]
        action = dataset.action if every else dataset.action[rows]
        propensity = dataset.propensity if every else dataset.propensity[rows]
        probs = None if dataset.probs is None else (dataset.probs if every else dataset.probs[rows])
        n, at = len(rows), np.arange(len(rows))
        chosen = code[at, action]
        logged = np.bincount(chosen, minlength=len(messages.names))
        # Those most often possible are tested one by one, whatever was sent: the least sent of many look too rare.
        allowed = dataset.eligible if every else dataset.eligible[rows]
        if probs is None:
            due = np.bincount((code[allowed] + 1), minlength=len(messages.names) + 1)[1:].astype(np.float64)
            due[logged == 0] = 0.0  # never sent: there are no propensities to test
        else:
            flat = (code + 1).reshape(-1)
            sums = np.bincount(flat, weights=probs.reshape(-1), minlength=len(messages.names) + 1)[1:]
            due = np.asarray(sums, dtype=np.float64)
            due[logged > 0] += 1e-9  # chosen within the tolerance of a logged 0
        order = np.argsort(-due, kind="stable")
        known = order[: min(MAX_MESSAGES, int((due > 0).sum()))]
        column = np.full(len(messages.names) + 1, len(known))  # the last column: all other messages
        column[known] = np.arange(len(known))
        width = len(known) + 2  # and one for what could not be chosen
        column[:-1][due <= 0] = width - 1
        column[-1] = width - 1  # padding has code -1
        possible = allowed
        if probs is not None:
            possible = possible & (probs > 0)
        certain = propensity >= 1.0 - 1e-12
        if certain.any():
            possible = possible & ~certain[:, None]
            possible[at, action] = True
        cell = np.where(possible, column[code], width - 1) + (at * width)[:, None]
        counts = np.bincount(cell.reshape(-1), minlength=n * width).reshape(n, width)[:, :-1].astype(np.float64)
        predicted: FloatArray | None = None
        binned: FloatArray | None = None
        hits: FloatArray | None = None
        if probs is not None:
            sums = np.bincount(cell.reshape(-1), weights=probs.reshape(-1), minlength=n * width)
            predicted = np.asarray(sums.reshape(n, width)[:, :-1], dtype=np.float64)
            edges = np.asarray(BINS)
            part = np.searchsorted(edges[1:-1], probs, side="left")
            bins = len(BINS) - 1
            sums = np.bincount((part + (at * bins)[:, None]).reshape(-1), weights=probs.reshape(-1), minlength=n * bins)
            binned = np.asarray(sums.reshape(n, bins), dtype=np.float64)
            hits = np.zeros((n, bins))
            hits[at, part[at, action]] = 1.0
        context = dataset.context if every else dataset.context[rows]
        names = dataset.encoder.context_names if dataset.encoder is not None else ()
        if len(names) != context.shape[1]:
            names = tuple(f"context[{i}]" for i in range(context.shape[1]))
        labels = [messages.names[i] for i in known] + ["other messages"]
        return cls(
            column[chosen], 1.0 / propensity, counts, predicted, binned, hits, context, names, tuple(labels), clusters
        )

    def tests(self) -> Iterator[MomentTest | None]:
        """All tests; None for each that too few users stand behind."""
        if self.predicted is not None and self.binned is not None and self.hits is not None:
            for j, name in enumerate(self.names):
                if self.predicted[:, j].any():
                    here = (self.action == j).astype(np.float64)
                    yield _frequency(f"choices of {name!r}", here, self.predicted[:, j], self.clusters)
            for b, (low, high) in enumerate(pairwise(BINS)):
                if self.binned[:, b].any():
                    what = f"candidates with a probability of {low:g} to {high:g}"
                    yield _frequency(what, self.hits[:, b], self.binned[:, b], self.clusters)
        else:
            typical, everyone = self._typical(), np.ones(len(self.action))
            yield _weights("all choices", typical, everyone, self.clusters)
            if _carried(self.clusters.sums(typical)) > TOP_CARRIES:
                # Too heavy to tell what is missing: a policy that follows the context as the log does has lighter ones.
                yield _weights("choices like the log's own", self._modelled(), everyone, self.clusters)
            for j, name in enumerate(self.names):
                if self.possible[:, j].any():
                    observed = np.where(self.action == j, self.inverse, 0.0)
                    yield _weights(f"choices of {name!r}", observed, self.possible[:, j], self.clusters)
        yield from self._pairs()

    def _typical(self) -> FloatArray:
        """Weights (n,) of the policy that sends messages as often as the log does, of what is possible.

        Frequencies are those of the other half of the users, so that each half's mean weight is 1 in expectation.
        """
        weight = np.empty(len(self.action))
        even = _half(self.clusters)
        for mine, others in ((even, ~even), (~even, even)):
            share = np.bincount(self.action[others], minlength=self.possible.shape[1]) + 1.0
            weight[mine] = share[self.action[mine]] * self.inverse[mine] / (self.possible[mine] * share).sum(axis=1)
        return weight

    def _modelled(self) -> FloatArray:
        """Weights (n,) of a softmax policy on the context, fitted to the choices of the other half of the users.

        Newton steps with Böhning's (1992) bound on the curvature: one small matrix, no step size.
        """
        columns = self.context[:, :MAX_SPLITS].astype(np.float64)
        spread = columns.std(axis=0)
        x = np.column_stack(
            [np.ones(len(columns)), (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)]
        )
        weight = np.empty(len(self.action))
        even = _half(self.clusters)
        for mine, others in ((even, ~even), (~even, even)):
            fit = np.flatnonzero(others)[:MAX_FIT]
            design, allowed = x[fit], self.possible[fit]
            chosen = np.zeros_like(allowed)
            chosen[np.arange(len(fit)), self.action[fit]] = 1.0
            step = 2.0 * np.linalg.pinv(design.T @ design + np.eye(design.shape[1]))
            theta = np.zeros((design.shape[1], allowed.shape[1]))
            for _ in range(FIT_STEPS):
                theta += step @ (design.T @ (chosen - _softmax(design @ theta, allowed))) - step @ theta
            share = _softmax(x[mine] @ theta, self.possible[mine])
            at, action = np.arange(len(share)), self.action[mine]
            weight[mine] = share[at, action] / self.possible[mine][at, action] * self.inverse[mine]
        return weight

    def _pairs(self) -> Iterator[MomentTest | None]:
        """Messages in parts of the context: chosen by the z scores of half of the users, tested on the others."""
        splits, labels = self._splits()
        if not labels or self.clusters.count < 4 * MIN_EFFECTIVE:
            return
        even = _half(self.clusters)
        expected = self.possible if self.predicted is None else self.predicted
        made = np.zeros_like(expected)
        at = np.arange(len(made))
        made[at, self.action] = self.inverse if self.predicted is None else 1.0
        error = made - expected
        inside = splits[even].astype(np.float64)
        sums = inside.T @ error[even]
        spread = np.sqrt(inside.T @ error[even] ** 2)
        score = np.abs(np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0))
        odd = ~even
        clusters = Clusters.of(self.clusters.code[odd])
        made, expected, splits = made[odd], expected[odd], splits[odd]
        for index in np.argsort(-score, axis=None)[:MAX_PAIRS]:
            split, j = divmod(int(index), score.shape[1])
            if score[split, j] == 0.0:
                continue
            keep = splits[:, split]
            what = f"choices of {self.names[j]!r} where {labels[split]}"
            observed, wanted = np.where(keep, made[:, j], 0.0), np.where(keep, expected[:, j], 0.0)
            if self.predicted is None:
                yield _weights(what, observed, wanted, clusters)
            else:
                yield _frequency(what, observed, wanted, clusters)

    def _splits(self) -> tuple[NDArray[np.bool_], list[str]]:
        """Both halves of each context column: above and below its median, or a level and the others; (n, splits)."""
        halves: list[NDArray[np.bool_]] = []
        labels: list[str] = []
        for i in range(min(self.context.shape[1], MAX_SPLITS)):
            values = self.context[:, i]
            low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
            if not low < high:
                continue
            name = self.context_names[i]
            middle = float(np.median(values))
            level = bool(((values == low) | (values == high)).all())
            cut = low if level or middle >= high else middle
            above = values > cut
            halves += [above, ~above]
            if level:
                labels += [name, f"not {name}"] if "=" in name else [f"{name} == {high:g}", f"{name} == {low:g}"]
            else:
                labels += [f"{name} > {cut:.3g}", f"{name} <= {cut:.3g}"]
        return (np.stack(halves, axis=1) if halves else np.zeros((len(self.context), 0), bool)), labels


def _half(clusters: Clusters) -> NDArray[np.bool_]:
    """Half of the clusters, by row (n,): by a multiplicative hash of their codes, which follows no pattern of a log."""
    hashed = clusters.code.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray((hashed >> np.uint64(40)) & np.uint64(1), dtype=bool)


def _softmax(score: FloatArray, count: FloatArray) -> FloatArray:
    """Probabilities (n, J) of columns that stand for `count` candidates of one score each."""
    size = np.where(count > 0, count * np.exp(score - score.max(axis=1, keepdims=True)), 0.0)
    return np.asarray(size / size.sum(axis=1, keepdims=True))


def _carried(by_user: FloatArray) -> float:
    """Share of all weight that the heaviest users with weight carry."""
    positive = by_user[by_user > 0]
    if not len(positive):
        return 0.0
    top = math.ceil(TOP * len(positive))
    return float(np.partition(positive, len(positive) - top)[len(positive) - top :].sum() / positive.sum())


def _weights(what: str, observed: FloatArray, wanted: FloatArray, clusters: Clusters) -> MomentTest | None:
    """A heavy tail hides weight: what was cut off cannot make the mean too large, what was not drawn makes it small.

    Of Pareto weights the heaviest 1 % carry more than all that are too rare to be drawn among 100 or more; three times
    what they carry beyond their due is granted before a mean counts as too small, and all of it on few users.
    """
    by_user, expected = clusters.sums(observed), clusters.sums(wanted)
    positive = by_user[by_user > 0]
    if len(positive) < MIN_EFFECTIVE:
        return None
    slack = 3.0 * max(0.0, _carried(by_user) - TOP_CARRIES) if len(positive) >= MIN_MISSING else math.inf
    cut = by_user
    if by_user.sum() > expected.sum() and slack > 0.0:
        cut, slack = np.minimum(by_user, float(np.quantile(positive, CAP))), math.inf
    effective = kish(cut)
    if effective < MIN_EFFECTIVE:
        return None
    return MomentTest(what, "weight", _ratio(by_user, expected), _p_value(cut, expected, slack), effective)


def _frequency(what: str, observed: FloatArray, wanted: FloatArray, clusters: Clusters) -> MomentTest | None:
    made, expected = clusters.sums(observed), clusters.sums(wanted)
    effective = kish(np.abs(made - expected))
    if effective < MIN_EFFECTIVE or expected.sum() < MIN_EFFECTIVE / 2:
        return None
    return MomentTest(what, "frequency", _ratio(made, expected), _p_value(made, expected), effective)


def _ratio(observed: FloatArray, wanted: FloatArray) -> Estimate:
    """Σ observed / Σ wanted over clusters (G,); its error is (observed - ratio · wanted) / Σ wanted."""
    total = float(wanted.sum())
    ratio = float(observed.sum()) / total
    psi, count = (observed - ratio * wanted) / total, len(observed)
    # As `interval` does, without its inner product: threads of a linear algebra library cost more than they save here.
    error = math.sqrt(count / (count - 1) * float(np.square(psi).sum()))
    half = t_quantile(0.95, count - 1) * error
    return Estimate(ratio, error, ratio - half, ratio + half, 0.95, count - 1)


def _p_value(observed: FloatArray, wanted: FloatArray, slack: float = 0.0) -> float:
    """Two-sided p-value of Σ observed = Σ wanted over clusters (G,), which may fall short by a share of `slack`."""
    return zero_mean_p_value((observed - wanted) / float(wanted.sum()), slack)
