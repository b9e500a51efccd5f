"""Sums over examples for models that are bilinear in context and candidate, without expanding their products.

Candidates of one kind (the same levels of all categorical features) share all parameters but those of their numbers, so
that a model of thousands of products is, kind by kind, a small matrix. A pass over half a million examples with 65
candidate features, 60 of them indicators, and 36 of context takes a twentieth of what it takes on expanded candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homing.learners.examples import Examples
from homing.log import CandidateStore

FloatArray = NDArray[np.float64]
#: Examples whose products are summed in 32 bits before they are added to 64-bit totals.
BLOCK_ROWS = 8_192
MAX_KEY = 2**40


@dataclass(frozen=True, eq=False)
class Block:
    """Some examples of one kind of candidate.

    Attributes:
        rows: int64 (r,), their positions.
        context: float32 (r, 1 + d), a constant 1 first.
        numbers: float32 (r, 1 + b), a constant 1 first, or (1, 1 + b) where all examples of the kind share them.
        part: int64 (p,), the columns of (1, candidate) that are not 0 for this kind.
        source: int64 (p,), for each of these the column of `numbers` that holds its value.
    """

    rows: NDArray[np.int64]
    context: NDArray[np.float32]
    numbers: NDArray[np.float32]
    part: NDArray[np.int64]
    source: NDArray[np.int64]

    @property
    def shared(self) -> bool:
        """Whether all examples have the same numbers."""
        return len(self.numbers) == 1

    @property
    def width(self) -> int:
        """How many vectors over the context its outputs need."""
        return 1 if self.shared else self.numbers.shape[1]

    def products(self, weight: FloatArray, every: int) -> NDArray[np.float32]:
        """√weight · vec(numbers · contextᵀ) of some examples, (r, (1 + b) (1 + d)); of context alone where shared."""
        some = slice(None, None, every)
        root = np.sqrt(every * weight[self.rows[some]]).astype(np.float32)[:, None] * self.context[some]
        if self.shared:
            return root
        return (self.numbers[some, :, None] * root[:, None, :]).reshape(len(root), -1)

    def folded(self, theta: FloatArray) -> NDArray[np.float32]:
        """Θ (1 + c, 1 + d) as the parameters of this kind: (1 + b, 1 + d), or (1, 1 + d) where numbers are shared."""
        out = np.zeros((self.numbers.shape[1], theta.shape[1]))
        np.add.at(out, self.source, theta[self.part])
        if self.shared:
            out = self.numbers.astype(np.float64) @ out
        return out.astype(np.float32)


@dataclass(frozen=True, eq=False)
class BilinearDesign:
    """n examples with outputs z_i = (1, c_i)ᵀ Θ (1, x_i), context x (d,), candidate c, Θ (1 + c, 1 + d).

    Θ[0, 0] is the intercept, Θ[0, 1:] what context does, Θ[1:, 0] what the candidate does, Θ[1:, 1:] what they do
    together.

    Example:
        >>> store = CandidateStore.from_padded(np.array([[[2.0]], [[3.0]]]))
        >>> data = Examples(np.array([[5.0], [7.0]], np.float32), store, np.zeros((2, 1)), np.arange(2))
        >>> design = BilinearDesign.of(data)
        >>> theta = np.array([[1.0, 0.0], [0.0, 10.0]])
        >>> design.outputs(theta).tolist()  # 1 + 10 · 2 · 5 and 1 + 10 · 3 · 7
        [101.0, 211.0]
        >>> design.slopes(np.array([1.0, 1.0])).tolist()  # of z_1 + z_2 in Θ: sums of (1, c) (1, x)ᵀ
        [[2.0, 12.0], [5.0, 31.0]]
    """

    blocks: tuple[Block, ...]
    n: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, data: Examples) -> BilinearDesign:
        """Sort the examples by kind."""
        n, d = data.context.shape
        store = data.chosen
        kind = kinds_of(store)
        order = np.argsort(kind, kind="stable")
        ends = np.flatnonzero(np.diff(kind[order], append=-1))
        first_number = 1 + sum(store.levels)
        blocks = list(_blocks(data, order, ends, first_number))
        return cls(tuple(blocks), n, (first_number + store.numeric.shape[1], 1 + d))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.shape[0] * self.shape[1]

    def outputs(self, theta: FloatArray) -> FloatArray:
        """z (n,)."""
        out = np.empty(self.n)
        for block in self.blocks:
            folded = block.folded(theta)
            if block.shared:
                out[block.rows] = block.context @ folded[0]
            else:
                out[block.rows] = np.einsum("rb,rb->r", block.context @ folded.T, block.numbers)
        return out

    def slopes(self, residual: FloatArray) -> FloatArray:
        """Σ_i residual_i (1, c_i) (1, x_i)ᵀ, (1 + c, 1 + d): the gradient of Σ_i residual_i z_i in Θ."""
        out = np.zeros(self.shape)
        for block in self.blocks:
            some = residual[block.rows].astype(np.float32)
            if block.shared:
                total = np.outer(block.numbers[0], some @ block.context).astype(np.float64)
            else:
                total = ((some[:, None] * block.numbers).T @ block.context).astype(np.float64)
            out[block.part] += total[block.source]
        return out

    def gram(self, weight: FloatArray, every: int = 1) -> FloatArray:
        """Σ_i weight_i v_i v_iᵀ with v = vec((1, c) (1, x)ᵀ), (f, f), f = (1 + c) (1 + d).

        Args:
            weight: (n,), >= 0.
            every: only every so many examples of each kind are read, and stand for those between.
        """
        wide, long = self.shape
        out = np.zeros((wide, long, wide, long))
        for block in self.blocks:
            z = block.products(weight, every)
            total = (z.T @ z).astype(np.float64).reshape(z.shape[1] // long, long, -1, long)
            if block.shared:
                own = block.numbers[0].astype(np.float64)
                total = (own[:, None, None, None] * own[:, None]) * total
            part, source = block.part, block.source
            out[part[:, None], :, part[None, :], :] += total[source[:, None], :, source[None, :], :]
        return out.reshape(self.size, self.size)

    def diagonal(self, weight: FloatArray) -> FloatArray:
        """The blocks of `gram` on its diagonal, one for each of (1, c): (1 + c, 1 + d, 1 + d)."""
        out = np.zeros((self.shape[0], self.shape[1], self.shape[1]))
        for block in self.blocks:
            z = block.products(weight, 1).reshape(-1, block.width, self.shape[1]).transpose(1, 0, 2)
            total = (z.transpose(0, 2, 1) @ z).astype(np.float64)
            if block.shared:
                total = (block.numbers[0].astype(np.float64) ** 2)[:, None, None] * total
            out[block.part] += total[block.source]
        return out

    @property
    def gram_cost(self) -> int:
        """Multiplications that `gram` takes, about."""
        return sum(len(block.rows) * (block.width * self.shape[1]) ** 2 for block in self.blocks)

    @property
    def pass_cost(self) -> int:
        """Multiplications that `outputs` takes, or `slopes`, about."""
        return sum(len(block.rows) * block.width * self.shape[1] for block in self.blocks)


def kinds_of(store: CandidateStore) -> NDArray[np.int64]:
    """A number for each candidate, the same for those that share the levels of all categorical features, (N,)."""
    key, bound = np.zeros(len(store.codes), dtype=np.int64), 1
    for column, size in enumerate(store.levels):
        if bound * (size + 1) > MAX_KEY:
            found, key = np.unique(key, return_inverse=True)
            bound = len(found)
        key = key * (size + 1) + store.codes[:, column] + 1
        bound *= size + 1
    return key


def _blocks(data: Examples, order: NDArray[np.int64], ends: NDArray[np.int64], first_number: int) -> Iterator[Block]:
    store = data.chosen
    starts = np.concatenate([[0], np.cumsum(store.levels)[:-1]]).astype(np.int64) + 1 if store.levels else None
    b = store.numeric.shape[1]
    begin = 0
    for end in ends + 1:
        mine = order[begin:end]
        begin = int(end)
        codes = store.codes[mine[0]].astype(np.int64)
        known = codes >= 0
        levels = (starts + codes)[known] if starts is not None else np.zeros(0, dtype=np.int64)
        part = np.concatenate([[0], levels, first_number + np.arange(b)]).astype(np.int64)
        source = np.concatenate([np.zeros(1 + len(levels)), 1 + np.arange(b)]).astype(np.int64)
        shared = bool((store.numeric[mine] == store.numeric[mine[0]]).all())
        for at in range(0, len(mine), BLOCK_ROWS):
            rows = mine[at : at + BLOCK_ROWS]
            numbers = store.numeric[rows[:1] if shared else rows]
            yield Block(rows, _with_one(data.context[rows]), _with_one(numbers), part, source)


def _with_one(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([np.ones((len(array), 1), np.float32), array], axis=1)
