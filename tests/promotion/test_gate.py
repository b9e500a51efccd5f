"""The gate: every branch, its sentences, and how often it promotes by chance."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.log.dataset import LoggedDataset
from homing.ope import evaluate_policy
from homing.ope.intervals import Contributions, Part, get_interval
from homing.promotion import GateDecision, ManyDecision, PromotionRules, gate, gate_reports


def rules(**changes):
    values = {"estimator": "snips", "objectives": {"conversion": {"rule": "superiority"}}} | changes
    return PromotionRules.from_dict(values)


SAFE = {
    "conversion": {"rule": "superiority"},
    "unsubscribed": {"rule": "non_inferiority", "margin": 0.3, "direction": "minimize"},
}


def test_a_better_challenger_is_promoted(make_reports):
    decision = gate(*make_reports({"conversion": (0.10, 0.15)}), rules())
    assert decision.verdict == "promote"
    (item,) = decision.comparisons
    assert item.passed and item.times_needed is None
    assert item.difference.value == pytest.approx(0.05, abs=1e-12)
    # Two independent halves of 2,000: the standard error of the difference of two proportions.
    expected = np.sqrt(0.10 * 0.90 / 2000 + 0.15 * 0.85 / 2000)
    assert item.difference.std_error == pytest.approx(expected, rel=1e-3)
    assert decision.reasons[0] == item.sentence
    assert item.sentence.startswith(
        "conversion goes up from 0.1000 to 0.1500 (+50.0%), difference 0.0500, 95% interval"
    )
    assert item.sentence.endswith(": better.")


def test_a_small_gain_is_held_with_the_size_that_would_show_it(make_reports):
    decision = gate(*make_reports({"conversion": (0.10, 0.11)}), rules(interval="cluster-t"))
    assert decision.verdict == "hold"
    (item,) = decision.comparisons
    # (1.96 + 1.036)² · (se / gain)², se² = (0.09 + 0.0979) / 2000.
    assert item.times_needed == pytest.approx((1.96 + 1.036) ** 2 * (0.1879 / 2000) / 0.01**2, rel=0.01)
    assert (
        item.sentence.startswith("conversion is 0.110 against 0.100 (+10.0%)") or "is 0.1100 against" in item.sentence
    )
    assert "not shown to be better. If the effect is as estimated, about 8.4× this log would show it." in item.sentence


def test_what_is_noted_of_the_challenger_stands_with_a_hold(make_reports):
    challenger, champion = make_reports({"conversion": (0.10, 0.11)})
    noted = replace(challenger, notes=("10% of the choices are drawn uniformly.",))
    decision = gate(noted, champion, rules())
    assert decision.verdict == "hold"
    assert decision.reasons[-1] == "About the challenger: 10% of the choices are drawn uniformly."


def test_that_size_is_what_it_takes(make_reports):
    """With the named factor of rows the same rates are shown: the estimate lies beyond the half width."""
    small = gate(*make_reports({"conversion": (0.10, 0.11)}), rules())
    times = small.comparisons[0].times_needed
    assert (
        gate(*make_reports({"conversion": (0.10, 0.11)}, n=int(4000 * times / 200) * 200), rules()).verdict == "promote"
    )


def test_a_worse_challenger_is_held_and_told_that_data_will_not_help(make_reports):
    decision = gate(*make_reports({"conversion": (0.15, 0.10)}), rules())
    assert decision.verdict == "hold"
    assert "goes down from 0.1500 to 0.1000" in decision.reasons[0]
    assert "not better; higher is better, and more data alone would not change that" in decision.reasons[0]


def test_the_same_policy_is_held(make_reports):
    _, champion = make_reports({"conversion": (0.10, 0.15)})
    decision = gate(champion, champion, rules())
    assert decision.verdict == "hold"
    assert decision.reasons[0].startswith("conversion is the same for both, 0.1: not better")


@pytest.mark.parametrize(
    ("margin", "kind", "verdict"),
    [
        pytest.param(0.02, "absolute", "promote", id="a small absolute margin"),
        pytest.param(0.045, "absolute", "hold", id="a large absolute margin"),
        pytest.param(0.2, "relative", "promote", id="a small relative margin"),
        pytest.param(0.45, "relative", "hold", id="a large relative margin"),
    ],
)
def test_superiority_by_a_margin(make_reports, margin, kind, verdict):
    objective = {"rule": "superiority", "margin": margin, "margin_kind": kind}
    decision = gate(*make_reports({"conversion": (0.10, 0.15)}), rules(objectives={"conversion": objective}))
    assert decision.verdict == verdict
    assert "by more than" in decision.reasons[0]


def test_relative_margin_counts_the_champions_own_error(make_reports):
    """Bound = challenger - 1.2 · champion: two independent halves, the champion's variance times 1.44."""
    objective = {"rule": "superiority", "margin": 0.2}
    (item,) = gate(*make_reports({"conversion": (0.10, 0.15)}), rules(objectives={"conversion": objective})).comparisons
    assert item.bound.value == pytest.approx(0.15 - 1.2 * 0.10, abs=1e-12)
    expected = np.sqrt((1.44 * 0.10 * 0.90 + 0.15 * 0.85) / 2000)
    assert item.bound.std_error == pytest.approx(expected, rel=1e-3)


