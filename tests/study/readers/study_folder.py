"""A reader study written by hand, of tiny images or of phantoms: what ``reader-study page`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.study.readers.sheet import SheetRow, write_sheet

FINDINGS = ("cardiomegaly", "edema", "pleural_effusion")
ID = "a1b2c3d4e5f60718"


def names(count: int) -> list[str]:
    """Return names of images whose alphabetical order is not that of reading."""
    return [f"img{(7 * n + 3) % 97:02d}x" for n in range(count)]


def tiny(count: int, size: int = 24) -> list[NDArray[np.uint8]]:
    """Return images that all differ, with all grey levels from black to white."""
    ramp = np.add.outer(np.arange(size), np.arange(size)) * 255 // (2 * size - 2)
    return [np.roll(ramp, 3 * n, axis=n % 2).astype(np.uint8) for n in range(count)]


def write_study(
    folder: Path,
    images: Sequence[NDArray[np.uint8]],
    *,
    findings: Sequence[str] = FINDINGS,
    title: str = "Reader study",
    study: str = ID,
    readers: int | Sequence[str] = 1,
    answers: Mapping[int, SheetRow] | None = None,
) -> Path:
    """Write a study whose readers all read the same images, in the order given; ``answers``: rows by number."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [f"reader-{n}" for n in range(1, readers + 1)] if isinstance(readers, int) else readers
    facts = {"format": 1, "study": study, "title": title, "findings": list(findings), "readers": readers}
    (folder / "study.json").write_text(json.dumps(facts), encoding="utf-8")
    for reader in listed:
        (folder / reader / "images").mkdir(parents=True)
        rows = []
        for number, (name, pixels) in enumerate(zip(names(len(images)), images, strict=True)):
            Image.fromarray(pixels).save(folder / reader / "images" / f"{name}.png")
            blank = SheetRow(study, name, number + 1, dict.fromkeys(findings))
            rows.append((answers or {}).get(number, blank))
        write_sheet(folder / reader / "sheet.csv", sorted(rows, key=lambda row: row.image), findings)
    return folder
