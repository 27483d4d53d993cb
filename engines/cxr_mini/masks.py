"""Masks of lungs: left and right, the largest part, the Dice coefficient, and rules that refuse a bad one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .processes import spread


def split_sides(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Split a mask of both lungs at the emptiest column near its middle: bool (2, h, w), the patient's right first."""
    columns = mask.sum(0).astype(np.float32)
    filled = np.flatnonzero(columns)
    if filled.size == 0:
        return np.stack([mask, mask])
    low, high = filled[0], filled[-1]
    centre = (low + high) / 2
    inner = np.arange(int(low + 0.3 * (high - low)), int(low + 0.7 * (high - low)) + 1)
    cost = np.convolve(columns, np.ones(5) / 5, mode="same")[inner] + 0.15 * np.abs(inner - centre)
    cut = inner[np.argmin(cost)]
    right = mask.copy()
    right[:, cut:] = False
    return np.stack([right, mask & ~right])


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks, 1 where they are the same."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected part of a mask, its holes filled."""
    if not mask.any():
        return mask
    rest, best = mask.copy(), np.zeros_like(mask)
    while rest.sum() > best.sum():
        seed = np.zeros_like(mask)
        first = np.flatnonzero(rest)[len(np.flatnonzero(rest)) // 2]
        seed.flat[first] = True
        part = _grow(seed, rest)
        rest &= ~part
        if part.sum() > best.sum():
            best = part
    outside = np.zeros_like(mask)
    outside[0, :] = outside[-1, :] = outside[:, 0] = outside[:, -1] = True
    return np.asarray(~_grow(outside & ~best, ~best))


def _grow(seed: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Flood ``inside`` from ``seed``."""
    part = seed & inside
    while True:
        more = part.copy()
        for axis in (0, 1):
            for order in (slice(None), slice(None, None, -1)):
                # A sweep along a whole axis: a pixel is reached from its neighbour where both are inside.
                view = more[order] if axis == 0 else more[:, order].T
                open_ = inside[order] if axis == 0 else inside[:, order].T
                for row in range(1, view.shape[0]):
                    view[row] |= view[row - 1] & open_[row]
        if (more == part).all():
            return more
        part = more


def _spans(mask: NDArray[np.bool_]) -> int:
    """Count the pixels from the first to the last of each row, those between included."""
    some = mask.any(1)
    first, last = mask.argmax(1), mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    return int((last - first + 1)[some].sum())


def faults(probability: NDArray[np.floating]) -> list[str]:
    """Say what is wrong with the lung fields of a film; an empty list lets the film in.

    ``probability``: (2, h, w), the patient's right lung first.
    """
    masks = np.stack([largest_part(one > 0.5) for one in probability])
    size = masks.shape[1]
    found = []
    areas = masks.sum((1, 2)) / size**2
    if areas.min() < 0.035:
        found.append("a lung is small")
    if areas.max() > 0.26:
        found.append("a lung is large")
    if areas.min() / max(areas.max(), 1e-6) < 0.45:
        found.append("the lungs differ in area")
    if found and areas.min() == 0:
        return found
    for mask, one in zip(masks, probability, strict=True):
        raw = one > 0.5
        if (raw & ~mask).sum() > 0.06 * mask.sum():
            found.append("a lung in pieces")
        unsure = ((one > 0.15) & (one < 0.85)).sum() / math.sqrt(mask.sum() + 1)
        if unsure > 42:
            found.append("an unsure border")
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        if mask.sum() / box < 0.5:
            found.append("a lung that fills little of its box")
        # A lung is almost convex: between its first and last pixel of a column or row lies little that is not lung.
        spans = [_spans(mask), _spans(mask.T)]
        if max(spans) > 1.10 * mask.sum():
            found.append("a ragged lung")
        widths = mask.sum(1)[rows]
        upper = widths[: max(1, len(rows) // 6)]
        if upper.max() > 0.85 * widths.max():
            found.append("a spill over a shoulder")
        # A base that is just cut at the side is read well; a field that runs along the edge is not.
        if rows[0] <= 1 or mask[:, :2].any(1).sum() + mask[:, -2:].any(1).sum() > 0.1 * len(rows):
            found.append("a lung at the film's edge")
        if (rows[-1] - rows[0]) / max(1, widths.max()) > 3.6 or (rows[-1] - rows[0]) / max(1, widths.max()) < 0.9:
            found.append("an odd shape")
    tops = [np.flatnonzero(mask.any(1))[0] for mask in masks]
    bottoms = [np.flatnonzero(mask.any(1))[-1] for mask in masks]
    if abs(tops[0] - tops[1]) > 0.09 * size or abs(bottoms[0] - bottoms[1]) > 0.14 * size:
        found.append("lungs of different height")
    overlap = (probability[0] > 0.5) & (probability[1] > 0.5)
    if overlap.sum() > 0.02 * masks.sum():
        found.append("lungs that overlap")
    centres = [np.flatnonzero(mask.any(0)).mean() for mask in masks]
    if centres[1] - centres[0] < 0.2 * size:
        found.append("lungs too close")
    return sorted(set(found))


def faults_of(probabilities: NDArray[np.floating]) -> list[list[str]]:
    """Return the faults of each film's lung fields, float (n, 2, h, w)."""
    return list(spread(faults, (one.astype(np.float32) for one in probabilities)))
