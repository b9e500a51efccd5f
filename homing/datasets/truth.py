"""What policies are truly worth where a data set is simulated: no off-policy estimate, users who live with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from homing.estimates import Estimate

if TYPE_CHECKING:
    from homing.policies import Policy
    from homing.simulation import AnyPolicy

#: The policy that logged, which is judged too.
THE_LOG = "the log itself"


@dataclass(frozen=True)
class Simulated:
    """Where a data set's truth lies.

    Attributes:
        world: its name in `homing.simulation`.
        objectives: of the data set, each as the world's objectives that it is the sum of.
    """

    world: str
    objectives: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Truth:
    """What policies bring a user in a world, beside a reference policy on the same users and chance.

    Attributes:
        world: its name.
        horizon_days: over which outcomes are summed.
        n_users: others than those of any log.
        reference: name of the policy that differences are taken from.
        weights: of the value, by objective.
        values: policy → "value" (the weighted sum) and each objective → per user.
        differences: the same minus the reference's, paired by user; without the reference.
        sends: policy → messages per user.
    """

    world: str
    horizon_days: int
    n_users: int
    reference: str
    weights: dict[str, float]
    values: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Estimate]]
    sends: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for strict JSON."""

        def plain(nested: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
            return {name: {what: item.to_dict() for what, item in found.items()} for name, found in nested.items()}

        return {**asdict(self), "values": plain(self.values), "differences": plain(self.differences)}


def true_values(
    where: Simulated,
    policies: Mapping[str, Policy],
    *,
    reference: str,
    weights: Mapping[str, float],
    horizon_days: int = 90,
    n_users: int = 3_000,
    seed: int = 1_000_003,
) -> Truth:
    """Let policies, and the one that logged, live with users of a data set's world.

    Args:
        where: the world, and the data set's objectives in its terms.
        policies: by name; artifacts, so that they see the features that they were trained with.
        reference: one of them.
        weights: importance of the data set's objectives; those that are not named count 0.
        horizon_days: length.
        n_users: how many.
        seed: of users and chance, another than any log's.

    Example:
        >>> from homing.policies import SilencePolicy, UniformPolicy
        >>> where = Simulated("linkedin", {"visits": ("visits",)})
        >>> both = {"silence": SilencePolicy(), "uniform": UniformPolicy()}
        >>> truth = true_values(where, both, reference="silence", weights={"visits": 1.0}, horizon_days=3, n_users=500)
        >>> truth.differences["uniform"]["visits"].lower > 0
        True
    """
    from homing.simulation import make_world, simulate
    from homing.simulation.log import check_logged

    world = make_world(where.world)
    judged: dict[str, AnyPolicy] = {THE_LOG: check_logged(world).behaviour_policy(), **policies}
    sums = {name: dict.fromkeys(parts, 1.0) for name, parts in where.objectives.items()}
    sums["value"] = {part: weights.get(name, 0.0) for name, parts in where.objectives.items() for part in parts}
    runs = {
        name: simulate(world, policy, horizon_days=horizon_days, n_users=n_users, seed=seed)
        for name, policy in judged.items()
    }
    base = runs[reference]
    return Truth(
        world=where.world,
        horizon_days=horizon_days,
        n_users=n_users,
        reference=reference,
        weights={name: float(weights.get(name, 0.0)) for name in where.objectives},
        values={name: {what: run.value(weights=parts) for what, parts in sums.items()} for name, run in runs.items()},
        differences={
            name: {what: run.minus(base, weights=parts) for what, parts in sums.items()}
            for name, run in runs.items()
            if name != reference
        },
        sends={name: float(run.sends.mean()) for name, run in runs.items()},
    )
