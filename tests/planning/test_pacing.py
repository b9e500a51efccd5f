"""Pacers are closed forms of what was used; replays keep every budget and come near to hindsight."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homing.errors import InvalidInputError, UnknownNameError
from homing.planning import (
    Budget,
    FixedPrices,
    Floor,
    MirrorDescent,
    PlanningProblem,
    PricedBudget,
    Prices,
    RemainingRatio,
    UserOffsets,
    publish,
    replay,
    solve,
)
from homing.planning.pacing import SLICES, since, slice_of

START = datetime(2026, 11, 23, tzinfo=UTC)


def came(elapsed, rate=1.0):
    """Requests in each slice, of a forecast of 1,000 times a steady rate."""
    return 1000.0 * rate * np.diff(np.minimum(np.arange(SLICES + 1) / SLICES, elapsed))


def prices_of(*budgets, **keys):
    return Prices(budgets, START, traffic=(1000.0,), **keys)


ONE = prices_of(PricedBudget("b", 100, 0.5), value_scale=1.0)
PACERS = {"mirror": MirrorDescent(), "remaining": RemainingRatio()}


@pytest.mark.parametrize("pacer", PACERS.values(), ids=PACERS)
def test_at_forecast_pace_prices_are_the_planned_ones(pacer):
    for share in (0.0, 0.3, 0.9):
        got = pacer.signed(ONE, elapsed=share, requests=came(share), used=np.array([100 * share]))
        assert got == pytest.approx([0.5])


@pytest.mark.parametrize("pacer", PACERS.values(), ids=PACERS)
def test_use_ahead_of_pace_raises_and_behind_it_lowers_the_price(pacer):
    ahead = pacer.signed(ONE, elapsed=0.5, requests=came(0.5), used=np.array([60.0]))
    behind = pacer.signed(ONE, elapsed=0.5, requests=came(0.5), used=np.array([40.0]))
    assert behind[0] < 0.5 < ahead[0]
    # A floor that is ahead needs less of a subsidy.
    floor = prices_of(PricedBudget("f", 100, 0.5, floor=True))
    ahead = pacer.signed(floor, elapsed=0.5, requests=came(0.5), used=np.array([60.0]))
    behind = pacer.signed(floor, elapsed=0.5, requests=came(0.5), used=np.array([40.0]))
    assert behind[0] < -0.5 < ahead[0] <= 0


def test_mirror_descent_is_its_own_recursion():
    """λ_{t+1} = λ_t exp(−η (ρ − u_t)) step by step, with η = step / budget and ρ = budget / requests."""
    rng = np.random.default_rng(0)
    price, used, step = 0.5, 0.0, 10.0
    for _ in range(400):
        unit = float(rng.random() < 0.14)
        price *= math.exp(-step / 100 * (100 / 1000 - unit))
        used += unit
    got = MirrorDescent(step).signed(ONE, elapsed=0.4, requests=came(0.4), used=np.array([used]))
    assert got == pytest.approx([price])


def test_the_remaining_ratio_by_hand():
    """40 left where 50 are needed: t = ln 1.25, elasticity 2 gives (0.5 + 0.1) · √1.25 − 0.1."""
    one = prices_of(PricedBudget("b", 100, 0.5, elasticity=2.0))
    got = RemainingRatio().signed(one, elapsed=0.5, requests=came(0.5), used=np.array([60.0]))
    assert got == pytest.approx([0.6 * math.sqrt(1.25) - 0.1])
    # Twice the traffic, which goes on: needed = 100, up to the prior.
    twice = RemainingRatio(prior=1e-9, returns=0.0).signed(
        one, elapsed=0.5, requests=came(0.5, 2.0), used=np.array([50.0])
    )
    assert twice == pytest.approx([0.6 * math.sqrt(2.0) - 0.1])


def test_what_is_still_to_come_by_hand():
    """0.35 of the forecast at noon: 0.35 more if the rate goes on, 0.65 if it is made up for, at 1.3 times the rate.

    With a spread of ln 1.3 the odds of the second are 0.5 · e^(−1/2) = 0.303265, its share 0.232696, and
    0.5 · 1.3^0.232696 · 0.7^0.767304 = 0.404229."""
    late = 0.7 * 1000 / 24  # the slice before noon has begun at 11
    pacer = RemainingRatio(returns=0.5, spread=math.log(1.3), prior=1e-9)
    at_noon = {"elapsed": 0.5, "requests": 350.0, "recent": late}
    assert pacer.still_to_come(1000.0, **at_noon) == pytest.approx(0.404229, abs=1e-6)
    assert RemainingRatio(returns=0.0, prior=1e-9).still_to_come(1000.0, **at_noon) == pytest.approx(0.35)
    sure = RemainingRatio(returns=1 - 1e-9, prior=1e-9).still_to_come(1000.0, **at_noon)
    assert sure == pytest.approx(0.65)
    # 100 that the forecast counts for, against 41.7 expected: 29.2 came of late, and at 450/600 all day.
    wary = RemainingRatio(returns=0.0, prior=100.0).still_to_come(1000.0, **at_noon)
    assert wary == pytest.approx(0.5 * (late + 75.0) / (1000 / 24 + 100.0))
    assert pacer.still_to_come(1000.0, elapsed=1.0, requests=350.0, recent=0.0) == 0.0


@pytest.mark.parametrize("returns", [0.0, 0.3, 0.9])
def test_after_a_turn_both_reasons_say_the_same(returns):
    """0.35 until noon, 1.3 times the forecast's rate since: 0.52 are left at 0.6, whatever was believed before."""
    pacer = RemainingRatio(returns=returns, prior=1e-9)
    begin = since(0.6)  # 13 / 24
    got = pacer.still_to_come(1e4, elapsed=0.6, requests=4800.0, recent=1.3e4 * (0.6 - begin))
    assert got == pytest.approx(0.52)