def test_relative_margin_of_a_negative_champion():
    """20 % of |−1| is 0.2, on whichever side of 0 the values lie."""
    n = 4000
    action = np.arange(n) % 2
    noise = np.where(np.arange(n) // 2 % 2 == 0, 0.5, -0.5)
    log = LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
        propensity=np.full(n, 0.5), reward=(-1.0 - 0.1 * action + noise)[:, None], objectives=("comfort",),
        user=np.arange(n), time=np.arange(n),
    )  # fmt: skip
    challenger, champion = (
        evaluate_policy(log, np.tile(np.eye(2)[a], (n, 1)), policy=name)
        for a, name in ((1, "challenger"), (0, "champion"))
    )
    objectives = {"comfort": {"rule": "superiority"}}
    comparison = gate(challenger, champion, rules(objectives=objectives)).comparisons[0]
    assert comparison.bound.value == pytest.approx(-0.1)
    both = {"comfort": {"rule": "non_inferiority", "margin": 0.2}, "other": {"rule": "superiority"}}
    with pytest.raises(UnknownNameError, match="rules: objective == 'other'"):
        gate(challenger, champion, rules(objectives=both))
    from homing.promotion.comparisons import compare_objective
    from homing.promotion.rules import ObjectiveRule

    item, _ = compare_objective(
        challenger, champion, "comfort", ObjectiveRule(rule="non_inferiority", margin=0.2), "snips", 0.95
    )
    assert item.bound.value == pytest.approx(-0.1 + 0.2)


def test_non_inferiority_holds_back_a_harmful_winner(make_reports):
    decision = gate(*make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.02, 0.032)}), rules(objectives=SAFE))
    assert decision.verdict == "hold"
    assert decision.reasons[0].startswith("unsubscribed goes up from")
    assert "worse by more than the 30.0% that the rules allow (lower is better)" in decision.reasons[0]


def test_non_inferiority_that_is_only_unclear_names_the_size(make_reports):
    decision = gate(*make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.02, 0.02)}), rules(objectives=SAFE))
    assert decision.verdict == "hold"
    assert "a loss of 30.0% cannot be ruled out (lower is better). If the effect is as estimated" in decision.reasons[0]


def test_fewer_opt_outs_are_a_gain(make_reports):
    objectives = {"unsubscribed": {"rule": "superiority", "direction": "minimize"}}
    better = gate(*make_reports({"unsubscribed": (0.06, 0.03)}), rules(objectives=objectives))
    assert better.verdict == "promote" and "goes down from 0.0600 to 0.0300 (-50.0%)" in better.reasons[0]
    assert better.comparisons[0].bound.value == pytest.approx(0.03, abs=1e-12)
    worse = gate(*make_reports({"unsubscribed": (0.03, 0.06)}), rules(objectives=objectives))
    assert worse.verdict == "hold" and "lower is better" in worse.reasons[0]


