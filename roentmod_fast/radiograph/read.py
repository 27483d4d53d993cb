"""Read a radiograph, whatever kind of file it is."""

from __future__ import annotations

import os
from pathlib import Path

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom_read import MAX_BYTES, looks_like_dicom, read_dicom
from roentmod_fast.radiograph.doubts import Force, forced_doubts
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.orientation import given_orientation
from roentmod_fast.radiograph.raster import looks_like_raster, read_raster
from roentmod_fast.radiograph.sources import Source


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