@given(st.floats(0.02, 0.98), st.floats(0.3, 2.0))
def test_requests_that_were_fewer_or_early_are_less_likely_to_be_made_up_for_as_the_day_ends(elapsed, rate):
    """The estimate lies between what both reasons say, and comes to the rate of late."""
    pacer = RemainingRatio(prior=1e-9)
    come = {"requests": 1e6 * rate * elapsed, "recent": 1e6 * rate * (elapsed - since(elapsed))}
    got = pacer.still_to_come(1e6, elapsed=elapsed, **come)
    goes_on, made_up = rate * (1 - elapsed), max(1 - rate * elapsed, 1e-3 * (1 - elapsed))
    assert min(goes_on, made_up) * (1 - 1e-9) <= got <= max(goes_on, made_up) * (1 + 1e-9)
    last = pacer.still_to_come(
        1e6, elapsed=0.999, requests=1e6 * rate * 0.999, recent=1e6 * rate * (0.999 - since(0.999))
    )
    assert last == pytest.approx(0.001 * rate, rel=2e-2)


SCHEDULE = ((1.0, (0.5, 0.2)), (1.25, (0.8, 0.6)), (1.3, (0.9, 0.7)), (10.0, (2.0, 2.0)))
TWO = prices_of(PricedBudget("a", 100, 0.5), PricedBudget("b", 10, 0.2), schedule=SCHEDULE)


@pytest.mark.parametrize("common", [1.0, 3.0])
def test_use_that_traffic_does_not_explain_moves_all_prices_together(common):
    """Requests come as forecast, and both are used up so far that t = T = ln 1.25."""
    got = RemainingRatio(common=common).signed(TWO, elapsed=0.5, requests=came(0.5), used=np.array([60.0, 6.0]))
    assert got == pytest.approx([0.5 * 1.25**common, 0.2 * 1.25**common])


@pytest.mark.parametrize("common", [1.0, 3.0])
def test_use_that_traffic_explains_is_answered_by_the_schedule_alone(common):
    """30 % more requests all day, half of the budgets used at noon: 0.65 of the forecast are left for the rest."""
    pacer = RemainingRatio(common=common, returns=0.0, prior=1e-9)
    assert pacer.as_planned(1000.0, elapsed=0.5, requests=came(0.5, 1.3)) == pytest.approx((0.65, 0.5))
    got = pacer.signed(TWO, elapsed=0.5, requests=came(0.5, 1.3), used=np.array([50.0, 5.0]))
    assert got == pytest.approx([0.9, 0.7])


