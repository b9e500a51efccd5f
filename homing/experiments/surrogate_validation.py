"""Would it have decided rightly? A surrogate index held against past experiments with known long-term effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe
from homing.estimates import Estimate
from homing.experiments.columns import Columns
from homing.experiments.intervals import welch, with_t
from homing.experiments.surrogate import FittedIndex

FloatArray = NDArray[np.float64]
Call = Literal["up", "down", "unclear"]


@dataclass(frozen=True, eq=False)
class PastExperiment:
    """An experiment whose long-term outcome is known by now.

    Attributes:
        name: of the experiment.
        data: one row a unit, all randomised units: variant, surrogates, outcome.
        treatment: name of the treatment.
        control: name of the control.
        treatment_days: how many days after exposure the treatment lasted; None if it went on.
        variant: column of variants.
    """

    name: str
    data: Any
    treatment: str
    control: str
    treatment_days: int | None
    variant: str = "variant"


@dataclass(frozen=True)
class PastCall:
    """What the index said of a past experiment, and what came.

    Attributes:
        name: of the experiment.
        index: effect on the index.
        long_term: effect on the outcome.
        covariance: of both estimates' errors; they are from the same units.
        index_call: `up` or `down` where the index's interval excludes 0, else `unclear`.
        long_term_call: the same of the long-term effect.
        in_treatment: surrogates were measured while the treatment went on.
    """

    name: str
    index: Estimate
    long_term: Estimate
    covariance: float
    index_call: Call
    long_term_call: Call
    in_treatment: bool

    @property
    def opposite(self) -> bool:
        """Whether index and long-term effect both exclude 0, on different sides."""
        return {self.index_call, self.long_term_call} == {"up", "down"}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "name": self.name,
            "index": self.index.to_dict(),
            "long_term": self.long_term.to_dict(),
            "covariance": self.covariance,
            "index_call": self.index_call,
            "long_term_call": self.long_term_call,
            "in_treatment": self.in_treatment,
        }


@dataclass(frozen=True)
class SurrogateValidation:
    """Whether an index may decide.

    Attributes:
        digest: of the index that it is about.
        calls: one for each past experiment.
        sign_agreement: among experiments whose long-term effect excludes 0, the share in which the index's effect has
            its sign; None without any.
        recall: among those whose long-term effect is up, the share that the index calls up; None without any.
        slope: long-term effect per effect on the index over experiments, corrected for the error of both; 1 where the
            index is calibrated; None if the index moved no more than chance.
        reasons: why it must not decide; empty where it may.
        warnings: what else to know.
    """

    digest: str
    calls: tuple[PastCall, ...]
    sign_agreement: float | None
    recall: float | None
    slope: Estimate | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether the index may be a success or guardrail metric."""
        return not self.reasons

    def check(self, index: FittedIndex) -> None:
        """Refuse an index that this validation does not clear.

        Raises:
            InvalidInputError: it is another index's, or it has reasons against this one.
        """
        if index.digest != self.digest:
            raise InvalidInputError(
                describe("validation", self.digest[:12], f"must be of this index ({index.digest[:12]})", "Validate it.")
            )
        if not self.valid:
            raise InvalidInputError(
                describe(
                    "surrogate index",
                    index.spec.surrogates,
                    "must not decide: " + " ".join(self.reasons),
                    "Measure states after the treatment has ended, reachability among them, and validate again.",
                )
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "digest": self.digest,
            "valid": self.valid,
            "calls": [item.to_dict() for item in self.calls],
            "sign_agreement": self.sign_agreement,
            "recall": self.recall,
            "slope": None if self.slope is None else self.slope.to_dict(),
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
        }


