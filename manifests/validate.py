"""Render every overlay and validate what comes out, offline: native kinds, custom resources, and rules no schema holds.

Native kinds are checked strictly against the Kubernetes schemas; custom resources against the schemas of their
definitions (`make crds`, or the folder that $HOMING_CRDS names), where a field that no schema knows is an error too.
Without definitions the check fails, unless --native-only says that this much is enough.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KUBERNETES = "1.32"
#: Copies that kustomize needs below its root, and the file each is a copy of.
COPIES = {
    "base/config/guards.yaml": "serving/guards.yaml",
    "base/config/drift-rules.yaml": "monitoring/rules.yaml",
    "base/config/alerts.yaml": "monitoring/alerts.yaml",
}
CUSTOM_GROUPS = ("ray.io", "serving.kserve.io", "pipelines.kubeflow.org", "kubeflow.org")
IMAGE = re.compile(r"^[a-z0-9./-]+(:[a-zA-Z0-9._-]+|@sha256:[0-9a-f]{64})$")

Resource = dict[str, Any]
#: The same documents, several times as fast where PyYAML was built with libyaml.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def overlays() -> list[str]:
    return sorted(path.parent.name for path in (HERE / "overlays").glob("*/kustomization.yaml"))


def render(overlay: str) -> list[Resource]:
    """The resources of one overlay, as `kubectl apply -k` would send them."""
    folder = HERE / "overlays" / overlay
    if shutil.which("kustomize"):
        command = ["kustomize", "build", str(folder)]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize", str(folder)]
    else:
        raise SystemExit("kubectl == not found, is needed to render manifests. Install kubectl or kustomize.")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"manifests/overlays/{overlay} cannot be rendered:\n{done.stderr.strip()}")
    return [resource for resource in yaml.load_all(done.stdout, Loader=LOADER) if resource]


def crd_folder() -> Path | None:
    """Where the custom resource definitions are: $HOMING_CRDS, what `make crds` fetched, or beside the checkout."""
    named = os.environ.get("HOMING_CRDS")
    choices = [Path(named)] if named else [ROOT / ".crds", ROOT.parent / "shared" / "crds"]
    return next((folder for folder in choices if any(folder.glob("*.yaml"))), None)


def load_crds(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(apiVersion, kind) → OpenAPI schema of each custom resource that the definitions serve."""
    schemas = {}
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=LOADER):
            if not document or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec.get("versions", ()):
                schema = version.get("schema", {}).get("openAPIV3Schema")
                if schema:
                    schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return schemas


def unknown_fields(value: Any, schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """Fields that the schema does not know: the API server would drop them without a word."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for name, child in value.items():
            # Metadata's and embedded resources' common fields belong to Kubernetes, not to the definition.
            if where == "" and name in {"apiVersion", "kind", "metadata"}:
                continue
            if name in properties:
                yield from unknown_fields(child, properties[name], f"{where}.{name}")
            elif isinstance(extra, dict):
                yield from unknown_fields(child, extra, f"{where}.{name}")
            elif not extra and properties:
                yield f"{where}.{name} is not a field of the definition"
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from unknown_fields(child, schema.get("items", {}), f"{where}[{index}]")


def custom_faults(resource: Resource, schemas: dict[tuple[str, str], dict[str, Any]]) -> Iterator[str]:
    key = (resource["apiVersion"], resource["kind"])
    schema = schemas.get(key)
    if schema is None:
        yield f"no definition of {key[0]} {key[1]} was found"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors(resource):
        yield f"{error.json_path}: {error.message[:200]}"
    yield from unknown_fields(resource, schema)


def native_faults(resource: Resource) -> Iterator[str]:
    try:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(str(part) for part in error.path)}: {error.message}"


def pod_specs(value: Any) -> Iterator[dict[str, Any]]:
    """Every pod specification in a resource, wherever it stands."""
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield value
        for child in value.values():
            yield from pod_specs(child)
    elif isinstance(value, list):
        for child in value:
            yield from pod_specs(child)


def policy_faults(resource: Resource) -> Iterator[str]:
    """Rules of ours: images with a fixed tag or digest, no root, no privilege, bounded memory, no API token."""
    for pod in pod_specs(resource):
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            name = container["name"]
            image = container.get("image", "")
            if not IMAGE.match(image) or image.endswith(":latest"):
                yield f"container {name}: image {image!r} must have a fixed tag or a digest of 64 hex digits"
            security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
            if security.get("allowPrivilegeEscalation") is not False or not security.get("runAsNonRoot"):
                yield f"container {name}: must run as non-root without privilege escalation"
            if security.get("capabilities", {}).get("drop") != ["ALL"] or "seccompProfile" not in security:
                yield f"container {name}: must drop all capabilities and name a seccomp profile"
            if "memory" not in container.get("resources", {}).get("limits", {}):
                yield f"container {name}: must have a memory limit"
        if resource["kind"] != "ServingRuntime" and pod.get("automountServiceAccountToken") is not False:
            yield "pods must not mount an API token by themselves"


def faults(resource: Resource, schemas: dict[tuple[str, str], dict[str, Any]] | None) -> list[str]:
    """All that is wrong with one rendered resource; custom resources pass where `schemas` is None."""
    custom = resource["apiVersion"].split("/")[0] in CUSTOM_GROUPS
    found = list(policy_faults(resource))
    if not custom:
        found += native_faults(resource)
    elif schemas is not None:
        found += custom_faults(resource, schemas)
    return found


def stale_copies() -> list[str]:
    """Copies below manifests/ that differ from the file that they were taken from."""
    return [copy for copy, source in COPIES.items() if (HERE / copy).read_bytes() != (ROOT / source).read_bytes()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write each overlay's rendered YAML into this folder")
    parser.add_argument("--native-only", action="store_true", help="pass without validating custom resources")
    parser.add_argument("--sync", action="store_true", help="renew the copies of configuration below manifests/")
    args = parser.parse_args()
    if args.sync:
        for copy, source in COPIES.items():
            (HERE / copy).write_bytes((ROOT / source).read_bytes())
    status = 0
    for copy in stale_copies():
        print(f"✗ manifests/{copy} differs from {COPIES[copy]}. Run: python manifests/validate.py --sync")
        status = 1
    folder = None if args.native_only else crd_folder()
    schemas = load_crds(folder) if folder else None
    if schemas is None and not args.native_only:
        where = os.environ.get("HOMING_CRDS") or ".crds"
        print(
            f"✗ custom resource definitions in {where} == none, are needed to validate custom resources. Run: make "
            "crds (needs a network), or set HOMING_CRDS to a folder that has them; --native-only passes without."
        )
        status = 1
    for overlay in overlays():
        resources = render(overlay)
        wrong = 0
        for resource in resources:
            for fault in faults(resource, schemas):
                print(f"✗ {overlay}: {resource['kind']}/{resource['metadata']['name']}: {fault}")
                wrong += 1
        custom = sum(resource["apiVersion"].split("/")[0] in CUSTOM_GROUPS for resource in resources)
        checked = "validated" if schemas is not None else "NOT validated"
        verdict = "✗" if wrong else "✓"
        print(f"{verdict} {overlay}: {len(resources)} resources, of which {custom} custom ({checked}), {wrong} faults")
        status |= wrong > 0
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"{overlay}.yaml").write_text(yaml.safe_dump_all(resources, sort_keys=False))
    return status


if __name__ == "__main__":
    sys.exit(main())
