"""Published prices in the real server: they change what is decided, stop where nothing is left, and are followed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from homing.errors import ArtifactError, InvalidInputError
from homing.log.features import FeatureEncoder, Field
from homing.planning import PricedBudget, Prices, save_prices
from homing.policies import ColumnScorer, GreedyPolicy, save_policy
from serving.runtime import Runtime
from serving.settings import Settings

#: The horizon begins now: pacing follows the clock, and a day later prices would be other ones.
START = datetime.now(UTC)
ENCODER = FeatureEncoder(context=(), candidate=(Field("worth", "number"),))


@pytest.fixture
def greedy(tmp_path):
    """Takes the candidate of largest `worth`."""
    values = np.zeros(len(ENCODER.candidate_names))
    values[ENCODER.column("worth")] = 1.0
    scorer = ColumnScorer(values, width=len(ENCODER.context_names))
    digest = save_policy(GreedyPolicy(scorer), tmp_path / "greedy", name="greedy", features=ENCODER.to_dict())
    return tmp_path / "greedy", digest


def published(path, *, price, limit=100, policy=None):
    push = PricedBudget("push", limit=limit, price=price, counts={"channel": "push"})
    return save_prices(Prices((push,), start=START, traffic=(1000.0,), policy=policy), path)


def body(user):
    candidates = [
        {"message_id": "a", "channel": "push", "features": {"worth": 1.0}},
        {"message_id": "b", "channel": "email", "features": {"worth": 0.7}},
    ]
    return {"user_id": user, "consent": {"*": True}, "candidates": candidates}


def test_a_price_changes_the_decision_and_a_hard_stop_holds(serve, greedy, tmp_path):
    policy, digest = greedy
    published(tmp_path / "prices.json", price=0.0, limit=2, policy=digest)
    client = serve(registry=f"policy:{policy}", prices=tmp_path / "prices.json", refresh_seconds=0.02)
    assert client.get("/readyz").json()["prices"].startswith(f"{START:%Y-%m-%dT%H:%MZ}@")
    # Nothing costs much: both pushes go to whoever comes first, and then none is left.
    answers = [client.post("/v1/decide", json=body(f"u{i}")).json() for i in range(4)]
    assert [one["candidate"]["channel"] for one in answers] == ["push", "push", "email", "email"]
    [stop] = answers[2]["candidates"][1]["guards"]
    assert stop == {"guard": "budget", "reason": "push: 0 of 2 left, 1 needed"}
    assert answers[2]["candidates"][1]["propensity"] == 0.0
    # A price of 0.4 makes a push that is worth 1 less than an email that is worth 0.7; what was used counts on.
    published(tmp_path / "prices.json", price=0.4, limit=1000, policy=digest)
    until(lambda: "homing_prices_refreshes_total 1.0" in client.get("/metrics").text)
    receipt = client.post("/v1/decide", json=body("u5")).json()
    assert receipt["candidate"]["channel"] == "email"
    assert not receipt["candidates"][1]["guards"] and receipt["prices"]["push"] > 0.3


def test_prices_that_do_not_fit_are_refused_at_the_start(make_settings, greedy, tmp_path):
    policy, digest = greedy
    path = tmp_path / "prices.json"
    right = published(path, price=0.1, policy="0" * 64)
    registry = f"policy:{policy}"
    with pytest.raises(InvalidInputError, match=f"digest of the policy == '{digest}', must be {'0' * 64}"):
        Runtime(make_settings(registry=registry, prices=path))
    with pytest.raises(ArtifactError, match=rf"digest of .*prices.json == '{right}', must be {'1' * 64}"):
        Runtime(make_settings(registry=registry, prices=path, prices_digest="1" * 64))
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"format": 2}))
    with pytest.raises(ArtifactError, match=r"format of .*prices.json == 2, must be 1"):
        Runtime(make_settings(registry=registry, prices=path))
    with pytest.raises(ArtifactError, match=r"prices == '.*none.json', must be a JSON object"):
        Runtime(make_settings(registry=registry, prices=tmp_path / "none.json"))
    published(path, price=0.1)
    with pytest.raises(InvalidInputError, match="policy == 'uniform', has no scores that prices could be taken off"):
        Runtime(make_settings(prices=path))


def test_damaged_prices_leave_the_old_ones_on(make_settings, greedy, tmp_path):
    path = tmp_path / "prices.json"
    published(path, price=0.1, policy=greedy[1])
    runtime = Runtime(make_settings(registry=f"policy:{greedy[0]}", prices=path, refresh_seconds=0, export_seconds=0))
    before = runtime.info()["prices"]
    path.write_text(path.read_text().replace("0.1", "0.2"))
    assert runtime.refresh() is False
    assert runtime.service.tally.total("prices_refresh_failures") == 1
    # Prices for another policy are not taken over by this one.
    published(path, price=0.1, policy="0" * 64)
    with pytest.raises(InvalidInputError, match="digest of the policy"):
        runtime.refresh()
    assert runtime.info()["prices"] == before
    runtime.close()


def test_a_digest_without_prices_is_refused():
    with pytest.raises(InvalidInputError, match="HOMING_PRICES == None, is required"):
        Settings.from_environment({"HOMING_REGISTRY": "policy:x", "HOMING_PRICES_DIGEST": "0" * 64})
    with pytest.raises(InvalidInputError, match="HOMING_PRICES_DIGEST == 'abc'"):
        Settings.from_environment(
            {"HOMING_REGISTRY": "policy:x", "HOMING_PRICES": "p.json", "HOMING_PRICES_DIGEST": "abc"}
        )


def until(true):
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen")
