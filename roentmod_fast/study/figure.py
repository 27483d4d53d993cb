"""Figures of a study: heat maps in the form of the paper's Figure 3, and plots of intervals; as SVG and PNG.

Blue is up, red is down, white is no change; a sequential scale from white to purple shows shares from 0 to 1. Every
cell holds its number, so that nothing depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.study.drawing import GREY, INK, MINUS, RULE, Box, Drawing, Line, Words, text_width, widest, wrap
from roentmod_fast.study.statistics import Interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Texts = Sequence[Sequence[str]]
Colour = tuple[float, float, float]

UP: tuple[Colour, ...] = ((255, 255, 255), (150, 192, 226), (48, 116, 186), (8, 48, 107))
DOWN: tuple[Colour, ...] = ((255, 255, 255), (244, 168, 148), (203, 58, 54), (110, 10, 30))
SHARE: tuple[Colour, ...] = ((255, 255, 255), (194, 188, 224), (118, 98, 178), (58, 22, 112))
"""Colours at 0, 1/3, 2/3 and 1 of the scale, evenly darker."""
MUTED = 0.3
"""How much of its colour a muted cell keeps."""

_PALE_INK = "#4a535f"
_MARGIN, _GAP = 20, 28
_NAME, _VALUE, _NOTE, _TITLE, _CAPTION = 12, 14, 10, 15, 12
_LEAST_CELL, _MOST_NAME = 58, 104
_HEIGHT = 44
_WIDEST = 1600


@dataclass(frozen=True)
class Panel:
    """One matrix of a heat map.

    ``values``: (R, C), NaN where not measured. ``notes``: (R, C) strings, a second line in the cell, such as an
    interval or n. ``muted``: bool (R, C), cells drawn pale, such as not significant ones. ``marked``: bool (R, C),
    cells with a frame, such as the finding that the prompt adds.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Floats
    notes: Texts | None = None
    muted: Bools | None = None
    marked: Bools | None = None


@dataclass(frozen=True)
class _Scale:
    """From ``low`` to ``high``; diverging where ``low`` is below 0, then symmetric."""

    low: float
    high: float

    @property
    def diverging(self) -> bool:
        return self.low < 0

    def colour(self, value: float, muted: bool = False) -> str:
        """Return the colour of a value as #rrggbb; beyond the scale it is that of the end."""
        if self.diverging:
            share, stops = abs(value) / self.high, UP if value >= 0 else DOWN
        else:
            share, stops = (value - self.low) / (self.high - self.low), SHARE
        place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
        first = min(int(place), len(stops) - 2)
        parts = [a + (b - a) * (place - first) for a, b in zip(stops[first], stops[first + 1], strict=True)]
        if muted:
            parts = [255 + MUTED * (part - 255) for part in parts]
        return "#" + "".join(f"{round(part):02x}" for part in parts)


def _scale(scale: float | tuple[float, float]) -> _Scale:
    low, high = scale if isinstance(scale, tuple) else (-scale, scale)
    if isinstance(scale, tuple) and not (np.isfinite([low, high]).all() and 0 <= low < high):
        raise SettingError(f"scale {low:g} to {high:g}: expected 0 <= low < high, such as (0, 1)")
    if not (np.isfinite(high) and high > 0):
        raise SettingError(f"scale {high:g}: expected above 0, such as 60")
    return _Scale(float(low), float(high))


def _check(panel: Panel) -> None:
    shape = (len(panel.rows), len(panel.columns))
    if not all(shape):
        raise SettingError(f"panel {panel.title!r}: no rows or columns")
    for name in ("values", "notes", "muted", "marked"):
        part = getattr(panel, name)
        if part is None:
            continue
        found = tuple(map(len, (part, part[0]))) if name == "notes" and len(part) else np.shape(part)
        if found != shape or (name == "notes" and any(len(row) != shape[1] for row in part)):
            raise SettingError(f"panel {panel.title!r}: {name} of shape {found}, expected {shape}")
    if np.isinf(np.asarray(panel.values, dtype=np.float64)).any():
        raise SettingError(f"panel {panel.title!r}: infinite values, expected finite ones, NaN where not measured")


