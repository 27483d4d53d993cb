"""Measure how far an edit is from its source: PSNR, SSIM and the share of pixels that changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.radiograph.filters import box_mean

Array = NDArray[np.float32]

HALF_LEVEL = 0.5 / 255
"""Half a grey level of 8 bit: a smaller change counts as none, so unchanged pixels keep their value bit for bit."""

_STRIP = 32
"""Rows that are compared at once."""


@dataclass(frozen=True)
class ChangeStatistics:
    """Difference between an edit and its source.

    ``psnr_db``: peak signal to noise ratio in dB for a peak of 1, None where nothing changed. ``ssim``: mean structural
    similarity in [-1, 1]. ``share_changed``: share of pixels that changed by at least half a grey level of 8 bit.
    """

    psnr_db: float | None
    ssim: float
    share_changed: float


def change_statistics(before: Array, after: Array) -> ChangeStatistics:
    """Compare two images, float32 (H, W) in [0, 1] both. Raises ValueError where their shapes differ."""
    if before.shape != after.shape:
        raise ValueError(f"images of shape {before.shape} and {after.shape} cannot be compared")
    squares = changed = 0.0
    for rows in _strips(before.shape[0]):
        difference = np.subtract(after[rows], before[rows], dtype=np.float64)
        squares += float(np.vdot(difference, difference))
        changed += int(np.count_nonzero(np.abs(difference) >= HALF_LEVEL))
    error = squares / before.size
    return ChangeStatistics(
        psnr_db=None if error == 0 else -10 * float(np.log10(error)),
        ssim=1.0 if error == 0 else ssim(before, after),
        share_changed=changed / before.size,
    )


def share_changed(before: Array, after: Array) -> float:
    """Return the share of pixels that changed, alone and so quickly; see :class:`ChangeStatistics`."""
    strips = _strips(before.shape[0])
    changed = (np.abs(np.subtract(after[rows], before[rows], dtype=np.float64)) >= HALF_LEVEL for rows in strips)
    return sum(int(np.count_nonzero(each)) for each in changed) / before.size


def _strips(length: int, more: int = 0) -> Iterator[slice]:
    """Cut ``length`` rows into strips whose arrays stay in the CPU's cache, each ``more`` rows longer."""
    for start in range(0, length, _STRIP):
        yield slice(start, min(start + _STRIP, length) + more)


def ssim(x: Array, y: Array, window: int = 7) -> float:
    """Return the mean structural similarity over uniform windows (Wang et al. 2004), as scikit-image computes it.

    ``x`` and ``y``: float32 (H, W) in [0, 1]. ``window``: its side in pixels, at most that of the image.
    """
    window = min(window, *x.shape)
    unbiased = np.float32(window**2 / max(window**2 - 1, 1))
    half, c1, c2 = (np.float32(value) for value in (0.5, 0.01**2, 0.03**2))
    rows, columns = (length - window + 1 for length in x.shape)
    total = 0.0
    for strip in _strips(rows, window - 1):
        # Around the middle of the range single precision is enough for variances.
        a, b = x[strip] - half, y[strip] - half
        mean_a, mean_b, both, product = (box_mean(part, window) for part in (a, b, a * a + b * b, a * b))
        variances = (both - mean_a * mean_a - mean_b * mean_b) * unbiased
        covariance = (product - mean_a * mean_b) * unbiased
        mean_a, mean_b = mean_a + half, mean_b + half
        top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        total += float(np.sum(top / ((mean_a * mean_a + mean_b * mean_b + c1) * (variances + c2)), dtype=np.float64))
    return float(total / (rows * columns))
