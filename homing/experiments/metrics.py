"""What an experiment measures: a metric, its window after exposure, its covariates before it, and its margins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from homing.checks import check_one_of, check_probability
from homing.errors import InvalidInputError, describe

Kind = Literal["proportion", "mean", "ratio", "quantile"]
KINDS = ("proportion", "mean", "ratio", "quantile")
DIRECTIONS = ("increase", "decrease")
#: A column whose name has `pre` (with or without a number of days) as a word says that it was measured before exposure.
_PRE = re.compile(r"(?:^|_)pre(\d*)d?(?:_|$)")
_DAYS_UNSAID = 28


@dataclass(frozen=True)
class Window:
    """Outcome window, in days after a unit's own exposure: [exposure + start_day, exposure + start_day + days).

    A unit counts once its window has ended, so that every unit that counts is measured over the same time. A metric
    without a window is open-ended: the values of units that were counted before keep changing, which breaks the
    independent increments that every sequential test rests on (with daily looks its false positive rate at .05 is up
    to .15); use one only where there is a single look.

    Attributes:
        days: length, >= 1.
        start_day: first day, counted from exposure, >= 0.

    Example:
        >>> Window(days=7).matures_after
        7
    """

    days: int
    start_day: int = 0

    def __post_init__(self) -> None:
        _check_int("window days", self.days, 1, "Give the number of whole days over which the outcome is measured.")
        _check_int("window start_day", self.start_day, 0, "An outcome is measured after exposure.")

    @property
    def matures_after(self) -> int:
        """Days from exposure until the window has ended."""
        return self.start_day + self.days


@dataclass(frozen=True)
class Covariate:
    """A column known before exposure that explains some of a metric's variance.

    Anything measured after exposure may itself be an effect of the treatment, and adjusting for it biases the estimate
    in either direction by any amount; so a covariate is declared with the days before exposure that it covers.

    Attributes:
        column: name of the column.
        days: how many days it covers; 0 for a state or a fixed attribute, as it stood on `end_day`.
        end_day: the day before which it was measured, counted from exposure: at most 0.
        measured_at: a time column of the same rows that says when it was measured; where given, every row is checked
            against its exposure.

    Raises:
        InvalidInputError: if it reaches past exposure.

    Example:
        >>> Covariate("orders_pre28", days=28).column
        'orders_pre28'
        >>> Covariate("orders_day3", days=1, end_day=3)
        Traceback (most recent call last):
        homing.errors.InvalidInputError: end_day of covariate 'orders_day3' == 3, must be <= 0: ...
    """

    column: str
    days: int = _DAYS_UNSAID
    end_day: int = 0
    measured_at: str | None = None

    def __post_init__(self) -> None:
        _check_name("covariate column", self.column)
        _check_int(f"days of covariate {self.column!r}", self.days, 0, "Count the days before exposure that it covers.")
        if self.measured_at is not None:
            _check_name(f"measured_at of covariate {self.column!r}", self.measured_at)
        if not isinstance(self.end_day, int) or isinstance(self.end_day, bool) or self.end_day > 0:
            raise InvalidInputError(
                describe(
                    f"end_day of covariate {self.column!r}",
                    self.end_day,
                    "must be <= 0: what is measured after exposure may be an effect of the treatment",
                    "Take the same column from before each unit's exposure.",
                )
            )

    @classmethod
    def named(cls, column: str) -> Covariate:
        """The covariate that a column's name declares: `orders_pre28` covers the 28 days before exposure.

        Raises:
            InvalidInputError: if the name does not say that the column was measured before exposure.
        """
        found = _PRE.search(column)
        if found is None:
            raise InvalidInputError(
                describe(
                    "covariate",
                    column,
                    "must be declared as measured before exposure",
                    f"Write Covariate({column!r}, days=28) if it is, or name the column like {column + '_pre28'!r}.",
                )
            )
        return cls(column, days=int(found[1] or _DAYS_UNSAID))


def as_covariates(given: Any) -> tuple[Covariate, ...]:
    """Covariates from themselves and from names that declare one.

    >>> as_covariates(["orders_pre7", Covariate("age", days=0)])[0].days
    7
    """
    items = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (None,)
    if not all(isinstance(item, Covariate | str) for item in items):
        raise InvalidInputError(describe("covariates", given, "must be a list of Covariate or column names"))
    return tuple(item if isinstance(item, Covariate) else Covariate.named(item) for item in items)


@dataclass(frozen=True)
class Metric:
    """One number per unit, and what is estimated from it in each variant.

    | kind | estimated | columns |
    |---|---|---|
    | proportion | share of units with the event | numerator holds 0 and 1 |
    | mean | mean over units | numerator |
    | ratio | Σ numerator / Σ denominator (delta method over units) | numerator, denominator |
    | quantile | the numerator's quantile over units | numerator |

    Wrong to use: for what is only defined for some units because of what the treatment did, such as clicks per send
    or opens among those still reachable. Such rates are `diagnostic`: shown, and refused where a decision rests on
    them, because a treatment that drives the least interested users away raises them.

    Attributes:
        name: unique in a plan.
        kind: see above.
        numerator: column.
        denominator: column; for `ratio` only.
        window: outcome window after exposure; None for open-ended.
        direction: which way is good. Differences keep their sign as measured.
        covariates: pre-exposure columns for variance reduction (CUPED); a name alone is enough where it says so.
        winsorize: upper quantile of the pooled data above which values are set to that quantile (mean and ratio
            numerators), such as .999. It changes what is estimated: a bounded mean.
        quantile: for `quantile`: which, in (0, 1).
        diagnostic: never a success or guardrail metric; nor is a ratio whose denominator is by its name what was
            sent or opened (`sends`, `delivered`, `opens` …).

    Raises:
        InvalidInputError: if a field does not fit its kind, or a covariate is not from before exposure.

    Example:
        >>> Metric("orders_7d", "mean", "orders", window=Window(7), covariates=("orders_pre28",)).columns
        ('orders', 'orders_pre28')
    """

    name: str
    kind: Kind
    numerator: str
    denominator: str | None = None
    window: Window | None = None
    direction: Literal["increase", "decrease"] = "increase"
    covariates: tuple[Covariate, ...] = ()
    winsorize: float | None = None
    quantile: float | None = None
    diagnostic: bool = False

    def __post_init__(self) -> None:
        _check_name("metric name", self.name)
        where = f"of metric {self.name!r}"
        check_one_of(f"kind {where}", self.kind, KINDS)
        check_one_of(f"direction {where}", self.direction, DIRECTIONS)
        _check_name(f"numerator {where}", self.numerator)
        if self.denominator is not None:
            _check_name(f"denominator {where}", self.denominator)
        _check_window(f"window {where}", self.window)
        check_flag(f"diagnostic {where}", self.diagnostic)
        covariates = as_covariates(self.covariates)
        object.__setattr__(self, "covariates", covariates)
        self._fits("denominator", self.denominator, self.kind == "ratio", needed=True)
        self._fits("quantile", self.quantile, self.kind == "quantile", needed=True)
        self._fits("winsorize", self.winsorize, self.kind in ("mean", "ratio"), needed=False)
        self._fits("covariates", covariates or None, self.kind != "quantile", needed=False)
        for name in ("quantile", "winsorize"):
            value = getattr(self, name)
            if value is not None:
                check_probability(f"{name} {where}", value)
        columns = [item.column for item in covariates]
        for column in columns:
            if column in (self.numerator, self.denominator) or columns.count(column) > 1:
                raise InvalidInputError(
                    describe(
                        f"covariates {where}",
                        columns,
                        f"must differ from each other and from its outcome, but {column!r} is there twice",
                        "Take the column from before exposure.",
                    )
                )

    def _fits(self, field: str, value: object, fits: bool, *, needed: bool) -> None:
        if value is not None and not fits:
            raise InvalidInputError(
                describe(f"{field} of metric {self.name!r}", value, f"must not be given for kind {self.kind!r}")
            )
        if value is None and fits and needed:
            raise InvalidInputError(
                describe(f"{field} of metric {self.name!r}", None, f"must be given for kind {self.kind!r}")
            )

    @property
    def sign(self) -> int:
        """+1 where an increase is good, -1 where a decrease is."""
        return 1 if self.direction == "increase" else -1

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Columns measured after exposure."""
        return (self.numerator,) if self.denominator is None else (self.numerator, self.denominator)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that it needs: outcomes, then covariates."""
        return (*self.outcomes, *(item.column for item in self.covariates))


@dataclass(frozen=True)
class _Margin:
    rel: float | None = None
    abs: float | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        if (self.rel is None) == (self.abs is None):
            raise InvalidInputError(
                describe(
                    f"{name} (rel, abs)", (self.rel, self.abs), "must have exactly one", f"Write {name}(rel=0.02)."
                )
            )
        value = self.rel if self.rel is not None else self.abs
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise InvalidInputError(
                describe(name, value, "must be a finite number > 0", "The metric's direction says which way it points.")
            )

    def absolute(self, control: float) -> float:
        """The margin in the metric's unit, for a control value: > 0.

        >>> MDE(rel=0.02).absolute(5.0)
        0.1
        """
        return self.abs if self.abs is not None else float(self.rel or 0.0) * abs(control)


@dataclass(frozen=True)
class MDE(_Margin):
    """Minimum detectable effect: the smallest improvement worth finding, in the good direction.

    Attributes:
        rel: as a share of the control's value, > 0.
        abs: in the metric's unit, > 0. Exactly one of both.
    """


@dataclass(frozen=True)
class NIM(_Margin):
    """Non-inferiority margin: the largest loss that is bearable, in the bad direction.

    Attributes:
        rel: as a share of the control's value, > 0.
        abs: in the metric's unit, > 0. Exactly one of both.
    """


def check_flag(what: str, value: object) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise InvalidInputError(describe(what, value, "must be true or false"))


def _check_window(what: str, value: object) -> None:
    if value is not None and not isinstance(value, Window):
        step = "Write Window(7) for the 7 days from exposure."
        raise InvalidInputError(describe(what, value, "must be a Window", step))


def _check_name(what: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidInputError(describe(what, value, "must be a non-empty string"))


def _check_int(what: str, value: object, least: int, next_step: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(describe(what, value, f"must be a whole number >= {least}", next_step))
