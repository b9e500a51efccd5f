"""Whether a log still speaks of today: how contexts, messages and choices have moved since it was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_probability
from homing.log.dataset import LoggedDataset
from homing.ope.diagnostics.density_ratio import density_ratio
from homing.ope.diagnostics.shifts import LARGE, FeatureShift, MessageShift, feature_shifts, message_shifts
from homing.ope.diagnostics.tails import kish
from homing.ope.diagnostics.today import Today, shared_features
from homing.ope.diagnostics.verdict import Findings, Verdict
from homing.ope.estimate import Clusters, Estimate, interval
from homing.pages import number, percent, table

FloatArray = NDArray[np.float64]
#: Share of the log that is left after reweighting below which its intervals are 1.4 times as wide as they look.
CAUTION_ESS_SHARE = 0.5
#: Share of today that is like anything in the log: below, what the log says is of other decisions.
CAUTION_COVERED, REFUSE_COVERED = 0.9, 0.5
#: Effective rows and users below which nothing can be said: those of `SupportLimits`.
REFUSE_ESS, CAUTION_ESS, REFUSE_USERS, CAUTION_USERS = 30.0, 200.0, 8.0, 50.0
#: Share of the policy's choices, or of decisions, on messages that the log never sent: caution, refuse.
CAUTION_NEW, REFUSE_NEW = 0.001, 0.05
#: Share of the log's choices that were of messages that are gone.
CAUTION_GONE = 0.05


@dataclass(frozen=True, eq=False)
class LogDrift:
    """Whether a log still speaks of today.

    Attributes:
        verdict: `fine`, `caution`, or `refuse`: what the log says of a policy is not what it would earn today.
        reasons: sentences behind the verdict.
        n_log, n_today: decisions.
        ess: effective sample size of the log's rows, reweighted to today's contexts; `ess_share` of all.
        effective_users: the same over users.
        covered: share of today that is like anything in the log: the mean of the density ratio, taken as known.
        features: those that moved most first.
        messages: new ones first, then those that are gone.
        level: of the intervals.
        ratio: (n_log,), p_today(x) / p_log(x), of mean 1; left out of `to_dict`.
        clusters: of the log's rows and today's, for `evaluate_today`.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    n_log: int
    n_today: int
    ess: float
    ess_share: float
    effective_users: float
    covered: Estimate
    features: tuple[FeatureShift, ...]
    messages: tuple[MessageShift, ...]
    level: float
    ratio: FloatArray = field(repr=False)
    clusters: Clusters = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        plain = ("verdict", "n_log", "n_today", "ess", "ess_share", "effective_users", "level")
        return {
            **{name: getattr(self, name) for name in plain},
            "reasons": list(self.reasons),
            "covered": self.covered.to_dict(),
            "features": [{**asdict(item), "clear": item.clear} for item in self.features],
            "messages": [asdict(item) for item in self.messages],
        }

    def to_text(self) -> str:
        """For a terminal."""
        meaning = {
            "fine": "the log speaks of today",
            "caution": "read what the log says with the reasons below",
            "refuse": "the log does not speak of today",
        }[self.verdict]
        lines = [
            f"{self.verdict}: {meaning}",
            f"  {self.n_log:,} decisions then, {self.n_today:,} now; as if {self.ess:,.0f} of the log "
            f"({self.ess_share:.1%}) were drawn today; "
            f"{self.covered.value:.0%} of today is like anything in the log",
            *(f"  - {reason}" for reason in self.reasons),
            "",
            f"  differences in standard deviations, {percent(self.level)} intervals that hold together",
        ]
        rows = [["", "then", "now", "difference", "lower", "upper", "PSI"]]
        for item in self.features[:SHOWN]:
            ends = (f"{x:.2f}" for x in (item.difference.value, item.difference.lower, item.difference.upper))
            rows.append([item.feature, number(item.log_mean), number(item.today_mean), *ends, f"{item.psi:.3f}"])
        return "\n".join([*lines, table(rows, indent="    ")])

    def to_html(self) -> str:
        """A self-contained page."""
        from homing.ope.html import page
        from homing.pages import Bar, forest_svg

        bars = [
            Bar(item.feature, item.difference, "challenger" if item.clear else "reference")
            for item in self.features[:SHOWN]
        ]
        figure = forest_svg(bars, label="today minus log, in standard deviations", reference=0.0) if bars else ""
        return page("drift.html", title="Does the log speak of today?", drift=self, figure=figure, shown=SHOWN)


#: Features in figures and tables.
SHOWN = 20


