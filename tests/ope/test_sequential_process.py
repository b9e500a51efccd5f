"""Sequential estimators on decision processes whose values follow from a linear system."""

from datetime import timedelta
from itertools import product

import numpy as np
import pytest

from homing.log import LoggedDataset
from homing.ope import evaluate_sequential
from homing.ope.sequential import SEQUENTIAL, LinearFQE

EVERY = tuple(SEQUENTIAL)
DAY = timedelta(days=1)


def build(*, user, step, action, propensity, reward, days, eligible):
    n, k = eligible.shape
    return LoggedDataset(
        context=np.zeros((n, 1)), candidates=np.zeros((n, k, 1)), eligible=eligible, action=action,
        propensity=propensity, reward=reward.reshape(n, -1), objectives=("earned",), user=user,
        time=(days * 86_400_000_000).astype(np.int64),
    )  # fmt: skip


class Small:
    """Two states, two actions, at most three decisions: few enough journeys to write down every one.

    The first state is either, with equal probability. After action a in state s the journey goes on with probability
    ½ or 1; the next state is 1 with probability 0, ½ or 1; Δt is 1 or 2 days. So a log in which every journey occurs
    as often as it is probable needs no more than 2,048 users.
    """

    LOG = np.array([[0.5, 0.5], [0.25, 0.75]])
    TARGET = np.array([[0.2, 0.8], [0.6, 0.4]])
    REWARD = np.array([[0.0, 1.0], [2.0, -1.0]])
    GO_ON = np.array([[0.5, 1.0], [1.0, 0.5]])
    UP = np.array([[0.5, 0.0], [1.0, 0.5]])
    USERS = 2048
    DAYS = np.array([[1.0, 2.0], [2.0, 1.0]])
    STEPS = 3

    @classmethod
    def value(cls, gamma, semi):
        """The linear system over (step, state): v = r + M v, solved as such; (STEPS, 2)."""
        discount = gamma**cls.DAYS if semi else np.full((2, 2), gamma)
        size = 2 * cls.STEPS
        moves, reward = np.zeros((size, size)), np.zeros(size)
        for t, s, a in product(range(cls.STEPS), range(2), range(2)):
            reward[2 * t + s] += cls.TARGET[s, a] * cls.REWARD[s, a]
            if t + 1 < cls.STEPS:
                for s2, p in ((0, 1 - cls.UP[s, a]), (1, cls.UP[s, a])):
                    moves[2 * t + s, 2 * t + 2 + s2] += cls.TARGET[s, a] * discount[s, a] * cls.GO_ON[s, a] * p
        return np.linalg.solve(np.eye(size) - moves, reward).reshape(cls.STEPS, 2)

    @classmethod
    def journeys(cls):
        """Every journey as a list of (state, action), with its probability under the logging policy."""

        def grow(state, probability, past):
            for a in range(2):
                p = probability * cls.LOG[state, a]
                here = [*past, (state, a)]
                if len(here) == cls.STEPS:
                    yield here, p
                    continue
                yield here, p * (1 - cls.GO_ON[state, a])
                for s2, up in ((0, 1 - cls.UP[state, a]), (1, cls.UP[state, a])):
                    yield from grow(s2, p * cls.GO_ON[state, a] * up, here)

        for first in range(2):
            yield from (item for item in grow(first, 0.5, []) if item[1] > 0.0)

    @classmethod
    def log(cls, copies):
        """A log of these journeys, `copies[i]` users of the i-th; also the state and step of each row."""
        user, rows = [], []
        for (path, _), count in zip(cls.journeys(), copies, strict=True):
            for _ in range(count):
                days = 0.0
                for step, (s, a) in enumerate(path):
                    rows.append((step, s, a, days))
                    days += cls.DAYS[s, a]
                user += [user[-1] + 1 if user else 0] * len(path)
        step, state, action, days = (np.array(column) for column in zip(*rows, strict=True))
        step, state, action = step.astype(int), state.astype(int), action.astype(int)
        log = build(
            user=np.array(user), step=step, action=action, propensity=cls.LOG[state, action],
            reward=cls.REWARD[state, action], days=days, eligible=np.ones((len(step), 2), bool),
        )  # fmt: skip
        return log, state, step


