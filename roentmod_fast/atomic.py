"""Write a file whole or not at all.

The content goes to a file that has no name yet, or a temporary one in the same folder, reaches the disk, and is then
given its name in one step. Whoever looks at the name sees the old file or the whole new one; a run that fails, is
interrupted or killed leaves neither a part nor a temporary file (where the system knows nameless files, as Linux does).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from roentmod_fast.errors import DiskFullError, OutputError

_REASONS = {
    errno.ENOSPC: "no space left on the disk: free some or choose another folder",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
    errno.EFBIG: "larger than a file may be here: choose another folder",
    errno.EACCES: "no permission to write there: choose another folder",
    errno.EPERM: "no permission to write there: choose another folder",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENOENT: "no such folder: make it first",
    errno.ENOTDIR: "no such folder: make it first",
    errno.ENAMETOOLONG: "the file name is too long: choose a shorter one",
    errno.EISDIR: "a folder of that name is there: choose another name",
    errno.EEXIST: "already exists (--overwrite replaces it, --skip-existing leaves it)",
}


def write_atomically(path: Path, data: bytes | memoryview, *, overwrite: bool = False) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    Raises OutputError where the file exists and ``overwrite`` is not given, the folder is missing, or the disk refuses.
    """
    check_output(path, overwrite=overwrite)
    try:
        if not _write_nameless(path, data, overwrite):
            _write_named(path, data, overwrite)
    except OSError as error:
        raise _explained(path, error) from error
    with contextlib.suppress(OSError):  # not every system lets a folder be opened; the file itself is on the disk
        _sync(path.parent)


def stream_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file of many parts, in place of one that is there; raises as :func:`write_atomically` does."""
    check_output(path, overwrite=True)
    try:
        with _temporary(path) as temporary:
            with temporary.open("xb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise _explained(path, error) from error


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError, before any work is done, where ``path`` cannot become an output."""
    try:
        if path.is_dir():
            raise OutputError(f"{path}: {_REASONS[errno.EISDIR]}")
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputError(f"{path}: {_REASONS[errno.EEXIST]}")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: {_REASONS[errno.ENOENT]}")
    except OSError as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: OSError) -> OutputError:
    reason = _REASONS.get(error.errno or 0, f"cannot be written: {error.strerror or 'output error'}")
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
    return kind(f"{path}: {reason}")


def check_writable(path: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError where ``path`` cannot become an output: its name, its folder, a file that is in the way."""
    try:
        folder = path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise OutputError(f"{path.parent}: cannot be made: {folder} is a file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: no permission to write in {folder}: choose another folder with -o")
        limit = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
        for part in path.relative_to(folder).parts:
            if len(os.fsencode(part)) > limit:
                raise OutputError(f"{path}: the file name is longer than {limit} bytes: choose a shorter one with -o")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or 'output error'}") from error
    if path.parent.is_dir():
        check_output(path, overwrite=overwrite)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing. Raises OutputError where that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{path}: cannot be made: a file of that name is there") from error
    except OSError as error:
        raise _explained(path, error) from error


def _write_nameless(path: Path, data: bytes | memoryview, overwrite: bool) -> bool:
    """Write to a file without a name and link it in; False where the system or the file system cannot."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return False
    try:
        descriptor = os.open(path.parent, flag | os.O_WRONLY, 0o666)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            return False
        raise
    try:
        _fill(descriptor, data)
        if not overwrite:
            return _link_open(descriptor, path)
        # A link never replaces a file: take a name of our own first, then move it over.
        with _temporary(path) as temporary:
            if not _link_open(descriptor, temporary):
                return False
            temporary.replace(path)
        return True
    finally:
        os.close(descriptor)


def _write_named(path: Path, data: bytes | memoryview, overwrite: bool) -> None:
    """Write to a temporary file in the same folder and move it to its name."""
    with _temporary(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _fill(descriptor, data)
        finally:
            os.close(descriptor)
        if overwrite:
            temporary.replace(path)
        elif not _link(str(temporary), path, None):
            # No hard links here (FAT, some network disks): the last look and the move are two steps.
            check_output(path)
            temporary.replace(path)


def _link_open(descriptor: int, path: Path) -> bool:
    """Give an open file without a name its first one (linkat(2), AT_SYMLINK_FOLLOW on its entry in /proc)."""
    # os.link follows links only where it is handed a folder's descriptor.
    folder = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        return _link(str(descriptor), path, folder)
    finally:
        os.close(folder)


def _link(origin: str, path: Path, folder: int | None) -> bool:
    """Give a file another name, which must be new; False where hard links are not to be had."""
    try:
        os.link(origin, path, src_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        raise
    except NotImplementedError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG):
            raise
        return False
    return True


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield an unused name beside ``path``; a file left there is removed, whatever happens."""
    temporary = path.parent / f".roentmod-{secrets.token_hex(8)}.part"
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _fill(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` and wait until it has reached the disk."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
