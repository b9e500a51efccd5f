"""YAML files that people write: plain values, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses a key that is written twice: one of the two would be lost in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # As they are written: later `<<` puts in what a mapping takes from another, and may change.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                bound = f"the key {key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, bound, key.start_mark)
            seen.add(key.value)
        return node


def load_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: if it is none, asks for objects that are not plain, or has a key twice.

    Example:
        >>> load_yaml("budgets: [{limit: 10}]")
        {'budgets': [{'limit': 10}]}
        >>> load_yaml("limit: 10\\nlimit: 20")
        Traceback (most recent call last):
        yaml.constructor.ConstructorError: the key 'limit' is there twice
          in "<unicode string>", line 2, column 1:
        ...
    """
    return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 (a SafeLoader)
