"""Pixels in a page: stored values without loss, small, and decoded by a few lines of JavaScript.

A browser decodes a PNG of 16 bits to 8, so pixels come as numbers of our own: each value is predicted from its
neighbours, the residual is folded to be small and positive, low and high bytes are put apart, and all of it is
compressed by zlib, which browsers undo (``DecompressionStream("deflate")``). Arithmetic is modulo 2**16.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.uint16]

LEFT, GRADIENT, MEDIAN = 1, 2, 3
"""Predictors: the left neighbour; left + above - above left; the median of these and the one above (LOCO-I)."""

ZERO = 1 << 15
"""What stands for 0 in an image of differences."""

_LEVEL = 7
_SAMPLE_ROWS = 192


@dataclass(frozen=True)
class Blob:
    """Encoded pixels: ``text`` in base64, the ``predictor``, and whether they are a ``difference`` from the source."""

    text: str
    predictor: int
    difference: bool = False


def encode(values: Values, *, difference: bool = False, quick: bool = False) -> Blob:
    """Encode uint16 (H, W) by the predictor that suits it best.

    The predictor is chosen on a few rows of the middle, which stand for the rest. ``quick``: by the left neighbour and
    with little compression, in a fraction of the time, for pixels that are not stored.
    """
    if quick:
        return Blob(base64.b64encode(zlib.compress(_planes(values, LEFT), 1)).decode("ascii"), LEFT, difference)
    start = max(0, (values.shape[0] - _SAMPLE_ROWS) // 2)
    sample = values[start : start + _SAMPLE_ROWS]
    best = min((LEFT, GRADIENT, MEDIAN), key=lambda kind: len(zlib.compress(_planes(sample, kind), 1)))
    data = zlib.compress(_planes(values, best), _LEVEL)
    return Blob(base64.b64encode(data).decode("ascii"), best, difference)


def encode_edit(edit: Values, source: Values, *, quick: bool = False) -> Blob:
    """Encode an edit as the difference from its source, uint16 (H, W) both, or by itself where that is smaller.

    An edit that replaces the whole image is smooth where its source is not, so its difference would hold the source's
    noise once more. ``quick``: always the difference, as for :func:`encode`.
    """
    difference = edit - source + np.uint16(ZERO)
    if quick or np.count_nonzero(difference != ZERO) <= difference.size // 2:
        return encode(difference, difference=True, quick=quick)
    candidates = encode(difference, difference=True), encode(edit)
    return min(candidates, key=lambda blob: len(blob.text))


def decode(blob: Blob, shape: tuple[int, int]) -> Values:
    """Decode pixels as the page does, uint16 (H, W); for tests, and not fast."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(blob.text)), np.uint8)
    low, high = data.reshape(2, *shape).astype(np.int64)
    folded = high << 8 | low
    residual = np.where(folded & 1, -(folded + 1 >> 1), folded >> 1)
    rows, columns = shape
    values = np.zeros(shape, dtype=np.int64)
    for y in range(rows):
        above = values[y - 1] if y else np.zeros(columns, dtype=np.int64)
        left = before = int(above[0])
        for x in range(columns):
            up = int(above[x])
            predicted = _predicted(left, up, before, blob.predictor)
            left, before = (predicted + int(residual[y, x])) & 0xFFFF, up
            values[y, x] = left
    return values.astype(np.uint16)


def _planes(values: Values, predictor: int) -> bytes:
    """Return low bytes, then high bytes, of the folded residuals."""
    if predictor == LEFT:
        # Integers of 16 bits wrap as the arithmetic of the format does.
        steps = values.copy()
        steps[:, 1:] -= values[:, :-1]
        steps[1:, 0] -= values[:-1, 0]
        return _folded(steps.view(np.int16))
    v = values.astype(np.int32)
    up = np.zeros_like(v)
    up[1:] = v[:-1]
    left, before = np.empty_like(v), np.empty_like(v)
    # Before the first column stands what is above it, so that a row begins where the last one did.
    left[:, 1:], left[:, 0] = v[:, :-1], up[:, 0]
    before[:, 1:], before[:, 0] = up[:, :-1], up[:, 0]
    return _folded((v - _predicted(left, up, before, predictor)).astype(np.int16))


def _folded(residual: NDArray[np.int16]) -> bytes:
    """Return low bytes, then high bytes, of residuals folded to be positive."""
    folded = ((residual << 1) ^ (residual >> 15)).view(np.uint16)
    return b"".join(part.astype(np.uint8).tobytes() for part in (folded & 0xFF, folded >> 8))


def _predicted(left: Any, up: Any, before: Any, predictor: int) -> Any:
    """Predict values from those on the left, above, and above left; numbers or arrays."""
    if predictor == LEFT:
        return left
    gradient = left + up - before
    if predictor == GRADIENT:
        return gradient
    return np.clip(gradient, np.minimum(left, up), np.maximum(left, up))
