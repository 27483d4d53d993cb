"""A drawing of boxes, lines and words, written as SVG and as PNG.

One list of shapes gives both files, so that they agree. Units are CSS pixels, x to the right, y down. The same shapes
give the same bytes: no dates, no random names.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Literal

from PIL import Image, ImageColor, ImageDraw, ImageFont

PNG_SCALE = 2
"""PNG pixels of a CSS pixel."""
INK, GREY, RULE = "#1c2430", "#66707c", "#c3c9d1"
MINUS = "\u2212"
_MINUS_WIDTH = 0.58
"""Of the minus sign, in font sizes: pillow's built-in font has none."""
_SUBSTITUTES = {"\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u2264": "<=", "\u2265": ">=", "\u2019": "'"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Box:
    """A rectangle; ``stroke`` lies inside of it. ``title``: what a pointer over it shows, SVG only."""

    x: float
    y: float
    width: float
    height: float
    fill: str = "none"
    stroke: str = "none"
    stroke_width: float = 1
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    stroke: str = INK
    stroke_width: float = 1


@dataclass(frozen=True)
class Words:
    """One line of text: (x, y) is on its baseline, at its start, middle or end."""

    x: float
    y: float
    text: str
    size: int = 12
    fill: str = INK
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass
class Drawing:
    """Shapes in the order in which they are drawn, on white."""

    width: int
    height: int
    title: str
    description: str
    shapes: list[Box | Line | Words] = field(default_factory=list)

    def svg(self) -> bytes:
        """Return an SVG file in UTF-8, with title and description for screen readers and text as text."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" aria-labelledby="title description" '
            'font-family="Aileron, Helvetica, Arial, sans-serif">',
            f'<title id="title">{xml(self.title)}</title>',
            f'<desc id="description">{xml(self.description)}</desc>',
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
            *map(_svg_shape, self.shapes),
            "</svg>\n",
        ]
        return "\n".join(parts).encode()

    def png(self) -> bytes:
        """Return a PNG file, RGB, of :data:`PNG_SCALE` times the size.

        Accents that pillow's built-in font lacks are left out, other letters that it lacks become ``?``.
        """
        image = Image.new("RGB", (self.width * PNG_SCALE, self.height * PNG_SCALE), "#ffffff")
        draw = ImageDraw.Draw(image)
        for shape in self.shapes:
            _png_shape(draw, shape)
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True, dpi=(96 * PNG_SCALE, 96 * PNG_SCALE))
        return file.getvalue()


def xml(text: str) -> str:
    """Return text for XML; characters that XML forbids become U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text), quote=True)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _svg_shape(shape: Box | Line | Words) -> str:
    if isinstance(shape, Words):
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        place = f'x="{_number(shape.x)}" y="{_number(shape.y)}" font-size="{shape.size}"'
        return f'<text {place}{anchor} fill="{shape.fill}">{xml(shape.text)}</text>'
    if isinstance(shape, Line):
        ends = " ".join(f'{name}="{_number(getattr(shape, name))}"' for name in ("x1", "y1", "x2", "y2"))
        return f'<line {ends} stroke="{shape.stroke}" stroke-width="{_number(shape.stroke_width)}"/>'
    inset = shape.stroke_width / 2 if shape.stroke != "none" else 0
    place = (
        f'x="{_number(shape.x + inset)}" y="{_number(shape.y + inset)}" '
        f'width="{_number(max(shape.width - 2 * inset, 0))}" height="{_number(max(shape.height - 2 * inset, 0))}"'
    )
    stroke = f' stroke="{shape.stroke}" stroke-width="{_number(shape.stroke_width)}"' if inset else ""
    title = f"<title>{xml(shape.title)}</title>" if shape.title else ""
    return f'<rect {place} fill="{shape.fill}"{stroke}' + (f">{title}</rect>" if title else "/>")