def number_text(value: float, digits: int, *, signed: bool) -> str:
    """Return a number with a real minus sign; ``signed``: with a plus as well. What rounds to 0 has no sign."""
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def heat_map(
    panels: Sequence[Panel],
    *,
    scale: float | tuple[float, float],
    unit: str,
    caption: str,
    digits: int | None = None,
    row_title: str = "",
    column_title: str = "",
    muted_label: str = "not significant",
    marked_label: str = "",
) -> Drawing:
    """Return a heat map, to be written as SVG or PNG.

    ``scale``: a number above 0 for a diverging scale from minus to plus that number, or (low, high) with 0 <= low <
    high for a sequential one. ``unit``: of the values, under the colour bar. ``digits``: decimals in the cells, 0 for
    a diverging and 2 for a sequential scale. ``caption``: below the figure. ``row_title``, ``column_title``: what rows
    and columns are. ``muted_label``, ``marked_label``: what pale and framed cells are, in the key.

    Raises SettingError for no panels, shapes that do not fit, infinite values, or a scale that cannot be used.
    """
    if not panels:
        raise SettingError("figure: no panels, expected at least one")
    for panel in panels:
        _check(panel)
    chosen = _scale(scale)
    places = (0 if chosen.diverging else 2) if digits is None else digits
    noted = [note for panel in panels if panel.notes is not None for row in panel.notes for note in row]
    columns = [name for panel in panels for name in panel.columns]
    words = [word for name in columns for word in name.split()]
    cell = max(_LEAST_CELL, min(widest(words, _NAME), _MOST_NAME) + 10, widest(noted, _NOTE) + 10)
    heads = [[wrap(name, _NAME, cell - 6, 4) for name in panel.columns] for panel in panels]
    head_height = 16 * max(len(lines) for each in heads for lines in each) + 4
    side = min(widest([*(name for panel in panels for name in panel.rows), row_title], _NAME) + 12, 230)
    title_lines = [wrap(panel.title, _TITLE, side + cell * len(panel.columns), 2) for panel in panels]
    title_height = 20 * max(map(len, title_lines)) + 4
    above = title_height + (18 if column_title else 0) + head_height

    drawing = Drawing(0, 0, "", "")
    shapes = drawing.shapes
    x, y, line_height, right = float(_MARGIN), float(_MARGIN), 0.0, 0.0
    previous: Panel | None = None
    for panel, head, titles in zip(panels, heads, title_lines, strict=True):
        width = cell * len(panel.columns)
        if previous is not None and x + side + width > _WIDEST:
            x, y, line_height, previous = float(_MARGIN), y + line_height + _GAP, 0.0, None
        # Names of rows stand once a line of panels where they are the same.
        named = previous is None or list(previous.rows) != list(panel.rows)
        left = x + (side if named else 0)
        for number, text in enumerate(titles):
            shapes.append(Words(left, y + 14 + 20 * number, text, _TITLE))
        if column_title:
            shapes.append(Words(left + width / 2, y + title_height + 12, column_title, _NAME, GREY, "middle"))
        top = y + above
        for column, lines in enumerate(head):
            for number, text in enumerate(reversed(lines)):
                place = Words(left + cell * (column + 0.5), top - 7 - 16 * number, text, _NAME, INK, "middle")
                shapes.append(place)
        if named and row_title:
            shapes.append(Words(left - 8, top - 7, row_title, _NAME, GREY, "end"))
        for row, name in enumerate(panel.rows):
            if named:
                lines = wrap(name, _NAME, side - 12, 2)
                for number, text in enumerate(lines):
                    middle = top + _HEIGHT * (row + 0.5) + 4 + 15 * (number - (len(lines) - 1) / 2)
                    shapes.append(Words(left - 8, middle, text, _NAME, INK, "end"))
            for column in range(len(panel.columns)):
                _draw_cell(
                    shapes, panel, row, column, (left + cell * column, top + _HEIGHT * row, cell), chosen, places
                )
        shapes.append(Box(left, top, width, _HEIGHT * len(panel.rows), stroke=RULE))
        _draw_frames(shapes, panel, left, top, cell)
        line_height = max(line_height, above + _HEIGHT * len(panel.rows))
        right = max(right, left + width)
        x, previous = left + width + _GAP, panel
    y += line_height + 18
    values = np.concatenate([np.asarray(panel.values, dtype=np.float64).ravel() for panel in panels])
    y, key_right = _draw_key(shapes, y, chosen, unit, places, values, _key_entries(panels, muted_label, marked_label))
    right = max(right, key_right, 420.0)
    y = _draw_caption(shapes, y, right, caption)
    drawing.width, drawing.height = int(np.ceil(right)) + _MARGIN, int(np.ceil(y)) + _MARGIN - 6
    drawing.title = "; ".join(panel.title for panel in panels)
    drawing.description = _describe(panels, unit, caption)
    return drawing