@pytest.mark.parametrize("semi", [False, True], ids=["per decision", "per day"])
def test_unbiased_by_enumeration(rng, semi):
    """The mean of users' terms over all journeys, by their probability, is the true value: to rounding, for any q̂."""
    probability = np.array([p for _, p in Small.journeys()])
    assert probability.sum() == pytest.approx(1.0)
    log, state, _ = Small.log(np.ones(len(probability), int))
    report = evaluate_sequential(
        log, Small.TARGET[state], gamma=0.8, q_function=rng.normal(size=(log.n, 2)), time_unit=DAY if semi else None,
        estimators=("tis", "pdis"),
    )  # fmt: skip
    by_state = rng.normal(size=(2, 2))[state]  # for DR a function of what is known at the decision
    corrected = evaluate_sequential(
        log, Small.TARGET[state], gamma=0.8, q_function=by_state, time_unit=DAY if semi else None, estimators=("dr",)
    )
    truth = Small.value(0.8, semi)[0].mean()
    for found, name in ((report, "tis"), (report, "pdis"), (corrected, "dr")):
        terms = found.influence[name, "earned"] * len(probability) + found.estimate("earned", name).value
        assert probability @ terms == pytest.approx(truth, rel=1e-12), name


@pytest.mark.parametrize("semi", [False, True], ids=["per decision", "per day"])
def test_exact_on_a_log_in_which_all_is_as_probable(semi):
    """Every journey occurs as often as it is probable: what is consistent is exact, to rounding.

    The log is written twice, user by user, so that both folds of the cross-fit hold exactly the same.
    """
    probability = np.array([p for _, p in Small.journeys()])
    copies = np.round(probability * Small.USERS).astype(int)
    assert (copies == probability * Small.USERS).all()
    log, state, step = Small.log(2 * copies)
    features = np.eye(12)[(step * 4 + state * 2)[:, None] + np.arange(2)]
    truth = Small.value(0.8, semi)[0].mean()
    report = evaluate_sequential(
        log, Small.TARGET[state], gamma=0.8, q_function=LinearFQE(features=features, folds=2, ridge=1e-14),
        state=np.column_stack([step, state]), time_unit=DAY if semi else None, estimators=EVERY,
    )  # fmt: skip
    for name in EVERY:
        assert report.estimate("earned", name).value == pytest.approx(truth, rel=1e-10), name
    assert abs(report.logged["earned"].value - truth) > 0.1


def test_a_state_without_the_step_suffices_where_steps_are_estimated_apart():
    """SMIS estimates each step anew, ARP knows when the log ends; for MWL the forced end would need the step there."""
    copies = np.round(np.array([p for _, p in Small.journeys()]) * Small.USERS).astype(int)
    log, state, _ = Small.log(copies)
    report = evaluate_sequential(log, Small.TARGET[state], gamma=0.8, state=state, estimators=("smis", "arp", "mwl"))
    truth = Small.value(0.8, False)[0].mean()
    for name in ("smis", "arp"):
        assert report.estimate("earned", name).value == pytest.approx(truth, rel=1e-12), name
    assert abs(report.estimate("earned", "mwl").value - truth) > 0.005