def test_all_that_must_hold_holds(make_reports):
    reports = make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.10, 0.05), "spend": (0.5, 0.2)})
    decision = gate(
        *reports,
        rules(
            objectives={**SAFE, "spend": {"rule": "report"}},
            guardrails={"unsubscribed": {"limit": 0.07}, "conversion": {"limit": 0.12, "direction": "maximize"}},
        ),
    )
    assert decision.verdict == "promote"
    assert [item.passed for item in decision.comparisons] == [True, True, None, True, True]
    assert "not worse by 30.0% or more" in decision.reasons[1]
    assert any("spend goes down" in reason and "not judged" in reason for reason in decision.reasons)
    assert any(reason.startswith("unsubscribed must be at most 0.07 and is 0.05") for reason in decision.reasons)
    assert any(reason.startswith("conversion must be at least 0.12 and is 0.15") for reason in decision.reasons)


@pytest.mark.parametrize(
    ("guardrail", "message"),
    [
        pytest.param({"limit": 0.055}, "unsubscribed must be at most 0.055 and is 0.05", id="most"),
        pytest.param({"limit": 0.045, "direction": "maximize"}, "must be at least 0.045 and is 0.05", id="least"),
    ],
)
def test_a_guardrail_within_reach_of_its_limit_holds(make_reports, guardrail, message):
    decision = gate(
        *make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.05, 0.05)}),
        rules(guardrails={"unsubscribed": guardrail}),
    )
    assert decision.verdict == "hold"
    assert message in decision.reasons[0] and ": not shown. If the effect is as estimated" in decision.reasons[0]


def test_a_winner_that_clearly_loses_another_superiority_objective_is_held(make_reports):
    objectives = {"conversion": {"rule": "superiority"}, "spend": {"rule": "superiority"}}
    decision = gate(*make_reports({"conversion": (0.1, 0.2), "spend": (0.5, 0.4)}), rules(objectives=objectives))
    assert decision.verdict == "hold" and decision.reasons[0].startswith("spend goes down")
    enough = gate(*make_reports({"conversion": (0.1, 0.2), "spend": (0.5, 0.49)}), rules(objectives=objectives))
    assert enough.verdict == "promote"


def test_several_superiority_objectives_share_the_level(make_reports):
    objectives = {"conversion": {"rule": "superiority"}, "spend": {"rule": "superiority"}}
    decision = gate(*make_reports({"conversion": (0.1, 0.2), "spend": (0.5, 0.5)}), rules(objectives=objectives))
    assert [item.difference.level for item in decision.comparisons] == [pytest.approx(0.975)] * 2


def test_few_events_are_held_even_when_the_interval_passes(make_reports):
    """8 opt-outs of 2,000 under each policy: the normal interval of 0.004 is not to be trusted."""
    reports = make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.004, 0.004)})
    asked = {"guardrails": {"unsubscribed": {"limit": 0.02}}}
    decision = gate(*reports, rules(**asked))
    assert decision.verdict == "hold"
    assert (
        "rests on effectively 8.0 users with an event, and the rules ask for at least 10 (about 1.2× this log)"
        in (decision.reasons[0])
    )
    assert gate(*reports, rules(**asked, min_events=5)).verdict == "promote"


def test_no_event_at_all_is_not_safety(make_reports):
    reports = make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.0, 0.0)})
    decision = gate(*reports, rules(guardrails={"unsubscribed": {"limit": 0.02}}))
    assert decision.verdict == "hold" and "effectively 0.0 users with an event" in decision.reasons[0]
    relative = gate(*reports, rules(objectives=SAFE))
    assert relative.verdict == "hold"
    assert "a share of 0 is no margin: give an absolute one" in relative.reasons[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"min_users": 10_000}, r"4,000 users; .* at least 10,000 \(about 2\.5× this", id="users"),
        pytest.param({"min_ess": 5000}, r"effective sample size is 2,000\.0 of 4,000 .*\(about 2\.5×", id="ess"),
        pytest.param({"max_weight": 1.5}, r"largest importance weight is 2\.0; the rules allow 1\.5", id="weight"),
    ],
)  # fmt: skip
def test_a_log_that_the_rules_find_too_thin_is_refused(make_reports, changes, message):
    decision = gate(*make_reports({"conversion": (0.10, 0.15)}), rules(**changes))
    assert decision.verdict == "refuse"
    assert re.search(message, decision.reasons[0])
    assert decision.reasons[-1].startswith("The champion stays.")


