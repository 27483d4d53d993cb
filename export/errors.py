"""What can go wrong on the export side, as part of the runtime's tree.

RoentmodError
└── ExportError             an export that cannot be done: no space, an option that does not fit the checkpoint
    ├── CheckpointError     a folder that is no checkpoint we can read, or whose weights do not fit
    └── ParityError         an engine that does not compute what the checkpoint computes
"""

from __future__ import annotations

from roentmod_fast.errors import RoentmodError


class ExportError(RoentmodError):
    """An export that cannot be done."""


class CheckpointError(ExportError):
    """A folder that is no checkpoint we can read, or whose weights do not fit."""


class ParityError(ExportError):
    """An engine that does not compute what the checkpoint computes."""
