"""The table of known files in docs/dicom-files.md: what it says of each is what the code does.

``python -m tests.radiograph.dicom.test_files_table`` writes the table anew; read the difference before you commit it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image
from pydicom.pixels import apply_rescale, apply_windowing

from roentmod_fast.errors import RefusedError, SourceError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.read import read_radiograph
from tests.conftest import NO_REAL_FILES, REAL_FILES, ROOT

PAGE = ROOT / "docs" / "dicom-files.md"
FOLDERS = {"radiographs": REAL_FILES, "pydicom": Path(pydicom.data.__file__).parent / "test_files"}
HEAD = ["| file | what comes of it | with `--force` |", "|---|---|---|"]
MANY = 6
"""More files of one folder than this with one result are listed by the first and the last."""


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def outcome(path: Path, *, force: bool = False) -> str:
    """Say in words what comes of a file."""
    try:
        radiograph = read_radiograph(path, force=force)
    except RefusedError as error:
        return "refused: " + str(error).removeprefix(f"{path}: ").rpartition(" (--force ")[0]
    except SourceError as error:
        return str(error).removeprefix(f"{path}: ")
    words = [f"{radiograph.shape[0]} x {radiograph.shape[1]}"]
    if radiograph.grayscale is not None:
        words.append(radiograph.grayscale.description)
    # What --force overrode is listed once; how many rules are broken depends on pydicom.
    notes = [note for note in radiograph.notes if not note.startswith(("forced: ", "the file breaks", "no "))]
    return "; ".join([f"read: {', '.join(words)}", *notes])


def rows(folder: Path) -> Iterator[str]:
    """Yield the rows of a folder's table, files of one folder that fare alike together."""
    results = []
    for path in files_of(folder):
        plain = outcome(path)
        forced = outcome(path, force=True) if plain.startswith("refused") else ""
        results.append((path.relative_to(folder), plain, forced))
    for (parent, plain, forced), group in groupby(results, key=lambda row: (row[0].parent, *row[1:])):
        names = [name.as_posix() for name, _, _ in group]
        if len(names) > MANY:
            shown = f"`{names[0]}` to `{Path(names[-1]).name}`, {len(names)} files"
        else:
            shown = ", ".join([f"`{names[0]}`", *(f"`{Path(name).name}`" for name in names[1:])])
        assert parent.as_posix() in (".", Path(names[0]).parent.as_posix())
        yield f"| {shown} | {plain} | {forced} |"


def block(page: str, name: str) -> list[str]:
    """Return the lines of a table of the page, between its two comments."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    return page[page.index(start) + len(start) : page.index(end)].splitlines()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_table_says_what_the_code_does(name: str) -> None:
    folder = FOLDERS[name]
    if not folder.is_dir():
        pytest.skip(NO_REAL_FILES)
    page = PAGE.read_text(encoding="utf-8")
    if name == "pydicom" and f"pydicom {pydicom.__version__}" not in page:
        pytest.skip(f"the table is that of another pydicom than {pydicom.__version__}")
    assert block(page, name) == [*HEAD, *rows(folder)]


def readable(folder: Path) -> Iterator[Path]:
    for path in files_of(folder):
        if not outcome(path, force=True).startswith("read: ") or path.suffix in (".png", ".jpg"):
            continue
        yield path


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_read_is_what_pydicom_reads(name: str) -> None:
    """Stored values are those of pydicom's own decoding, windows those of its own functions, turned over once."""
    if not FOLDERS[name].is_dir():
        pytest.skip(NO_REAL_FILES)
    compared = windows = 0
    for path in readable(FOLDERS[name]):
        radiograph = read_radiograph(path, force=True)
        if path.name == "JPGExtended.dcm":
            continue  # pydicom finds no decoder for it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            values = dataset.pixel_array
        if values.ndim == 3:  # grey stored as colour
            values = np.asarray(Image.fromarray(values).convert("L"))
        np.testing.assert_array_equal(radiograph.stored, values, path.name)
        compared += 1
        assert radiograph.grayscale is not None
        if "window" not in radiograph.grayscale.description:
            continue
        table = np.arange(values.min(), values.max() + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shown = apply_windowing(apply_rescale(table, dataset), dataset)
            # pydicom gives the window the range of all values that can be stored, rescaled.
            bits, signed = dataset.BitsStored, dataset.PixelRepresentation
            ends = np.array([-(1 << (bits - 1)), (1 << (bits - 1)) - 1] if signed else [0, (1 << bits) - 1])
            low, high = apply_rescale(ends, dataset)
        displayed = (shown - low) / (high - low)
        if header.code(dataset, "PhotometricInterpretation") == "MONOCHROME1":
            displayed = 1 - displayed
        expected = displayed[values - values.min()]
        assert np.abs(radiograph.orientation.upright(expected) - radiograph.image).max() < 1 / 255, path.name
        windows += 1
    assert (compared, windows) >= ((5, 2) if name == "radiographs" else (40, 30))


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    for table, where in FOLDERS.items():
        if where.is_dir():
            old = "\n".join(block(text, table)) + "\n" if block(text, table) else ""
            start = f"<!-- {table} -->\n"
            text = text.replace(start + old, start + "\n".join([*HEAD, *rows(where)]) + "\n")
    PAGE.write_text(text, encoding="utf-8")
