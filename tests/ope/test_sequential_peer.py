"""Sequential estimators against SCOPE-RL on the same inputs, and the cases where it is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from homing.ope import evaluate_sequential

PEER = json.loads((Path(__file__).parent / "peer_reference_sequential.json").read_text(encoding="utf-8"))
USERS, STEPS = PEER["users"], PEER["steps"]


@pytest.fixture
def data():
    return {name: np.array(values) for name, values in PEER["inputs"].items()}


def evaluate(make_log, data, *, gamma=PEER["gamma"], q=None, target=None, propensity=None, estimators=None):
    """The peer's arrays stand trajectory by trajectory, all of one length."""
    log = make_log(
        action=data["action"], propensity=data["propensity"] if propensity is None else propensity,
        reward=data["reward"], user=np.repeat(np.arange(USERS), STEPS), k=3,
    )  # fmt: skip
    return evaluate_sequential(
        log, data["target"] if target is None else target, gamma=gamma, q_function=data["q"] if q is None else q,
        estimators=estimators or tuple(PEER["values"]),
    )  # fmt: skip


@pytest.mark.parametrize("name", PEER["values"])
def test_equals_the_peer(make_log, data, name):
    """1e-9: the peer adds 1e-10 to its normalisers."""
    found = evaluate(make_log, data).estimate("clicked", name).value
    assert found == pytest.approx(PEER["values"][name], rel=1e-9)


def test_the_peer_ignores_the_discount(make_log, data):
    """Its DR with marginal weights says the same for γ = 0.9 as for γ = 1, where it is right."""
    wrong = PEER["wrong"]["drl"]
    assert wrong["0.9"] == wrong["1.0"]
    undiscounted = evaluate(make_log, data, gamma=1.0).estimate("clicked", "dr").value
    assert undiscounted == pytest.approx(wrong["1.0"], rel=1e-9)
    assert abs(evaluate(make_log, data).estimate("clicked", "dr").value - wrong["0.9"]) > 0.2


def test_the_peer_takes_the_value_of_the_wrong_step(make_log, data):
    """All weights 1 and predictions by state alone: they cancel, and what is left is the mean return.

    There v̂ of the last decision stands one step too late: γ⁴ v̂_3 is added where γ³ v̂_3 should be.
    """
    by_state = np.repeat(data["q"][:, :1], 3, axis=1)
    report = evaluate(
        make_log,
        data,
        q=by_state,
        target=np.full((USERS * STEPS, 3), 1 / 3),
        propensity=1 / 3,
        estimators=("dr", "wdr"),
    )
    earned = report.logged["clicked"].value
    assert report.estimate("clicked", "dr").value == pytest.approx(earned, rel=1e-12)
    assert report.estimate("clicked", "wdr").value == pytest.approx(earned, rel=1e-12)
    last = data["q"][:, 0].reshape(USERS, STEPS)[:, -1].mean()
    off = PEER["gamma"] ** 4 * last - PEER["gamma"] ** 3 * last
    assert PEER["wrong"]["marginal_dr_on_policy"] - earned == pytest.approx(off, rel=1e-9)
    assert abs(off) > 0.03 * earned


def test_the_peer_has_no_answer_after_1200_decisions(make_log):
    """0.5^1200 is 0 in float64, and 0 / 0 is NaN; here the weights of the logging policy are 1 however long it goes."""
    assert PEER["wrong"]["snpdis_after_1200_decisions"] == "nan"
    steps = 1200
    log = make_log(
        action=np.zeros(2 * steps, int), propensity=0.5, reward=np.ones(2 * steps), user=np.repeat([0, 1], steps)
    )
    report = evaluate_sequential(log, np.full((2 * steps, 2), 0.5), gamma=1.0, estimators=("sntis", "pdis", "snpdis"))
    for name in report.estimators:
        assert report.estimate("clicked", name).value == pytest.approx(steps, rel=1e-12)
