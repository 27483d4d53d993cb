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

    Raises SettingError where another run holds it. Runs of shards go together if the number of shards is the same:
    1/2 and 1/3 have sources in common. A run of the whole goes with none.
    """
    index, count = shard
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(folder / FOLDER / "run", shared=count > 1))
        if count > 1:
            with _lock(folder / FOLDER / "begin", shared=False, wait=True):  # one run at a time looks for others
                _refuse_other_counts(folder, count)
                stack.enter_context(_lock(folder / FOLDER / f"shard-{index}-of-{count}", shared=False))
        yield


def _refuse_other_counts(folder: Path, count: int) -> None:
    for path in (folder / FOLDER).glob("shard-*-of-*"):
        other = path.name.rpartition("-")[2]
        if other == str(count):
            continue
        why = f"{folder}: a run with --shard i/{other} is going on: use {other} shards too, or wait for its end"
        with _lock(path, shared=False, refusal=why):
            pass


@contextlib.contextmanager
def _lock(path: Path, *, shared: bool, wait: bool = False, refusal: str = "") -> Iterator[None]:
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        if fcntl is not None:
            try:
                how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(descriptor, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingError(
                    refusal
                    or f"{path.parent.parent}: another run is making these edits: see roentmod-fast cohort status"
                ) from None
            except OSError:
                logger.warning(f"{path.parent.parent}: this file system knows no locks: start no second run of it")
        yield
    finally:
        os.close(descriptor)
