"""Grey radiographs stored as colour: red, green and blue equal, or nearly so after lossy compression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
