"""YAML that people write: plain values, and no key twice."""

from __future__ import annotations

import pytest
import yaml

from homing.plain_yaml import load_yaml


def test_what_a_mapping_takes_from_another_it_may_change() -> None:
    """In whatever order mappings are made: here the last takes from one that is deeper."""
    text = """
    base: &base {a: 1, b: 2}
    defs: {deep: {middle: &middle {<<: *base, a: 3}}}
    top: {<<: *middle, b: 4}
    """
    assert load_yaml(text) == {
        "base": {"a": 1, "b": 2},
        "defs": {"deep": {"middle": {"a": 3, "b": 2}}},
        "top": {"a": 3, "b": 4},
    }


@pytest.mark.parametrize("text", ["a: 1\na: 2", "- {b: {a: 1, c: 2, a: 3}}", "a: &a {b: 1}\nc: {<<: *a, d: 1, d: 2}"])
def test_a_key_that_is_there_twice_is_refused(text) -> None:
    with pytest.raises(yaml.YAMLError, match=r"the key '[ad]' is there twice"):
        load_yaml(text)
