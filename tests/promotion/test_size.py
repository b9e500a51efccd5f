"""How much data would decide: by hand, and against logs drawn at the size that is named."""

import numpy as np
import pytest

from homing.ope import Estimate
from homing.ope.estimate import interval
from homing.promotion import GateDecision, PromotionRules, gate
from homing.promotion.size import Demand, times_needed


def normal(value, error=1.0):
    """An estimate that is normal, with a t interval of many users."""
    bound = Estimate(value, error, value - 1.96 * error, value + 1.96 * error, 0.95, 10**6, "cluster-t")
    return Demand(bound, 0.0, 0.0)


def test_sizes_by_hand():
    """((1.96 + z) / value)², z = 1.0364 for 15 % of misses, 1.4395 where two demands share them."""
    one, two = normal(1.0), normal(1.0, error=0.999999)
    assert times_needed([[one]]) == pytest.approx((1.96 + 1.03643) ** 2, rel=1e-4)
    assert times_needed([[one], [two]]) == pytest.approx((1.96 + 1.43953) ** 2, rel=1e-4)
    assert times_needed([[one, two]]) == pytest.approx((1.96 + 1.03643) ** 2, rel=1e-4)  # any one suffices
    assert times_needed([[one], [normal(3.0)]]) == pytest.approx(times_needed([[one]]), rel=1e-4)  # it is free
    assert times_needed([[normal(4.0)]]) == 1.0
    assert times_needed([[one]], power=0.5) == pytest.approx(1.96**2, rel=1e-4)


def test_what_no_size_shows_is_left_out():
    certain = normal(0.001, error=0.0)
    assert times_needed([]) is None and times_needed([[normal(-1.0)], [certain]]) is None
    assert times_needed([[normal(-1.0)], [normal(1.0)]]) == times_needed([[normal(1.0)]])
    assert times_needed([[normal(-1.0).negated()]]) == times_needed([[normal(1.0)]])


def test_other_sizes_scale_as_the_interval_does():
    """All of a t or an anytime interval falls with the root; what `cressie-read` adds for the unseen, with the size."""
    wide = Estimate(1.0, 0.25, 0.2, 1.8, 0.95, 1000, "anytime")  # 0.8 = 3.2 · 0.25
    # 0.8 x + 1.0364 · 0.25 x = 1 at power 0.85.
    assert times_needed([[Demand(wide, 0.0, 0.0)]]) == pytest.approx((0.8 + 1.0364 * 0.25) ** 2, rel=1e-3)
    unseen = Estimate(0.5, 0.25, -0.3, 1.3, 0.95, 1000, "cressie-read")
    # 0.49 x + 0.31 x² + 0.2591 x = 0.5.
    x = (-0.7491 + np.sqrt(0.7491**2 + 4 * 0.31 * 0.5)) / (2 * 0.31)
    assert times_needed([[Demand(unseen, 0.0, 0.0)]]) == pytest.approx(x**-2, rel=1e-3)


def test_the_size_for_a_rare_harm_is_what_it_takes():
    """Harms of 0.4 % with exponential weights: 0.006 is ruled out in 85 % of 2,500 logs of the size that is named.

    γ = -6 / √(8 · 40) = -0.34 at 10,000 rows, and -0.26 at the size that is named. What the expansion leaves out is of
    the order of γ², 0.07, times the density 0.28; the simulation's own error is 0.008.
    """
    rng = np.random.default_rng(3)

    def drawn(n, logs):
        """Σ x and Σ x² in each log, of harms x."""
        count = rng.binomial(n, 0.004, logs)
        x = rng.exponential(1.0, (logs, count.max())) * (np.arange(count.max()) < count[:, None])
        return x.sum(axis=1), (x**2).sum(axis=1)

    # A log as it is expected, the exponential's quantiles for its 40 harms; its value told.
    x = np.zeros(10_000)
    x[:40] = -np.log1p(-(np.arange(40) + 0.5) / 40)
    psi = -(x - x.mean()) / len(x)
    gain = 0.006 - 0.004
    demand = Demand.of(interval(gain, psi, 0.95), psi)
    assert demand.skewness == pytest.approx(-0.34, abs=0.05)
    planned = 10_000 * times_needed([[demand]])
    plain = 10_000 * times_needed([[Demand(demand.bound, 0.0, 0.0)]])
    shown = {}
    for name, n in (("planned", int(planned)), ("plain", int(plain))):
        first, second = drawn(n, 2500)
        mean = first / n
        shown[name] = np.mean(0.006 - mean - 1.96 * np.sqrt((second / n - mean**2) / n) > 0.0)
    assert shown["planned"] == pytest.approx(0.85, abs=0.03)
    assert shown["plain"] < 0.82


def test_both_of_two_demands_are_shown_together(make_reports):
    """The decision's size counts what is open together; each sentence names its own."""
    rates = {"conversion": (0.10, 0.112), "unsubscribed": (0.02, 0.02)}
    harmless = {"rule": "non_inferiority", "margin": 0.3, "direction": "minimize"}
    objectives = {"conversion": {"rule": "superiority"}, "unsubscribed": harmless}
    decision = gate(*make_reports(rates), PromotionRules.from_dict({"estimator": "snips", "objectives": objectives}))
    alone = [item.times_needed for item in decision.comparisons]
    assert decision.verdict == "hold" and None not in alone
    assert max(alone) < decision.times_needed < (1.96 + 1.4395) ** 2 / (1.96 + 1.0364) ** 2 * max(alone) * 1.1


def test_what_must_be_decided(make_reports):
    """Any one objective that is better, or all of them where none is; nothing where only events are too few."""

    def decision(rates, **changes):
        objectives = {name: {"rule": "superiority"} for name in rates}
        values = {"estimator": "snips", "objectives": objectives} | changes
        return gate(*make_reports(rates), PromotionRules.from_dict(values))

    mixed = decision({"conversion": (0.10, 0.11), "visit": (0.30, 0.299)})
    assert mixed.times_needed == pytest.approx(mixed.comparisons[0].times_needed)
    neither = decision({"conversion": (0.11, 0.10), "visit": (0.31, 0.30)})
    assert neither.times_needed >= max(item.times_to_rule_out for item in neither.comparisons) > 1.0
    shown = decision({"conversion": (0.10, 0.15)}, min_events=10_000)
    assert shown.verdict == "hold" and shown.comparisons[0].passed and shown.times_needed is None
    assert GateDecision.from_dict(mixed.to_dict()) == mixed
