"""Self-contained pages: one file, no scripts, no network, readable at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homing.errors import missing_dependency
from homing.pages.text import number, parts, percent


def page(template: str, *, folders: Sequence[Path] = (), **values: Any) -> str:
    """Render a template of `folders`, most of which extend this package's `base.html`, with everything escaped.

    Args:
        template: its file name.
        folders: where templates lie.
        values: what the template names; a name without a value is an error.

    Raises:
        MissingDependencyError: if jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_dependency("jinja2", "data") from error
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "parts": parts, "percent": percent}
    return environment.get_template(template).render(**values)
