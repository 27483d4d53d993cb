"""Small cohorts on the tiny engine: sources of a few pixels, few steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.settings import EditConfig
from roentmod_fast.study import planning
from roentmod_fast.study.make import Outcome
from roentmod_fast.study.plan import Cohort, Origin, Output, write_plan
from roentmod_fast.study.run import run_cohort

TINY = Path(__file__).parent.parent / "goldens" / "tiny_bundle"
PROMPTS = ("edema", "hernia")
PNG, QUICK = Output("png"), EditConfig(steps=3)
SPLITS = {"train": 0.8, "test": 0.2}

MakeCohort = Callable[..., Cohort]


def make_sources(folder: Path, count: int, size: int = 96) -> None:
    """Write phantoms, every third one as PNG, in folders of two."""
    for number in range(count):
        image = draw(size, number).image
        place = folder / f"p{number // 2}"
        place.mkdir(parents=True, exist_ok=True)
        if number % 3 == 0:
            Image.fromarray((image * 255).astype(np.uint8)).save(place / f"chest{number % 2}.png")
        else:
            write_sample(place / f"chest{number % 2}.dcm", image, seed=number, findings=())


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of four radiographs, two of each name."""
    make_sources(tmp_path / "sources", 4)
    return tmp_path / "sources"


@pytest.fixture
def cohort_of(tmp_path: Path, sources: Path) -> MakeCohort:
    """Plan a cohort of ``sources``; keywords replace fields of the plan."""

    def make(
        name: str = "cohort",
        prompts: Iterable[str] = PROMPTS,
        output: Output = PNG,
        config: EditConfig = QUICK,
        paths: Iterable[Path] | None = None,
        **fields: object,
    ) -> Cohort:
        engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, config)
        force = frozenset({"content", "synthetic"})
        rows, root = planning.file_rows(list(paths or [sources]), "content", output.deidentify, force)
        plan = planning.plan_of(
            engine, Origin("files", "", "content"), list(prompts), output, force=force, splits=SPLITS
        )
        plan = replace(planning.with_root(plan, root), created="2026-03-04T12:00:00+00:00", **fields)  # type: ignore[arg-type]
        return write_plan(tmp_path / name, plan, planning.with_splits(rows, SPLITS), ())

    return make


def run(cohort: Cohort, **options: object) -> list[Outcome]:
    """Run a cohort to its end."""
    return list(run_cohort(cohort, **options))  # type: ignore[arg-type]


def files_of(cohort: Cohort) -> dict[str, bytes]:
    """Return the content of all edits by path."""
    folder = cohort.folder / "edits"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
