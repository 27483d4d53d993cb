"""The pages of a cohort: one of each source with its edits, and an index with filters.

    pages = CohortPages(cohort, Path("pages"))
    for outcome in pages.make(): ...

A page is whole or absent, so a run that is killed goes on by the same call: a page that holds the edits that are made
by now is left as it is. Patients are shown by pseudonyms, sources by what the manifest calls them.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from roentmod_fast.atomic import check_writable, make_folder, write_atomically
from roentmod_fast.errors import OutputError, SettingError, SourceError
from roentmod_fast.findings import find_findings
from roentmod_fast.presets import SpeedSettings
from roentmod_fast.radiograph.dicom.deidentify import NONE, Pseudonyms, pseudonym_key
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.page.content import Facts, provenance_facts
from roentmod_fast.study.page.edits import ENDINGS, Page
from roentmod_fast.study.page.files import EditFile, page_of_files
from roentmod_fast.study.page.html import read_data
from roentmod_fast.study.page.index import IndexRow, address, index_page
from roentmod_fast.study.plan import Cohort, Edit
from roentmod_fast.study.rows import DONE, Row, read_rows
from roentmod_fast.study.run import check_root
from roentmod_fast.study.sources import SourceRow

NO_FINDING = "none"
"""Value of a filter by finding: prompts that name none of the paper's findings."""

HASH = "SHA-256"
"""Name of the fact by which a page is compared with the rows."""


@dataclass(frozen=True)
class Selection:
    """Which edits an index lists; a page always holds all edits of its source.

    ``findings``: of the prompt, keys of the paper's or ``none``; ``patients``: pseudonyms as the index shows them.
    Empty is all. ``least`` and ``most``: share of pixels that changed, from 0 to 1.
    """

    findings: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()
    least: float = 0.0
    most: float = 1.0

    def of_prompt(self, prompt: str) -> bool:
        """Return whether edits of a prompt are listed."""
        named = find_findings(prompt) or (NO_FINDING,)
        return not self.findings or not self.findings.isdisjoint(named)

    def of_patient(self, patient: str) -> bool:
        """Return whether edits of a patient are listed."""
        return not self.patients or patient.casefold() in {each.casefold() for each in self.patients}


@dataclass(frozen=True)
class PageOutcome:
    """What became of a page: ``written``, ``kept`` or ``failed``, and then the reason."""

    name: str
    state: str
    error: str = ""


@dataclass
class _Item:
    """A source with the edits that are made. ``data``: of its page where that is there and holds them."""

    source: SourceRow
    name: str
    patient: str
    edits: tuple[tuple[Edit, Row], ...]
    page: Page | None = None
    data: dict[str, Any] | None = None
    changed: dict[str, float | None] = field(default_factory=dict)

    @property
    def file(self) -> PurePath:
        """The page's name in its folder."""
        return PurePath(f"{self.source.key[:16]}.html")


