"""Dockerfiles are clean, an image installs what it needs and no more; one is installed and started for real."""

from __future__ import annotations

import gc
import importlib.util
import re
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images_check", ROOT / "images" / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


check = load()
NAMES = ("kserve", "monitor", "serve", "train")


def locked(profile: str) -> set[str]:
    text = (ROOT / "requirements" / f"{profile}.lock").read_text()
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE))


def test_every_dockerfile_is_checked() -> None:
    assert (
        sorted(path.suffix[1:] for path in (ROOT / "images").glob("Dockerfile.*"))
        == sorted(check.IMAGES)
        == list(NAMES)
    )


@pytest.mark.parametrize("name", NAMES)
def test_dockerfile_is_lint_clean(name: str) -> None:
    assert check.lint(check.IMAGES[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_lock_holds_what_the_image_needs_and_no_more(name: str) -> None:
    names = locked(name) | ({"torch"} if name == "train" else set())
    assert list(check.wrong_contents(check.IMAGES[name], names)) == []


@pytest.mark.parametrize("name", [*NAMES, "dev", "build"])
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_wrong_contents_are_seen() -> None:
    serve = check.IMAGES["serve"]
    assert list(check.wrong_contents(serve, {"ray", "fastapi", "mlflow-skinny"})) == []
    assert list(check.wrong_contents(serve, {"ray", "fastapi", "torch", "nvidia-cublas"})) == [
        "mlflow-skinny is missing",
        "torch must not be in it",
        "nvidia-cublas is a CUDA package",
    ]


def test_a_file_that_the_build_context_leaves_out_is_seen() -> None:
    assert not check.ignored("serving")
    assert not check.ignored("requirements/serve.lock")
    assert check.ignored("tests")


@pytest.mark.parametrize("name", NAMES)
def test_every_instruction_is_read_and_no_file_left_open(name: str) -> None:
    steps = check.instructions(check.IMAGES[name])
    gc.collect()  # an unclosed file warns here, and warnings are errors
    text = (ROOT / "images" / f"Dockerfile.{name}").read_text()
    starts = re.findall(r"^[A-Z]+(?= )", text, re.MULTILINE)
    assert [step["instruction"] for step in steps] == starts and starts[-1] == "ENTRYPOINT"


@pytest.mark.parametrize(
    ("name", "url"), [("kserve", "http://127.0.0.1:5/v2/health/ready"), ("serve", "http://127.0.0.1:5/readyz")]
)
def test_a_server_checks_its_own_health_on_the_port_that_it_exposes(name: str, url: str) -> None:
    image = check.IMAGES[name]
    [command] = check.health_checks(image, 5)
    assert command[:2] == ["python", "-c"] and f"'{url}'" in command[2] and image.ready_path in url


def test_the_page_compares_serving_with_training() -> None:
    sizes = {"train": 1000, "serve": 400, "kserve": 250, "monitor": 600}
    rows = [
        {"image": name, "packages": 9, "size_mib": mib, "largest": [("numpy", 55)], "entry": "`--help` answers"}
        for name, mib in sizes.items()
    ]
    made = {"name": "homing.whl", "files": 3, "kinds": "2 .py, 1 .yaml", "kib": 20, "unpacked_kib": 60}
    page = check.markdown(rows, made)
    assert "`homing.whl` holds `homing/` alone: 3 files (2 .py, 1 .yaml)," in page
    assert "| `homing-serve` | 9 | 400 | numpy 55 | `--help` answers |" in page
    assert "`homing-kserve` is 25%, `homing-serve` is 40%, `homing-monitor` is 60%." in page


def test_the_wheel_holds_the_library_alone(tmp_path: Path) -> None:
    facts = check.wheel(tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert facts["files"] == len(names)
    assert {name.split("/")[0] for name in names} == {"homing"}
    assert {"homing/py.typed", "homing/datasets/hillstrom.objectives.yaml", "homing/pages/templates/base.html"} <= set(
        names
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kserve"])
def test_image_installs_and_starts_from_only_what_it_copies(name: str, tmp_path: Path) -> None:
    facts = check.check(check.IMAGES[name], tmp_path, check.make_registry(tmp_path))
    assert facts["entry"] == "`/v2/health/ready` answers 200"
