"""Fetch the custom resource definitions that the manifests are written for into .crds/ (not committed)."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / ".crds"
HOST = "https://raw.githubusercontent.com"
KSERVE = "kserve/kserve/aaac4e294dae2c7b1aa1886447793f3aa1c30912/config/crd/full"
KUBERAY = "ray-project/kuberay/v1.7.0/ray-operator/config/crd/bases"
PIPELINES = "kubeflow/pipelines/7b70c7b95f6832772efd6fd0029a4024491a0f44/manifests/kustomize/base/crds"
#: Folders upstream, at a fixed version, and the file wanted from each.
SOURCES = (
    (KUBERAY, "ray.io_rayservices.yaml"),
    (KSERVE, "serving.kserve.io_inferenceservices.yaml"),
    (KSERVE, "serving.kserve.io_servingruntimes.yaml"),
    (PIPELINES, "pipelines.kubeflow.org_pipelines.yaml"),
    (PIPELINES, "pipelines.kubeflow.org_pipelineversions.yaml"),
)


def main() -> int:
    TARGET.mkdir(exist_ok=True)
    for upstream, name in SOURCES:
        try:
            with urllib.request.urlopen(f"{HOST}/{upstream}/{name}", timeout=30) as answer:
                content = answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            print(f"{name} == not fetched ({error}), needs a network. Set HOMING_CRDS to a folder that has it.")
            return 1
        partial = TARGET / f"{name}.part"
        partial.write_bytes(content)
        partial.rename(TARGET / name)
        print(f"● {name}: {len(content) / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