class CohortPages:
    """Makes the pages of a cohort one by one, then the index.

    ``target``: a folder, which gets ``index.html`` and ``pages/``, or the index's name, which ends with ``.html``; the
    pages are in ``NAME.pages/`` then. ``limit``: pages of at most so many sources, in the plan's order. ``root``: where
    the sources lie, in place of the plan's. ``overwrite``: make pages anew that are there. ``stop``: asked before each.
    Raises SettingError for a cohort without sources, and where no edit is made or none is selected.
    """

    def __init__(
        self,
        cohort: Cohort,
        target: Path,
        *,
        selection: Selection = Selection(),
        limit: int | None = None,
        root: Path | None = None,
        overwrite: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        if cohort.plan.generates:
            raise SettingError(f"{cohort.folder}: generated images have no source to compare with: open their files")
        check_root(cohort, root)
        is_file = target.suffix.lower() in ENDINGS and not target.is_dir()
        self.index = target if is_file else target / "index.html"
        self.folder = target.with_name(f"{target.stem}.pages") if is_file else target / "pages"
        self.rows: list[IndexRow] = []
        self.not_shown: Counter[str] = Counter()
        self._cohort = cohort
        self._root = Path(cohort.plan.origin.root) if root is None else root
        self._selection, self._overwrite, self._stop = selection, overwrite, stop
        self._mark = f"cohort {cohort.digest.hex()[:16]}"
        self._items = self._selected(limit)

    @property
    def count(self) -> int:
        """How many pages there will be."""
        return len(self._items)

    def make(self) -> Iterator[PageOutcome]:
        """Make what is missing, yield what became of each page, and write the index at the end.

        A source or edit that cannot be read is an outcome with the reason. Raises OutputError where a file is in the
        way that is no page of this cohort, and DiskFullError; pages that are written stay.
        """
        self._check_index()
        make_folder(self.folder)
        previous, waiting = "", None
        for item in self._items:
            if self._stop():
                break
            try:
                self._prepare(item)
            except (SourceError, SettingError) as error:
                yield PageOutcome(item.name, "failed", str(error))
                continue
            if waiting is not None:
                yield self._settle(waiting, previous, address(item.file))
                previous = address(waiting.file)
            waiting = item
        if waiting is not None:
            yield self._settle(waiting, previous, "")
        if self.rows:
            sources = len({row.page for row in self.rows})
            title = f"{len(self.rows)} edits of {sources} radiographs, {self._mark}"
            make_folder(self.index.parent)
            write_atomically(self.index, index_page(self.rows, title), overwrite=True)

    def _selected(self, limit: int | None) -> list[_Item]:
        """Return the sources with edits that are made and selected; count the edits that are not shown."""
        rows, items = read_rows(self._cohort.folder).by_id, list[_Item]()
        shown = Shown(self._cohort)
        for source in self._cohort.sources():
            edits = self._cohort.edits_of(source)
            found = [(edit, rows.get(edit.id)) for edit in edits]
            self.not_shown.update("pending" if row is None else row.state for _, row in found)
            made = tuple((edit, row) for edit, row in found if row is not None and row.state == DONE)
            patient = shown.patient(source)
            listed = self._selection.of_patient(patient) and any(self._selection.of_prompt(e.prompt) for e, _ in made)
            if listed and (limit is None or len(items) < limit):
                items.append(_Item(source, shown.name(source), patient, made))
        done = self.not_shown.pop(DONE, 0)
        if not done:
            raise SettingError(f"{self._cohort.folder}: no edit is made yet: type roentmod-fast cohort run")
        if not items:
            raise SettingError(f"none of {done} edits is of the findings and patients that were asked for")
        return items

    def _check_index(self) -> None:
        check_writable(self.index, overwrite=True)
        if self.index.exists() and not self._overwrite:
            there = read_data(self.index)
            if there is None or not str(there.get("title", "")).endswith(self._mark):
                raise OutputError(f"{self.index}: no index of this cohort: choose another place, or give --overwrite")

    def _prepare(self, item: _Item) -> None:
        """Read the page that is there, or make it. Raises SourceError, SettingError and OutputError."""
        path = self.folder / item.file
        if path.exists() and not self._overwrite:
            data = read_data(path)
            if data is None or not str(data.get("note", "")).startswith(self._mark):
                raise OutputError(f"{path}: no page of this cohort: choose another place, or give --overwrite")
            if [_hash_of(edit) for edit in data["edits"]] == [_output(row)[1] for _, row in item.edits]:
                item.data = data
                changed = [edit["changed"] for edit in data["edits"]]
        if item.data is None:
            item.page = self._page(item)
            changed = [edit.changed for edit in item.page.content.edits]
        item.changed = {edit.id: share for (edit, _), share in zip(item.edits, changed, strict=True)}

    def _page(self, item: _Item) -> Page:
        source = item.source.source(self._root)
        digest = hashlib.sha256(source.read()).hexdigest()
        for edit, row in item.edits:
            if row.source_sha256 not in ("", digest):
                raise SourceError(f"{item.name}: changed since edit {edit.id} was made of it: restore it")
        radiograph = read_radiograph(source, force=frozenset(self._cohort.plan.force))
        page = page_of_files(radiograph, self._files(item), item.name, item.name)
        page.content.note = f"{self._mark}, source {item.source.key[:16]}"
        return page

    def _files(self, item: _Item) -> Iterator[EditFile]:
        for edit, row in item.edits:
            path, digest = _output(row)
            file = self._cohort.folder / path
            try:
                whole = hashlib.sha256(file.read_bytes()).hexdigest() == digest
            except OSError as error:
                raise SourceError(f"{path}: cannot be read: {error.strerror}: see cohort verify") from None
            if not whole:
                raise SourceError(f"{path}: its content is not what was written: see cohort verify")
            yield EditFile(file, file.name, edit.prompt, self._facts(edit, row))

    def _facts(self, edit: Edit, row: Row) -> Facts:
        plan = self._cohort.plan
        settings = plan.settings
        how = Provenance(
            prompt=edit.prompt,
            strength=settings["strength"],
            guidance=settings["guidance"],
            steps=settings["steps"],
            seed=edit.seed,
            compose=settings["compose"],
            engine_name=plan.engine,
            engine_hash=plan.engine_sha256,
            software_version=row.version,
            device=row.device,
            speed=SpeedSettings(plan.precision, settings["solver"], settings["calls"]).describe(),
        )
        facts = [fact for fact in provenance_facts(how) if fact[0] != "Prompt"]
        if plan.repeats > 1:
            facts.append(("Repeat", f"{edit.repeat + 1} of {plan.repeats}"))
        if row.cut:
            facts.append(("Left out of the prompt", row.cut))
        return [*facts, (HASH, _output(row)[1])]

    def _settle(self, item: _Item, previous: str, following: str) -> PageOutcome:
        """Write a page, or keep the one that is there with the same edits and neighbours; list its edits."""
        links = {"index": address(PurePath("..") / self.index.name), "previous": previous, "next": following}
        state = "kept"
        if item.data is None or item.data["links"] != links:
            page = self._page(item) if item.page is None else item.page
            page.content.index, page.content.previous, page.content.following = links.values()
            write_atomically(self.folder / item.file, page.render(), overwrite=True)
            state = "written"
        item.page = item.data = None
        for number, (edit, _) in enumerate(item.edits):
            share = item.changed[edit.id]
            inside = share is None or self._selection.least <= share <= self._selection.most
            if inside and self._selection.of_prompt(edit.prompt):
                place, findings = PurePath(self.folder.name) / item.file, find_findings(edit.prompt)
                name = f"{item.name} {edit.id}"
                self.rows.append(IndexRow(name, edit.prompt, place, number, item.patient, findings, share))
        return PageOutcome(item.name, state)


class Shown:
    """What pages call sources and patients: no name or number that leads to a person."""

    def __init__(self, cohort: Cohort) -> None:
        origin = cohort.plan.origin.kind
        # A public data set has no other numbers; a user's own table or a header that is not de-identified may.
        self._reveals = origin == "table" or (origin == "files" and cohort.plan.output.deidentify == NONE)
        self._deidentifies = cohort.plan.output.deidentify != NONE
        self._pseudonyms = Pseudonyms(pseudonym_key()) if self._reveals else None

    def patient(self, source: SourceRow) -> str:
        """Return a pseudonym, or nothing where no patient is known."""
        if self._pseudonyms is None or not source.patient or self._planned_pseudonym(source):
            return source.patient
        return f"SYN-{self._pseudonyms.code('patient', source.patient)}"

    def _planned_pseudonym(self, source: SourceRow) -> bool:
        return self._deidentifies and re.fullmatch(r"SYN-[A-Z2-7]{12}", source.patient) is not None

    def name(self, source: SourceRow) -> str:
        """Return what a source is called."""
        return f"source {source.key[:16]}" if self._reveals or not source.name else source.name


def _output(row: Row) -> tuple[str, str]:
    """Return path and SHA-256 of the file that is shown: the DICOM where there is one, in native depth."""
    path, digest, _ = row.files.get("dicom") or row.files["png"]
    return path, digest


def _hash_of(edit: dict[str, Any]) -> str:
    return str(next((value for name, value in edit["facts"] if name == HASH), ""))


def counts_in_words(counts: Counter[str], order: Sequence[str]) -> str:
    """Return ``2 failed, 1 pending`` of what there is."""
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name])
