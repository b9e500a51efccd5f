"""Errors: one root, children that are also builtins, one message format.

A message names what is wrong, the value seen, the bound that it breaks and the next step:

>>> print(describe("propensity[3]", 0.0, "must be in (0, 1]", "Log the probability with which the action was chosen."))
propensity[3] == 0.0, must be in (0, 1]. Log the probability with which the action was chosen.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HomingError(Exception):
    """Root of all errors that a user can cause; the command line prints it without a stack trace."""


class InvalidInputError(HomingError, ValueError):
    """A value breaks its bound."""


class UnknownNameError(HomingError, LookupError):
    """A name (data set, learner, estimator, configuration key …) does not exist."""


class CorruptFileError(HomingError, OSError):
    """A file's bytes do not match its checksums, or it is truncated: it is refused, not read."""


class ArtifactError(HomingError, ValueError):
    """A policy artifact or registry entry does not match its digests or its format."""


class SupportError(HomingError, ValueError):
    """A log does not support the question: the actions to judge were never or hardly ever taken."""


class MissingDependencyError(HomingError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def describe(name: str, value: object, bound: str, next_step: str = "") -> str:
    """Render the project's error message: name, value, bound, next step."""
    shown = repr(value)
    if len(shown) > 200:
        shown = shown[:197] + "..."
    text = f"{name} == {shown}, {bound}."
    return f"{text} {next_step}" if next_step else text


def unknown_name(kind: str, name: str, known: Iterable[str], next_step: str = "") -> UnknownNameError:
    """Build the error for an unknown name, with a hint at the nearest known one.

    >>> print(unknown_name("dataset", "hilstrom", ["hillstrom", "open-bandit"]))
    dataset == 'hilstrom', must be one of 'hillstrom', 'open-bandit'. Did you mean 'hillstrom'?
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    bound = "must be one of " + ", ".join(repr(item) for item in names) if names else "none is known"
    return UnknownNameError(describe(kind, name, bound, " ".join(part for part in (hint, next_step) if part)))


def missing_dependency(package: str, extra: str) -> MissingDependencyError:
    """Build the error for an optional dependency that is not installed."""
    return MissingDependencyError(
        describe(package, "not installed", "is needed here", f"Install it with: pip install 'homing[{extra}]'.")
    )
