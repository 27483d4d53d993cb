"""Whether there is a radiograph in the pixels at all: images of a few pixels, and blank ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.radiograph.doubts import Doubt

SMALLEST = 16
"""Pixels of the shorter side below which an image is refused: of a chest 40 cm wide a pixel shows more than 25 mm, the
distance from one rib to the next."""

SMALL = 64
"""Pixels of the shorter side below which a note is given: a pixel shows more than 6 mm, half the width of a rib, so
that an engine's image of 256 pixels or more is made up for the most part."""

SHARE = 0.97
"""Share of the pixels that makes an image blank where they are all alike. Of a chest, collimated and on a black
background, far more than 3 % is body; a side marker or a line of text on an empty image is less."""


def content_of(
    image: NDArray[np.float32], stored: NDArray[np.integer[Any]], padding: tuple[int, int] | None = None
) -> tuple[list[Doubt], list[str]]:
    """Return doubts and notes on pixels that hold no radiograph.

    ``image``: float32 in [0, 1], as shown. ``stored``: the stored values, of the same number of pixels. ``padding``:
    range of stored values that are no pixels (PS3.3 C.7.5.1.1.2). Blank is an image of which :data:`SHARE` shows one
    grey level of 8 bits and its neighbour, or has one stored value and its neighbour: noise, however the window spreads
    it.
    """
    rows, columns = image.shape
    if min(rows, columns) < SMALLEST:
        reason = f"{rows} x {columns} pixels: too few for a radiograph, expected {SMALLEST} or more on each side"
        return [Doubt("content", reason)], []
    levels = np.rint(image * np.float32(255)).astype(np.uint8)
    lowest = int(stored.min())
    counts = np.bincount((stored - lowest).ravel())
    if padding is not None:
        counts[max(padding[0] - lowest, 0) : max(padding[1] - lowest + 1, 0)] = 0
    if _common_share(counts) >= SHARE or _common_share(np.bincount(levels.ravel())) >= SHARE:
        reason = f"blank: at least {SHARE:.0%} of the pixels are alike, expected a radiograph"
        return [Doubt("content", reason)], []
    if min(rows, columns) < SMALL:
        return [], [f"{rows} x {columns} pixels: a thumbnail, fine detail of the edit is not the patient's"]
    return [], []


def _common_share(counts: NDArray[np.int64]) -> float:
    """Return the largest share that two neighbouring entries of a histogram hold; 1 where it is empty."""
    total = int(counts.sum())
    if not total:
        return 1.0
    pairs = counts[:-1] + counts[1:] if len(counts) > 1 else counts
    return float(pairs.max()) / total
