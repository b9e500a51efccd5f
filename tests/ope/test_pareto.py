"""All objectives at once: differences, covariances, any weights afterwards, who is beaten by whom."""

import json
from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError, UnknownNameError
from homing.ope import Deciding, Evaluation, compare, evaluate_policy, pareto


@pytest.fixture
def reports(make_log, rng):
    """Three arms drawn alike, clicks and opt-outs, users who come back."""
    n = 3000
    action = rng.integers(0, 3, n)
    reward = np.stack([rng.random(n) < 0.1 + 0.05 * action, rng.random(n) < 0.02 + 0.02 * action], axis=1)
    log = make_log(
        action=action, propensity=1 / 3, reward=reward, k=3, user=np.sort(rng.integers(0, 1000, n)),
        objectives=("clicked", "left"),
    )  # fmt: skip
    return [
        evaluate_policy(log, np.tile(np.eye(3)[a], (n, 1)), policy=f"arm {a}", estimators=("ips", "snips"))
        for a in range(3)
    ]


def test_weights_afterwards_are_weights_before(reports, make_log):
    """Differences of one weighted objective, evaluated as a log of its own: the same value and error."""
    champion, one, two = reports
    found = pareto([one, two], champion, "snips", directions={"left": "minimize"})
    weights = {"clicked": 1.0, "left": -3.0}
    shown = found.weighted(weights, level=0.9)
    for report in (one, two):
        psi = sum(w * (report.influence["snips", o] - champion.influence["snips", o]) for o, w in weights.items())
        error = np.sqrt(len(psi) / (len(psi) - 1) * (psi**2).sum())
        value = sum(w * compare(report, champion, o, "snips").value for o, w in weights.items())
        assert shown[report.policy].value == pytest.approx(value, abs=1e-12)
        assert shown[report.policy].std_error == pytest.approx(error, rel=1e-12)
    for objective in ("clicked", "left"):
        alone = found.weighted({objective: 1.0})["arm 1"]
        paired = compare(one, champion, objective, "snips", interval=alone.interval)
        assert (alone.lower, alone.upper) == pytest.approx((paired.lower, paired.upper), rel=1e-12)


@pytest.fixture
def rare(make_log, rng):
    """Clicks of everyone, opt-outs of a few: 4,000 users, two decisions each, arm 1 a fifth of the time."""
    n = 8000
    action = (rng.random(n) < 0.2).astype(int)
    reward = np.stack([rng.random(n) < 0.2, rng.random(n) < 0.0007, np.zeros(n)], axis=1)
    log = make_log(
        action=action, propensity=np.where(action == 1, 0.2, 0.8), reward=reward, k=2, user=np.arange(n) // 2,
        objectives=("clicked", "left", "churned"),
    )  # fmt: skip
    return [
        evaluate_policy(log, np.tile([1 - p, p], (n, 1)), policy=f"{p:.0%}", estimators=("ips", "snips"))
        for p in (0.2, 0.5, 0.9)
    ]


@pytest.mark.parametrize("estimator", ["ips", "snips"])
@pytest.mark.parametrize("against", ["a champion", "the log"])
def test_rare_events_are_told_as_compare_tells_them(rare, estimator, against):
    """Cressie–Read where events are few or none, whatever the sign of the weight; t where they are many."""
    champion = rare[0] if against == "a champion" else None
    found = pareto(rare[1:], champion, estimator)
    for objective, weight, kind in (
        ("clicked", 1.0, "cluster-t"), ("left", 1.0, "cressie-read"), ("left", -5.0, "cressie-read"),
        ("churned", 2.0, "cressie-read"),
    ):  # fmt: skip
        shown = found.weighted({objective: weight}, level=0.9)
        for report in rare[1:]:
            other, name = (report, "logged") if champion is None else (champion, estimator)
            item = compare(
                report, other, objective, estimator, champion_estimator=name, interval=kind, level=0.9
            )  # fmt: skip
            ends = sorted((weight * item.lower, weight * item.upper))
            assert shown[report.policy].interval == kind
            assert (shown[report.policy].lower, shown[report.policy].upper) == pytest.approx(ends, rel=1e-9)


