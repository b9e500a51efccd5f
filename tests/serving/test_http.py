"""The decision API over real HTTP: answers, every kind of bad request with its message, limits, token, metrics."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from homing.log import read_log
from serving.app import create_app


def error(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["message"]


def test_a_decision_can_be_made_and_read_again(serve, body):
    client = serve()
    answer = client.post("/v1/decide", json=body)
    assert answer.status_code == 200
    made = answer.json()
    assert made["propensity"] == pytest.approx(1 / 3)
    assert [c["message_id"] for c in made["candidates"]] == ["silence", "m0", "m1"]
    assert made["candidate"]["message_id"] == made["candidates"][made["action"]]["message_id"]
    assert client.get(f"/v1/decisions/{made['decision_id']}").json() == made


def test_outcomes_and_consents(serve, body):
    client = serve()
    del body["consent"]
    refused = client.post("/v1/decide", json=body).json()
    assert refused["action"] == 0 and "record it once" in refused["notes"][0]
    now = datetime.now(UTC).isoformat()
    given = {"user_id": body["user_id"], "channel": "push", "allowed": True, "changed_at": now}
    assert client.post("/v1/consents", json={"consents": [given]}).json() == {"changed": 1}
    decision = client.post("/v1/decide", json=body).json()
    assert decision["propensity"] == pytest.approx(1 / 3)
    event = {"outcome_id": "o1", "decision_id": decision["decision_id"], "user_id": body["user_id"],
             "kind": "clicked", "occurred_at": now}  # fmt: skip
    first = client.post("/v1/outcomes", json={"outcomes": [event]}).json()
    again = client.post("/v1/outcomes", json={"outcomes": [event]}).json()
    assert first == {"accepted": 1, "duplicates": 0, "conflicts": [], "revoked": 0}
    assert again == {"accepted": 0, "duplicates": 1, "conflicts": [], "revoked": 0}


def change(**keys):
    return lambda body: {**body, **keys}


BAD = {
    "no candidates": (change(candidates=[]), "candidates == [], must hold at least one candidate."),
    "unknown feature": (change(context={"recencyy": 1}), "context feature == 'recencyy', must be one of the features"),
    "nearest feature": (change(context={"recencyy": 1}), "Did you mean 'recency'?"),
    "wrong kind": (change(context={"recency": "three"}), "context.recency == 'three', must be a number."),
    "unknown candidate feature": (
        change(candidates=[{"message_id": "m0", "channel": "push", "features": {"afinity": 1}}]),
        "Did you mean 'affinity'?",
    ),
    "unknown key": (change(contex={}), "contex == {}, is not a known key. Did you mean 'context'?"),
    "naive datetime": (change(decided_at="2026-11-23T09:00:00"), "decided_at == '2026-11-23T09:00:00', must carry its"),
    "old decided_at": (change(decided_at="2020-01-01T00:00:00Z"), "must be within 300 s of the service's clock."),
    "unknown zone": (change(time_zone="Mars/Olympus"), "time_zone == 'Mars/Olympus', must be an IANA time zone."),
    "unknown objective": (change(weights={"clics": 1}), "weights == 'clics', must be one of 'clicks'. Did you mean"),
    "a list": (lambda body: [body], "must be a JSON object"),
}


@pytest.fixture
def client(serve):
    return serve()


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_422_and_the_message(case, client, body):
    make, message = BAD[case]
    status, text = error(client.post("/v1/decide", json=make(body)))
    assert status == 422
    assert message in text


MALFORMED = {
    "not json": (b"{", "body == 'line 1, column 2', is not JSON (Expecting property name"),
    "empty": (b"", "is not JSON"),
    "nan": (b'{"user_id": NaN}', "body == 'NaN', is not JSON. Leave a missing number out, or send null."),
    "infinity": (b'{"user_id": -Infinity}', "body == '-Infinity', is not JSON."),
    "deep": (b"[" * 100_000, "body == 'nested too deeply', must be flat JSON."),
    "not utf-8": (b'{"user_id": "\xff"}', "body == 'byte 13', must be UTF-8."),
    "key twice": (b'{"user_id": "a", "user_id": "b"}', "key == 'user_id', must not be written twice in one object."),
    "endless number": (b'{"value": ' + b"9" * 5000 + b"}", "must hold numbers of at most 2**53"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_body_gets_400_and_the_message(case, client):
    content, message = MALFORMED[case]
    status, text = error(client.post("/v1/decide", content=content, headers={"content-type": "application/json"}))
    assert status == 400
    assert message in text


def test_10_mb_of_json_get_413(client, body):
    body["context"] = {"recency": 3, "city": "x" * 10_000_000}
    status, text = error(client.post("/v1/decide", json=body))
    assert status == 413
    assert "must be at most 1048576 bytes. Send fewer rows at a time." in text


def test_a_body_without_a_length_is_limited_too(client):
    def chunks():
        for _ in range(100):
            yield b" " * 65_536

    status, text = error(client.post("/v1/decide", content=chunks(), headers={"content-type": "application/json"}))
    assert (status, "body == '6553600 bytes', must be at most 1048576 bytes." in text) == (413, True)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_gets_415(client, kind, body):
    status, text = error(client.post("/v1/decide", content=json.dumps(body), headers={"content-type": kind}))
    assert (status, text) == (415, f"content-type == {kind!r}, must be application/json.")


def test_unknown_paths_and_methods(client):
    status, text = error(client.post("/v1/decid", json={}))
    assert status == 404 and "Did you mean '/v1/decide'?" in text
    answer = client.get("/v1/decide")
    assert error(answer) == (405, "method == 'GET', must be POST for /v1/decide.")
    assert answer.headers["allow"] == "POST"
    assert error(client.get("/v1/decisions/nothing"))[0] == 404


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"outcomes": []}, "len(outcomes) == 0, must be 1 to 1000."),
        ({"outcome": []}, "Did you mean 'outcomes'?"),
        ([], "must be an object"),
        ({"outcomes": {}}, "outcomes == {}, must be a list."),
        ({"outcomes": [{"outcome_id": "o", "user_id": "u", "kind": "cliked", "occurred_at": "2026-01-01T00:00:00Z"}]},
         "Did you mean 'clicked'?"),
    ],
)  # fmt: skip
def test_bad_outcomes(client, data, message):
    status, text = error(client.post("/v1/outcomes", json=data))
    assert status == 422
    assert message in text


def test_an_expired_candidate_is_masked_and_says_so(client, body):
    body["candidates"][0]["expires_at"] = "2026-01-01T00:00:00Z"
    made = client.post("/v1/decide", json=body).json()
    assert made["candidates"][1]["guards"] == [{"guard": "expiry", "reason": "expired at 2026-01-01T00:00:00+00:00"}]
    assert made["candidates"][1]["propensity"] == 0


def test_a_token_is_asked_of_everything_but_health(serve, body, tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    client = serve(token_file=tmp_path / "token")
    for method, path in [
        ("POST", "/v1/decide"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/decisions/x"),
    ]:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "0123456789abcdef"}):
            assert client.request(method, path, headers=headers).status_code == 401
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert client.post("/v1/decide", json=body, headers={"authorization": "Bearer 0123456789abcdef"}).status_code == 200


def test_metrics_count_what_happened_and_name_no_user(client, body):
    for _ in range(3):
        decision_id = client.post("/v1/decide", json=body).json()["decision_id"]
    client.get(f"/v1/decisions/{decision_id}")
    client.post("/v1/decide", json={})
    text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert sum(sample.value for sample in families["homing_decisions"].samples) == 3
    requests = {
        tuple(s.labels.values()): s.value for s in families["homing_http_requests"].samples if "_total" in s.name
    }
    assert requests["/v1/decide", "200"] == 3
    assert requests["/v1/decide", "422"] == 1
    assert requests["/v1/decisions/{id}", "200"] == 1
    (served,) = families["homing_policy_info"].samples
    assert served.labels["policy"].startswith("uniform@")
    assert body["user_id"] not in text and decision_id not in text


def test_logs_at_info_name_no_user(client, body, caplog):
    with caplog.at_level(logging.INFO):
        client.post("/v1/decide", json=body)
        client.post("/v1/decide", json={**body, "candidates": []})
    assert body["user_id"] not in caplog.text


def test_readiness_says_what_is_served(client):
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["context"] == {"recency": "number", "city": "category"}
    assert ready["candidate_features"] == {"affinity": "number"}
    assert ready["objectives"] == ["clicks"]


def test_openapi_describes_the_requests(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/decide", "/v1/outcomes", "/v1/consents", "/v1/decisions/{id}", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    request = document["components"]["schemas"]["DecideRequest"]
    assert request["required"] == ["user_id", "candidates"]
    assert request["additionalProperties"] is False
    references = {word for word in json.dumps(document).split('"') if word.startswith("#/")}
    assert {name.rsplit("/", 1)[1] for name in references} <= set(document["components"]["schemas"])


class Exploding:
    """A service that fails with a text that must not get out."""

    def __init__(self, service, error):
        self._service, self._error = service, error

    def decide(self, request):
        raise self._error

    def __getattr__(self, name):
        return getattr(self._service, name)


def test_an_internal_error_tells_a_number_and_nothing_else(serve, make_settings, body, caplog):
    from serving.runtime import Runtime

    runtime = Runtime(make_settings())
    client = serve(create_app(Exploding(runtime.service, KeyError("secret-in-exception"))))
    status, text = error(client.post("/v1/decide", json=body))
    assert status == 500
    assert text.startswith("Internal error ") and "secret" not in text
    assert text.split()[2].rstrip(".") in caplog.text
    runtime.close()


def test_a_ledger_that_cannot_be_written_means_no_decision(serve, make_settings, body):
    import sqlite3

    from serving.runtime import Runtime

    runtime = Runtime(make_settings())
    client = serve(create_app(Exploding(runtime.service, sqlite3.OperationalError("database or disk is full"))))
    answer = client.post("/v1/decide", json=body)
    assert error(answer) == (503, "The ledger cannot be used now, so nothing was decided or kept. Try again soon.")
    assert answer.headers["retry-after"] == "1"
    runtime.close()


def test_the_log_is_exported_at_shutdown(serve, make_settings, body, tmp_path):
    from serving.replica import application

    app = application(make_settings(export_seconds=0))

    async def life():
        events = iter(["lifespan.startup", "lifespan.shutdown"])
        sent = []

        async def receive():
            return {"type": next(events)}

        async def send(event):
            sent.append(event["type"])

        await app({"type": "lifespan"}, receive, send)
        return sent

    import asyncio

    app._service.decide(body)
    assert asyncio.run(life()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert read_log(tmp_path / "log").n_decisions == 1
