"""The sources of a cohort: one row each in ``sources.csv``, and how they are found among files.

Paths stand in this file, and they may hold a patient's name: keep it to yourself. What is written later, rows, manifest
and messages, holds :attr:`SourceRow.name`, which is the path too unless that reveals what the header, or the patient
column of a table, calls the patient. Who has the sources can still find the one of an edit by its key.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from pydicom.dataset import Dataset

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.deidentify import NONE, Pseudonyms, patient_key
from roentmod_fast.radiograph.dicom.path_names import identifying_words, reveals
from roentmod_fast.radiograph.sources import Source, SourceList, stem_of
from roentmod_fast.study.output import csv_text

HASHES = ("content", "name")
"""What a source's key is made of: its bytes, or its data set and path."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source.

    ``key``: SHA-256 in hex, of the content or of data set and path; noise and ids depend on it. ``sha256``: of the
    content, empty where it was not read. ``path``: from the plan's root on, or the seed of images that are
    generated; ``member`` of a zip archive. ``name``: for messages and tables, always valid Unicode. ``patient``: by
    which splits go; a pseudonym where edits are de-identified. ``age`` in years and ``sex`` (F, M) are empty where
    unknown. ``labels``: values of the label columns, each ``1``, ``0`` or empty.
    """

    key: str
    sha256: str
    path: str
    member: str = ""
    name: str = ""
    patient: str = ""
    dataset: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    split: str = ""
    labels: tuple[str, ...] = field(default=())

    def source(self, root: Path) -> Source:
        """Return the file, with :attr:`name` in messages."""
        path = root / self.path
        return Source(self.name, stem_of(path.name), path.parent, path, self.member or None, named=True)


COLUMNS = tuple(item.name for item in fields(SourceRow) if item.name != "labels")


def render_sources(rows: Iterable[SourceRow], labels: Sequence[str]) -> str:
    """Return the content of ``sources.csv``; ``labels`` are the findings of the label columns."""

    def cells() -> Iterator[Sequence[str]]:
        yield [*COLUMNS, *(f"y_{name}" for name in labels)]
        for row in rows:
            values = (row.key, row.sha256, row.path, row.member, row.name, row.patient, row.dataset)
            yield [*values, row.view, row.age, row.sex, row.split, *row.labels]

    return csv_text(cells())


def read_sources(text: str) -> list[SourceRow]:
    """Read the content of ``sources.csv``."""
    reader = csv.reader(io.StringIO(text, newline=""))
    next(reader)
    count, share = len(COLUMNS), sys.intern
    rows = []
    for key, sha256, path, member, name, patient, *rest in reader:
        dataset, view, age, sex, split = map(share, rest[: count - 6])
        labels = tuple(map(share, rest[count - 6 :]))
        rows.append(SourceRow(key, sha256, path, member, name, patient, dataset, view, age, sex, split, labels))
    return rows


def label_names(text: str) -> tuple[str, ...]:
    """Return the findings of the label columns of ``sources.csv``."""
    columns = next(csv.reader(io.StringIO(text.partition("\n")[0])))
    return tuple(name.removeprefix("y_") for name in columns[len(COLUMNS) :])


def name_key(dataset: str, path: str) -> str:
    """Return the key of a source that is known by data set and path, with ``/`` between folders."""
    return hashlib.sha256(f"{dataset}\0{path}".encode("utf-8", "surrogateescape")).hexdigest()


def readable(name: str) -> str:
    """Return a file's name as valid Unicode: bytes that are not UTF-8 are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def rows_of_files(
    found: SourceList, root: Path, hash_by: str, deidentify: str, key: bytes
) -> tuple[list[SourceRow], list[str]]:
    """Return a row for each file, and notes on what was left out.

    ``key``: the secret of the pseudonyms, which stand for patients unless ``deidentify`` is ``none``. A file with the
    content of an earlier one is left out: it would give the same edits.
    """
    rows: dict[str, SourceRow] = {}
    twice = unreadable = 0
    pseudonyms = Pseudonyms(key)
    for source in found.sources:
        path = source.path.absolute().relative_to(root).as_posix()
        member = source.member or ""
        sha256 = ""
        if hash_by == "content":
            try:
                sha256 = hashlib.sha256(source.read()).hexdigest()
            except SourceError:
                unreadable += 1  # planned by its name, and a row with the reason when it is run
        row_key = sha256 or name_key("", f"{path}\0{member}" if member else path)
        if row_key in rows:
            twice += 1
            continue
        facts = _header_facts(source, path, member, deidentify, pseudonyms)
        name = facts.pop("name", f"{path}:{member}" if member else path) or f"source {row_key[:16]}"
        row = SourceRow(row_key, sha256, path, member, readable(name))
        rows[row_key] = replace(row, **facts)  # type: ignore[arg-type]
    notes = []
    if twice:
        notes.append(f"{twice} files have the content of others and are left out")
    if unreadable:
        notes.append(f"{unreadable} files cannot be read: they become rows with the reason when the cohort is run")
    return list(rows.values()), notes


