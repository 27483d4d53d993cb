"""A sweep's folder: the plan, an image for each run, numbers, contact sheet and page. What is there is not made again.

``sweep.json`` says what the sweep is; another sweep in the folder is refused. ``cells/NNNNN.png`` has 16 bits and is
marked as synthetic with its settings. ``cells.csv``, ``sheet.png`` and the page are written from the images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.radiograph.metrics import change_statistics
from roentmod_fast.radiograph.raster import png_bytes, write_png
from roentmod_fast.radiograph.read import as_radiograph
from roentmod_fast.study.output import csv_text
from roentmod_fast.study.page.content import Grid, displayed, edit_of
from roentmod_fast.study.page.edits import Page
from roentmod_fast.study.sweep.plan import Cell, SweepPlan
from roentmod_fast.study.sweep.run import SweepRun
from roentmod_fast.study.sweep.sheet import contact_sheet

Array = NDArray[np.float32]
FORMAT = 1
PLAN, CELLS, NUMBERS, SHEET = "sweep.json", "cells", "cells.csv", "sheet.png"
COLUMNS = (
    *("cell", "row", "column", "prompt", "strength", "guidance", "steps", "solver", "seed", "compose"),
    *("evaluated_steps", "same_as", "image", "mean_change", "mean_change_inside", "mean_change_outside"),
    *("share_changed", "psnr_db", "ssim"),
)


@dataclass(frozen=True)
class CellNumbers:
    """How far a cell is from the source. Mean absolute changes are in grey levels of 8 bit; None without a region."""

    mean_change: float
    inside: float | None
    outside: float | None
    share_changed: float
    psnr_db: float | None
    ssim: float


@dataclass(frozen=True)
class SweepStore:
    """The folder of a sweep."""

    folder: Path
    run: SweepRun
    plan: SweepPlan

    def begin(self) -> None:
        """Make the folder and write the plan, or check that the one there is the same.

        Raises SettingError where the folder holds another sweep, OutputError where it cannot be written.
        """
        path = self.folder / PLAN
        text = json.dumps(self._facts(), indent=2, ensure_ascii=False) + "\n"
        if path.exists():
            try:
                there = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                there = None
            if there != json.loads(text):
                raise SettingError(f"{path}: another sweep, or one of another version: choose another folder with -o")
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise SettingError(f"{self.folder}: a folder with other files: choose another one with -o")
        make_folder(self.folder / CELLS)
        if not path.exists():
            write_atomically(path, text.encode())

    def _facts(self) -> dict[str, Any]:
        run, editor = self.run, self.run.editor
        inside = run.inside
        return {
            "format": FORMAT,
            "synthetic": True,
            "source_sha256": _sha256(run.radiograph.image),
            "engine": {"name": editor.bundle.name, "manifest_sha256": editor.bundle.manifest_hash},
            "precision": editor.networks.precision,
            "axes": {name: list(values) for name, values in asdict(self.plan.axes).items()},
            "protect_markers": run.protect_markers,
            "region_sha256": None if inside is None else _sha256(inside),
        }

    def present(self) -> list[int]:
        """Return the numbers of the cells whose image is there; a file is whole, as it is written in one step."""
        return [cell.number for cell in self.plan.runs if self.path(cell).is_file()]

    def path(self, cell: Cell) -> Path:
        """Return the file of a cell's image."""
        return self.folder / CELLS / f"{cell.image_of:05d}.png"

    def write(self, cell: Cell, image: Array) -> None:
        """Write a cell's image. Raises OutputError."""
        write_png(self.path(cell), as_radiograph(self.run.source), image, self.run.provenance(cell), overwrite=True)

    def read(self, cell: Cell) -> Array:
        """Read a cell's image, float32 in [0, 1]. Raises OutputError for one that is damaged or of another size."""
        try:
            with Image.open(self.path(cell), formats=("PNG",)) as opened:
                values = np.asarray(opened)
        except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, ...
            raise OutputError(f"{self.path(cell)}: damaged: remove it and run the sweep again") from error
        if values.shape != self.run.source.shape:
            raise OutputError(f"{self.path(cell)}: of another size: remove it and run the sweep again")
        return np.asarray(values / np.float32(65535), dtype=np.float32)

    def numbers(self, image: Array) -> CellNumbers:
        """Compare an image with the source."""
        source, inside = self.run.source, self.run.inside
        change = np.abs(image - source) * 255
        statistics = change_statistics(source, image)
        parts: list[float | None] = [None, None]
        if inside is not None:
            parts = [float(change[where].mean()) if where.any() else None for where in (inside, ~inside)]
        return CellNumbers(
            float(change.mean()), parts[0], parts[1], statistics.share_changed, statistics.psnr_db, statistics.ssim
        )

    def finish(self, html: Path | None = None, title: str = "") -> list[Path]:
        """Write numbers, contact sheet and, to ``html``, the page; return their paths. Raises OutputError."""
        images = {cell.number: self.read(cell) for cell in self.plan.runs}
        numbers = {number: self.numbers(image) for number, image in images.items()}
        write_atomically(self.folder / NUMBERS, self._csv(numbers).encode(), overwrite=True)
        sheet = contact_sheet(self.plan, self.run.source, images, {n: _caption(found) for n, found in numbers.items()})
        write_atomically(self.folder / SHEET, png_bytes(sheet, None), overwrite=True)
        written = [self.folder / NUMBERS, self.folder / SHEET]
        if html is not None:
            write_atomically(html, self._page(images, numbers, title), overwrite=True)
            written.append(html)
        return written

    def _csv(self, numbers: dict[int, CellNumbers]) -> str:
        rows: list[list[object]] = [list(COLUMNS)]
        for cell in self.plan.cells:
            settings, found = self.run.editor.settings(cell.config), numbers[cell.image_of]
            same = "" if cell.same_as is None else cell.same_as
            rows.append(
                [
                    *(cell.number, cell.row, cell.column, cell.prompt, settings.strength, settings.guidance),
                    *(settings.steps, settings.speed.solver, settings.seed, settings.compose),
                    *(cell.evaluated_steps, same, self.path(cell).relative_to(self.folder).as_posix()),
                    *(_rounded(v) for v in (found.mean_change, found.inside, found.outside)),
                    *(_rounded(v) for v in (found.share_changed, found.psnr_db, found.ssim)),
                ]
            )
        return csv_text(rows)

    def _page(self, images: dict[int, Array], numbers: dict[int, CellNumbers], title: str) -> bytes:
        source = displayed(self.run.source, "sweep")
        page = Page(source, title or "Sweep", "source, as the engine sees it")
        for cell in self.plan.cells:
            found = numbers[cell.image_of]
            edit = edit_of(
                page.content.source,
                source,
                images[cell.image_of],
                self.run.provenance(cell),
                cell.place + ("" if cell.same_as is None else f": as {self.plan.cells[cell.same_as].place}"),
                change=None,
            )
            facts = [*edit.facts, ("Steps that run", str(cell.evaluated_steps)), *_facts(found)]
            label = f"{found.mean_change:.1f}" + ("" if cell.same_as is None else "=")
            page.put(
                replace(edit, facts=facts, label=label, row=cell.row, column=cell.column, changed=found.share_changed),
                images[cell.image_of],
            )
        plan = self.plan
        page.content.grid = Grid(plan.row_axis, plan.column_axis, plan.rows, plan.columns)
        page.content.note = "in the cells: mean change in grey levels of 255, = the same run as another cell"
        return page.render()


def _facts(found: CellNumbers) -> Sequence[tuple[str, str]]:
    facts = [("Mean change", f"{found.mean_change:.2f} grey levels of 255")]
    if found.inside is not None and found.outside is not None:
        facts.append(("Inside, outside", f"{found.inside:.2f}, {found.outside:.2f}"))
    return [*facts, ("Changed", f"{100 * found.share_changed:.1f} % of the pixels, SSIM {found.ssim:.3f}")]


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _caption(found: CellNumbers) -> str:
    """Return the change of a cell in a few words, in grey levels of 8 bit."""
    if found.inside is None or found.outside is None:
        return f"change {found.mean_change:.1f}"
    return f"inside {found.inside:.1f}, outside {found.outside:.1f}"


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
