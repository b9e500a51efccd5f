"""Verdicts: the three words that every diagnostic ends in, and the sentences behind them."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["fine", "caution", "refuse"]
_ORDER: dict[Verdict, int] = {"fine": 0, "caution": 1, "refuse": 2}


def worst(*verdicts: Verdict) -> Verdict:
    """The gravest of some verdicts, `fine` of none.

    >>> worst("fine", "refuse", "caution"), worst()
    ('refuse', 'fine')
    """
    return max(verdicts, key=_ORDER.__getitem__, default="fine")


class Findings:
    """Collects sentences and the worst verdict among them.

    >>> found = Findings()
    >>> found.add("caution", "Few users.")
    >>> found.verdict, found.reasons
    ('caution', ['Few users.'])
    """

    def __init__(self) -> None:
        self.verdict: Verdict = "fine"
        self.reasons: list[str] = []

    def add(self, verdict: Verdict, reason: str) -> None:
        """Note a sentence and how grave it is."""
        self.verdict = worst(self.verdict, verdict)
        self.reasons.append(reason)
