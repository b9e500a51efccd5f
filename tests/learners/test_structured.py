"""The structured advantage: terms by hand, values in closed form, and what sticks in a world where clicks mislead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homing.errors import InvalidInputError
from homing.learners import make
from homing.learners.state_values import StateValues, features, fit_values
from homing.learners.transitions import Gaps
from homing.log import LoggedDataset
from homing.policies import Effects, LinearRewardModel, StructuredAdvantage, dataset_probs

DAY_US = 86_400_000_000
NONE = np.zeros(0, dtype=np.int64)


def advantage(**changes) -> StructuredAdvantage:
    """One objective, one context column, two candidate columns; a response in half of the sends, a leave in a tenth."""
    zeros = np.zeros((2, 2, 1), dtype=np.float32)
    response = LinearRewardModel(
        zeros, np.zeros((2, 2)), np.zeros((2, 1)), np.array([0.0, np.log(1 / 9)]), ("logit", "logit"), np.ones(2),
        np.zeros(2), np.ones(2),
    )  # fmt: skip
    parts = {
        "response": response,
        "now": Effects(np.array([[-1.0], [4.0]]), np.array([[[0.5]], [[0.0]]]), np.zeros((2, 1, 2))),
        "sticks": Effects(np.array([[0.0], [0.0]]), np.zeros((2, 1, 1)), np.array([[[0.0, 0.0]], [[2.0, 6.0]]])),
        "reach": np.array([[[3.0, 1.0]]]), "reach_columns": np.array([1]), "cost": np.array([0.2, 0.0, 0.1]),
        "weights": np.ones(1),
    }  # fmt: skip
    return StructuredAdvantage(**{**parts, **changes})


def test_terms_by_hand() -> None:
    """x = 2, three candidates: silence, one that carries column 0, one that carries column 1 (the channel)."""
    terms = advantage().terms(np.array([[2.0]]), np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]))
    shown = {name: term[0].round(6).tolist() for name, term in terms.items()}
    assert shown == {
        "now": [0.0, 1.8, 1.8],  # 0.9 · (−1 + 0.5 · 2 + 0.5 · 4)
        "sticks": [0.0, 0.9, 2.7],  # 0.9 · 0.5 · (2 or 6)
        "reach": [0.0, 0.0, -0.5],  # 0.1 · (3 + 1 · 2), on the channel's messages alone
        "doubt": [0.0, 0.0, 0.0],
        "cost": [0.0, -0.2, -0.3],
    }


def test_what_sticks_is_in_proportion_to_the_pace() -> None:
    """max(1 + 0.5 · 2, 0.1) = 2 for one user, and 0.1 at least for the other."""
    candidates = np.array([[[0.0, 0.0], [1.0, 0.0]]] * 2)
    sticks = advantage(pace=np.array([1.0, 0.5]), least_pace=0.1).terms(np.array([[2.0], [-9.0]]), candidates)["sticks"]
    np.testing.assert_allclose(sticks[:, 1], [0.9 * 2.0, 0.9 * 0.1])
    with pytest.raises(InvalidInputError, match="least_pace == 0"):
        advantage(least_pace=0.0)


def test_doubt_is_taken_off_whichever_way_an_objective_is_weighed() -> None:
    """0.2 at once and 0.1 later of any message; the channel is 0.3 and 0.5 more uncertain. x = 2, a pace of 3."""
    doubt = np.array([[[0.2, 0.0, 0.3]], [[0.1, 0.0, 0.5]]])
    uncertain = advantage(doubt=doubt, pace=np.array([1.0, 1.0]), weights=np.array([-2.0]))
    x, candidates = np.array([[2.0]]), np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    told = uncertain.terms(x, candidates)["doubt"][0]
    np.testing.assert_allclose(told, [0.0, -0.9 * 2 * (0.2 + 3 * 0.1), -0.9 * 2 * (0.5 + 3 * 0.6)])
    np.testing.assert_allclose(uncertain.terms(x, candidates, np.array([1.0]))["doubt"][0], told / 2)
    with pytest.raises(InvalidInputError, match=r"doubt.shape == \(1, 1, 3\)"):
        advantage(doubt=doubt[:1])


def test_an_open_channel_is_never_worth_less_than_a_closed_one_and_closing_it_has_its_own_weight() -> None:
    candidates, x = np.array([[[0.0, 0.0], [0.0, 1.0]]]), np.array([[2.0]])
    assert advantage(reach=np.array([[[-9.0, 1.0]]])).terms(x, candidates)["reach"][0, 1] == 0.0
    told = advantage(weights=np.array([-2.0]), leave=0, reach=np.zeros((1, 1, 2)))
    assert told.terms(x, candidates)["reach"][0, 1] == pytest.approx(-0.2)  # 0.1 · −2


def test_values_of_a_chain_are_its_closed_form() -> None:
    """x flips between 0 and 1 every day, and pays 1 at x = 1: V(1) = 1 / (1 − γ²), V(0) = γ V(1)."""
    n, gamma = 400, 0.8
    x = (np.arange(n) % 2).astype(np.float32)[:, None]
    following = np.minimum(np.arange(n) + 1, n - 1)
    last = np.arange(n) == n - 1
    gaps = Gaps(following, np.where(last, 0.0, 1.0), np.zeros(n, bool), last, 9.0)
    going = np.full(n, gamma)
    values = fit_values(x, x.astype(float), gaps, going, NONE, ridge=1e-6)
    high = 1 / (1 - gamma**2)
    np.testing.assert_allclose(values.of(np.array([[0.0], [1.0]])), [[gamma * high], [high]], rtol=1e-3)


def test_what_a_permission_is_worth_is_the_difference_that_it_makes(rng) -> None:
    permissions = np.array([1, 2])
    values = StateValues(rng.normal(size=(features(np.zeros((1, 4)), permissions).shape[1], 2)), permissions)
    x = rng.normal(size=(5, 4))
    x[:, permissions] = rng.integers(0, 2, (5, 2))
    worth = values.of_permission()
    for h, column in enumerate(permissions):
        given, denied = x.copy(), x.copy()
        given[:, column], denied[:, column] = 1.0, 0.0
        difference = values.of(given) - values.of(denied)
        told = worth[h, :, 0] + x @ worth[h, :, 1:].T
        np.testing.assert_allclose(told, difference, atol=1e-9)


def journeys(n_users: int, days: int, rng: np.random.Generator, *, silence: bool = True) -> LoggedDataset:
    """A habit that no one sees decays by a tenth a day and pays every day. Message 1 is clicked half of the time and
    hurts it, message 2 is clicked rarely and feeds it."""
    n = n_users * days
    action = rng.integers(0 if silence else 1, 3, (n_users, days))
    clicked = rng.random((n_users, days)) < np.array([0.0, 0.5, 0.1])[action]
    habit, paid = np.zeros(n_users), np.zeros((n_users, days))
    for day in range(days):
        habit = 0.9 * habit + np.array([0.0, -0.3, 0.3])[action[:, day]]
        paid[:, day] = habit + rng.normal(size=n_users)
    candidates = np.zeros((n, 3, 2), dtype=np.float32)
    candidates[:, 1, 0] = candidates[:, 2, 1] = 1
    eligible = np.ones((n, 3), bool)
    eligible[:, 0] = silence
    probs = eligible / eligible.sum(axis=1, keepdims=True)
    return LoggedDataset(
        context=rng.normal(size=(n, 1)), candidates=candidates, eligible=eligible, action=action.reshape(-1),
        propensity=probs[:, 1], reward=np.column_stack([clicked.reshape(-1), paid.reshape(-1)]),
        objectives=("clicked", "paid"), user=np.repeat(np.arange(n_users), days),
        time=np.tile(np.arange(days) * DAY_US, n_users), probs=probs,
    )  # fmt: skip


def test_what_sticks_decides_where_clicks_mislead(rng) -> None:
    data = journeys(1500, 21, rng)
    fade = np.log(2.0) / -np.log(0.9)  # of the habit
    learner = make("structured", epsilon=0.0, gamma_per_day=0.95, fade_days=fade)
    policy = learner.fit(data, weights={"clicked": 0.1, "paid": 1.0}, rng=rng)
    assert (dataset_probs(policy, data)[:, 2] > 0.5).mean() > 0.99
    terms = policy.scorer.terms(data.context[:500], data.candidates[np.arange(500)])
    total = sum(terms.values()).mean(axis=0)
    # 0.3 at once. Later δ 0.9^t with δ = 0.3, times 2 log(0.9) / (0.9² − 1) = 1.11 as a day's sum stands at its
    # beginning, times 0.9 · 0.95 / −log(0.9 · 0.95) = 5.46 days: 1.82. The habit that no state shows and the noise of a
    # day make δ's error about 0.8 a row, 0.011 in all, or 0.06 of the total; that two messages are told by five
    # numbers, two of them by models of other folds' users, makes it 0.2 (seen over seeds), and three of them.
    assert total[2] == pytest.approx(2.12, abs=0.6)
    assert total[1] == pytest.approx(-2.12, abs=0.6)
    assert learner.report["settings"]["response"] == "clicked"
    assert "reach-not-identified" in learner.report["warnings"]
    # Asked for clicks alone, it sends what is clicked: the weights are a dial.
    assert (dataset_probs(policy, data, weights=np.array([1.0, 0.0]))[:, 1] > 0.5).mean() > 0.9


def test_what_few_users_leave_open_is_read_as_the_log_did_it(rng) -> None:
    """Forty users leave open what messages do; the log sent two times in three. Without doubt hardly any are sent."""
    data = journeys(40, 14, rng)
    idle = replace(data, reward=np.column_stack([data.reward[:, 0], rng.normal(size=data.n)]))
    learner = make("structured", epsilon=0.0)
    policy = learner.fit(idle, weights={"paid": 1.0}, rng=np.random.default_rng(5))
    taken = learner.report["settings"]["standard errors taken off"]
    assert list(taken) == ["messages"]
    certain = replace(policy, scorer=replace(policy.scorer, doubt=None))
    sent, bold = ((dataset_probs(each, idle)[:, 1:].sum(axis=1) > 0.5).mean() for each in (policy, certain))
    assert abs(sent - 2 / 3) < abs(bold - 2 / 3)
    assert (taken["messages"] > 0) == (bold > 2 / 3)


#: What message 0, silence, message 1 and message 2 make of a user's chance to leave in a day.
LEAVING = {"own": (0.0, 1 / 80, 0.0), "share": (0.01, 0.02, 0.0), "few": (0.0, 1 / 800, 0.0)}


@pytest.mark.parametrize("told_by", LEAVING)
def test_of_what_is_rare_as_much_is_told_as_is_sure(rng, told_by) -> None:
    """Message 1 lowers what is paid, message 2 raises it. Leaving is caused by message 1 alone; or in proportion to
    what they make of what is paid; or by message 1, of a dozen users. Chance breaks things."""
    data = journeys(1500, 21, rng)
    left = rng.random(data.n) < np.array(LEAVING[told_by])[data.action]
    broken = np.zeros(data.n)
    broken[rng.choice(data.n, data.n // 300, replace=False)] = 1.0
    reward = np.column_stack([data.reward, left, broken, broken * 0.0])
    rare = replace(data, reward=reward, objectives=(*data.objectives, "left", "broken", "nothing"))
    learner = make("structured", response="clicked", epsilon=0.0, gamma_per_day=0.95, leave="")
    weights = {"paid": 1.0, "left": -3.0, "broken": -3.0}
    policy = learner.fit(rare, weights=weights, rng=rng)
    sure, share = (learner.report["settings"][name] for name in ("sure of own effects", "sure share of common effects"))
    nothing = {"now": 0.0, "sticks": 0.0}
    assert sure["paid"] == {"now": 1.0, "sticks": 1.0}
    assert sure["broken"] == sure["nothing"] == share["broken"] == share["nothing"] == nothing
    assert (sure["left"]["now"] > 0.0, share["left"]["now"] != 0.0) == (told_by == "own", told_by == "share")
    if told_by == "own":
        # 1/80 of the messages, with an error of 1/80 · sqrt(2/130) for two, is told as such but for 4 errors.
        assert 1.0 - 5 * np.sqrt(2 / 130) < sure["left"]["now"] < 1.0
        batch = rare.rows(np.arange(500))
        responses = policy.scorer.response.predict(batch.context, batch.candidates)[:, :, 0]
        effect = policy.scorer.now.of(batch.context, batch.candidates, responses)[:, 1:, 2].mean(axis=0)
        np.testing.assert_allclose(effect / sure["left"]["now"], [1 / 80, 0.0], atol=4 / 80 * np.sqrt(2 / 130))
    elif told_by == "share":
        # ∓0.3 of what is paid goes with ±0.01, a share of −0.033; less 2.9 standard errors of
        # sqrt(0.01 / (31,500 · 0.06)) = 0.0023, as the variance of the effect, ± 0.3 or 0, is 0.06.
        assert share["left"]["now"] == pytest.approx(-0.033 + 2.9 * 0.0023, abs=3 * 0.0023)
    told = learner.report["warnings"]["effects-not-told"]
    assert ("left" in told) == (told_by == "few") and "broken: too rare" in told
    assert (dataset_probs(policy, rare)[:, 2] > 0.5).mean() > 0.99


def test_closed_channels_are_counted_by_what_they_close_alone(rng) -> None:
    """The objective of leaving has no effects beside: those are of users who stay, whose messages closed nothing."""
    data = journeys(600, 14, rng)
    closed = (data.action == 1) & (rng.random(data.n) < 0.1)
    rows = replace(data, reward=np.column_stack([data.reward, closed]), objectives=(*data.objectives, "closed"))
    learner = make("structured", epsilon=0.0)
    scorer = learner.fit(rows, weights={"paid": 1.0, "closed": -1.0}, rng=rng).scorer
    assert scorer.leave == 2
    for effects in (scorer.now, scorer.sticks):
        assert (
            not effects.constant[:, 2].any() and not effects.candidate[:, 2].any() and not effects.context[:, 2].any()
        )
    assert "closed" not in learner.report["settings"]["sure share of common effects"]
    chance = scorer.response.predict(rows.context[:200], rows.candidates[np.arange(200)])[:, 1, 1]
    terms = [
        scorer.terms(rows.context[:200], rows.candidates[np.arange(200)], np.array([0, 0, w])) for w in (-1.0, -5.0)
    ]
    np.testing.assert_allclose(terms[0]["reach"][:, 1], -chance)
    np.testing.assert_allclose(terms[1]["reach"][:, 1], -5.0 * chance)


def test_what_the_log_cannot_tell_is_refused(rng) -> None:
    data = journeys(60, 12, rng)
    with pytest.raises(InvalidInputError, match="Not identified: `now` and `sticks`, what a"):
        make("structured").fit(journeys(60, 12, rng, silence=False), rng=rng)
    quiet = data.take(np.flatnonzero(data.reward[:, 0] == 0))
    with pytest.raises(InvalidInputError, match="response == None, must be an objective that is 0 or 1"):
        make("structured").fit(quiet, rng=rng)
    with pytest.raises(InvalidInputError, match=r"decisions that the log follows == 0, must be >= 1 with tail_days=30"):
        make("structured", tail_days=30).fit(data, rng=rng)
