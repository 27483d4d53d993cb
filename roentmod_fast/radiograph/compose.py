"""Put an edit back into the radiograph it was made of, at the radiograph's own size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.radiograph.letterbox import Letterbox

Array = NDArray[np.float32]
Mode = Literal["delta", "contrast", "replace"]

HALF_LEVEL = 0.5 / 255
"""Half a grey level of 8 bit: a smaller change is none, so that untouched pixels stay bit for bit."""

STRIP = 32
"""Rows that are compared at once."""


def compose(
    source: Array,
    decoded: Array,
    reference: Array | None,
    letterbox: Letterbox,
    mode: str,
    mask: Array | None = None,
) -> Array:
    """Return the edited radiograph at the source's size: float32 (H, W) in [0, 1].

    ``source``: float32 (H, W) in [0, 1]. ``decoded``: the engine's picture of the edit, float32 (S, S) in [0, 1], and
    ``reference`` that of what the edit is compared with: the decoded source for ``delta``, the decoded edit of the
    empty prompt for ``contrast``, None for ``replace``. ``letterbox``: where the source lies in the square. ``mask``:
    float32 (H, W) in [0, 1], how much of the edit each pixel takes; where it is 0 the source stays exactly.

    ``replace`` gives the decoded picture itself, its padding cut off. ``delta`` and ``contrast`` add
    ``decoded - reference`` to the source, which keeps the source's resolution and depth; a change below half a grey
    level of 8 bit is left out.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"compose {mode!r}: expected one of {', '.join(get_args(Mode))}")
    if (reference is None) != (mode == "replace"):
        raise ValueError(f"compose {mode}: {'no' if mode == 'replace' else 'a'} reference is expected")
    if mask is not None and mask.shape != source.shape:
        raise ValueError(f"mask of shape {mask.shape}, expected {source.shape}")
    if reference is None:
        change = np.clip(letterbox.invert(decoded), 0, 1) - source
    else:
        change = letterbox.invert_smooth(decoded - reference)
    if mask is not None:
        change = change * np.clip(mask, 0, 1)
    if reference is not None:
        change = np.where(np.abs(change) < HALF_LEVEL, np.float32(0), change)
    edited = np.clip(source + change, 0, 1)
    return np.asarray(np.where(change == 0, source, edited), dtype=np.float32)


@dataclass(frozen=True)
class ChangeStatistics:
    """How far an edit is from its source.

    ``psnr_db``: peak signal to noise ratio in dB for a peak of 1, None where nothing changed. ``ssim``: mean structural
    similarity in [-1, 1]. ``share_changed``: share of pixels that changed by at least half a grey level of 8 bit.
    """

    psnr_db: float | None
    ssim: float
    share_changed: float


def change_statistics(before: Array, after: Array) -> ChangeStatistics:
    """Compare two pictures, float32 (H, W) in [0, 1] both."""
    if before.shape != after.shape:
        raise ValueError(f"pictures of shape {before.shape} and {after.shape} cannot be compared")
    squares = changed = 0.0
    for rows in _strips(before.shape[0]):
        difference = np.subtract(after[rows], before[rows], dtype=np.float64)
        squares += float(np.vdot(difference, difference))
        changed += int(np.count_nonzero(np.abs(difference) >= HALF_LEVEL))
    error = squares / before.size
    return ChangeStatistics(
        psnr_db=None if error == 0 else -10 * float(np.log10(error)),
        ssim=1.0 if error == 0 else _ssim(before, after),
        share_changed=changed / before.size,
    )


def _strips(length: int, more: int = 0) -> Iterator[slice]:
    """Cut ``length`` rows into strips whose arrays stay in the processor's cache, each ``more`` rows longer."""
    for start in range(0, length, STRIP):
        yield slice(start, min(start + STRIP, length) + more)


def _ssim(x: Array, y: Array, window: int = 7) -> float:
    """Return the mean structural similarity (Wang et al. 2004) over uniform windows of 7 x 7, as scikit-image does."""
    window = min(window, *x.shape)
    unbiased = np.float32(window**2 / max(window**2 - 1, 1))
    half, c1, c2 = (np.float32(value) for value in (0.5, 0.01**2, 0.03**2))
    rows, columns = (length - window + 1 for length in x.shape)
    total = 0.0
    for strip in _strips(rows, window - 1):
        # Around the middle of the range single precision is enough for variances.
        a, b = x[strip] - half, y[strip] - half
        mean_a, mean_b, both, product = (_box_mean(part, window) for part in (a, b, a * a + b * b, a * b))
        variances = (both - mean_a * mean_a - mean_b * mean_b) * unbiased
        covariance = (product - mean_a * mean_b) * unbiased
        mean_a, mean_b = mean_a + half, mean_b + half
        top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        total += float(np.sum(top / ((mean_a * mean_a + mean_b * mean_b + c1) * (variances + c2)), dtype=np.float64))
    return float(total / (rows * columns))


def _box_mean(values: Array, window: int) -> Array:
    """Return the mean of each window that lies inside the picture."""
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
