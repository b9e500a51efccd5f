"""What sequential estimators learn and are told: states, fitted models, settings; and what they refuse."""

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from homing.errors import InvalidInputError, SupportError, UnknownNameError
from homing.ope import evaluate_sequential
from homing.ope.sequential import (
    SEQUENTIAL,
    LinearFQE,
    MessagesSent,
    Trajectories,
    get_sequential,
)
from homing.ope.sequential.magic import MAGIC

EVERY = tuple(SEQUENTIAL)


def test_broken_propensities_are_seen(rng, make_log):
    """The log says ½ where it drew 0.3: it is refused as a log of decisions would be."""
    n = 20_000
    log = make_log(action=rng.random(n) < 0.3, propensity=0.5, reward=rng.random(n), user=np.arange(n) // 2)
    report = evaluate_sequential(log, np.full((n, 2), 0.5), gamma=1.0)
    assert report.support.propensity.verdict == "refuse" and report.support.verdict == "refuse"


def test_the_guide_has_a_row_for_every_estimator():
    guide = (Path(__file__).resolve().parents[2] / "docs/guides/evaluation.md").read_text(encoding="utf-8")
    rows = [line for line in guide.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert [row.split("`")[1] for row in rows] == [*EVERY]


def test_functions_of_batches_and_of_the_log(rng, make_log, draw_journeys):
    log, _, target, q, state = draw_journeys()
    options = {"gamma": 0.9, "estimators": ("dr", "smis")}
    one = evaluate_sequential(log, target, q_function=q, state=state, **options)
    two = evaluate_sequential(
        log, target, q_function=lambda batch: q[batch.rows], state=lambda dataset: state[: dataset.n], **options
    )
    assert one.to_dict() == two.to_dict()


def test_states_of_several_parts(make_log):
    log = make_log(action=np.ones(4, int), propensity=0.5, reward=np.arange(4.0), user=[0, 1, 2, 3])
    parts = np.array([["a", "x"], ["a", "y"], ["a", "x"], ["b", "x"]])
    options = {"gamma": 1.0, "estimators": ("smis",)}
    two = evaluate_sequential(log, np.full((4, 2), 0.5), state=parts, **options)
    one = evaluate_sequential(log, np.full((4, 2), 0.5), state=[0, 1, 0, 2], **options)
    assert two.to_dict() == one.to_dict()
    assert one.details["smis", "clicked"]["states"] == 3


def test_messages_sent_counts_per_user_and_window(make_log):
    hour = 3_600_000_000
    log = make_log(action=[1, 1, 0, 1, 1, 1], propensity=0.5, reward=np.zeros(6), user=[0, 1, 0, 0, 1, 0])
    time = np.array([0, 1, 2, 30, 40, 49]) * hour
    log = log.take(np.arange(6))
    object.__setattr__(log, "time", time)
    assert MessagesSent()(log).tolist() == [0, 0, 1, 1, 1, 2]
    assert MessagesSent(most=1)(log).tolist() == [0, 0, 1, 1, 1, 1]
    # Half-open: what was sent exactly 30 hours ago counts, 49 hours ago does not.
    assert MessagesSent(within=timedelta(hours=30))(log).tolist() == [0, 0, 1, 1, 0, 1]


def test_linear_fqe_is_the_fixed_point_of_its_rounds(rng, make_log, draw_journeys):
    """The closed form against what it stands for: regress r + γ v̂(x') on φ again and again."""
    log, _, target, _, _ = draw_journeys()
    phi = rng.normal(size=(log.n, log.k, 4))
    weight = target[np.arange(log.n), log.action] / log.propensity
    paths = Trajectories(log.user, weight, gamma=0.8)
    found = LinearFQE(features=phi, folds=2, ridge=1e-9).fit(log, target, paths)
    fold = (np.unique(log.user, return_inverse=True)[1] % 2)[paths.order]
    chosen = phi[np.arange(log.n), log.action][paths.order]
    under = np.einsum("nk,nkp->np", target, phi)[paths.order]
    reward, following = log.reward[paths.order, 0], np.roll(np.arange(log.n), -1)
    for held_out in (0, 1):
        train, theta = fold != held_out, np.zeros(4)
        for _ in range(300):
            y = reward + paths.carry * (under @ theta)[following]
            theta = np.linalg.lstsq(chosen[train], y[train], rcond=None)[0]
        np.testing.assert_allclose(found.policy[~train, 0], under[~train] @ theta, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(found.logged[~train, 0], chosen[~train] @ theta, rtol=1e-6, atol=1e-8)


def test_a_fit_that_diverges_is_left_out(make_log):
    """Tsitsiklis and Van Roy's trap in small: one feature that doubles where the policy leads, and γ > ½."""
    users = 40
    phi = np.zeros((2 * users, 2, 1))
    phi[:users], phi[users:] = 1.0, 2.0
    log = make_log(
        action=np.ones(2 * users, int), propensity=0.5, reward=np.ones(2 * users), user=np.tile(np.arange(users), 2)
    )
    phi[users:, 1] = 0.01  # acting at the second decision looks like nothing; silence, which is never logged, like 2
    probs = np.tile([0.0, 1.0], (2 * users, 1))
    probs[users:] = [1.0, 0.0]
    report = evaluate_sequential(
        log, probs, gamma=0.5002, q_function=LinearFQE(features=phi, ridge=1e-12), estimators=("pdis", "dr", "fqe")
    )
    assert ("dr", "clicked") not in report.estimates and ("pdis", "clicked") in report.estimates
    assert re.match(
        r"dr, fqe are left out: fitted Q-function == .*, must be bounded by what journeys can", report.notes[0]
    )


def test_states_that_the_policy_leaves(make_log):
    """In state 1 the log only ever does what the policy never would: its visits there are lost, and it says so."""
    log = make_log(action=[1, 1, 0, 0], propensity=0.5, reward=np.ones(4), user=[0, 1, 0, 1])
    report = evaluate_sequential(
        log, np.tile([0.0, 1.0], (4, 1)), gamma=1.0, state=[0, 0, 1, 1], estimators=("smis", "mwl")
    )
    assert not report.estimates
    for note in report.notes:
        assert "never takes a logged action == 0.5, must be <= 0.05. Merge states" in note


def test_too_many_states_for_a_linear_system(make_log):
    log = make_log(action=np.ones(2002, int), propensity=0.5, reward=np.ones(2002), user=np.arange(2002))
    report = evaluate_sequential(log, np.full((2002, 2), 0.5), gamma=1.0, state=np.arange(2002), estimators=("mwl",))
    assert "number of states == 2002, must be <= 2000. Use fewer bins, or smis." in report.notes[0]


BAD = {
    "a Q-function of another shape": (
        {"q_function": np.zeros((6, 3))}, r"q_function\.shape == \(6, 3, 1\), must be \(6, 2, 1\)\. One prediction"),
    "NaN predictions": (
        {"q_function": np.full((6, 2), np.nan)}, r"q_function\[0, 0, 0\] == nan, must be finite"),
    "a function of another shape": (
        {"q_function": lambda batch: np.zeros((len(batch.rows), 5))}, r"q_function\(batch\)\.shape == \(6, 5, 1\)"),
    "too few states": ({"state": [1, 2]}, r"state\.shape == \(2,\), must be \(6,\) or \(6, parts\)\. One a decision"),
    "a state that is unknown": (
        {"state": [0, 1, np.nan, 0, 0, 0]}, r"state\[2\] == nan, must be a label\. Give 'unknown' one too"),
    "bounds": ({"interval": "bernstein"}, r"interval == 'bernstein', must not need bounds on weights\."),
    "no unit": ({"time_unit": 3.0}, r"time_unit == 3\.0, must be a timedelta"),
    "no time": ({"time_unit": timedelta(0)}, r"time_unit\.total_seconds\(\) == 0\.0, must be a finite number > 0"),
    "one name": ({"estimators": "pdis"}, r"estimators == 'pdis', must be a sequence of names"),
    "no names": ({"estimators": ()}, r"estimators == \[\], must be distinct names, at least one\. Known: tis, sntis"),
    "a name twice": ({"estimators": ("dr", "dr")}, r"estimators == \['dr', 'dr'\], must be distinct names"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input(make_log, what):
    options, message = BAD[what]
    log = make_log(action=np.ones(6, int), propensity=0.5, reward=np.ones(6), user=[0, 0, 1, 1, 2, 2])
    with pytest.raises(InvalidInputError, match=message):
        evaluate_sequential(log, np.full((6, 2), 0.5), gamma=0.9, **options)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearFQE(folds=1), r"folds == 1, must be an integer >= 2\. A model must not score users it has seen"),
        (lambda: LinearFQE(ridge=0.0), r"ridge == 0\.0, must be a finite number > 0"),
        (lambda: MAGIC(steps=0), r"steps == 0, must be an integer >= 1"),
        (lambda: MessagesSent(most=0), r"most == 0, must be an integer >= 1"),
        (lambda: MessagesSent(within=timedelta(0)), r"within\.total_seconds\(\) == 0\.0"),
    ],
)
def test_bad_settings(build, message):
    with pytest.raises(InvalidInputError, match=message):
        build()


def test_names(make_log):
    with pytest.raises(UnknownNameError, match=r"sequential estimator == 'wrd', must be one of .* Did you mean 'wdr'"):
        get_sequential("wrd")


def test_one_user_cannot_be_cross_fitted(make_log):
    log = make_log(action=[1, 1], propensity=0.5, reward=[1, 1], user=[0, 0])
    with pytest.raises(SupportError, match=r"number of clusters == 1, must be >= 2"):
        evaluate_sequential(log, np.full((2, 2), 0.5), gamma=0.9, estimators=("fqe",))
