"""Whether the logged propensities are true: exact moments that they imply, held against the log itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_positive, check_shape
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.cells import Cells, probability_bins, splits
from homing.ope.diagnostics.choices import ChoiceWeights, choice_weights
from homing.ope.diagnostics.moments import MIN_EFFECTIVE, MomentTest, frequency_test, weight_test
from homing.ope.diagnostics.verdict import Findings, Verdict
from homing.ope.estimate import Clusters, Estimate
from homing.ope.messages import Messages
from homing.pages import number

FloatArray = NDArray[np.float64]
#: Combined p-values below which the verdict is caution, and refuse.
CAUTION_P, REFUSE_P = 1e-3, 1e-6
#: Deviations of a ratio from 1 that matter, and that are serious.
CAUTION_OFF, REFUSE_OFF = 0.01, 0.05
#: Policies whose mean weight must be 1: as often as the log, as the log by context, and what the log does most.
POLICIES = ("all choices", "choices like the log's own", "the choices that the log favours")
#: Pairs of choices and a part of the log that are tested.
MAX_PAIRS = 16


@dataclass(frozen=True)
class PropensityCalibration:
    """Whether a log's propensities are true, as far as the log can tell.

    Attributes:
        verdict: `fine`; `caution`; `refuse`: no weight that is made of them means anything.
        reasons: sentences behind the verdict.
        p_value: combined over all tests (Bonferroni); 1 where nothing could be tested.
        tested: number of tests.
        skipped: tests left out because too few users stood behind them.
        tests: all tests on messages, policies and bins, and those in parts of the log, smallest p-value first.
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
    candidates that are message j and could be chosen, for every message j; E[w] = 1 for every policy, of which three
    are tried: one that sends messages as often as the log does, a model of the log's choices by context and candidate,
    and what that model likes best (`choices.choice_weights`). Bins, where whole distributions are logged
    (`dataset.probs`): candidates of a predicted probability, or message, are chosen that often. Each test compares a
    ratio with 1 by a t statistic over users' sums, corrected for skewness. The same is asked in parts of the log, which
    are taken from it: halves by each context column, by time and by the number of eligible candidates; the parts that
    stand out on half of the users are tested on the others. All p-values are combined by Bonferroni's rule, which no
    dependence between them breaks.

    A ratio below 1 has two explanations where only the chosen candidate's propensity is logged: it is too large, or
    the policy never takes the message in a part of the decisions in which it was eligible. No log can tell them apart,
    so that such a finding is a caution; whether it matters for a policy shows in its own mean weight
    (`Support.weight_mean`). All other findings refuse. Wrong to take as proof: errors that average out within messages,
    bins and parts stay hidden, and a log whose propensities are all 1 has nothing to test: it says that nothing was
    left to chance, and `Support` refuses every other policy on it.

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
    cells = Cells.of(dataset, clusters, messages, max_rows)
    asked = list(_Moments.of(dataset, messages, cells).tests(dataset, cells))
    tests = sorted((item for item in asked if item is not None), key=lambda item: item.p_value)
    found = Findings()
    if tests:
        _judge(found, tests)
        combined = min(1.0, len(tests) * tests[0].p_value)
    else:
        found.add("caution", f"Too few users to test the logged propensities ({cells.clusters.count:,}).")
        combined = 1.0
    return PropensityCalibration(
        found.verdict, tuple(found.reasons), combined, len(tests), len(asked) - len(tests), tuple(tests), cells.n
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
class _Moments:
    """What is tested, as columns: observed and wanted (n, C) agree on average where propensities are true.

    Weights also have `hidden` (n, C), what may have been too rare to be drawn, and the `largest` of all.
    """

    names: tuple[str, ...]
    observed: FloatArray
    wanted: FloatArray
    hidden: FloatArray | None = None
    largest: float = np.inf

    @classmethod
    def of(cls, dataset: LoggedDataset, messages: Messages, cells: Cells) -> _Moments:
        """Those of a log."""
        if dataset.probs is None:
            return cls._of_weights(choice_weights(dataset, messages, cells), cells)
        return cls._of_frequencies(dataset.probs[cells.rows], dataset.action[cells.rows], cells)

    @classmethod
    def _of_weights(cls, choices: ChoiceWeights, cells: Cells) -> _Moments:
        """Only chosen candidates' propensities are logged: weights by 1 / p, of some policies and of each message."""
        own = np.zeros_like(cells.possible)
        own[np.arange(cells.n), cells.action] = 1.0
        # Of decisions in which the log had a favourite, all other messages: they may have been too rare to be drawn.
        favourite = np.where(cells.inverse < 2.0, cells.inverse, 0.0)[:, None]
        rare = (cells.possible - own) * favourite
        own *= cells.inverse[:, None]
        everyone, both = np.ones((cells.n, 1)), np.repeat(choices.asked[:, None].astype(np.float64), 2, axis=1)
        return cls(
            (*POLICIES, *(f"choices of {name!r}" for name in cells.names)),
            np.concatenate([_typical(cells)[:, None], choices.weight, own], axis=1),
            np.concatenate([everyone, both, cells.possible], axis=1),
            np.concatenate([0.0 * everyone, choices.hidden, rare], axis=1),
            _largest(cells.inverse),
        )

    @classmethod
    def _of_frequencies(cls, probs: FloatArray, action: NDArray[np.int64], cells: Cells) -> _Moments:
        """Whole distributions are logged: how often messages, and candidates of some probability, were chosen."""
        assert cells.predicted is not None
        made = np.zeros_like(cells.predicted)
        made[np.arange(cells.n), cells.action] = 1.0
        hits, binned, names = probability_bins(probs, action)
        return cls(
            (*(f"choices of {name!r}" for name in cells.names), *names),
            np.concatenate([made, hits], axis=1),
            np.concatenate([cells.predicted, binned], axis=1),
        )

    def tests(self, dataset: LoggedDataset, cells: Cells) -> Iterator[MomentTest | None]:
        """All tests, of the whole log and of parts of it; None for each that too few users stand behind."""
        for column, name in enumerate(self.names):
            if self.wanted[:, column].any():
                yield self._test(name, column, slice(None), cells.clusters)
        parts, labels = splits(dataset, cells.rows)
        if not labels or cells.clusters.count < 4 * MIN_EFFECTIVE:
            return
        # Pairs are chosen by the z scores of half of the users, and tested on the others.
        even = cells.half()
        error = self.observed[even] - self.wanted[even]
        inside = parts[even].astype(np.float64)
        sums = inside.T @ error
        spread = np.sqrt(inside.T @ error**2)
        score = np.abs(np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0))
        for index in np.argsort(-score, axis=None)[:MAX_PAIRS]:
            part, column = divmod(int(index), score.shape[1])
            keep = parts[:, part] & ~even
            if score[part, column] > 0.0 and self.wanted[keep, column].any():
                name = f"{self.names[column]} where {labels[part]}"
                yield self._test(name, column, keep, Clusters.of(cells.clusters.code[keep]))

    def _test(self, name: str, column: int, rows: NDArray[np.bool_] | slice, clusters: Clusters) -> MomentTest | None:
        observed, wanted = self.observed[rows, column], self.wanted[rows, column]
        if self.hidden is None:
            return frequency_test(name, observed, wanted, clusters)
        return weight_test(name, observed, wanted, clusters, hidden=self.hidden[rows, column], largest=self.largest)


def _largest(inverse: FloatArray) -> float:
    """1 over the floor of the propensities, if the log shows one: many rows have it; a tail has a largest by chance."""
    top = float(inverse.max(initial=1.0))
    return top if (inverse >= (1.0 - 1e-9) * top).sum() >= MIN_EFFECTIVE else np.inf


def _typical(cells: Cells) -> FloatArray:
    """Weights (n,) of the policy that sends messages as often as the log does, of what is possible.

    Frequencies are those of the other half of the users, so that each half's mean weight is 1 in expectation.
    """
    weight = np.empty(cells.n)
    even = cells.half()
    for mine, others in ((even, ~even), (~even, even)):
        share = np.bincount(cells.action[others], minlength=cells.possible.shape[1]) + 1.0
        weight[mine] = share[cells.action[mine]] * cells.inverse[mine] / (cells.possible[mine] * share).sum(axis=1)
    return weight