def test_one_unseen_decision_brings_one_rare_event_at_its_worst(rare):
    """Beyond the covariance, a sum of objectives counts the worse of two rare ones, and nothing of a frequent one."""
    found = pareto(rare[1:], rare[0], "ips")
    assert not found.unseen[:, 0].any() and (found.unseen[:, 1:, 1] > 0).all() and (found.unseen[:, 1:, 0] < 0).all()
    low, high = found.ends(np.array([[1.0, 1.0, 1.0]]), 2.0)
    g, w = 4000, np.ones(3)
    second = g * (g - 1) * w @ found.covariances[1] @ w
    worst = max(found.unseen[1, 1, 1], found.unseen[1, 2, 1])
    mean = worst / (g + 1)
    spread = np.sqrt(((second + worst**2) / (g + 1) - mean**2) / g)
    assert high[0, 1] == pytest.approx(w @ found.differences[1] + mean + 2.0 * spread, rel=1e-12)
    t = 2.0 * np.sqrt(w @ found.covariances[1] @ w)
    assert low[0, 1] < w @ found.differences[1] - t and high[0, 1] > w @ found.differences[1] + t


def test_intervals_of_rare_events_hold_the_truth(make_log):
    """60 logs with 1.2 opt-outs under the policy's message each: t covers at most what has any, 70 %; this 90 %.

    Always 1 loses 0.8 (0.003 - 0.0005) against the log, which sends 1 a fifth of the time.
    """
    rng, truth = np.random.default_rng(8), 0.8 * 0.0025
    held = {"shown": 0, "t": 0}
    for _ in range(60):
        action = (rng.random(2000) < 0.2).astype(int)
        left = rng.random(2000) < np.where(action == 1, 0.003, 0.0005)
        log = make_log(
            action=action, propensity=np.where(action == 1, 0.2, 0.8), reward=left[:, None], k=2,
            objectives=("left",), user=np.arange(2000),
        )  # fmt: skip
        report = evaluate_policy(log, np.tile([0.0, 1.0], (2000, 1)), policy="always", estimators=("ips",))
        item = pareto([report], None, "ips").weighted({"left": 1.0})["always"]
        held["shown"] += item.lower <= truth <= item.upper
        held["t"] += abs(item.value - truth) <= 1.96 * item.std_error
    assert held["t"] < 48 and held["shown"] >= 54


def test_without_a_champion_the_log_itself_stands_there(reports):
    found = pareto(reports, None, "snips")
    assert found.champion == "the log itself"
    for report, difference in zip(reports, found.differences, strict=True):
        expected = compare(report, report, "clicked", "snips", champion_estimator="logged")
        assert difference[0] == pytest.approx(expected.value)
        assert found.weighted({"clicked": 1.0})[report.policy].std_error == pytest.approx(expected.std_error)


@pytest.mark.parametrize(
    ("differences", "front"),
    [
        pytest.param([[1.0, 0.5], [2.0, 1.0]], ("champion", "a", "b"), id="each step costs"),
        pytest.param([[1.0, 1.0], [2.0, 1.0]], ("champion", "b"), id="as cheap and more"),
        pytest.param([[1.0, -1.0], [-1.0, 1.0]], ("a",), id="better on both, worse on both"),
        pytest.param([[0.0, 0.0], [0.0, 0.0]], ("champion", "a", "b"), id="equal"),
    ],
)
def test_the_front(reports, differences, front):
    found = pareto(reports[1:], reports[0], "snips", directions={"left": "minimize"})
    placed = replace(found, champion="champion", policies=("a", "b"), differences=np.array(differences))
    assert placed.front == front


def test_what_does_not_compare(reports, make_log, rng):
    other = make_log(action=[0, 1, 0, 1], propensity=0.5, reward=[0, 1, 1, 0])
    alien = evaluate_policy(other, np.full((4, 2), 0.5), policy="alien", estimators=("snips",))
    with pytest.raises(InvalidInputError, match=r"fingerprint of 'alien' == .*Evaluate on one log"):
        pareto(reports, alien, "snips")
    with pytest.raises(InvalidInputError, match="estimator == 'dr', must be in all reports"):
        pareto(reports[1:], reports[0], "dr")
    with pytest.raises(UnknownNameError, match="weight of objective == 'clicks'"):
        pareto(reports[1:], reports[0], "snips").weighted({"clicks": 1.0})
    with pytest.raises(InvalidInputError, match=r"challengers == \[\], must be at least one report"):
        pareto([], reports[0], "snips")
    with pytest.raises(InvalidInputError, match="cluster of 'arm 1' == 'decision', must be 'user'"):
        pareto([reports[2], replace(reports[1], cluster="decision")], None, "snips")
    with pytest.raises(UnknownNameError, match=r"directions\['left'\] == 'minimise', .* Did you mean 'minimize'"):
        pareto(reports[1:], reports[0], "snips", directions={"left": "minimise"})
    with pytest.raises(UnknownNameError, match=r"directions: objective == 'lift', .* Did you mean 'left'"):
        pareto(reports[1:], reports[0], "snips", directions={"lift": "minimize"})