def log_drift(
    dataset: LoggedDataset,
    today: Today,
    *,
    rng: np.random.Generator,
    action_probs: ArrayLike | None = None,
    folds: int = 5,
    level: float = 0.95,
) -> LogDrift:
    """Compare a log's decisions with today's, before any of today's is made.

    Every feature by its standardised difference, with intervals that are clustered by user and hold together; messages
    by whether they are new or gone; all at once by a classifier of contexts, whose odds say how much of the log is left
    when it is reweighted to today's. That what follows from a context and a message is still the same no unlabelled
    data can show: wrong to read as proof that effects have not changed.

    Args:
        dataset: the log.
        today: decisions in the same columns.
        rng: splits users into folds, and draws for the simultaneous intervals.
        action_probs: (m, k), a policy on today's decisions, to ask whether it needs messages that the log never sent.
        folds: no row is scored by a classifier that saw its user.
        level: of the intervals.

    Raises:
        InvalidInputError: if today's columns are not the log's, or probabilities are not a policy's; or there are fewer
            users than folds.
        SupportError: if too few users are in the log, or in today's decisions, to be split.

    References:
        Austin (2009), "Balance diagnostics for comparing the distribution of baseline covariates", for standardised
        differences; Siddiqi (2006), "Credit Risk Scorecards", for the index; Shimodaira (2000), "Improving predictive
        inference under covariate shift by weighting the log-likelihood function", for the ratio.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def contexts(mean):
        ...     return rng.normal([mean, 0.0], 1.0, (2000, 2))
        >>> log = LoggedDataset(
        ...     context=contexts(0.0), candidates=np.zeros((2000, 2, 1)), eligible=np.ones((2000, 2), bool),
        ...     action=rng.integers(0, 2, 2000), propensity=np.full(2000, 0.5), reward=np.zeros((2000, 1)),
        ...     objectives=("clicked",), user=np.arange(2000), time=np.arange(2000))
        >>> still = Today(contexts(0.0), np.zeros((2000, 2, 1)), np.ones((2000, 2), bool))
        >>> moved = Today(contexts(0.8), np.zeros((2000, 2, 1)), np.ones((2000, 2), bool))
        >>> log_drift(log, still, rng=rng).verdict, log_drift(log, moved, rng=rng).reasons[0]
        ('fine', 'context[0] went from -0.02417 to 0.7966, 0.82 standard deviations, 95% interval [0.75, 0.89].')
    """
    check_probability("level", level)
    now = today.as_log(dataset)
    codes = today.clusters(dataset)
    clusters = Clusters(np.concatenate(codes[:2]), codes[2])
    names, before, after, shares = shared_features(dataset, now)
    features = feature_shifts(names, before, after, clusters, level, rng)
    ratio = density_ratio(before, after, clusters, folds=folds, rng=rng)
    covered = _covered(ratio, Clusters.of(codes[0]), level)
    by_user = np.asarray(np.bincount(codes[0], weights=ratio), dtype=np.float64)
    ess, users = kish(ratio), kish(by_user)
    messages = message_shifts(dataset, now, shares, action_probs)
    found = Findings()
    _judge_features(found, features, level)
    _judge_ratio(found, covered, ess, users, dataset.n)
    _judge_messages(found, messages, dataset.n)
    return LogDrift(
        verdict=found.verdict,
        reasons=tuple(found.reasons),
        n_log=dataset.n,
        n_today=now.n,
        ess=ess,
        ess_share=ess / dataset.n,
        effective_users=users,
        features=features,
        covered=covered,
        messages=messages,
        level=level,
        ratio=ratio / ratio.mean(),
        clusters=clusters,
    )


def _judge_features(found: Findings, features: Sequence[FeatureShift], level: float) -> None:
    for item in [item for item in features if item.clear and abs(item.difference.value) > LARGE][:3]:
        shift = item.difference
        found.add(
            "caution",
            f"{item.feature} went from {number(item.log_mean)} to {number(item.today_mean)}, {shift.value:.2f} "
            f"standard deviations, {percent(level)} interval [{shift.lower:.2f}, {shift.upper:.2f}].",
        )


def _covered(ratio: FloatArray, clusters: Clusters, level: float) -> Estimate:
    """The mean of the ratio, which a share cannot exceed."""
    mean = float(ratio.mean())
    found = interval(mean, clusters.sums(ratio - mean) / len(ratio), level)
    return replace(found, value=min(mean, 1.0), lower=min(max(found.lower, 0.0), 1.0), upper=min(found.upper, 1.0))


def _judge_ratio(found: Findings, covered: Estimate, ess: float, users: float, n: int) -> None:
    if covered.upper < CAUTION_COVERED:
        found.add(
            "refuse" if covered.upper < REFUSE_COVERED else "caution",
            f"Only {covered.value:.0%} of today's decisions are like any in the log, "
            f"{percent(covered.level)} interval [{covered.lower:.0%}, {covered.upper:.0%}].",
        )
    if ess < CAUTION_ESS or users < CAUTION_USERS or ess < CAUTION_ESS_SHARE * n:
        few = ess < REFUSE_ESS or users < REFUSE_USERS
        found.add(
            "refuse" if few else "caution",
            f"Reweighted to today's contexts, the log's {n:,} decisions are worth {ess:,.0f}, of effectively "
            f"{users:,.0f} users"
            + (": hardly any of them is like today's." if few else ": most of them are unlike today's."),
        )


def _judge_messages(found: Findings, messages: Sequence[MessageShift], n: int) -> None:
    new = [item for item in messages if item.state == "new"]
    if new and new[0].policy_share is not None:
        lost = sum(item.policy_share or 0.0 for item in new)
        if lost > CAUTION_NEW:
            verdict: Verdict = "refuse" if lost > REFUSE_NEW else "caution"
            found.add(
                verdict,
                f"{lost:.1%} of the policy's choices today are of messages that the log never sent: {_named(new)}.",
            )
    elif any(item.today_share > CAUTION_NEW for item in new):
        found.add("caution", f"Messages are eligible today that the log never sent: {_named(new)}.")
    gone = [item for item in messages if item.state == "gone"]
    share = sum(item.logged for item in gone) / n
    if share > CAUTION_GONE:
        found.add("caution", f"{share:.1%} of the log's choices were of messages that are gone: {_named(gone)}.")


def _named(messages: Sequence[MessageShift]) -> str:
    names = [item.message for item in messages]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
