"""The sheet of a reader: a CSV file with one row an image, written and read back from whatever program filled it in.

An empty cell is "not read" and never "absent": the paper's sheet took a blank for 0, which makes a row that nobody read
look like a normal radiograph. Files are read with ``,``, ``;`` or a tab between cells, in UTF-8, UTF-16 or the Windows
code page, with columns and rows in any order.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import SettingError

ABSENT, PRESENT, UNSURE = READINGS = (0, 1, 2)
"""Values of a finding. Of ``realism``: synthetic, real, unsure."""

READ = "read"
"""``status`` of an image that the reader finished."""

_BEFORE = ("study", "image", "order")
_AFTER = ("realism", "extra", "confidence", "notes", "seconds", "read_at", "status")
FIXED = (*_BEFORE, *_AFTER)
"""Columns that are no findings."""

_NEEDED = ("study", "image")
_DELIMITERS = ",;\t"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
# What spreadsheets make of a text that looks like a number or a date: 1E+05, 12345, 3,0E+10, 04.03.2026, 4-Mar, Mar-04.
_CONVERTED = re.compile(
    r"[+-]?\d+([.,]\d+)?(e[+-]?\d+)?|\d{1,4}[-./]\d{1,2}([-./]\d{1,4})?"
    r"|\d{1,2}[-. ]+[^\W\d]{3,}\.?|[^\W\d]{3,}[-. ]+\d{1,4}|#+",
    re.IGNORECASE,
)


def COLUMNS(findings: Iterable[str]) -> tuple[str, ...]:  # noqa: N802 - the columns, of which the findings vary
    """Return the columns of a sheet in their order."""
    return (*_BEFORE, *findings, *_AFTER)


@dataclass(frozen=True)
class SheetRow:
    """What a reader entered for one image; None and empty text where nothing.

    ``findings``: 0 absent, 1 present, 2 unsure, by name. ``realism``: 1 real, 0 synthetic, 2 unsure. ``confidence``: 1
    to 5. ``extra``: another finding, in words. ``seconds``: time on the image. ``number``: of the line in its file.
    """

    study: str
    image: str
    order: int | None = None
    findings: Mapping[str, int | None] = field(default_factory=dict)
    realism: int | None = None
    extra: str = ""
    confidence: int | None = None
    notes: str = ""
    seconds: float | None = None
    read_at: str = ""
    status: str = ""
    number: int = 0

    @property
    def read(self) -> bool:
        """Whether the image was read: finished by its status, or with a value for a finding or realism."""
        given = (*self.findings.values(), self.realism)
        return self.status.casefold() == READ or any(value is not None for value in given)


@dataclass(frozen=True)
class Sheet:
    """A sheet as it was read. ``findings``: its other columns, in their order; ``name``: of the file, for messages."""

    name: str
    study: str
    findings: tuple[str, ...]
    rows: tuple[SheetRow, ...]


def write_sheet(path: Path, rows: Iterable[SheetRow], findings: Sequence[str], *, overwrite: bool = False) -> None:
    """Write a sheet: CSV in UTF-8 with a byte order mark, by which Excel knows it. Raises OutputError."""
    write_atomically(path, render_sheet(rows, findings), overwrite=overwrite)


def render_sheet(rows: Iterable[SheetRow], findings: Sequence[str]) -> bytes:
    """Return the content of a sheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS(findings))
    for row in rows:
        cells = {**row.findings, **{name: getattr(row, name) for name in FIXED}}
        values = (cells.get(name) for name in COLUMNS(findings))
        # Without an exponent, which is no number to whoever reads the sheet.
        writer.writerow(np.format_float_positional(v, trim="-") if isinstance(v, float) else v for v in values)
    return buffer.getvalue().encode("utf-8-sig")


