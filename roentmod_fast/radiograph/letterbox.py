"""Bring an image of any shape to an engine's square, and back to where it came from.

The image is scaled to fit, its longer side filling the square, and centred on black. Its place is a box of whole
pixels, so that way and way back map the same edges onto each other: no half-pixel shift, no black mixed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Letterbox:
    """Where an image of ``shape`` (H, W) lies in a square of ``size``: ``height`` rows from ``top`` on, and so on."""

    shape: tuple[int, int]
    size: int
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def fit(cls, shape: tuple[int, int], size: int, aspect: float = 1.0) -> Letterbox:
        """Fit an image of ``shape`` (H, W), its pixels ``aspect`` times as high as wide, into a square of ``size``."""
        rows, columns = shape
        if rows < 1 or columns < 1 or size < 1 or not aspect > 0:
            raise ValueError(f"cannot fit an image of {rows} x {columns}, aspect {aspect}, into {size} x {size}")
        scale = size / max(rows * aspect, columns)
        height = min(size, max(1, round(rows * aspect * scale)))
        width = min(size, max(1, round(columns * scale)))
        return cls((rows, columns), size, (size - height) // 2, (size - width) // 2, height, width)

    def apply(self, image: Array) -> Array:
        """Return the image in its square: float32 (size, size), black around, antialiased where it shrinks.

        ``image``: float32 (H, W) in [0, 1]; so is the result.
        """
        self._check(image, self.shape)
        square = np.zeros((self.size, self.size), dtype=np.float32)
        inside = resample(image, (self.height, self.width), Image.Resampling.BICUBIC)
        self.crop(square)[:] = np.clip(inside, 0, 1)
        return square

    def invert(self, square: Array) -> Array:
        """Return a square's image at its own shape: float32 (H, W), the padding cut off, bicubic.

        ``square``: float32 (size, size). Values may overshoot a little at edges: clip them if they must stay in [0, 1].
        """
        return resample(self.crop(square), self.shape, Image.Resampling.BICUBIC)

    def invert_smooth(self, square: Array) -> Array:
        """Return a square's image at its own shape, never beyond its neighbours' values: for differences.

        float32 (size, size) to (H, W). The cubic B-spline is smooth to the second derivative and nowhere negative, so a
        difference brought to native size shows no ringing at edges and no seams between the square's pixels.
        """
        inside = self.crop(square)
        down, across = _spline(self.shape[0], self.height), _spline(self.shape[1], self.width)
        return np.asarray(down @ inside @ across.T, dtype=np.float32)

    def crop(self, square: Array) -> Array:
        """Return the part of the square that holds the image, float32 (height, width), a view."""
        self._check(square, (self.size, self.size))
        return square[self.top : self.top + self.height, self.left : self.left + self.width]

    @staticmethod
    def _check(image: Array, shape: tuple[int, int]) -> None:
        if image.shape != shape:
            raise ValueError(f"image of shape {image.shape}, expected {shape}")


def resample(image: Array, shape: tuple[int, int], method: Image.Resampling) -> Array:
    """Resample float32 (H, W) to ``shape``, antialiased where it shrinks; the outer edges stay the outer edges."""
    if image.shape == shape:
        return np.array(image, dtype=np.float32)
    source = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.array(source.resize((shape[1], shape[0]), method), dtype=np.float32)


@lru_cache(maxsize=4)  # the radiographs of a study are of one size
def _spline(new: int, old: int) -> Array:
    """Return the (new, old) matrix that resamples by the cubic B-spline, widened where the image shrinks."""
    scale = old / new
    wide = max(scale, 1.0)
    reach = math.ceil(2 * wide)
    centre = (np.arange(new, dtype=np.float64) + 0.5) * scale - 0.5
    column = np.floor(centre).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    distance = np.abs(centre[:, None] - column) / wide
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - np.minimum(distance, 2)) ** 3 / 6
    weight = np.where(distance < 1, near, far) * ((column >= 0) & (column < old))
    padded = np.zeros((new, old + 2 * reach + 1), dtype=np.float32)
    np.put_along_axis(padded, column + reach, weight / weight.sum(axis=1, keepdims=True), axis=1)
    matrix = np.ascontiguousarray(padded[:, reach : reach + old])
    matrix.flags.writeable = False
    return matrix
