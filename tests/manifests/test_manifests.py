"""Every overlay renders and holds against its schemas; the validation itself sees what is wrong."""

from __future__ import annotations

import copy
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from homing.log import Objectives
from homing.promotion import PromotionRules
from monitoring.rules import DEFAULT_RULES, DriftRules
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("local", "production", "staging")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("manifests_validate", ROOT / "manifests" / "validate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


validate = load()
pytestmark = pytest.mark.skipif(
    not (shutil.which("kubectl") or shutil.which("kustomize")), reason="neither kubectl nor kustomize is installed"
)


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict[str, Any]]]:
    return {overlay: validate.render(overlay) for overlay in OVERLAYS}


@pytest.fixture(scope="module")
def schemas() -> Any:
    folder = validate.crd_folder()
    if folder is None:
        pytest.skip("no custom resource definitions: run `make crds`, or set HOMING_CRDS")
    return validate.load_crds(folder)


def find(resources: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    return copy.deepcopy(next(r for r in resources if r["kind"] == kind and name in (None, r["metadata"]["name"])))


def test_every_overlay_is_rendered() -> None:
    assert tuple(validate.overlays()) == OVERLAYS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_native_resources_and_our_rules_hold(overlay: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    assert [fault for resource in rendered[overlay] for fault in validate.faults(resource, None)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_resources_hold(overlay: str, rendered: dict[str, list[dict[str, Any]]], schemas: Any) -> None:
    custom = [r for r in rendered[overlay] if r["apiVersion"].split("/")[0] in validate.CUSTOM_GROUPS]
    assert custom and [fault for resource in custom for fault in validate.faults(resource, schemas)] == []


def test_configuration_is_copied_unchanged() -> None:
    assert validate.stale_copies() == []


def unknown_field(resource: dict[str, Any]) -> None:
    resource["spec"]["replica"] = 1


def wrong_type(resource: dict[str, Any]) -> None:
    resource["spec"]["replicas"] = "one"


def latest_tag(resource: dict[str, Any]) -> None:
    resource["spec"]["template"]["spec"]["containers"][0]["image"] = "homing-train:latest"


def short_digest(resource: dict[str, Any]) -> None:
    resource["spec"]["template"]["spec"]["containers"][0]["image"] = "homing-train@sha256:" + "a" * 32


def as_root(resource: dict[str, Any]) -> None:
    resource["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] = False


@pytest.mark.parametrize("harm", [unknown_field, wrong_type, latest_tag, short_digest, as_root])
def test_a_wrong_deployment_is_seen(harm: Any, rendered: dict[str, list[dict[str, Any]]]) -> None:
    resource = find(rendered["local"], "Deployment", "homing-mlflow")
    assert validate.faults(resource, None) == []
    harm(resource)
    assert len(validate.faults(resource, None)) >= 1


def test_a_wrong_custom_resource_is_seen(rendered: dict[str, list[dict[str, Any]]], schemas: Any) -> None:
    service = find(rendered["local"], "RayService")
    service["spec"]["rayClusterConfig"]["headGroupSpecs"] = {}
    assert validate.faults(service, schemas) == [
        ".spec.rayClusterConfig.headGroupSpecs is not a field of the definition"
    ]
    inference = find(rendered["local"], "InferenceService")
    inference["spec"]["predictor"]["minReplicas"] = "two"
    assert "two" in validate.faults(inference, schemas)[0]


def test_without_definitions_the_check_fails_unless_asked_for_less(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    monkeypatch.setenv("HOMING_CRDS", str(tmp_path))
    monkeypatch.setattr(validate, "overlays", lambda: ["local"])
    monkeypatch.setattr(validate, "render", lambda overlay: rendered[overlay])
    monkeypatch.setattr("sys.argv", ["validate.py"])
    assert validate.main() == 1
    out = capsys.readouterr().out
    assert f"✗ custom resource definitions in {tmp_path} == none, are needed" in out and "Run: make crds" in out
    assert "(NOT validated), 0 faults" in out
    monkeypatch.setattr("sys.argv", ["validate.py", "--native-only"])
    assert validate.main() == 0


# What the containers are told, held against the programs that read it ------------------------------------------------


def containers(resources: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Every container with its environment as Kubernetes would set it, config maps included."""
    maps = {r["metadata"]["name"]: r["data"] for r in resources if r["kind"] == "ConfigMap"}
    for resource in resources:
        for pod in validate.pod_specs(resource):
            for container in pod["containers"]:
                own = {item["name"]: item.get("value", "from-the-cluster") for item in container.get("env", ())}
                named = [s["configMapRef"]["name"] for s in container.get("envFrom", ()) if "configMapRef" in s]
                yield container, {key: value for name in named for key, value in maps[name].items()} | own


def expanded(words: list[str], environment: dict[str, str]) -> list[str]:
    return [re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], word) for word in words]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_servers_read_every_variable_that_they_get(overlay: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    seen = []
    for container, environment in containers(rendered[overlay]):
        if re.search(r"homing-(serve|kserve):", container["image"]):
            settings = Settings.from_environment(environment)  # refuses a name that it does not know
            settings.check_exposure()
            assert settings.registry == "mlflow+http://homing-mlflow:5000"
            assert settings.alias == ("challenger" if overlay == "staging" else "champion")
            assert settings.guards == Path("/etc/homing/guards.yaml")
            seen.append(container["name"])
    assert seen == ["ray-head", "ray-worker", "kserve-container"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_replica_writes_where_a_volume_is_mounted(overlay: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    [(worker, environment)] = [item for item in containers(rendered[overlay]) if item[0]["name"] == "ray-worker"]
    mounts = {mount["mountPath"]: mount["name"] for mount in worker["volumeMounts"]}
    ledger, log = Path(environment["HOMING_LEDGER"]), Path(environment["HOMING_LOG_DIR"])
    assert (mounts[str(ledger.parent)], mounts[str(log.parent)]) == ("ledger", "log")
    claims = {r["metadata"]["name"]: r["spec"] for r in rendered[overlay] if r["kind"] == "PersistentVolumeClaim"}
    assert claims["homing-ledger"]["accessModes"] == ["ReadWriteOnce"]  # SQLite, so no network file system
    assert worker["readinessProbe"]["httpGet"]["port"] == "serve"  # KubeRay's own one needs wget


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_drift_job_and_the_run_that_it_starts_are_told_what_they_need(
    overlay: str, rendered: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    from monitoring import drift
    from pipelines.run import parser
    from pipelines.settings import settle

    resources = rendered[overlay]
    [(job, environment)] = [item for item in containers(resources) if item[0]["name"] == "drift"]
    mounts = {mount["mountPath"] for mount in job["volumeMounts"]}
    maps = {r["metadata"]["name"]: r["data"] for r in resources if r["kind"] == "ConfigMap"}
    # The config map's files, where the job finds them.
    [files] = [data for name, data in maps.items() if name.startswith("homing-monitoring-")]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    words = [word.replace("/etc/homing/", f"{tmp_path}/") for word in expanded(job["args"], environment)]
    args = drift._parser().parse_args(words)
    assert args.last_days == 7 and DriftRules.from_yaml(args.rules) == DriftRules.from_yaml(DEFAULT_RULES)
    for path in (args.reference, args.current, args.workspace, args.out, args.state):
        assert any(path.is_relative_to(mount) for mount in mounts), path
    settled = settle(parser().parse_args(["--retrain", "--run-name", "retrain-1", *drift._retrain(args)]))
    assert settled.arguments["logs"] == [environment["HOMING_LOG_DIR"]]
    assert settled.registry == "mlflow+http://homing-mlflow:5000"
    objectives = Objectives.from_dict(yaml.safe_load(settled.arguments["objectives"]))
    rules = PromotionRules.from_dict(yaml.safe_load(settled.arguments["rules"]))
    assert set(rules.objectives) == set(objectives.names)
    # The pipeline's steps run in the training image of this overlay.
    training = find(resources, "Deployment", "homing-mlflow")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert environment["HOMING_IMAGE"] == training and training.rpartition("/")[2].startswith("homing-train:")
    assert environment["KF_PIPELINES_TOKEN_FILE"].rpartition("/")[0] in mounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_command_is_in_its_image(overlay: str, rendered: dict[str, list[dict[str, Any]]]) -> None:
    seen = set()
    for container, _ in containers(rendered[overlay]):
        image = re.sub(r"^.*homing-(\w+):.*$", r"\1", container["image"])
        copied = re.findall(r"^COPY (\w+) \w+$", (ROOT / "images" / f"Dockerfile.{image}").read_text(), re.MULTILINE)
        match container.get("command", ()):
            case ["/opt/homing/bin/python", "-m", module]:
                assert module.split(".")[0] in copied and (ROOT / f"{module.replace('.', '/')}.py").is_file()
                seen.add(module)
            case [program, *_]:
                package = Path(program).name
                assert re.search(rf"^{package}==", (ROOT / "requirements" / f"{image}.lock").read_text(), re.MULTILINE)
                seen.add(package)
    assert seen == {"monitoring.drift", "monitoring.exporter", "mlflow", "evidently"}


def test_every_config_map_that_is_named_exists(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for resources in rendered.values():
        maps = {r["metadata"]["name"] for r in resources if r["kind"] == "ConfigMap"}
        named = set()
        for resource in resources:
            for pod in validate.pod_specs(resource):
                named |= {volume["configMap"]["name"] for volume in pod.get("volumes", ()) if "configMap" in volume}
                for container in pod["containers"]:
                    named |= {
                        source["configMapRef"]["name"]
                        for source in container.get("envFrom", ())
                        if "configMapRef" in source
                    }
        assert named and named <= maps


def test_every_account_and_claim_that_is_named_exists(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for resources in rendered.values():
        accounts = {r["metadata"]["name"] for r in resources if r["kind"] == "ServiceAccount"}
        claims = {r["metadata"]["name"] for r in resources if r["kind"] == "PersistentVolumeClaim"}
        for resource in resources:
            for pod in validate.pod_specs(resource):
                assert pod.get("serviceAccountName", next(iter(accounts))) in accounts
                used = {
                    volume["persistentVolumeClaim"]["claimName"]
                    for volume in pod.get("volumes", ())
                    if "persistentVolumeClaim" in volume
                }
                assert used <= claims
