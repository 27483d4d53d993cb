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
    from roentmod_fast.editor import Editor
    from roentmod_fast.errors import RoentmodError
    from roentmod_fast.radiograph.dicom.write import write_dicom
    from roentmod_fast.radiograph.model import Radiograph
    from roentmod_fast.radiograph.read import read_radiograph
    from roentmod_fast.result import EditResult
    from roentmod_fast.settings import EditConfig

__all__ = [
    "EditConfig",
    "EditResult",
    "Editor",
    "Radiograph",
    "RoentmodError",
    "__version__",
    "read_radiograph",
    "write_dicom",
]

_HOME = {
    "EditConfig": "settings",
    "EditResult": "result",
    "Editor": "editor",
    "Radiograph": "radiograph.model",
    "RoentmodError": "errors",
    "read_radiograph": "radiograph.read",
    "write_dicom": "radiograph.dicom.write",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"roentmod_fast.{_HOME[name]}"), name)
    raise AttributeError(f"module 'roentmod_fast' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, so that completion finds those that are not imported yet."""
    return list(__all__)
