"""Experiments whose variants draw from one budget: seen in what was sent, and designed so that they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from homing.checks import check_finite, check_probability, check_shape
from homing.errors import InvalidInputError, SupportError, describe, unknown_name
from homing.estimates import Estimate
from homing.experiments.columns import Columns
from homing.experiments.intervals import with_t

FloatArray = NDArray[np.float64]
#: A period is at its budget from this share of it on.
_AT_BUDGET = 0.99
#: Variants make up for each other if the total varies this much less than independent variants would make it.
_COMPENSATED = 0.5


@dataclass(frozen=True)
class BudgetSplit:
    """A design: each variant has its own share of the budget, as large as its share of users.

    With one budget for all, what a treatment takes more of is taken from the control: a scorer that rates everyone
    higher "wins" although it would change nothing if all users had it. With its own budget each variant is a small
    system of its own, and the difference is that of shipping the treatment to everyone. Units are compared as in any
    plan; competition for the budget within a variant makes its units differ less, so that intervals are a little wide.

    Attributes:
        variants: share of users, and of the budget, by name; they sum to 1.

    References:
        Liu, Mao and Kang (2021), "Trustworthy and Powerful Online Marketplace Experimentation with Budget-split
        Design", KDD (arXiv 2012.08724).

    Example:
        >>> BudgetSplit({"control": 0.5, "treatment": 0.5}).budgets(1001)
        {'control': 501, 'treatment': 500}
    """

    variants: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, share in self.variants.items():
            check_probability(f"share of variant {name!r}", share)
        total = sum(self.variants.values())
        if abs(total - 1.0) > 1e-9:
            raise InvalidInputError(describe("sum of variants", total, "must be 1", "Split the whole budget."))

    def budgets(self, total: int) -> dict[str, int]:
        """Whole budgets of the variants that sum to a whole budget (largest remainders; ties to the first)."""
        if total < 0 or total != int(total):
            raise InvalidInputError(describe("budget", total, "must be a whole number >= 0"))
        exact = np.array([share * total for share in self.variants.values()])
        whole = np.floor(exact + 1e-9).astype(np.int64)
        order = np.argsort(whole - exact, kind="stable")
        whole[order[: int(total - whole.sum())]] += 1
        return dict(zip(self.variants, whole.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class SendCounts:
    """What each variant sent in each period.

    Attributes:
        variants: names.
        users: (v,), users of each variant.
        sends: (p, v), sends by period (day) and variant.
    """

    variants: tuple[str, ...]
    users: NDArray[np.int64]
    sends: FloatArray

    def __post_init__(self) -> None:
        size = len(self.variants)
        sends = check_finite("sends", check_shape("sends", self.sends, (None, size))).astype(np.float64)
        users = check_finite("users", check_shape("users", self.users, (size,))).astype(np.int64)
        if (sends < 0).any() or (users < 1).any():
            worst = float(min(sends.min(initial=0.0), users.min()))
            raise InvalidInputError(describe("sends and users", worst, "must be >= 0 sends and >= 1 users"))
        object.__setattr__(self, "sends", sends)
        object.__setattr__(self, "users", users)

    @classmethod
    def from_decision_log(
        cls, log: Any, exposures: Any, *, unit: str = "unit_id", variant: str = "variant"
    ) -> SendCounts:
        """Count the decisions that were not silence, by day (UTC) and variant, of the users who were exposed.

        Args:
            log: a `homing.log.DecisionLog`.
            exposures: one row a user: id and variant.
            unit: column of ids.
            variant: column.

        Raises:
            InvalidInputError: a user is there twice.
            SupportError: nothing was sent to them.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        table = Columns(exposures, (unit, variant))
        ids, labels = table.codes(unit)
        if len(labels) < table.n:
            raise InvalidInputError(describe(f"users with the same {unit!r}", table.n - len(labels), "must be 0"))
        codes, names = table.codes(variant)
        variant_of = np.empty(table.n, dtype=np.int64)
        variant_of[ids] = codes
        known = pa.array(labels, pa.string())
        days, arms = [], []
        for batch in log.decision_batches(["user_id", "decided_at", "action"]):
            who = pc.fill_null(pc.index_in(batch["user_id"], known), -1).to_numpy(zero_copy_only=False)
            sent = (who >= 0) & (batch["action"].to_numpy(zero_copy_only=False) > 0)
            at = batch["decided_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False)
            days.append(at[sent] // 86_400_000_000)
            arms.append(variant_of[who[sent]])
        if not sum(len(each) for each in days):
            raise SupportError(describe("sends to exposed users", 0, "must be > 0", "Look at ids of both tables."))
        day, arm = np.concatenate(days), np.concatenate(arms)
        size = int(day.max() - day.min()) + 1
        counts = np.bincount((day - day.min()) * len(names) + arm, minlength=size * len(names))
        return cls(names, np.bincount(codes, minlength=len(names)), counts.reshape(size, len(names)).astype(np.float64))


@dataclass(frozen=True)
class BudgetReading:
    """Whether variants draw from one budget.

    Attributes:
        at_budget: share of periods whose sends reached the budget; None if it was not given.
        variance_ratio: variance of the periods' totals over the sum of the variants' variances, both of sends: 1 for
            variants that have nothing to do with each other, above where busy days are busy for all, 0 where what one
            sends more the others send less.
        p_value: of variants that do not make up for each other (one-sided, by their correlation); None for fewer than
            four periods or where nothing varies.
        displacement: each variant's share of sends minus its share of users, over periods.
        shared: whether the variants draw from one budget that binds.
        warnings: sentences for whoever reads the experiment; empty where nothing was seen.
    """

    at_budget: float | None
    variance_ratio: float | None
    p_value: float | None
    displacement: Mapping[str, Estimate]
    shared: bool
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "at_budget": self.at_budget,
            "variance_ratio": self.variance_ratio,
            "p_value": self.p_value,
            "displacement": {name: item.to_dict() for name, item in self.displacement.items()},
            "shared": self.shared,
            "warnings": list(self.warnings),
        }


def read_budget(
    counts: SendCounts,
    *,
    budget: ArrayLike | None = None,
    split: BudgetSplit | None = None,
    alpha: float = 0.01,
    level: float = 0.95,
) -> BudgetReading:
    """Would comparing the variants be biased, because they shared a cap on what can be sent?

    Where the budget is known it is compared with what was sent. Where it is not, a cap that binds shows in this: the
    total hardly varies, while the variants' parts of it do, against each other. That is tested and can only be seen
    where the variants' parts vary from day to day; a budget that changes every day hides it. Nothing seen is no proof.

    Args:
        counts: what was sent.
        budget: total per period, one number or (p,); None if not known.
        split: the design, if each variant has its own budget; then variants are held against their own.
        alpha: level of the test for a cap that is not known.
        level: of the intervals.

    Raises:
        InvalidInputError: the budget's shape does not fit, or the split has other variants.
        SupportError: there are fewer than two periods.

    Example:
        >>> sends = np.array([[40.0, 60], [46, 54], [41, 59], [45, 55], [43, 57]])  # 100 a day, one from the other
        >>> found = read_budget(SendCounts(("control", "treatment"), np.array([500, 500]), sends))
        >>> found.shared, str(found.displacement["treatment"])
        (True, '0.07 [0.03834, 0.1017]')
    """
    check_probability("alpha", alpha)
    check_probability("level", level)
    periods = len(counts.sends)
    if periods < 2:
        raise SupportError(describe("periods", periods, "must be >= 2", "Count sends by day."))
    total = counts.sends.sum(axis=1)
    limits = None if budget is None else _limits(budget, periods)
    displacement = _displacement(counts, total, level)
    if split is not None:
        return _held_to_split(counts, limits, split, displacement)
    at_budget = None if limits is None else float((total >= _AT_BUDGET * limits).mean())
    ratio, p_value = _compensation(counts.sends)
    compensated = ratio is not None and p_value is not None and ratio < _COMPENSATED and p_value < alpha
    shared = bool(at_budget) or compensated
    warnings = []
    if at_budget:
        warnings.append(f"Sends reached the one budget of all variants in {at_budget:.0%} of periods.")
    if compensated and not at_budget:
        warnings.append(
            f"Totals vary {ratio:.2g} times as much as those of independent variants would (p = {p_value:.2g}): what "
            "one variant sends more, the others send less. They seem to share a cap."
        )
    if shared:
        moved = [f"{name} {item}" for name, item in displacement.items() if item.lower > 0]
        took = f" Share of sends beyond the share of users: {', '.join(moved)}." if moved else ""
        warnings.append(
            f"A difference between variants is then partly what one took from the other, and is biased.{took} Give "
            "each variant its own budget (BudgetSplit), or randomise periods (switchback)."
        )
    return BudgetReading(at_budget, ratio, p_value, displacement, shared, tuple(warnings))


def _limits(budget: ArrayLike, periods: int) -> FloatArray:
    given = check_finite("budget", budget).astype(np.float64)
    if given.ndim > 1 or (given.ndim == 1 and len(given) != periods):
        raise InvalidInputError(describe("budget.shape", given.shape, f"must be one number or ({periods},)"))
    return np.broadcast_to(given, (periods,))


def _displacement(counts: SendCounts, total: FloatArray, level: float) -> dict[str, Estimate]:
    busy = total > 0
    share = counts.sends[busy] / total[busy, None] - counts.users / counts.users.sum()
    n = len(share)
    if n < 2:
        raise SupportError(describe("periods with sends", n, "must be >= 2", "Count sends by day."))
    return {
        name: with_t(float(share[:, i].mean()), float(share[:, i].var(ddof=1)) / n, n - 1, level)
        for i, name in enumerate(counts.variants)
    }


def _compensation(sends: FloatArray) -> tuple[float | None, float | None]:
    """Variance of totals over the sum of variances, and the p-value of correlations that are not below 0.

    The variants' variances and their covariance sum to the total's: the ratio is 1 + 2 Σ cov / Σ var. Tested is the
    largest variant's correlation with the rest, by Fisher's z (1921, Metron 1).
    """
    from scipy.special import ndtr

    spread = sends.var(axis=0, ddof=1)
    if len(sends) < 4 or spread.sum() <= 0 or len(spread) < 2:
        return None, None
    ratio = float(sends.sum(axis=1).var(ddof=1) / spread.sum())
    one = int(np.argmax(spread))
    rest = sends.sum(axis=1) - sends[:, one]
    if rest.var() <= 0:
        return ratio, None
    correlation = float(np.clip(np.corrcoef(sends[:, one], rest)[0, 1], -1 + 1e-12, 1 - 1e-12))
    return ratio, float(ndtr(np.arctanh(correlation) * np.sqrt(len(sends) - 3)))


def _held_to_split(
    counts: SendCounts, limits: FloatArray | None, split: BudgetSplit, displacement: dict[str, Estimate]
) -> BudgetReading:
    if limits is None:
        raise InvalidInputError(describe("budget", None, "must be given with a split", "Pass the total per period."))
    for name in counts.variants:
        if name not in split.variants:
            raise unknown_name("variant of the split", name, split.variants)
    own = np.array([[split.budgets(int(limit))[name] for name in counts.variants] for limit in limits])
    over = counts.sends > own
    warnings = tuple(
        f"{name} sent more than its own budget in {int(over[:, i].sum())} of {len(own)} periods "
        f"({int((counts.sends - own)[:, i].max())} at most): it drew from another variant's."
        for i, name in enumerate(counts.variants)
        if over[:, i].any()
    )
    at_budget = float((counts.sends >= _AT_BUDGET * own).all(axis=1).mean())
    return BudgetReading(at_budget, None, None, displacement, bool(warnings), warnings)