def _png_shape(draw: ImageDraw.ImageDraw, shape: Box | Line | Words) -> None:
    if isinstance(shape, Words):
        _png_words(draw, shape)
    elif isinstance(shape, Line):
        ends = [round(PNG_SCALE * value) for value in (shape.x1, shape.y1, shape.x2, shape.y2)]
        draw.line(ends, fill=shape.stroke, width=max(1, round(PNG_SCALE * shape.stroke_width)))
    else:
        left, top = round(PNG_SCALE * shape.x), round(PNG_SCALE * shape.y)
        right = round(PNG_SCALE * (shape.x + shape.width)) - 1
        bottom = round(PNG_SCALE * (shape.y + shape.height)) - 1
        if right < left or bottom < top:
            return
        outline = None if shape.stroke == "none" else shape.stroke
        fill = None if shape.fill == "none" else shape.fill
        width = max(1, round(PNG_SCALE * shape.stroke_width))
        draw.rectangle((left, top, right, bottom), fill=fill, outline=outline, width=width)


def _png_words(draw: ImageDraw.ImageDraw, words: Words) -> None:
    size = words.size * PNG_SCALE
    font = _font(size)
    x, y = words.x * PNG_SCALE, words.y * PNG_SCALE
    x -= {"start": 0.0, "middle": 0.5, "end": 1.0}[words.anchor] * text_width(words.text, words.size) * PNG_SCALE
    ink = ImageColor.getrgb(words.fill)
    for number, part in enumerate(words.text.split(MINUS)):
        if number:
            middle, thick = round(y - 0.3 * size), max(1, round(0.075 * size))
            left, right = round(x + 0.07 * size), round(x + (_MINUS_WIDTH - 0.07) * size)
            draw.rectangle((left, middle - thick // 2, right, middle - thick // 2 + thick - 1), fill=ink)
            x += _MINUS_WIDTH * size
        drawn = _drawable(part)
        draw.text((x, y), drawn, font=font, fill=ink, anchor="ls")
        x += font.getlength(drawn)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size; else pillow has been built without FreeType
    return font


@cache
def _has_glyph(letter: str) -> bool:
    font = _font(20)
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


@cache
def _drawable(text: str) -> str:
    """Return text in letters that pillow's built-in font has: without accents, ``?`` for other scripts."""
    result = ""
    for letter in text:
        if _has_glyph(letter) and letter.isprintable():
            result += letter
            continue
        plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
        plain = _SUBSTITUTES.get(letter, plain)
        result += plain if plain and all(map(_has_glyph, plain)) and plain.isprintable() else "?"
    return result


@cache
def text_width(text: str, size: int) -> float:
    """Return the width of a line of text in CSS pixels, by pillow's font."""
    minus = text.count(MINUS) * _MINUS_WIDTH * size
    return minus + _font(size * PNG_SCALE).getlength(_drawable(text.replace(MINUS, ""))) / PNG_SCALE


def wrap(text: str, size: int, width: float, lines: int = 0) -> list[str]:
    """Return text in lines of at most ``width``, broken at spaces, in words that are longer anywhere.

    ``lines``: at most so many (0: any number); what is left out is shown by an ellipsis.
    """
    result = [""]
    for word in text.split():
        tried = f"{result[-1]} {word}".strip()
        if text_width(tried, size) <= width:
            result[-1] = tried
            continue
        if result[-1]:
            result.append("")
        for letter in word:
            if result[-1] and text_width(result[-1] + letter, size) > width:
                result.append("")
            result[-1] += letter
    if lines and len(result) > lines:
        last = result[lines - 1]
        while last and text_width(last + "\u2026", size) > width:
            last = last[:-1]
        result = [*result[: lines - 1], last.rstrip() + "\u2026"]
    return result


def widest(texts: Sequence[str], size: int) -> float:
    """Return the width of the widest of some lines, 0 for none."""
    return max((text_width(text, size) for text in texts), default=0.0)
