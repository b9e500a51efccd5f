"""Every overlay renders and holds against its schemas; the validation itself sees what is wrong."""

from __future__ import annotations

import copy
import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
    assert [fault for resource in rendered[overlay] for fault in validate.faults(resource, schemas)] == []


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
