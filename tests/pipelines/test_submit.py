"""The real kfp client against a real HTTP server that speaks the v2beta1 API's shapes."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
import yaml

from homing.errors import InvalidInputError
from pipelines.submit import PipelinesServerError, probe, submit

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "pipelines" / "compiled" / "training.yaml"
ARGUMENTS = {
    "dataset": "open-bandit",
    "rules": "version: 1",
    "registry": "mlflow+http://mlflow",
    "run_name": "r",
    "seed": 3,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:kfp"),
    pytest.mark.slow,  # the SDK's import
]


@dataclass
class State:
    """What the server holds and what it was asked."""

    token: str = ""
    multi_user: bool = False
    experiments: list[dict[str, Any]] = field(default_factory=list)
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    """Experiments, pipelines with versions, runs, recurring runs, health; 401 without the token, 404 elsewhere."""

    state: State
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(self, body: object, status: int = 200) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def handle_request(self) -> None:
        state, url = self.state, urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(urllib.parse.parse_qsl(url.query))
        state.requests.append(f"{self.command} {url.path}")
        if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
            return self.answer({"error": "unauthenticated", "code": 16}, 401)
        path = url.path.removeprefix("/apis/v2beta1")
        if path == url.path:
            return self.answer({"error": "no such path", "code": 5}, 404)
        if (self.command, path) == ("GET", "/healthz"):
            return self.answer({"multi_user": state.multi_user})
        if self.command == "POST" and path.startswith("/pipelines/upload"):
            return self.upload(path, query, body)
        collection = {
            "/experiments": (state.experiments, "experiments", "experiment_id"),
            "/runs": (state.runs, "runs", "run_id"),
            "/recurringruns": (state.recurring, "recurringRuns", "recurring_run_id"),
            "/pipelines": (state.pipelines, "pipelines", "pipeline_id"),
        }
        if path in collection:
            rows, name, key = collection[path]
            if self.command == "POST":
                row = json.loads(body) | {key: f"{key}-{len(rows)}"}
                rows.append(row)
                return self.answer(row)
            return self.answer({name: filtered(rows, query), "total_size": len(rows)} if rows else {})
        if found := re.fullmatch(r"/pipelines/([^/]+)/versions", path):
            rows = [v for v in state.versions if v["pipeline_id"] == found[1]]
            return self.answer({"pipeline_versions": filtered(rows, query)})
        if found := re.fullmatch(r"/runs/([^/]+)", path):
            rows = [r for r in state.runs if r["run_id"] == found[1]]
            return self.answer(rows[0]) if rows else self.answer({"error": "run not found", "code": 5}, 404)
        return self.answer({"error": f"no such path {path}", "code": 5}, 404)

    def upload(self, path: str, query: dict[str, str], body: bytes) -> None:
        content_type = self.headers["Content-Type"]
        message: Message = BytesParser(policy=HTTP).parsebytes(
            b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
        )
        [part] = message.get_payload()  # type: ignore[misc]
        spec = yaml.safe_load(part.get_payload(decode=True))  # type: ignore[union-attr]
        state = self.state
        if path == "/pipelines/upload":
            row = {
                "pipeline_id": f"p{len(state.pipelines)}",
                "display_name": query["name"],
                "namespace": query.get("namespace"),
            }
            state.pipelines.append(row)
            # The server keeps the definition as the pipeline's first version, under the pipeline's name.
            state.versions.append(version(state, row["pipeline_id"], query["name"], spec))
            return self.answer(row)
        state.versions.append(version(state, query["pipelineid"], query["name"], spec))
        return self.answer(state.versions[-1])

    do_GET = do_POST = handle_request  # noqa: N815


def version(state: State, pipeline_id: str | None, name: str, spec: object) -> dict[str, Any]:
    number = f"v{len(state.versions)}"
    return {"pipeline_id": pipeline_id, "pipeline_version_id": number, "display_name": name, "pipeline_spec": spec}


def filtered(rows: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
    """The filter and scope of a list request, as the server reads them."""
    predicates = json.loads(query.get("filter") or "{}").get("predicates", [])
    for predicate in predicates:
        assert predicate["operation"] in ("EQUALS", 1)
        wanted = predicate.get("stringValue", predicate.get("string_value"))
        assert predicate["key"] in ("display_name", "name")
        rows = [row for row in rows if row["display_name"] == wanted]
    if "experiment_id" in query:
        rows = [row for row in rows if row.get("experiment_id") == query["experiment_id"]]
    if "namespace" in query:
        rows = [row for row in rows if row.get("namespace") == query["namespace"]]
    return rows


@pytest.fixture
def served() -> Iterator[tuple[str, State]]:
    state = State()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", state
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_server_receives_the_golden_definition_and_the_parameters(served: tuple[str, State]) -> None:
    host, state = served
    start = time.perf_counter()
    done = submit(host, GOLDEN, ARGUMENTS, run_name="homing-1", pipeline="homing-training")
    assert time.perf_counter() - start < 20, "the SDK's health checks of an unset namespace block for 25 s"
    assert (done.new, done.run_name, done.url) == (True, "homing-1", f"{host}/#/runs/details/{done.run_id}")
    [run] = state.runs
    assert run["display_name"] == "homing-1"
    assert run["runtime_config"]["parameters"] == ARGUMENTS
    assert run["experiment_id"] == state.experiments[0]["experiment_id"]
    reference = run["pipeline_version_reference"]
    [used] = [v for v in state.versions if v["pipeline_version_id"] == reference["pipeline_version_id"]]
    assert used["pipeline_id"] == reference["pipeline_id"] == state.pipelines[0]["pipeline_id"]
    assert used["pipeline_spec"] == yaml.safe_load(GOLDEN.read_text())


def test_the_same_name_is_submitted_once(served: tuple[str, State]) -> None:
    host, state = served
    first = submit(host, GOLDEN, ARGUMENTS, run_name="drift-abc", pipeline="homing-training")
    again = submit(host, GOLDEN, ARGUMENTS, run_name="drift-abc", pipeline="homing-training")
    other = submit(host, GOLDEN, ARGUMENTS, run_name="drift-def", pipeline="homing-training")
    assert (again.run_id, again.new) == (first.run_id, False)
    assert (other.new, len(state.runs)) == (True, 2)
    # One pipeline, one version for the definition beside the one that the first upload made.
    assert len(state.pipelines) == 1
    assert len(state.versions) == 2


def test_a_token_is_needed_where_the_server_wants_one(served: tuple[str, State]) -> None:
    host, state = served
    state.token = "secret"
    with pytest.raises(
        PipelinesServerError, match=r"answered 401 to a health check. Pass a token: --token-file"
    ) as caught:
        submit(host, GOLDEN, ARGUMENTS, run_name="r", pipeline="homing-training", token="wrong")
    assert "wrong" not in str(caught.value)
    assert submit(host, GOLDEN, ARGUMENTS, run_name="r", pipeline="homing-training", token="secret").new


def test_a_namespace_scopes_all_that_is_made(served: tuple[str, State]) -> None:
    host, state = served
    state.multi_user = True
    assert submit(host, GOLDEN, ARGUMENTS, run_name="r", pipeline="homing-training", namespace="team-a").new
    assert not submit(host, GOLDEN, ARGUMENTS, run_name="r", pipeline="homing-training", namespace="team-a").new
    assert [e["namespace"] for e in state.experiments] == ["team-a"]
    assert [p["namespace"] for p in state.pipelines] == ["team-a"]


def test_an_address_without_the_api_is_refused_at_once(served: tuple[str, State]) -> None:
    host, _ = served
    with pytest.raises(PipelinesServerError, match=r"answered 404 to a health check. Is this the API's address"):
        probe(f"{host}/elsewhere")
    with pytest.raises(PipelinesServerError, match="must be a Kubeflow Pipelines server that answers"):
        probe("http://127.0.0.1:9")
    with pytest.raises(InvalidInputError, match=r"host == 'pipelines.example', must be an http"):
        probe("pipelines.example")


def test_the_client_reads_runs_and_recurring_runs(served: tuple[str, State]) -> None:
    """The rest of the API that operators use with the same package: status, 404, schedules."""
    import kfp_server_api
    from kfp import Client

    host, state = served
    done = submit(host, GOLDEN, ARGUMENTS, run_name="r", pipeline="homing-training")
    client = Client(host=host)
    assert client.get_run(done.run_id).display_name == "r"
    with pytest.raises(kfp_server_api.ApiException) as caught:
        client.get_run("none")
    assert caught.value.status == 404
    client.create_recurring_run(
        state.experiments[0]["experiment_id"], "nightly", cron_expression="0 0 3 * * *", params=ARGUMENTS,
        pipeline_id=state.pipelines[0]["pipeline_id"], version_id="v1",
    )  # fmt: skip
    [recurring] = state.recurring
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert recurring["runtime_config"]["parameters"] == ARGUMENTS
