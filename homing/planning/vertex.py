"""From weights that are spread over ties to a vertex: few users stay between options, and no use changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from homing.planning.compiled import compiled

_NONE = 1e-9


@compiled
def two_of(first: Any, weight: Any, u: Any) -> Any:
    """The first two options of a user that have a weight; −1 for what there is not."""
    one = -1
    for o in range(first[u], first[u + 1]):
        if weight[o] > _NONE:
            if one >= 0:
                return one, o
            one = o
    return one, -1


@compiled
def to_vertex(first: Any, value: Any, start: Any, row: Any, amount: Any, scale: Any, weight: Any) -> Any:
    """Move weights, so that what they use stays and what they are worth does not fall, until few users have a choice.

    A move shifts weight of one user from one option to another. As many moves as there are rows may be independent; one
    more can be made good by these, so that use stays, and all are made until a weight is used up. It is the walk from a
    solution of a linear program to one of its vertices (Bixby and Saltzman 1994, "Recovering an optimal LP basis from
    an interior point solution", Operations Research Letters 15); the moves that are left are a basis.

    Args:
        start, row, amount: the entries of each option.
        scale: (m,) units that a message typically uses.
        weight: (O,) of the options, changed; Σ = 1 for each user.
    """
    m = scale.shape[0]
    # Of the basis, whose columns are moves, or at first unit vectors that must not be used; the transpose.
    inverse = np.eye(m)
    source = np.full(m, -1, np.int64)
    target = np.full(m, -1, np.int64)
    owner = np.full(m, -1, np.int64)
    by = np.empty(m)  # how far each move of the basis goes back while the new one goes one unit
    stack = np.arange(first.shape[0] - 1)[::-1].copy()
    height = stack.shape[0]
    while height:
        height -= 1
        u = stack[height]
        a, b = two_of(first, weight, u)
        if b < 0:
            continue
        by[:] = 0.0
        for side in range(2):
            o = b if side else a
            for e in range(start[o], start[o + 1]):
                units = amount[e] / scale[row[e]]
                units = units if side else -units
                for j in range(m):
                    by[j] += inverse[row[e], j] * units
        free = -1
        gain = value[b] - value[a]
        for j in range(m):
            if owner[j] < 0:
                if abs(by[j]) > 1e-7 and (free < 0 or abs(by[j]) > abs(by[free])):
                    free = j
            else:
                gain -= by[j] * (value[target[j]] - value[source[j]])
        leaves = free
        if free < 0:
            if gain < 0.0:
                a, b = b, a
                by *= -1.0
            far = weight[a]
            for j in range(m):
                if owner[j] >= 0 and abs(by[j]) > 1e-9:
                    room = weight[target[j] if by[j] > 0.0 else source[j]] / abs(by[j])
                    if room < far:
                        far, leaves = room, j
            weight[a] -= far
            weight[b] += far
            for j in range(m):
                if owner[j] >= 0:
                    weight[source[j]] += by[j] * far
                    weight[target[j]] -= by[j] * far
            if leaves < 0:
                weight[a] = 0.0
                stack[height] = u
                height += 1
                continue
            weight[target[leaves] if by[leaves] > 0.0 else source[leaves]] = 0.0
            stack[height] = owner[leaves]
            height += 1
        source[leaves], target[leaves], owner[leaves] = a, b, u
        for i in range(m):
            back = inverse[i, leaves] / by[leaves]
            if back != 0.0:
                for j in range(m):
                    inverse[i, j] -= by[j] * back
                inverse[i, leaves] = back
