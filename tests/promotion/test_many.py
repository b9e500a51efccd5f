"""Several challengers: at most one is promoted, looking at many is paid for, and every hold says what would decide."""

import json
import re

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log.dataset import LoggedDataset
from homing.ope import evaluate_policy
from homing.promotion import GateDecision, ManyDecision, PromotionRules, gate, gate_many

RULES = PromotionRules.from_dict(
    {"estimator": "snips", "min_users": 2, "objectives": {"conversion": {"rule": "superiority"}}}
)


def uniform_log(rng, n, rates, users=None):
    """Arms drawn uniformly, each with its own rate of conversion."""
    rates = np.asarray(rates)
    k = len(rates)
    action = rng.integers(0, k, n)
    return LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, k, 1)), eligible=np.ones((n, k), bool), action=action,
        propensity=np.full(n, 1 / k), reward=(rng.random(n) < rates[action])[:, None], objectives=("conversion",),
        user=np.arange(n) if users is None else np.sort(rng.integers(0, users, n)), time=np.arange(n),
    )  # fmt: skip


def arms(log):
    """A report for each arm."""
    return [
        evaluate_policy(log, np.tile(np.eye(log.k)[arm], (log.n, 1)), policy=f"arm {arm}", estimators=("snips",))
        for arm in range(log.k)
    ]


def test_the_best_of_those_that_pass_is_promoted(rng):
    champion, *others = arms(uniform_log(rng, 12_000, [0.10, 0.15, 0.20, 0.10]))
    found = gate_many(others, champion, RULES)
    assert found.verdict == "promote" and found.promoted == "arm 2"
    assert [item.verdict for item in found.decisions] == ["hold", "promote", "hold"]
    assert found.decisions[0].reasons[0].startswith("It passes, but 'arm 2' is promoted")
    assert found.reasons[0] == "'arm 2' is promoted of 2 that pass."
    # 95 % for one challenger is 98.33 % for each of three.
    assert found.each_level == pytest.approx(1 - 0.05 / 3)
    assert all(item.level == found.each_level for item in found.decisions)
    assert ManyDecision.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    text, html = found.to_text(), found.to_html()
    assert text.startswith("Promote: 'arm 2' is promoted") and "<script" not in html
    # One forest of all, and for each challenger the demands, the values and the difference.
    assert html.count("<svg") == 1 + 3 * 3


def test_one_challenger_is_the_gate_itself(rng):
    champion, one = arms(uniform_log(rng, 4000, [0.10, 0.15]))
    found, alone = gate_many([one], champion, RULES), gate(one, champion, RULES)
    assert found.decisions == (alone,) and found.leader == "arm 1"
    assert (found.to_text(), found.to_html()) == (alone.to_text(), alone.to_html())


def test_none_passes(rng):
    champion, *others = arms(uniform_log(rng, 3000, [0.10, 0.10, 0.10]))
    found = gate_many(others, champion, RULES)
    assert found.verdict == "hold" and found.promoted is None
    # Who goes on to the registry: the one that came nearest.
    lower = {item.challenger: item.comparisons[0].bound.lower for item in found.decisions}
    assert found.leader == max(lower, key=lower.get)
    assert found.reasons[0] == "No challenger passes: the champion stays."
    strict = gate_many(others, champion, RULES.model_copy(update={"min_users": 10_000}))
    assert strict.verdict == "refuse" and strict.leader == "arm 1"
    strict.to_text(), strict.to_html()


def test_names_must_differ(rng):
    champion, one = arms(uniform_log(rng, 1000, [0.10, 0.15]))
    with pytest.raises(InvalidInputError, match=r"challengers == \['arm 1', 'arm 1'\], must have different names"):
        gate_many([one, one], champion, RULES)
    with pytest.raises(InvalidInputError, match=r"challengers == \[\], must have different names, at least one"):
        gate_many([], champion, RULES)


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        pytest.param((0.10, 0.112), r"about [\d.]+× this log would show it", id="a gain not yet shown"),
        pytest.param((0.112, 0.10), r"About [\d.]+× this log would show that it does not hold", id="on the wrong side"),
    ],
)
def test_every_hold_says_what_would_decide_it(make_reports, rates, says):
    decision = gate(*make_reports({"conversion": rates}), RULES)
    assert decision.verdict == "hold"
    (item,) = decision.comparisons
    # (1.96 + 1.04)² · (se / difference)², on either side; the interval is not quite normal.
    expected = (1.96 + 1.036) ** 2 * (item.bound.std_error / item.bound.value) ** 2
    assert decision.times_needed == pytest.approx(expected, rel=0.1)
    assert decision.to_dict()["times_needed"] == decision.times_needed
    (said,) = [reason for reason in decision.reasons if "would decide" in reason]
    # Two significant digits of each number.
    users, rows = (float(f"{decision.times_needed * count:.1e}") for count in (decision.n_users, decision.n))
    assert said.startswith(f"About {decision.times_needed:.1f}× this log would decide, if effects are as estimated: ")
    assert f": {rows:,.0f} decisions of {users:,.0f} users like these." in said and "experiment" not in said
    assert re.search(says, item.sentence)


