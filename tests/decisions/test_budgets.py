"""Budgets in the service: hard stops never give way, prices move scores, propensities are those of the draw made."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta

import numpy as np
import pytest

from homing.decisions import Budgets, DecisionService, SqliteLedger
from homing.errors import CorruptFileError, InvalidInputError
from homing.planning import FixedPrices, PricedBudget, Prices
from homing.planning.pacing import slice_of
from homing.policies import EpsilonGreedyPolicy, GreedyPolicy, SendIfPolicy, SoftmaxPolicy, UniformPolicy

PUSH = {"channel": "push"}


class Scores:
    """Values 0 for silence, 0.5 for the first message, 0.4 for the second, whatever the features."""

    def scores(self, context, candidates, weights=None):
        return np.tile(np.array([0.0, 0.5, 0.4, 0.3])[: candidates.shape[1]], (len(candidates), 1))

    def predict(self, context, candidates):
        return 2.0 * self.scores(context, candidates)[:, :, None]


@pytest.fixture
def budgets_of(now):
    def make(*budgets, pacer=None, **keys):
        return Budgets(Prices(budgets, start=now.replace(hour=0), **keys), pacer or FixedPrices())

    return make


@pytest.fixture
def two_channels(request_of):
    request = request_of()
    request["candidates"][1]["channel"] = "email"
    return request


def test_a_price_moves_the_choice_and_the_receipt_says_by_how_much(make_service, artifact, budgets_of, two_channels):
    greedy = artifact(policy=GreedyPolicy(Scores()))
    free = make_service(policy=greedy).decide(two_channels)
    assert (free.action, free.prices, free.costs) == (1, None, None)
    service = make_service(policy=greedy, budgets=budgets_of(PricedBudget("push", 9, 0.2, PUSH)))
    decision = service.decide(two_channels)
    assert (decision.action, decision.propensity) == (2, 1.0)
    assert (decision.prices, decision.costs) == ({"push": 0.2}, (0.0, 0.2, 0.0))
    assert decision.scores == (0.0, 0.5, 0.4)  # what the policy thinks of them, before prices
    assert service.get(decision.decision_id) == decision
    dear = budgets_of(PricedBudget("all", 9, 0.6))
    assert make_service(policy=greedy, budgets=dear).decide(two_channels).is_silence


# With price 0.2 on push the scores are 0, 0.3, 0.4. Softmax at temperature 0.1 weighs them by e^0, e^3, e^4; at
# ε = 0.3 a third of it goes to each of the three beside the priced greedy choice; send-if wants more than 0.35.
POLICIES = {
    "softmax": (SoftmaxPolicy(Scores(), 0.1), np.exp([0.0, 3.0, 4.0]) / np.exp([0.0, 3.0, 4.0]).sum()),
    "epsilon": (EpsilonGreedyPolicy(GreedyPolicy(Scores()), 0.3), [0.1, 0.1, 0.8]),
    "send-if": (SendIfPolicy(Scores(), 0.35), [0.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_propensities_are_those_of_the_priced_policy(kind, make_service, artifact, budgets_of, two_channels):
    policy, want = POLICIES[kind]
    budgets = budgets_of(PricedBudget("push", 1e6, 0.2, PUSH))
    service = make_service(policy=artifact(policy=policy), budgets=budgets, rng=np.random.default_rng(3))
    made = service.decide_many([two_channels | {"user_id": f"u{i}"} for i in range(400)])
    assert made[0].propensities == pytest.approx(want)
    counts = np.bincount([decision.action for decision in made], minlength=3) / 400
    # Four standard deviations of a share of 400 draws.
    assert np.abs(counts - want).max() <= 4 * np.sqrt(0.25 / 400)


def test_softmax_of_priced_scores_is_the_policy_reweighted(artifact):
    """π'(a) ∝ π(a) · exp(−cost/temperature), the closed form of the docstring."""
    from homing.policies.priced import priced

    rng = np.random.default_rng(0)
    x, c, mask = np.zeros((5, 1)), np.zeros((5, 4, 1)), rng.random((5, 4)) < 0.8
    mask[:, 0] = True
    costs = rng.random((5, 4))
    policy = SoftmaxPolicy(Scores(), 0.7)
    want = policy.action_probs(x, c, mask) * np.exp(-costs / 0.7)
    got = priced(policy, costs).action_probs(x, c, mask)
    np.testing.assert_allclose(got, want / want.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_used_up_budget_masks_also_in_the_uniform_slice(make_service, budgets_of, two_channels):
    prices = budgets_of(PricedBudget("push", 3, 0.0, PUSH)).prices
    service = make_service(budgets=Budgets(prices, pacer=None), uniform_share=1.0)
    made = [service.decide(two_channels | {"user_id": f"u{i}"}) for i in range(40)]
    assert sum(decision.candidate.channel == "push" for decision in made) == 3
    last = made[-1]
    assert last.propensities == pytest.approx((0.5, 0.0, 0.5))
    assert last.guards[1][0].guard == "budget"
    assert last.guards[1][0].reason == "push: 0 of 3 left, 1 needed"
    assert service.tally.snapshot()["guard_hits", (("guard", "budget"),)] > 0


def test_one_batch_does_not_exceed_what_is_left(make_service, artifact, budgets_of, request_of):
    """Ten users at once, room for four, real-valued units of 0.5 beside whole ones."""
    budgets = budgets_of(
        PricedBudget("push", 4, 0.0, PUSH), PricedBudget("risk", 1.4, 0.0, amount="feature.risk"), pacer=FixedPrices()
    )
    service = make_service(policy=artifact(policy=GreedyPolicy(Scores())), budgets=budgets)
    requests = [request_of(f"u{i}", n=1) for i in range(10)]
    for request in requests:
        request["candidates"][0]["features"] = {"risk": 0.5}
    made = service.decide_many(requests)
    assert [d.action for d in made] == [1, 1] + [0] * 8  # a third would make 1.5
    assert "risk: 0.4 of 1.4 left, 0.5 needed" in made[2].guards[1][0].reason
    part = f" {slice_of(budgets.prices.elapsed(made[0].decided_at))}"
    with service.ledger.transaction() as tx:
        assert tx.used(budgets.prices.period(made[0].decided_at)) == {part: 10.0, "push": 2.0, "risk": 1.0}


def test_a_pacer_is_told_what_came_in_each_slice(make_service, artifact, request_of, now):
    """Slices of an even day are hours."""
    told = []

    class Listens:
        def signed(self, prices, *, elapsed, requests, used):
            told.append((elapsed, requests[:4].tolist(), requests[4:].sum()))
            return prices.signed

    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    budgets = Budgets(Prices((PricedBudget("push", 9, 0.0, PUSH),), midnight), Listens())
    for hour in (0.5, 1.25, 1.75, 2.5, 6.0):
        at = midnight + timedelta(hours=hour)
        make_service(policy=artifact(policy=GreedyPolicy(Scores())), budgets=budgets, clock=lambda at=at: at).decide(
            request_of("u", n=1)
        )  # fmt: skip
    assert told == [
        (0.5 / 24, [0, 0, 0, 0], 0), (1.25 / 24, [1, 0, 0, 0], 0), (1.75 / 24, [1, 1, 0, 0], 0),
        (2.5 / 24, [1, 2, 0, 0], 0), (0.25, [1, 2, 1, 0], 0),
    ]  # fmt: skip


def test_many_deciders_share_one_budget(tmp_path, artifact, budgets_of, request_of, now):
    """Four services on one file, as four processes would be: exactly the budget is used."""
    prices = budgets_of(PricedBudget("push", 37, 0.01, PUSH)).prices
    # Made before they open it: SQLite lets only one connection turn a new file's journal into a write-ahead log.
    SqliteLedger(tmp_path / "shared.db").close()

    def decide(number):
        ledger = SqliteLedger(tmp_path / "shared.db")
        service = DecisionService(artifact(policy=GreedyPolicy(Scores())), [], ledger, version="1",
                                  budgets=Budgets(prices, FixedPrices()), clock=lambda: now)  # fmt: skip
        for i in range(10):
            sent[number] += sum(not d.is_silence for d in service.decide_many(
                [request_of(f"u{number}-{i}-{j}") for j in range(2)]))  # fmt: skip
        ledger.close()

    sent = [0] * 4
    threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 37


def test_the_next_day_begins_anew_and_a_restart_does_not(make_service, artifact, budgets_of, request_of, now):
    budgets = budgets_of(PricedBudget("push", 1, 0.0, PUSH))
    policy = artifact(policy=GreedyPolicy(Scores()))
    assert not make_service(policy=policy, budgets=budgets).decide(request_of("a")).is_silence
    assert make_service(policy=policy, budgets=budgets).decide(request_of("b")).is_silence
    tomorrow = make_service(policy=policy, budgets=budgets, clock=lambda: now + timedelta(days=1))
    assert not tomorrow.decide(request_of("c")).is_silence


def test_an_expected_outcome_is_an_amount(make_service, artifact, budgets_of, request_of):
    """Scores predicts 1.0 of clicks for the first message: one unit over silence."""
    budgets = budgets_of(PricedBudget("clicks", 5, 0.45, amount="objective.clicks"))
    decision = make_service(policy=artifact(policy=GreedyPolicy(Scores())), budgets=budgets).decide(request_of())
    assert decision.costs == pytest.approx((0.0, 0.45, 0.36))
    assert decision.action == 1  # 0.05 against 0.04


def test_prices_of_another_policy_are_refused(make_service, artifact, budgets_of, request_of):
    ours = budgets_of(PricedBudget("push", 5, 0.1, PUSH), policy="1" * 64)
    greedy = artifact(policy=GreedyPolicy(Scores()))
    with pytest.raises(InvalidInputError, match=r"digest of the policy == '0+', must be 1+, whose scores"):
        make_service(policy=greedy, budgets=ours)
    service = make_service(policy=greedy)
    with pytest.raises(InvalidInputError, match="pacer=None for hard stops alone"):
        service.replace_budgets(ours)
    assert service.budgets is None
    other = artifact(policy=GreedyPolicy(Scores()), digest="1" * 64)
    service.replace_policy(other, "2", budgets=ours)
    assert (service.budgets, service.model.version) == (ours, "2")
    with pytest.raises(InvalidInputError, match="digest of the policy"):
        service.replace_policy(greedy, "3")
    assert service.model.version == "2"
    service.replace_policy(greedy, "3", budgets=None)
    assert service.decide(request_of()).prices is None


def test_a_policy_without_scores_has_hard_stops_alone(make_service, artifact, budgets_of):
    budgets = budgets_of(PricedBudget("push", 5, 0.1, PUSH))
    with pytest.raises(InvalidInputError, match="policy == 'known', has no scores that prices could be taken off"):
        make_service(policy=artifact(policy=UniformPolicy()), budgets=budgets)
    make_service(policy=artifact(policy=UniformPolicy()), budgets=Budgets(budgets.prices, pacer=None))


def test_a_missing_amount_is_named(make_service, artifact, budgets_of, request_of):
    budgets = budgets_of(PricedBudget("money", 5, 0.1, amount="feature.cents"))
    service = make_service(policy=artifact(policy=GreedyPolicy(Scores())), budgets=budgets)
    with pytest.raises(InvalidInputError, match=r"candidates\[0\] feature.cents == None, must be a finite number"):
        service.decide(request_of())
    assert service.ledger.counts()["decisions"] == 0


def test_a_ledger_of_before_gains_its_budgets(tmp_path, artifact, budgets_of, request_of, make_service):
    path = tmp_path / "old.db"
    SqliteLedger(path).close()
    db = sqlite3.connect(path)
    db.execute("DROP TABLE budgets")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    with SqliteLedger(path).transaction() as tx:
        tx.use("day", {"push": 2.0, "email": 0.0})
        tx.use("day", {"push": 0.5})
        assert (tx.used("day"), tx.used("another day")) == ({"push": 2.5}, {})
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(CorruptFileError, match="must be 2"):
        SqliteLedger(path)


def test_without_budgets_nothing_is_counted(make_service, request_of):
    service = make_service()
    decision = service.decide(request_of())
    db = service.ledger._connection()
    assert db.execute("SELECT count(*) FROM budgets").fetchone() == (0,)
    receipt = decision.to_dict()
    del receipt["prices"]
    for row in receipt["candidates"]:
        del row["cost"]
    assert type(decision).from_dict(receipt) == decision  # as ledgers of before have them
