"""Several policies in one world: values beside their intervals, and differences paired on the same users and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from homing.checks import check_one_of
from homing.errors import InvalidInputError, describe
from homing.estimates import Estimate
from homing.log import FeatureEncoder
from homing.simulation.acting import AnyPolicy
from homing.simulation.rollout import objective_weights, simulate
from homing.simulation.world import World


@dataclass(frozen=True)
class Score:
    """One policy's.

    Attributes:
        policy: its name.
        value: weighted sum of the objectives per user over the horizon.
        difference: the same minus the reference's, paired by user; None for the reference.
        values: each objective by itself.
        sends_per_user: messages over the horizon.
    """

    policy: str
    value: Estimate
    difference: Estimate | None
    values: dict[str, Estimate]
    sends_per_user: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for strict JSON."""
        return {
            "policy": self.policy,
            "value": self.value.to_dict(),
            "difference": None if self.difference is None else self.difference.to_dict(),
            "values": {name: estimate.to_dict() for name, estimate in self.values.items()},
            "sends_per_user": self.sends_per_user,
        }


@dataclass(frozen=True)
class Scores:
    """True values of several policies.

    Attributes:
        world: its name.
        reference: the policy that differences are taken from.
        horizon_days: over which rewards are summed.
        n_users: of the simulation.
        seed: of users and chance.
        weights: of each objective in the value.
        rows: one a policy.
    """

    world: str
    reference: str
    horizon_days: int
    n_users: int
    seed: int
    weights: dict[str, float]
    rows: tuple[Score, ...]

    def __getitem__(self, policy: str) -> Score:
        names = [row.policy for row in self.rows]
        return self.rows[names.index(check_one_of("policy", policy, names))]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for strict JSON."""
        return {
            "world": self.world,
            "reference": self.reference,
            "horizon_days": self.horizon_days,
            "n_users": self.n_users,
            "seed": self.seed,
            "weights": dict(self.weights),
            "policies": [row.to_dict() for row in self.rows],
        }

    def table(self) -> list[list[str]]:
        """Header and rows of text: value, difference, messages sent, then the objectives."""
        out = [["policy", "value", f"minus {self.reference}", "messages", *self.weights]]
        for row in self.rows:
            difference = "" if row.difference is None else str(row.difference)
            objectives = [str(row.values[name]) for name in self.weights]
            out.append([row.policy, str(row.value), difference, f"{row.sends_per_user:.1f}", *objectives])
        return out

    def to_markdown(self) -> str:
        """The table in Markdown."""
        header, *rows = self.table()
        lines = [f"| {' | '.join(header)} |", f"|---|{'---:|' * (len(header) - 1)}"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])

    def to_text(self) -> str:
        """The table for a terminal."""
        rows = self.table()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        aligned = (
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        )
        title = f"{self.world}: per user over {self.horizon_days} days, {self.n_users:,} users, 95% intervals"
        return "\n".join([title, *(line.rstrip() for line in aligned)])


def score_policies(
    world: World,
    policies: Mapping[str, AnyPolicy],
    *,
    horizon_days: int,
    n_users: int = 10_000,
    seed: int = 1,
    reference: str | None = None,
    weights: Mapping[str, float] | None = None,
    encoder: FeatureEncoder | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Scores:
    """True values of several policies on common random numbers.

    Args:
        world: the truth.
        policies: by name.
        horizon_days: over which rewards are summed.
        n_users: of the simulation.
        seed: of users and chance: another than that of the log that policies were trained on.
        reference: name of the policy that differences are taken from; the first when None.
        weights: of each objective in the value; the world's own when None.
        encoder: of the features, for policies that bring none.
        progress: told the policy, the days done and the days there are.

    Raises:
        UnknownNameError: for a reference that is none of the policies, or the weight of no objective.
        InvalidInputError: if there is no policy, or a number is out of its bounds.

    Example:
        >>> from homing.policies import SilencePolicy, UniformPolicy
        >>> from homing.simulation import make_world
        >>> both = {"silence": SilencePolicy(), "uniform": UniformPolicy()}
        >>> scores = score_policies(make_world("linkedin"), both, horizon_days=3, n_users=500)
        >>> scores["uniform"].difference.lower > 0
        True
    """
    if not policies:
        raise InvalidInputError(describe("policies", {}, "must name at least one"))
    reference = next(iter(policies)) if reference is None else check_one_of("reference", reference, list(policies))
    counted = objective_weights(world.objectives, world.weights if weights is None else weights)
    used = dict(zip(world.objectives, counted.tolist(), strict=True))
    order = [reference, *(name for name in policies if name != reference)]
    rows: dict[str, Score] = {}
    for name in order:
        told = None if progress is None else lambda day, days, name=name: progress(name, day, days)
        run = simulate(
            world, policies[name], horizon_days=horizon_days, n_users=n_users, seed=seed, encoder=encoder, progress=told
        )
        if name == reference:
            base = run
        difference = None if name == reference else run.minus(base, weights=used)
        rows[name] = Score(name, run.value(weights=used), difference, run.values(), float(run.sends.mean()))
    return Scores(world.name, reference, horizon_days, n_users, seed, used, tuple(rows[name] for name in policies))
