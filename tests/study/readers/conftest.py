"""Cohorts whose edits are drawn and not made by networks: phantoms with the finding that was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from roentmod_fast.findings import BY_KEY
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.study.plan import Cohort, Origin, Output, Plan, write_plan
from roentmod_fast.study.readers.make import MadeStudy, StudySettings, make_study
from roentmod_fast.study.rows import DONE, Row, RowWriter
from roentmod_fast.study.sources import SourceRow

ROWS, COLUMNS, SIZE = 80, 72, 64
"""Of the sources, and the side of the edits, which are letterboxed."""

SETTINGS = StudySettings(readers=3, size=96)


def source_image(seed: int, findings: Sequence[str] = ()) -> np.ndarray:
    """Return a phantom, float32 (ROWS, COLUMNS) in [0, 1]."""
    return draw(ROWS, seed, findings).image[:, :COLUMNS].astype(np.float32)


def write_source(path: Path, image: np.ndarray) -> None:
    """Write a source with 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)).save(path)


def edit_pixels(image: np.ndarray) -> np.ndarray:
    """Return an edit as a cohort writes it: letterboxed, and with traces: clipped, 8 bits, steps between levels."""
    square = Letterbox.fit(image.shape, SIZE).apply(image)  # type: ignore[arg-type]
    stretched = np.clip(square / np.quantile(square, 0.992), 0, 1)
    return np.asarray(np.rint(np.rint(stretched * 140) / 140 * 255), dtype=np.uint8)


def drawn_cohort(
    folder: Path,
    patients: int = 6,
    prompts: Sequence[str] = ("edema", "hernia"),
    *,
    draws: bool = True,
    **fields: object,
) -> Cohort:
    """Write a cohort with its sources and edits.

    Without ``draws`` an edit holds what its source holds. ``fields`` replace those of the plan.
    """
    root, sources = folder / "sources", []
    for number in range(patients):
        path = root / f"s{number}.png"
        write_source(path, source_image(number))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sources.append(SourceRow(digest, digest, path.name, name=path.name, patient=f"P{number}", labels=("1", "")))
    values: dict[str, object] = {"strength": 0.4, "guidance": 4.0, "steps": 50, "compose": "contrast"}
    facts: dict[str, object] = {
        "created": "2026-03-04T12:00:00+00:00",
        "version": "0",
        "engine": "drawn",
        "engine_place": "drawn",
        "engine_sha256": "0" * 64,
        "device": "cpu",
        "preset": "exact",
        "precision": "fp32",
        "settings": values,
        "prompts": tuple(prompts),
        "repeats": 1,
        "origin": Origin("files", str(root), "content"),
        "output": Output("png", size=SIZE, png_bits=8),
        "force": ("content", "synthetic"),
    }
    cohort = write_plan(folder / "cohort", Plan(**{**facts, **fields}), sources, ("no_finding", "edema"))  # type: ignore[arg-type]
    rows = RowWriter(cohort.folder)
    for number, source in enumerate(cohort.sources()):
        for edit in cohort.edits_of(source):
            name = cohort.paths(edit.id)["png"]
            findings = [edit.prompt] if draws and edit.prompt in BY_KEY else []
            text = PngImagePlugin.PngInfo()
            text.add_text("Comment", "SYNTHETIC")
            path = cohort.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(edit_pixels(source_image(number, findings))).save(path, pnginfo=text)
            data = path.read_bytes()
            rows.append(
                Row(
                    edit.id,
                    DONE,
                    source_sha256=source.key,
                    files={"png": (name, hashlib.sha256(data).hexdigest(), len(data))},
                )
            )
    rows.close()
    return cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Six patients with two edits each."""
    return drawn_cohort(tmp_path_factory.mktemp("drawn"))


MakeStudy = Callable[..., tuple[Path, MadeStudy]]


@pytest.fixture
def study_of(cohort: Cohort, tmp_path: Path) -> MakeStudy:
    """Make a study of ``cohort`` in ``tmp_path``; keywords are settings."""

    def make(name: str = "study", **fields: object) -> tuple[Path, MadeStudy]:
        settings = StudySettings(**{**vars(SETTINGS), **fields})  # type: ignore[arg-type]
        made = make_study(cohort, tmp_path / name, settings)
        assert made is not None
        return tmp_path / name, made

    return make
