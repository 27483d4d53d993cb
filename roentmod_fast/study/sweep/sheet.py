"""The contact sheet of a sweep: all cells with their settings, marked as synthetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod_fast.radiograph.dicom.marks import WARNING
from roentmod_fast.radiograph.letterbox import resample
from roentmod_fast.study.sweep.plan import SweepPlan

Array = NDArray[np.float32]

CELL = 256
"""Longest side of a cell's image in pixels, less where the sheet would be larger than :data:`MOST_PIXELS`."""

MOST_PIXELS = 100_000_000

_GAP = 6
_PAPER, _INK, _FAINT, _MARK = (24, 24, 24), (235, 235, 235), (160, 160, 160), (255, 190, 60)


def contact_sheet(
    plan: SweepPlan, source: Array, images: Mapping[int, Array], captions: Mapping[int, str]
) -> Image.Image:
    """Draw all cells: RGB. ``images``: by number of the run, all of the shape of ``source``, float32 in [0, 1].

    ``captions``: words on each, by number of the run.
    """
    rows, columns = len(plan.rows), len(plan.columns)
    side = max(32, min(CELL, int((MOST_PIXELS / (rows * columns)) ** 0.5) - _GAP))
    scale = side / max(source.shape)
    height, width = (max(1, round(length * scale)) for length in source.shape)
    font, small = ImageFont.load_default(size=16), ImageFont.load_default(size=12)
    line = 16
    left = _GAP * 2 + max([width, *(int(font.getlength(name)) for name in plan.rows)])
    top = height + 4 * _GAP + 2 * line
    cell_width = max([width, *(int(font.getlength(name)) for name in plan.columns)]) + _GAP
    cell_height = height + line + _GAP
    title = f"{plan.row_axis} down, {plan.column_axis} across" if plan.row_axis else f"{plan.column_axis} across"
    prompts = " / ".join(" ".join(text.split()) for text in plan.axes.prompt)
    wide = max(left + columns * cell_width, left + int(font.getlength(WARNING)) + 2 * _GAP)
    page = Image.new("RGB", (wide + _GAP, top + rows * cell_height + _GAP), _PAPER)
    draw = ImageDraw.Draw(page)
    page.paste(_grey(source, (height, width)), (_GAP, _GAP))
    draw.text((_GAP, height + _GAP + 2), "source", font=small, fill=_INK)
    for number, (text, ink) in enumerate(
        [
            (prompts, _INK),
            (WARNING, _MARK),
            (title, _INK),
            ("below each cell: steps that run, mean change in grey levels of 255", _FAINT),
            (_fixed(plan), _FAINT),
        ]
    ):
        draw.text((left, _GAP + number * 22), _fitted(text, font, wide - left), font=font, fill=ink)
    for column, name in enumerate(plan.columns):
        draw.text((left + column * cell_width, top - line - _GAP), name, font=font, fill=_INK)
    for row, name in enumerate(plan.rows):
        draw.text((_GAP, top + row * cell_height + height // 2), name, font=font, fill=_INK)
    for cell in plan.cells:
        x, y = left + cell.column * cell_width, top + cell.row * cell_height
        page.paste(_grey(images[cell.image_of], (height, width)), (x, y))
        words = f"{cell.evaluated_steps} steps, {captions[cell.image_of]}"
        ink = _FAINT
        if cell.same_as is not None:
            words, ink = f"{words}, = {plan.cells[cell.same_as].place}", _MARK
            draw.rectangle((x, y, x + width - 1, y + height - 1), outline=_MARK)
        draw.text((x, y + height + 1), _fitted(words, small, cell_width), font=small, fill=ink)
    return page


def _fixed(plan: SweepPlan) -> str:
    """Return what is fixed in all cells, in words."""
    axes = plan.axes
    fixed = []
    for name in ("strength", "guidance", "steps", "solver", "seed", "compose"):
        values = getattr(axes, name)
        if len(values) == 1 and values[0] is not None:
            fixed.append(f"{name} {values[0]:.4g}" if isinstance(values[0], float) else f"{name} {values[0]}")
    return ", ".join(fixed)


def _grey(image: Array, shape: tuple[int, int]) -> Image.Image:
    small = resample(image, shape, Image.Resampling.BICUBIC)
    return Image.fromarray(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