def test_missing_support_is_refused_whatever_the_numbers_say(make_reports):
    n = 4000
    log = LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool),
        action=np.zeros(n, int), propensity=np.ones(n), reward=(np.arange(n) % 4 == 0)[:, None],
        objectives=("conversion",), user=np.arange(n), time=np.arange(n),
    )  # fmt: skip
    own = evaluate_policy(log, np.tile([1.0, 0.0], (n, 1)), policy="champion")
    half = evaluate_policy(log, np.full((n, 2), 0.5), policy="challenger")
    decision = gate(half, own, rules())
    assert decision.verdict == "refuse"
    assert "50.0% of the challenger's choices were never made in the log; the rules allow 5.0%" in decision.reasons[0]
    assert gate(own, half, rules()).verdict == "refuse"
    assert gate(own, half, rules()).reasons[0].startswith("About the champion: ")
    none = evaluate_policy(log, np.tile([0.0, 1.0], (n, 1)), policy="challenger")
    nothing = gate(none, own, rules())
    assert nothing.verdict == "refuse" and nothing.comparisons == ()
    nothing.to_text(), nothing.to_html()


def test_wrong_questions_are_errors(make_reports):
    challenger, champion = make_reports({"conversion": (0.10, 0.15)})
    with pytest.raises(UnknownNameError, match=r"rules: estimator == 'dr', must be one of 'ips', 'snips'"):
        gate(challenger, champion, rules(estimator="dr"))
    with pytest.raises(UnknownNameError, match=r"objective == 'convertion'.*Did you mean 'conversion'"):
        gate(challenger, champion, rules(objectives={"convertion": {"rule": "superiority"}}))
    _, elsewhere = make_reports({"conversion": (0.10, 0.16)})
    with pytest.raises(InvalidInputError, match="Evaluate both policies on the same log"):
        gate(challenger, elsewhere, rules())


def test_gate_reports_writes_its_answer(make_reports, tmp_path):
    challenger, champion = make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.06, 0.03)})
    challenger.save(tmp_path / "evaluation/challengers/challenger")
    champion.save(tmp_path / "evaluation/champion")
    asked = rules(objectives=SAFE, guardrails={"unsubscribed": {"limit": 0.05}})
    found = gate_reports(tmp_path / "evaluation", asked, tmp_path / "gate")
    kept = json.loads((tmp_path / "gate/gate.json").read_text(encoding="utf-8"))
    assert ManyDecision.from_dict(kept) == found
    assert found.verdict == kept["verdict"] == "promote" and kept["leader"] == "challenger"
    [decision] = found.decisions
    assert decision == gate(challenger, champion, asked)
    html = (tmp_path / "gate/gate.html").read_text(encoding="utf-8")
    # Demands, two values, two differences, a guardrail; regions and weights of the two objectives; two histograms.
    assert "<script" not in html and html.count("<svg") == 6 + 2 + 2
    for sentence in decision.reasons:
        assert sentence in html
    text = decision.to_text()
    assert text.startswith("Promote: ") and "must not be higher by 30.0% or more" in text


def test_names_are_escaped(make_reports):
    hostile = "<img src=x onerror=alert(1)>"
    reports = make_reports({hostile: (0.10, 0.15)})
    html = gate(*reports, rules(objectives={hostile: {"rule": "superiority"}})).to_html()
    assert "<img" not in html and "&lt;img" in html


def test_the_gate_decides_on_empirical_likelihood(make_reports):
    """All that is shown is of the kind that the rules name: the estimates, their paired difference and what is judged.

    2,000 rows a side with 6 and 12 opt-outs, all of weight 2: by the t interval the rise of 0.003 is at most 0.0071 and
    one of 0.0075 is ruled out; one unseen opt-out more makes that 0.0078, and the answer no.
    """
    reports = make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.003, 0.006)})
    objectives = {
        "conversion": {"rule": "superiority"},
        "unsubscribed": {
            "rule": "non_inferiority",
            "margin": 0.0075,
            "margin_kind": "absolute",
            "direction": "minimize",
        },
    }
    passed = {}
    for interval in ("cressie-read", "cluster-t", "anytime"):
        asked = rules(
            objectives=objectives, guardrails={"unsubscribed": {"limit": 0.02}}, min_events=1, interval=interval
        )
        decision = gate(*reports, asked)
        for item in decision.comparisons:
            shown = (item.champion, item.challenger, item.difference, item.bound)
            assert {estimate.interval for estimate in shown} == {interval}
        passed[interval] = decision.comparisons[1].passed
        assert GateDecision.from_dict(decision.to_dict()) == decision
    assert passed == {"cressie-read": False, "cluster-t": True, "anytime": False}
    assert rules().interval == "cressie-read"