@pytest.mark.parametrize(
    ("rates", "begins"),
    [
        pytest.param((0.10, 0.102), r"About \d\d\d?× this log would decide, .*: [\d,]+,000 decisions of", id="far"),
        pytest.param((0.10, 0.1001), r"More than 1,000× this log would be needed to decide", id="out of reach"),
    ],
)
def test_where_no_log_will_decide_an_experiment_is_the_next_step(make_reports, rates, begins):
    decision = gate(*make_reports({"conversion": rates}, n=20_000), RULES)
    (said,) = [reason for reason in decision.reasons if re.match(begins, reason)]
    assert said.endswith(
        "Do not wait for that many: let an A/B experiment give the challenger some of the users (`homing experiment "
        "plan` says how many), and count what happens to them."
    )


def test_a_log_that_shows_it_is_worse_has_decided(make_reports):
    decision = gate(*make_reports({"conversion": (0.20, 0.10)}), RULES)
    assert decision.verdict == "hold" and decision.times_needed == 1.0
    assert "This log decides it: more of the same data would not change the answer." in decision.reasons


def test_no_event_at_all_has_a_size_too(make_reports):
    rules = RULES.model_copy(update={"guardrails": {"unsubscribed": _guardrail(0.5)}})
    decision = gate(*make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.0, 0.0)}), rules)
    assert decision.verdict == "hold" and any("(at least 3.3× this log)" in reason for reason in decision.reasons)


def _guardrail(limit):
    from homing.promotion import Guardrail

    return Guardrail(limit=limit)


def test_demands_are_in_the_report(make_reports):
    decision = gate(*make_reports({"conversion": (0.10, 0.15)}), RULES)
    found = {item.name: (item.value, item.limit, item.direction, item.met) for item in decision.requirements}
    assert found["users"] == (4000.0, 2.0, "at least", True)
    assert found["effective sample size"] == (2000.0, 100.0, "at least", True)
    assert found["effective users with an event of conversion"] == (200.0, 10.0, "at least", True)
    assert found["share of choices never made in the log"] == (0.0, 0.05, "at most", True)
    assert GateDecision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    refused = gate(*make_reports({"conversion": (0.10, 0.15)}), RULES.model_copy(update={"min_users": 5000}))
    assert not refused.requirements[0].met and "#b91c1c" in refused.to_html()


@pytest.mark.slow
def test_error_rate_and_power():
    """Of 300 logs with three challengers that are no better, any is promoted in at most 5 %: at the level's 2.5 % 7.5
    are expected, 7.5 + 3 · sqrt(300 · 0.025 · 0.975) = 15.6 are not exceeded. At the planned size of one challenger,
    n = k (1.96 + 0.84)² Σ p (1 - p) / gain² per decision for k arms, a gain of 0.03 is promoted in at least 80 % of 200
    logs less 2 standard errors: 160 - 11."""
    rng = np.random.default_rng(11)
    promoted = 0
    for _ in range(300):
        champion, *others = arms(uniform_log(rng, 1200, [0.2] * 4, users=500))
        promoted += gate_many(others, champion, RULES).promoted is not None
    assert promoted <= 15
    planned = int(2 * (1.96 + 0.8416) ** 2 * (0.2 * 0.8 + 0.23 * 0.77) / 0.03**2)
    shown = 0
    for _ in range(200):
        champion, better = arms(uniform_log(rng, planned, [0.2, 0.23]))
        shown += gate(better, champion, RULES).verdict == "promote"
    assert shown >= 149
