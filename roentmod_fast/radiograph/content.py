"""Whether pixels hold a grey radiograph at all: images of a few pixels, blank ones, and grey stored as colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


GRID = 16
"""Fields along each side of the coarse image that is looked at for a negative."""

NEGATIVE = (0.02, 0.05)
"""By how much of the grey scale the spine is darker than the lungs beside it, and than the film's upper edges, from
which a chest looks inverted. Of 1,026 frontal films of NIH ChestX-ray14 and Hannover none was taken for a negative,
and 92 % of their negatives were."""


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
    if looks_inverted(image):
        return [], ["looks like a negative, its bones dark and its lungs bright: the edit takes it as it is"]
    return [], []


def looks_inverted(image: NDArray[np.float32]) -> bool:
    """Say whether a frontal chest is shown as a negative: its spine darker than the lungs and than the upper edges.

    ``image``: float32 (H, W) in [0, 1], at least :data:`SMALLEST` pixels a side.
    """
    grid = np.asarray(Image.fromarray(image).resize((GRID, GRID), Image.Resampling.BOX))
    edges = np.concatenate([grid[:5, 0], grid[:5, -1], grid[0, :4], grid[0, -4:]]).mean()
    spine = grid[4:10, 7:9].mean()
    lungs = np.concatenate([grid[4:10, 3:6], grid[4:10, 10:13]]).mean()
    return bool(lungs - spine > NEGATIVE[0] and edges - spine > NEGATIVE[1])


def _common_share(counts: NDArray[np.int64]) -> float:
    """Return the largest share that two neighbouring entries of a histogram hold; 1 where it is empty."""
    total = int(counts.sum())
    if not total:
        return 1.0
    pairs = counts[:-1] + counts[1:] if len(counts) > 1 else counts
    return float(pairs.max()) / total


LOSSLESS, LOSSY_COLOUR = (0, 0), (6, 32)
"""How far the channels of a grey image may differ, in levels of 8 bit: 999 pixels in a thousand, and any pixel.

JPEG rounds colours on the way to RGB and back, and images that an engine made have a little colour noise.
"""


def grey_of(
    channels: NDArray[np.integer[Any]], tolerance: tuple[int, int], bits: int = 8
) -> tuple[NDArray[np.int32], int] | None:
    """Return grey values, int32 (H, W), and by how many levels the channels differ at most; None for colour.

    ``channels``: unsigned (H, W, 3), red, green and blue of ``bits`` bits. Where they differ the luminance of ITU-R
    BT.601 is taken, as Pillow computes it.
    """
    usual, most = (level << max(bits - 8, 0) for level in tolerance)
    spread = channels.max(axis=2).astype(np.int32) - channels.min(axis=2)
    widest = int(spread.max())
    if widest > most or np.percentile(spread, 99.9) > usual:
        return None
    if not widest:
        return channels[..., 0].astype(np.int32), 0
    red, green, blue = (channels[..., channel].astype(np.int64) for channel in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.int32), widest
