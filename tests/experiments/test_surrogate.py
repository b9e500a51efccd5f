"""The surrogate index against statsmodels, against the truth of a world, and its validation on past experiments."""

from __future__ import annotations

import json

import numpy as np
import pytest
import statsmodels.api as sm

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.experiments import ExperimentPlan, Window
from homing.experiments.surrogate import FittedIndex, SurrogateIndex
from homing.experiments.surrogate_validation import PastExperiment, validate_surrogate

Columns = dict[str, np.ndarray]
DURING = SurrogateIndex(("sessions_during", "reachable"), "later", Window(days=14))
WASHOUT = SurrogateIndex(("sessions_washout", "reachable"), "later", Window(days=7, start_day=14))
RATE = 0.5


class World:
    """Sessions a day ~ Poisson(own rate, mean .5); 14 days of treatment; an opt-out costs 30 % of sessions for good.

    The base hazard is such that a share `base` opts out in 14 days. Days 14 to 21 are the washout, 21 to 63 the
    long-term outcome.
    """

    def __init__(self, base: float) -> None:
        self.hazard = -np.log1p(-base) / 14

    def opt_out_day(self, first: np.ndarray, second: np.ndarray, times: float) -> np.ndarray:
        """Last day of being reachable, from two standard exponential draws, before and after the treatment's end."""
        early = np.ceil(first / (self.hazard * times))
        return np.where(early <= 14, early, 14 + np.ceil(second / self.hazard))

    @staticmethod
    def mean(rate: np.ndarray, day: np.ndarray, start: int, end: int) -> np.ndarray:
        reachable = np.clip(day - start, 0, end - start)
        return rate * (reachable + 0.7 * (end - start - reachable))

    def arm(self, rng: np.random.Generator, n: int, *, lift: float = 0.0, times: float = 1.0) -> Columns:
        rate = rng.gamma(2.0, RATE / 2, n)
        day = self.opt_out_day(rng.exponential(size=n), rng.exponential(size=n), times)
        return {
            "sessions_during": rng.poisson((1 + lift) * self.mean(rate, day, 0, 14)),
            "sessions_washout": rng.poisson(self.mean(rate, day, 14, 21)),
            "reachable": (day > 14).astype(float),
            "later": rng.poisson(self.mean(rate, day, 21, 63)),
        }

    def experiment(self, rng: np.random.Generator, n: int, *, lift: float, times: float) -> Columns:
        arms = self.arm(rng, n), self.arm(rng, n, lift=lift, times=times)
        both = {name: np.concatenate([arm[name] for arm in arms]) for name in arms[0]}
        return both | {"variant": np.repeat(["control", "pressure"], n)}


def estimate(index: FittedIndex, data: Columns) -> object:
    return index.estimate(data, treatment="pressure", control="control", treatment_days=14)


def test_agrees_with_least_squares_and_welch() -> None:
    rng = np.random.default_rng(0)
    world = World(0.1)
    history, data = world.arm(rng, 500), world.experiment(rng, 300, lift=0.1, times=2.0)
    index = WASHOUT.fit(history)
    x = sm.add_constant(np.column_stack([history[name] for name in WASHOUT.surrogates]))
    fit = sm.OLS(history["later"], x).fit(cov_type="HC1")
    np.testing.assert_allclose(index.coefficients, fit.params, rtol=1e-9)
    np.testing.assert_allclose(index.covariance, fit.cov_params(), rtol=1e-9)
    assert index.r_squared == pytest.approx(fit.rsquared, rel=1e-9)
    found = estimate(index, data)
    predicted = index.predict(data)
    np.testing.assert_allclose(
        predicted, fit.predict(sm.add_constant(np.column_stack([data[n] for n in WASHOUT.surrogates]))), rtol=1e-9
    )
    arms = predicted[:300], predicted[300:]
    assert found.effect.value == pytest.approx(arms[1].mean() - arms[0].mean(), rel=1e-9)
    assert found.sampling_std_error**2 == pytest.approx(sum(a.var(ddof=1) / 300 for a in arms), rel=1e-9)
    gap = np.array([data[n][300:].mean() - data[n][:300].mean() for n in WASHOUT.surrogates])
    assert found.index_std_error**2 == pytest.approx(gap @ fit.cov_params()[1:, 1:] @ gap, rel=1e-9)
    assert found.effect.std_error == pytest.approx(np.hypot(found.sampling_std_error, found.index_std_error), rel=1e-12)
    assert sum(found.contributions.values()) == pytest.approx(found.effect.value, rel=1e-12)
    json.dumps(found.to_dict(), allow_nan=False)


