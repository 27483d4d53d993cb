"""A report of results: sections with text, tables and figures in one HTML file without a script.

    report = Report("Reader study")
    report.add("Adherence", "Share of edits ...", Table(("prompt", "seen"), rows), Figure(svg, "Co-occurrence"))
    path.write_bytes(report.render())

The page requests nothing and runs nothing: its Content-Security-Policy allows its own style alone. All text is escaped.
"""

from __future__ import annotations

import html
import math
import numbers
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field

from roentmod_fast._version import __version__
from roentmod_fast.radiograph.dicom.marks import MANUFACTURER, WARNING
from roentmod_fast.study.page.html import fill, source_hash, template

ABSENT = "-"
"""What stands for a value that is not known: None, and a number that is not finite."""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its header. Numbers are shown with ``digits`` decimals, text as it is."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    digits: int = 3

    def render(self) -> str:
        """Return the table as HTML. Raises ValueError for a row of another length than the header."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{self._row(row)}</tr>" for row in self.rows)
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return f'<div class="table"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'

    def _row(self, row: Sequence[object]) -> str:
        first, *rest = row
        cells = [f'<th scope="row">{html.escape(shown(first, self.digits))}</th>']
        for value in rest:
            kind = ' class="number"' if value is None or isinstance(value, numbers.Number) else ""
            cells.append(f"<td{kind}>{html.escape(shown(value, self.digits))}</td>")
        return "".join(cells)


@dataclass(frozen=True)
class Figure:
    """A figure as SVG, which stands in the page itself. ``caption`` is also what a screen reader reads."""

    svg: str
    caption: str = ""

    def render(self) -> str:
        """Return the figure as HTML. Raises ValueError where the SVG is none, or does more than show."""
        text = re.sub(r"^\s*<\?xml.*?\?>", "", self.svg, flags=re.DOTALL).strip()
        check_svg(text)
        caption = html.escape(self.caption)
        return f'<figure role="group" aria-label="{caption}">{text}<figcaption>{caption}</figcaption></figure>'


@dataclass
class Report:
    """A page of results. ``title`` is its heading too."""

    title: str
    _sections: list[str] = field(default_factory=list)

    def add(self, heading: str, *content: str | Table | Figure) -> Report:
        """Add a section: paragraphs (text), tables and figures in their order. Returns the report itself."""
        parts = [f"<h2>{html.escape(heading)}</h2>"] if heading else []
        parts += [f"<p>{html.escape(each)}</p>" if isinstance(each, str) else each.render() for each in content]
        self._sections.append("<section>" + "\n".join(parts) + "</section>")
        return self

    def render(self) -> bytes:
        """Return the page as a file."""
        style = template("report.css")
        parts = {
            "policy": f"default-src 'none'; style-src {source_hash(style)}; base-uri 'none'; form-action 'none'",
            "title": html.escape(f"{self.title} - {WARNING}"),
            "warning": html.escape(WARNING),
            "style": style,
            "heading": html.escape(self.title),
            "sections": "\n".join(self._sections),
            "made": html.escape(f"{MANUFACTURER} {__version__}"),
        }
        return fill(template("report.html"), parts)


def shown(value: object, digits: int = 3) -> str:
    """Return a value as a table shows it: :data:`ABSENT` for None and what is not finite, whole numbers as they are."""
    if value is None:
        return ABSENT
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return f"{float(value):.{digits}f}" if math.isfinite(float(value)) else ABSENT
    return str(value)


def check_svg(text: str) -> None:
    """Raise ValueError for what is no SVG, or runs, requests or styles by other means than attributes of its own."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("an SVG with a document type: expected one without")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"no SVG: {error}") from None
    if not root.tag.endswith("svg"):
        raise ValueError(f"no SVG: its first element is {root.tag}")
    for element in root.iter():
        tag = str(element.tag).rpartition("}")[2].lower()
        if tag in ("script", "style", "foreignobject", "image", "use", "a", "set", "animate"):
            raise ValueError(f"an SVG with an element {tag}: expected shapes and text")
        for name in element.attrib:
            plain = name.rpartition("}")[2].lower()
            if plain.startswith("on") or plain in ("style", "href"):
                raise ValueError(f"an SVG with an attribute {plain}: expected presentation attributes")
