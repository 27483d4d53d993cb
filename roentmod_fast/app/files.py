"""Files of a sitting: taken in with limits, found and read by the library, and given out as ``edit`` writes them."""

from __future__ import annotations

import base64
import io
import re
import struct
import unicodedata
import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from roentmod_fast.app.folder import PrivateFolder
from roentmod_fast.errors import DiskFullError, OutputError, RoentmodError, SettingError, SourceError
from roentmod_fast.findings import prompt_slug
from roentmod_fast.jobs import Job, plan_jobs
from roentmod_fast.pipeline import FILES_LOCK, Edited, Writing, write_job
from roentmod_fast.radiograph.dicom.pixels import MAX_PIXELS
from roentmod_fast.radiograph.dicom.read import MAX_BYTES
from roentmod_fast.radiograph.letterbox import resample
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.region import read_mask
from roentmod_fast.radiograph.sources import Source, find_sources, safe_name, stem_of
from roentmod_fast.radiograph.write import SUFFIXES
from roentmod_fast.result import EditResult
from roentmod_fast.study.page.edits import RunPages

MAX_UPLOAD = MAX_BYTES
"""The longest file that is taken in, an archive too."""

MAX_MEMBERS = 1000
MAX_DIRECTORY = 4 << 20
"""Members of an archive, and bytes of its directory, which is parsed before members can be counted."""

MAX_UNPACKED = 4 << 30
MAX_RATIO = 200
FREE_RATIO_BYTES = 16 << 20
"""Bytes of all members unpacked; how far one may be compressed; and up to which size it may be so any way."""

THUMB_SIDE = 160
NAME_LENGTH = 120
PAGE = "html"


class TooLargeError(SourceError):
    """A file that is longer than is taken in."""


async def receive(parts: AsyncIterator[bytes], path: Path, limit: int) -> None:
    """Write the body of a request to ``path``, part by part; what is there of one that fails is removed.

    Raises TooLargeError beyond ``limit`` bytes, SourceError for an empty one, and OutputError where the disk refuses.
    """
    count = 0
    try:
        with path.open("xb") as file:
            async for part in parts:
                count += len(part)
                if count > limit:
                    raise TooLargeError(f"longer than {limit >> 20} MiB: not a radiograph")
                file.write(part)
        if not count:
            raise SourceError("an empty file: expected a radiograph")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DiskFullError(f"the file cannot be taken in: {error.strerror}: close some films") from error
        raise


def shown_name(text: str) -> str:
    """Return a file's name as it is shown and as outputs are named after it: one part, of characters that are seen.

    Folders before it, control characters and those that change the direction of writing are left out.
    """
    last = text.replace("\\", "/").rpartition("/")[2]
    seen = "".join(
        character for character in last if unicodedata.category(character)[0] not in "CZ" or character == " "
    )
    return safe_name(seen).strip()[:NAME_LENGTH] or "image"


def find_films(path: Path, name: str) -> tuple[list[Source], list[str]]:
    """Return the sources that a file in the private folder holds, itself or as an archive, under ``name``.

    With them lines on what is left out of an archive, as ``edit`` logs them. Raises SourceError with ``name`` for
    the path.
    """
    if not zipfile.is_zipfile(path) or not _starts_like_zip(path):
        return [Source(name, stem_of(name), path.parent, path, named=True)], []
    check_archive(path, name)
    with FILES_LOCK:
        try:
            found = find_sources([path], force="synthetic")
        except SourceError as error:
            raise SourceError(renamed(str(error), path, name)) from error
    sources = [replace(source, name=_member_name(name, source.member or ""), named=True) for source in found.sources]
    left_out = found.skipped_lines()
    for member, reason in found.unreadable.items():
        left_out.append(f"{_member_name(name, member.removeprefix(f'{path}:'))}: {reason}")
    return sources, left_out


def _member_name(name: str, member: str) -> str:
    return f"{name}:{'/'.join(shown_name(part) for part in member.replace(chr(92), '/').split('/') if part)}"


def check_archive(path: Path, name: str) -> None:
    """Raise SourceError for an archive that unpacks to more than a study of radiographs is; members stay packed.

    Members in archives within it are never opened. What a member's header says of its length is also what is read of
    it at most.
    """
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        file.seek(-min(file.tell(), (1 << 16) + 200), io.SEEK_END)
        tail = file.read()
    # The end of the directory (APPNOTE.TXT 4.3.16) and of that of ZIP64 (4.3.14), wherever zipfile may find them.
    for mark, start, form in ((b"PK\x05\x06", 12, "<L"), (b"PK\x06\x06", 40, "<Q")):
        for found in re.finditer(re.escape(mark), tail):
            field = tail[found.start() + start :][: struct.calcsize(form)]
            if len(field) == struct.calcsize(form) and MAX_DIRECTORY < struct.unpack(form, field)[0] != 0xFFFFFFFF:
                raise TooLargeError(f"{name}: more than {MAX_MEMBERS} members: unpack it first")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise SourceError(f"{name}: a zip archive that cannot be opened: damaged or truncated") from error
    if len(members) > MAX_MEMBERS:
        raise TooLargeError(f"{name}: {len(members)} members: more than {MAX_MEMBERS}: unpack it first")
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        raise TooLargeError(f"{name}: unpacks to more than {MAX_UNPACKED >> 30} GiB: unpack it first")
    for member in members:
        if member.file_size > max(FREE_RATIO_BYTES, MAX_RATIO * member.compress_size):
            raise TooLargeError(f"{name}: a member unpacks to more than {MAX_RATIO} times its size: not a radiograph")