class Endless:
    """Three states, three actions of which one is not eligible in state 0; a journey may end after each decision."""

    STATES = 3
    ELIGIBLE = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], bool)
    LOG = np.array([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.5, 0.2, 0.3]])
    TARGET = np.array([[0.3, 0.7, 0.0], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    REWARD = np.array([[0.0, 0.4, 0.0], [0.2, 0.6, 1.0], [0.1, 0.9, 0.3]])
    STOP = np.array([[0.2, 0.3, 0.0], [0.25, 0.2, 0.35], [0.3, 0.3, 0.2]])
    DAYS = np.array([[1, 2, 3], [1, 2, 3], [2, 1, 1]])
    START = np.array([0.5, 0.3, 0.2])
    MOVE = np.random.default_rng(5).dirichlet(np.ones(3), (3, 3))

    @classmethod
    def value(cls, gamma, semi):
        """v = (I - M)⁻¹ r over states."""
        discount = gamma**cls.DAYS if semi else gamma
        moves = np.einsum("sa,sat->st", cls.TARGET * discount * (1 - cls.STOP), cls.MOVE)
        return cls.START @ np.linalg.solve(np.eye(3) - moves, (cls.TARGET * cls.REWARD).sum(axis=1))

    @classmethod
    def simulate(cls, rng, users):
        """A log, and the state of each row."""
        rows = []
        alive, day, step = np.arange(users), np.zeros(users), 0
        state = draw(np.tile(cls.START, (users, 1)), rng)
        while len(alive):
            action = draw(cls.LOG[state], rng)
            rows.append((alive, state, action, day, np.full(len(alive), step)))
            on = rng.random(len(alive)) >= cls.STOP[state, action]
            day = (day + cls.DAYS[state, action])[on]
            alive, state = alive[on], draw(cls.MOVE[state, action], rng)[on]
            step += 1
        user, state, action, day, step = (np.concatenate(column) for column in zip(*rows, strict=True))
        reward = cls.REWARD[state, action] + rng.normal(0, 0.2, len(user))
        log = build(
            user=user, step=step, action=action, propensity=cls.LOG[state, action], reward=reward, days=day,
            eligible=cls.ELIGIBLE[state],
        )  # fmt: skip
        return log, state

    @classmethod
    def evaluate(cls, rng, users, semi=False, estimators=EVERY):
        log, state = cls.simulate(rng, users)
        features = np.eye(9)[(state * 3)[:, None] + np.arange(3)]
        return evaluate_sequential(
            log, cls.TARGET[state], gamma=0.9, q_function=LinearFQE(features=features), state=state,
            time_unit=DAY if semi else None, estimators=estimators,
        )  # fmt: skip


def draw(probs, rng):
    return (probs.cumsum(axis=1) < rng.random(len(probs))[:, None]).sum(axis=1).clip(0, probs.shape[1] - 1)


@pytest.mark.parametrize("semi", [False, True], ids=["per decision", "per day"])
def test_recovers_the_value_of_an_endless_process(rng, semi):
    """8,000 users of 1 to about 40 decisions: within 4 standard errors, and what knows more is narrower."""
    report = Endless.evaluate(rng, 8_000, semi)
    truth = Endless.value(0.9, semi)
    assert report.support.verdict == "fine"
    for name in EVERY:
        found = report.estimate("earned", name)
        assert abs(found.value - truth) < 4 * found.std_error < 0.15, name
    assert abs(report.logged["earned"].value - truth) > 0.08
    error = {name: report.estimate("earned", name).std_error for name in EVERY}
    assert error["fqe"] < error["wdr"] < error["snpdis"] < error["sntis"]
    assert error["smis"] < error["snpdis"] and error["dr"] < error["pdis"] < error["tis"]


@pytest.mark.parametrize(("steps", "narrower"), [(5, 0.8), (20, 1.1), (40, 1.6)])
def test_the_reduced_state_pays_where_journeys_are_long(rng, steps, narrower):
    """Messages tire for three decisions: which of the last three were messages is all that matters of the past.

    What is narrower is so by far more than an interval shows after 40 decisions: SNPDIS's own error is then 0.67, which
    its standard error, resting on a few users, understates.
    """
    users, p = 1_000, 0.75
    sent = rng.integers(0, 2, (users, steps))
    lags = [np.pad(sent, ((0, 0), (lag, 0)))[:, :steps] for lag in (1, 2, 3)]
    session = rng.random((users, steps)) < 0.3 + 0.12 * sent - 0.07 * sum(lags)
    n = users * steps
    log = build(
        user=np.repeat(np.arange(users), steps), step=None, action=sent.ravel(), propensity=np.full(n, 0.5),
        reward=session.ravel(), days=np.tile(np.arange(steps), users), eligible=np.ones((n, 2), bool),
    )  # fmt: skip
    report = evaluate_sequential(
        log, np.tile([1 - p, p], (n, 1)), gamma=1.0, state=np.stack(lags, axis=-1).reshape(n, 3),
        estimators=("pdis", "snpdis", "smis"),
    )  # fmt: skip
    truth = sum(0.3 + 0.12 * p - 0.07 * p * min(t, 3) for t in range(steps))
    error = {name: report.estimate("earned", name).std_error for name in report.estimators}
    assert abs(report.estimate("earned", "smis").value - truth) < 4 * error["smis"] < 0.1 * truth + 0.05
    assert narrower * error["smis"] < min(error["snpdis"], error["pdis"])
    assert steps == 5 or report.support.verdict != "fine"


@pytest.mark.slow
def test_intervals_cover_the_value_of_an_endless_process(rng):
    """400 logs of 500 users: 95 % within 4 standard errors of 1.1 % (90.6 %).

    Trajectory-wise estimators are held to 90 % - 4 · 1.5 %: their weights are products over whole journeys, whose
    tail a normal interval understates (measured 90 %), which is why they are not among the defaults.
    """
    truth = Endless.value(0.9, False)
    hits = dict.fromkeys(EVERY, 0)
    for _ in range(400):
        report = Endless.evaluate(rng, 500)
        for name in EVERY:
            found = report.estimate("earned", name)
            hits[name] += found.lower <= truth <= found.upper
    for name, count in hits.items():
        least = 0.84 if name in ("tis", "sntis") else 0.906
        assert least <= count / 400 <= 0.985, (name, count)
