"""Pages of edits: of one radiograph with its edits, and of all radiographs of a run with an index."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.errors import SettingError
from roentmod_fast.findings import prompt_slug
from roentmod_fast.pipeline import Edited
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.deidentify import NONE, PSEUDONYMIZE, Pseudonyms, patient_key, pseudonym_key
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.result import EditResult
from roentmod_fast.study.page.content import (
    PageContent,
    PageEdit,
    edit_of,
    encode_source,
    first_image,
    source_of,
)
from roentmod_fast.study.page.html import EDITS, assemble
from roentmod_fast.study.page.index import IndexRow, address, write_index
from roentmod_fast.study.page.pixels import Blob

ENDINGS = (".html", ".htm")


class Page:
    """The page of one radiograph, to which edits are added one by one; it holds them compressed.

    ``title``: shown at the top; ``name``: what the source is called. Neither may name a patient.
    """

    def __init__(self, radiograph: Radiograph, title: str, name: str = "source") -> None:
        self.content = PageContent(source_of(radiograph, name), title)
        self._source: Blob = encode_source(self.content.source)

    def add(self, result: EditResult, name: str, *, labelled: bool = False) -> PageEdit:
        """Add an edit of the radiograph; ``name``: of its file, ``labelled``: SYNTHETIC is burned into that."""
        edit = edit_of(
            self.content.source,
            result.radiograph,
            result.image,
            result.provenance,
            name,
            change=result.change,
            truncated=result.truncated,
            labelled=labelled,
        )
        self.put(edit, result.image)
        return edit

    def put(self, edit: PageEdit, image: NDArray[np.float32]) -> None:
        """Add an edit that is encoded already; ``image``: float32 (H, W) in [0, 1]."""
        self.content.edits.append(edit)
        if not self.content.first:
            self.content.first = first_image(self.content.source, image)

    def render(self) -> bytes:
        """Return the page as a file. Raises SettingError for one without an edit."""
        content = self.content
        if not content.edits:
            raise SettingError("a page without an edit: add one")
        data = {**content.data(), "predictor": self._source.predictor}
        blobs = {"source": self._source.text} | {f"edit{n}": edit.blob.text for n, edit in enumerate(content.edits)}
        return assemble(EDITS, content.title, data, blobs, content.first)


def write_page(
    path: str | os.PathLike[str],
    results: Iterable[EditResult],
    *,
    title: str = "Edits of one radiograph",
    overwrite: bool = False,
) -> None:
    """Write edits of one radiograph as one HTML file.

    Raises SettingError for no edit and for edits of several radiographs, OutputError where the file cannot be written.
    """
    page: Page | None = None
    radiograph: Radiograph | None = None
    for result in results:
        if page is None:
            radiograph = result.radiograph
            page = Page(radiograph, title)
        if result.radiograph is not radiograph:
            raise SettingError("edits of several radiographs on one page: write a page of each")
        page.add(result, result.prompt)
    if page is None:
        raise SettingError("a page without an edit: give at least one")
    write_atomically(Path(path), page.render(), overwrite=overwrite)


class RunPages:
    """The pages of a run: one file where it has one source, else an index with a folder of pages beside it.

    ``path``: of the page or the index. ``several``: the run has several sources. Edits of a source come one after
    another; each page is written when the next begins, so that one radiograph is in memory.
    """

    def __init__(
        self, path: Path, *, several: bool, deidentify: str, labelled: bool = False, overwrite: bool = False
    ) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise SettingError(f"{path}: end the name of a page with {' or '.join(ENDINGS)}")
        self.path = path
        self.folder = path.with_name(f"{path.stem}.pages")
        self.rows: list[IndexRow] = []
        self._several = several
        self._deidentify = deidentify
        self._labelled = labelled
        self._overwrite = overwrite
        self._source: Source | None = None
        self._page: Page | None = None
        self._count = 0

    def add(self, event: Edited) -> None:
        """Add an edit that was written. Raises OutputError where the page before it cannot be written."""
        result, name = event.result, event.job.path.name
        if self._page is None or event.job.source != self._source:
            before = self._page
            self._page, self._source = None, None
            if before is not None:
                before.content.following = address(self._name(self._count + 1))
                self._write(before)
            self._count += 1
            title = event.job.path.stem.removesuffix(f".{prompt_slug(event.job.prompt)}")
            page = Page(result.radiograph, f"{self._count}: {title}" if self._several else title)
            if self._several:
                page.content.index = address(PurePath("..") / self.path.name)
                page.content.previous = address(self._name(self._count - 1)) if self._count > 1 else ""
            self._page, self._source = page, event.job.source
        edit = self._page.add(result, name, labelled=self._labelled)
        self.rows.append(
            IndexRow(
                name,
                edit.prompt,
                PurePath(self.folder.name) / self._name(self._count),
                len(self._page.content.edits) - 1,
                _patient(result.radiograph, self._deidentify),
                edit.findings,
                edit.changed,
            )
        )

    def close(self) -> Path | None:
        """Write what is left and return the path of the page or the index, None where no edit was added.

        Raises OutputError.
        """
        page, self._page = self._page, None
        if page is not None:
            self._write(page)
        if not self.rows:
            return None
        if self._several:
            write_index(self.path, self.rows, f"{len(self.rows)} edits", overwrite=self._overwrite)
        return self.path

    def _write(self, page: Page) -> None:
        path = self.folder / self._name(self._count) if self._several else self.path
        make_folder(path.parent)
        write_atomically(path, page.render(), overwrite=self._overwrite)

    @staticmethod
    def _name(number: int) -> PurePath:
        return PurePath(f"{number:04d}.html")


def _patient(radiograph: Radiograph, deidentify: str) -> str:
    """Return the Patient ID that an edit's file carries."""
    if radiograph.dataset is None or deidentify not in (NONE, PSEUDONYMIZE):
        return ""
    if deidentify == NONE:
        return header.text(radiograph.dataset, "PatientID")
    return "SYN-" + Pseudonyms(pseudonym_key()).code("patient", patient_key(radiograph.dataset))
