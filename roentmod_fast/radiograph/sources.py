"""Find radiographs: files, folders and zip archives, recognized by content and never by name alone."""

from __future__ import annotations

import io
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pydicom

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.marks import is_synthetic
from roentmod_fast.radiograph.dicom.read import MAX_BYTES, looks_like_dicom, no_image_kind
from roentmod_fast.radiograph.doubts import Force, forced_doubts
from roentmod_fast.radiograph.raster import is_marked_synthetic, looks_like_raster

MAX_MEMBERS = 100_000
"""The most members that a zip archive may have."""

_ENDINGS = (".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg")
_HEAD = 1 << 16
"""Bytes that are read to see what a file is: enough for the header of most radiographs."""

# zipfile raises RuntimeError for an encrypted member, NotImplementedError for an unknown method.
_UNPACKING = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Source:
    """One file that may be a radiograph, on disk or in a zip archive.

    ``name``: for messages. ``stem``: the file's name without its ending, from which an output's name is made.
    ``folder``: where outputs are written by default. ``path``: the file, or the archive that holds ``member``.
    ``inside``: the member's own folder in the archive, a path that stays below where it is put. ``named``: the user
    named this file itself, and no folder or archive that holds it.
    """

    name: str
    stem: str
    folder: Path
    path: Path
    member: str | None = None
    inside: Path = Path()
    named: bool = False

    @classmethod
    def of(cls, path: Path, *, named: bool = True) -> Source:
        """Return a file on disk as a source; it need not exist yet."""
        return cls(str(path), stem_of(path.name), path.parent, path, named=named)

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Return the whole content. Raises SourceError where it cannot be read or is longer than ``limit`` bytes."""
        data = self._read(limit + 1)
        if len(data) > limit:
            raise SourceError(f"{self.name}: longer than {limit >> 20} MiB: not a radiograph")
        if not data:
            raise SourceError(f"{self.name}: an empty file: expected a radiograph")
        return data

    def head(self) -> bytes:
        """Return the first bytes, enough to see what the file is."""
        return self._read(_HEAD)

    def header(self) -> pydicom.Dataset | None:
        """Return the header of a DICOM file as far as the first bytes hold it; None where they hold none."""
        try:
            head = self.head()
            return _header_of(head) if looks_like_dicom(head[:132]) else None
        except Exception:  # unreadable, or damaged in any of the ways that a parser stumbles on
            return None

    def _read(self, count: int) -> bytes:
        try:
            if self.member is None:
                if not self.path.exists():
                    raise SourceError(f"{self.name}: no such file")
                if self.path.is_dir():
                    raise SourceError(f"{self.name}: a folder: expected a file")
                if not self.path.is_file():
                    raise SourceError(f"{self.name}: not an ordinary file: expected a radiograph")
                with self.path.open("rb") as file:
                    return file.read(count)
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                return file.read(count)
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read: {error.strerror or 'input error'}") from error
        except _UNPACKING as error:
            if self._is_encrypted():
                raise SourceError(f"{self.name}: encrypted: unpack the archive with its password first") from error
            raise SourceError(f"{self.name}: cannot be unpacked: damaged, or compressed in an unknown way") from error

    def _is_encrypted(self) -> bool:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return self.member is not None and bool(archive.getinfo(self.member).flag_bits & 1)
        except (OSError, KeyError, *_UNPACKING):
            return False


@dataclass(frozen=True)
class SourceList:
    """What was found: ``sources`` in a stable order.

    ``skipped``: for each reason how many files are no radiographs to edit. ``unreadable``: what could not be opened,
    a file, a folder or a member, by its name, each with the reason: there may be radiographs in it.
    """

    sources: tuple[Source, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def skipped_lines(self) -> list[str]:
        """Return a line for each reason why files were skipped."""
        return [f"skipped {count} file{'s' if count > 1 else ''}: {reason}" for reason, count in self.skipped.items()]


def stem_of(name: str) -> str:
    """Return a file's name without an ending that names its kind: DICOM files are often called like their UID."""
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def find_sources(paths: Iterable[str | os.PathLike[str]], *, force: Force = False) -> SourceList:
    """Find the radiographs that ``paths`` name: files, folders (all below them, sorted) and zip archives.

    A file that is named itself is always a source, whatever it holds, so that its error is reported when it is
    read. In folders and archives, what is no image is skipped and counted, and so are images that are already
    synthetic (outputs of an earlier run) unless ``force`` names ``synthetic``. Raises SourceError for a path that does
    not exist or may not be opened, an archive that cannot be opened, and where nothing is found at all.
    """
    synthetic_too = "synthetic" in forced_doubts(force)
    found: dict[tuple[Path, str | None], Source] = {}
    skipped: Counter[str] = Counter()
    unreadable: dict[str, str] = {}
    places = [Path(path) for path in paths]
    for path in places:
        kind = _kind_of(path)
        if kind == "folder":
            candidates = _in_folder(path, skipped, unreadable)
        elif kind == "file" and _starts_like_zip(path):
            candidates = _in_zip(path, skipped)
        else:
            found[path, None] = Source.of(path)
            continue
        before = len(found)
        for source in candidates:
            try:
                reason = _reason_to_skip(source, synthetic_too)
            except SourceError as error:
                unreadable[source.name] = str(error).removeprefix(f"{source.name}: ")
                continue
            if reason is None:
                found.setdefault((source.path, source.member), source)
            else:
                skipped[reason] += 1
        if len(found) == before and len(places) == 1:
            parts = [f"{count} {reason}" for reason, count in sorted(skipped.items())]
            parts += [f"{count} {reason}" for reason, count in sorted(Counter(unreadable.values()).items())]
            why = f" ({'; '.join(parts)})" if parts else ": it is empty"
            raise SourceError(f"{path}: no radiographs in it{why}")
    if not found:
        raise SourceError("no radiographs found: name a DICOM, PNG or JPEG file, a folder or a zip archive")
    return SourceList(tuple(found.values()), dict(sorted(skipped.items())), unreadable)


def _kind_of(path: Path) -> str:
    """Return ``folder``, ``file`` or ``other``. Raises SourceError for a path that is not there or cannot be seen."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"{path}: no such file or folder") from None
    except (OSError, ValueError) as error:  # a path too long, a folder that may not be entered, a NUL
        reason = getattr(error, "strerror", None) or "not a path"
        raise SourceError(f"{path}: cannot be read: {reason}") from None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def _in_folder(folder: Path, skipped: Counter[str], unreadable: dict[str, str]) -> Iterator[Source]:
    """Yield the files below a folder, sorted, without following links to folders."""

    def shut(error: OSError) -> None:
        unreadable[str(error.filename)] = f"cannot be read: {error.strerror or 'input error'}"

    for root, folders, files in os.walk(folder, onerror=shut):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            try:
                ordinary = path.is_file()
            except OSError as error:
                shut(error)
                continue
            if name.startswith(".") or not ordinary:
                skipped["hidden or special file"] += 1
            elif _starts_like_zip(path):
                skipped["zip archive in a folder"] += 1
            else:
                yield Source.of(path, named=False)


def _in_zip(path: Path, skipped: Counter[str]) -> Iterator[Source]:
    """Yield the members of an archive; nothing is unpacked to disk, so a member's path leads nowhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(archive.infolist(), key=lambda member: member.filename)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceError(f"{path}: a zip archive that cannot be opened: damaged or truncated") from error
    if len(members) > MAX_MEMBERS:
        raise SourceError(f"{path}: {len(members)} members: more than {MAX_MEMBERS}: unpack it first")
    for member in members:
        if member.is_dir():
            continue
        inner = PurePosixPath(member.filename.replace("\\", "/"))
        if inner.name.startswith(".") or "__MACOSX" in inner.parts or not inner.name:
            skipped["hidden or special file"] += 1
            continue
        stem = safe_name(stem_of(inner.name)) or "image"
        inside = Path(*filter(None, map(safe_name, inner.parent.parts)))
        yield Source(f"{path}:{member.filename}", stem, path.parent, path, member.filename, inside)


def safe_name(part: str) -> str:
    """Return a part of a member's path as a name that leads nowhere else on any system; empty for ``..`` and a root."""
    name = re.sub(r"[\x00-\x1f<>:\"|?*/\\]", "_", part)
    return "" if not name.strip("._ ") else name


def _starts_like_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def _reason_to_skip(source: Source, synthetic_too: bool) -> str | None:
    """Return why a file found in a folder or an archive is left out, or None. Raises SourceError as ``head`` does."""
    head = source.head()
    if looks_like_raster(head):
        return "already synthetic" if not synthetic_too and is_marked_synthetic(head) else None
    if not looks_like_dicom(head[:132]):
        return "no radiograph by its content"
    try:
        dataset = _header_of(head)
        with header.unvalidated():
            sop_class = header.text(dataset, "SOPClassUID") or header.text(dataset.file_meta, "MediaStorageSOPClassUID")
            kind = no_image_kind(sop_class)
            if kind is None and not synthetic_too and is_synthetic(dataset):
                kind = "already synthetic"
    except Exception:  # cut off in the middle, or damaged in any of the ways that a parser stumbles on
        return None
    return kind


def _header_of(head: bytes) -> pydicom.Dataset:
    """Parse the header of a DICOM file that begins with ``head``. Raises whatever pydicom stumbles on."""
    with header.unvalidated():  # irregularities are reported when the whole file is read
        return pydicom.dcmread(io.BytesIO(head), stop_before_pixels=True, force=True)
