"""The private folder of a sitting: all that the app writes, removed at its end, or at the next start after a crash.

Its owner holds a lock on a file in it. The system releases the lock of a process that ended, however it ended, so a
folder whose lock is free was left behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from roentmod_fast.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MARK = "roentmod-fast-app-"
"""What the names of private folders begin with."""

OWNER = "owner"
"""The file that is locked; it holds the number of the process, for people."""

logger = logging.getLogger(__name__)


class PrivateFolder:
    """A folder of mode 700 that no one else reads. Raises OutputError where it cannot be made."""

    def __init__(self, parent: Path | None = None) -> None:
        place = Path(tempfile.gettempdir() if parent is None else parent)
        remove_leftovers(place)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=MARK, dir=place)).absolute()
            # The lock is taken before the file has the name by which another start would look for it.
            first = self.path / f".{OWNER}"
            lock = os.open(first, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self._lock: int | None = lock
            os.write(lock, f"{os.getpid()}\n".encode())
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a file system without locks: what is left there stays
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first.rename(self.path / OWNER)
        except OSError as error:
            raise OutputError(f"{place}: no private folder can be made there: {error.strerror}: set TMPDIR") from error

    def new(self, suffix: str = "") -> Path:
        """Return the path of a file that is not there yet. Its name is random: none comes from a user or a file."""
        return self.path / f"{secrets.token_hex(12)}{suffix}"

    def close(self) -> None:
        """Remove the folder and all in it; once is enough."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(lock)
        if self.path.exists():  # Windows removes no file that is open
            shutil.rmtree(self.path, ignore_errors=True)


def remove_leftovers(place: Path) -> int:
    """Remove the private folders in ``place`` whose owner has ended; return how many they were.

    A folder is left alone that is a link, another user's, open to others, without a lock file or with one that is held.
    """
    removed = 0
    for path in sorted(place.glob(f"{MARK}*")):
        try:
            found = path.lstat()
            ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
            private = os.name == "nt" or stat.S_IMODE(found.st_mode) == 0o700
            if not (stat.S_ISDIR(found.st_mode) and ours and private and _is_left(path / OWNER)):
                continue
            shutil.rmtree(path)
            removed += 1
        except OSError:
            continue  # it goes at a later start
    if removed:
        logger.info(f"removed what {removed} earlier run{'s' if removed > 1 else ''} of the app left behind")
    return removed


def _is_left(owner: Path) -> bool:
    """Tell whether nobody holds the lock. Raises OSError where it cannot be seen."""
    if fcntl is None:
        owner.unlink()  # which Windows refuses while it is open
        return True
    descriptor = os.open(owner, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    finally:
        os.close(descriptor)
