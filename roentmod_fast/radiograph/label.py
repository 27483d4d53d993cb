"""Burn the word SYNTHETIC into a corner of an image, for displays that show no header."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Array = NDArray[np.float32]

TEXT = "SYNTHETIC"


def burn_label(image: Array) -> Array:
    """Return a copy of an image with :data:`TEXT` in white on black in its lower left corner.

    ``image``: float32 (H, W) in [0, 1]; so is the result. Call :func:`~.dicom.write.write_dicom` with
    ``labelled=True``.
    """
    letters = _letters(*image.shape)
    result = np.array(image, dtype=np.float32)
    result[image.shape[0] - letters.shape[0] :, : letters.shape[1]] = letters
    return result


def label_mask(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where the label stands in an image of ``shape`` (H, W): bool (H, W)."""
    return ~np.isnan(burn_label(np.full(shape, np.nan, dtype=np.float32)))


def _letters(rows: int, columns: int) -> Array:
    """Return the label for an image of that size: float32 in [0, 1]."""
    size = max(8, round(min(rows, columns * 0.8) * 0.035))
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = font.getbbox(TEXT)
    margin = max(2, size // 4)
    plate = Image.new("L", (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin), 0)
    ImageDraw.Draw(plate).text((margin - left, margin - top), TEXT, font=font, fill=255)
    return np.asarray(plate, dtype=np.float32)[:rows, :columns] / np.float32(255)
