"""Write an edited radiograph, as DICOM or as PNG."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.dicom.write import write_dicom
from roentmod_fast.radiograph.label import burn_label
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.raster import write_png

SUFFIXES = {"dicom": ".dcm", "png": ".png"}
"""Formats that can be written, each with the ending of its files."""


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format of a file's name ending. Raises SettingError for another ending."""
    ending = Path(path).suffix.lower()
    for name, suffix in SUFFIXES.items():
        if ending == suffix:
            return name
    raise SettingError(f"{path}: end its name with {' or '.join(SUFFIXES.values())}")


def write_edit(
    path: str | os.PathLike[str],
    radiograph: Radiograph,
    image: NDArray[np.float32],
    provenance: Provenance,
    *,
    file_format: str = "dicom",
    deidentify: str = "pseudonymize",
    sop_class: str = "source",
    transfer_syntax: str = "explicit",
    label: bool = False,
    overwrite: bool = False,
) -> str | None:
    """Write ``image``, an edit of ``radiograph``; return the SOP Instance UID where the file is DICOM.

    ``image``: float32 (H, W) in [0, 1], upright. ``file_format``: one of :data:`SUFFIXES`. ``label``: burn SYNTHETIC
    into a corner. ``deidentify``, ``sop_class`` and ``transfer_syntax`` as for
    :func:`~.dicom.write.write_dicom`; a PNG holds no identity. Raises OutputError and SettingError.
    """
    if file_format not in SUFFIXES:
        raise SettingError(f"format {file_format!r}: expected one of {', '.join(SUFFIXES)}")
    shown = burn_label(image) if label else image
    if file_format == "png":
        write_png(path, radiograph, shown, provenance, overwrite=overwrite)
        return None
    return write_dicom(
        path,
        radiograph,
        shown,
        provenance,
        deidentify=deidentify,
        overwrite=overwrite,
        sop_class=sop_class,
        transfer_syntax=transfer_syntax,
        labelled=label,
    )
