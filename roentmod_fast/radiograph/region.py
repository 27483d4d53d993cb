"""Where a radiograph may be edited: a box or a mask in the source's own pixels."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageFilter, UnidentifiedImageError

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.dicom_read import looks_like_dicom
from roentmod_fast.radiograph.model import Radiograph

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

EDGE = 0.015
"""Width of the soft edge as a share of the picture's longer side."""

_MOST_BYTES = 1 << 28


def box_region(radiograph: Radiograph, box: tuple[int, int, int, int]) -> Array:
    """Return the region of a box ``(x0, y0, x1, y1)`` in stored pixels, x to the right, y down, x1 and y1 excluded.

    float32 (H, W) in [0, 1], upright as :attr:`Radiograph.image`. Raises SettingError for a box outside the picture.
    """
    rows, columns = _stored_shape(radiograph)
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
        raise SettingError(
            f"box {x0},{y0},{x1},{y1} does not lie in {radiograph.source}, which is {columns} wide and {rows} high: "
            "give X0,Y0,X1,Y1 in its pixels"
        )
    mask = np.zeros((rows, columns), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return _region(radiograph, mask)


def mask_region(radiograph: Radiograph, path: str | os.PathLike[str]) -> Array:
    """Return the region of a mask file: PNG, or DICOM (a segmentation or any image) of one frame, not 0 where to edit.

    float32 (H, W) in [0, 1], upright as :attr:`Radiograph.image`. Raises SourceError for a file that is no mask or has
    another matrix, SettingError for an empty mask.
    """
    mask = _read_mask(Path(path))
    if mask.shape != _stored_shape(radiograph):
        rows, columns = _stored_shape(radiograph)
        raise SourceError(
            f"{path}: a mask of {mask.shape[1]} x {mask.shape[0]} pixels: {radiograph.source} has {columns} x {rows}"
        )
    if not mask.any():
        raise SettingError(f"{path}: the mask is empty: mark where to edit with values above 0")
    return _region(radiograph, mask)


def _read_mask(path: Path) -> Mask:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SourceError(f"{path}: larger than {_MOST_BYTES >> 20} MiB: no mask")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    if looks_like_dicom(data[:132]):
        try:
            pixels = pydicom.dcmread(io.BytesIO(data), force=True).pixel_array
        except Exception as error:  # pydicom and its decoders raise many kinds for what a file may hold
            raise SourceError(f"{path}: no mask can be read from this DICOM file: {error}".splitlines()[0]) from error
        if pixels.ndim == 3 and pixels.shape[0] == 1:
            pixels = pixels[0]
        if pixels.ndim != 2:
            raise SourceError(f"{path}: {pixels.ndim} dimensions of pixels: expected one grey frame")
        return np.asarray(pixels != 0)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            grey = picture.convert("L") if len(picture.getbands()) > 1 else picture
            return np.asarray(np.asarray(grey) != 0)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path}: neither PNG nor DICOM: expected a mask") from error


def _region(radiograph: Radiograph, mask: Mask) -> Array:
    """Soften a mask's edge inwards: 0 stays exactly 0 outside, the inside rises to 1 over the edge's width."""
    upright = np.ascontiguousarray(radiograph.orientation.upright(mask))
    radius = max(1.0, EDGE * max(upright.shape) / 2)
    picture = Image.fromarray(upright.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(radius))
    blurred = np.asarray(picture, dtype=np.float32) / 255
    return np.asarray(np.clip(2 * blurred - 1, 0, 1) * upright, dtype=np.float32)


def _stored_shape(radiograph: Radiograph) -> tuple[int, int]:
    rows, columns = radiograph.orientation.back(radiograph.image).shape
    return int(rows), int(columns)
