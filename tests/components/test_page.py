"""Pages that steps show: escaped, aligned, readable numbers."""

from __future__ import annotations

import html.parser
import math

import pytest

from components.page import curve, heading, page, paragraph, show, table


class Texts(html.parser.HTMLParser):
    """The text of a page, and the tags that were opened and not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "polyline":
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None: ...

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_escapes_what_it_shows_and_closes_its_tags() -> None:
    nasty = "<script>alert(1)</script>"
    made = page(
        nasty, heading(nasty), paragraph(nasty, note=True), table((nasty, "n"), [(nasty, 3)]), curve([1, 2], nasty)
    )
    assert "<script" not in made
    read = Texts(made)
    assert read.open == []
    assert read.texts.count(nasty) >= 4


def test_columns_of_numbers_stand_right() -> None:
    made = table(("name", "rows"), [("a", 1200), ("b", 3)])
    assert '<th class="n">rows</th>' in made
    assert '<td class="n">1,200</td>' in made
    assert '<td class="">a</td>' in made


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.123456, "0.1235"), (2000.0, "2,000"), (1e-5, "1e-05"), (None, "–"), (True, "yes"),
     ("word", "word"), (math.inf, "inf"), (math.nan, "nan")],
    ids=str,
)  # fmt: skip
def test_numbers_for_people(value: object, text: str) -> None:
    assert show(value) == text


def test_a_curve_needs_two_points_and_survives_a_flat_line() -> None:
    assert curve([1.0], "loss") == ""
    assert "nan" not in curve([1.0, 1.0, 1.0], "loss")
