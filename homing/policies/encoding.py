"""Registered dataclasses as JSON and named arrays, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.types import name_of, registered_name, type_named

#: Policies wrap policies; deeper nesting than this is refused.
MAX_DEPTH = 8


def encode(value: object, arrays: dict[str, NDArray[Any]], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """A registered object as {"type", "params"}; its arrays are added to `arrays` under dotted names.

    Raises:
        UnknownNameError: if a part's type is not registered.
        InvalidInputError: if it is nested deeper than `MAX_DEPTH`.

    Example:
        >>> from homing.policies import EpsilonGreedyPolicy, UniformPolicy
        >>> encode(EpsilonGreedyPolicy(UniformPolicy(), 0.2), {})["params"]
        {'base': {'type': 'uniform', 'params': {}}, 'epsilon': 0.2}
    """
    name = registered_name(value)
    if depth >= MAX_DEPTH:
        raise InvalidInputError(describe("policy", name, f"must not be nested deeper than {MAX_DEPTH}"))
    params: dict[str, Any] = {}
    for item in fields(value):  # type: ignore[arg-type]  # registered types are dataclasses
        part, path = getattr(value, item.name), prefix + item.name
        if isinstance(part, np.ndarray):
            arrays[path] = np.ascontiguousarray(part)
        elif name_of(part) is not None or (hasattr(part, "__dataclass_fields__") and not isinstance(part, type)):
            params[item.name] = encode(part, arrays, f"{path}.", depth + 1)
        else:
            params[item.name] = part.item() if isinstance(part, np.generic) else part
    return {"type": name, "params": params}


def decode(document: object, arrays: dict[str, NDArray[Any]], prefix: str = "", depth: int = 0) -> Any:
    """The object behind `encode`'s output; the arrays that it takes are removed from `arrays`.

    Raises:
        InvalidInputError: if a field is unknown, missing or breaks its bound.
        UnknownNameError: if a type is unknown.
    """
    if (
        not isinstance(document, dict)
        or set(document) != {"type", "params"}
        or not isinstance(document["params"], dict)
    ):
        raise InvalidInputError(describe(f"policy {prefix}".strip(), document, 'must be {"type", "params"}'))
    if depth >= MAX_DEPTH:
        raise InvalidInputError(describe("policy", document["type"], f"must not be nested deeper than {MAX_DEPTH}"))
    cls = type_named(document["type"] if isinstance(document["type"], str) else repr(document["type"]))
    params, values = document["params"], {}
    known = [item.name for item in fields(cls)]
    # What a class has gained since the policy was saved: None says that there is none of it.
    optional = {item.name for item in fields(cls) if item.default is None}
    for name in params:
        if name not in known:
            raise InvalidInputError(describe(f"parameter of {document['type']!r}", name, f"must be one of {known}"))
    for name in known:
        path = prefix + name
        if name in optional and name not in params and path not in arrays:
            continue
        if (path in arrays) == (name in params):
            bound = "is missing" if name not in params else "is given twice"
            raise InvalidInputError(describe(f"parameter of {document['type']!r}", name, bound))
        if path in arrays:
            values[name] = arrays.pop(path)
        else:
            part = params[name]
            values[name] = decode(part, arrays, f"{path}.", depth + 1) if isinstance(part, dict) else part
    return cls(**values)
