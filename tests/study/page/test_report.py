"""Reports: everything is escaped, nothing runs, and tables show what is known."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from roentmod_fast.study.page.report import ABSENT, Figure, Report, Table, shown

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><rect width="2" height="2" fill="#fff"/></svg>'
HOSTILE = "<script>alert(1)</script>\"&'{{style}}"


class Elements(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_report_holds_its_sections_and_shows_all_text_as_text() -> None:
    table = Table((HOSTILE, "n", "share"), [(HOSTILE, 3, 0.25), ("b", None, math.nan)], HOSTILE)
    page = Report(HOSTILE).add(HOSTILE, HOSTILE, table, Figure(SVG, HOSTILE)).add("", "second").render()
    found = Elements(page)
    assert "script" not in found.tags
    assert found.tags.count("section") == 2
    assert found.tags.count("h2") == 1
    assert "rect" in found.tags
    assert found.text.count(HOSTILE) == 7  # title and its heading, section, paragraph, caption, header, row, figure
    assert [cell for cell in ("3", "0.250", ABSENT) if cell in found.text] == ["3", "0.250", ABSENT]


def test_the_policy_allows_the_style_alone() -> None:
    page = Report("x").add("y", "z").render().decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    "text",
    [
        "<svg><script>1</script></svg>",
        '<svg onload="a()"/>',
        '<svg><rect style="fill:red"/></svg>',
        '<svg xmlns:x="http://www.w3.org/1999/xlink"><path x:href="http://a"/></svg>',
        "<svg><style>a{}</style></svg>",
        "<svg><foreignObject/></svg>",
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg/>',
        "<div/>",
        "<svg>",
        "",
    ],
)
def test_an_svg_that_does_more_than_show_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="SVG"):
        Figure(text).render()


def test_an_xml_declaration_is_taken_off() -> None:
    assert "<?xml" not in Figure('<?xml version="1.0" encoding="utf-8"?>\n' + SVG, "a").render()


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 cells in a table of 1"):
        Table(("a",), [(1, 2)]).render()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ABSENT), (math.inf, ABSENT), (np.float64("nan"), ABSENT), (np.int64(7), "7"), (0.5, "0.50"), ("x", "x")],
)
def test_values_are_shown(value: object, text: str) -> None:
    assert shown(value, 2) == text
