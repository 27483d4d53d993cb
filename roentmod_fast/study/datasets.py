"""Public data sets: their metadata as distributed, with the filters and labels of the RoentMod paper.

NIH ChestX-ray14, MIMIC-CXR-JPG, CheXpert, PadChest, and a plain table. The paper takes adults, one frontal view (PA),
and as sources of edits radiographs without a finding. Uncertain labels (-1) and blank ones count as negative. Which
label of a data set is which finding stands in ``data/labels.csv`` and can be replaced.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from roentmod_fast.errors import SettingError

NAMES = ("nih", "mimic", "chexpert", "padchest", "table")
DATA = Path(__file__).parent / "data"
NO_FINDING = "no_finding"

LabelMap = Mapping[str, tuple[str, ...]]
"""The labels of a data set by finding; a finding is there where any of them is."""


@dataclass(frozen=True, slots=True)
class Record:
    """One radiograph of a data set.

    ``paths``: where it may lie below the root, the usual place first. ``view`` in the data set's words; ``age`` in
    years or None; ``sex`` F, M or empty; ``split`` of the data set itself. ``found``: its labels; None of a table
    where a label column is empty.
    """

    paths: tuple[str, ...]
    patient: str
    view: str = ""
    age: int | None = None
    sex: str = ""
    split: str = ""
    found: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Filters:
    """Which radiographs are taken.

    ``views``: empty for all. ``min_age`` in years; one of unknown age is left out unless it is 0. ``findings``:
    ``none`` takes those without a finding, ``any`` all.
    """

    views: frozenset[str] = frozenset()
    min_age: int = 0
    findings: str = "any"


PAPER = Filters(frozenset({"PA"}), 18, "none")
FRONTAL = frozenset({"PA", "AP", "AP_horizontal", "Frontal"})
"""The data sets' words for frontal views."""


@dataclass
class Selection:
    """The radiographs that were taken, and counts of those that view and age let through.

    ``counts``: ``scans``, ``patients`` and each finding. ``left_out``: for each reason how many.
    """

    records: list[Record] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    ages: list[int] = field(default_factory=list)
    women: int = 0


def read_label_map(path: Path | None, dataset: str) -> dict[str, tuple[str, ...]]:
    """Read which labels of a data set are which finding, from CSV with the columns dataset, finding and label.

    None is the file that comes with the package. Raises SettingError naming the column that is missing.
    """
    found: dict[str, tuple[str, ...]] = {}
    for row in rows_of(DATA / "labels.csv" if path is None else path, ("dataset", "finding", "label")):
        if row["dataset"] == dataset:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", row["finding"]):
                raise SettingError(f"{path}: finding {row['finding']!r}: expected lower case, such as pleural_effusion")
            found[row["finding"]] = (*found.get(row["finding"], ()), row["label"])
    if not found and dataset != "table":
        raise SettingError(f"{path}: no label of {dataset}: expected rows such as {dataset},edema,Edema")
    return found


def read_records(
    dataset: str, root: Path, labels: LabelMap, metadata: Path | None = None, patients: Path | None = None
) -> Iterator[Record]:
    """Yield the radiographs that a data set's metadata lists.

    ``metadata``: the file, where it is not below ``root`` under its own name. ``patients``: MIMIC-IV's patients.csv,
    which alone holds ages. Raises SettingError naming the file or column that is missing.
    """
    if dataset not in NAMES:
        raise SettingError(f"dataset {dataset!r}: expected one of {', '.join(NAMES)}")
    if dataset == "mimic":
        return _mimic(root, labels, metadata, patients)
    return {"nih": _nih, "chexpert": _chexpert, "padchest": _padchest, "table": _table}[dataset](root, labels, metadata)


def select(records: Iterable[Record], filters: Filters, labels: LabelMap) -> Selection:
    """Apply filters, and count what view and age let through, for a comparison with the paper."""
    taken, patients = Selection(), set[str]()
    women = set[str]()
    for record in records:
        if filters.views and record.view not in filters.views:
            taken.left_out["of another view"] += 1
        elif filters.min_age and (record.age is None or record.age < filters.min_age):
            taken.left_out["of unknown age" if record.age is None else f"younger than {filters.min_age}"] += 1
        else:
            taken.counts["scans"] += 1
            taken.counts.update(record.found & labels.keys())
            patients.add(record.patient)
            if record.sex == "F":
                women.add(record.patient)
            if record.age is not None:
                taken.ages.append(record.age)
            if filters.findings == "none" and not is_normal(record, labels):
                taken.left_out["with a finding"] += 1
            else:
                taken.records.append(record)
    taken.counts["patients"], taken.women = len(patients), len(women)
    return taken


