"""The data sheet of an exported world: what it is, how it was made, what its columns mean, how to use and cite it."""

from __future__ import annotations

import inspect
import platform
from importlib.metadata import version as version_of
from importlib.resources import files
from string import Template

from homing.log import DecisionLog
from homing.simulation.delivery import Delivery
from homing.simulation.log import LoggedWorld
from homing.simulation.scores import Scores
from homing.simulation.slices import Slices
from homing.simulation.world import Feature
from homing.simulation.wrappers import innermost, layers_of

LICENCE = "CC0 1.0"


def datasheet(
    world: LoggedWorld,
    log: DecisionLog,
    scores: Scores,
    *,
    days: int,
    n_users: int,
    seed: int,
    slices: Slices,
    delivery: Delivery,
    command: str,
    version: int,
) -> str:
    """The page, in Markdown.

    References:
        Gebru et al. (2021), "Datasheets for Datasets", Communications of the ACM 64(12): the questions it answers.
    """
    packages = ", ".join(f"{name} {version_of(name)}" for name in ("homing", "numpy", "numba", "pyarrow"))
    page = Template(files("homing.simulation").joinpath("templates/datasheet.md").read_text(encoding="utf-8"))
    return page.substitute(
        world=world.name,
        about=_about(world),
        decisions=f"{log.n_decisions:,}",
        outcomes=f"{log.n_outcomes:,}",
        users=f"{n_users:,}",
        days=days,
        start=f"{world.start:%Y-%m-%d %H:%M}",
        delay_hours=f"{delivery.mean_hours:g}",
        duplicates=f"{100 * delivery.duplicate_share:g}%",
        context=_features(world.context_features),
        candidates=_features(world.candidate_features),
        messages=len(world.catalogue) - 1,
        kinds=", ".join(f"`{kind}`" for kind in world.kinds),
        step_hours=f"{world.step_hours:g}",
        uniform=f"{100 * slices.uniform_share:g}%",
        holdout=f"{100 * slices.holdout_share:g}%",
        command=f"```bash\n{command}\n```" if command else "By `homing.simulation.export_world`.",
        seed=seed,
        version=version,
        versions=f"Python {platform.python_version()}, {packages}",
        truth_users=f"{scores.n_users:,}",
        truth_users_plain=scores.n_users,
        truth_seed=scores.seed,
        horizon_days=scores.horizon_days,
        weights=", ".join(f"{name} {weight:g}" for name, weight in scores.weights.items()),
        scores=scores.to_markdown(),
        licence=LICENCE,
    )


def _about(world: LoggedWorld) -> str:
    """The class's own description, up to its arguments, references or examples; and what is wrapped around it."""
    text = inspect.getdoc(type(innermost(world))) or ""
    for section in ("Args:", "Attributes:", "References:", "Example:"):
        text = text.split(f"\n{section}")[0]
    around = [f"**Seen through `{type(layer).__name__}`.** {_first(type(layer))}" for layer in layers_of(world)]
    return "\n\n".join([text.strip(), *around])


def _first(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _features(features: tuple[Feature, ...]) -> str:
    rows = [
        f"| `{feature.name}` | {feature.kind}{': ' + ', '.join(feature.levels) if feature.levels else ''} |"
        for feature in features
    ]
    return "\n".join(rows or ["| none | |"])
