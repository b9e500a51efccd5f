"""Prices: what they make of a request, which budgets a message uses, a file that is what was published."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.errors import ArtifactError, InvalidInputError
from homing.planning import PricedBudget, Prices, load_prices, save_prices
from homing.planning.prices import uses_of

START = datetime(2026, 11, 23, tzinfo=UTC)


def test_the_best_after_prices_is_sent_and_silence_where_nothing_is_above_0():
    push, opt_outs = PricedBudget("push", 10, 0.2), PricedBudget("opt-outs", 1, 3.0, amount="feature.p")
    prices = Prices((push, opt_outs), START)
    uses = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 0.1]])
    # 1.0 − 0.2 − 0.3, 0.6 − 0.2, 0.8 − 0.3
    np.testing.assert_allclose(prices.adjusted(np.array([1.0, 0.6, 0.8]), uses), [0.5, 0.4, 0.5])
    assert prices.choose(np.array([1.0, 0.6, 0.8]), uses) == 0  # the first of two equal ones
    assert prices.choose(np.array([0.5, 0.2, 0.3]), uses) is None  # at most 0 each
    assert prices.choose(np.empty(0), np.empty((0, 2))) is None


def test_a_floor_is_a_subsidy():
    prices = Prices((PricedBudget("launch", 10, 0.4, {"campaign": "launch"}, floor=True),), START)
    assert prices.choose(np.array([-0.3, 0.05]), np.array([[1.0], [0.0]])) == 0
    assert prices.limits.tolist() == [float("inf")]
    assert prices.at(np.array([-0.1])).budgets[0].price == 0.1
    assert prices.at(np.array([0.1])).budgets[0].price == 0.0  # a floor never costs


def test_a_message_uses_the_budgets_that_select_it():
    budgets = (
        PricedBudget("all", 9, 0.0),
        PricedBudget("push", 9, 0.0, {"channel": "push"}),
        PricedBudget("push, morning", 9, 0.0, {"hour": ("8", "9"), "channel": "push"}),
        PricedBudget("gold", 9, 0.0, {"context.tier": "gold"}),
        PricedBudget("cents", 9, 0.0, {"channel": "sms"}, amount="feature.cents"),
    )
    prices = Prices(budgets, START)
    labels = [
        {"channel": "push", "hour": "9"},
        {"channel": "push", "hour": "10", "context.tier": "gold"},
        {"channel": "sms"},
        {"channel": "sms"},
    ]
    uses = uses_of(prices, labels, [{}, {}, {"feature.cents": 2.5}, {"feature.cents": -1.0}])
    assert uses.tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 0, 0, 0, 2.5], [1, 0, 0, 0, 0]]
    with pytest.raises(InvalidInputError, match=r"candidates\[0\] feature.cents == None, must be a finite number"):
        uses_of(prices, [{"channel": "sms"}], [{}])


def test_time_is_measured_in_expected_traffic_and_the_horizon_repeats():
    prices = Prices((), START, hours=24, traffic=(0.0, 1.0, 3.0, 0.0))
    hours = [0, 6, 9, 12, 16, 18, 23.9]
    elapsed = [prices.elapsed(START + timedelta(hours=hour)) for hour in hours]
    assert elapsed == pytest.approx([0, 0, 0.125, 0.25, 0.75, 1.0, 1.0])
    assert prices.elapsed(START + timedelta(days=3, hours=9)) == pytest.approx(0.125)
    assert prices.elapsed(START - timedelta(hours=12)) == pytest.approx(0.25)
    assert prices.period(START - timedelta(seconds=1)) == "2026-11-22T00:00:00Z/24h"
    abroad = Prices((), START.astimezone(timezone(timedelta(hours=5))), traffic=(1.0,))
    assert abroad.period(START) == "2026-11-23T00:00:00Z/24h"


@given(st.floats(0, 1e9), st.floats(0, 1e3), st.sampled_from(["push", "e-mail ✉", 'a"b']), st.booleans())
def test_a_file_gives_equal_prices_back(tmp_path_factory, limit, price, name, floor):
    path = tmp_path_factory.getbasetemp() / "prices.json"
    budget = PricedBudget(name, limit, price, {"channel": (name, "b"), "hour": "9"}, floor=floor, planned=limit / 2)
    prices = Prices((budget,), START, traffic=(1.0, 2.0), policy="0" * 64, source={"plan": [1, None]})
    digest = save_prices(prices, path)
    again = load_prices(path, digest=digest)
    assert again == prices
    assert again.digest == digest and again.version.endswith(digest[:12])


def test_prices_from_before_there_was_something_to_learn_keep_their_digest(tmp_path):
    """The digest is what the release before computed."""
    path = tmp_path / "prices.json"
    old = Prices((PricedBudget("push", 5, 0.2),), START)
    assert save_prices(old, path) == "d1a7b3664c21e28819b94ac736396b5b1275d354810cb5f1da627ead7e32ae2d"
    assert "returns" not in json.loads(path.read_text()) and load_prices(path) == old
    learnt = replace(old, returns=0.25)
    assert save_prices(learnt, path) != old.digest and load_prices(path).returns == 0.25


BROKEN = {
    "another price": (lambda d: d["budgets"][0].update(price=0.3), "digest of .* must be"),
    "another budget's name": (lambda d: d["budgets"][0].update(name="x"), "digest of"),
    "negative": (lambda d: d["budgets"][0].update(limit=-1), r"budgets\['push'\].limit == -1, must be a finite number"),
    "another format": (lambda d: d.update(format=2), "format of .* == 2, must be 1"),
    "a key more": (lambda d: d.update(extra=1), "key == 'extra', is not a key of prices"),
    "a key less": (lambda d: d.pop("hours"), "key == 'hours', is missing"),
    "no time": (lambda d: d.update(start="soon"), "Invalid isoformat"),
    "surer than sure": (lambda d: d.update(returns=1.0), r"returns == 1.0, must be in \[0, 1\)"),
    "no list": (lambda d: d.update(budgets=3), "not iterable"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_changed_file_is_refused(case, tmp_path):
    change, message = BROKEN[case]
    path = tmp_path / "prices.json"
    save_prices(Prices((PricedBudget("push", 5, 0.2),), START), path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=message):
        load_prices(path)


def test_what_is_no_file_of_prices_is_refused(tmp_path):
    path = tmp_path / "prices.json"
    for text in ("", "[]", '{"format": 1, "hours": NaN}', "{" * 50_000):
        path.write_text(text)
        with pytest.raises(ArtifactError, match="must be a JSON object"):
            load_prices(path)
    with pytest.raises(ArtifactError, match="must be a JSON object"):
        load_prices(tmp_path / "missing.json")
    save_prices(Prices((), START), path)
    with pytest.raises(ArtifactError, match="must be 1234"):
        load_prices(path, digest="1234")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"price": float("nan")}, r"budgets\['b'\].price == nan, must be a finite number >= 0"),
        ({"limit": True}, r"budgets\['b'\].limit == True"),
        ({"counts": {"chanel": "push"}}, r"budgets\['b'\].counts == 'chanel', must be one of message_id, campaign"),
        ({"counts": {"channel": ()}}, r"budgets\['b'\].counts.channel == \(\), must be a text, or several"),
        ({"amount": "cents"}, r"budgets\['b'\].amount == 'cents', must be feature.NAME or objective.NAME"),
        ({"elasticity": 0.0}, r"budgets\['b'\].elasticity == 0.0, must be a finite number > 0"),
        ({"name": ""}, r"budget.name == '', must be a text that is not empty, without space around it"),
        ({"name": " 7"}, r"budget.name == ' 7', must be a text that is not empty, without space around it"),
    ],
)
def test_a_wrong_budget_cannot_be_built(keys, message):
    with pytest.raises(InvalidInputError, match=message):
        PricedBudget(**{"name": "b", "limit": 1, "price": 0.0, **keys})


def test_wrong_prices_cannot_be_built():
    one = PricedBudget("b", 1, 0.0)
    with pytest.raises(InvalidInputError, match=r"budget\.name == 'b', must be unique"):
        Prices((one, one), START)
    with pytest.raises(InvalidInputError, match="must carry its time zone"):
        Prices((one,), datetime(2026, 11, 23))
    with pytest.raises(InvalidInputError, match="traffic == "):
        Prices((one,), START, traffic=(0.0, 0.0))
    with pytest.raises(InvalidInputError, match="hours == 0"):
        Prices((one,), START, hours=0)
    with pytest.raises(InvalidInputError, match="source == "):
        save_prices(Prices((one,), START, source={"a": object()}), "never-written.json")


def test_prices_need_numpy_alone():
    """homing.decisions loads them in an image without numba, SciPy and Polars."""
    code = "import sys, homing.planning; print({'numba', 'scipy', 'polars', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
