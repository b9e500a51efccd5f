"""One contract over all registries: a folder, MLflow on SQLite, MLflow behind an HTTP server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homing.errors import ArtifactError, InvalidInputError, UnknownNameError
from homing.registry import ModelRegistry, RunReport, find_champion, find_version, open_registry, register_run

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:mlflow"),
]


def artifact(folder: Path, text: str = "one") -> Path:
    """A folder with a manifest, as save_policy writes it; built by hand, so that the digests come by another route."""
    folder.mkdir(parents=True)
    (folder / "policy.json").write_text(json.dumps({"format": 1, "text": text}))
    (folder / "weights.safetensors").write_bytes(text.encode() * 100)
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    return folder


def digest_of(folder: Path) -> str:
    return (
        subprocess.run(["sha256sum", folder / "manifest.json"], capture_output=True, check=True)
        .stdout.split()[0]
        .decode()
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and no rows: making one costs seconds, copying it nothing."""
    folder = tmp_path_factory.mktemp("template")
    open_registry(f"mlflow+sqlite:///{folder}/mlflow.db", "empty", cache=folder / "cache").versions()
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server on a free port, which keeps and hands out the artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(template, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | quiet, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail((folder / "server.log").read_text())
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(params=["folder", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "http"))])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"folder:{tmp_path}/registry"
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("template"), tmp_path / "mlflow.db")
        return f"mlflow+sqlite:///{tmp_path}/mlflow.db"
    return f"mlflow+{request.getfixturevalue('server')}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


