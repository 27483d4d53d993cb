"""Match the sheets of readers with the key of their study.

What does not fit is an error: a sheet of another study, an image that the key does not know, one that is read in two
sheets, an image file that was altered. What is merely not there, such as the rest of a reader who stopped, is counted.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roentmod_fast.errors import SettingError
from roentmod_fast.study.readers.formula import unguarded
from roentmod_fast.study.readers.key import IMAGES, BlindedImage, Key, read_key, reader_folder
from roentmod_fast.study.readers.sheet import Sheet, SheetRow, read_sheet

_DENIED = re.compile(r"(none|no|nil|nothing|n/?a|0|[-\u2013\u2014]+)( other| further)?( findings?)?[ .]*")


@dataclass(frozen=True)
class Read:
    """One image that one reader read."""

    image: BlindedImage
    row: SheetRow

    @property
    def extra(self) -> str:
        """Return the other finding that the reader named."""
        return unguarded(self.row.extra)

    @property
    def names_extra(self) -> bool:
        """Whether the reader named another finding; a text such as "none" names none."""
        return bool(self.extra.strip()) and not self.denies_extra

    @property
    def denies_extra(self) -> bool:
        """Whether the reader wrote that there is no other finding."""
        return _DENIED.fullmatch(self.extra.strip().casefold()) is not None

    @property
    def notes(self) -> str:
        """Return the reader's notes."""
        return unguarded(self.row.notes)


@dataclass
class Reads:
    """All that was read in a study.

    ``reads``: in the order of the key. ``sheets``: name and SHA-256 of each file. ``planned``: images by reader.
    ``missing``: how often each finding has no value in a row that was read. ``notes``: what a user should know.
    ``checked``: how many image files were compared with the key.
    """

    key: Key
    key_sha256: str
    reads: list[Read]
    sheets: list[tuple[str, str]]
    planned: dict[int, int]
    missing: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    checked: int = 0

    @property
    def firsts(self) -> list[Read]:
        """Return the reads without second readings of an image by the same reader."""
        return [read for read in self.reads if not read.image.again]

    def of(self, reader: int) -> list[Read]:
        """Return what a reader read."""
        return [read for read in self.reads if read.image.reader == reader]


def read_study(key_file: Path, sheets: Sequence[Path]) -> Reads:
    """Read a key and sheets, and compare the image files beside the key with it, where they are there.

    Raises SettingError for what does not fit.
    """
    key = read_key(key_file)
    if not sheets:
        raise SettingError(f"no sheet: name those that the readers returned, such as reader-1/sheet.csv of {key_file}")
    by_name = {image.name: image for image in key.images}
    found: dict[str, tuple[SheetRow, str]] = {}
    digests, notes = [], list[str]()
    for path in sheets:
        sheet = read_sheet(path)
        digests.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
        notes += _check_columns(sheet, key)
        for row in sheet.rows:
            if row.image not in by_name:
                raise SettingError(
                    f"{path}: row {row.number}: image {row.image[:40]!r}: not in the study of {key_file}"
                )
            if not row.read:
                continue
            if row.image in found:
                raise SettingError(f"{path}: row {row.number}: image {row.image} is read in {found[row.image][1]} too")
            found[row.image] = row, str(path)
    if not found:
        raise SettingError(f"{len(sheets)} sheets: no image is read: a row counts with a finding or the status 'read'")
    reads = [Read(image, found[image.name][0]) for image in key.images if image.name in found]
    result = Reads(
        key,
        hashlib.sha256(key_file.read_bytes()).hexdigest(),
        reads,
        digests,
        dict(sorted(Counter(image.reader for image in key.images).items())),
        notes=notes,
    )
    result.missing.update(name for read in reads for name in key.findings if read.row.findings.get(name) is None)
    result.checked = _check_images(key, key_file.parent, result.notes)
    _note_what_is_missing(result)
    return result


def _check_columns(sheet: Sheet, key: Key) -> Iterable[str]:
    """Raise SettingError for a sheet that is not of this study; yield notes on columns that are not."""
    if sheet.study != key.study:
        raise SettingError(f"{sheet.name}: a sheet of study {sheet.study[:40]}: the key is of study {key.study}")
    missing = [name for name in key.findings if name not in sheet.findings]
    if missing:
        raise SettingError(f"{sheet.name}: lacks the column {missing[0]}: restore it, an empty column is not read")
    for name in sheet.findings:
        if name not in key.findings:
            count = sum(row.findings.get(name) is not None for row in sheet.rows)
            yield f"{sheet.name}: column {name[:40]!r} is no finding of the study: {count} values are ignored"


def _check_images(key: Key, folder: Path, notes: list[str]) -> int:
    """Compare image files with the key; return how many are there. Raises SettingError for one that was altered."""
    there = 0
    for image in key.images:
        path = folder / image.path
        try:
            data = path.read_bytes()
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise SettingError(f"{path}: altered since the study was made: its reads are of another image")
        there += 1
    if there < len(key.images):
        notes.append(f"{len(key.images) - there} of {len(key.images)} image files are not beside the key: not compared")
    for reader in range(1, key.readers + 1):
        known = {image.name for image in key.images if image.reader == reader}
        strange = {path.stem for path in (folder / reader_folder(reader) / IMAGES).glob("*")} - known
        if strange:
            notes.append(f"{reader_folder(reader)}/{IMAGES}: {len(strange)} files are not of the study")
    return there


def _note_what_is_missing(result: Reads) -> None:
    count = Counter(read.image.reader for read in result.reads)
    for reader, planned in result.planned.items():
        if count[reader] < planned:
            result.notes.append(f"reader {reader} read {count[reader]} of {planned} images")
    if result.missing:
        cells = ", ".join(f"{name} {number}" for name, number in result.missing.most_common())
        result.notes.append(f"cells without a value in images that were read, left out: {cells}")
    if denied := sum(read.denies_extra for read in result.reads):
        result.notes.append(f"{denied} cells of the column extra say that there is none: they name no other finding")
