"""Keep two runs from making the same edits at once, on systems and file systems that know flock."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from roentmod_fast.errors import OutputError, SettingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
FOLDER = "locks"


@contextlib.contextmanager
def hold(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold a cohort, or one shard of it, while the block runs; the system releases what a killed process held.

    Raises SettingError where another run holds it. Runs of shards go together, a run of the whole with none.
    """
    index, count = shard
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(folder / FOLDER / "run", shared=count > 1))
        if count > 1:
            stack.enter_context(_lock(folder / FOLDER / f"shard-{index}-of-{count}", shared=False))
        yield


@contextlib.contextmanager
def _lock(path: Path, *, shared: bool) -> Iterator[None]:
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingError(
                    f"{path.parent.parent}: another run is making these edits: see roentmod-fast cohort status"
                ) from None
            except OSError:
                logger.warning(f"{path.parent.parent}: this file system knows no locks: start no second run of it")
        yield
    finally:
        os.close(descriptor)
