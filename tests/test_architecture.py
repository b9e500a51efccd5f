"""Who may import whom: the table of DESIGN section 5, enforced on the syntax tree of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE = {"homing.errors", "homing.checks", "homing.estimates", "homing.plain_yaml"}
#: Third-party packages that are heavy, or that only one room may know. A room may import those that its row names.
FENCED = {
    "torch",
    "mlflow",
    "ray",
    "kfp",
    "kserve",
    "evidently",
    "polars",
    "scipy",
    "matplotlib",
    "pandas",
    "sklearn",
    "numba",
    "gymnasium",
}
#: room → (rooms of ours that it may import, fenced packages that it may import). A module without a row fails.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "homing": (set(), set()),
    "homing.errors": (set(), set()),
    "homing.checks": ({"homing.errors"}, set()),
    "homing.estimates": ({"homing.errors", "homing.checks"}, {"scipy"}),
    "homing.plain_yaml": (set(), set()),
    "homing.engines": (BASE, {"ray"}),
    "homing.pages": (BASE, set()),
    "homing.cli": (BASE | {"homing"}, set()),
    "homing.log": (BASE | {"homing.engines"}, {"polars"}),
    "homing.policies": (BASE, set()),
    "homing.datasets": (BASE | {"homing.log", "homing.policies", "homing.simulation"}, {"polars"}),
    "homing.learners": (BASE | {"homing.engines", "homing.log", "homing.policies"}, {"torch"}),
    "homing.ope": (BASE | {"homing.engines", "homing.log", "homing.pages", "homing.policies"}, {"scipy", "matplotlib"}),
    "homing.planning": (
        BASE | {"homing.engines", "homing.log", "homing.pages", "homing.policies"},
        {"scipy", "numba"},
    ),
    "homing.experiments": (
        BASE | {"homing.engines", "homing.log", "homing.pages", "homing.policies"},
        {"scipy", "polars", "matplotlib"},
    ),
    "homing.simulation": (BASE | {"homing.log", "homing.policies"}, {"numba", "gymnasium", "scipy"}),
    "homing.promotion": (
        BASE | {"homing.ope", "homing.experiments", "homing.log", "homing.pages", "homing.policies"},
        {"matplotlib"},
    ),
    "homing.registry": (BASE | {"homing.policies"}, {"mlflow"}),
    "homing.decisions": (BASE | {"homing.log", "homing.policies", "homing.planning"}, set()),
    "components": ({"homing", "homing.*", "components"}, {"kfp"}),
    "pipelines": ({"homing", "homing.*", "components", "pipelines"}, {"kfp"}),
    "serving": (
        BASE | {"homing", "homing.decisions", "homing.registry", "homing.log", "homing.policies", "serving"},
        {"ray", "kserve"},
    ),
    "monitoring": ({"homing", "homing.*", "monitoring"}, {"evidently", "kfp", "pandas"}),
    "examples": ({"homing", "homing.*", "examples"}, {"pandas", "polars"}),
}
#: The one file that may import a fenced package, where that is narrower than its room.
ONLY_IN = {"mlflow": "homing/registry/mlflow.py", "ray": "homing/engines/ray.py"}
TREES = ("homing", "components", "pipelines", "serving", "monitoring", "examples")


def modules() -> list[Path]:
    return sorted(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "homing":
        return parts[0]
    return "homing" if parts[1] == "__init__" else f"homing.{parts[1]}"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Absolute names of everything imported anywhere in a module, function bodies included."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*prefix, *([node.module] if node.module else [])])
            # `from homing import log` names a room in its alias.
            yield from ((node.lineno, f"{name}.{alias.name}" if name == "homing" else name) for alias in node.names)


def our_room(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] == "homing":
        return "homing" if len(parts) == 1 or parts[1].startswith("_") else f"homing.{parts[1]}"
    return parts[0] if parts[0] in {*TREES, "tests", "benchmarks"} else None


def faults(path: Path) -> Iterator[str]:
    room = room_of(path)
    where = path.relative_to(ROOT).as_posix()
    if room not in ALLOWED:
        yield f"{where}: room {room!r} has no row in the import table"
        return
    rooms, packages = ALLOWED[room]
    for line, name in imports(path):
        target = our_room(name)
        if target is not None and target != room:
            wildcard = f"{target.split('.')[0]}.*"
            if target not in rooms and wildcard not in rooms:
                yield f"{where}:{line}: {room} must not import {name}"
        package = name.split(".")[0]
        if package in FENCED and package not in packages:
            yield f"{where}:{line}: {room} must not import {package}"
        if package in ONLY_IN and where != ONLY_IN[package] and room.startswith("homing"):
            yield f"{where}:{line}: {package} is imported in {ONLY_IN[package]} alone"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_follow_the_table(path: Path) -> None:
    assert list(faults(path)) == []


def test_the_fence_sees_a_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    breach = tmp_path / "homing" / "ope" / "sneaky.py"
    breach.parent.mkdir(parents=True)
    breach.write_text(
        "def f():\n    import torch\n    from homing.learners import make\n    from homing import registry\n"
    )
    assert len(list(faults(breach))) == 3
    orphan = tmp_path / "homing" / "utils" / "x.py"
    orphan.parent.mkdir(parents=True)
    orphan.write_text("")
    assert "no row" in next(faults(orphan))


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("homing", {"torch", "mlflow", "ray", "kfp", "numpy"}),
        ("homing.policies", {"torch", "mlflow", "ray", "kfp", "polars", "pandas"}),
        ("homing.decisions", {"torch", "mlflow", "ray", "kfp", "polars", "pandas", "scipy", "matplotlib", "numba"}),
        ("homing.planning", {"torch", "mlflow", "ray", "kfp", "polars", "pandas", "scipy", "matplotlib", "numba"}),
        ("homing.registry", {"torch", "mlflow", "ray", "kfp"}),
        ("homing.cli", {"torch", "mlflow", "ray", "kfp", "polars", "matplotlib", "numba"}),
        ("homing.ope", {"torch", "mlflow", "ray", "scipy", "matplotlib"}),
        ("homing.experiments", {"torch", "mlflow", "ray", "polars", "pandas", "matplotlib"}),
    ],
)
def test_imports_are_light(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}} & {forbidden!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []
