"""Find burned-in side markers and text, so that an edit leaves them alone: diffusion rewrites letters.

A marker is lead or ink: a group of thin strokes, far brighter than what lies around and near the edge of the image.
Bones are thin and bright as well, but never by so much at once, or they are longer than any word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.radiograph.filters import window_extreme
from roentmod_fast.radiograph.letterbox import resample

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

_SIDE = 512
"""The search runs at this longest side; the numbers below are pixels of it, or grey levels of 8 bit."""

_STROKE = 13
"""Strokes are thinner than this."""

_RISE = 60
"""Strokes are brighter than what lies around by this much at least..."""

_STRONG = 100
"""...and somewhere in each marker by this much."""

_SATURATED, _VERY_STRONG = 240, 150
"""Marks that touch bone cannot be distinguished from it by their shape; those of this level that rise by this much are
marks."""

_JOIN = 9
"""Strokes nearer than about half of this belong together."""

_LONGEST, _WIDEST = 0.3, 0.13
"""Markers are shorter and narrower than these shares of the longer side, in whichever direction they run."""

_EDGE = 0.14
"""Markers lie within this share of the image's side from an edge..."""

_CORNER = (0.27, 0.35)
"""...or within these shares of its width and height from a corner."""


def marker_mask(image: Array) -> Mask:
    """Return where burned-in marks are, with a margin: bool (H, W).

    ``image``: float32 (H, W) in [0, 1], upright. Multiply an edit's mask by the inverse to protect the marks.
    """
    scale = _SIDE / max(image.shape)
    shape = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    small = resample(image, shape, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
    levels = np.rint(np.clip(small, 0, 1) * 255).astype(np.int16)
    opened = window_extreme(window_extreme(levels, _STROKE, np.minimum), _STROKE, np.maximum)
    rise = levels - opened
    strokes = rise > _RISE
    found = _marks(strokes, rise, _STRONG) | _marks((rise > _STRONG) & (levels >= _SATURATED), rise, _VERY_STRONG)
    if not found.any():
        return np.zeros(image.shape, dtype=bool)
    found = window_extreme(found, 5, np.logical_or)
    large = Image.fromarray(found.astype(np.uint8) * 255).resize(
        (image.shape[1], image.shape[0]), Image.Resampling.NEAREST
    )
    return np.asarray(large) > 0


def _marks(strokes: Mask, rise: NDArray[np.int16], strong: int) -> Mask:
    """Return the groups of strokes that have the size and the place of marks and rise by ``strong`` somewhere."""
    shape = strokes.shape
    found = np.zeros(shape, dtype=bool)
    for rows, columns in _components(window_extreme(strokes, _JOIN, np.logical_or)):
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        sides = sorted((bottom - top, right - left))
        if sides[0] > _WIDEST * _SIDE or sides[1] > _LONGEST * _SIDE:
            continue
        inside = strokes[rows, columns]
        if inside.sum() < 6 or rise[rows, columns].max() < strong:
            continue
        across, down = (left + right) / 2 / shape[1], (top + bottom) / 2 / shape[0]
        across, down = min(across, 1 - across), min(down, 1 - down)
        if min(across, down) < _EDGE or (across < _CORNER[0] and down < _CORNER[1]):
            found[rows, columns] = True
    return found


def _components(mask: Mask) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return rows and columns of each group of touching pixels, by joining the runs of neighbouring rows."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (row, start), end = np.nonzero(edges == 1), np.nonzero(edges == -1)[1]
    parent = list(range(len(row)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(row, np.arange(mask.shape[0] + 1))
    for run in range(len(row)):
        if row[run] == 0:
            continue
        for above in range(first_of_row[row[run] - 1], first_of_row[row[run]]):
            if start[above] <= end[run] and end[above] >= start[run]:
                parent[root(above)] = root(run)
    groups: dict[int, list[int]] = {}
    for run in range(len(row)):
        groups.setdefault(root(run), []).append(run)
    return [
        (
            np.concatenate([np.full(end[run] - start[run], row[run]) for run in runs]),
            np.concatenate([np.arange(start[run], end[run]) for run in runs]),
        )
        for runs in groups.values()
    ]