def _starts_like_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def renamed(message: str, path: Path, name: str) -> str:
    """Return a message of the library with a file's shown name for its path in the private folder."""
    return message.replace(str(path), name)


def thumbnail(radiograph: Radiograph) -> str:
    """Return a radiograph as a small JPEG in a data: address."""
    height, width = radiograph.shape[0] * radiograph.aspect, radiograph.shape[1]
    scale = min(1.0, THUMB_SIDE / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    image = np.rint(np.clip(resample(radiograph.image, shape, Image.Resampling.BOX), 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def write_mask(data: bytes, radiograph: Radiograph, path: Path) -> None:
    """Write a mask that was painted on the upright film as the PNG that ``--mask`` takes, in the file's own matrix.

    Raises SettingError for one that is no PNG of the film's size, or is empty.
    """
    rows, columns = radiograph.shape
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS or opened.size != (columns, rows):
                raise SettingError(
                    f"mask: a mask of {opened.height} x {opened.width} pixels, the radiograph has {rows} x {columns}:"
                    " expected the same"
                )
            values = np.asarray(opened.convert("L"))
    except SettingError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, ...
        raise SettingError("mask: not a PNG that can be read: paint it again") from error
    Image.fromarray(np.ascontiguousarray(radiograph.orientation.back(values))).save(path, format="PNG")
    try:
        with FILES_LOCK:
            read_mask(path, radiograph)
    except RoentmodError as error:
        path.unlink()
        raise SettingError(renamed(str(error), path, "mask")) from error


@dataclass(frozen=True)
class Saving:
    """What a user chooses for a file: ``kind`` is ``dicom``, ``png`` or ``html``, the rest as for ``edit``."""

    kind: str = "dicom"
    deidentify: str = "pseudonymize"
    label: bool = False
    sop_class: str = "source"
    transfer_syntax: str = "explicit"

    def __post_init__(self) -> None:
        if self.kind not in (*SUFFIXES, PAGE):
            raise SettingError(f"format {self.kind!r}: expected one of {', '.join((*SUFFIXES, PAGE))}")


def save(
    folder: PrivateFolder, source: Source, prompts: Sequence[str], results: Iterable[EditResult], saving: Saving
) -> tuple[bytes, str]:
    """Return the file of an edit, or the page of several edits of one source, and the name that ``edit`` gives it.

    ``prompts``: of the ``results``, which are made one by one. The name holds nothing of the patient unless ``saving``
    leaves the identity in. Raises as ``EditResult.save`` does.
    """
    file_format = "dicom" if saving.kind == PAGE else saving.kind
    path = folder.new(f".{PAGE}" if saving.kind == PAGE else SUFFIXES[file_format])
    name = ""
    try:
        # Prompts that differ in what a name leaves out, such as edema and Edema, have one name.
        pairs = list({prompt_slug(prompt): (source, prompt) for prompt in prompts}.values())
        with FILES_LOCK:
            jobs = plan_jobs(pairs, file_format=file_format, deidentify=saving.deidentify).jobs
        planned = {prompt_slug(job.prompt): job for job in jobs}
        name = _page_name(jobs) if saving.kind == PAGE else jobs[0].path.name
        if saving.kind == PAGE:
            pages = RunPages(path, several=False, deidentify=saving.deidentify, labelled=saving.label)
            for result in results:  # making one takes the lock too
                with FILES_LOCK:
                    pages.add(Edited(planned[prompt_slug(result.prompt)], result, None))
            pages.close()
        else:
            [result] = results
            writing = Writing(saving.deidentify, saving.sop_class, saving.transfer_syntax, saving.label)
            with FILES_LOCK:
                write_job(replace(jobs[0], path=path), result, writing)
        return path.read_bytes(), name
    except (OutputError, SettingError) as error:
        raise type(error)(renamed(str(error), path, name or "the edit")) from error
    finally:
        path.unlink(missing_ok=True)


def _page_name(jobs: Sequence[Job]) -> str:
    stem = jobs[0].path.stem
    return f"{stem if len(jobs) == 1 else stem.removesuffix(f'.{prompt_slug(jobs[0].prompt)}')}.{PAGE}"


def ascii_name(name: str) -> str:
    """Return a name for Content-Disposition: letters, digits, ``.``, ``_`` and ``-``, and no hidden file."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem, dot, ending = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).rpartition(".")
    return f"{stem.lstrip('.')[:NAME_LENGTH] or 'edit'}{dot}{ending}"
