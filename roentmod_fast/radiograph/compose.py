"""Put an edit back into the radiograph it was made of, at the radiograph's own size."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.radiograph.filters import running_mean
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.metrics import HALF_LEVEL

Array = NDArray[np.float32]
Mode = Literal["delta", "contrast", "replace"]

GRADIENT_FLOOR = 0.004
"""Gradients below this, in brightness a pixel of the engine's square, count as noise: they cannot be removed."""

_EDGE_WINDOW, _DRIFT_WINDOW = 5, 29
"""Sides of windows in pixels of the square, used twice: they stand for Gaussians of 2 and 12 pixels."""

_LEAST_WAY = 0.02
"""A way to white below this counts as this: nearly white before the edit, a pixel has no contrast to lose."""

_FULL_LEVELS = 4
"""Change of a pixel, in half grey levels, from which detail is dropped in full; at 1 or less none is."""


def compose(
    source: Array,
    decoded: Array,
    reference: Array | None,
    letterbox: Letterbox,
    mode: str,
    mask: Array | None = None,
) -> Array:
    """Return the edited radiograph at the source's size: float32 (H, W) in [0, 1].

    ``source``: float32 (H, W) in [0, 1]. ``decoded``: the engine's image of the edit, float32 (S, S) in [0, 1], and
    ``reference`` that of what the edit is compared with: the decoded source for ``delta``, the decoded edit of the
    empty prompt for ``contrast``, None for ``replace``. ``letterbox``: where the source lies in the square. ``mask``:
    float32 (H, W) in [0, 1], how much of the edit each pixel takes; where it is 0 the source stays exactly.

    ``replace`` gives the decoded image itself, its padding cut off. ``delta`` and ``contrast`` add
    ``decoded - reference`` to the source, which keeps the source's resolution and depth. They drop the source's
    detail where the edit removes the edge that it belongs to (:func:`removed_share`), and dim it under what the edit
    adds (:func:`transmitted_share`). Where ``decoded - reference`` or the whole change is below half a grey level of 8
    bit the pixel keeps its value.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"compose {mode!r}: expected one of {', '.join(get_args(Mode))}")
    if (reference is None) != (mode == "replace"):
        raise ValueError(f"compose {mode}: {'no' if mode == 'replace' else 'a'} reference is expected")
    if mask is not None and mask.shape != source.shape:
        raise ValueError(f"mask of shape {mask.shape}, expected {source.shape}")
    weight = np.float32(1) if mask is None else np.clip(mask, 0, 1)
    if reference is None:
        change = (np.clip(letterbox.invert(decoded), 0, 1) - source) * weight
    else:
        added = letterbox.invert_smooth(decoded - reference)
        size = np.abs(added)
        changed = size * weight >= HALF_LEVEL
        change = added
        if changed.any():
            dropped = _dropped_detail(source, decoded, reference, letterbox)
            dropped *= np.clip((size / np.float32(HALF_LEVEL) - 1) / (_FULL_LEVELS - 1), 0, 1)
            change = added - dropped
        change = change * weight
        change[~changed | (np.abs(change) < HALF_LEVEL)] = 0
    edited = np.clip(source + change, 0, 1)
    return np.asarray(np.where(change == 0, source, edited), dtype=np.float32)


def removed_share(decoded: Array, reference: Array) -> Array:
    """Return how much of the reference's local gradient is gone in the edit: float32 (S, S) in [0, 1].

    ``r`` and ``e`` are the gradients of reference and edit, ``own`` and ``new`` the local means of their squares plus
    that of :data:`GRADIENT_FLOOR`. The share is the smaller of ``mean(r . (r - e)) / own`` (the part of ``r`` that
    ``e`` lacks) and ``2 * (1 - new / own)`` (the gradient is weaker than it was), clipped: 0 where an edge stays, where
    a stronger one covers it and where there was none; 1 where it vanishes.
    """
    before, after = (
        np.array([np.gradient(image.astype(np.float64), axis=axis) for axis in (0, 1)])
        for image in (reference, decoded)
    )

    def mean_product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return _smooth((a * b).sum(axis=0), _EDGE_WINDOW)

    own, new = (mean_product(gradient, gradient) + GRADIENT_FLOOR**2 for gradient in (before, after))
    lost = mean_product(before, before - after)
    return np.clip(np.minimum(lost / own, 2 * (1 - new / own)), 0, 1).astype(np.float32)


def transmitted_share(decoded: Array, reference: Array) -> Array:
    """Return how much of the contrast is left under what the edit adds: float32 (S, S) in [0, 1], 1 where it adds none.

    Density that leaves ``exp(-t)`` of the way to white, ``1 - (1 - image) * exp(-t)``, leaves as much of any contrast
    under it: of vessels under fluid too, which are finer than the engine sees and have no edge in the reference. Both
    images are smoothed, so that the engine's own edges count as added density and not as detail.
    """
    before, after = (1 - _smooth(image.astype(np.float64), _EDGE_WINDOW) for image in (reference, decoded))
    return np.clip(after / np.maximum(before, _LEAST_WAY), 0, 1).astype(np.float32)


def _dropped_detail(source: Array, decoded: Array, reference: Array, letterbox: Letterbox) -> Array:
    """Return the source's detail that belongs to edges the edit removed, or lies under what it adds, float32 (H, W).

    Detail is what the source has beyond the reference, less the drift: the slow part of their difference, which is no
    edge but the engine's own error, measured where edges stay.
    """
    removed = removed_share(decoded, reference)
    stay = 1 - removed.astype(np.float64)
    difference = letterbox.apply(source) - reference
    drift = _smooth(stay * difference, _DRIFT_WINDOW) / (_smooth(stay, _DRIFT_WINDOW) + 1e-3)
    detail = source - letterbox.invert_smooth(reference + drift.astype(np.float32))
    lost = 1 - (1 - removed) * transmitted_share(decoded, reference)
    return np.asarray(detail * letterbox.invert_smooth(lost), dtype=np.float32)


def _smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    return running_mean(running_mean(values, window), window)
