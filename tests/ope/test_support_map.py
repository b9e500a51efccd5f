"""The support map: shares and effective rows by hand, verdicts at their thresholds, the feature that tells most."""

import json

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log.dataset import LoggedDataset
from homing.ope import SupportMap, support_map
from homing.ope.figures import support_map_svg
from homing.pages.canvas import VERDICT_COLOURS


def log(n=400, **changes):
    """Silence or a message, drawn alike; the context is a coin and a number."""
    rows = np.arange(n)
    values = {
        "context": np.stack([rows % 2, rows / n], axis=1), "candidates": np.zeros((n, 2, 1)),
        "eligible": np.ones((n, 2), bool), "action": rows // 2 % 2, "propensity": np.full(n, 0.5),
        "reward": np.zeros((n, 1)), "objectives": ("clicked",), "user": rows, "time": rows,
    }  # fmt: skip
    return LoggedDataset(**(values | changes))


def test_shares_and_effective_rows_by_hand():
    """In "a" the policy sends with 0.9 and 0.5 in turn: of the sent rows half weigh 1.8 and half 1."""
    data = log(8, action=np.array([1, 1, 1, 0, 1, 0, 0, 0]))
    send = np.array([0.9, 0.5, 0.9, 0.5, 0.2, 0.2, 0.2, 0.2])
    found = support_map(data, np.stack([1 - send, send], axis=1), policy="p", segments=["a"] * 4 + ["b"] * 4)
    assert (found.messages, found.segments, found.rows) == (("silence", "candidate 1"), ("a", "b"), (4, 4))
    cells = {(cell.message, cell.segment): cell for cell in found.cells}
    sent = cells["candidate 1", "a"]
    assert sent.policy_share == pytest.approx((0.9 + 0.5 + 0.9 + 0.5) / 4) and sent.logged_share == 0.75
    assert sent.ess == pytest.approx((1.8 + 1.0 + 1.8) ** 2 / (1.8**2 + 1.0 + 1.8**2))
    assert cells["silence", "b"].ess == pytest.approx(3.0) and cells["silence", "b"].logged == 3
    assert SupportMap.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(
    ("share", "rows", "verdict"),
    [
        pytest.param(0.5, 0, "refuse", id="sent often, never logged"),
        pytest.param(0.04, 0, "caution", id="sent rarely, never logged"),
        pytest.param(0.0005, 0, "fine", id="hardly ever sent"),
        pytest.param(0.5, 9, "refuse", id="9 rows"),
        pytest.param(0.5, 10, "caution", id="10 rows"),
        pytest.param(0.5, 50, "fine", id="50 rows"),
    ],
)
def test_verdicts(share, rows, verdict):
    action = (np.arange(400) < rows).astype(int)
    found = support_map(log(action=action), np.tile([1 - share, share], (400, 1)), segments=["all"] * 400)
    (cell,) = [cell for cell in found.cells if cell.message == "candidate 1"]
    assert cell.verdict == verdict and cell.ess == pytest.approx(rows)
    svg = support_map_svg(found)
    framed = {name for name, colour in VERDICT_COLOURS.items() if f'stroke="{colour}"' in svg}
    assert framed == {verdict} - {"fine"}


def test_the_feature_along_which_policy_and_log_part_is_chosen():
    data = log()
    by_coin = np.where(data.context[:, :1] == 1, [[0.1, 0.9]], [[0.9, 0.1]])
    by_number = np.where(data.context[:, 1:] > 0.5, [[0.1, 0.9]], [[0.9, 0.1]])
    assert support_map(data, by_coin).feature == "context[0]"
    found = support_map(data, by_number)
    assert found.feature == "context[1]" and len(found.segments) == 4
    # Quarters stand in the order of the number, not of their names.
    shares = [cell.policy_share for cell in found.cells if cell.message == "candidate 1"]
    assert shares == sorted(shares)
    assert support_map(data, np.full((400, 2), 0.5)).feature == "all rows"
    # A policy that treats all alike, on a log that left one side of the coin alone.
    quiet = log(action=np.where(data.context[:, 0] == 1, data.action, 0))
    found = support_map(quiet, np.full((400, 2), 0.5))
    assert found.feature == "context[0]"
    assert [cell.verdict for cell in found.cells if cell.message == "candidate 1"] == ["refuse", "fine"]


def test_what_is_rare_is_joined_and_nothing_is_lost():
    data = log(context=np.zeros((400, 1)))
    labels = np.repeat([f"s{i}" for i in range(20)], 20)
    found = support_map(data, np.full((400, 2), 0.5), segments=labels)
    assert len(found.segments) == 6 and found.segments[-1] == "(others)"
    assert sum(found.rows) == 400 == sum(cell.logged for cell in found.cells)
    for s in found.segments:
        assert sum(cell.policy_share for cell in found.cells if cell.segment == s) == pytest.approx(1.0)


def test_labels_must_fit():
    with pytest.raises(InvalidInputError, match=r"segments.*One label for each row"):
        support_map(log(), np.full((400, 2), 0.5), segments=["a"])


def test_probabilities_must_be_a_policys():
    with pytest.raises(InvalidInputError, match=r"action_probs\[0, 0\] == nan, must be finite"):
        support_map(log(), np.full((400, 2), np.nan))


def test_the_picture_says_it_in_words():
    data = log(action=np.zeros(400, int))
    svg = support_map_svg(support_map(data, np.full((400, 2), 0.5), policy="<half>", segments=["all"] * 400))
    assert 'role="img"' in svg and "doubtful support in 1 of 2 cells" in svg
    assert "candidate 1, all: 50.0% of the policy" in svg and "<half>" not in svg
