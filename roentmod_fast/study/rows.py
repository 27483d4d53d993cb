"""The rows of a cohort: what became of each edit, one JSON line each, in one file a process.

A line is appended and synced after the edit's files are on the disk. A process that is killed in the middle of a line
leaves a torn one, which counts as absent: the edit is made again. Nobody appends to another process's file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from roentmod_fast.atomic import make_folder
from roentmod_fast.errors import DiskFullError, OutputError

FOLDER = "rows"
DONE, FAILED, REFUSED = STATES = ("done", "failed", "refused")
"""States of a row: its files are there; it could not be made; its source should not be edited."""


@dataclass(frozen=True)
class Row:
    """What became of one edit.

    ``files``: path below the cohort, SHA-256 and bytes by format. ``source_sha256``: of the source as it was read.
    ``seconds`` of the edit, without reading and writing. ``finished``: UTC. ``cut``: the end of the prompt that did
    not fit.
    """

    id: str
    state: str
    error: str = ""
    source_sha256: str = ""
    files: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    version: str = ""
    finished: str = ""
    host: str = ""
    cut: str = ""


class RowWriter:
    """Appends rows to a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._file = -1
        self.host = socket.gethostname()

    def append(self, row: Row) -> None:
        """Write a row; it is on the disk when this returns. Raises OutputError, DiskFullError of a full disk."""
        data = (json.dumps(asdict(row), ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
        try:
            if self._file < 0:
                make_folder(self._folder)
                name = f"{self.host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._file = os.open(self._folder / name, flags, 0o666)
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError as error:
            self.close()  # what follows a torn line must go to another file
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(f"{self._folder}: no space left on the disk: free some, then run again") from error
            raise OutputError(f"{self._folder}: a row cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; a later row begins another one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass
class Rows:
    """All rows of a cohort by id: the last one with files where an edit was made, else the last one.

    ``torn``: lines that were cut off, by file. ``repeated``: ids with several rows of files. ``differing``: those of
    them whose files differ.
    """

    by_id: dict[str, Row] = field(default_factory=dict)
    torn: dict[str, int] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    differing: set[str] = field(default_factory=set)

    def counts(self) -> Counter[str]:
        """Return how many edits have each state."""
        return Counter(row.state for row in self.by_id.values())

    def settled(self, *, retry_failed: bool) -> set[str]:
        """Return the ids that need no work."""
        return {key for key, row in self.by_id.items() if row.state != FAILED or not retry_failed}

    def add(self, row: Row) -> None:
        """Take a row; they come in the order of ``finished`` within a file, and in any order between files."""
        before = self.by_id.get(row.id)
        if before is not None and before.state == DONE and row.state == DONE:
            self.repeated.add(row.id)
            if before.files != row.files:
                self.differing.add(row.id)
        # Of two with files the later one: an edit whose file was lost is made again.
        if before is None or (row.state == DONE, row.finished) >= (before.state == DONE, before.finished):
            self.by_id[row.id] = row


def difference(path: Path, digest: str, size: int, *, quick: bool = False) -> str | None:
    """Return how a file differs from what its row says, None where it does not. ``quick``: by its size alone."""
    try:
        if path.stat().st_size != size:
            return f"has {path.stat().st_size} bytes and not {size}"
        if not quick and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return "its content is not what was written"
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def intact(folder: Path, row: Row) -> bool:
    """Return whether all files of a row are there with their hashes. ``folder``: of the cohort."""
    return all(difference(folder / path, digest, size) is None for path, digest, size in row.files.values())


def read_rows(folder: Path) -> Rows:
    """Read the rows of all processes. Raises OutputError where a file cannot be read."""
    rows = Rows()
    for path in sorted((folder / FOLDER).glob("*.jsonl")):
        try:
            with path.open("rb") as file:
                torn = _read(file, rows)
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
        if torn:
            rows.torn[path.name] = torn
    return rows


def _read(lines: Iterable[bytes], rows: Rows) -> int:
    torn = 0
    for line in lines:
        try:
            if not line.endswith(b"\n"):
                raise ValueError
            raw = json.loads(line.decode("utf-8", "surrogateescape"))
            raw["files"] = {name: tuple(facts) for name, facts in raw["files"].items()}
            rows.add(Row(**raw))
        except (ValueError, TypeError, KeyError, AttributeError):
            torn += 1
    return torn
