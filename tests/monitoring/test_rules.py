"""Alert rules: the shipped file is the defaults, wrong files are refused with a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from homing.errors import InvalidInputError, UnknownNameError
from monitoring.rules import DEFAULT_RULES, GROUPS, DriftRules


def test_the_shipped_file_is_the_defaults() -> None:
    shipped, built = DriftRules.from_yaml(DEFAULT_RULES), DriftRules()
    assert shipped.model_dump(exclude={"groups"}) == built.model_dump(exclude={"groups"})
    assert {group: shipped.role(group) for group in GROUPS} == {group: built.role(group) for group in GROUPS}
    assert set(shipped.groups) == set(GROUPS)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("psy: 0.2", UnknownNameError, r"r.yaml key == 'psy', must be one of .* Did you mean 'psi'\?"),
        ("groups: {contxt: alert}", UnknownNameError, r"r.yaml group == 'contxt', .* Did you mean 'context'\?"),
        ("groups: {context: never}", InvalidInputError, r"r.yaml: groups.context == 'never', input should be 'alert'"),
        ("significance: 1.5", InvalidInputError, r"r.yaml: significance == 1.5, input should be less than 1"),
        ("minimum_rows: -1", InvalidInputError, r"minimum_rows == -1, input should be greater than or equal to 1"),
        ("version: 2", InvalidInputError, r"version == 2, input should be 1"),
        ("- a", InvalidInputError, r"must be a mapping"),
        ("a: [", InvalidInputError, r"is not YAML"),
        ("psi: 0.1\npsi: 0.2", InvalidInputError, r"is not YAML. the key 'psi' is there twice"),
        ("x: !!python/object/apply:os.getcwd []", InvalidInputError, r"is not YAML"),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, text: str, error: type, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        DriftRules.from_yaml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"rules == '.*none.yaml', cannot be read. No such file or directory"):
        DriftRules.from_yaml(tmp_path / "none.yaml")


def test_the_digest_follows_the_values() -> None:
    assert DriftRules().digest == DriftRules(psi=0.1).digest != DriftRules(psi=0.2).digest
