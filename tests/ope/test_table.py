"""A policy's table is read piece by piece; what comes of it is what the whole arrays give."""

from __future__ import annotations

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.log import LoggedDataset
from homing.ope import messages as messages_of
from homing.ope.messages import Messages
from homing.ope.table import PolicyTable, check_action_probs

N, K = 23, 4


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows a piece, so that the log is several pieces and the last one is shorter."""
    monkeypatch.setattr(messages_of, "CELLS_AT_ONCE", 5 * K)


@pytest.fixture
def log(rng: np.random.Generator) -> LoggedDataset:
    eligible = rng.random((N, K)) < 0.7
    eligible[:, 0] = True
    action = np.array([rng.choice(np.flatnonzero(row)) for row in eligible])
    return LoggedDataset(
        context=np.zeros((N, 1)),
        candidates=np.zeros((N, K, 1)),
        eligible=eligible,
        action=action,
        propensity=rng.uniform(0.2, 0.9, N),
        reward=rng.random((N, 2)),
        objectives=("clicked", "spend"),
        user=np.arange(N),
        time=np.arange(N),
    )


@pytest.fixture
def probs(log: LoggedDataset, rng: np.random.Generator) -> np.ndarray:
    raw = rng.random((N, K)) * log.eligible
    return raw / raw.sum(axis=1, keepdims=True)


def shuffled(log: LoggedDataset) -> Messages:
    """Another message in another place of each row, and padding where nothing is eligible."""
    code = (np.arange(K)[None, :] + np.arange(N)[:, None]) % K
    return Messages(tuple("abcd"), np.where(log.eligible, code, -1).astype(np.int32))


@pytest.mark.parametrize("places", ["fixed", "shuffled"])
def test_pieces_add_up(log: LoggedDataset, probs: np.ndarray, places: str, rng: np.random.Generator) -> None:
    q = rng.normal(size=(N, K, 2))
    known = Messages.of(log) if places == "fixed" else shuffled(log)
    table = PolicyTable.read(log, probs, known, q)
    rows = np.arange(N)
    assert table.logged.tolist() == probs[rows, log.action].tolist()
    for j in range(2):
        logged, policy = table.predictions(j)
        assert logged == pytest.approx(q[rows, log.action, j])
        assert policy == pytest.approx((probs * q[:, :, j]).sum(axis=1))
    for name, total, size, chosen in zip(
        known.names, table.policy_total, table.eligible_total, table.logged_total, strict=True
    ):
        here = known.code == known.names.index(name)
        assert total == pytest.approx(probs[here].sum())
        assert size == log.eligible[here].sum()
        assert chosen == here[rows, log.action].sum()
    assert table.eligible_total.sum() == log.eligible.sum() and table.logged_total.sum() == N


def test_without_a_model_there_are_no_predictions(log: LoggedDataset, probs: np.ndarray) -> None:
    table = PolicyTable.read(log, probs, Messages.of(log))
    assert table.predictions(1) == (None, None) and table.q_hat is None


def test_what_is_wrong_is_named_by_its_row_in_the_log(log: LoggedDataset, probs: np.ndarray) -> None:
    def refused(change: np.ndarray, q: np.ndarray | None = None) -> str:
        with pytest.raises(InvalidInputError) as seen:
            PolicyTable.read(log, change, Messages.of(log), q)
        if q is None:
            with pytest.raises(InvalidInputError) as alone:
                check_action_probs(log, change)
            assert str(alone.value) == str(seen.value)
        return str(seen.value)

    for value, message in (
        (np.nan, "action_probs[17, 0] == nan, must be finite."),
        (-0.5, "action_probs[17, 0] == -0.5, must be >= 0."),
        (2.0, "action_probs[17].sum() == "),
    ):
        bad = probs.copy()
        bad[17, 0] = value
        assert refused(bad).startswith(message)
    row, column = (int(i) for i in np.argwhere(~log.eligible)[-1])
    bad = probs.copy()
    bad[row] = np.eye(K)[column]
    assert refused(bad).startswith(f"action_probs[{row}, {column}] == 1.0, must be 0 where the candidate is not")
    # A prediction that is never used must be finite too.
    q = np.zeros((N, K, 2))
    q[row, column, 1] = np.inf
    assert refused(probs, q) == f"q_hat[{row}, {column}, 1] == inf, must be finite."
    assert refused(probs, q[:, :, :1]).startswith("q_hat.shape == (23, 4, 1), must be (23, 4, 2).")
