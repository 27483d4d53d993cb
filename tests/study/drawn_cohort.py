"""A cohort whose edits are drawn, without networks: each is the source's patient with the finding of the prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.findings import find_findings
from roentmod_fast.phantom import draw
from roentmod_fast.study.plan import Cohort, Origin, Output, Plan, write_plan
from roentmod_fast.study.rows import DONE, Row, RowWriter
from roentmod_fast.study.sources import SourceRow

Array = NDArray[np.float32]
CREATED = "2026-01-01T00:00:00+00:00"
SETTINGS = {
    "strength": 0.4,
    "guidance": 4.0,
    "steps": 50,
    "seed": 0,
    "compose": "replace",
    "solver": "ddim",
    "calls": None,
}


def drawn_edit(patient: int, prompt: str, repeat: int, size: int) -> Array:
    """The perfect edit of a phantom."""
    return draw(size, patient, find_findings(prompt)).image


def drawn_cohort(
    folder: Path,
    prompts: Sequence[str],
    *,
    patients: int,
    size: int = 64,
    repeats: int = 1,
    films: int = 1,
    compose: str = "replace",
    frame: int | None = None,
    split: Callable[[int], str] = lambda number: "",
    labels: Callable[[int], dict[str, str]] = lambda number: {},
    patient: Callable[[int], str] = lambda number: f"patient-{number}",
    edit: Callable[[int, str, int, int], Array] = drawn_edit,
) -> Cohort:
    """Write phantoms, a plan, edits as PNG of 8 bits and their rows into ``folder``.

    ``films``: sources of each patient. ``patient``: the name of one by number. ``split`` and ``labels``: of a source by
    its number; findings of its labels are drawn. ``frame``: the plan's size of outputs. ``edit``: makes an edit of a
    source, a prompt and a repeat in a size.
    """
    (folder / "sources").mkdir(parents=True)
    sources = []
    for number in range(patients * films):
        name = f"{number:04d}.png"
        own = labels(number)
        data = _write(folder / "sources" / name, draw(size, number, [key for key in own if own[key] == "1"]).image)
        key = hashlib.sha256(f"{number}".encode()).hexdigest()
        sources.append(
            SourceRow(
                key,
                data,
                name,
                name=name,
                patient=patient(number // films),
                split=split(number),
                labels=tuple(own.values()),
            )
        )
    plan = Plan(
        created=CREATED,
        version="0",
        engine="drawn",
        engine_place="drawn",
        engine_sha256="0" * 64,
        device="cpu",
        preset="exact",
        precision="fp32",
        settings={**SETTINGS, "compose": compose},
        prompts=tuple(prompts),
        repeats=repeats,
        origin=Origin("table", str((folder / "sources").absolute()), "name"),
        output=Output("png", png_bits=8, size=frame),
    )
    cohort = write_plan(folder, plan, sources, list(labels(0)))
    writer = RowWriter(folder)
    for number, source in enumerate(sources):
        for each in cohort.edits_of(source):
            [(kind, path)] = cohort.paths(each.id).items()
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            digest = _write(file, edit(number, each.prompt, each.repeat, size))
            facts = {kind: (path, digest, file.stat().st_size)}
            writer.append(Row(each.id, DONE, source_sha256=source.sha256, files=facts, finished=CREATED))
    writer.close()
    return cohort


def _write(path: Path, image: Array) -> str:
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
