"""The key of a reader study: what each blinded image is. It stands beside the readers' folders, never in one of them.

``study.json`` holds what readers may know, ``key.json`` the rest; who has the key can unblind the study, so it is
written for its owner alone (mode 600).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from roentmod_fast.errors import OutputError, SettingError

FORMAT = 1
KEY, STUDY, SHEET, README, IMAGES = "key.json", "study.json", "sheet.csv", "README.txt", "images"
EDIT, CONTROL = "edit", "control"


@dataclass(frozen=True)
class BlindedImage:
    """One file that one reader reads.

    ``name``: of the file without its suffix; ``reader`` from 1 and ``order`` from 1 in what that reader reads;
    ``sha256`` of the file. ``case``: from 1, the same for all files of one image; ``again``: the second of two readings
    by this reader; ``shared``: read by all readers. ``kind``: :data:`EDIT` or :data:`CONTROL`; ``edit``: id, empty for
    a control; ``source``: key; ``patient``: a pseudonym, or a source of its own. ``asked``: findings of the prompt.
    ``labels``: of the source, ``1`` or ``0``, by finding.
    """

    name: str
    reader: int
    order: int
    sha256: str
    case: int
    again: bool
    shared: bool
    kind: str
    edit: str
    source: str
    patient: str
    prompt: str
    asked: tuple[str, ...]
    repeat: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def real(self) -> bool:
        """Whether it is an unedited radiograph."""
        return self.kind == CONTROL

    @property
    def path(self) -> str:
        """Return the file's path below the study's folder."""
        return f"{reader_folder(self.reader)}/{IMAGES}/{self.name}.png"


@dataclass(frozen=True)
class Key:
    """``study``: its id. ``settings``: all that decided on it, ``cohort`` and ``engine`` what it was made of."""

    study: str
    title: str
    version: str
    settings: Mapping[str, Any]
    cohort: Mapping[str, Any]
    findings: tuple[str, ...]
    readers: int
    images: tuple[BlindedImage, ...]

    def render(self) -> bytes:
        """Return the content of ``key.json``, with a hash of it."""
        facts = {"format": FORMAT, **asdict(self)}
        return _json({**facts, "sha256": _digest(facts)})

    def render_study(self, canvas: int) -> bytes:
        """Return the content of ``study.json``; nothing in it tells what an image is."""
        facts = {"format": FORMAT, "study": self.study, "title": self.title, "findings": self.findings}
        return _json({**facts, "canvas": canvas, "readers": self.readers})


def reader_folder(reader: int) -> str:
    """Return the name of a reader's folder; readers count from 1."""
    return f"reader-{reader}"


def study_id(*parts: object) -> str:
    """Return an id made of ``parts``: 16 hexadecimal digits that no spreadsheet takes for a number or a date."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
    return "abc"[int(digest[-1], 16) % 3] + digest[:15]


def read_key(path: Path) -> Key:
    """Read a key. Raises SettingError for what is none, and one that was changed."""
    try:
        raw = json.loads(path.read_bytes())
        if raw.pop("format") != FORMAT:
            raise SettingError(f"{path}: a key of another version of roentmod-fast: use that one")
        digest = raw.pop("sha256")
        if digest != _digest({"format": FORMAT, **raw}):
            raise SettingError(f"{path}: changed since the study was made: restore it")
        images = [{**image, "asked": tuple(image["asked"])} for image in raw["images"]]
        raw |= {"findings": tuple(raw["findings"]), "images": tuple(BlindedImage(**image) for image in images)}
        return Key(**raw)
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"{path}: no key of a reader study: expected STUDY/{KEY}") from None


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone may read (mode 600). Raises OutputError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o600)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def _digest(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
