"""What only MLflow can get wrong: foreign sources, missing digests; and what a person sees in its pages."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from homing.errors import ArtifactError, InvalidInputError, MissingDependencyError
from homing.registry import RegistryUnavailableError, RunReport, open_registry

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:mlflow"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("mlflow")
    return open_registry(f"mlflow+sqlite:///{folder}/mlflow.db", cache=folder / "cache")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "policy.json").write_text(json.dumps({"for": str(tmp_path)}))
    files = {"policy.json": hashlib.sha256((folder / "policy.json").read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    return folder


def test_a_run_holds_what_was_reported(registry: Any, policy: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>page</p>")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "deep.json").write_text("{}")
    report = RunReport(
        run_name="seen",
        params={"learner": "linear", "long": "x" * 700},
        metrics={"dr/visit/value": 0.25, "dr/visit/lower": 0.2},
        history={"loss": [3.0, 2.0, 1.5]},
        tags={"fingerprint": "f1"},
        artifacts={"reports/other.html": tmp_path / "page.html", "evaluation": tmp_path / "more"},
    )
    version = registry.register(policy, report)
    run = registry._client.get_run(registry.versions()[int(version) - 1].run_id)
    assert (run.info.run_name, run.info.status) == ("seen", "FINISHED")
    assert run.data.params == {"learner": "linear", "long": "x" * 500}
    assert run.data.metrics == {"dr/visit/value": 0.25, "dr/visit/lower": 0.2, "loss": 1.5}
    assert run.data.tags["fingerprint"] == "f1"
    assert [(m.step, m.value) for m in registry._client.get_metric_history(run.info.run_id, "loss")] == [
        (0, 3.0),
        (1, 2.0),
        (2, 1.5),
    ]
    listed = {
        f.path
        for top in ("", "reports", "evaluation", "policy")
        for f in registry._client.list_artifacts(run.info.run_id, top)
    }
    assert listed >= {"reports/other.html", "evaluation/deep.json", "policy/policy.json", "policy/manifest.json"}


@pytest.mark.parametrize("source", ["s3://other/anything", "/elsewhere/policy"], ids=["bucket", "path"])
def test_a_version_with_a_foreign_source_is_refused(registry: Any, policy: Path, source: str) -> None:
    version = registry.register(policy, RunReport())
    made = registry.versions()[int(version) - 1]
    # MLflow itself accepts this, tags and run of the good one included, and calls it ready.
    foreign = registry._client.create_model_version(
        registry.name, source=source, run_id=made.run_id, tags={"homing.digest": made.digest}
    )
    assert foreign.status == "READY"
    with pytest.raises(ArtifactError, match=rf"source of version {foreign.version} == '{source}', must be "):
        registry.resolve(str(foreign.version))
    with pytest.raises(ArtifactError):
        registry.promote(str(foreign.version))


def test_a_version_from_another_experiment_is_refused(registry: Any, policy: Path) -> None:
    run = registry._client.create_run(registry._client.create_experiment("foreign"))
    foreign = registry._client.create_model_version(
        registry.name,
        source=f"{run.info.artifact_uri}/policy",
        run_id=run.info.run_id,
        tags={"homing.digest": "0" * 64},
    )
    with pytest.raises(ArtifactError, match="must be the policy of a run in this experiment"):
        registry.resolve(str(foreign.version))


def test_a_version_without_a_digest_is_refused(registry: Any, policy: Path) -> None:
    version = registry.register(policy, RunReport())
    registry._client.delete_model_version_tag(registry.name, version, "homing.digest")
    with pytest.raises(ArtifactError, match=rf"tag homing.digest of version {version} == '', must be a SHA-256 in hex"):
        registry.resolve(version)


def test_a_damaged_local_copy_is_fetched_again(registry: Any, policy: Path) -> None:
    version = registry.register(policy, RunReport())
    copy = registry.resolve(version)
    good = (copy / "policy.json").read_bytes()
    (copy / "policy.json").write_bytes(b"{}")
    assert (registry.resolve(version) / "policy.json").read_bytes() == good


def test_a_run_that_fails_to_track_is_marked_failed(
    registry: Any, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(registry.versions())

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(registry._client, "log_artifacts", full)
    with pytest.raises(OSError, match="no space left"):
        registry.register(policy, RunReport(run_name="broken"))
    [run] = registry._client.search_runs([registry._experiment()], "attributes.run_name = 'broken'")
    assert run.info.status == "FAILED"
    assert len(registry.versions()) == before


def test_a_server_that_does_not_answer_is_said_at_once() -> None:
    start = time.perf_counter()
    with pytest.raises(RegistryUnavailableError, match=r"registry == 'http://127.0.0.1:9', must be an MLflow server"):
        open_registry("mlflow+http://127.0.0.1:9")
    assert time.perf_counter() - start < 5


def test_a_server_that_is_no_mlflow_is_named() -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(RegistryUnavailableError, match=rf"registry == '{url}', failed to search_.* Check the addr"):
            open_registry(f"mlflow+{url}").versions()
        server.shutdown()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"registry == .* must be a file in a folder that can be made \("):
        open_registry(f"mlflow+sqlite:///{tmp_path}/file/mlflow.db")


def test_skinny_mlflow_on_sqlite_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"whole of mlflow.*homing\[train\]"):
        open_registry(f"mlflow+sqlite:///{tmp_path}/mlflow.db")


def test_nothing_is_sent_or_unpickled_by_mlflow(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from homing.registry import open_registry\n"
        "assert 'mlflow' not in sys.modules, 'importing homing.registry must stay light'\n"
        "open_registry(sys.argv[1])\n"
        "names = 'MLFLOW_DISABLE_TELEMETRY DO_NOT_TRACK MLFLOW_ALLOW_PICKLE_DESERIALIZATION'.split()\n"
        "print(*(os.environ[name] for name in names))"
    )
    bare = {k: v for k, v in os.environ.items() if "TRACK" not in k and "MLFLOW" not in k}
    out = subprocess.run(
        [sys.executable, "-c", code, f"mlflow+sqlite:///{tmp_path}/m.db"],
        env=bare,
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.split() == ["true", "true", "false"]


@pytest.mark.parametrize("uri", ["postgres://db", "mlflow+ftp://host", "folder:", "mlflow+http://", ""])
def test_unknown_uris_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match=r"registry == .*must be 'folder:PATH', 'mlflow\+sqlite:///PATH'"):
        open_registry(uri)


def test_names_that_could_leave_the_folder_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"name == '../x', must be made of letters"):
        open_registry("folder:here", "../x")
