"""Files in and out of the system's memory, for starts that are cold or warm on purpose. Linux."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK = 1 << 24


def drop(*folders: Path) -> None:
    """Ask the system to forget what it holds of all files in ``folders``; what another process maps stays."""
    os.sync()  # only what is on the disk can be forgotten
    for path in _files(folders):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def warm(*folders: Path) -> None:
    """Read all files in ``folders`` once."""
    for path in _files(folders):
        with path.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder, followlinks=True):
            yield from (path for name in names if (path := Path(parent) / name).is_file())
