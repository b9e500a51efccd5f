"""Whole numbers in structured parameters, which Kubeflow hands over as floats."""

from __future__ import annotations

from typing import Any


def whole(value: Any) -> Any:
    """The same structure with every float that is a whole number as an int.

    A pipeline's dictionaries and lists travel as protobuf structs, which know one kind of number. Settings that take
    floats take ints too.

    >>> whole({"folds": 3.0, "penalties": [1.0, 0.5], "name": "x"})
    {'folds': 3, 'penalties': [1, 0.5], 'name': 'x'}
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value
