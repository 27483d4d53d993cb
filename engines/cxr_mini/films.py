"""The films that cxr-mini is trained and measured on: the index, the split by patient, squares of 256 pixels.

A folder of films holds ``index.csv`` (file, source, patient, view, findings, rsna_reader_class), the files it names,
and ``hannover-lungs/`` with masks drawn by hand. The films are not part of the project; CARD.md says where they are
from and under which terms.

The split is a function of the patient alone, so it never changes: all films of a patient are in one part.

==========  =========  ==========================================================================
part        share      use
==========  =========  ==========================================================================
test        0 to 20 %  figures of the model card; never trained on and never used to choose anything
classifier  to 34 %    sets the limits of the classifier of the benchmark, nothing of the engine
validation  to 39 %    chooses settings of the recipe
train       the rest   trains the engine
==========  =========  ==========================================================================
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.read import read_radiograph

SIZE = 256
PARTS = (("test", 0.2), ("classifier", 0.34), ("validation", 0.39), ("train", 1.0))
NIH = "NIH ChestX-ray14"
NORMAL = "No Finding"

Squares = NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """One row of the index, and the part that its patient is in."""

    file: str
    source: str
    patient: str
    view: str
    findings: frozenset[str]
    reader_class: str

    @property
    def part(self) -> str:
        return part_of(self.source, self.patient)

    @property
    def without_finding(self) -> bool:
        """Labelled "No Finding", and not read as anything else by RSNA's readers where they read it."""
        return self.findings == {NORMAL} and self.reader_class in ("", "Normal")


def part_of(source: str, patient: str) -> str:
    """Return the part of the split that a patient is in."""
    digest = hashlib.sha256(f"cxr-mini|{source}|{patient}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return next(name for name, end in PARTS if place < end)


def read_index(folder: Path) -> list[Film]:
    """Read ``index.csv`` of a folder of films, in its order."""
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return [
            Film(
                row["file"],
                row["source"],
                row["patient"],
                row["view"],
                frozenset(name for name in row["findings"].split("|") if name),
                row["rsna_reader_class"],
            )
            for row in csv.DictReader(file)
        ]


def square_of(path: Path) -> NDArray[np.float32]:
    """Read a film as the editor does: float32 (SIZE, SIZE) in [0, 1], bright = dense, black around."""
    image = read_radiograph(path, force=True).image
    return Letterbox.fit(image.shape, SIZE).apply(image)


def load_squares(folder: Path, films: list[Film]) -> Squares:
    """Read films as uint8 (count, SIZE, SIZE)."""
    return np.stack([np.round(square_of(folder / film.file) * 255).astype(np.uint8) for film in films])


def hand_masks(folder: Path, films: list[Film]) -> dict[int, NDArray[np.bool_]]:
    """Return the lung masks drawn by hand, bool (SIZE, SIZE), by the film's position in ``films``."""
    result = {}
    for index, film in enumerate(films):
        path = folder / "hannover-lungs" / f"{Path(film.file).stem}.png"
        if film.file.startswith("hannover/") and path.is_file():
            with Image.open(path) as image:
                mask = np.asarray(image.convert("L"), dtype=np.float32) / 255
            result[index] = Letterbox.fit(mask.shape, SIZE).apply(mask) > 0.5
    return result