def _draw_cell(
    shapes: list[Box | Line | Words],
    panel: Panel,
    row: int,
    column: int,
    place: tuple[float, float, float],
    scale: _Scale,
    digits: int,
) -> None:
    x, y, width = place
    value = float(panel.values[row][column])
    note = "" if panel.notes is None else panel.notes[row][column]
    muted = panel.muted is not None and bool(panel.muted[row][column])
    name = f"{panel.rows[row]}, {panel.columns[column]}"
    if np.isnan(value):
        shapes.append(Box(x, y, width, _HEIGHT, "#ffffff", RULE, 0.5, f"{name}: not measured"))
        shapes.append(Words(x + width / 2, y + _HEIGHT / 2 + 4, "n/a", _NOTE, GREY, "middle"))
        return
    text = number_text(value, digits, signed=scale.diverging)
    fill = "#ffffff" if not text.strip("0.") else scale.colour(value, muted)
    shown = f"{name}: {text}" + (f" ({note})" if note else "") + (", pale" if muted else "")
    shapes.append(Box(x, y, width, _HEIGHT, fill, RULE, 0.5, shown))
    ink = _ink(fill, muted)
    shapes.append(Words(x + width / 2, y + (20 if note else 27), text, _VALUE, ink, "middle"))
    if note:
        shapes.append(Words(x + width / 2, y + 35, note, _NOTE, ink, "middle"))


def _luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb: WCAG 2.2."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21: WCAG 2.2."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _ink(fill: str, muted: bool) -> str:
    """Return the colour of text on a cell, with a contrast of at least 4.5; grey on muted cells where that suffices."""
    if muted and _contrast(fill, _PALE_INK) >= 4.5:
        return _PALE_INK
    return "#000000" if _contrast(fill, "#000000") >= _contrast(fill, "#ffffff") else "#ffffff"


def _draw_frames(shapes: list[Box | Line | Words], panel: Panel, left: float, top: float, cell: float) -> None:
    if panel.marked is None:
        return
    for row, column in np.argwhere(np.asarray(panel.marked)).tolist():
        shapes.append(Box(left + cell * column, top + _HEIGHT * row, cell, _HEIGHT, stroke=INK, stroke_width=2))


def _key_entries(panels: Sequence[Panel], muted_label: str, marked_label: str) -> list[tuple[str, str]]:
    """Return what the key explains beside the colours: kind and text."""
    entries = []
    if marked_label and any(panel.marked is not None and np.any(panel.marked) for panel in panels):
        entries.append(("marked", marked_label))
    if muted_label and any(panel.muted is not None and np.any(panel.muted) for panel in panels):
        entries.append(("muted", f"pale: {muted_label}"))
    if any(np.isnan(np.asarray(panel.values, dtype=np.float64)).any() for panel in panels):
        entries.append(("empty", "n/a: not measured"))
    return entries


