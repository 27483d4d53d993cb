"""Find radiographs: files, folders and zip archives, told apart by content and never by name alone."""

from __future__ import annotations

import io
import lzma
import os
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pydicom
from pydicom.config import disable_value_validation

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph import header
from roentmod_fast.radiograph.dicom_read import MAX_BYTES, looks_like_dicom, no_image_kind
from roentmod_fast.radiograph.doubts import Force, forced_doubts
from roentmod_fast.radiograph.raster import is_marked_synthetic, looks_like_raster
from roentmod_fast.radiograph.synthetic import is_synthetic

MAX_MEMBERS = 100_000
"""The most members of a zip archive that are looked at."""

_ENDINGS = (".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg")
_HEAD = 1 << 16
"""Bytes that are read to see what a file is: enough for the header of most radiographs."""

# RuntimeError is zipfile's word for an encrypted member, NotImplementedError for an unknown method.
_UNPACKING = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Source:
    """One file that may be a radiograph, on disk or in a zip archive.

    ``name``: for messages. ``stem``: the file's name without its ending, from which an output's name is made.
    ``folder``: where an output stands unless told otherwise. ``path``: the file, or the archive that holds ``member``.
    """

    name: str
    stem: str
    folder: Path
    path: Path
    member: str | None = None

    @classmethod
    def of(cls, path: Path) -> Source:
        """Return a file on disk as a source; it need not exist yet."""
        return cls(str(path), stem_of(path.name), path.parent, path)

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
            raise SourceError(f"{self.name}: cannot be unpacked: damaged or encrypted") from error


@dataclass(frozen=True)
class SourceList:
    """What was found: ``sources`` in a stable order, and for each reason how many files were ``skipped``."""

    sources: tuple[Source, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)


def stem_of(name: str) -> str:
    """Return a file's name without an ending that names its kind: DICOM files are often called like their UID."""
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def find_sources(paths: Iterable[str | os.PathLike[str]], *, force: Force = False) -> SourceList:
    """Find the radiographs that ``paths`` name: files, folders (all below them, sorted) and zip archives.

    A file that is named itself is always a source, whatever it holds, so that what is wrong with it is said when it is
    read. In folders and archives, what is no picture is skipped and counted, and so are pictures that are already
    synthetic (outputs of an earlier run) unless ``force`` names ``synthetic``. Raises SourceError for a path that
    does not exist, an archive that cannot be opened, and where nothing is found at all.
    """
    synthetic_too = "synthetic" in forced_doubts(force)
    found: dict[Source, None] = {}
    skipped: Counter[str] = Counter()
    places = [Path(path) for path in paths]
    for path in places:
        if path.is_dir():
            candidates = _in_folder(path, skipped)
        elif path.is_file() and _starts_like_zip(path):
            candidates = _in_zip(path, skipped)
        else:
            if not path.exists():
                raise SourceError(f"{path}: no such file or folder")
            found[Source.of(path)] = None
            continue
        before = len(found)
        for source in candidates:
            reason = _reason_to_skip(source, synthetic_too)
            if reason is None:
                found[source] = None
            else:
                skipped[reason] += 1
        if len(found) == before and len(places) == 1:
            counted = "; ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
            raise SourceError(f"{path}: no radiographs in it" + (f" ({counted})" if counted else ": it is empty"))
    if not found:
        raise SourceError("no radiographs found: name a DICOM, PNG or JPEG file, a folder or a zip archive")
    return SourceList(tuple(_with_own_stems(found)), dict(sorted(skipped.items())))


def _in_folder(folder: Path, skipped: Counter[str]) -> Iterator[Source]:
    """Yield the files below a folder, sorted, without following links to folders."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if name.startswith(".") or not path.is_file():
                skipped["hidden or special file"] += 1
            elif _starts_like_zip(path):
                skipped["zip archive in a folder"] += 1
            else:
                yield Source.of(path)


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
        stem = re.sub(r"[\x00-\x1f/\\:]", "_", stem_of(inner.name))
        yield Source(f"{path}:{member.filename}", stem, path.parent, path, member.filename)


def _starts_like_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def _reason_to_skip(source: Source, synthetic_too: bool) -> str | None:
    """Return why a file found in a folder or an archive is left out, or None."""
    try:
        head = source.head()
    except SourceError:
        return "unreadable"
    if looks_like_raster(head):
        return "already synthetic" if not synthetic_too and is_marked_synthetic(head) else None
    if not looks_like_dicom(head[:132]):
        return "no radiograph by its content"
    try:
        with disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whatever is odd about a file is told when it is read as a whole
            dataset = pydicom.dcmread(io.BytesIO(head), stop_before_pixels=True, force=True)
            sop_class = header.text(dataset, "SOPClassUID") or header.text(dataset.file_meta, "MediaStorageSOPClassUID")
            kind = no_image_kind(sop_class)
            if kind is None and not synthetic_too and is_synthetic(dataset):
                kind = "already synthetic"
    except Exception:  # cut off in the middle, or damaged in any of the ways that a parser stumbles on
        return None
    return kind


def _with_own_stems(found: Iterable[Source]) -> Iterator[Source]:
    """Give sources of the same name in one folder (members of an archive) stems of their own."""
    taken: set[tuple[Path, str]] = set()
    for source in found:
        stem = source.stem
        number = 2
        while (source.folder, stem) in taken:
            stem = f"{source.stem}-{number}"
            number += 1
        taken.add((source.folder, stem))
        yield source if stem == source.stem else Source(source.name, stem, source.folder, source.path, source.member)