def test_what_would_be_left_as_planned_by_hand():
    """0.7 of the forecast's rate until noon, when half is left, whatever the rate; then 1.3 for an hour, which takes a
    twelfth of that, as twelve such hours were left."""
    pacer = RemainingRatio(returns=0.0, prior=1e-9)
    requests = came(0.5, 0.7) + came(13 / 24, 1.3) - came(0.5, 1.3)
    rest, left = pacer.as_planned(1000.0, elapsed=13 / 24, requests=requests)
    assert rest == pytest.approx(1.3 * 11 / 24)
    assert left == pytest.approx(0.5 * 11 / 12)


def test_a_free_budget_gets_a_price_only_when_it_runs_short():
    free = prices_of(PricedBudget("b", 100, 0.0, planned=60))
    at = RemainingRatio().signed
    assert at(free, elapsed=0.5, requests=came(0.5), used=np.array([45.0])) == pytest.approx([0.0])  # 55 left for 30
    assert at(free, elapsed=0.5, requests=came(0.5), used=np.array([80.0]))[0] > 0  # 20 left for 30


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1e6), st.sampled_from(list(PACERS)))
def test_prices_are_finite_whatever_happened(elapsed, requests, late, used, pacer):
    both = prices_of(PricedBudget("b", 100, 0.5), PricedBudget("f", 0, 0.5, floor=True), PricedBudget("z", 0, 0.0))
    each = np.zeros(SLICES)
    each[0] = requests * (1 - late)
    each[slice_of(elapsed)] += requests * late
    got = PACERS[pacer].signed(both, elapsed=elapsed, requests=each, used=np.full(3, used))
    assert np.isfinite(got).all()
    assert got[0] >= 0 >= got[1]


# Replays ---------------------------------------------------------------------------------------------------------


def stream_of(n, seed, limits, k=6):
    rng = np.random.default_rng(seed)
    value = rng.gamma(2.0, 0.5, (n, 1)) * rng.gamma(1.0, 1.0, (n, k))
    return PlanningProblem(
        UserOffsets(np.arange(0, n * k + 1, k)),
        value.ravel(),
        {"channel": rng.integers(0, 3, n * k), "campaign": rng.integers(0, 4, n * k)},
        {"opt_outs": rng.gamma(0.5, 0.02, n * k)},
        limits,
    )


LIMITS = [
    *(Budget(400.0 * (1 + c), {"channel": c}) for c in range(3)),
    *(Budget(600.0, {"campaign": c}) for c in range(4)),
    Budget(8.0, cost="opt_outs"),
]


@pytest.fixture(scope="module")
def published():
    problem = stream_of(8000, 1, LIMITS)
    return publish(problem, solve(problem), start=START)