def _draw_key(
    shapes: list[Box | Line | Words],
    y: float,
    scale: _Scale,
    unit: str,
    digits: int,
    values: Floats,
    entries: list[tuple[str, str]],
) -> tuple[float, float]:
    """Draw the colour bar and the key; return the place below and the right end."""
    x, length, steps = float(_MARGIN), 240, 120
    for step in range(steps):
        value = scale.low + (scale.high - scale.low) * (step + 0.5) / steps
        shapes.append(Box(x + length * step / steps, y, length / steps, 12, scale.colour(value)))
    shapes.append(Box(x, y, length, 12, stroke=RULE))
    middle = (scale.low + scale.high) / 2
    found = values[~np.isnan(values)]
    for place, value in ((0.0, scale.low), (0.5, middle), (1.0, scale.high)):
        text = number_text(value, max(digits, 0 if float(value).is_integer() else 1), signed=scale.diverging)
        # What is beyond the scale has the colour of its end.
        if place == 1 and (found > scale.high).any():
            text += " or more"
        if place == 0 and (found < scale.low).any():
            text += " or less"
        shapes.append(Line(x + length * place, y + 12, x + length * place, y + 16, GREY))
        shapes.append(Words(x + length * place, y + 28, text, _NOTE, INK, ("start", "middle", "end")[round(2 * place)]))
    shapes.append(Words(x + length + 14, y + 11, unit, _NAME))
    right = x + length + 14 + text_width(unit, _NAME)
    at = x + length + 14
    for kind, text in entries:
        if kind == "marked":
            shapes.append(Box(at, y + 18, 14, 12, "#ffffff", INK, 2))
        elif kind == "muted":
            shapes.append(Box(at, y + 18, 14, 12, (scale.colour(scale.high, True)), RULE, 0.5))
        else:
            shapes.append(Box(at, y + 18, 14, 12, "#ffffff", RULE, 0.5))
        shapes.append(Words(at + 19, y + 28, text, _NOTE, GREY))
        at += 19 + text_width(text, _NOTE) + 16
    return y + 36, max(right, at)


def _draw_caption(shapes: list[Box | Line | Words], y: float, right: float, caption: str) -> float:
    """Draw the caption in lines as wide as the figure; return the place below."""
    if not caption.strip():
        return y
    for line in wrap(caption, _CAPTION, min(right - _MARGIN, 1100)):
        y += 17
        shapes.append(Words(_MARGIN, y, line, _CAPTION, GREY))
    return y + 6


def _describe(panels: Sequence[Panel], unit: str, caption: str) -> str:
    """Return the description for screen readers: each panel's size, and its highest and lowest cell."""
    parts = []
    for panel in panels:
        values = np.asarray(panel.values, dtype=np.float64)
        text = f"{panel.title}: {values.shape[0]} rows by {values.shape[1]} columns"
        if not np.isnan(values).all():
            for word, place in (("highest", np.nanargmax(values)), ("lowest", np.nanargmin(values))):
                row, column = divmod(int(place), values.shape[1])
                text += f"; {word} {values[row, column]:.3g} at {panel.rows[row]}, {panel.columns[column]}"
        parts.append(text + ".")
    return " ".join([f"Heat map, {unit}.", *parts, caption]).strip()