def test_the_size_that_would_show_it_counts_what_was_not_seen(make_reports):
    """At the named factor of rows, the lower end stands z_0.85 standard errors above 0."""
    small = gate(*make_reports({"conversion": (0.10, 0.11)}), rules())
    times = small.comparisons[0].times_needed
    grown = gate(*make_reports({"conversion": (0.10, 0.11)}, n=round(40 * times) * 100), rules()).comparisons[0]
    assert (grown.bound.lower) / grown.bound.std_error == pytest.approx(1.0364, abs=0.03)


def test_without_any_event_the_unseen_one_decides(make_reports):
    """No opt-out in 2,000 decisions of weight 2: the upper end is about 2.96 · 2 / 4000 = 0.0015 and not 0."""
    decision = gate(
        *make_reports({"conversion": (0.10, 0.15), "unsubscribed": (0.0, 0.0)}),
        rules(guardrails={"unsubscribed": {"limit": 0.001}}, min_events=0),
    )
    assert decision.verdict == "hold"
    assert decision.comparisons[-1].challenger.upper == pytest.approx(0.00148, rel=0.01)


@pytest.mark.slow
def test_promotions_by_chance_stay_within_the_level():
    """Rewards do not depend on the action, so no challenger is better. One-sided 2.5 %: of 1,000 trials 25 are
    expected, and 25 + 3.3 · sqrt(1000 · 0.025 · 0.975) = 41 are not exceeded."""
    rng = np.random.default_rng(5)
    promoted = 0
    asked = rules(min_users=2, objectives={"conversion": {"rule": "superiority"}})
    for _ in range(1000):
        user = np.repeat(np.arange(150), rng.integers(1, 5, 150))
        n = len(user)
        action = rng.integers(0, 2, n)
        log = LoggedDataset(
            context=np.zeros((n, 1)), candidates=np.zeros((n, 2, 1)), eligible=np.ones((n, 2), bool), action=action,
            propensity=np.full(n, 0.5), reward=(rng.random(n) < rng.choice([0.1, 0.5], 150)[user])[:, None],
            objectives=("conversion",), user=user, time=np.arange(n),
        )  # fmt: skip
        challenger, champion = (
            evaluate_policy(log, np.tile(probs, (n, 1)), estimators=("snips",)) for probs in ([0.2, 0.8], [0.7, 0.3])
        )
        promoted += gate(challenger, champion, asked).verdict == "promote"
    assert 10 <= promoted <= 41


def test_harms_at_the_margin_pass_within_the_level():
    """Opt-outs of 0.5 % under the champion and 1 % under the challenger, whom a tenth of 4,000 decisions followed.

    That is the margin of 0.005 exactly, so that passing is an error of 2.5 %. Of 1,000 logs empirical likelihood passes
    no more than 25 + 3.3 · 4.9 = 41; the t interval passes many times as many.
    """
    rng = np.random.default_rng(9)
    sent = rng.binomial(4000, 0.1, 1000)
    events = np.stack([rng.binomial(4000 - sent, 0.005), rng.binomial(sent, 0.01)])
    passed = dict.fromkeys(("cressie-read", "cluster-t"), 0)
    share = np.full(4000, 1 / 4000)
    for count, quiet, loud in zip(sent, *events, strict=True):
        action, reward = np.zeros(4000, int), np.zeros(4000)
        action[:count], reward[:loud], reward[count : count + quiet] = 1, 1.0, 1.0
        items = []
        for arm, propensity in ((1, 0.1), (0, 0.9)):
            weight = (action == arm) / propensity
            value, mean = float((weight * reward).sum() / weight.sum()), float(weight.mean())
            psi = weight * (reward - value) / weight.sum()
            extremes = tuple(
                (min(0.0, r - value) / propensity / mean, max(0.0, r - value) / propensity / mean) for r in (0.0, 1.0)
            )
            items.append(Contributions(value, psi, (Part(psi, share),), extremes))
        difference = items[0].minus(items[1])
        for name in passed:
            passed[name] += get_interval(name)([difference], 0.95)[0].upper < 0.005
    assert passed["cressie-read"] <= 41 < passed["cluster-t"] / 2