@pytest.fixture
def registry(uri: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    monkeypatch.setenv("HOME", str(tmp_path))  # the default cache
    return open_registry(uri, name, cache=tmp_path / "cache")


def test_an_empty_registry_says_what_to_do(registry: ModelRegistry) -> None:
    assert registry.versions() == ()
    with pytest.raises(
        UnknownNameError, match=r"version == 'champion', the registry is empty\. Run the training pipeline"
    ):
        registry.resolve("champion")


def test_register_then_promote(registry: ModelRegistry, tmp_path: Path) -> None:
    first, second = artifact(tmp_path / "a", "one"), artifact(tmp_path / "b", "two")
    assert registry.register(first, RunReport("first")) == "1"
    registry.promote("1")
    assert registry.register(second, RunReport("second")) == "2"
    one, two = registry.versions()
    assert (one.aliases, two.aliases) == (("champion",), ("challenger",))
    assert (one.digest, two.digest) == (digest_of(first), digest_of(second))
    assert (registry.resolve("champion") / "policy.json").read_bytes() == (first / "policy.json").read_bytes()
    assert (registry.resolve("challenger") / "policy.json").read_bytes() == (second / "policy.json").read_bytes()
    registry.promote("2")
    assert [v.aliases for v in registry.versions()] == [(), ("champion",)]
    registry.promote("1")  # the way back
    assert [v.aliases for v in registry.versions()] == [("champion",), ()]
    assert digest_of(registry.resolve("2")) == digest_of(second)


def test_unknown_names_are_refused_with_a_hint(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.register(artifact(tmp_path / "a"), RunReport())
    with pytest.raises(UnknownNameError, match=r"version == 'challengr'.* Did you mean 'challenger'\?"):
        registry.resolve("challengr")
    with pytest.raises(UnknownNameError, match="version == '7'"):
        registry.promote("7")
    with pytest.raises(UnknownNameError, match="alias == 'production', must be one of 'challenger', 'champion'"):
        registry.register(tmp_path / "a", RunReport(), alias="production")


def test_the_same_key_registers_once(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a")
    assert [registry.register(folder, RunReport(key="run-7")) for _ in range(3)] == ["1", "1", "1"]
    assert registry.register(folder, RunReport(key="run-8")) == "2"
    assert [v.key for v in registry.versions()] == ["run-7", "run-8"]


def test_a_damaged_artifact_is_not_registered(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a")
    (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ArtifactError, match=r"sha256 of .*weights.safetensors.*must be .* as in the manifest"):
        registry.register(folder, RunReport())
    assert registry.versions() == ()


def test_a_tampered_artifact_is_refused(
    uri: str, name: str, registry: ModelRegistry, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    registry.register(artifact(tmp_path / "source"), RunReport())
    registry.promote("1")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    if "http" in uri:
        root = next(p for p in Path(request.getfixturevalue("tmp_path_factory").getbasetemp()).glob("server*"))
        [stored] = [
            p
            for p in root.rglob("policy/weights.safetensors")
            if p.read_bytes() == b"one" * 100 and _run_of(registry) in p.parts
        ]
    else:
        [stored] = list(tmp_path.rglob("policy/weights.safetensors"))
    stored.write_bytes(b"two" * 100)
    with pytest.raises(ArtifactError, match=r"sha256 of .*weights.safetensors"):
        registry.resolve("champion")
    # Files and manifest exchanged together still do not have the version's digest.
    manifest = stored.parent / "manifest.json"
    files = json.loads(manifest.read_bytes())
    files["files"]["weights.safetensors"] = hashlib.sha256(b"two" * 100).hexdigest()
    manifest.write_text(json.dumps(files))
    with pytest.raises(ArtifactError, match=r"digest of .*manifest.json.* as registered"):
        registry.resolve("champion")
    with pytest.raises(ArtifactError):
        registry.promote("1")


def _run_of(registry: ModelRegistry) -> str:
    return registry.versions()[0].run_id


def test_report_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"artifacts\['page'\] == .*must be a file or a folder that exists"):
        RunReport(artifacts={"page": tmp_path / "none"})


def test_a_promotion_while_the_folder_is_read_hides_no_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = artifact(tmp_path / "a", "one"), artifact(tmp_path / "b", "two")
    reader, writer = (open_registry(f"folder:{tmp_path}/registry") for _ in range(2))
    reader.promote(reader.register(first, RunReport()))
    read = reader._pointed

    def overtaken(alias: str) -> str | None:
        if len(writer.versions()) == 1:
            writer.promote(writer.register(second, RunReport()))
        return read(alias)

    monkeypatch.setattr(reader, "_pointed", overtaken)
    champion = find_version(reader, "champion")
    assert champion is not None
    assert champion.version == "2"


KILLED = """
import os, signal, sys
from pathlib import Path
from homing.registry import RunReport, open_registry
uri, name, cache, source, point = sys.argv[1:]
registry = open_registry(uri, name, cache=Path(cache))
# The process dies where the alias would move: the last thing that register and promote do.
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if uri.startswith("folder"):
    registry._point = die
else:
    registry._client.set_registered_model_alias = die
registry.promote("2") if point == "promote" else registry.register(Path(source), RunReport(key="killed"))
"""


@pytest.mark.parametrize("point", ["register", "promote"])
def test_killed_before_the_alias(uri: str, name: str, registry: ModelRegistry, tmp_path: Path, point: str) -> None:
    first, second = artifact(tmp_path / "a", "one"), artifact(tmp_path / "b", "two")
    registry.register(first, RunReport())
    registry.promote("1")
    if point == "promote":
        registry.register(second, RunReport(key="killed"))
    child = subprocess.run(
        [sys.executable, "-c", KILLED, uri, name, str(tmp_path / "cache"), str(second), point],
        cwd=Path.cwd(),
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    champion = find_version(registry, "champion")
    assert champion is not None
    assert champion.version == "1"
    assert digest_of(registry.resolve("champion")) == digest_of(first)
    assert digest_of(registry.resolve("2")) == digest_of(second)
    # The step runs again and completes what was left, without a second version.
    assert registry.register(second, RunReport(key="killed")) == "2"
    registry.promote("2")
    assert digest_of(registry.resolve("champion")) == digest_of(second)
    assert len(registry.versions()) == 2


@pytest.fixture
def register(uri: str, name: str, registry: ModelRegistry, tmp_path: Path) -> Callable[..., object]:
    artifact(tmp_path / "baseline", "baseline")

    def run(text: str, verdict: str, **more: object) -> object:
        folder = tmp_path / f"policy-{text}"
        if not folder.exists():
            artifact(folder, text)
        return register_run(
            uri,
            name=name,
            policy=folder,
            baseline=tmp_path / "baseline",
            verdict=verdict,
            run_name=text,
            key=text,
            **more,
        )

    return run


def test_the_first_run_makes_the_baseline_champion(
    register: Callable[..., object], uri: str, name: str, registry: ModelRegistry
) -> None:
    assert find_champion(uri, name) == ("", None)
    done = register("first", "hold")
    assert (done.version, done.promoted, done.champion_version, done.baseline_version) == ("2", False, "1", "1")
    assert [v.aliases for v in registry.versions()] == [("champion",), ("challenger",)]
    assert b"baseline" in (registry.resolve("champion") / "policy.json").read_bytes()
    assert find_champion(uri, name)[0] == "1"
    # A refused one gets no alias; a promoted one becomes champion; the same run again adds nothing.
    refused = register("second", "refuse", compared_with="1")
    assert (refused.version, refused.promoted) == ("3", False)
    assert "version 3, with no alias; version 1 stays champion" in refused.to_text()
    for _ in range(2):
        better = register("third", "promote", compared_with="1")
        assert (better.version, better.promoted, better.champion_version, better.note) == ("4", True, "4", "")
    assert [v.aliases for v in registry.versions()] == [(), (), (), ("champion",)]


def test_a_run_that_is_repeated_after_its_promotion_keeps_it(
    register: Callable[..., object], registry: ModelRegistry
) -> None:
    register("first", "promote")
    again = register("first", "hold", compared_with="2")  # the champion against itself is no better
    assert (again.version, again.promoted, again.champion_version) == ("2", True, "2")
    assert "made it the champion. An earlier attempt of this run had done so already" in again.to_text()
    assert [v.aliases for v in registry.versions()] == [(), ("champion",)]


@pytest.mark.parametrize("kind", ["folder", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_a_policy_needs_no_name_where_it_is_the_only_one(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    uri = f"folder:{tmp_path}/registry"
    if kind == "sqlite":  # the server's registry is shared with other tests
        shutil.copyfile(request.getfixturevalue("template"), tmp_path / "mlflow.db")
        uri = f"mlflow+sqlite:///{tmp_path}/mlflow.db"
    folder = artifact(tmp_path / "policy", "one")
    for name in ("visits", "clicks"):
        assert open_registry(uri, name).versions() == ()
    assert open_registry(uri).versions() == ()  # none yet: it would be `homing`
    visits = open_registry(uri, "visits")
    visits.promote(visits.register(folder, RunReport()))
    assert digest_of(open_registry(uri).resolve("champion")) == digest_of(folder)
    open_registry(uri, "clicks").register(folder, RunReport())
    with pytest.raises(UnknownNameError, match=r"policy name == '', must be one of 'clicks', 'visits'.*name one"):
        open_registry(uri)
    open_registry(uri, "homing").register(folder, RunReport())
    assert find_version(open_registry(uri), "champion") is None  # that of `homing`, which has none


def test_a_verdict_against_an_older_champion_does_not_promote(register: Callable[..., object]) -> None:
    register("first", "promote")
    late = register("late", "promote", compared_with="1")
    assert (late.promoted, late.champion_version) == (False, "2")
    assert "compared with version 1, but version 2 is the champion by now: run again" in late.to_text()