@pytest.mark.parametrize(
    ("traffic", "early", "bar"),
    [(1.0, 0.5, 0.99), (1.3, 0.5, 0.98), (0.7, 0.5, 0.98), (1.0, 0.35, 0.98), (1.0, 0.65, 0.98)],
    ids=["as forecast", "+30%", "-30%", "late", "early"],
)
def test_a_day_comes_near_to_hindsight_and_keeps_every_budget(published, traffic, early, bar):
    """The noise of a budget of B units is about 1/√B of it, and value is lost in proportion where prices stand still:
    5 % of budgets of 400 to 1,200. Pacing leaves a fraction of that; at 150,000 requests it is below 0.2 %."""
    n = int(8000 * traffic)
    stream, first = stream_of(n, 2, LIMITS), int(early * n)
    clock = np.concatenate([np.arange(first) / first / 2, 0.5 + np.arange(n - first) / (n - first) / 2])
    done = replay(stream, published, elapsed=clock)
    assert bar <= done.share <= 1.0
    for limit in LIMITS:
        assert done.used[limit.label] <= limit.limit
    if traffic != 1.0:
        assert replay(stream, published, FixedPrices(), hindsight=done.hindsight).share < done.share
    again = replay(stream, published, elapsed=clock, hindsight=done.hindsight)
    assert again == done  # nothing in it is left to chance


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0), st.integers(0, 30))
def test_hard_stops_hold_at_any_prices_and_at_any_block(seed, price, limit):
    """Against the same rule in plain Python, request by request."""
    rng = np.random.default_rng(seed)
    n, k = 40, 3
    limits = [Budget(limit, {"channel": 0}), Budget(limit / 7, cost="risk")]
    stream = PlanningProblem(
        UserOffsets(np.arange(0, n * k + 1, k)), rng.normal(1, 1, n * k), {"channel": rng.integers(0, 2, n * k)},
        {"risk": rng.random(n * k)}, limits,
    )  # fmt: skip
    prices = prices_of(PricedBudget("channel=0", limit, price), PricedBudget("risk", limit / 7, price / 2))
    done = replay(stream, prices, FixedPrices(), block=7, hindsight=1.0)
    used, total = [0.0, 0.0], 0.0
    for u in range(n):
        best, top = None, 0.0
        for i in range(u * k, u * k + k):
            units = [float(stream.codes["channel"][i] == 0), float(stream.costs["risk"][i])]
            worth = float(stream.value[i]) - units[0] * price - units[1] * price / 2
            fits = all(not x or y + x <= z.limit for x, y, z in zip(units, used, limits, strict=True))
            if fits and worth > top:
                best, top = (i, units), worth
        if best is not None:
            total += float(stream.value[best[0]])
            used = [x + y for x, y in zip(used, best[1], strict=True)]
    assert done.value == pytest.approx(total)
    assert list(done.used.values()) == pytest.approx(used)
    assert all(y <= z.limit for y, z in zip(done.used.values(), limits, strict=True))


def test_a_stop_is_told():
    stream = PlanningProblem([0, 1, 2, 3], [1.0, 1.0, 1.0, 1.0], budgets=[Budget(1)])
    done = replay(stream, prices_of(PricedBudget("messages", 1, 0.2)), FixedPrices())
    assert (done.value, done.sent, done.stopped, done.first_stop) == (1.0, 1, {"messages": 3}, {"messages": 0.25})
    assert done.to_dict()["share"] == pytest.approx(1.0)


def test_published_prices_speak_the_words_of_requests():
    problem = PlanningProblem(
        user=[0, 1, 2, 3], value=[4.0, 3.0, 2.0, 1.0], codes={"channel": [0, 0, 0, 0], "hour": [9, 9, 10, 10]},
        costs={"opt_outs": [0.5] * 4}, segments={"tier": [0, 1, 0, 1]}, names={"channel": ["push"]},
        budgets=[Budget(3, {"channel": "push", "hour": [9, 10]}), Budget(1.1, cost="opt_outs"), Budget(1, {"tier": 1})],
        floors=[Floor(1, {"hour": 10}, name="ten")],
    )  # fmt: skip
    prices = publish(problem, solve(problem), start=START, amounts={"opt_outs": "objective.unsubscribed"})
    assert [dict(item.counts) for item in prices.budgets] == [
        {"channel": "push", "hour": ("9", "10")}, {}, {"context.tier": "1"}, {"hour": "10"},
    ]  # fmt: skip
    assert [item.amount for item in prices.budgets] == [None, "objective.unsubscribed", None, None]
    assert [item.floor for item in prices.budgets] == [False, False, False, True]
    assert dict(prices.schedule)[1.0] == tuple(item.price for item in prices.budgets)
    assert sum(prices.traffic) == 4.0


@pytest.mark.parametrize("limit", [1100, 1250, 1500, 1900])
def test_among_equal_values_a_price_tells_how_many_of_them_are_sent(limit):
    """1,000 requests each of 0.1, 0.2 and 0.3: all of 0.3 and limit − 1000 of 0.2 fit. Spread evenly by 2 % of the
    mean planned value, so many lie above 0.2 + width · (1/2 − share). The quantile of 1,000 draws has a standard
    deviation of width · √(share (1 − share) / 1000); four of them."""
    problem = PlanningProblem(np.arange(3000), np.tile([0.1, 0.2, 0.3], 1000), budgets=[Budget(limit)])
    prices = publish(problem, solve(problem), start=START)
    share = (limit - 1000) / 1000
    width = 0.02 * (300 + 0.2 * (limit - 1000)) / limit
    off = 4 * width * math.sqrt(share * (1 - share) / 1000)
    assert prices.budgets[0].price == pytest.approx(0.2 + width * (0.5 - share), abs=off)
    assert replay(problem, prices).share > 0.995  # at 0.2 itself, nothing or all of them


