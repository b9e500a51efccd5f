"""The messaging world as a data set: decisions of simulated users, of which the truth is known."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from homing.datasets.card import Card
from homing.datasets.truth import Simulated
from homing.errors import InvalidInputError, describe
from homing.log import DecisionLog

CARD = Card(
    name="simulated-messaging",
    title="MessagingWorld, simulated: a music subscription's pushes, e-mails and in-app messages, and silence",
    source=(
        "Simulated by homing.simulation as it is loaded (docs/guides/messaging-world.md); nothing of it is data of any "
        "product."
    ),
    licence="CC0 1.0",
    randomisation=(
        "An ordinary product's rules with chance in them: silence whatever they say in a tenth of the decisions, a "
        "uniform draw in another, and 5 % of all decisions uniform besides. 5 % of the users are decided on at random "
        "throughout, 2 % never get a message. Each decision is logged with the whole distribution it was drawn from."
    ),
    caveats=(
        "Simulated: what holds here holds for products only as far as they are like this world.",
        "The off-policy values are of one decision at a time, in the states that the log's policy brings users into; "
        "the truth beside them is of users who live with a policy for months. Where they disagree, the second is "
        "right.",
        "What wears users out shows after weeks: a policy can win every decision and lose its users.",
        "Outcomes count until the user's next decision. A message uses up what waited and so puts that decision off: "
        "it gathers more of all outcomes, sessions and losses alike.",
        "Leaving and closed channels are rare (a few in a thousand decisions): expect wide intervals.",
    ),
    files="left out: nothing is read",
    needs_path=False,
    # The world's own, in units of a session: a conversion is worth some months of subscription, a user who leaves too.
    weights=MappingProxyType(
        {"click": 0.0, "engagement": 1.0, "conversion": 40.0, "retention_loss": -35.0, "reachability_loss": -4.0}
    ),
    learner="structured",
    # A message has its price in any reader's attention; negative feedback is too rare to show it in one log.
    settings=MappingProxyType({"structured": {"cost": 0.1}}),
)
SIMULATED = Simulated(
    world="messaging",
    objectives={
        "click": ("clicked",),
        "engagement": ("sessions",),
        "conversion": ("converted",),
        "retention_loss": ("cancelled", "churned"),
        "reachability_loss": ("opted_out",),
    },
)


def read(
    path: str | Path | None = None, *, users: int = 4_000, days: int = 28, warm_up_days: int = 28, seed: int = 0
) -> DecisionLog:
    """The world's decisions under its behaviour policy, outcomes late and some of them twice.

    Args:
        path: None; there is nothing to read.
        users: how many.
        days: length of the log.
        warm_up_days: that the users have lived with the policy before.
        seed: of users and chance: the same seed gives the same log.

    Raises:
        InvalidInputError: if a path is given, or a number is out of its bounds.
    """
    if path is not None:
        bound = "must not be given: the log is simulated"
        raise InvalidInputError(describe(f"path of {CARD.name}", str(path), bound, "Leave it out (make run: no DATA)."))
    from homing.simulation import Delivery, Slices, log_decisions, make_world
    from homing.simulation.log import check_logged

    world = check_logged(make_world(SIMULATED.world))
    return log_decisions(
        world, world.behaviour_policy(), days=days, warm_up_days=warm_up_days, n_users=users, seed=seed,
        slices=Slices(uniform_share=0.05, holdout_share=0.02), delivery=Delivery(mean_hours=6.0, duplicate_share=0.01),
        policy_name="simulated-rules@1",
    )  # fmt: skip
