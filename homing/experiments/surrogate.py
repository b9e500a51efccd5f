"""The surrogate index: a long-term effect from what can be measured soon, with the error of the index itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, SupportError, describe
from homing.estimates import Estimate
from homing.experiments.columns import Columns
from homing.experiments.intervals import satterthwaite
from homing.experiments.metrics import Metric, Window

if TYPE_CHECKING:
    from homing.experiments.surrogate_validation import PastExperiment, SurrogateValidation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SurrogateIndex:
    """What predicts a long-term outcome: columns measured in a window after the treatment has ended.

    The effect on the index is the effect on the outcome if, given the surrogates, the outcome does not depend on the
    treatment (surrogacy), and if it depends on them in the experiment as it did in history (comparability). A message
    that goes on acting breaks the first: sessions that it causes while it is sent predict, as sessions do in history, a
    long future that is not there, while the opt-outs that it causes are hidden by them. So surrogates are states,
    measured in a declared window that starts when the treatment has ended (washout), with reachability as it stands at
    its start: who opted out by then is what the treatment did, who does later is not. And an index decides nothing
    before it has been held against past experiments whose long-term effects are known (`validate`).

    In a simulated world where a treatment lifts sessions by 8 % for 14 days and doubles opt-outs, which cost 30 % of
    sessions, it loses 0.19 sessions of days 21 to 63 (of 20.5); an index of sessions while it lasts says +1.19, with
    reachability +1.07, and sessions in the week after it with reachability at its end -0.19.

    Attributes:
        surrogates: columns, measured in `washout`; reachability should be among them wherever messages are tested.
        outcome: the long-term outcome, a column of history.
        washout: when surrogates are measured, in days after exposure.

    References:
        Athey, Chetty, Imbens and Kang (2019), "The Surrogate Index: Combining Short-Term Proxies to Estimate Long-Term
        Treatment Effects More Rapidly and Precisely", NBER 26463: sections 3 (assumptions) and 4 (the index).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> visits, reachable = rng.poisson(3, 2000), rng.random(2000) < 0.9
        >>> later = 6 * visits + 20 * reachable + rng.normal(0, 5, 2000)
        >>> history = {"visits": visits, "reachable": reachable, "later": later}
        >>> index = SurrogateIndex(("visits", "reachable"), "later", Window(days=7, start_day=14)).fit(history)
        >>> {name: round(value) for name, value in index.weights.items()}
        {'visits': 6, 'reachable': 20}
    """

    surrogates: tuple[str, ...]
    outcome: str
    washout: Window

    def __post_init__(self) -> None:
        object.__setattr__(self, "surrogates", tuple(self.surrogates))
        if not self.surrogates or len(set(self.surrogates)) < len(self.surrogates) or self.outcome in self.surrogates:
            raise InvalidInputError(
                describe("surrogates", self.surrogates, f"must be different columns, not {self.outcome!r} itself")
            )

    def fit(self, history: Any) -> FittedIndex:
        """The index by least squares of the outcome on the surrogates, with a robust covariance (HC1).

        Args:
            history: one row a user whose outcome is known, with the columns of surrogates and outcome; none of whom
                is in the experiments that the index will judge. Randomised or not.

        Raises:
            InvalidInputError: a column is missing or not numeric, or surrogates repeat each other.
            SupportError: there are not more rows than surrogates.
        """
        table = Columns(history, (*self.surrogates, self.outcome))
        x = np.column_stack([np.ones(table.n), *(table.numbers(name) for name in self.surrogates)])
        y = table.numbers(self.outcome)
        n, k = x.shape
        if n <= k + 1:
            raise SupportError(describe("rows of history", n, f"must be more than {k + 1}", "Gather more users."))
        scale = np.sqrt((x**2).mean(axis=0))
        if (scale == 0).any() or np.linalg.matrix_rank(x / scale) < k:
            raise InvalidInputError(
                describe("surrogates", self.surrogates, "must differ from constants and from each other in history")
            )
        q, triangle = np.linalg.qr(x)
        inverse = np.linalg.inv(triangle)
        coefficients = inverse @ (q.T @ y)
        residual = y - x @ coefficients
        scores = (q * residual[:, None]) @ inverse.T
        explained = 1.0 - float(residual @ residual) / max(float(((y - y.mean()) ** 2).sum()), np.finfo(float).tiny)
        return FittedIndex(self, coefficients, scores.T @ scores * (n / (n - k)), n, explained)


@dataclass(frozen=True, eq=False)
class FittedIndex:
    """An index with its weights.

    Attributes:
        spec: what it was fitted from.
        coefficients: float64 (1 + s,), the intercept first.
        covariance: float64 (1 + s, 1 + s), of the coefficients.
        n: rows of history.
        r_squared: share of the outcome's variance that it explains in history. A high share does not make it valid.
    """

    spec: SurrogateIndex
    coefficients: FloatArray
    covariance: FloatArray
    n: int
    r_squared: float

    @property
    def weights(self) -> dict[str, float]:
        """The coefficient of each surrogate."""
        return dict(zip(self.spec.surrogates, self.coefficients[1:].tolist(), strict=True))

    @property
    def digest(self) -> str:
        """SHA-256 of what the index is: a validation belongs to one index."""
        said = f"{self.spec}".encode()
        return hashlib.sha256(said + self.coefficients.astype("<f8").tobytes()).hexdigest()

    def predict(self, data: Any) -> FloatArray:
        """The index of each unit, (n,): the column that a plan's metric takes."""
        out: FloatArray = self.coefficients[0] + self._surrogates(data) @ self.coefficients[1:]
        return out

    def estimate(
        self,
        experiment: Any,
        *,
        treatment: str,
        control: str,
        treatment_days: int | None,
        variant: str = "variant",
        level: float = 0.95,
    ) -> SurrogateEffect:
        """The effect on the index, treatment minus control.

        Its variance has two parts: that of the difference between the units of both variants (Welch), and g' Cov(b) g,
        where b are the coefficients and g the differences of the surrogates' means: the index is itself estimated. The
        second does not shrink with the experiment. Degrees of freedom are Satterthwaite's.

        Args:
            experiment: one row a unit, all randomised units, with the variant and the surrogates.
            treatment: name of the treatment.
            control: name of the control.
            treatment_days: how many days after exposure the treatment lasted; None if it goes on.
            variant: column of variants.
            level: of the interval.

        Raises:
            InvalidInputError: a column is missing or not numeric.
            SupportError: a variant has fewer than two units.
            UnknownNameError: no unit has a variant.
        """
        check_probability("level", level)
        table = Columns(experiment, (variant, *self.spec.surrogates))
        arms = [self._arm(table, table.is_group(variant, name), name) for name in (control, treatment)]
        (mean0, var0, n0), (mean1, var1, n1) = arms
        gap = mean1 - mean0
        value = float(gap @ self.coefficients[1:])
        own = float(gap @ self.covariance[1:, 1:] @ gap)
        parts, sizes = [var0 / n0, var1 / n1, own], [n0 - 1, n1 - 1, self.n - len(self.coefficients)]
        contributions = dict(zip(self.spec.surrogates, (gap * self.coefficients[1:]).tolist(), strict=True))
        return SurrogateEffect(
            effect=satterthwaite(value, parts, sizes, level),
            sampling_std_error=float(np.sqrt(parts[0] + parts[1])),
            index_std_error=float(np.sqrt(max(own, 0.0))),
            contributions=contributions,
            in_treatment=treatment_days is None or treatment_days > self.spec.washout.start_day,
            n={control: n0, treatment: n1},
        )

    def validate(self, past: Sequence[PastExperiment], **options: Any) -> SurrogateValidation:
        """Would decisions by this index have been right? See `homing.experiments.validate_surrogate`."""
        from homing.experiments.surrogate_validation import validate_surrogate

        return validate_surrogate(self, past, **options)

    def metric(
        self,
        name: str,
        *,
        validation: SurrogateValidation | None = None,
        column: str = "",
        direction: Literal["increase", "decrease"] = "increase",
    ) -> Metric:
        """The index as a plan's metric, over the column that `predict` made; without a validation a diagnostic one.

        A plan's tests take the index as given: where no surrogate moves they keep their error rate, elsewhere the
        interval of `estimate`, which knows the index's own error, is the one to read.

        Args:
            name: of the metric.
            validation: of this index; None makes a diagnostic, which plans refuse as success or guardrail.
            column: of the index in the data; its name if empty.
            direction: which way is good.

        Raises:
            InvalidInputError: the validation is another index's, or it says that this one would have decided wrongly.
        """
        if validation is not None:
            validation.check(self)
        return Metric(
            name,
            "mean",
            column or name,
            window=self.spec.washout,
            direction=direction,
            diagnostic=validation is None,
        )

    def _surrogates(self, data: Any) -> FloatArray:
        table = Columns(data, self.spec.surrogates)
        return np.column_stack([table.numbers(name) for name in self.spec.surrogates])

    def _arm(self, table: Columns, rows: NDArray[np.bool_], name: str) -> tuple[FloatArray, float, int]:
        """Means of the surrogates, variance of the index, and number of a variant's units."""
        n = int(rows.sum())
        if n < 2:
            raise SupportError(describe(f"units of variant {name!r}", n, "must be >= 2"))
        s = np.column_stack([table.numbers(item)[rows] for item in self.spec.surrogates])
        return s.mean(axis=0), float((s @ self.coefficients[1:]).var(ddof=1)), n


@dataclass(frozen=True)
class SurrogateEffect:
    """A long-term effect as an index sees it.

    Attributes:
        effect: on the index, in the outcome's unit; its standard error has both parts.
        sampling_std_error: the part from the experiment's units.
        index_std_error: the part from the index's own estimation.
        contributions: weight times movement of each surrogate; they add up to the effect.
        in_treatment: surrogates were measured while the treatment went on: the effect is not to be believed unless the
            index was validated on experiments of the same kind.
        n: units by variant.
    """

    effect: Estimate
    sampling_std_error: float
    index_std_error: float
    contributions: dict[str, float]
    in_treatment: bool
    n: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "effect": self.effect.to_dict(),
            "sampling_std_error": self.sampling_std_error,
            "index_std_error": self.index_std_error,
            "contributions": dict(self.contributions),
            "in_treatment": self.in_treatment,
            "n": dict(self.n),
        }