def test_values_that_noise_makes_equal_are_no_mistake_of_the_users():
    """Values are spread before prices are looked for; in float32 two of 40 that are nearly alike fall together."""
    value = np.tile(0.1 + 1e-5 * np.arange(40), 3000)
    problem = PlanningProblem(np.repeat(np.arange(3000), 40), value, budgets=[Budget(3000)], max_per_user=2)
    prices = publish(problem, solve(problem), start=START)
    assert prices.budgets[0].price == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("names", "hour", "odd"), [({}, 30, "30"), ({"hour": ["08", "09"]}, 1, "09")], ids=["of a week", "with a zero"]
)
def test_hours_that_no_request_has_are_not_published(names, hour, odd):
    """They would never be counted: a budget without a price and without a hard stop."""
    problem = PlanningProblem(
        [0, 1], [1.0, 2.0], {"hour": [hour, hour]}, budgets=[Budget(1, {"hour": hour})], names=names
    )
    with pytest.raises(InvalidInputError, match=rf"hour of limit 'hour={hour}' == '{odd}', must be in '0' … '23'"):
        publish(problem, solve(problem), start=START)


def test_the_schedule_rises_with_traffic_where_budgets_bind(published):
    levels = np.array([row for _, row in published.schedule])
    binding = levels[3] > 0
    assert binding.sum() >= 5
    # Twice the traffic makes every binding budget dearer than half of it.
    assert (levels[-1] > levels[0])[binding].all()
    assert all(0.3 <= item.elasticity <= 3.0 for item in published.budgets)


def test_what_cannot_be_replayed_is_refused(published):
    stream = stream_of(10, 0, LIMITS)
    with pytest.raises(InvalidInputError, match=r"limits of the stream == .* must be \['channel=0'"):
        replay(stream_of(10, 0, LIMITS[1:]), published)
    with pytest.raises(InvalidInputError, match=r"elapsed == .*, must rise within \[0, 1\]"):
        replay(stream, published, elapsed=np.linspace(1, 0, 10))
    with pytest.raises(UnknownNameError, match="column of limit 'color=1' == 'color', must be one of"):
        publish(
            (odd := PlanningProblem([0], [1.0], {"color": [1]}, budgets=[Budget(1, {"color": 1})])), solve(odd),
            start=START,
        )  # fmt: skip


def test_a_pacer_believes_what_prices_learnt_unless_it_is_told():
    """At noon, of 350 requests where 500 were expected: the more of them return, the dearer a budget stays."""
    now = {"elapsed": 0.5, "requests": came(0.5, rate=0.7), "used": np.array([35.0])}
    unknown, learnt = prices_of(ONE.budgets[0]), prices_of(ONE.budgets[0], returns=0.9)

    def at(prices, **keys):
        return RemainingRatio(**keys).signed(prices, **now)[0]

    assert at(learnt) == at(unknown, returns=0.9) == at(learnt, returns=0.9) > at(unknown)
    assert at(unknown) == at(unknown, returns=0.3) == at(learnt, returns=0.3) > at(learnt, returns=0.0)
    assert at(prices_of(ONE.budgets[0], returns=0.0)) == at(unknown, returns=0.0)
    assert at(learnt, common=1.0) == at(unknown, common=1.0, returns=0.9)


@pytest.mark.parametrize("keys", [{"step": 0.0}], ids=str)
def test_settings_have_bounds(keys):
    with pytest.raises(InvalidInputError, match=r"step == 0\.0, must be a finite number > 0"):
        MirrorDescent(**keys)
    with pytest.raises(InvalidInputError, match=r"returns == 1.0, must be in \[0, 1\)"):
        RemainingRatio(returns=1.0)