def read_sheet(path: Path) -> Sheet:
    """Read a sheet. Raises SettingError naming file, row and column of the first cell that cannot be taken as it is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    lines = _lines(_text(data, path), path)
    columns = _columns(next(lines, (0, []))[1], path)
    rows = [_row(cells, columns, path, number) for number, cells in lines if any(cells)]
    if not rows:
        raise SettingError(f"{path}: no rows: expected one for each image")
    _check(rows, path)
    findings = tuple(name for name in columns if name and name not in FIXED)
    return Sheet(str(path), rows[0].study, findings, tuple(rows))


def _check(rows: Sequence[SheetRow], path: Path) -> None:
    studies = sorted({row.study for row in rows})
    if len(studies) > 1:
        raise SettingError(f"{path}: rows of {len(studies)} studies, {' and '.join(studies[:2])}: one sheet a study")
    twice = [name for name, count in Counter(row.image for row in rows).items() if count > 1]
    if twice:
        numbers = " and ".join(str(row.number) for row in rows if row.image == twice[0])
        raise SettingError(f"{path}: rows {numbers}: image {twice[0]} comes twice: leave the row that counts")


def _text(data: bytes, path: Path) -> str:
    """Decode a file by its byte order mark, else as UTF-8, else as the Windows code page of western languages."""
    if data.startswith(_WORKBOOKS):
        raise SettingError(f"{path}: a workbook: save the sheet as 'CSV UTF-8' and give that file")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        codecs = ["utf-16"]
    elif data[1:2] == b"\0":
        codecs = ["utf-16-le"]
    elif data[:1] == b"\0":
        codecs = ["utf-16-be"]
    else:
        codecs = ["utf-8-sig", "cp1252"]
    for codec in codecs:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.removeprefix("\ufeff")
    raise SettingError(f"{path}: not a text file: expected CSV in UTF-8")


def _lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row, stripped, with its number; the first is the header."""
    start = 1
    # A line that Excel reads and does not show.
    if mark := re.match(r"[\"']?sep=(.)[\"']?\s*?\r?\n", text, re.IGNORECASE):
        text, start = text[mark.end() :], 2
    first = text.split("\n", 1)[0]
    delimiter = mark[1] if mark else max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n"), newline=""), delimiter=delimiter)
    try:
        for number, cells in enumerate(reader, start):
            yield number, [cell.strip().strip("\u00a0") for cell in cells]
    except csv.Error as error:
        raise SettingError(f"{path}: not a CSV file: {error}") from None


def _columns(header: Sequence[str], path: Path) -> list[str]:
    """Return the names of the columns, empty for one without a name."""
    names = [re.sub(r"\s+", "_", name.casefold()) for name in header]
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise SettingError(f"{path}: column {twice[0]} comes twice: leave one of them")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        expected = "the sheet of a reader study, with its first row"
        raise SettingError(f"{path}: lacks the column {missing[0]}: expected {expected}")
    return names


def _row(cells: Sequence[str], columns: Sequence[str], path: Path, number: int) -> SheetRow:
    where = f"{path}: row {number}"
    if any(cells[len(columns) :]):
        raise SettingError(f"{where}: more cells than columns: a comma in a cell without quotes? put it in quotes")
    padded = [*cells[: len(columns)], *[""] * (len(columns) - len(cells))]
    values = dict(zip(columns, padded, strict=True))
    if values.get("", "") or any(cell for name, cell in zip(columns, padded, strict=True) if not name):
        raise SettingError(f"{where}: a value in a column without a name: name the column or clear it")
    image = re.sub(r"\.png$", "", values["image"], flags=re.IGNORECASE)
    for name, text in (("study", values["study"]), ("image", image)):
        if not text:
            raise SettingError(f"{where}: no {name}: restore the cell")
        if _CONVERTED.fullmatch(text):
            hint = "a spreadsheet made a number or date of it: restore the column as text"
            raise SettingError(f"{where}: {name} {text[:20]!r}: {hint}")
    order = _number(values.get("order", ""), f"{where}, column order")
    seconds = _number(values.get("seconds", ""), f"{where}, column seconds")
    findings = {name: values[name] for name in columns if name and name not in FIXED}
    return SheetRow(
        study=values["study"],
        image=image,
        order=None if order is None else int(order),
        findings={name: _choice(text, f"{where}, column {name}", READINGS) for name, text in findings.items()},
        realism=_choice(values.get("realism", ""), f"{where}, column realism", READINGS),
        extra=values.get("extra", ""),
        confidence=_choice(values.get("confidence", ""), f"{where}, column confidence", range(1, 6)),
        notes=values.get("notes", ""),
        seconds=seconds,
        read_at=values.get("read_at", ""),
        status=values.get("status", ""),
        number=number,
    )


def _number(text: str, where: str) -> float | None:
    """Return a number that may have a decimal comma, None for an empty cell."""
    if not text:
        return None
    if not re.fullmatch(r"\d+([.,]\d*)?", text):
        raise SettingError(f"{where}: {text[:20]!r} is no number: expected one such as 12.5, or nothing")
    return float(text.replace(",", "."))


def _choice(text: str, where: str, known: Sequence[int]) -> int | None:
    """Return one of a few whole numbers, also where a spreadsheet wrote it with decimals; None for an empty cell."""
    if not text:
        return None
    if re.fullmatch(r"\d([.,]0*)?", text) and int(text[0]) in known:
        return int(text[0])
    raise SettingError(f"{where}: {text[:20]!r}: expected one of {', '.join(map(str, known))}, or nothing if not read")
