"""The scores of all images of a cohort by a model, kept as CSV so that nothing is run twice.

A line is appended for each image as it is scored: a run that is stopped goes on by the same call. The file belongs to
one cohort and one model, by their hashes.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.study.output import csv_bytes, file_name
from roentmod_fast.study.pairs import CohortPairs, SourceImage
from roentmod_fast.study.plan import Cohort, Edit
from roentmod_fast.study.rows import Row
from roentmod_fast.study.sources import SourceRow
from roentmod_fast.study.stress.controls import AUTOENCODER, RoundTrip
from roentmod_fast.study.stress.scorers import Scorer

Values = NDArray[np.float64]
SOURCE, EDIT, REFERENCE = "source", "edit", "reference"
COLUMNS = ("image_id", "kind", "source_key", "patient", "prompt", "repeat", "sha256")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of a source and its edits by one model.

    ``source``: float64 (K,), None where it is not known. ``round_trip``: of what the autoencoder makes of it.
    """

    key: str
    patient: str
    source: Values | None
    edits: tuple[tuple[Edit, Values], ...]
    round_trip: Values | None


@dataclass
class ScoreFile:
    """The kept scores of one model."""

    folder: Path
    scorer: Scorer
    known: dict[tuple[str, str], tuple[str, Values]] = field(default_factory=dict)
    """By kind and id: the SHA-256 of the image and its scores."""

    @classmethod
    def open(cls, folder: Path, scorer: Scorer, cohort: Cohort, *, overwrite: bool = False) -> ScoreFile:
        """Read what is kept. Raises SettingError where it is of another cohort or model."""
        result = cls(folder, scorer)
        make_folder(folder)
        facts = {"cohort": cohort.digest.hex(), "model": scorer.sha256, "findings": list(scorer.findings)}
        mark, path = result.path.with_suffix(".json"), result.path
        if mark.exists() and not overwrite:
            try:
                there = json.loads(mark.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                there = None
            if there != facts:
                raise SettingError(
                    f"{path}: holds scores of another cohort or version of {scorer.name}:"
                    " choose another folder with -o, or give --overwrite"
                )
            result._read()
            return result
        write_atomically(path, csv_bytes([[*COLUMNS, *scorer.findings]]), overwrite=True)
        write_atomically(mark, (json.dumps(facts, indent=1) + "\n").encode(), overwrite=True)
        return result

    @property
    def path(self) -> Path:
        """The CSV file."""
        return self.folder / f"scores-{file_name(self.scorer.name)}.csv"

    def get(self, kind: str, key: str, sha256: str) -> Values | None:
        """Return the kept scores of an image; ``sha256`` empty: of whatever content."""
        found = self.known.get((kind, key))
        return found[1] if found is not None and sha256 in ("", found[0]) else None

    def append(self, rows: Sequence[tuple[Sequence[Any], Values]]) -> None:
        """Add rows: the values of :data:`COLUMNS` and the scores of each. Raises OutputError."""
        data = csv_bytes([*facts, *map(repr, values.tolist())] for facts, values in rows)
        try:
            with self.path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        for facts, values in rows:
            self.known[facts[1], facts[0]] = facts[-1], values

    def _read(self) -> None:
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # a run was killed in the middle of a line
            write_atomically(self.path, whole, overwrite=True)
        lines = csv.reader(io.StringIO(whole.decode("utf-8", "replace"), newline=""))
        if next(lines, []) != [*COLUMNS, *self.scorer.findings]:
            raise SettingError(f"{self.path}: damaged: remove it, or give --overwrite")
        count = len(COLUMNS)
        for row in lines:
            try:
                values = np.array([float(text) for text in row[count:]])
            except ValueError:
                values = np.empty(0)
            if len(values) != len(self.scorer.findings) or not np.isfinite(values).all():
                raise SettingError(f"{self.path}: line {lines.line_num} is damaged: remove it, or give --overwrite")
            self.known[row[1], row[0]] = row[count - 1], values


@dataclass
class Scoring:
    """Scores a cohort by several models, each image read once.

    ``round_trip``: makes what the autoencoder gives back of the sources whose keys are in ``round_trips``. ``unknown``:
    images that a table does not hold, by model.
    """

    pairs: CohortPairs
    files: Sequence[ScoreFile]
    round_trip: RoundTrip | None = None
    round_trips: frozenset[str] = frozenset()
    unknown: Counter[str] = field(default_factory=Counter)

    def run(self) -> Iterator[list[Scored]]:
        """Yield the scores of a source by each model, in the order of ``files``; nothing of one that cannot be read.

        The next source is read meanwhile.
        """
        with ThreadPoolExecutor(1, "read") as reader:
            items = iter(self.pairs.items)

            def ahead() -> Any:
                item = next(items, None)
                if item is None:
                    return None
                needed = any(not self._is_kept(file, *item) for file in self.files)
                return item, reader.submit(self.pairs.read, *item) if needed else None

            waiting = ahead()
            while waiting is not None:
                (row, made), reading = waiting
                waiting = ahead()
                if reading is None:
                    yield [self._kept(file, row, made) for file in self.files]
                    continue
                found = reading.result()
                yield [] if found is None else [self._score(file, found) for file in self.files]

    def _is_kept(self, file: ScoreFile, source: SourceRow, made: Sequence[tuple[Edit, Row]]) -> bool:
        """Tell whether no image of a source needs to be read for a model."""
        if not file.scorer.looks:
            return True
        kinds = [(SOURCE, source.key, made[0][1].source_sha256)]
        kinds += [
            (EDIT, edit.id, each.files.get("png", each.files.get("dicom", ("", "", 0)))[1]) for edit, each in made
        ]
        kinds += [(AUTOENCODER, source.key, "")] if source.key in self.round_trips else []
        return all(file.get(*kind) is not None for kind in kinds)

    def _kept(self, file: ScoreFile, row: SourceRow, made: Sequence[tuple[Edit, Row]]) -> Scored:
        if not file.scorer.looks:
            return self._looked_up(file, row, made)
        edits = tuple((edit, values) for edit, _ in made if (values := file.get(EDIT, edit.id, "")) is not None)
        source, trip = file.get(SOURCE, row.key, ""), file.get(AUTOENCODER, row.key, "")
        return Scored(row.key, row.patient or row.key, source, edits, trip if row.key in self.round_trips else None)

    def _looked_up(self, file: ScoreFile, row: SourceRow, made: Sequence[tuple[Edit, Row]]) -> Scored:
        source = file.scorer.score(None, (row.key, row.name))
        found = [(edit, file.scorer.score(None, (edit.id,))) for edit, _ in made]
        self.unknown[file.scorer.name] += (source is None) + sum(values is None for _, values in found)
        edits = tuple((edit, values) for edit, values in found if values is not None)
        return Scored(row.key, row.patient or row.key, source, edits, None)

    def _score(self, file: ScoreFile, found: SourceImage) -> Scored:
        row, new = found.row, list[tuple[Sequence[Any], Values]]()
        if not file.scorer.looks:
            return self._looked_up(file, row, [(item.edit, Row(item.edit.id, "")) for item in found.edits])

        def score(kind: str, key: str, image: Any, sha256: str, edit: Edit | None) -> Values:
            kept = file.get(kind, key, sha256)
            if kept is None:
                kept = file.scorer.score(image() if callable(image) else image, (key,))
                assert kept is not None
                where = ("", "") if edit is None else (edit.prompt, edit.repeat)
                new.append(((key, kind, row.key, row.patient, *where, sha256), kept))
            return kept

        source = score(SOURCE, row.key, found.image, found.sha256, None)
        edits = tuple((e.edit, score(EDIT, e.edit.id, e.image, e.sha256, e.edit)) for e in found.edits)
        trip = None
        if self.round_trip is not None and row.key in self.round_trips:
            make = self.round_trip
            trip = score(AUTOENCODER, row.key, lambda: make.image(found), found.sha256, None)
        if new:
            file.append(new)
        return Scored(row.key, row.patient or row.key, source, edits, trip)
