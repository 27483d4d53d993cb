"""Chest radiograph editing by text, without PyTorch.

    from roentmod_fast import EditConfig, Editor, read_radiograph, write_dicom

Names are imported when they are first used, so that ``import roentmod_fast`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from roentmod_fast import telemetry
from roentmod_fast._version import __version__

telemetry.refuse()

if TYPE_CHECKING:
    from roentmod_fast.editor import EditConfig, Editor, EditResult
    from roentmod_fast.errors import RoentmodError
    from roentmod_fast.radiograph.dicom_write import write_dicom
    from roentmod_fast.radiograph.read import read_radiograph

__all__ = ["EditConfig", "EditResult", "Editor", "RoentmodError", "__version__", "read_radiograph", "write_dicom"]

_HOME = {
    "EditConfig": "editor",
    "EditResult": "editor",
    "Editor": "editor",
    "RoentmodError": "errors",
    "read_radiograph": "radiograph.read",
    "write_dicom": "radiograph.dicom_write",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"roentmod_fast.{_HOME[name]}"), name)
    raise AttributeError(f"module 'roentmod_fast' has no attribute {name!r}")
