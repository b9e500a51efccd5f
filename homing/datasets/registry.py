"""Data sets by name, real and simulated. A new one is its module with its YAML files, and a line in `ADAPTERS`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from homing.checks import check_one_of
from homing.datasets.card import Card
from homing.datasets.truth import Simulated
from homing.errors import InvalidInputError, describe, missing_dependency, unknown_name
from homing.log import DecisionLog, Objectives

#: Name of each data set and the module with its `CARD` and its `read(path, **options) -> DecisionLog`.
ADAPTERS = {
    "heartsteps": "homing.datasets.heartsteps",
    "hillstrom": "homing.datasets.hillstrom",
    "open-bandit": "homing.datasets.open_bandit",
    "simulated-messaging": "homing.datasets.simulated_messaging",
    "starbucks": "homing.datasets.starbucks",
}


def names() -> tuple[str, ...]:
    """The data sets that can be loaded.

    >>> names()
    ('heartsteps', 'hillstrom', 'open-bandit', 'simulated-messaging', 'starbucks')
    """
    return tuple(ADAPTERS)


def card(name: str) -> Card:
    """What a data set says about itself, without its data.

    >>> card("hillstrom").licence
    'a public challenge without a formal licence'
    """
    found: Card = _adapter(name).CARD
    return found


def load(name: str, path: str | Path | None = None, **options: object) -> DecisionLog:
    """A data set as a decision log with its propensities.

    Args:
        name: one of `names()`.
        path: where your copy of the files lies; `describe(name)` says what it must be. None only where the data set
            can be fetched (open-bandit) or is simulated (simulated-messaging).
        options: of that data set: open-bandit takes `behaviour` (`random`, `bts`), `campaign` (`men`, `women`, `all`)
            and `limit`; simulated-messaging `users`, `days`, `warm_up_days` and `seed`.

    Returns:
        A log in format 1, held in memory. Rows that break the format are kept, for `homing.log.accept` to reject with
        their reasons.

    Raises:
        UnknownNameError: if there is no such data set or option.
        InvalidInputError: if the files are not there (the message says where people get them), lack a column, or
            hold values of another kind.
        CorruptFileError: if a file cannot be read.

    Example:
        >>> load("hilstrom")
        Traceback (most recent call last):
            ...
        homing.errors.UnknownNameError: dataset == 'hilstrom', must be one of ... Did you mean 'hillstrom'?
    """
    check_options(name, options)
    read = _adapter(name).read
    try:
        import polars as pl
    except ImportError as error:
        raise missing_dependency("polars", "data") from error
    try:
        log: DecisionLog = read(path, **options)
    except pl.exceptions.PolarsError as error:
        # A column that is there, with values of another kind: text where numbers belong, say.
        reason = str(error).split("\n")[0]
        bound = f"must hold values of the kinds that the source has ({reason})"
        where = None if path is None else str(path)
        raise InvalidInputError(describe(f"files of {name}", where, bound, "Get a fresh copy of them.")) from error
    return log


def check_options(name: str, options: Iterable[str]) -> None:
    """Raise UnknownNameError for an option that the data set does not have."""
    known = [option for option in inspect.signature(_adapter(name).read).parameters if option != "path"]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)


def objectives(name: str) -> Objectives:
    """What decisions of a data set are judged on.

    >>> objectives("hillstrom").names
    ('visit', 'conversion', 'spend')
    """
    return Objectives.from_yaml(objectives_path(name))


def objectives_path(name: str) -> Path:
    """The YAML file with a data set's objectives."""
    return _beside(name, "objectives")


def default_rules(name: str) -> Path:
    """The YAML file with a data set's promotion rules, for `homing.promotion.PromotionRules.from_yaml`.

    >>> default_rules("hillstrom").name
    'hillstrom.promotion.yaml'
    """
    return _beside(name, "promotion")


def default_weights(name: str) -> dict[str, float]:
    """The importance of each objective of a data set when nobody says otherwise.

    Objectives have different units (visits, dollars): equal weights would let the largest numbers decide.

    >>> default_weights("hillstrom")["visit"]
    1.0
    """
    return dict(card(name).weights)


def default_learner(name: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """What is trained on a data set when nobody says otherwise, and settings of learners that suit it, by learner.

    >>> default_learner("hillstrom")
    ('doubly-robust', {})
    """
    about = card(name)
    return about.learner, {learner: dict(settings) for learner, settings in about.settings.items()}


def simulated(name: str) -> Simulated | None:
    """Where the truth of a simulated data set lies; None for a real one.

    >>> simulated("simulated-messaging").world, simulated("hillstrom")
    ('messaging', None)
    """
    found: Simulated | None = getattr(_adapter(name), "SIMULATED", None)
    return found


def _adapter(name: str) -> ModuleType:
    return importlib.import_module(ADAPTERS[check_one_of("dataset", name, ADAPTERS)])


def _beside(name: str, what: str) -> Path:
    check_one_of("dataset", name, ADAPTERS)
    return Path(__file__).with_name(f"{name}.{what}.yaml")