def test_interval_knows_the_index_s_own_error() -> None:
    # 60 users of history, an effect on the surrogate of 1 and a weight of 2, so a long-term effect of 2. Coverage of
    # .95 over 120 draws has a standard error of .02; the t quantile is that of a normal to 1 %.
    rng = np.random.default_rng(1)
    spec = SurrogateIndex(("s",), "y", Window(7, 14))
    covered = narrow = 0
    for _ in range(120):
        s = rng.normal(size=60)
        index = spec.fit({"s": s, "y": 2 * s + rng.normal(0, 3, 60)})
        data = {"variant": np.repeat(["c", "t"], 300), "s": rng.normal(size=600) + np.repeat([0.0, 1.0], 300)}
        found = index.estimate(data, treatment="t", control="c", treatment_days=14)
        covered += found.effect.lower <= 2 <= found.effect.upper
        narrow += abs(found.effect.value - 2) <= 1.96 * found.sampling_std_error
    assert covered / 120 > 0.95 - 4 * 0.02
    assert narrow / 120 < 0.8


def test_washout_is_unbiased_and_data_from_the_treatment_are_not() -> None:
    """Expected effects by common random numbers: per user, both arms' means given its rate and its opt-out day.

    Only the 3 % of users who opt out because of the treatment differ between arms, so that 500,000 of them leave an
    error of about .0016 sessions; the index's own error with 200,000 users of history is about .003. A tenth of the
    standard error of an experiment with 20,000 users a variant is .0116.
    """
    world, rng = World(0.033), np.random.default_rng(2)
    history = world.arm(rng, 200_000)
    rate = rng.gamma(2.0, RATE / 2, 500_000)
    first, second = rng.exponential(size=(2, 500_000))
    days = [world.opt_out_day(first, second, times) for times in (1.0, 2.0)]

    def effect(start: int, end: int, lift: float = 0.0) -> float:
        low, high = (world.mean(rate, day, start, end) for day in days)
        return float(((1 + lift) * high - low).mean())

    truth = effect(21, 63)
    reachable = float(((days[1] > 14).astype(float) - (days[0] > 14)).mean())
    moved = {"sessions_during": effect(0, 14, 0.08), "sessions_washout": effect(14, 21), "reachable": reachable}
    index = {spec: spec.fit(history) for spec in (WASHOUT, DURING)}
    expected = {spec: sum(fit.weights[name] * moved[name] for name in spec.surrogates) for spec, fit in index.items()}
    one = estimate(index[WASHOUT], world.experiment(rng, 20_000, lift=0.08, times=2.0)).effect
    assert truth == pytest.approx(-0.19, abs=0.01)
    assert abs(expected[WASHOUT] - truth) < 0.1 * one.std_error
    assert expected[DURING] - truth > 8 * one.std_error
    assert abs(one.value - truth) < 4 * one.std_error


@pytest.fixture(scope="module")
def past() -> tuple[Columns, list[PastExperiment]]:
    """History and four experiments in a world where more people opt out: pressure, less of it, and more of it."""
    world, rng = World(0.2), np.random.default_rng(3)
    designs = [(0.08, 2.0), (0.1, 2.5), (-0.04, 0.2), (0.05, 3.0), (-0.03, 0.3)]
    experiments = [
        PastExperiment(f"e{i}", world.experiment(rng, 20_000, lift=lift, times=times), "pressure", "control", 14)
        for i, (lift, times) in enumerate(designs)
    ]
    return world.arm(rng, 40_000), experiments


def test_validation_clears_the_washout_index(past: tuple[Columns, list[PastExperiment]]) -> None:
    index = WASHOUT.fit(past[0])
    found = index.validate(past[1])
    assert found.valid
    assert (found.sign_agreement, found.recall) == (1.0, 1.0)
    assert found.slope.lower < 1.0 < found.slope.upper
    assert [item.long_term_call for item in found.calls] == ["down", "down", "up", "down", "up"]
    metric = index.metric("long_term", validation=found)
    assert not metric.diagnostic
    assert metric.window == Window(7, 14)
    ExperimentPlan("e", success=[metric])
    json.dumps(found.to_dict(), allow_nan=False)


