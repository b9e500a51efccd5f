"""Numbers as people read them, and aligned columns for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homing.estimates import Estimate


def number(value: float) -> str:
    """Four significant digits without exponents where they are easy to read.

    >>> number(0.0123456), number(1234567.0), number(0.0), number(-0.00000123)
    ('0.01235', '1,234,567', '0', '-1.23e-06')
    """
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if 0 < size < 1e-4:
        return f"{value:.3g}"
    return f"{value:.4g}"


def decimals(half_width: float, value: float = 1.0) -> int:
    """Decimals that show an interval's half width with two significant digits, three where it begins with 1 or 2.

    >>> decimals(0.0123), decimals(3.2), decimals(250.0)
    (4, 1, 0)
    """
    size = half_width or abs(value)
    return 4 if size == 0 else min(max(0, 1 - math.floor(math.log10(size / 3))), 12)


def parts(item: Estimate) -> tuple[str, str, str]:
    """Value, lower and upper end with the digits that the interval warrants.

    >>> from homing.estimates import Estimate
    >>> parts(Estimate(0.113752, 0.0012, 0.1113, 0.1161, 0.95, 99))
    ('0.11375', '0.11130', '0.11610')
    """
    digits = decimals((item.upper - item.lower) / 2, item.value)
    value, lower, upper = (f"{x + 0.0:,.{digits}f}" for x in (item.value, item.lower, item.upper))
    return value, lower, upper


def percent(level: float) -> str:
    """A level as people write it.

    >>> percent(0.95), percent(0.975)
    ('95%', '97.5%')
    """
    return f"{100 * level:.4g}%"


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Columns as wide as they need; the first left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)