def without(report, *objectives):
    """What the report of a policy is that never takes a logged action: SNIPS divides by nothing."""
    left = {key: item for key, item in report.estimates.items() if key[0] != "snips" or key[1] not in objectives}
    return replace(report, estimates=left)


def test_whom_the_log_says_nothing_of_is_left_out(reports):
    champion, one, two = reports
    found = pareto([without(one, "clicked", "left"), two], champion, "snips")
    assert found.policies == ("arm 2",) and found.objectives == ("clicked", "left")
    assert found.differences.tolist() == pareto([two], champion, "snips").differences.tolist()
    assert pareto([without(one, "left"), two], champion, "snips").objectives == ("clicked",)
    for none in (
        pareto([one], without(champion, "clicked", "left"), "snips"),
        pareto([without(one, "clicked", "left")], champion, "snips"),
    ):
        assert none.objectives == () and json.loads(json.dumps(none.to_dict()))["differences"] in ([], [[]])


@pytest.mark.parametrize("silent", ["challenger", "champion"])
def test_a_page_of_policies_that_the_log_says_nothing_of(reports, silent, rng):
    """It is drawn, with what there is."""
    champion, one, two = reports
    gone = [without(item, "clicked", "left") for item in (one, champion)]
    several, other = ((two, gone[0]), champion) if silent == "challenger" else ((one, two), gone[1])
    found = Evaluation(several, other, Deciding.together(several, other, rng=rng))
    html = found.to_html()
    assert ("All objectives at once" in html) is (silent == "challenger")
    assert found.values["clicked"].differences[several[1].policy] is None


def test_a_page_of_a_policy_that_changes_nothing(reports, rng):
    """No difference and no doubt about it: both pictures of trade-offs shrink to a point."""
    champion, twin = reports[0], replace(reports[0], policy="twin")
    html = Evaluation((twin,), champion, Deciding.of(twin)).to_html()
    assert "Gain over arm 0 by weight" in html and "twin: clicked +0, left +0" in html and "nan" not in html


def test_the_picture_and_the_json(reports):
    from homing.ope.figures import regions_svg, weights_sweep_svg

    found = pareto(reports[1:], reports[0], "snips", directions={"left": "minimize"})
    assert json.loads(json.dumps(found.to_dict()))["covariances"] == found.covariances.tolist()
    regions, sweep = regions_svg(found, 0, 1), weights_sweep_svg(found, 0, 1, 0.95)
    value = f"arm 2: clicked {found.differences[1, 0]:+.3g}, left {found.differences[1, 1]:+.3g}"
    assert value in regions and regions.count("<polygon") == 2 == sweep.count("<polygon")
    assert 'aria-label="Gain over arm 0 by weight, from clicked alone to left alone"' in sweep


def test_joint_regions_hold_both_in_95_of_100_logs(make_log):
    """800 logs of two related objectives: 760 regions hold the truth, ± 3.3 standard errors of √(800 · .05 · .95)."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(800):
        action = rng.integers(0, 2, 400)
        noise = rng.normal(size=400)
        reward = np.stack([action + noise, 0.5 * action + 0.8 * noise + 0.6 * rng.normal(size=400)], axis=1)
        psi, value = [], []
        for arm in (1, 0):
            w = (action == arm) * 2.0
            mean = (w[:, None] * reward).sum(axis=0) / w.sum()
            psi.append(w[:, None] * (reward - mean) / w.sum())
            value.append(mean)
        error = value[0] - value[1] - np.array([1.0, 0.5])
        difference = psi[0] - psi[1]
        covariance = 400 / 399 * difference.T @ difference
        held += error @ np.linalg.solve(covariance, error) <= -2 * np.log(0.05)
    assert abs(held - 760) <= 3.3 * np.sqrt(800 * 0.05 * 0.95) + 4  # χ² for what is F: about half a point less
