"""What every learner says of a log that teaches nothing, or less than it seems: an error or a named warning."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
import pytest

from homing.errors import HomingError
from homing.learners import make, names
from homing.log import LoggedDataset

HOUR = 3_600_000_000
#: Little to train: what is said does not depend on it.
SHORT = {
    "steps": 10, "max_epochs": 1, "folds": 2, "penalties": [10.0], "model_penalties": [10.0], "draws": 8,
    "sizes": (4, 4),
}  # fmt: skip
NEEDED = {
    "structured": {"tail_days": 0.0, "leave": ""},
    "survival-rule": {"objective": "session", "horizon_hours": 200.0},
    "progressive": {"days": 2},
}
#: Those that copy what was logged, or follow an order, whatever came of it.
RULES = ("message-shares", "priority", "uniform")


def log(rng, *, n=96, k=3, silence=True, certain=False, varied=True, rewards=True, users=24) -> LoggedDataset:
    """Uniform choices with an effect on a session and a click, three candidates, two numbers of context."""
    least = 0 if silence else 1
    action = np.full(n, k - 1) if certain else rng.integers(least, k, n)
    session, click = rng.random(n) < 0.2 + 0.3 * (action > 0), (action > 0) & (rng.random(n) < 0.4)
    return LoggedDataset(
        context=rng.normal(size=(n, 2)) if varied else np.zeros((n, 2)),
        candidates=np.broadcast_to(np.eye(k, dtype=np.float32), (n, k, k)), eligible=np.ones((n, k), bool),
        action=action, propensity=np.full(n, 1.0 if certain else 1 / (k - least)),
        reward=np.stack([session, click], axis=1) * float(rewards), objectives=("session", "click"),
        user=np.arange(n) % users, time=np.arange(n) * 3 * HOUR,
    )  # fmt: skip


@dataclass(frozen=True)
class Odd:
    """A log, and what must be said of it.

    Attributes:
        made: arguments of `log`.
        warning: its name where the learner goes on.
        weights: of objectives.
    """

    made: dict[str, object]
    warning: str
    weights: dict[str, float] | None = None


ODD = {
    "silence was never left to chance": Odd({"silence": False}, "silence-not-random"),
    "one action was always taken": Odd({"certain": True}, "one-action"),
    "one candidate": Odd({"k": 1, "certain": True}, "nothing-to-learn"),
    "constant rewards": Odd({"rewards": False}, "nothing-to-learn"),
    "features without variance": Odd({"varied": False}, "constant-features"),
    "users with one decision": Odd({"users": 96}, "contextual-bandit"),
    "weights that sum to 0": Odd({}, "weights-sum-to-zero", {"session": 1.0, "click": -1.0}),
}


def learner_of(name):
    known = inspect.signature(type(make(name))).parameters
    return make(name, **NEEDED.get(name, {}), **{key: value for key, value in SHORT.items() if key in known})


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", names())
def test_nothing_trains_silently_on_garbage(name, odd):
    data = log(np.random.default_rng(4), **odd.made)
    learner = learner_of(name)
    try:
        learner.fit(data, weights=odd.weights, rng=np.random.default_rng(5))
    except HomingError as error:
        assert ", must " in str(error) and name not in RULES
    else:
        assert odd.warning in learner.report["warnings"]
        assert all(isinstance(text, str) and text.endswith(".") for text in learner.report["warnings"].values())


@pytest.mark.parametrize("name", names())
def test_a_sound_log_is_taken_without_a_word(name):
    """What a learner lacks itself (channels, time to train) it may name."""
    learner = learner_of(name)
    learner.fit(log(np.random.default_rng(4)), rng=np.random.default_rng(5))
    assert set(learner.report["warnings"]) <= {"reach-not-identified", "effects-not-told", "no-progress"}


def test_structured_says_which_terms_are_not_identified():
    with pytest.raises(
        HomingError, match=r"chance chose silence == 0, must be >= 1. Not identified: `now` and `sticks`"
    ):
        learner_of("structured").fit(log(np.random.default_rng(4), silence=False), rng=np.random.default_rng(5))
