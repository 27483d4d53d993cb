"""Folders of what a card compiled, kept for the next start: written whole, set aside, swept.

Each holds one network under one name. What is being built, and what is set aside, stands beside it as ``NAME.`` and a
number of its own, so that neither a thread nor another process takes it for its own.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roentmod_fast.errors import DeviceError

DAY = 86_400
"""Seconds; nothing takes that long to compile."""


def can_be_written(folder: Path, room: int = 0) -> bool:
    """Return whether ``room`` bytes can be put into ``folder``, which is made where it is not there."""
    probe = folder / uuid.uuid4().hex  # the like of tempfile tries again for ever where Windows does not let it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.mkdir()
        probe.rmdir()
        return shutil.disk_usage(folder).free > room
    except OSError:
        return False


@contextmanager
def building(keep: Path) -> Iterator[Path]:
    """Give the file to write in place of ``keep``; its folder becomes ``keep``'s when the block ends and it is there.

    Raises :class:`DeviceError` where nothing can be written there.
    """
    folder = keep.parent
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        built = _beside(folder)
        built.mkdir()
    except OSError as error:
        raise DeviceError(f"{folder.parent}: what is compiled cannot be kept there ({error.strerror})") from None
    try:
        yield built / keep.name
        if (built / keep.name).is_file():
            try:
                built.replace(folder)
            except OSError:  # another process has just kept the same, or a folder was not wholly removed
                if not keep.is_file():
                    shutil.rmtree(folder, ignore_errors=True)
                    with suppress(OSError):
                        built.replace(folder)
    finally:
        shutil.rmtree(built, ignore_errors=True)


@contextmanager
def set_aside(kept: Path) -> Iterator[None]:
    """Move the folder of a kept network out of the way, and put it back if none is in its place afterwards.

    Where it cannot be moved, as when another process has just done so, it is left to itself.
    """
    folder, aside = kept.parent, _beside(kept.parent)
    try:
        os.utime(folder)  # a building may sweep meanwhile
        folder.replace(aside)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        if kept.is_file():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            with suppress(OSError):
                aside.replace(folder)


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")


def _sweep(folder: Path) -> None:
    """Remove what processes that broke off have left beside ``folder``, a day ago or before."""
    for path in folder.parent.glob(f"{folder.name}.*"):
        with suppress(OSError):  # another process sweeps too
            if time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path, ignore_errors=True)
