"""Filters over square windows: extremes and means, with the time for a pixel independent of the window's area."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def window_extreme(values: NDArray[Any], size: int, extreme: np.ufunc) -> NDArray[Any]:
    """Return the extreme of the square window around each pixel: (H, W), the data type of ``values``.

    ``size``: side of the window in pixels, odd. ``extreme``: ``np.minimum`` (erosion), ``np.maximum`` (dilation), or
    ``np.logical_and`` and ``np.logical_or`` for a mask. Beyond the border the outermost pixels are repeated.
    """
    for _ in range(2):
        half = size // 2
        window = np.pad(values, ((half, half), (0, 0)), mode="edge")
        # Windows of 1, 2, 4 ... pixels, each from two of the one before.
        reach = 1
        while reach < size:
            step = min(reach, size - reach)
            window = extreme(window[:-step], window[step:])
            reach += step
        values = window.T
    return values


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the mean of the square window around each pixel, float64 (H, W).

    ``window``: its side in pixels, odd. Beyond the border the outermost pixels are repeated.
    """
    half = window // 2
    for _ in range(2):
        padded = np.pad(values, ((half + 1, half), (0, 0)), mode="edge")
        total = np.cumsum(padded, axis=0)
        values = ((total[window:] - total[:-window]) / window).T
    return values


def box_mean(values: Array, window: int) -> Array:
    """Return the mean of each window of ``window`` x ``window`` pixels that lies inside the image, float32."""
    share = np.float32(1 / window**2)
    return np.asarray(_box_sum(_box_sum(values, window, 0), window, 1) * share, dtype=np.float32)


def _box_sum(values: Array, window: int, axis: int) -> Array:
    """Add up ``window`` neighbours along ``axis``, by sums of 1, 2, 4 ... of them: four additions for seven."""

    def part(sums: Array, start: int, stop: int) -> Array:
        return sums[start:stop] if axis == 0 else sums[:, start:stop]

    count = values.shape[axis] - window + 1
    sums, size, start, total = values, 1, 0, None
    while True:
        if window & size:
            found = part(sums, start, start + count)
            total = found if total is None else total + found
            start += size
        if 2 * size > window:
            return np.asarray(total, dtype=np.float32)
        length = sums.shape[axis]
        sums, size = part(sums, 0, length - size) + part(sums, size, length), 2 * size
