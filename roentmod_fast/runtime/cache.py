"""Folders of compiled networks, cached for the next start: written atomically, quarantined, swept.

Each holds one network under one name. What is being written, and what is quarantined, lies beside it as ``NAME.`` and a
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


def is_writable(folder: Path, room: int = 0) -> bool:
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
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give the file to write in place of ``target``; its folder becomes ``target``'s when the block ends and it exists.

    Raises :class:`DeviceError` where nothing can be written there.
    """
    folder = target.parent
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        built = _beside(folder)
        built.mkdir()
    except OSError as error:
        raise DeviceError(f"{folder.parent}: compiled networks cannot be cached there ({error.strerror})") from None
    try:
        yield built / target.name
        if (built / target.name).is_file():
            try:
                built.replace(folder)
            except OSError:  # another process has just cached the same, or a folder was not wholly removed
                if not target.is_file():
                    shutil.rmtree(folder, ignore_errors=True)
                    with suppress(OSError):
                        built.replace(folder)
    finally:
        shutil.rmtree(built, ignore_errors=True)


@contextmanager
def quarantine(cached: Path) -> Iterator[None]:
    """Move the folder of a cached network out of the way, and put it back if none is in its place afterwards.

    Where it cannot be moved, as when another process has just done so, it is left to itself.
    """
    folder, aside = cached.parent, _beside(cached.parent)
    try:
        os.utime(folder)  # another process may sweep meanwhile
        folder.replace(aside)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        if cached.is_file():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            with suppress(OSError):
                aside.replace(folder)


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")


def _sweep(folder: Path) -> None:
    """Remove what interrupted processes have left beside ``folder``, a day ago or before."""
    for path in folder.parent.glob(f"{folder.name}.*"):
        with suppress(OSError):  # another process sweeps too
            if time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path, ignore_errors=True)
