"""The service: propensities are those of the draw made, guards mask, failures end in silence, receipts explain."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from homing.decisions import (
    ConsentGuard,
    DecideRequest,
    DecisionService,
    ExpiryGuard,
    FrequencyCapGuard,
    SqliteLedger,
)
from homing.errors import HomingError, InvalidInputError
from homing.policies import EpsilonGreedyPolicy, GreedyPolicy


def test_a_decision_says_what_was_drawn_and_how_probable_it_was(make_service, request_of):
    decision = make_service().decide(request_of())
    assert decision.propensities == pytest.approx((1 / 6, 2 / 6, 3 / 6))
    assert decision.propensity == decision.propensities[decision.action]
    assert decision.candidates[0].message_id == decision.candidates[0].channel == "silence"
    assert (decision.policy, decision.slice, decision.decided_at) == (
        "known@7",
        "policy",
        datetime(2026, 11, 23, 12, tzinfo=UTC),
    )


def test_the_receipt_gives_the_decision_back(make_service, request_of):
    service = make_service([ConsentGuard()])
    decision = service.decide(request_of(consent={"push": True}))
    assert service.get(decision.decision_id) == decision
    assert type(decision).from_dict(decision.to_dict()) == decision
    assert service.get("no-such-id") is None


def test_masked_candidates_have_propensity_0_and_a_reason(make_service, request_of, now):
    request = request_of()
    request["candidates"][1]["expires_at"] = (now - timedelta(hours=1)).isoformat()
    decision = make_service([ExpiryGuard()]).decide(request)
    assert decision.eligible == (True, True, False)
    assert decision.propensities == pytest.approx((1 / 3, 2 / 3, 0.0))
    assert decision.guards[2][0].reason == "expired at 2026-11-23T11:00:00+00:00"
    assert decision.guards[1] == ()


def test_a_user_without_consent_gets_silence_and_the_next_step(make_service, request_of):
    decision = make_service([ConsentGuard()]).decide(request_of("never-seen"))
    assert (decision.action, decision.propensity, decision.explored) == (0, 1.0, False)
    assert "Send it as `consent` with the request, or record it once." in decision.notes[0]
    assert decision.notes[1] == "Every candidate is masked (consent), so silence was certain."


def test_an_unsubscribe_takes_effect_on_the_next_decision(make_service, request_of, now):
    service = make_service([ConsentGuard()])
    first = service.decide(request_of(consent={"push": True, "email": True}))
    while first.is_silence:
        first = service.decide(request_of(consent={"push": True, "email": True}))
    outcome = {"outcome_id": "o1", "decision_id": first.decision_id, "user_id": "u1", "kind": "unsubscribed",
               "occurred_at": now.isoformat()}  # fmt: skip
    assert service.record_outcomes([outcome]).revoked == 1
    again = service.decide(request_of(consent={"push": True, "email": True}))
    assert again.eligible == (True, False, False)
    assert "was withdrawn" in again.guards[1][0].reason
    assert service.decide(request_of(channel="email", consent={"email": True})).eligible == (True, True, True)


def test_holdout_and_uniform_slices_have_the_propensity_of_their_own_slice(make_service, request_of):
    held = make_service(holdout_share=1.0).decide(request_of())
    assert (held.slice, held.action, held.propensity, held.policy) == ("holdout", 0, 1.0, "holdout@1")
    assert held.eligible == (True, False, False)
    uniform = make_service(uniform_share=1.0).decide(request_of())
    assert (uniform.slice, uniform.explored, uniform.policy) == ("uniform", True, "uniform@1")
    assert uniform.propensities == pytest.approx((1 / 3, 1 / 3, 1 / 3))


class Broken:
    """A policy that fails in one way."""

    def __init__(self, answer):
        self._answer = answer

    def action_probs(self, context, candidates, eligible, weights=None):
        return self._answer(eligible)


def fail(eligible):
    raise RuntimeError("out of memory")


BROKEN = {
    "nan": (lambda e: np.full(e.shape, np.nan), "not_finite"),
    "does not sum to 1": (lambda e: np.full(e.shape, 0.1), "not_probabilities"),
    "negative": (lambda e: np.tile([1.5, -0.5, 0.0], (len(e), 1)), "not_probabilities"),
    "raises": (fail, "RuntimeError"),
    "wrong shape": (lambda e: np.ones((len(e), 1)), "ValueError"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_policy_that_fails_is_replaced_by_silence_with_propensity_1(case, make_service, request_of, artifact, caplog):
    answer, why = BROKEN[case]
    service = make_service(policy=artifact(policy=Broken(answer)))
    with caplog.at_level(logging.WARNING):
        decision = service.decide(request_of("secret-user"))
    assert (decision.policy, decision.action, decision.propensity, decision.explored) == ("fallback@7", 0, 1.0, False)
    assert decision.propensities == (1.0, 0.0, 0.0)
    assert service.tally.snapshot()["fallbacks", (("reason", why),)] == 1
    assert "secret-user" not in caplog.text


def test_mass_on_a_masked_candidate_is_a_failure(make_service, request_of, artifact):
    policy = Broken(lambda e: np.tile([0.0, 0.0, 1.0], (len(e), 1)))
    request = request_of()
    request["candidates"][1]["expires_at"] = "2026-11-01T00:00:00Z"
    service = make_service([ExpiryGuard()], policy=artifact(policy=policy))
    assert service.decide(request).policy == "fallback@7"
    assert service.tally.snapshot()["fallbacks", (("reason", "mass_on_ineligible"),)] == 1


def test_one_bad_row_does_not_take_its_neighbours_along(make_service, request_of, artifact, known_policy):
    class Fussy(known_policy):
        def action_probs(self, context, candidates, eligible, weights=None):
            if (eligible.sum(axis=1) == 4).any():
                raise RuntimeError("cannot do three messages")
            return super().action_probs(context, candidates, eligible, weights)

    service = make_service(policy=artifact(policy=Fussy()))
    made = service.decide_many([request_of("a"), request_of("b", n=3), request_of("c")])
    assert [d.policy for d in made] == ["known@7", "fallback@7", "known@7"]


class Scorer:
    """Scores that are NaN for the candidate at `bad`."""

    def __init__(self, bad=None):
        self._bad = bad

    def scores(self, context, candidates, weights=None):
        out = np.tile(np.arange(candidates.shape[1], dtype=float), (len(candidates), 1))
        if self._bad is not None:
            out[:, self._bad] = np.nan
        return out

    def predict(self, context, candidates):
        return self.scores(context, candidates)[:, :, None] / 10

    def action_probs(self, context, candidates, eligible, weights=None):
        return np.eye(1, eligible.shape[1]).repeat(len(eligible), axis=0)


def test_nan_scores_fall_back_even_when_the_policy_hides_them(make_service, request_of, artifact):
    assert make_service(policy=artifact(policy=Scorer(bad=1))).decide(request_of()).policy == "fallback@7"


def test_the_receipt_shows_scores_and_values(make_service, request_of, artifact):
    decision = make_service(policy=artifact(policy=Scorer())).decide(request_of())
    assert decision.scores == (0.0, 1.0, 2.0)
    assert decision.values == {"clicks": (0.0, 0.1, 0.2)}
    assert decision.to_dict()["candidates"][2]["values"] == {"clicks": 0.2}


def test_caps_hold_within_one_batch_of_the_same_user(make_service, request_of):
    made = make_service([FrequencyCapGuard(2, 24)]).decide_many([request_of()] * 20)
    assert sum(not d.is_silence for d in made) == 2
    assert [d.eligible for d in made][-1] == (True, False, False)


class Sure:
    """The last candidate that is eligible, for certain."""

    def action_probs(self, context, candidates, eligible, weights=None):
        last = eligible.shape[1] - 1 - np.argmax(eligible[:, ::-1], axis=1)
        return np.eye(eligible.shape[1])[last]


def test_a_clock_set_back_frees_no_slot(make_service, request_of, artifact, now):
    times = iter([now, now - timedelta(days=2)])
    service = make_service([FrequencyCapGuard(1, 24)], artifact(policy=Sure()), clock=lambda: next(times))
    assert not service.decide(request_of()).is_silence
    assert service.decide(request_of()).guards[1][0].reason == "1 messages in 24 h, at most 1"


TIMES = {
    "far behind": (timedelta(days=-1), "must be within 300 s of the service's clock"),
    "far ahead": (timedelta(days=1), "must be within 300 s of the service's clock"),
}


@pytest.mark.parametrize("case", TIMES)
def test_decided_at_must_be_near_the_clock(case, make_service, request_of, now):
    offset, message = TIMES[case]
    with pytest.raises(InvalidInputError) as caught:
        make_service().decide(request_of(decided_at=(now + offset).isoformat()))
    assert message in str(caught.value)
    service = make_service(max_clock_skew=timedelta(days=2))
    assert service.decide(request_of(decided_at=(now + offset).isoformat())).decided_at == now + offset


def test_events_from_the_future_are_refused(make_service, now):
    later = (now + timedelta(hours=1)).isoformat()
    service = make_service()
    with pytest.raises(InvalidInputError, match=r"outcomes\[0\].occurred_at == .* must not be in the future"):
        service.record_outcomes([{"outcome_id": "o", "user_id": "u", "kind": "clicked", "occurred_at": later}])
    with pytest.raises(InvalidInputError, match=r"consents\[0\].changed_at"):
        service.record_consents([{"user_id": "u", "channel": "push", "allowed": True, "changed_at": later}])


def test_a_bad_item_of_a_batch_is_found_by_its_place(make_service, now):
    good = {"outcome_id": "o", "user_id": "u", "kind": "clicked", "occurred_at": now.isoformat()}
    service = make_service()
    with pytest.raises(HomingError, match=r"^outcomes\[1\].kind == 'cliked', must be one of .* Did you mean 'clicked'"):
        service.record_outcomes([good, {**good, "kind": "cliked"}])
    with pytest.raises(InvalidInputError, match=r"^outcomes\[1\].value == 'x', must be a number"):
        service.record_outcomes([good, {**good, "value": "x"}])
    with pytest.raises(InvalidInputError, match=r"^consents\[0\].allowed == None, is required"):
        service.record_consents([{"user_id": "u", "channel": "push", "changed_at": now.isoformat()}])
    assert service.ledger.counts()["outcomes"] == 0


def test_channels_cannot_flood_the_metrics(make_service, request_of, artifact):
    service = make_service(policy=artifact(policy=Sure()))
    service.decide_many([request_of(f"u{i}", channel=f"c{i}") for i in range(150)])
    labels = {
        dict(values)["channel"]: n for (name, values), n in service.tally.snapshot().items() if name == "decisions"
    }
    assert (len(labels), labels["other"], sum(labels.values())) == (101, 50, 150)


def test_features_of_a_request_are_kept_when_the_champion_changes_under_it(
    make_service, request_of, artifact, ledger, monkeypatch
):
    """The old champion takes any feature; a new one that declares its own comes before the request's are declared."""
    from homing.log.features import FeatureEncoder

    service = make_service()
    checked = service._time_of

    def swap(request):
        service.replace_policy(artifact(features=FeatureEncoder(context=(), candidate=()).to_dict()), "8")
        return checked(request)

    monkeypatch.setattr(service, "_time_of", swap)
    service.decide(request_of(context={"recency": 3.0}))
    assert ledger.features("context") == {"recency": "number"}


