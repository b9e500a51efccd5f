"""Days as numbers: dates count from 1970-01-01, or the data number their own days."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np

from homing.errors import InvalidInputError, describe

EPOCH = date(1970, 1, 1)
Day = date | str | int


def day_number(value: Day, *, dated: bool, name: str = "as_of") -> int:
    """The number of a day; of text too, as command lines and pipelines give it.

    >>> day_number("1970-01-03", dated=True), day_number("2", dated=False)
    (2, 2)

    Raises:
        InvalidInputError: if the data are dated and it is no date, or the other way round.
    """
    try:
        if not dated and isinstance(value, str | int | np.integer):
            return int(value)
        if dated:
            if isinstance(value, str):
                value = date.fromisoformat(value)
            if isinstance(value, datetime):
                value = value.date()
            if isinstance(value, date):
                return (value - EPOCH).days
    except ValueError:
        pass
    bound = "must be a date such as '2026-03-01'" if dated else "must be a whole number, as the data's exposed_at are"
    raise InvalidInputError(describe(name, value, bound))


def day_text(number: int, *, dated: bool) -> str:
    """A day as people write it.

    >>> day_text(2, dated=True)
    '1970-01-03'
    """
    return (EPOCH + timedelta(days=int(number))).isoformat() if dated else str(int(number))
