"""Where an edit acts: everywhere, in a mask or a box, and not where markers are burned in."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.markers import marker_mask
from roentmod_fast.radiograph.mask import box_mask, read_mask, soften
from roentmod_fast.radiograph.model import Radiograph

Array = NDArray[np.float32]
Box: TypeAlias = "tuple[int, int, int, int]"
Region: TypeAlias = "NDArray[Any] | Box | str | os.PathLike[str]"
"""An array, float (H, W) in [0, 1], upright; a box (x0, y0, x1, y1) in the source's pixels; or the path of a mask."""


def region_of(radiograph: Radiograph, region: Region | None, *, protect_markers: bool = True) -> Array | None:
    """Return how much of the edit each pixel takes, float32 (H, W) in [0, 1], upright; None for all of it everywhere.

    ``region``: see :data:`Region`; a box and a mask file are given a soft edge, an array is taken as it is.
    ``protect_markers``: nothing where burned-in markers and text stand. Raises SettingError for a region that does not
    fit the radiograph, SourceError for a mask file that cannot be read.
    """
    chosen = None if region is None else _chosen(radiograph, region)
    markers = marker_mask(radiograph.image) if protect_markers else np.zeros((1, 1), dtype=bool)
    if not markers.any():
        return chosen
    return np.where(markers, np.float32(0), np.float32(1) if chosen is None else chosen)


def _chosen(radiograph: Radiograph, region: Region) -> Array:
    if isinstance(region, (str, os.PathLike)):
        return soften(read_mask(region, radiograph))
    if isinstance(region, tuple):
        if len(region) != 4:
            raise SettingError(f"region {region}: expected a box of four numbers, x0, y0, x1, y1")
        return soften(box_mask(region, radiograph))
    array = np.asarray(region)
    if array.shape != radiograph.shape or not (array.min() >= 0 and array.max() <= 1):
        raise SettingError(f"region of shape {array.shape}: expected {radiograph.shape}, in [0, 1]")
    return np.asarray(array, dtype=np.float32)
