"""Everything that can go wrong by a user's doing or a machine's, as one tree.

RoentmodError
├── SettingError        a setting that cannot be used: strength outside [0, 1], no prompt, an unknown finding
├── SourceError         a file that is no radiograph we can edit
│   └── RefusedError    a radiograph that we could edit but should not: ``--force DOUBT`` goes on
├── OutputError         a result that cannot be written: it exists, no permission
│   └── DiskFullError   no space left, or the quota is used up: what comes after it cannot be written either
├── EngineError         a bundle that is missing, altered, unknown or does not keep its contract
│   └── NotFiniteError  a network that gives NaN or infinity
├── DeviceError         an execution device that is absent or does not take the whole graph
└── WorkerError         processes of a cohort's run that die again and again

Each message is one line: what, which file or tag, what was expected, what to type. The command line prints it and
exits; anything outside this tree is a bug and keeps its traceback.
"""

from __future__ import annotations


class RoentmodError(Exception):
    """The root: catch this to catch all that the package raises on purpose."""


class SettingError(RoentmodError, ValueError):
    """A setting that cannot be used."""


class SourceError(RoentmodError):
    """A file that is no radiograph we can edit."""


class RefusedError(SourceError):
    """A radiograph that should not be edited unless the user insists.

    ``doubts``: names of what speaks against it, of :data:`roentmod_fast.radiograph.doubts.DOUBTS`; each can be forced.
    """

    def __init__(self, message: str, doubts: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.doubts = doubts


class OutputError(RoentmodError):
    """A result that cannot be written."""


class DiskFullError(OutputError):
    """No space left on the disk, or the quota is used up."""


class EngineError(RoentmodError):
    """A bundle that is missing, altered, unknown or does not keep its contract."""


class NotFiniteError(EngineError):
    """A network gave NaN or infinity: the image would be wrong."""


class DeviceError(RoentmodError):
    """An execution device that is absent or does not take the whole graph."""


class WorkerError(RoentmodError):
    """Processes that work for a run and die again and again."""
