"""Components stay thin, documented and loadable without `homing` installed at compile time."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

COMPONENTS = Path(__file__).resolve().parents[2] / "components"
STEPS = ("prepare", "train", "evaluate", "gate", "register", "plan", "experiment")


def function(name: str) -> ast.FunctionDef:
    tree = ast.parse((COMPONENTS / f"{name}.py").read_text())
    [found] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return found


@pytest.mark.parametrize("name", STEPS)
def test_a_component_is_named_after_its_file_and_at_most_15_statements_long(name: str) -> None:
    step = function(name)
    assert step.name == name
    statements = [node for node in ast.walk(step) if isinstance(node, ast.stmt) and node is not step]
    assert len(statements) <= 15


@pytest.mark.parametrize("name", STEPS)
def test_every_parameter_is_documented(name: str) -> None:
    """The docstring's lines become the descriptions in the Kubeflow UI."""
    step = function(name)
    documented = re.findall(
        r"(?m)^ +(\w+): \S", (ast.get_docstring(step) or "").partition("Args:")[2].partition("Returns:")[0]
    )
    assert documented == [argument.arg for argument in step.args.args]


@pytest.mark.parametrize("name", STEPS)
def test_a_component_imports_homing_only_inside(name: str) -> None:
    """The module is read where pipelines are compiled; what it calls is imported where the step runs."""
    tree = ast.parse((COMPONENTS / f"{name}.py").read_text())
    top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert top == {"kfp", "components.image"}
