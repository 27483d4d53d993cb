"""What a classifier is trained and evaluated on: radiographs and edits with labels, a split and a patient each.

Edits and their sources come from a cohort's manifest (``roentmod-fast cohort table``), which holds labels and splits.
Further real radiographs come from a table with the columns ``source``, ``patient``, ``split`` and ``y_FINDING``.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.dicom.deidentify import ANONYMIZE, PSEUDONYMIZE, Pseudonyms, pseudonym_key
from roentmod_fast.radiograph.doubts import DOUBTS, Force, forced_doubts
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.study.datasets import NO_FINDING
from roentmod_fast.study.plan import Cohort, Plan
from roentmod_fast.study.sources import SourceRow, identifier_and_issuer, issued_identifier, table_patient

NOT_SYNTHETIC = frozenset(DOUBTS) - {"synthetic"}
"""Doubts that a real radiograph may raise and still be one."""

TRAIN, VALIDATE, TEST = SPLITS = ("train", "validate", "test")
REAL, SYNTHETIC = "real", "synthetic"
MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Sample:
    """One image. ``labels``: by finding, NaN where unknown. ``source``: the key that an edit shares with its source.

    ``frame``: pixels of the square into which a real radiograph is letterboxed first, where the edits that it is beside
    are written so: it must not be known by its sharpness. ``settled``: the doubts that its plan or table has settled; a
    mark of synthetic images is settled for edits, and for sources of a plan that forces it.
    """

    name: str
    kind: str
    split: str
    patient: str
    source: str
    labels: tuple[float, ...]
    file: Source
    sha256: str = ""
    frame: int | None = None
    settled: Force = True


@dataclass(frozen=True)
class SampleSet:
    """Samples with the findings of their labels. ``notes``: what was left out and what to beware of, in words."""

    findings: tuple[str, ...]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()

    def of(self, split: str, kind: str | None = None) -> list[int]:
        """Return the places of the samples of a split, and of a kind where it is given."""
        return [
            at for at, each in enumerate(self.samples) if each.split == split and (kind is None or each.kind == kind)
        ]

    def labels(self) -> NDArray[np.float32]:
        """Return the labels: float32 (N, K), NaN where unknown."""
        return np.array([each.labels for each in self.samples], dtype=np.float32).reshape(len(self.samples), -1)

    @property
    def digest(self) -> str:
        """A hash of names, splits, patients, labels, frames and contents: whether two runs have the same data.

        A file whose content has no hash counts by its place, size and time of modification.
        """
        whole = hashlib.sha256("\0".join(self.findings).encode())
        for each in self.samples:
            labels = map(repr, each.labels)
            content = each.sha256 or _file_state(each.file)
            line = (each.name, each.kind, each.split, each.patient, each.source, content, str(each.frame), *labels)
            whole.update("\0".join(line).encode("utf-8", "surrogateescape") + b"\n")
        return whole.hexdigest()


def _file_state(file: Source) -> str:
    """Return place, size and time of modification of a file, or of the archive that holds it."""
    try:
        facts = file.path.stat()
    except OSError:
        return ""  # it is reported when it is read
    return f"{file.path.resolve()}\0{file.member or ''}\0{facts.st_size}\0{facts.st_mtime_ns}"


@dataclass
class _Found:
    samples: list[tuple[Sample, dict[str, float]]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    findings: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_samples(
    cohorts: Sequence[Path],
    tables: Sequence[Path] = (),
    findings: Sequence[str] | None = None,
    root: Path | None = None,
) -> SampleSet:
    """Read the samples of cohorts and of tables of real radiographs.

    ``findings``: to learn, None for all that some image has; ``y_no_finding`` of 1 is a 0 of each that has no label.
    ``root``: where a cohort's sources lie, in place of the plan's. Raises SettingError for a table without labels,
    labels outside [0, 1], and a patient in two splits.
    """
    found = _Found()
    for folder in cohorts:
        _read_cohort(folder, root, found)
    for table in tables:
        _read_table(table, found)
    plans = [Cohort.open(folder).plan for folder in cohorts]
    # Generated images are of no patient.
    of_patients = [plan for plan in plans if not plan.generates]
    pseudonyms = _pseudonyms(of_patients) if tables or len(of_patients) > 1 else None
    issued = {} if pseudonyms is None else _issued(cohorts, root, pseudonyms, found)
    for _, values in found.samples:
        # Whoever says that there is no finding says it of each.
        if values.pop(NO_FINDING, 0) == 1:
            values.update({name: 0.0 for name in found.findings if name not in values})
    found.findings.pop(NO_FINDING, None)
    seen = {name for _, values in found.samples for name, value in values.items() if value > 0.5}
    names = (
        tuple(name for name in found.findings if name in seen) if findings is None else tuple(dict.fromkeys(findings))
    )
    if findings is None and (never := [name for name in found.findings if name not in seen]):
        found.left_out[f"findings without a positive: {', '.join(never)}"] = len(never)
    for name in names:
        if name not in found.findings:
            raise SettingError(f"finding {name!r}: no label of it: expected some of {', '.join(found.findings)}")
    samples = [
        Sample(**{**vars(each), "labels": tuple(values.get(name, math.nan) for name in names)})
        for each, values in found.samples
    ]
    samples = [each for each in samples if not all(map(math.isnan, each.labels))]
    if lost := len(found.samples) - len(samples):
        found.left_out["without a label of these findings"] = lost
    sizes = {plan.output.size for plan in plans}
    if len(sizes) == 1:
        [frame] = sizes
        samples = [replace(each, frame=frame) if each.kind == REAL else each for each in samples]
    elif len(sizes) > 1 and (tables or any(plan.generates for plan in plans)):
        # A source beside edits of its own has their size: these others fit one cohort at most.
        named = ", ".join(sorted("none" if size is None else str(size) for size in sizes))
        found.notes.append(f"cohorts of --size {named}: sharpness may tell real radiographs from edits: plan one size")
    if not samples:
        raise SettingError("no image with a finding and a split: see roentmod-fast cohort table")
    _check_patients(samples, pseudonyms, issued)
    left_out = (f"{count} left out: {why}" for why, count in found.left_out.items())
    return SampleSet(names, tuple(samples), (*left_out, *found.notes))


def check_trainable(data: SampleSet, *, synthetic: bool) -> None:
    """Raise SettingError where a split that training needs is empty, or has no positive or no negative of a finding."""
    labels = data.labels()
    needed = [(TRAIN, None if synthetic else REAL), (VALIDATE, REAL)]
    for split, kind in needed:
        places = data.of(split, kind)
        who = f"{kind} images" if kind else "images"
        if not places:
            raise SettingError(f"no {who} in the split {split}: plan the cohort with --split 80/10/10, or add --real")
        for at, name in enumerate(data.findings):
            values = labels[places, at]
            for what, there in (("positive", np.any(values > 0.5)), ("negative", np.any(values < 0.5))):
                if not there:
                    raise SettingError(
                        f"no {what} of {name} among the {who} of the split {split}: add radiographs, or leave it out"
                        " with --findings"
                    )


def _pseudonyms(plans: Sequence[Plan]) -> Pseudonyms | None:
    """Return the pseudonyms by which cohorts call their patients, None where none does.

    Raises SettingError where they were made with another key than this user's, or are of one plan alone.
    """
    from roentmod_fast.study.make import check_key  # the editor, which only this needs

    # Patients of a public data set are its own numbers.
    plans = [plan for plan in plans if plan.origin.kind != "dataset"]
    if any(plan.output.deidentify == ANONYMIZE for plan in plans):
        raise SettingError(
            "a cohort planned with --deidentify anonymize calls its patients by names of its own: nobody can tell"
            " whether a table or another cohort has the same ones in another split: plan it with pseudonymize"
        )
    for plan in plans:
        check_key(plan.output.deidentify, plan.pseudonym_key)
    return Pseudonyms(pseudonym_key()) if any(plan.output.deidentify == PSEUDONYMIZE for plan in plans) else None


def _issued(cohorts: Sequence[Path], root: Path | None, pseudonyms: Pseudonyms, found: _Found) -> dict[str, str]:
    """Return the pseudonym without the issuer of each whose header has one: a table may name the Patient ID alone."""
    result, missing = dict[str, str](), 0
    for cohort in map(Cohort.open, cohorts):
        plan = cohort.plan
        if plan.origin.kind != "files" or plan.output.deidentify != PSEUDONYMIZE:
            continue
        for row in cohort.sources():
            source = row.source(Path(plan.origin.root) if root is None else root)
            missing += not source.path.is_file()
            if row.patient and (identifier := issued_identifier(source)):
                result[row.patient] = table_patient(identifier, pseudonyms)
    if missing:
        found.notes.append(f"{missing} sources are not there: a Patient ID with an issuer is compared with it alone")
    return result


def _check_patients(samples: Sequence[Sample], pseudonyms: Pseudonyms | None, issued: dict[str, str]) -> None:
    """Raise SettingError where a patient is in two splits, also where a cohort calls one of a table by a pseudonym.

    A Patient ID without an issuer may be that of any issuer. ``issued``: pseudonyms of those with an issuer, and what
    they are without it.
    """
    splits: dict[str, set[str]] = {}
    for each in samples:
        for name in _names(each.patient, pseudonyms):
            splits.setdefault(name, set()).add(each.split)
    mixed = set()
    for each in samples:
        identifier, issuer = identifier_and_issuer(each.patient)
        names = _names(each.patient, pseudonyms) | (_names(identifier, pseudonyms) if issuer else set())
        names |= {issued[each.patient]} if each.patient in issued else set()
        if twice := [name for name in names if splits.get(name, set()) - {each.split}]:
            mixed.add(min(twice))
    if mixed:
        raise SettingError(
            f"{len(mixed)} patients are in two splits: give each patient one, edits that of their source"
        )


def _names(patient: str, pseudonyms: Pseudonyms | None) -> set[str]:
    identifier, issuer = identifier_and_issuer(patient)
    own = f"{identifier}^^^{issuer}" if issuer else identifier
    return {own} if pseudonyms is None else {own, table_patient(patient, pseudonyms)}


def _read_cohort(folder: Path, root: Path | None, found: _Found) -> None:
    cohort, path = Cohort.open(folder), folder / MANIFEST
    if not path.exists():
        raise SettingError(f"{path}: no manifest: type roentmod-fast cohort table {folder}")
    place = Path(cohort.plan.origin.root) if root is None else root
    sources = {row.key: row for row in cohort.sources()}
    for number, row in enumerate(_rows(path, ("kind", "split", "status", "source_key")), 2):
        kind = row["kind"]
        labels = _labels(row, f"{path}: row {number}", found)
        split = row["split"]
        if split not in SPLITS:
            found.left_out[f"of split {split!r}"] += 1
            continue
        if kind == "source":
            source = sources.get(row["source_key"])
            if source is None:
                raise SettingError(f"{path}: row {number}: no source of this cohort: type cohort table again")
            file, sha256 = source.source(place), row["source_sha256"] or source.sha256
            sample = Sample(row["source_key"], REAL, split, _patient(source), row["source_key"], (), file, sha256)
            settled = NOT_SYNTHETIC | forced_doubts(cohort.plan.force)
            sample = replace(sample, frame=cohort.plan.output.size, settled=settled)
        else:
            if row["status"] != "done":
                found.left_out[f"{row['status']} edits"] += 1
                continue
            output = row["png"] or row["output"]
            owner = sources.get(row["source_key"])
            patient = _patient(owner) if owner is not None else row["patient"]
            file = Source.of(folder / output)
            sha256 = row["png_sha256"] or row["output_sha256"]
            sample = Sample(row["edit_id"], SYNTHETIC, split, patient, row["source_key"], (), file, sha256)
        found.samples.append((sample, labels))


def _patient(source: SourceRow) -> str:
    return source.patient or source.key


def _read_table(path: Path, found: _Found) -> None:
    for number, row in enumerate(_rows(path, ("source", "patient", "split")), 2):
        where = f"{path}: row {number}"
        if row["split"] not in SPLITS:
            raise SettingError(f"{where}: split {row['split']!r}: expected one of {', '.join(SPLITS)}")
        if not row["patient"].strip():
            raise SettingError(f"{where}: no patient: splits go by patient")
        file = path.parent / row["source"]
        if not file.is_file():
            raise SettingError(f"{where}: {row['source']}: no such file: paths are relative to the table")
        labels = _labels(row, where, found)
        key = hashlib.sha256(str(row["source"]).encode("utf-8", "surrogateescape")).hexdigest()
        # Called as in the table: predictions name it so, and two folders may hold files of one name.
        source = replace(Source.of(file), name=row["source"])
        sample = Sample(key, REAL, row["split"], row["patient"].strip(), key, (), source, settled=NOT_SYNTHETIC)
        found.samples.append((sample, labels))


def _rows(path: Path, needed: Sequence[str]) -> Iterable[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
                raise SettingError(f"{path}: no column {missing[0]}: expected {', '.join(needed)} and y_FINDING")
            for number, row in enumerate(reader, 2):
                if None in row or None in row.values():
                    raise SettingError(f"{path}: row {number} has not as many cells as the header")
                yield row
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None


def _labels(row: dict[str, str], where: str, found: _Found) -> dict[str, float]:
    values = {}
    for column, text in row.items():
        if not column.startswith("y_") or not text.strip():
            continue
        name = column.removeprefix("y_")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise SettingError(f"{where}, column {column}: {text!r} is no label: expected a number from 0 to 1")
        values[name] = value
        found.findings.setdefault(name)
    return values
