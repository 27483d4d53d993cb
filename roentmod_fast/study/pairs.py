"""Sources and their edits, read from a cohort for whoever compares them.

Source and edit come in the same size and geometry, so that a difference is the edit's and not resampling's. What cannot
be read is counted with its reason and left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.letterbox import Letterbox, resample
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.plan import Cohort, Edit
from roentmod_fast.study.rows import DONE, Row, read_rows
from roentmod_fast.study.run import check_root
from roentmod_fast.study.sources import SourceRow

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EditImage:
    """An edit. ``image``: float32 (H, W) in [0, 1], its pixels square. ``sha256``: of its file."""

    edit: Edit
    image: Array
    sha256: str


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A source with its edits. ``image``: float32 (H, W) in [0, 1], in the edits' size.

    ``radiograph``: as it was read. ``sha256``: of its file.
    """

    row: SourceRow
    radiograph: Radiograph
    image: Array
    sha256: str
    edits: tuple[EditImage, ...]


@dataclass
class CohortPairs:
    """Iterates over the sources of a cohort that have edits, in the plan's order.

    ``root``: where the sources lie, in place of the plan's. ``left_out``: how often each reason kept an edit out; it
    grows while one iterates. ``pending``: edits that are not made, failed or were refused, by state.
    """

    cohort: Cohort
    root: Path | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    pending: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        plan = self.cohort.plan
        if plan.generates:
            raise SettingError(f"{self.cohort.folder}: generated images have no source to compare with")
        check_root(self.cohort, self.root)
        self.root = Path(plan.origin.root) if self.root is None else self.root
        rows = read_rows(self.cohort.folder).by_id
        self.items: list[tuple[SourceRow, tuple[tuple[Edit, Row], ...]]] = []
        """Sources with the edits that are made."""
        for source in self.cohort.sources():
            found = [(edit, rows.get(edit.id)) for edit in self.cohort.edits_of(source)]
            self.pending.update("pending" if row is None else row.state for _, row in found)
            made = tuple((edit, row) for edit, row in found if row is not None and row.state == DONE)
            if made:
                self.items.append((source, made))
        if not self.pending.pop(DONE, 0):
            raise SettingError(f"{self.cohort.folder}: no edit is made yet: type roentmod-fast cohort run")

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[SourceImage]:
        for source, made in self.items:
            found = self.read(source, made)
            if found is not None:
                yield found

    def read(self, source: SourceRow, made: tuple[tuple[Edit, Row], ...]) -> SourceImage | None:
        """Return a source with its edits, None where nothing of it can be read."""
        assert self.root is not None
        file = source.source(self.root)
        try:
            digest = hashlib.sha256(file.read()).hexdigest()
            radiograph = read_radiograph(file, force=frozenset(self.cohort.plan.force))
        except SourceError:
            self._leave_out("source cannot be read", len(made))
            return None
        edits, shape = list[EditImage](), None
        for edit, row in made:
            if row.source_sha256 not in ("", digest):
                self._leave_out("source changed since the edit was made", 1)
                continue
            image = self._image(row)
            if image is None:
                continue
            if shape not in (None, image.shape):
                self._leave_out("another size than the edits before it", 1)
                continue
            shape = image.shape
            edits.append(EditImage(edit, image, file_of(row)[1]))
        if shape is None:
            return None
        try:
            shown = in_size(radiograph, shape, source.name)
        except SettingError:
            self._leave_out("neither the source's proportions nor a square", len(edits))
            return None
        return SourceImage(source, radiograph, shown, digest, tuple(edits))

    def _image(self, row: Row) -> Array | None:
        path, digest = file_of(row)
        file = self.cohort.folder / path
        try:
            if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                self._leave_out("edit is not what was written: see cohort verify", 1)
                return None
            # An edit is synthetic, and its header may say what the prompt was.
            edited = read_radiograph(file, force=True)
        except (OSError, SourceError):
            self._leave_out("edit cannot be read: see cohort verify", 1)
            return None
        return squared(edited.image, edited.aspect)

    def _leave_out(self, reason: str, count: int) -> None:
        self.left_out[reason] += count


def file_of(row: Row) -> tuple[str, str]:
    """Return path and SHA-256 of the file that is looked at: the PNG where there is one, as classifiers read those."""
    path, digest, _ = row.files.get("png") or row.files["dicom"]
    return path, digest


def squared(image: Array, aspect: float) -> Array:
    """Return an image with square pixels; ``aspect``: height of a pixel over its width."""
    rows, columns = image.shape
    return resample(image, (max(1, round(rows * aspect)), columns), Image.Resampling.BICUBIC).clip(0, 1)


def in_size(source: Radiograph, shape: tuple[int, int], name: str, aspect: float = 1.0) -> Array:
    """Return what is shown of a source in an edit's size: scaled, or in a square with black around it.

    ``aspect``: of the edit's pixels, height over width. Raises SettingError for a shape that is neither of the source's
    proportions nor a square.
    """
    rows, columns = source.shape[0] * source.aspect, source.shape[1]
    if shape == source.shape and abs(aspect / source.aspect - 1) < 0.02:
        return source.image
    if shape[0] == shape[1] and abs(aspect - 1) < 0.02:
        return Letterbox.fit(source.shape, shape[0], source.aspect).apply(source.image)
    if abs(shape[0] * aspect / shape[1] / (rows / columns) - 1) < 0.02:
        return resample(source.image, shape, Image.Resampling.BICUBIC).clip(0, 1)
    raise SettingError(f"{name}: {shape[1]} x {shape[0]} pixels: expected the source's proportions or a square")
