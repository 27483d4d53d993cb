"""The index of many pages: one line an edit, with filters by finding, patient and change."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote

from roentmod_fast.atomic import write_atomically
from roentmod_fast.study.page.html import INDEX, assemble


@dataclass(frozen=True)
class IndexRow:
    """One edit in an index.

    ``page``: the file of its page as seen from the index, None for none; ``number``: which edit of that page.
    ``patient``: a pseudonym, or what else the edit's file carries. ``changed``: share of pixels that changed.
    """

    name: str
    prompt: str
    page: PurePath | None = None
    number: int = 0
    patient: str = ""
    findings: tuple[str, ...] = ()
    changed: float | None = None
    status: str = "done"


def address(page: PurePath, number: int = 0) -> str:
    """Return a relative address of a file, whatever its name holds; it is never taken for another scheme."""
    return "./" + quote(page.as_posix()) + (f"#{number}" if number else "")


def index_page(rows: Iterable[IndexRow], title: str) -> bytes:
    """Return an index as a file. A name is shown as text whatever it holds."""
    entries = [
        {
            "name": row.name,
            "prompt": row.prompt,
            "page": "" if row.page is None else address(row.page, row.number),
            "patient": row.patient,
            "findings": list(row.findings),
            "changed": row.changed,
            "status": row.status,
        }
        for row in rows
    ]
    return assemble(INDEX, title, {"title": title, "entries": entries}, {})


def write_index(path: str | os.PathLike[str], rows: Iterable[IndexRow], title: str, *, overwrite: bool = False) -> None:
    """Write an index as one HTML file. Raises OutputError."""
    write_atomically(Path(path), index_page(rows, title), overwrite=overwrite)
