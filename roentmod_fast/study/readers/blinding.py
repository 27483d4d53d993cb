"""Bring real and synthetic images to one form, so that nothing but their content tells them apart.

All images take the same way, whatever they are: square pixels, the same detail, one bicubic step to the canvas, noise
against steps between grey levels, one rule for window and tails, 8 bits, a mark, and a PNG without compression and
without any chunk that is not needed. An edit of 256 pixels and a source of 2000, an edit of 8 bits and a source of
12, a clipped edit and a source with headroom come out alike in sharpness, in the levels that they use and in the tails
of their histograms.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.letterbox import Letterbox, resample
from roentmod_fast.radiograph.png import SIGNATURE

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

MARK = "STUDY IMAGE - NOT FOR DIAGNOSIS"
"""What is burned into real and synthetic images alike; it does not tell which is which."""

TAIL = 0.01
"""Share of the pixels at each end of the grey scale that are put on fixed levels by their rank."""

TAIL_LEVELS = 4
"""How many of the 256 levels each tail takes."""

NOISE = np.float32(1 / 255)
"""Standard deviation of the noise: it fills the gaps in the histogram of an image whose levels are two of 255 apart.

The amplitude of a comb of period s is exp(-2 (pi NOISE / s)**2) of what it was: 0.7 % for two levels.
"""

MIN_SIZE = 64
_STEP = np.float32(1 / 255)


def blind(image: Array, size: int, detail: int, rng: np.random.Generator) -> Pixels:
    """Return an image as readers see it: uint8 (size, size).

    ``image``: float32 (H, W) in [0, 1], square pixels, without padding. ``detail``: its longer side before it is
    brought to the canvas, in pixels: what is finer is taken out. ``rng``: noise of this image. Raises SettingError for
    an image of one grey level.
    """
    strip = mark_height(size)
    coarse = quantised(scaled(image, detail))
    if np.ptp(coarse) < 2 * _STEP:
        raise SettingError("an image of one grey level: nothing to read in it")
    box = Letterbox.fit(coarse.shape, size - strip)
    shown = resample(coarse, (box.height, box.width), Image.Resampling.BICUBIC)
    noise = rng.standard_normal(shown.shape, dtype=np.float32)
    canvas = np.zeros((size, size), dtype=np.uint8)
    top, left = strip + box.top, (size - box.width) // 2
    canvas[top : top + box.height, left : left + box.width] = levels(shown + noise * NOISE, rng)
    canvas[:strip] = _mark(size)
    return canvas


def scaled(image: Array, detail: int) -> Array:
    """Return an image whose longer side is at most ``detail``, antialiased, float32 in [0, 1]."""
    rows, columns = image.shape
    scale = detail / max(rows, columns)
    if scale >= 1:
        return np.clip(image, 0, 1)
    shape = max(1, round(rows * scale)), max(1, round(columns * scale))
    return np.clip(resample(image, shape, Image.Resampling.BICUBIC), 0, 1)


def quantised(image: Array) -> Array:
    """Return an image rounded to 256 grey levels, which an edit written with 8 bits has and its source may not."""
    rounded: Array = np.rint(image * np.float32(255)) * _STEP
    return rounded


def levels(image: Array, rng: np.random.Generator) -> Pixels:
    """Return an image in 256 grey levels with the same tails for all images: uint8 (H, W).

    The darkest and the brightest :data:`TAIL` of the pixels, ties broken by chance, are spread over the first and the
    last :data:`TAIL_LEVELS` levels, the same number to each; what is between is windowed from end to end. So headroom
    and what is clipped leave no trace, up to that share; a larger flat area is content.
    """
    flat = image.ravel().astype(np.float64)
    order = np.argsort(flat + rng.random(flat.shape) * 1e-7, kind="stable")
    tail = max(TAIL_LEVELS, round(TAIL * flat.size))
    low, high = flat[order[tail - 1]], flat[order[-tail]]
    result = np.empty(flat.shape, dtype=np.uint8)
    inner = order[tail:-tail]
    count = 256 - 2 * TAIL_LEVELS
    steps = np.floor((flat[inner] - low) / (high - low) * count)
    result[inner] = TAIL_LEVELS + np.clip(steps, 0, count - 1)
    ramp = np.arange(tail) * TAIL_LEVELS // tail
    result[order[:tail]] = ramp
    result[order[-tail:]] = 256 - TAIL_LEVELS + ramp
    return result.reshape(image.shape)


def mark_height(size: int) -> int:
    """Return the rows above the image that hold the mark."""
    return max(10, round(size / 32))


@lru_cache(maxsize=4)
def _mark(size: int) -> Pixels:
    """Return the strip with the mark: uint8 (rows, size)."""
    rows = mark_height(size)
    font = ImageFont.load_default(size=max(6, round(rows * 0.6)))
    plate = Image.new("L", (size, rows), 0)
    drawing = ImageDraw.Draw(plate)
    left, top, right, bottom = drawing.textbbox((0, 0), MARK, font=font)
    drawing.text(((size - right - left) / 2, (rows - bottom - top) / 2), MARK, font=font, fill=160)
    pixels = np.array(plate, dtype=np.uint8)
    pixels.flags.writeable = False
    return pixels


def png(pixels: Pixels) -> bytes:
    """Return uint8 (H, W) as a PNG of its pixels and nothing else, its size the same for all images of one shape.

    Stored blocks instead of compression (RFC 1951, 3.2.4), so that the size does not depend on the content; no
    ancillary chunk. PNG specification, third edition, 11.2.
    """
    rows, columns = pixels.shape
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)  # each line begins with its filter, 0 for none
    lines[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 0)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
