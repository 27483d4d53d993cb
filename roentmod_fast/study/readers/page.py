"""The page of a reader: the images of a study and the reader's sheet in one HTML file that requests nothing.

    for path in write_pages(Path("study")): ...

The page is made of what a reader may know: ``study.json``, and ``sheet.csv`` and ``images/`` of the reader's folder.
Pixels are embedded as the pages of a cohort embed them, so that a browser shows exactly the values of the files.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import OutputError, SettingError, SourceError
from roentmod_fast.radiograph.png import GREY, depth_and_colour
from roentmod_fast.study.page.html import STYLE, VIEWER, Template, assemble
from roentmod_fast.study.page.pixels import Values, encode
from roentmod_fast.study.readers.formula import unguarded
from roentmod_fast.study.readers.sheet import COLUMNS, FIXED, Sheet, SheetRow, read_sheet

ROOM = "roentmod_fast.study.readers"
READER = Template(
    ("reader.html", ROOM),
    (STYLE, ("reader.css", ROOM)),
    (VIEWER, ("sheet.js", ROOM), ("reader.js", ROOM)),
    mark="READER STUDY - not for diagnosis",
)
PAGE = "read.html"
STUDY, SHEET, IMAGES = "study.json", "sheet.csv", "images"
FORMAT = 1

WINDOWS = (("full", 128, 256), ("contrast", 128.5, 161), ("lungs", 64.5, 129), ("dense", 176, 160))
"""Name, centre and width of the presets in grey levels: the same for all images, so that they tell nothing of one."""

MAX_SIDE = 8192


@dataclass(frozen=True)
class ReaderStudy:
    """What readers may know of a study. ``readers``: names of their folders."""

    folder: Path
    id: str
    title: str
    findings: tuple[str, ...]
    readers: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> ReaderStudy:
        """Read ``study.json``. Raises SettingError for what is none of a reader study."""
        path = folder / STUDY
        try:
            raw = json.loads(path.read_bytes())
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}: name the folder of a reader study") from None
        except ValueError:
            raise SettingError(f"{path}: no JSON: restore it") from None
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise SettingError(f"{path}: no reader study of format {FORMAT}: restore it, or use another version")
        title, name, readers = raw.get("title"), raw.get("study"), raw.get("readers")
        if isinstance(readers, int) and not isinstance(readers, bool):
            readers = [f"reader-{number}" for number in range(1, readers + 1)]
        if not (isinstance(title, str) and isinstance(name, str) and name.strip()):
            raise SettingError(f"{path}: lacks title or study: restore it")
        findings, readers = _names(raw.get("findings"), path, "findings"), _names(readers, path, "readers")
        if any(re.search(r"\s", each) or each != each.casefold() for each in findings):
            raise SettingError(f"{path}: findings: expected names such as pleural_thickening: restore it")
        if reserved := sorted(set(findings) & set(FIXED)):
            raise SettingError(f"{path}: findings: {reserved[0]} is a column of its own: restore it")
        if strange := [each for each in readers if not _plain(each)]:
            raise SettingError(f"{path}: readers: {strange[0]!r} is no name of a folder: restore it")
        return cls(folder, name, title, findings, readers)

    def chosen(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """Return the names of readers by number, from 1; all where none is given. Raises SettingError."""
        names = tuple(f"reader-{number}" for number in dict.fromkeys(numbers))
        if unknown := [name for name in names if name not in self.readers]:
            raise SettingError(f"--reader {unknown[0][7:]}: {self.folder} has {', '.join(self.readers)}")
        return names or self.readers


def count_images(study: ReaderStudy, readers: Sequence[int] = ()) -> int:
    """Return how many images the pages of these readers, or of all, will hold."""
    folders = (study.folder / name / IMAGES for name in study.chosen(readers))
    return sum(path.suffix.lower() == ".png" for folder in folders if folder.is_dir() for path in folder.iterdir())


def write_pages(
    study: ReaderStudy,
    readers: Sequence[int] = (),
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> Iterator[Path]:
    """Write the page of each reader, or of those with these numbers, and yield its path.

    Nothing is written where one is there already and ``overwrite`` is not given. ``progress`` is called with the name
    of each image. Raises SettingError, SourceError, OutputError.
    """
    names = study.chosen(readers)
    paths = [study.folder / name / PAGE for name in names]
    for path in paths:
        if path.exists() and not overwrite:
            raise OutputError(
                f"{path}: already exists: --overwrite makes it anew; a reader's browser holds its answers"
            )
    for name, path in zip(names, paths, strict=True):
        write_atomically(path, reader_page(study, name, progress), overwrite=overwrite)
        yield path


def reader_page(study: ReaderStudy, reader: str, progress: Callable[[str], None] = lambda name: None) -> bytes:
    """Return the page of a reader as a file: the same bytes for the same folder.

    Answers that the sheet has are in it. Raises SettingError for a sheet that does not fit the study, SourceError for
    an image that is missing or not of 8 bits, grey, and of the size of the others.
    """
    folder = study.folder / reader
    sheet = read_sheet(folder / SHEET)
    rows = _checked(sheet, study)
    _check_files(folder, rows)
    blobs: dict[str, str] = {}
    images: list[dict[str, Any]] = []
    shape: tuple[int, ...] = ()
    for number, row in enumerate(rows):
        path = folder / IMAGES / f"{row.image}.png"
        values = _values(path)
        shape = shape or values.shape
        if values.shape != shape:
            found, expected = (f"{columns} x {lines}" for lines, columns in (values.shape, shape))
            raise SourceError(f"{path}: {found} pixels: expected {expected}, as the others: restore it")
        blob = encode(values)
        blobs[f"image{number}"] = blob.text
        images.append({"name": row.image, "order": row.order, "predictor": blob.predictor})
        progress(row.image)
    identity = [study.id, reader, study.findings, [row.image for row in rows]]
    data = {
        "title": study.title,
        "study": study.id,
        "reader": reader,
        # Answers are stored under it: those of another set of images are never shown for these.
        "set": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
        "findings": study.findings,
        "columns": COLUMNS(study.findings),
        "windows": WINDOWS,
        "width": shape[1],
        "height": shape[0],
        "images": images,
        "answers": [[row.image, _answers(row)] for row in rows if row.read or row.extra or row.notes],
    }
    return assemble(READER, f"{study.title} - {reader}", data, blobs)


def _names(values: Any, path: Path, field: str) -> tuple[str, ...]:
    """Return a list of names of ``study.json``, none of which is empty or comes twice."""
    if not isinstance(values, list) or not values or not all(isinstance(each, str) and each.strip() for each in values):
        raise SettingError(f"{path}: {field}: expected a list of names: restore it")
    if len({each.casefold() for each in values}) < len(values):
        raise SettingError(f"{path}: {field}: a name comes twice: restore it")
    return tuple(values)


def _checked(sheet: Sheet, study: ReaderStudy) -> list[SheetRow]:
    """Return the rows of a sheet in the order in which they are read."""
    if sheet.study != study.id:
        raise SettingError(f"{sheet.name}: of the study {sheet.study[:40]!r}: expected {study.id}")
    if set(sheet.findings) != set(study.findings):
        raise SettingError(f"{sheet.name}: its findings are not those of {STUDY}: restore its first row")
    orders = [row.order for row in sheet.rows]
    if None in orders or len(set(orders)) < len(orders):
        raise SettingError(f"{sheet.name}: column order: expected another number in each row: restore it")
    return sorted(sheet.rows, key=lambda row: row.order or 0)


def _check_files(folder: Path, rows: Sequence[SheetRow]) -> None:
    """Raise where the sheet and the images are not about the same."""
    for row in rows:
        if not _plain(row.image):
            raise SettingError(f"{folder / SHEET}: row {row.number}: image {row.image[:40]!r} is no name of a file")
    try:
        there = {path.stem for path in (folder / IMAGES).iterdir() if path.suffix.lower() == ".png"}
    except OSError as error:
        raise SourceError(f"{folder / IMAGES}: cannot be read: {error.strerror}") from None
    listed = {row.image for row in rows}
    if missing := sorted(listed - there):
        raise SourceError(f"{folder / IMAGES / missing[0]}.png: missing, and in the sheet: restore it")
    if extra := sorted(there - listed):
        raise SettingError(f"{folder / SHEET}: no row of {IMAGES}/{extra[0]}.png: restore the sheet")


def _plain(name: str) -> bool:
    """Return whether a name is that of a file in its folder on every system."""
    return name not in {".", ".."} and not any(character in name for character in "/\\:\0")


def _values(path: Path) -> Values:
    """Return a grey PNG of 8 bits as uint16 (H, W)."""
    try:
        data = path.read_bytes()
        if depth_and_colour(data) != (8, GREY):
            raise SourceError(f"{path}: no grey PNG of 8 bits: restore it")
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            if max(opened.size) > MAX_SIDE:
                raise SourceError(f"{path}: {opened.size[0]} x {opened.size[1]} pixels: at most {MAX_SIDE} a side")
            return np.array(opened, dtype=np.uint8).astype(np.uint16)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'damaged'}") from None


def _answers(row: SheetRow) -> dict[str, str]:
    """Return what a row holds as text by column, as the page reads a sheet."""
    values = {**row.findings, "realism": row.realism, "confidence": row.confidence, "seconds": row.seconds}
    cells = {name: "" if value is None else f"{value:g}" for name, value in values.items()}
    texts = {"extra": unguarded(row.extra), "notes": unguarded(row.notes), "read_at": row.read_at, "status": row.status}
    return cells | texts
