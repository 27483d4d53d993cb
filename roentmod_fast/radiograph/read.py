"""Read a radiograph, whatever holds it: a file, an image of Pillow's or an array."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.dicom.grayscale import full_range
from roentmod_fast.radiograph.dicom.orientation import given_orientation
from roentmod_fast.radiograph.dicom.read import MAX_BYTES, looks_like_dicom, read_dicom
from roentmod_fast.radiograph.doubts import Force, forced_doubts
from roentmod_fast.radiograph.model import PixelLayout, Radiograph
from roentmod_fast.radiograph.raster import from_image, looks_like_raster, read_raster
from roentmod_fast.radiograph.sources import Source

RadiographLike: TypeAlias = "Radiograph | str | os.PathLike[str] | Source | Image.Image | NDArray[Any]"
"""What :func:`as_radiograph` takes."""


def read_radiograph(
    source: str | os.PathLike[str] | Source, *, voi: int = 0, force: Force = False, orientation: str | None = None
) -> Radiograph:
    r"""Read a DICOM, PNG or JPEG radiograph from a path or a :class:`~.sources.Source`.

    ``voi``: which of several VOI LUTs and windows of a DICOM header to show, counted from 0, LUTs first. ``force``:
    doubts to set aside, of :data:`~.doubts.DOUBTS`; True for all. ``orientation``: where rows and columns run, such as
    ``L\F``, or ``stored``, in place of Patient Orientation (0020,0020); an edit is written with it. Raises SourceError
    for what cannot be read, RefusedError for what should not be edited (a lateral view, another body part, an animal,
    a blank image, one that is already synthetic) unless ``force`` names each of its doubts, and SettingError for an
    unknown doubt or orientation.
    """
    forced_doubts(force)
    if orientation is not None:
        given_orientation(orientation)
    if not isinstance(source, Source):
        source = Source.of(Path(source))
    data = source.read(MAX_BYTES)
    if looks_like_raster(data):
        return read_raster(data, source.name, force=force, orientation=orientation)
    if not looks_like_dicom(data[:132]):
        raise SourceError(f"{source.name}: not a radiograph: expected a DICOM, PNG or JPEG file")
    return read_dicom(data, source.name, voi=voi, force=force, orientation=orientation)


def as_radiograph(image: RadiographLike) -> Radiograph:
    """Return what a user holds as a radiograph.

    A :class:`Radiograph` is returned as it is, a path is read by :func:`read_radiograph`. Bright is dense in an image
    or array, (H, W): uint8 and uint16 have their whole range, floats lie in [0, 1]. Raises SettingError naming the
    range of an array that does not fit, and as :func:`read_radiograph` does.
    """
    if isinstance(image, Radiograph):
        return image
    if isinstance(image, (str, os.PathLike, Source)):
        return read_radiograph(image)
    if isinstance(image, Image.Image):
        return from_image(image, "image")
    return _from_array(np.asarray(image))


def _from_array(array: NDArray[Any]) -> Radiograph:
    if array.ndim != 2 or 0 in array.shape:
        raise SettingError(f"image of shape {array.shape}: expected grey, (H, W)")
    if array.dtype in (np.uint8, np.uint16):
        bits = 8 * array.dtype.itemsize
        stored = array.astype(np.int32)
        values = full_range(bits).apply(stored)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise SettingError("image holds NaN or infinity: expected floats in [0, 1]")
        if array.min() < 0 or array.max() > 1:
            raise SettingError(f"image of {array.dtype} in {_range(array)}: expected [0, 1], bright = dense")
        bits = 16
        values = np.array(array, dtype=np.float32)
        stored = np.rint(values * np.float32(65535)).astype(np.int32)
    else:
        held = f" in {_range(array)}" if array.dtype.kind in "iu" else ""
        raise SettingError(f"image of {array.dtype}{held}: expected uint8, uint16 or floats in [0, 1], bright = dense")
    for each in (values, stored):
        each.setflags(write=False)
    layout = PixelLayout(bits, bits, bits - 1, signed=False)
    return Radiograph(values, "array", None, full_range(bits), stored, layout=layout)


def _range(array: NDArray[Any]) -> str:
    return f"[{array.min():g}, {array.max():g}]"
