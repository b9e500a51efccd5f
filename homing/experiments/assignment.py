"""Who gets which variant: computed from the unit's id alone, so that nothing is stored and nobody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from homing.checks import check_probability
from homing.errors import InvalidInputError, describe, unknown_name
from homing.experiments.hashing import place, unit_bits

if TYPE_CHECKING:
    from homing.experiments.plan import ExperimentPlan

#: Codes of `Assignment.codes` for units that get no variant.
OUTSIDE, HELD_OUT = -1, -2
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Layer:
    """Experiments that never share a unit, each on its own part of [0, 1); layers are independent of each other.

    Put experiments that would disturb each other (that change the same screen, spend the same send budget) into one
    layer, and all others into layers of their own, or none: then every experiment sees all units, half of them in each
    variant of every other.

    A part that was given away is never moved, so that units stay where they are when other experiments come, grow or
    end. `with_experiment` and `without` return new layers; keep the newest in a file (`to_dict`).

    Attributes:
        name: of the layer; units are placed by it.
        parts: intervals [start, end) of each experiment, by name; they do not overlap.

    Raises:
        InvalidInputError: if parts overlap or leave [0, 1].

    Example:
        >>> layer = Layer("inbox").with_experiment("greeting", 0.5).with_experiment("digest", 0.25)
        >>> layer.parts["digest"], layer.free
        (((0.5, 0.75),), 0.25)
        >>> layer.without("greeting").with_experiment("digest", 0.5).parts["digest"]
        ((0.0, 0.25), (0.5, 0.75))
    """

    name: str
    parts: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInputError(describe("layer name", self.name, "must be a non-empty string"))
        parts = {
            name: tuple(sorted((float(start), float(end)) for start, end in items))
            for name, items in self.parts.items()
        }
        object.__setattr__(self, "parts", parts)
        last = 0.0
        for start, end in sorted(item for items in parts.values() for item in items):
            if not last - _TOLERANCE <= start < end <= 1.0 + _TOLERANCE:
                bound = f"must lie in [0, 1] and begin at {last} or later, where the one before ends"
                raise InvalidInputError(describe(f"part of layer {self.name!r}", (start, end), bound))
            last = end

    @property
    def free(self) -> float:
        """Share of units that no experiment has."""
        return 1.0 - sum(end - start for items in self.parts.values() for start, end in items)

    def with_experiment(self, experiment: str, share: float) -> Layer:
        """The layer in which an experiment has this share of units; what it had it keeps.

        Raises:
            InvalidInputError: if it has more already, or less than that is free.
        """
        check_probability("share", share / 2.0, next_step="A share is in (0, 1].")
        had = self.parts.get(experiment, ())
        wanted = share - sum(end - start for start, end in had)
        if wanted < -_TOLERANCE:
            step = "Units that are in stay in; end the experiment (without) to take them out."
            raise InvalidInputError(describe("share", share, f"must not be less than {share - wanted:g}", step))
        if wanted > self.free + _TOLERANCE:
            bound = f"must leave room: {self.free:g} of layer {self.name!r} is free"
            raise InvalidInputError(describe("share", share, bound, "End another experiment, or use another layer."))
        got = list(had)
        for start, end in self._gaps():
            if wanted <= _TOLERANCE:
                break
            got.append((start, min(end, start + wanted)))
            wanted -= got[-1][1] - start
        return replace(self, parts={**self.parts, experiment: _joined(got)})

    def without(self, experiment: str) -> Layer:
        """The layer after an experiment has ended."""
        if experiment not in self.parts:
            raise unknown_name("experiment", experiment, self.parts)
        return replace(self, parts={name: items for name, items in self.parts.items() if name != experiment})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML or JSON."""
        return {
            "name": self.name,
            "parts": {name: [list(item) for item in items] for name, items in self.parts.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layer:
        """Read back what `to_dict` wrote."""
        return cls(data["name"], {name: tuple(map(tuple, items)) for name, items in data.get("parts", {}).items()})

    def _gaps(self) -> list[tuple[float, float]]:
        taken = sorted(item for items in self.parts.values() for item in items)
        edges = [0.0, *(edge for item in taken for edge in item), 1.0]
        return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > _TOLERANCE]


@dataclass(frozen=True)
class Assignment:
    """An experiment's assignment: a pure function of unit ids, the same in batch and online.

    In this order: the holdout (one for all experiments: the units below its share of one fixed place, kept from every
    experiment); the layer's part; the traffic; the variant. Each asks for a place of its own, so that none tells
    anything of another: raising the traffic adds units and moves none, and variants are as good as random in every
    other experiment.

    Wrong to use where variants must be balanced exactly (shares are met within chance), or for units that know and
    choose their id.

    Attributes:
        experiment: its name.
        variants: shares by name, in the plan's order.
        salt: another salt is another draw.
        holdout: share of all units that no experiment gets.
        layer: where experiments exclude each other; it must have a part for this one.
        traffic: share of what is left that takes part, in (0, 1]; raise it to ramp up.

    Raises:
        InvalidInputError: if shares do not sum to 1, or the traffic is outside of (0, 1].
        UnknownNameError: if the layer has no part for the experiment.

    Example:
        >>> assignment = Assignment("greeting", {"control": 0.5, "warm": 0.5}, traffic=0.8)
        >>> assignment.variant("user-1"), assignment.variant("user-4")
        (None, 'control')
        >>> assignment.codes(["user-1", "user-2", "user-3", "user-4"]).tolist()
        [-1, 0, 1, 0]
    """

    experiment: str
    variants: Mapping[str, float]
    salt: str = ""
    holdout: float = 0.0
    layer: Layer | None = None
    traffic: float = 1.0

    def __post_init__(self) -> None:
        shares = dict(self.variants)
        object.__setattr__(self, "variants", shares)
        for name, share in shares.items():
            check_probability(f"share of variant {name!r}", share)
        if abs(sum(shares.values()) - 1.0) > 1e-9:
            raise InvalidInputError(describe("sum of variants", sum(shares.values()), "must be 1"))
        if not 0.0 <= self.holdout < 1.0:
            raise InvalidInputError(describe("holdout", self.holdout, "must be in [0, 1)", "0 keeps nobody out."))
        if not 0.0 < self.traffic <= 1.0:
            raise InvalidInputError(describe("traffic", self.traffic, "must be in (0, 1]", "1 takes everybody."))
        if self.layer is not None and self.experiment not in self.layer.parts:
            step = f"Give it one: layer.with_experiment({self.experiment!r}, share)."
            raise unknown_name(f"part of layer {self.layer.name!r}", self.experiment, self.layer.parts, step)

    @classmethod
    def of(cls, plan: ExperimentPlan, *, layer: Layer | None = None, traffic: float = 1.0) -> Assignment:
        """The assignment of a plan.

        Args:
            plan: with its variants, salt and holdout.
            layer: the layer that the plan names, as it stands now.
            traffic: share that takes part.

        Raises:
            InvalidInputError: if the plan names a layer and another or none is given.
        """
        name = None if layer is None else layer.name
        if name != plan.layer:
            step = "Pass the layer that the plan names." if plan.layer else "Name it in the plan."
            raise InvalidInputError(describe("layer", name, f"must be {plan.layer!r}, as in plan {plan.name!r}", step))
        return cls(plan.name, plan.variants, plan.salt, plan.holdout, layer, traffic)

    def codes(self, unit_ids: Any) -> NDArray[np.int16]:
        """(n,), the number of each unit's variant, `OUTSIDE` (-1) or `HELD_OUT` (-2).

        Args:
            unit_ids: (n,), text or whole numbers, in any array, list or series.

        Raises:
            InvalidInputError: if an id is missing, empty, or neither text nor a whole number.
        """
        bits = unit_bits(unit_ids)
        own = ("experiment", self.experiment, self.salt)
        edges = np.cumsum(list(self.variants.values()))[:-1]
        out = np.searchsorted(edges, place(bits, *own, "variant"), side="right").astype(np.int16)
        if self.traffic < 1.0:
            out[place(bits, *own, "traffic") >= self.traffic] = OUTSIDE
        if self.layer is not None:
            at, inside = place(bits, "layer", self.layer.name), np.zeros(len(bits), dtype=bool)
            for start, end in self.layer.parts[self.experiment]:
                inside |= (at >= start) & (at < end)
            out[~inside] = OUTSIDE
        if self.holdout > 0.0:
            out[place(bits, "holdout") < self.holdout] = HELD_OUT
        return out

    def variant(self, unit_id: str | int) -> str | None:
        """One unit's variant; None where it takes no part."""
        code = int(self.codes([unit_id])[0])
        return None if code < 0 else list(self.variants)[code]

    def with_traffic(self, traffic: float) -> Assignment:
        """The assignment at another traffic share: at a larger one nobody who is in moves."""
        return replace(self, traffic=traffic)


def _joined(items: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Intervals in order, neighbours made one."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(items):
        if out and start - out[-1][1] <= _TOLERANCE:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return tuple(out)