def validate_surrogate(
    index: FittedIndex,
    past: Sequence[PastExperiment],
    *,
    level: float = 0.95,
    min_decisive: int = 3,
    min_agreement: float = 0.8,
    min_recall: float = 0.5,
) -> SurrogateValidation:
    """Hold an index against past experiments: would decisions have been the same?

    It is refused if it called an experiment up that came out down, or the reverse; if too few past experiments were
    decided by their long-term effect to tell; if signs agree, or launches are found, in too few of them; or if the
    calibration slope is shown to be negative. Published figures for a good linear index of 14 days: about 95 %
    agreement with day 63, recall 65 to 79 % over 200 experiments.

    The slope is Σ (I L - cov) / Σ (I² - var) over experiments' effects I and L: estimated effects are noisy, and noise
    in I alone draws a slope towards 0, noise that both share towards the slope between users. Its interval is from the
    jackknife over experiments. The index's own error, common to all of them, is in each variance but not in the slope's
    interval.

    Args:
        index: the index; its history must not hold the past experiments' units.
        past: past experiments, of the kind to be judged.
        level: of the intervals that call an effect up or down.
        min_decisive: experiments whose long-term effect must exclude 0.
        min_agreement: least `sign_agreement`.
        min_recall: least `recall`.

    Raises:
        InvalidInputError: two experiments have one name, or a column is missing.

    References:
        Zhang, Zhao, Le, Chou, Ejdemyr, Bibaut, Kallus (2023), "Evaluating the Surrogate Index as a Decision-Making Tool
        Using 200 A/B Tests at Netflix", arXiv 2311.11922. Bibaut, Chou, Ejdemyr, Kallus (2024), "Learning the
        Covariance of Treatment Effects Across Many Weak Experiments", arXiv 2402.17637 (subtracting the noise's
        covariance; here with an intercept of 0, since what moves nothing moves neither).
    """
    check_probability("level", level)
    names = [item.name for item in past]
    if len(set(names)) < len(names):
        raise InvalidInputError(describe("names of past experiments", names, "must differ"))
    calls = tuple(_call(index, item, level) for item in past)
    decisive = [item for item in calls if item.long_term_call != "unclear"]
    agreeing = [item for item in decisive if item.index.value * item.long_term.value > 0]
    launches = [item for item in calls if item.long_term_call == "up"]
    found = [item for item in launches if item.index_call == "up"]
    agreement = len(agreeing) / len(decisive) if decisive else None
    recall = len(found) / len(launches) if launches else None
    slope = _slope(calls, level)
    reasons = []
    for item in calls:
        if item.opposite:
            reasons.append(
                f"It called {item.name} {item.index_call} ({item.index}); it came out {item.long_term_call} "
                f"({item.long_term})."
            )
    if len(decisive) < min_decisive:
        reasons.append(
            f"Only {len(decisive)} past experiments had a long-term effect that excludes 0; {min_decisive} are needed."
        )
    if agreement is not None and agreement < min_agreement:
        reasons.append(f"Signs agree in {agreement:.0%} of the decided experiments, less than {min_agreement:.0%}.")
    if recall is not None and recall < min_recall:
        reasons.append(f"It finds {recall:.0%} of the launches, less than {min_recall:.0%}.")
    if slope is not None and slope.upper <= 0:
        reasons.append(f"The more it rises, the more the long-term outcome falls: slope {slope}.")
    return SurrogateValidation(index.digest, calls, agreement, recall, slope, tuple(reasons), _warnings(calls, slope))


def _warnings(calls: Sequence[PastCall], slope: Estimate | None) -> tuple[str, ...]:
    warnings = [
        f"Surrogates of {item.name} were measured while its treatment went on." for item in calls if item.in_treatment
    ]
    if slope is not None and not slope.lower <= 1.0 <= slope.upper:
        warnings.append(f"The index is not calibrated: long-term effects are {slope} times its effects.")
    return tuple(warnings)


def _call(index: FittedIndex, past: PastExperiment, level: float) -> PastCall:
    found = index.estimate(
        past.data,
        treatment=past.treatment,
        control=past.control,
        treatment_days=past.treatment_days,
        variant=past.variant,
        level=level,
    )
    table = Columns(past.data, (past.variant, index.spec.outcome))
    outcome, predicted = table.numbers(index.spec.outcome), index.predict(past.data)
    pairs = [
        np.stack([predicted, outcome])[:, table.is_group(past.variant, name)] for name in (past.control, past.treatment)
    ]
    covariances = [np.cov(pair) / pair.shape[1] for pair in pairs]
    control, treated = (pair[1] for pair in pairs)
    long_term = welch(control, treated, level)
    shared = float(sum(item[0, 1] for item in covariances))
    return PastCall(
        past.name, found.effect, long_term, shared, _side(found.effect), _side(long_term), found.in_treatment
    )


def _side(estimate: Estimate) -> Call:
    if estimate.lower > 0:
        return "up"
    return "down" if estimate.upper < 0 else "unclear"


def _slope(calls: Sequence[PastCall], level: float) -> Estimate | None:
    """Long-term effect per effect on the index, with a jackknife interval over experiments."""
    k = len(calls)
    if k < 3:
        return None
    crossed = np.array([item.index.value * item.long_term.value - item.covariance for item in calls])
    square = np.array([item.index.value**2 - item.index.std_error**2 for item in calls])
    without = square.sum() - square
    if square.sum() <= 0 or (without <= 0).any():
        return None
    value = float(crossed.sum() / square.sum())
    left_out = (crossed.sum() - crossed) / without
    std_error = float(np.sqrt((k - 1) / k * ((left_out - left_out.mean()) ** 2).sum()))
    return with_t(value, std_error**2, k - 1, level)