# Intervals


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers within an axis."""
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    return [float(step * number) for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _axis(values: list[float], limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is not None:
        if not (np.isfinite(limits).all() and limits[0] < limits[1]):
            raise SettingError(f"limits {limits[0]:g} to {limits[1]:g}: expected low < high")
        return limits
    finite = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def interval_plot(
    rows: Sequence[tuple[str, Interval]],
    *,
    title: str,
    unit: str,
    caption: str,
    limits: tuple[float, float] | None = None,
    reference: float | None = None,
    margin: float | None = None,
    digits: int = 2,
) -> Drawing:
    """Return a plot of named intervals, one a line, to be written as SVG or PNG.

    ``limits``: of the axis; without them those of the data. ``reference``: a vertical line, such as 0 or 0.5.
    ``margin``: an equivalence margin, shaded on both sides of the reference. Undefined intervals show "n/a".
    Raises SettingError for no rows or limits that cannot be used.
    """
    if not rows:
        raise SettingError("figure: no rows, expected at least one interval")
    values = [value for _, each in rows for value in (each.estimate, each.low, each.high)]
    values += [] if reference is None else [reference]
    if margin is not None:
        values += [(reference or 0.0) - margin, (reference or 0.0) + margin]
    low, high = _axis(values, limits)
    side = min(widest([name for name, _ in rows], _NAME) + 14, 260)
    length, height, left, top = 420.0, 24, _MARGIN + side, _MARGIN + 34
    bottom = top + height * len(rows)
    texts = [_interval_text(each, digits) for _, each in rows]
    right = left + length + 16 + widest(texts, _NAME)
    drawing = Drawing(0, 0, title, "")
    shapes = drawing.shapes

    def across(value: float) -> float:
        return left + length * (min(max(value, low), high) - low) / (high - low)

    shapes.append(Words(_MARGIN, _MARGIN + 14, title, _TITLE))
    if margin is not None:
        ends = across((reference or 0.0) - margin), across((reference or 0.0) + margin)
        shapes.append(Box(ends[0], top, ends[1] - ends[0], bottom - top, "#eef1f5"))
    ticks = _ticks(low, high)
    decimals = 0
    while decimals < 6 and any(abs(round(tick, decimals) - tick) > 1e-9 for tick in ticks):
        decimals += 1
    for tick in ticks:
        shapes.append(Line(across(tick), top, across(tick), bottom, "#e3e7ec"))
        shapes.append(Words(across(tick), bottom + 16, number_text(tick, decimals, signed=False), _NOTE, INK, "middle"))
    if reference is not None and low <= reference <= high:
        shapes.append(Line(across(reference), top, across(reference), bottom, GREY, 1.5))
    shapes.append(Line(left, bottom, left + length, bottom, GREY))
    for number, ((name, each), text) in enumerate(zip(rows, texts, strict=True)):
        y = top + height * (number + 0.5)
        shapes.append(Words(left - 10, y + 4, wrap(name, _NAME, side - 14, 1)[0], _NAME, INK, "end"))
        shapes.append(Words(left + length + 16, y + 4, text, _NAME))
        if np.isfinite([each.estimate, each.low, each.high]).all() and each.high >= low and each.low <= high:
            shapes.append(Line(across(each.low), y, across(each.high), y, "#3074ba", 2))
            for end in (each.low, each.high):
                if low <= end <= high:  # an end beyond the axis has no cap
                    shapes.append(Line(across(end), y - 4, across(end), y + 4, "#3074ba", 1.5))
        if np.isfinite(each.estimate) and low <= each.estimate <= high:
            label = f"{name}: {text}"
            shapes.append(Box(across(each.estimate) - 4, y - 4, 8, 8, "#08306b", title=label))
    shapes.append(Words(left + length / 2, bottom + 34, unit, _NAME, GREY, "middle"))
    y = _draw_caption(shapes, bottom + 42, max(right, 420.0), caption)
    drawing.width, drawing.height = int(np.ceil(max(right, 420.0))) + _MARGIN, int(np.ceil(y)) + _MARGIN - 6
    listed = "; ".join(f"{name}: {text}" for (name, _), text in zip(rows, texts, strict=True))
    drawing.description = f"Intervals, {unit}. {listed}. {caption}".strip()
    return drawing


def _interval_text(interval: Interval, digits: int) -> str:
    numbers = (interval.estimate, interval.low, interval.high)
    if np.isnan(interval.estimate):
        return "n/a"
    estimate, low, high = (number_text(value, digits, signed=False) for value in numbers)
    return estimate if np.isnan(interval.low) or np.isnan(interval.high) else f"{estimate} ({low} to {high})"
