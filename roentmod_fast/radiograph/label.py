"""Burn the word SYNTHETIC into a corner of a picture, for displays that show no header."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Array = NDArray[np.float32]

TEXT = "SYNTHETIC"


def burn_label(image: Array, text: str = TEXT) -> Array:
    """Return a copy of a picture with ``text`` in white on black in its lower left corner.

    ``image``: float32 (H, W) in [0, 1]; so is the result. Tell :func:`~.dicom_write.write_dicom` that it is
    ``labelled``.
    """
    rows, columns = image.shape
    size = max(8, round(min(rows, columns * 0.8) * 0.035))
    font = ImageFont.load_default(size=size)
    left, top, right, bottom = font.getbbox(text)
    margin = max(2, size // 4)
    plate = Image.new("L", (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin), 0)
    ImageDraw.Draw(plate).text((margin - left, margin - top), text, font=font, fill=255)
    letters = np.asarray(plate, dtype=np.float32)[:rows, :columns] / np.float32(255)
    result = np.array(image, dtype=np.float32)
    result[rows - letters.shape[0] :, : letters.shape[1]] = letters
    return result