def test_validation_flags_data_from_the_treatment(past: tuple[Columns, list[PastExperiment]]) -> None:
    index = DURING.fit(past[0])
    found = index.validate(past[1])
    assert not found.valid
    assert found.calls[0].opposite
    assert found.reasons[0].startswith("It called e0 up (")
    assert found.warnings[0] == "Surrogates of e0 were measured while its treatment went on."
    with pytest.raises(InvalidInputError, match=r"must not decide: It called e0 up"):
        index.metric("long_term", validation=found)
    with pytest.raises(InvalidInputError, match="must be of this index"):
        WASHOUT.fit(past[0]).metric("long_term", validation=found)


def test_an_index_without_validation_is_refused_in_a_plan(past: tuple[Columns, list[PastExperiment]]) -> None:
    metric = WASHOUT.fit(past[0]).metric("long_term")
    with pytest.raises(InvalidInputError, match="must not be a diagnostic"):
        ExperimentPlan("e", success=[metric])
    few = WASHOUT.fit(past[0]).validate(past[1][:1])
    assert few.reasons == ("Only 1 past experiments had a long-term effect that excludes 0; 3 are needed.",)


def test_slope_is_corrected_for_noise() -> None:
    """Weak experiments: true effects sd .08, noise .05; the long-term effect is twice that on the index.

    100 experiments know the slope to about 2 / sqrt(100) · (1 + noise²/signal²) = .28; uncorrected it would be
    drawn to (2 · signal² + shared) / (signal² + noise²), which is 1.7 here.
    """
    rng = np.random.default_rng(4)
    spec = SurrogateIndex(("s",), "y", Window(7, 14))
    x = rng.normal(size=20_000)
    index = spec.fit({"s": x, "y": x + rng.normal(0, 0.5, 20_000)})
    past = []
    for i in range(100):
        effect = rng.normal(0, 0.08)
        s = rng.normal(size=1600) + np.repeat([0.0, effect], 800)
        y = s + np.repeat([0.0, effect], 800) + rng.normal(0, 0.5, 1600)
        data = {"variant": np.repeat(["c", "t"], 800), "s": s, "y": y}
        past.append(PastExperiment(str(i), data, "t", "c", 14))
    found = validate_surrogate(index, past)
    naive = np.array([[item.index.value, item.long_term.value] for item in found.calls])
    assert (naive[:, 0] @ naive[:, 1]) / (naive[:, 0] @ naive[:, 0]) < 1.85
    assert abs(found.slope.value - 2.0) < 4 * found.slope.std_error < 1.2


def test_bad_input() -> None:
    with pytest.raises(InvalidInputError, match="must be different columns"):
        SurrogateIndex(("later",), "later", Window(7))
    history = {"s": [1.0, 2.0, 3.0, 4.0], "t": [2.0, 4.0, 6.0, 8.0], "y": [1.0, 0.0, 1.0, 3.0]}
    with pytest.raises(InvalidInputError, match="must differ from constants and from each other"):
        SurrogateIndex(("s", "t"), "y", Window(7)).fit(
            history | {"y": [1.0, 2, 3, 4]} | {k: v * 2 for k, v in history.items()}
        )
    with pytest.raises(SupportError, match="rows of history == 4, must be more than 4"):
        SurrogateIndex(("s", "t"), "y", Window(7)).fit(history)
    index = SurrogateIndex(("s",), "y", Window(7)).fit(history)
    data = {"variant": ["a", "a", "b"], "s": [1.0, 2.0, 3.0]}
    with pytest.raises(SupportError, match="units of variant 'b' == 1"):
        index.estimate(data, treatment="b", control="a", treatment_days=7)
    with pytest.raises(UnknownNameError, match="variant == 'c'"):
        index.estimate(data, treatment="c", control="a", treatment_days=7)
    with pytest.raises(InvalidInputError, match=r"missing columns == \['s'\]"):
        index.predict({"x": [1.0]})
