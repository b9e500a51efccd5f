"""Many networks of the same form as one: every layer has a leading dimension over members, all run in one product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from homing.learners.transitions import Decisions
from homing.policies import Towers

#: Layers of `Towers` in the order of their parameters.
TOWERS = (
    "first", "first_bias", "second", "second_bias", "taste", "taste_bias", "candidate", "candidate_bias",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """Sizes of the networks: d context, c candidate columns, o outputs, v value heads, u candidate units.

    Members may have smaller hidden layers than `sizes`: what they have no use for stays 0 and is left out of what is
    saved.
    """

    d: int
    c: int
    outputs: int
    values: int
    units: int
    sizes: tuple[int, int]

    def layers(self, sizes: tuple[int, int] | None = None) -> dict[str, tuple[int, ...]]:
        """Shape of each layer of one member; weights are (units, inputs)."""
        first, second = self.sizes if sizes is None else sizes
        heads = self.values + self.outputs * (self.c + self.units)
        return {
            "first": (first, self.d), "first_bias": (first,), "second": (second, first), "second_bias": (second,),
            "heads": (heads, second), "heads_bias": (heads,), "candidate": (self.units, self.c),
            "candidate_bias": (self.units,),
        }  # fmt: skip


class Network:
    """e members as one flat tensor (e · p,), layer after layer, and their gradients likewise.

    So the optimiser takes one step over one tensor, a target network is one copy, and a checkpoint is one array.

    Hidden units lie (e, units, b): decisions come last. A head for ten messages is a product with ten rows, which takes
    a fifth of the time of the same product with ten columns.
    """

    def __init__(self, form: Form, flat: torch.Tensor) -> None:
        self.form = form
        self.members = len(flat) // self.parameters(form)
        self.flat = flat
        self.gradient = torch.zeros_like(flat)
        self.layer: dict[str, torch.Tensor] = {}
        start = 0
        for name, shape in form.layers().items():
            stop, view = start + self.members * math.prod(shape), (self.members, *shape)
            leaf = flat[start:stop].view(view).detach().requires_grad_()
            leaf.grad = self.gradient[start:stop].view(view)
            self.layer[name] = leaf
            start = stop

    @classmethod
    def new(
        cls, form: Form, sizes: Sequence[tuple[int, int]], seeds: Sequence[int], bias: NDArray[np.float64], device: str
    ) -> Network:
        """Members with hidden layers of `sizes`, drawn from `seeds`; value heads start as `bias` (e, v).

        Hidden layers are Glorot's, heads 0: all messages start as good as silence, and one whose features the log never
        showed stays so.
        """
        flat = torch.zeros(len(seeds) * cls.parameters(form))
        net = cls(form, flat)
        for e, (size, seed) in enumerate(zip(sizes, seeds, strict=True)):
            generator = torch.Generator().manual_seed(seed)
            for name in ("first", "second", "candidate"):
                units, inputs = form.layers(size)[name]
                bound = math.sqrt(6.0 / max(units + inputs, 1))
                draw = (2 * torch.rand(inputs, units, generator=generator) - 1) * bound
                with torch.no_grad():
                    net.layer[name][e, :units, :inputs] = draw.T
        with torch.no_grad():
            net.layer["heads_bias"][:, : form.values] = torch.from_numpy(bias.astype(np.float32))
        return cls(form, flat.to(device))

    @staticmethod
    def parameters(form: Form) -> int:
        """Numbers in one member, p."""
        return sum(math.prod(shape) for shape in form.layers().values())

    def heads(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Value heads (e, b, v), and what each output makes of each column of a candidate, (e, b, o, c + u).

        Args:
            context: (b, d), or (e, b, d) where members see different ones.
        """
        if context.dim() == 2:
            context = context.expand(self.members, *context.shape)
        hidden = self._dense("first", context.transpose(1, 2)).relu_()
        hidden = self._dense("second", hidden).relu_()
        out = self._dense("heads", hidden)
        v = self.form.values
        taste = out[:, v:].unflatten(1, (self.form.outputs, -1))
        return out[:, :v].transpose(1, 2), taste.permute(0, 3, 1, 2)

    def advantages(self, taste: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """A (e, b, o, k) of all candidates (b or 1, k, c); silence's are 0."""
        if len(candidates) == 1:
            columns = self._columns(candidates[0])
            return ((columns - columns[:, :1])[:, None] @ taste.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        (e, b, o, _), (_, k, c) = taste.shape, candidates.shape
        # One small product a decision, over all members at once.
        stacked = taste[..., :c].permute(1, 3, 0, 2).reshape(b, c, e * o)
        out = torch.bmm(candidates - candidates[:, :1], stacked).view(b, k, e, o).permute(2, 0, 3, 1)
        if self.form.units:
            lifted = self._units(candidates.reshape(b * k, c).expand(e, -1, -1)).view(e, b, k, -1)
            out = out + taste[..., c:] @ (lifted - lifted[:, :, :1]).transpose(2, 3)
        return out

    def chosen(self, taste: torch.Tensor, candidates: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """A (e, b, o) of one candidate of each decision, `action` (b,), or (e, b) where members choose differently."""
        if len(candidates) == 1:
            every = self._columns(candidates[0]).transpose(1, 2)  # (e, c + u, k)
            relative = gathered(every - every[..., :1], action.expand(self.members, -1), ordered=every.is_cuda)
        else:
            picked = candidates[torch.arange(len(candidates), device=action.device), action]  # (b, c) or (e, b, c)
            relative = (self._columns(picked) - self._columns(candidates[:, 0])).transpose(1, 2)
        return (taste.permute(0, 2, 3, 1) * relative[:, None]).sum(dim=2).transpose(1, 2)

    def _columns(self, candidates: torch.Tensor) -> torch.Tensor:
        """[C, relu(C c + e)], (e, n, c + u), of candidates (n, c), or (e, n, c) where members see different ones."""
        each = candidates.expand(self.members, -1, -1)
        return torch.cat([each, self._units(each)], dim=2) if self.form.units else each

    def _units(self, candidates: torch.Tensor) -> torch.Tensor:
        weight, bias = self.layer["candidate"], self.layer["candidate_bias"]
        return torch.baddbmm(bias[:, None], candidates, weight.transpose(1, 2)).relu_()

    def _dense(self, name: str, inputs: torch.Tensor) -> torch.Tensor:
        """A layer before its nonlinearity, (e, units, b) for inputs (e, inputs, b)."""
        return torch.baddbmm(self.layer[f"{name}_bias"][:, :, None], self.layer[name], inputs)

    def copy(self) -> Network:
        """The same parameters in memory of their own."""
        return Network(self.form, self.flat.clone())

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is not typed here
    def take(self, other: Network, members: Sequence[int]) -> None:
        """Become some members of another network."""
        if len(members) == self.members:
            self.flat.copy_(other.flat)
            return
        for name, tensor in self.layer.items():
            tensor[list(members)] = other.layer[name][list(members)]

    def spread(self, values: Sequence[float]) -> torch.Tensor:
        """A number of each member at every one of its parameters, as `flat`."""
        of = torch.tensor(values, dtype=self.flat.dtype, device=self.flat.device)
        sizes = [math.prod(shape) for shape in self.form.layers().values()]
        return torch.cat([of.repeat_interleave(size) for size in sizes])

    def greedy(self, now: Decisions, taste: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """The eligible candidate with the largest advantage along `direction` (e or 1, b or 1, o); int64 (e, b)."""
        along = (self.advantages(taste, now.candidates) * direction[..., None]).sum(dim=2)
        return now.only_eligible(along).argmax(dim=2)

    def towers(
        self, members: Sequence[int], sizes: Sequence[tuple[int, int]], unit: NDArray[np.float64]
    ) -> tuple[Towers, NDArray[np.float32], NDArray[np.float32]]:
        """Some members for serving, with outputs times `unit` (o,): towers, value heads (e, h2, v), their bias (e, v).

        Members of different sizes are padded with what adds 0.
        """
        first, second = (max(sizes[i][axis] for i in members) for axis in (0, 1))
        keep = {"first": (slice(first),), "first_bias": (slice(first),),
                "second": (slice(second), slice(first)), "second_bias": (slice(second),),
                "heads": (slice(None), slice(second))}  # fmt: skip
        part = {
            name: tensor.detach().cpu().numpy()[(list(members), *keep.get(name, ()))]
            for name, tensor in self.layer.items()
        }
        for name in ("first", "second", "heads", "candidate"):  # for serving, (inputs, units)
            part[name] = np.ascontiguousarray(part[name].swapaxes(1, 2))
        scale, v = unit.astype(np.float32)[:, None], self.form.values
        e, o = len(part["first"]), self.form.outputs
        part["taste"] = part["heads"][..., v:].reshape(e, second, o, -1) * scale
        part["taste_bias"] = part["heads_bias"][..., v:].reshape(e, o, -1) * scale
        return Towers(*(part[name] for name in TOWERS)), part["heads"][..., :v], part["heads_bias"][..., :v]


def gathered(columns: torch.Tensor, which: torch.Tensor, *, ordered: bool) -> torch.Tensor:
    """Columns (e, n, b) of (e, n, k), by number (e, b).

    Many decisions pick the same column, and its gradient is the sum of theirs. On a GPU `gather` adds them in whatever
    order they come, so that no two trainings would end at the same bits; a product with ones and zeros has one order.

    Args:
        columns: (e, n, k).
        which: int64 (e, b), in 0 to k − 1.
        ordered: whether as a product, which on a CPU takes longer and gives nothing.

    Example:
        >>> columns = torch.tensor([[[1.0, 2.0, 3.0]]])
        >>> [gathered(columns, torch.tensor([[2, 0, 2]]), ordered=way).tolist() for way in (False, True)]
        [[[[3.0, 1.0, 3.0]]], [[[3.0, 1.0, 3.0]]]]
    """
    if not ordered:
        return columns.gather(2, which[:, None].expand(-1, columns.shape[1], -1))
    numbers = torch.arange(columns.shape[2], device=columns.device)
    return columns @ (which[:, None] == numbers[:, None]).to(columns.dtype)