def _header_facts(source: Source, path: str, member: str, deidentify: str, pseudonyms: Pseudonyms) -> dict[str, str]:
    """Return what the header of a DICOM file tells that an edit's own header tells too; an empty name reveals."""
    dataset = source.header()
    if dataset is None:
        return {}
    with header.unvalidated():
        facts = {"view": header.text(dataset, "ViewPosition")}
        known = patient_key(dataset)
        if deidentify == NONE:
            age = header.text(dataset, "PatientAge")
            facts["age"] = str(int(age[:3])) if age.endswith("Y") and age[:3].isdigit() else ""
            facts["sex"] = header.text(dataset, "PatientSex")
            facts["patient"] = _own_patient(dataset, known)
        elif not known.startswith("none"):
            facts["patient"] = f"SYN-{pseudonyms.code('patient', known)}"
        if deidentify != NONE and _reveals(path, member, dataset):
            facts["name"] = ""
    return facts


def _own_patient(dataset: Dataset, known: str) -> str:
    """Return what tells patients apart where nothing is de-identified: the Patient ID, with its issuer if it has one.

    A header with a placeholder or no Patient ID gives a hash of what tells its patient apart, empty where nothing does.
    """
    kind, identifier, *_ = known.split("\0")
    if kind == "none":
        return ""
    if kind != "id":
        return f"{kind}-{hashlib.sha256(known.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    issuer = header.text(dataset, "IssuerOfPatientID")
    return f"{identifier}^^^{issuer}" if issuer else identifier  # as HL7 writes it (CX)


def _reveals(path: str, member: str, dataset: Dataset) -> bool:
    words = identifying_words(dataset)
    parts = (*Path(path).parts, stem_of(Path(path).name), *Path(member).parts)
    return any(reveals(part, words) for part in parts)


def table_patient(patient: str, pseudonyms: Pseudonyms) -> str:
    """Return the pseudonym of a patient of a table: of a header with this Patient ID, and issuer after ``^^^``."""
    code = pseudonyms.code("patient", "\0".join(("id", *identifier_and_issuer(patient))))
    return f"SYN-{code}" if patient else ""


def identifier_and_issuer(patient: str) -> tuple[str, str]:
    """Return a Patient ID and its issuer, empty where none is given, of ``ID^^^ISSUER``."""
    identifier, _, issuer = patient.partition("^^^")
    return identifier.strip(), issuer.strip()


def issued_identifier(source: Source) -> str:
    """Return the Patient ID of a DICOM header that has an issuer too; empty for any other, and a file not there."""
    dataset = source.header()
    if dataset is None:
        return ""
    with header.unvalidated():
        kind, identifier, *issuer = patient_key(dataset).split("\0")
    return identifier if kind == "id" and any(issuer) else ""


def table_path_reveals(source: Source, path: str, patient: str) -> bool:
    """Tell whether a path holds what a table, or the header of a DICOM file, calls the patient."""
    with header.unvalidated():
        given, own = Dataset(), source.header()
        given.PatientID = given.PatientName = patient
        return _reveals(path, "", given) or (own is not None and _reveals(path, "", own))


def split_of(patient: str, splits: dict[str, float]) -> str:
    """Return the split of a patient: by a hash, so that it stays when others are added."""
    drawn = int.from_bytes(hashlib.sha256(f"roentmod-fast split\0{patient}".encode()).digest()[:8], "big") / 2**64
    total = 0.0
    for name, share in splits.items():
        total += share
        if drawn < total:
            return name
    return list(splits)[-1]


def check_splits(rows: Iterable[SourceRow]) -> None:
    """Raise SettingError where a patient is in two splits."""
    seen: dict[tuple[str, str], str] = {}
    owners = (((row.dataset, row.patient or row.key), row.split) for row in rows)
    mixed = {who for who, split in owners if seen.setdefault(who, split) != split}
    if mixed:
        raise SettingError(f"{len(mixed)} patients are in two splits: give each patient one, or use --split 80/10/10")