def test_a_consent_from_a_fast_clock_does_not_outlive_a_withdrawal(make_service, request_of, now):
    service = make_service([ConsentGuard()])
    soon = (now + timedelta(minutes=4)).isoformat()
    service.record_consents([{"user_id": "u1", "channel": "push", "allowed": True, "changed_at": soon}])
    service.record_consents([{"user_id": "u1", "channel": "push", "allowed": False, "changed_at": now.isoformat()}])
    assert service.decide(request_of()).eligible == (True, False, False)


WEIGHTS = {
    "unknown": ({"clics": 1.0}, "Did you mean 'clicks'?"),
    "left out": ({"clicks": 1.0}, "must name every objective of the policy. Add opt_outs."),
    "all zero": ({"clicks": 0.0, "opt_outs": 0.0}, "must not all be 0"),
    "a harm as a benefit": (
        {"clicks": 1.0, "opt_outs": 4.0},
        "weights.opt_outs == 4.0, must be <= 0, as the policy's own",
    ),
    "a benefit as a harm": (
        {"clicks": -1.0, "opt_outs": -4.0},
        "weights.clicks == -1.0, must be >= 0, as the policy's",
    ),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_are_checked_against_the_policy(case, make_service, request_of, artifact):
    given, message = WEIGHTS[case]
    service = make_service(policy=artifact(objectives=("clicks", "opt_outs"), weights=np.array([1.0, -2.0])))
    with pytest.raises(HomingError) as caught:
        service.decide(request_of(weights=given))
    assert message in str(caught.value)
    assert service.ledger.counts()["decisions"] == 0


def test_the_more_a_harm_counts_the_less_is_sent(make_service, request_of, artifact):
    """A message brings 0.3 clicks and 0.1 opt-outs: it is sent while an opt-out costs less than three clicks."""
    clicks_and_leaves = np.array([[[0.3, 0.1]]])

    @dataclass
    class Rewards:
        weights: np.ndarray

        def predict(self, context, candidates):
            n, k = candidates.shape[:2]
            return clicks_and_leaves * (np.arange(k) > 0)[None, :, None] * np.ones((n, 1, 1))

        def scores(self, context, candidates, weights=None):
            return self.predict(context, candidates) @ (self.weights if weights is None else weights)

    policy = GreedyPolicy(Rewards(np.array([1.0, -2.0])))
    service = make_service(policy=artifact(policy=EpsilonGreedyPolicy(policy, 0.0), objectives=("clicks", "opt_outs")))
    sent = {
        cost: not service.decide(request_of(weights={"clicks": 1.0, "opt_outs": -cost})).is_silence
        for cost in (0.0, 2.0, 4.0)
    }
    assert sent == {0.0: True, 2.0: True, 4.0: False}
    with pytest.raises(InvalidInputError, match="must be <= 0, as the policy's own \\(-2\\)"):
        service.decide(request_of(weights={"clicks": 1.0, "opt_outs": 4.0}))


def test_without_an_encoder_a_feature_keeps_the_kind_of_its_first_value(make_service, request_of):
    service = make_service()
    service.decide(request_of())
    with pytest.raises(InvalidInputError, match=r"kind of context.recency == 'category', must be a number"):
        service.decide(request_of(context={"recency": "three"}))


def test_another_policy_takes_over_between_decisions(make_service, request_of, artifact):
    service = make_service()
    assert service.decide(request_of()).policy == "known@7"
    service.replace_policy(artifact(name="better"), "8")
    assert service.decide(request_of()).policy == "better@8"


def test_the_same_seed_draws_the_same(tmp_path, artifact, request_of, now):
    runs = []
    for name in "ab":
        ledger = SqliteLedger(tmp_path / name)
        service = DecisionService(artifact(), [], ledger, version="1", rng=np.random.default_rng(5), clock=lambda: now)
        runs.append([service.decide(request_of(f"u{i}")) for i in range(20)])
        ledger.close()
    assert [d.action for d in runs[0]] == [d.action for d in runs[1]]
    assert len({d.decision_id for run in runs for d in run}) == 40


@settings(max_examples=40, deadline=None)
@given(expired=st.lists(st.booleans(), min_size=1, max_size=6), uniform=st.booleans())
def test_probabilities_sum_to_1_on_what_is_eligible(tmp_path_factory, expired, uniform):
    artifact_of = tmp_path_factory.mktemp("ledger")
    ledger = SqliteLedger(artifact_of / "ledger.db")
    from homing.policies import UniformPolicy, load_policy, save_policy

    save_policy(UniformPolicy(), artifact_of / "policy")
    service = DecisionService(load_policy(artifact_of / "policy"), [ExpiryGuard()], ledger, version="1",
                              uniform_share=float(uniform))  # fmt: skip
    items = [{"message_id": f"m{i}", "channel": "push"} | ({"expires_at": "2020-01-01T00:00:00Z"} if gone else {})
             for i, gone in enumerate(expired)]  # fmt: skip
    decision = service.decide({"user_id": "u", "candidates": items})
    assert sum(decision.propensities) == pytest.approx(1.0, abs=1e-9)
    assert all(p == 0 for p, ok in zip(decision.propensities, decision.eligible, strict=True) if not ok)
    assert decision.eligible == (True, *(not gone for gone in expired))
    assert decision.eligible[decision.action]
    assert 0 < decision.propensity <= 1
    ledger.close()


class Forgetful:
    """A ledger that keeps nothing: the draws are looked at as they are answered, and SQLite is half of the time."""

    @contextmanager
    def transaction(self):
        yield self

    def add(self, decision):
        pass

    def declare_features(self, scope, kinds):
        pass


@pytest.mark.slow
def test_logged_propensities_are_the_frequencies_of_the_draws(artifact, now):
    """100,000 draws: in each group of equal propensities, the actions are multinomial with them (chi-square)."""
    service = DecisionService(
        artifact(), [ExpiryGuard()], Forgetful(), version="7", rng=np.random.default_rng(0), clock=lambda: now,
        uniform_share=0.3, holdout_share=0.1,
    )  # fmt: skip
    gone = {"expires_at": "2020-01-01T00:00:00Z"}

    def candidate(i: int, j: int) -> dict[str, str]:
        return {"message_id": f"m{j}", "channel": "push"} | (gone if (i + j) % 5 == 0 else {})

    requests = [
        DecideRequest.from_dict({"user_id": f"u{i}", "candidates": [candidate(i, j) for j in range(4)]})
        for i in range(2_000)
    ]
    counts: dict[tuple, np.ndarray] = {}
    for _ in range(50):
        for decision in service.decide_many(requests):
            group = counts.setdefault((decision.slice, decision.propensities), np.zeros(5))
            group[decision.action] += 1
    assert sum(group.sum() for group in counts.values()) == 100_000
    assert {part for part, _ in counts} == {"policy", "uniform", "holdout"}
    p_values = []
    for (_, propensities), seen in counts.items():
        expected = np.array(propensities) * seen.sum()
        drawn = expected > 0
        assert not seen[~drawn].any()
        if drawn.sum() > 1:
            p_values.append(stats.chisquare(seen[drawn], expected[drawn]).pvalue)
    # Bonferroni over the groups at 0.001.
    assert min(p_values) > 0.001 / len(p_values)
