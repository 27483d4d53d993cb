"""The figure: for each embedding a panel, for each prompt the scores as median, interval and quartiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from roentmod_fast.study.drawing import GREY, RULE, Box, Drawing, Line, Words, widest, wrap
from roentmod_fast.study.identity.measure import CONTROL, MODEL, REAL
from roentmod_fast.study.identity.summary import ALL, SummaryRow, find

COLOURS = {MODEL: "#2166ac", CONTROL: "#777777", REAL: "#b2182b"}
NAMES = {MODEL: "own edit", CONTROL: "another patient's edit", REAL: "real follow-up"}
CAPTION = "Square: median. Thick line: its interval by patient. Thin line: from the first to the third quartile."
MARGIN, LENGTH, NAME = 16, 520.0, 12
ROW, STEP, TOP, BELOW = 42.0, 12.0, 38.0, 34.0


def identity_figure(rows: Sequence[SummaryRow], measures: Sequence[str], prompts: Sequence[str]) -> Drawing:
    """Draw a panel for each embedding, one below the other."""
    cells = [*prompts, ALL] if len(prompts) > 1 else list(prompts)
    shown = [score for score in COLOURS if any(row.score == score for row in rows)]
    left = MARGIN + min(widest([_name(cell) for cell in cells], NAME) + 14, 260)
    panel = TOP + ROW * len(cells) + BELOW
    width = math.ceil(left + LENGTH + MARGIN + 10)
    title = "Squared distance of embeddings to the own source"
    drawing = Drawing(width, math.ceil(MARGIN + 14 + panel * len(measures) + 2 * MARGIN), title, "")
    x = left
    for score in shown:
        _mark(drawing, x, x + 24, x + 12, MARGIN + 4, COLOURS[score], NAMES[score])
        drawing.shapes.append(Words(x + 30, MARGIN + 8, NAMES[score], NAME))
        x += 48 + widest([NAMES[score]], NAME)
    panels = []
    for number, measure in enumerate(measures):
        panels.append(_panel(drawing, rows, measure, cells, left, MARGIN + 14 + number * panel))
    drawing.shapes.append(Words(MARGIN, drawing.height - MARGIN, CAPTION, 11, GREY))
    drawing.description = f"{title}. {' '.join(panels)} {CAPTION}"
    return drawing


def _panel(
    drawing: Drawing, rows: Sequence[SummaryRow], measure: str, cells: Sequence[str], left: float, top: float
) -> str:
    """Draw one embedding and return it in words."""
    found = [row for row in rows if row.measure == measure and row.score in COLOURS]
    ends = [value for row in found for value in (row.q3, row.median.estimate, row.median.high) if value is not None]
    most = max([value for value in ends if math.isfinite(value)], default=0.0) or 1.0
    step = _step(most)
    parts = math.ceil(most / step - 1e-9)
    bottom = top + TOP + ROW * len(cells)
    shapes = drawing.shapes

    def across(value: float) -> float:
        return left + LENGTH * value / (parts * step)

    shapes.append(Words(left, top + 24, wrap(f"{measure}: squared distance", 13, LENGTH, 1)[0], 13))
    for tick in range(parts + 1):
        x = across(tick * step)
        shapes.append(Line(x, top + TOP, x, bottom, RULE))
        shapes.append(Words(x, bottom + 16, f"{tick * step:.6g}", 11, GREY, "middle"))
    words = []
    for index, prompt in enumerate(cells):
        middle = top + TOP + ROW * (index + 0.5)
        name = wrap(_name(prompt), NAME, left - MARGIN - 14, 1)[0]
        shapes.append(Words(left - 10, middle + 4, name, NAME, anchor="end"))
        if index:
            shapes.append(Line(left, middle - ROW / 2, left + LENGTH, middle - ROW / 2, "#eeeeee"))
        cell = [row for score in COLOURS if (row := find(rows, measure, prompt, score)) is not None]
        for line, row in enumerate(cell):
            y = middle + STEP * (line - (len(cell) - 1) / 2)
            text = f"{_name(prompt)}, {NAMES[row.score]}: {row.median.estimate:.4g}"
            assert row.q1 is not None and row.q3 is not None
            _mark(drawing, across(row.q1), across(row.q3), across(row.median.estimate), y, COLOURS[row.score], text)
            if math.isfinite(row.median.low):
                low, high = across(row.median.low), across(row.median.high)
                shapes.append(Line(low, y, high, y, COLOURS[row.score], 5))
            words.append(text)
    return f"{measure}: {'; '.join(words)}."


def _mark(drawing: Drawing, low: float, high: float, middle: float, y: float, colour: str, title: str) -> None:
    drawing.shapes.append(Line(low, y, high, y, colour, 1.5))
    drawing.shapes.append(Box(middle - 4, y - 4, 8, 8, colour, title=title))


def _name(prompt: str) -> str:
    return prompt or "all prompts"


def _step(most: float) -> float:
    """Return a round step that gives at most six parts of an axis up to ``most``."""
    raw = most / 5
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
