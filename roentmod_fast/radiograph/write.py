"""The formats of an edited radiograph, by the names of files; :mod:`.dicom.write` and :mod:`.raster` write them."""

from __future__ import annotations

import os
from pathlib import Path

from roentmod_fast.errors import SettingError

SUFFIXES = {"dicom": ".dcm", "png": ".png"}
"""Formats that can be written, each with the ending of its files."""


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format of a file's name ending. Raises SettingError for another ending."""
    ending = Path(path).suffix.lower()
    for name, suffix in SUFFIXES.items():
        if ending == suffix:
            return name
    raise SettingError(f"{path}: end its name with {' or '.join(SUFFIXES.values())}")
