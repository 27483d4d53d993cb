"""Where an edit acts: everywhere, in a mask or a box with a soft edge, and not where markers are burned in."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.utils import pixel_array

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.pixels import MAX_PIXELS
from roentmod_fast.radiograph.dicom.read import MAX_BYTES, looks_like_dicom, read_dataset
from roentmod_fast.radiograph.filters import running_mean
from roentmod_fast.radiograph.markers import marker_mask
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.raster import looks_like_raster
from roentmod_fast.radiograph.sources import Source

Array = NDArray[np.float32]
SOFT_SHARE = 0.01
"""Width of the soft edge, as a share of the image's longer side."""

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


def read_mask(path: str | os.PathLike[str], radiograph: Radiograph) -> Array:
    """Read a mask for a radiograph: a PNG, a DICOM segmentation or any DICOM image, in the source's pixels.

    Returns float32 (H, W) in [0, 1], upright as ``radiograph.image``: 1 where the edit may act. Grey values of a PNG
    are shares of 255; several segments are joined. Raises SourceError for what cannot be read and SettingError for a
    mask of another size or an empty one.
    """
    source = Source.of(Path(path))
    data = source.read(MAX_BYTES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if looks_like_raster(data):
            mask = _from_raster(data, source.name)
        elif looks_like_dicom(data[:132]):
            mask = _from_dicom(data, source.name)
        else:
            raise SourceError(f"{source.name}: not a mask: expected a PNG or a DICOM file")
    return _placed(mask, radiograph, source.name)


def box_mask(box: tuple[int, int, int, int], radiograph: Radiograph) -> Array:
    """Return a mask of a box (x0, y0, x1, y1) in the source's pixels, x1 and y1 not included.

    float32 (H, W), 1 inside, upright. Raises SettingError for a box that is empty or leaves the image.
    """
    x0, y0, x1, y1 = box
    rows, columns = radiograph.orientation.back(radiograph.image).shape
    if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
        raise SettingError(f"box {x0},{y0},{x1},{y1}: expected 0 <= X0 < X1 <= {columns} and 0 <= Y0 < Y1 <= {rows}")
    mask = np.zeros((rows, columns), dtype=np.float32)
    mask[y0:y1, x0:x1] = 1
    return _placed(mask, radiograph, "box")


def soften(mask: Array, width: float | None = None) -> Array:
    """Return a mask whose edge rises softly, all of it inside: where ``mask`` is 0 the result is 0.

    ``mask``: float32 (H, W) in [0, 1]. ``width``: of the edge in pixels; None for a share of the image.
    """
    reach = max(mask.shape) * SOFT_SHARE if width is None else width
    window = 2 * round(reach / 2) + 1
    if window <= 1:
        return np.array(mask, dtype=np.float32)
    blurred = mask.astype(np.float64)
    for _ in range(2):  # two boxes make a smooth slope
        blurred = running_mean(blurred, window)
    inside = np.clip(2 * blurred - 1, 0, 1)
    return np.asarray(np.minimum(inside * inside * (3 - 2 * inside), mask), dtype=np.float32)


def _placed(mask: Array, radiograph: Radiograph, name: str) -> Array:
    expected = radiograph.orientation.back(radiograph.image).shape
    if mask.shape != expected:
        raise SettingError(
            f"{name}: a mask of {mask.shape[0]} x {mask.shape[1]} pixels, the radiograph has"
            f" {expected[0]} x {expected[1]}: expected the same"
        )
    if not mask.any():
        raise SettingError(f"{name}: the mask is empty: expected some pixels above 0")
    return np.asarray(np.ascontiguousarray(radiograph.orientation.upright(mask)), dtype=np.float32)


def _from_raster(data: bytes, name: str) -> Array:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise SourceError(f"{name}: {opened.height} x {opened.width} pixels: too large for a mask")
            if opened.mode.startswith("I"):
                values: NDArray[Any] = np.asarray(opened).astype(np.float32) / 65535
            else:
                values = np.asarray(opened.convert("L")).astype(np.float32) / 255
    except SourceError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, ...
        raise SourceError(f"{name}: the mask is damaged or truncated") from error
    return np.asarray(values, dtype=np.float32)


def _from_dicom(data: bytes, name: str) -> Array:
    """Read a segmentation (PS3.3 A.51) or any grey image, whose values above 0 are the mask."""
    dataset, _ = read_dataset(data, name)
    rows, columns = header.integer(dataset, "Rows", 0) or 0, header.integer(dataset, "Columns", 0) or 0
    frames = header.integer(dataset, "NumberOfFrames", 1) or 1
    if "PixelData" not in dataset or not 0 < rows * columns * frames <= MAX_PIXELS:
        raise SourceError(f"{name}: no mask that can be read: expected a segmentation or an image")
    try:
        values = pixel_array(dataset).astype(np.float32)
    except Exception as error:  # whatever a damaged file makes the decoders raise
        raise SourceError(f"{name}: the mask is damaged, truncated or compressed in an unknown way") from error
    if values.ndim == 3:
        values = values.max(axis=0)
    if values.ndim != 2:
        raise SourceError(f"{name}: a colour image: expected a mask")
    whole = header.number(dataset, "MaximumFractionalValue", 1.0) or 1.0
    fractional = header.code(dataset, "SegmentationType") == "FRACTIONAL"
    return np.asarray(values / whole if fractional else values > 0, dtype=np.float32)
