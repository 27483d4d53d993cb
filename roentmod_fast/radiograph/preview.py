"""Show an edit to a person: before, after and their difference side by side."""

from __future__ import annotations

import math
import os
from bisect import bisect
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod_fast.atomic import write_atomically
from roentmod_fast.radiograph.dicom.marks import WARNING
from roentmod_fast.radiograph.letterbox import resample
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.raster import png_bytes

Array = NDArray[np.float32]

PANEL = 640
"""Longest side of one panel in pixels."""

_MARGIN = 12
_INK = (235, 235, 235)
_WARNING_INK = (255, 190, 60)
_PAPER = (24, 24, 24)


def write_preview(
    path: str | os.PathLike[str],
    before: Array,
    after: Array,
    title: str,
    *,
    aspect: float = 1.0,
    provenance: Provenance | None = None,
    overwrite: bool = False,
) -> None:
    """Write a PNG with ``before``, ``after`` and their difference, the title and the word SYNTHETIC.

    ``before`` and ``after``: float32 (H, W) in [0, 1]. ``aspect``: height of their pixels over their width; the preview
    has square pixels and shows the patient's proportions. In the difference red is denser, blue is less dense; its
    scale is written below it. Raises OutputError.
    """
    write_atomically(
        Path(path), png_bytes(preview(before, after, title, aspect=aspect), provenance), overwrite=overwrite
    )


def preview(before: Array, after: Array, title: str, *, aspect: float = 1.0) -> Image.Image:
    """Draw the three panels; see :func:`write_preview`."""
    if not (np.isfinite(aspect) and aspect > 0):
        raise ValueError(f"pixels {aspect} times as high as wide: expected a number above 0")
    if before.shape != after.shape:
        raise ValueError(f"images of shape {before.shape} and {after.shape} cannot be compared")
    height, width = before.shape[0] * aspect, before.shape[1]
    scale = PANEL / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    small_before, small_after = (resample(image, shape, Image.Resampling.BICUBIC) for image in (before, after))
    difference = small_after - small_before
    span = max(0.1, float(np.ceil(np.percentile(np.abs(difference), 99.9) * 20) / 20))
    panels = [
        (_grey(small_before), "before"),
        (_grey(small_after), "after  (SYNTHETIC)"),
        (_diverging(difference / span), f"difference: red denser, blue less dense, full colour at {span:.2f}"),
    ]

    large, small = ImageFont.load_default(size=22), ImageFont.load_default(size=16)
    top = _MARGIN * 2 + 26 + 22
    width = _MARGIN + sum(max(panel.width, 200) + _MARGIN for panel, _ in panels)
    page = Image.new("RGB", (width, top + shape[0] + 34), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), _fitted(title, large, width - 2 * _MARGIN), font=large, fill=_INK)
    draw.text((_MARGIN, _MARGIN + 30), WARNING, font=small, fill=_WARNING_INK)
    left = _MARGIN
    for panel, caption in panels:
        room = max(panel.width, 200)
        page.paste(panel, (left, top))
        draw.text((left, top + shape[0] + 8), _fitted(caption, small, room), font=small, fill=_INK)
        left += room + _MARGIN
    return page


def _grey(image: Array) -> Image.Image:
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.repeat(levels[..., None], 3, axis=2))


def _diverging(values: Array) -> Image.Image:
    """Colour -1 blue, 0 white, 1 red."""
    t = np.clip(values, -1, 1)[..., None]
    white, red, blue = (
        np.array(colour, dtype=np.float32) for colour in ((247, 247, 247), (178, 24, 43), (33, 102, 172))
    )
    colour = white + np.maximum(t, 0) * (red - white) + np.maximum(-t, 0) * (blue - white)
    return Image.fromarray(np.rint(colour).astype(np.uint8))


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return one line of text that fits into ``width`` pixels, cut short where it does not."""
    text = " ".join(text.split())[:2000]
    if font.getlength(text) <= width:
        return text
    fits = bisect(range(1, len(text) + 1), width, key=lambda length: math.ceil(font.getlength(text[:length] + "...")))
    return text[:fits] + "..."
