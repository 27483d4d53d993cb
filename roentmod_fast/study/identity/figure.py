"""The figure: for each embedding a panel, for each prompt the scores as median, interval and quartiles.

SVG for a page and a paper, PNG for a slide, drawn by the same strokes.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

from roentmod_fast.study.identity.measure import CONTROL, MODEL, REAL
from roentmod_fast.study.identity.summary import ALL, SummaryRow, find

COLORS = {MODEL: "#2166ac", CONTROL: "#777777", REAL: "#b2182b"}
NAMES = {MODEL: "own edit", CONTROL: "another patient's edit", REAL: "real follow-up"}
WIDTH, LEFT, RIGHT = 800, 230, 30
ROW, LINE, TOP = 44, 12, 34
PNG_SCALE = 2


@dataclass
class Drawing:
    """Strokes in pixels of the SVG."""

    width: int
    height: int
    lines: list[tuple[float, float, float, float, str, float]] = field(default_factory=list)
    dots: list[tuple[float, float, float, str]] = field(default_factory=list)
    texts: list[tuple[float, float, str, str, bool]] = field(default_factory=list)

    def line(self, x0: float, y0: float, x1: float, y1: float, color: str, width: float) -> None:
        """Draw a line."""
        self.lines.append((x0, y0, x1, y1, color, width))

    def dot(self, x: float, y: float, radius: float, color: str) -> None:
        """Draw a filled circle."""
        self.dots.append((x, y, radius, color))

    def text(self, x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> None:
        """Write a text with its baseline at ``y``; ``anchor``: start, middle or end."""
        self.texts.append((x, y, text, anchor, bold))

    def svg(self) -> str:
        """Return the drawing as SVG."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
            f' height="{self.height}" font-family="Helvetica,Arial,sans-serif" font-size="12" fill="#222222">',
            f'<rect x="0" y="0" width="{self.width}" height="{self.height}" fill="#ffffff"/>',
        ]
        for x0, y0, x1, y1, color, width in self.lines:
            parts.append(
                f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{color}"'
                f' stroke-width="{width:g}"/>'
            )
        for x, y, radius, color in self.dots:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{color}"/>')
        for x, y, text, anchor, bold in self.texts:
            weight = ' font-weight="bold"' if bold else ""
            parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{html.escape(text)}</text>')
        return "\n".join([*parts, "</svg>\n"])

    def png(self) -> bytes:
        """Return the drawing as PNG, :data:`PNG_SCALE` times as large."""
        scale = PNG_SCALE
        image = Image.new("RGB", (self.width * scale, self.height * scale), "white")
        draw = ImageDraw.Draw(image)
        for x0, y0, x1, y1, color, width in self.lines:
            draw.line((x0 * scale, y0 * scale, x1 * scale, y1 * scale), color, max(1, round(width * scale)))
        for x, y, radius, color in self.dots:
            draw.ellipse(
                ((x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale), color
            )
        font = ImageFont.load_default(12 * scale)
        for x, y, text, anchor, _ in self.texts:
            place = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
            draw.text((x * scale, y * scale), text, "#222222", font, place)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def identity_figure(rows: Sequence[SummaryRow], measures: Sequence[str], prompts: Sequence[str]) -> Drawing:
    """Draw a panel for each embedding, one below the other."""
    cells = [*prompts, ALL] if len(prompts) > 1 else list(prompts)
    panel = TOP + ROW * len(cells) + 46
    drawing = Drawing(WIDTH, 30 + panel * len(measures))
    x = float(LEFT)
    for score in (MODEL, CONTROL, REAL):
        if any(row.score == score for row in rows):
            drawing.line(x, 16, x + 22, 16, COLORS[score], 2)
            drawing.dot(x + 11, 16, 4, COLORS[score])
            drawing.text(x + 28, 20, NAMES[score])
            x += 40 + 7.2 * len(NAMES[score])
    for number, measure in enumerate(measures):
        _panel(drawing, rows, measure, cells, 30 + number * panel)
    return drawing


def _panel(drawing: Drawing, rows: Sequence[SummaryRow], measure: str, cells: Sequence[str], top: float) -> None:
    found = [row for row in rows if row.measure == measure and row.score in COLORS]
    values = [value for row in found for value in (row.q3, row.median.high) if value is not None]
    most = max([value for value in values if math.isfinite(value)], default=1.0) or 1.0
    step = _step(most)
    most = math.ceil(most / step - 1e-9) * step
    bottom = top + TOP + ROW * len(cells)
    width = WIDTH - LEFT - RIGHT

    def place(value: float) -> float:
        return LEFT + width * value / most

    drawing.text(LEFT, top + 20, f"{measure}: squared distance to the own source", bold=True)
    for tick in range(round(most / step) + 1):
        x = place(tick * step)
        drawing.line(x, top + TOP, x, bottom, "#dddddd", 1)
        drawing.text(x, bottom + 16, f"{tick * step:.6g}", "middle")
    for index, prompt in enumerate(cells):
        middle = top + TOP + ROW * (index + 0.5)
        drawing.text(LEFT - 10, middle + 4, _short(prompt or "all prompts"), "end", bold=prompt == ALL)
        if index:
            drawing.line(LEFT, middle - ROW / 2, WIDTH - RIGHT, middle - ROW / 2, "#eeeeee", 1)
        shown = [row for score in COLORS if (row := find(rows, measure, prompt, score)) is not None]
        for line, row in enumerate(shown):
            y = middle + LINE * (line - (len(shown) - 1) / 2)
            assert row.q1 is not None and row.q3 is not None
            drawing.line(place(row.q1), y, place(row.q3), y, COLORS[row.score], 1.5)
            if math.isfinite(row.median.low):
                drawing.line(place(row.median.low), y, place(row.median.high), y, COLORS[row.score], 5)
            drawing.dot(place(row.median.estimate), y, 3.5, COLORS[row.score])


def _step(most: float) -> float:
    """Return a round step that gives at most six parts of a scale up to ``most``."""
    raw = most / 5
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)


def _short(text: str, most: int = 34) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
