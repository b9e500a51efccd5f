"""The KServe predictor as a process of its own: V1, V2, bad input, and what KServe leaves open is closed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from homing.errors import InvalidInputError
from serving.champion import ChampionSource
from serving.scoring import score_arrays, score_requests

ROOT = Path(__file__).resolve().parents[2]
PREDICT, INFER = "/v1/models/homing:predict", "/v2/models/homing/infer"


@pytest.fixture
def champion(make_settings):
    return ChampionSource(make_settings()).load()


def test_requests_are_scored_by_name(champion, body):
    scored = score_requests(champion, [body, {**body, "candidates": body["candidates"][:1]}], datetime.now(UTC))
    assert scored.probabilities == pytest.approx(np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 2, 1 / 2, 0]]))
    assert scored.counts.tolist() == [3, 2]


def test_instances_with_different_weights_are_refused_in_any_order(champion, body):
    plain, weighted = body, {**body, "weights": {"clicks": 2.0}}
    for instances in ([plain, weighted], [weighted, plain]):
        with pytest.raises(InvalidInputError, match="weights == 'different', must be the same in all instances"):
            score_requests(champion, instances, datetime.now(UTC))
    assert score_requests(champion, [weighted, weighted], datetime.now(UTC)).counts.tolist() == [3, 3]


ARRAYS = {
    "context width": ({"context": [[1.0]]}, "context.shape == (1, 1), must be (1, 3)."),
    "candidate width": ({"candidates": [[[1.0], [2.0]]]}, "candidates.shape == (1, 2, 1), must be (1, 2, 4)."),
    "nothing eligible": ({"eligible": [[False, False]]}, "eligible[0] == [False, False], must have at least one"),
    "ragged": ({"context": [[1.0], [1.0, 2.0]]}, "must be numbers in 2 dimensions, all rows of one length."),
    "text": ({"context": [["a", "b", "c"]]}, "context == 'ragged or not numeric'"),
    "nan": ({"context": [[float("nan"), 0, 0]]}, "context[0, 0] == nan, must be finite as float32."),
    "beyond float32": ({"context": [[1e300, 0, 0]]}, "context[0, 0] == 1e+300, must be finite as float32."),
    "rank": ({"eligible": [True, False]}, "eligible.shape == (2,), must have 2 dimensions"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_fit_are_refused(case, champion):
    changed, message = ARRAYS[case]
    good = {"context": [[0.0] * 3], "candidates": [[[0.0] * 4] * 2], "eligible": [[True, True]]}
    with pytest.raises(InvalidInputError) as caught:
        score_arrays(champion, **{**good, **changed})
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """One server for the whole module: it takes seconds to start."""
    from homing.log.features import FeatureEncoder, Field
    from homing.policies import UniformPolicy, save_policy

    folder = tmp_path_factory.mktemp("kserve")
    encoder = FeatureEncoder(
        context=(Field("recency", "number", mean=5.0, scale=2.0), Field("city", "category", ("Bern", "Rome"))),
        candidate=(Field("message_id", "category", ("m0", "m1")), Field("affinity", "number")),
    )
    save_policy(UniformPolicy(), folder / "policy", name="uniform", features=encoder.to_dict(), objectives=("clicks",))
    import socket
    import time

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")}
    env = {**own, "PYTHONPATH": str(ROOT), "HOMING_REGISTRY": f"policy:{folder / 'policy'}"}
    command = [
        sys.executable,
        "-m",
        "serving.kserve_model",
        "--model_name=homing",
        f"--http_port={port}",
        "--enable_grpc=false",
    ]
    output = folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for _ in range(240):
            assert process.poll() is None, output.read_text()
            try:
                if client.get("/v2/health/ready").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, output.read_text()


@pytest.mark.slow
def test_v1_scores_requests_and_arrays(started, body):
    (one,) = started.post(PREDICT, json={"instances": [body]}).json()["predictions"]
    assert one["probabilities"] == pytest.approx([1 / 3] * 3)
    assert one["policy"].startswith("uniform@")
    row = {"context": [0.0] * 3, "candidates": [[0.0] * 4] * 3, "eligible": [True, False, True]}
    (two,) = started.post(PREDICT, json={"instances": [row]}).json()["predictions"]
    assert two["probabilities"] == [0.5, 0.0, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("id_", [{"id": "request-1"}, {}], ids=["with id", "without id"])
def test_v2_scores_tensors_and_json(started, body, id_):
    def tensor(name, datatype, shape, data):
        return {"name": name, "datatype": datatype, "shape": shape, "data": data}

    tensors = [
        tensor("context", "FP32", [2, 3], [0.0] * 6),
        tensor("candidates", "FP32", [2, 2, 4], [0.0] * 16),
        tensor("eligible", "BOOL", [2, 2], [True, True, True, False]),
    ]
    answer = started.post(INFER, json={**id_, "inputs": tensors}).json()
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP64", [2, 2])
    assert output["data"] == [0.5, 0.5, 1.0, 0.0]
    assert answer["id"] == id_.get("id", answer["id"])
    texts = tensor("requests", "BYTES", [2], [json.dumps(body)] * 2)
    (output,) = started.post(INFER, json={**id_, "inputs": [texts]}).json()["outputs"]
    assert output["shape"] == [2, 3]
    assert output["data"] == pytest.approx([1 / 3] * 6)


V1_BAD = {
    "no instances": ({}, "instances == None, must be a list of at least one."),
    "empty": ({"instances": []}, "instances == [], must be a list of at least one."),
    "not a request": ({"instances": [7]}, "must be a JSON object"),
    "unknown feature": (
        {
            "instances": [
                {"user_id": "u", "context": {"recencyy": 1}, "candidates": [{"message_id": "m", "channel": "p"}]}
            ]
        },
        "Did you mean 'recency'?",
    ),
    "half an array": ({"instances": [{"eligible": [True]}]}, "must hold context, candidates and eligible"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", V1_BAD)
def test_v1_bad_input_gets_400_and_the_message(started, case):
    data, message = V1_BAD[case]
    answer = started.post(PREDICT, json=data)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.slow
def test_v2_bad_input_gets_400_and_the_message(started):
    wrong = {"inputs": [{"name": "contxt", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
    answer = started.post(INFER, json=wrong)
    assert answer.status_code == 400
    assert "inputs == ['contxt'], must be 'context', 'candidates' and 'eligible'" in answer.json()["error"]
    text = {"name": "requests", "datatype": "BYTES", "shape": [1], "data": ["{"]}
    tensors = [
        {"name": "context", "datatype": "FP32", "shape": [1, 3], "data": [0.0] * 3},
        {"name": "candidates", "datatype": "FP32", "shape": [1, 1, 4], "data": [0.0] * 4},
        {"name": "eligible", "datatype": "BOOL", "shape": [1, 1], "data": [True]},
    ]
    cases = {
        "requests[0]: body == 'line 1, column 2', is not JSON": [text],
        "requests[0]: key == 'user_id', must not be written twice": [
            {**text, "data": ['{"user_id": 1, "user_id": 2}']}
        ],
        "requests[0] == 5, must be a text that holds JSON": [{**text, "data": [5]}],
        "inputs == ['requests', 'requests'], must have different names": [text, text],
        "input 'context' == 'FP32 [1, 2]', must be a datatype and a shape": [
            {**tensors[0], "shape": [1, 2]},
            *tensors[1:],
        ],
        "input 'context' == 'FP32 [1, 3]', must be": [{**tensors[0], "data": ["a", "b", "c"]}, *tensors[1:]],
    }
    for message, inputs in cases.items():
        answer = started.post(INFER, json={"inputs": inputs})
        assert (answer.status_code, message in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.slow
def test_what_kserve_leaves_open_is_closed(started):
    assert started.post("/v2/repository/models/homing/unload").status_code == 403
    assert started.get("/v2/models/homing/ready").status_code == 200
    assert started.post(PREDICT, content=b" " * 2_000_000).status_code == 413
    for content in (b"{", b"[1]", b'{"instances": [' + b"[" * 50_000, b"\xff"):
        answer = started.post(PREDICT, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "Error :" not in answer.text and "Traceback" not in answer.text


@pytest.mark.slow
def test_metrics_show_what_is_served_and_what_failed(started):
    families = {family.name: family for family in text_string_to_metric_families(started.get("/metrics").text)}
    assert next(sample.value for sample in families["homing_policy_refresh_failures"].samples) == 0
    (served,) = families["homing_policy_info"].samples
    assert served.labels["policy"].startswith("uniform@") and len(served.labels["digest"]) == 64


@pytest.mark.slow
def test_the_metadata_names_the_tensors(started):
    inputs = {item["name"]: item["datatype"] for item in started.get("/v2/models/homing").json()["inputs"]}
    assert inputs == {"context": "FP32", "candidates": "FP32", "eligible": "BOOL", "requests": "BYTES"}
