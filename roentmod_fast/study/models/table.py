"""A model as a table of its predictions: what a vendor's box or another machine gave.

CSV with the columns ``image_id`` and one for each finding, values from 0 to 1. An image is an edit by its id, or a
source by its key (``source_key`` of the manifest) or by its name (``source``). Rows with ``reference`` in the column
``kind`` are further real radiographs, of any name, and count for the distribution of the model's scores alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError

Array = NDArray[np.float64]
ID, KIND, REFERENCE = "image_id", "kind", "reference"


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions by image. ``reference``: those of further real radiographs, float64 (N, K)."""

    name: str
    findings: tuple[str, ...]
    sha256: str
    rows: Mapping[str, Array]
    reference: Array = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def read(cls, path: Path) -> PredictionTable:
        """Read a table. Raises SettingError naming the row."""
        try:
            data = path.read_bytes()
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingError(f"{path}: not UTF-8: save the table as CSV in UTF-8") from None
        reader = csv.reader(io.StringIO(text, newline=""))
        header = [name.strip() for name in next(reader, [])]
        if ID not in header:
            raise SettingError(f"{path}: no column {ID}: expected {ID} and a column for each finding, with commas")
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise SettingError(f"{path}: the column {twice[0]!r} comes twice")
        findings = tuple(name for name in header if name not in (ID, KIND))
        if not findings:
            raise SettingError(f"{path}: no column of a finding: expected one for each, such as edema")
        rows: dict[str, Array] = {}
        reference = []
        for number, cells in enumerate(reader, 2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise SettingError(f"{path}: row {number} has {len(cells)} cells and not {len(header)}")
            row = dict(zip(header, cells, strict=True))
            values = np.array([_value(row[name], f"{path}: row {number}, column {name}") for name in findings])
            if (row.get(KIND) or "").strip() == REFERENCE:
                reference.append(values)
                continue
            key = row[ID].strip()
            if key in rows:
                raise SettingError(f"{path}: row {number}: {ID} {key!r} comes twice")
            rows[key] = values
        if not rows:
            raise SettingError(f"{path}: no rows of a cohort's images")
        whole = np.array(reference) if reference else np.empty((0, len(findings)))
        return cls(path.stem, findings, hashlib.sha256(data).hexdigest(), rows, whole)

    def find(self, names: Iterable[str]) -> Array | None:
        """Return the predictions of an image by any of its names, None where there are none."""
        return next((self.rows[name] for name in names if name in self.rows), None)


def _value(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise SettingError(f"{where}: {text!r} is no probability: expected a number from 0 to 1")
    return value
