"""From a model's raw output to an expected reward: the last step of both reward models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from homing.errors import InvalidInputError, describe
from homing.policies.numerics import sigmoid

LINKS = ("identity", "logit")


def check_links(links: object, m: int) -> tuple[str, ...]:
    """Return m links as a tuple, if each is known.

    Raises:
        InvalidInputError: if not.
    """
    out = tuple(links) if isinstance(links, list | tuple) else ()
    if len(out) != m or any(link not in LINKS for link in out):
        raise InvalidInputError(describe("links", links, f"must be {m} of {', '.join(map(repr, LINKS))}"))
    return out


def expected_reward(
    raw: NDArray[np.floating], links: tuple[str, ...], slope: NDArray[np.float64], offset: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected rewards (…, m): slope·raw + offset for `identity`, the sigmoid of that for `logit` (Platt 1999).

    Example:
        >>> raw = np.array([[0.0, 2.0]])
        >>> expected_reward(raw, ("logit", "identity"), np.ones(2), np.array([0.0, 1.0])).tolist()
        [[0.5, 3.0]]
    """
    out: NDArray[np.float64] = raw.astype(np.float64) * slope + offset
    for i, link in enumerate(links):
        if link == "logit":
            out[..., i] = sigmoid(out[..., i])
    return out
