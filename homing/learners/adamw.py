"""AdamW (Loshchilov & Hutter 2019) over one flat tensor, with a rate and a decay of its own for each number."""

from __future__ import annotations

import math

import torch

#: Decay of the running means of gradients and of their squares, and what keeps the quotient finite.
BETAS, EPSILON = (0.9, 0.999), 1e-8


class AdamW:
    """Steps in place. Members that are trained together differ in rates, which torch's optimisers take one of a tensor.

    Attributes:
        first, second: running means of gradients and of their squares, as the parameters.
        steps: taken so far.

    Example:
        >>> parameters, gradient = torch.tensor([1.0, 1.0]), torch.tensor([0.5, -2.0])
        >>> optimiser = AdamW(parameters, gradient, torch.tensor([0.1, 0.2]), torch.zeros(2))
        >>> optimiser.step()
        >>> [round(value, 4) for value in parameters.tolist()]  # the first step is a rate against the gradient's sign
        [0.9, 1.2]
    """

    def __init__(self, parameters: torch.Tensor, gradient: torch.Tensor, rate: torch.Tensor, decay: torch.Tensor):
        self.parameters, self.gradient = parameters, gradient
        self.rate = float(rate[0]) if bool((rate == rate[0]).all()) else rate
        self.kept = 1.0 - rate * decay if decay.any() else None
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self._root = torch.empty_like(parameters)
        self.steps = 0

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is not typed here
    def step(self) -> None:
        """One step along the gradient as it stands."""
        self.steps += 1
        one, two = BETAS
        self.first.lerp_(self.gradient, 1.0 - one)
        self.second.mul_(two).addcmul_(self.gradient, self.gradient, value=1.0 - two)
        if self.kept is not None:
            self.parameters.mul_(self.kept)
        # m̂ / (√v̂ + ε) with both corrections for the early steps taken out of the quotient.
        correction = math.sqrt(1.0 - two**self.steps)
        root = torch.sqrt(self.second, out=self._root).add_(EPSILON * correction)
        factor = -correction / (1.0 - one**self.steps)
        if isinstance(self.rate, float):
            self.parameters.addcdiv_(self.first, root, value=factor * self.rate)
        else:
            self.parameters.addcmul_(torch.div(self.first, root, out=root), self.rate, value=factor)
