"""Towers and Q-values by hand: one number of context, two of candidates, one unit a layer."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.policies import ClonePolicy, GreedyPolicy, QValues, Towers
from homing.policies.q_values import emphasis

NAMES = ("first", "first_bias", "second", "second_bias", "taste", "taste_bias", "candidate", "candidate_bias")
X = np.array([[2.0]])
CANDIDATES = np.array([[[1.0, 0.0], [0.0, 3.0]]])


def towers(slopes, units: float = 0.0) -> Towers:
    """h = relu(relu(x + 1) · 2 − 1), taste (h · slope, h); one unit on top of two features, 0 unless told."""
    e = len(slopes)
    one = np.ones((e, 1, 1))
    taste = np.array([[[[slope, 1.0, units]]] for slope in slopes])
    candidate = np.tile([[[1.0], [1.0]]], (e, 1, 1))
    return Towers(one, np.ones((e, 1)), 2 * one, -np.ones((e, 1)), taste, np.zeros((e, 1, 3)), candidate, -one[:, 0])


def q_values(slopes, **options) -> QValues:
    e = len(slopes)
    return QValues(towers(slopes), np.full((e, 1, 1), 0.5), np.ones((e, 1)), np.array([2.0]), **options)


def test_values_by_hand() -> None:
    # h = (2 + 1) · 2 − 1 = 5; A(message) = −1 · (5 · 1) + 3 · 5 = 10; V = 2.5 + 1.
    model = q_values([1.0])
    assert model.predict(X, CANDIDATES)[0, :, 0].tolist() == [3.5, 13.5]
    assert model.scores(X, CANDIDATES).tolist() == [[0.0, 20.0]]
    assert model.scores(X, CANDIDATES, np.array([-1.0])).tolist() == [[0.0, -10.0]]


def test_candidate_units_see_the_difference_to_silence() -> None:
    # relu(1 + 0 − 1) = 0 for silence, relu(0 + 3 − 1) = 2 for the message: 5 · 0.1 · 2 more than 10.
    hidden = towers([1.0], 0.1).trunk(X.astype(np.float32))
    found = towers([1.0], 0.1).advantages(hidden, CANDIDATES.astype(np.float32))
    np.testing.assert_allclose(found[0, 0, :, 0], [0.0, 11.0])


def test_caution_turns_to_silence_where_members_disagree() -> None:
    # Slopes of 1, 3 and −2 give advantages of 15 − 5 · slope.
    each = np.array([10.0, 0.0, 25.0])
    bold, careful = q_values([1.0, 3.0, -2.0]), q_values([1.0, 3.0, -2.0], caution=1.5)
    np.testing.assert_allclose(bold.scores(X, CANDIDATES), [[0.0, 2 * each.mean()]])
    np.testing.assert_allclose(careful.scores(X, CANDIDATES), [[0.0, 2 * (each.mean() - 1.5 * each.std())]])
    mask = np.ones((1, 2), bool)
    assert GreedyPolicy(bold).action_probs(X, CANDIDATES, mask).tolist() == [[0.0, 1.0]]
    assert GreedyPolicy(careful).action_probs(X, CANDIDATES, mask).tolist() == [[1.0, 0.0]]


def test_the_network_is_told_how_weights_differ_from_the_default() -> None:
    assert emphasis(np.array([2.0, 4.0]), np.array([1.0, 2.0])).tolist() == [0.0, 0.0]
    assert emphasis(np.array([1.0, 0.0]), np.array([1.0, 2.0])).tolist() == [1.0, -1.0]
    assert emphasis(np.zeros(2), np.ones(2)).tolist() == [0.0, 0.0]
    assert emphasis(np.array([5.0, 1.0]), np.array([0.0, 1.0])).tolist() == [0.0, 0.0]
    # The second context column is the weight's: h = relu(2 · relu(2 + told + 1) − 1).
    base = towers([1.0])
    seeing = Towers(np.ones((1, 2, 1)), *(getattr(base, name) for name in NAMES[1:]))
    model = QValues(seeing, np.zeros((1, 1, 1)), np.zeros((1, 1)), np.array([1.0]), conditioned=True)
    assert model.scores(X, CANDIDATES).tolist() == [[0.0, 10.0]]
    # One objective turned around is an emphasis of −2: h = 1, A = 3 − 1, and the weight is −1.
    assert model.scores(X, CANDIDATES, np.array([-1.0])).tolist() == [[0.0, -2.0]]


def test_a_clone_averages_its_members_probabilities() -> None:
    scaled = [towers([3.0 - value / 5.0]) for value in (0.0, np.log(3.0))]
    parts = [np.concatenate([getattr(one, name) for one in scaled]) for name in NAMES]
    probs = ClonePolicy(Towers(*parts)).action_probs(X, CANDIDATES, np.ones((1, 2), bool))
    np.testing.assert_allclose(probs, [[0.375, 0.625]], atol=1e-6)  # of 1/2 and 3/4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caution": -1.0}, "caution == -1.0, must be >= 0"),
        ({"conditioned": 1}, "conditioned == 1, must be true or false"),
        ({"towers": None}, "towers == 'NoneType', must be Towers"),
        ({"value": np.zeros((1, 2, 1))}, r"value.shape == \(1, 2, 1\), must be \(1, 1, 1\)"),
    ],
    ids=["caution", "conditioned", "towers", "value"],
)
def test_wrong_parts_are_refused(change, message) -> None:
    whole = {"towers": towers([1.0]), "value": np.zeros((1, 1, 1)), "value_bias": np.zeros((1, 1)),
             "weights": np.ones(1)}  # fmt: skip
    with pytest.raises(InvalidInputError, match=message):
        QValues(**(whole | change))