def is_normal(record: Record, labels: LabelMap) -> bool:
    """Return whether a radiograph has no finding: by its label for that, where the data set has one."""
    return NO_FINDING in record.found if NO_FINDING in labels else not record.found


def describe(dataset: str, selection: Selection) -> list[str]:
    """Return the counts as lines, beside those of the paper's Supplemental Table 1 for a data set that it has."""
    paper = {row["finding"]: row.get(dataset, "") for row in rows_of(DATA / "paper_counts.csv", ("finding",))}
    names = [*paper, *(name for name in selection.counts if name not in paper)]
    lines = [f"{dataset:<28}{'here':>9}{'paper':>9}"]
    for name in names:
        if selection.counts[name] or paper.get(name):
            lines.append(f"{name:<28}{selection.counts[name]:>9}{paper.get(name) or '-':>9}")
    if len(selection.ages) > 1:
        mean, spread = statistics.fmean(selection.ages), statistics.stdev(selection.ages)
        lines.append(f"mean age {mean:.1f} (standard deviation {spread:.1f}), {selection.women} women")
    return lines


def rows_of(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file in UTF-8, also packed by gzip. Raises SettingError naming what is missing.

    A row must reach to the last of ``columns``; of other columns the value is None where it is shorter.
    """
    try:
        with path.open("rb") as raw, io.TextIOWrapper(_unpacked(raw, path), encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                plural = "columns" if len(missing) > 1 else "column"
                raise SettingError(f"{path}: lacks the {plural} {', '.join(missing)}: is it the file of this data set?")
            for number, row in enumerate(reader, 2):
                short = [name for name in columns if row[name] is None]
                if short:
                    raise SettingError(f"{path}: row {number} ends before the column {short[0]}: complete it")
                yield row
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a CSV file in UTF-8, or cut off"
        raise SettingError(f"{path}: cannot be read: {reason}") from error


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


def find_file(root: Path, names: Sequence[str], given: Path | None = None) -> Path:
    """Return the first of ``names`` below ``root``, packed or not. Raises SettingError naming what was looked for."""
    if given is not None:
        return given
    for name in names:
        for path in (root / name, root / f"{name}.gz"):
            if path.is_file():
                return path
    raise SettingError(f"{root}: no {' or '.join(names)} in it: give its place with --metadata FILE")


def _whole(text: str) -> int | None:
    """Return the whole number that a text begins with: an age, a year; None where there is none."""
    found = re.match(r"\s*(\d+)", text or "")
    return int(found[1]) if found else None


def _sex(text: str) -> str:
    letter = (text or "").strip()[:1].upper()
    return letter if letter in ("F", "M") else ""


def _findings(has: Callable[[str], bool], labels: LabelMap) -> frozenset[str]:
    return _shared(frozenset(finding for finding, names in labels.items() if any(has(name) for name in names)))


@lru_cache(maxsize=4096)
def _shared(found: frozenset[str]) -> frozenset[str]:
    """Return one set for all radiographs of the same findings, which are few."""
    return found


def _nih(root: Path, labels: LabelMap, metadata: Path | None) -> Iterator[Record]:
    path = find_file(root, ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"), metadata)
    columns = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
    folders = ["images", *(f"images_{number:03d}/images" for number in range(1, 13)), "."]
    folders = [folder for folder in folders if (root / folder).is_dir()]
    for row in rows_of(path, columns):
        found = frozenset(row["Finding Labels"].split("|"))
        name = row["Image Index"]
        yield Record(
            tuple(name if folder == "." else f"{folder}/{name}" for folder in folders),
            row["Patient ID"],
            row["View Position"],
            _whole(row["Patient Age"]),
            _sex(row.get("Patient Gender") or row.get("Patient Sex") or ""),
            found=_findings(found.__contains__, labels),
        )


def _chexpert(root: Path, labels: LabelMap, metadata: Path | None) -> Iterator[Record]:
    files = [metadata] if metadata is not None else [find_file(root, ("train.csv",)), root / "valid.csv"]
    names = tuple(name for several in labels.values() for name in several)
    for path in files:
        if path != files[0] and not path.is_file():
            continue
        split = "train" if path.name.startswith("train") else "validate" if path.name.startswith("valid") else ""
        for row in rows_of(path, ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *names)):
            place = row["Path"]
            patient = re.search(r"patient\d+", place)
            below = place.partition("/")[2] if place.startswith("CheXpert") else place
            yield Record(
                (below, place),
                patient[0] if patient else place,
                row["AP/PA"] or row["Frontal/Lateral"],
                _whole(row["Age"]),
                _sex(row["Sex"] if row["Sex"] != "Unknown" else ""),
                split,
                _findings(lambda name, row=row: _is_one(row[name]), labels),  # type: ignore[misc]
            )


def _is_one(text: str) -> bool:
    return text in ("1", "1.0")


def _padchest(root: Path, labels: LabelMap, metadata: Path | None) -> Iterator[Record]:
    path = find_file(root, ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",), metadata)
    columns = ("ImageID", "ImageDir", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM", "Projection")
    for row in rows_of(path, (*columns, "Labels")):
        taken, born = _whole(row["StudyDate_DICOM"][:4]), _whole(row["PatientBirth"])
        found = _listed(row["Labels"])
        yield Record(
            (f"{row['ImageDir']}/{row['ImageID']}", row["ImageID"]),
            row["PatientID"],
            row["Projection"],
            None if taken is None or born is None else taken - born,
            _sex(row["PatientSex_DICOM"]),
            found=_findings(found.__contains__, labels),
        )


def _listed(text: str) -> frozenset[str]:
    """Return the labels of a Python list that is written as text; they come with stray blanks."""
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return frozenset()
    return frozenset(str(value).strip() for value in values) if isinstance(values, list) else frozenset()


def _mimic(root: Path, labels: LabelMap, metadata: Path | None, patients: Path | None) -> Iterator[Record]:
    path = find_file(root, ("mimic-cxr-2.0.0-metadata.csv",), metadata)
    beside = path.parent
    names = tuple(name for several in labels.values() for name in several)
    found: dict[str, frozenset[str]] = {}
    for row in rows_of(find_file(beside, ("mimic-cxr-2.0.0-chexpert.csv",)), ("study_id", *names)):
        found[row["study_id"]] = _findings(lambda name, row=row: _is_one(row[name]), labels)  # type: ignore[misc]
    splits = {
        row["dicom_id"]: row["split"]
        for row in rows_of(find_file(beside, ("mimic-cxr-2.0.0-split.csv",)), ("dicom_id", "split"))
    }
    people: dict[str, tuple[int | None, int | None, str]] = {}
    if patients is not None:
        for row in rows_of(patients, ("subject_id", "gender", "anchor_age", "anchor_year")):
            people[row["subject_id"]] = _whole(row["anchor_age"]), _whole(row["anchor_year"]), _sex(row["gender"])
    for row in rows_of(path, ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate")):
        subject, study, image = row["subject_id"], row["study_id"], row["dicom_id"]
        age, anchor, sex = people.get(subject, (None, None, ""))
        taken = _whole(row["StudyDate"][:4])
        yield Record(
            (f"files/p{subject[:2]}/p{subject}/s{study}/{image}.jpg",),
            subject,
            row["ViewPosition"],
            None if age is None or anchor is None or taken is None else age + taken - anchor,
            sex,
            splits.get(image, ""),
            found.get(study, frozenset()),
        )


def _table(root: Path, labels: LabelMap, metadata: Path | None) -> Iterator[Record]:
    """A table of one's own: source, and where known patient, view, age, sex, split and columns y_FINDING of 0 and 1."""
    if metadata is None:
        raise SettingError("--dataset table needs --metadata FILE: a CSV file with the column source")
    for number, row in enumerate(rows_of(metadata, ("source",)), 2):
        if not row["source"].strip():
            raise SettingError(f"{metadata}: row {number} has no source")
        marks = {name[2:]: (value or "").strip() for name, value in row.items() if name and name.startswith("y_")}
        wrong = next((name for name, value in marks.items() if value not in ("", "0", "1", "0.0", "1.0")), None)
        if wrong is not None:
            raise SettingError(f"{metadata}: row {number}: y_{wrong} is neither 0 nor 1 nor empty")
        yield Record(
            (row["source"].strip(),),
            (row.get("patient") or "").strip(),
            (row.get("view") or "").strip(),
            _whole(row.get("age") or ""),
            _sex(row.get("sex") or ""),
            (row.get("split") or "").strip(),
            frozenset(name for name, value in marks.items() if _is_one(value)),
            frozenset(name for name, value in marks.items() if not value),
        )


def table_labels(metadata: Path) -> dict[str, tuple[str, ...]]:
    """Return the findings of the columns ``y_FINDING`` of a plain table."""
    first = next(iter(rows_of(metadata, ("source",))), {})
    return {name[2:]: (name,) for name in first if name and name.startswith("y_")}
