"""Simulated readers with known error rates, and a key without images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roentmod_fast.study.labels import READ
from roentmod_fast.study.readers.allocation import Item, allocate
from roentmod_fast.study.readers.key import CONTROL, EDIT, BlindedImage, Key, write_private
from roentmod_fast.study.readers.sheet import SheetRow, write_sheet

STUDY = "a0b1c2d3e4f50617"


@dataclass(frozen=True)
class Reader:
    """A reader's error rates: of a finding that is asked for, of others, of realism; the share of unsure answers."""

    sees: Mapping[str, float] = field(default_factory=dict)
    invents: float = 0.1
    unsure: float = 0.0
    detects: float = 0.5
    trusts: float = 0.5
    names_extra: float = 0.0


def key_of(patients: int, prompts: Sequence[str], controls: int, readers: int = 3, **shares: float) -> Key:
    """Return a key of one edit a patient and prompt, and as many controls as patients up to ``controls``."""
    rng = np.random.default_rng(11)
    kinds = [(number, prompt) for number in range(patients) for prompt in prompts]
    kinds += [(number % patients, "") for number in range(controls)]
    kinds = [kinds[each] for each in rng.permutation(len(kinds))]
    allocation = allocate([Item(prompt, f"P{number}") for number, prompt in kinds], readers, rng, **shares)
    images = []
    for reader, order in enumerate(allocation.orders, 1):
        for place, reading in enumerate(order, 1):
            number, prompt = kinds[reading.item]
            images.append(
                BlindedImage(
                    name=f"x{len(images):012x}",
                    reader=reader,
                    order=place,
                    sha256="0" * 64,
                    case=reading.item + 1,
                    again=reading.again,
                    shared=reading.item in allocation.shared,
                    kind=EDIT if prompt else CONTROL,
                    edit=f"{reading.item:016x}" if prompt else "",
                    source=f"{number:064x}",
                    patient=f"P{number}",
                    prompt=prompt,
                    asked=(prompt,) if prompt in READ else (),
                    labels={"no_finding": "1"},
                )
            )
    cohort = {"digest": "0" * 64, "engine": "drawn", "engine_sha256": "0" * 64}
    return Key(STUDY, "Panel", "0", {"seed": 11}, cohort, READ, readers, tuple(images))


def answers(key: Key, panel: Sequence[Reader], seed: int = 3) -> list[SheetRow]:
    """Return what a panel reads, in the order of the key's images."""
    rng = np.random.default_rng(seed)
    rows = []
    for image in key.images:
        reader = panel[image.reader - 1]
        findings = {}
        for name in key.findings:
            share = reader.sees.get(name, 0.9) if name in image.asked else reader.invents
            findings[name] = 2 if rng.random() < reader.unsure else int(rng.random() < share)
        correct = rng.random() < (reader.trusts if image.real else reader.detects)
        extra = "rib fracture" if rng.random() < reader.names_extra else ""
        realism = int(image.real) if correct else int(not image.real)
        rows.append(SheetRow(key.study, image.name, image.order, findings, realism, extra, status="read"))
    return rows


def write_panel(
    folder: Path, key: Key, rows: Sequence[SheetRow], change: Callable[[SheetRow], SheetRow] = lambda row: row
) -> tuple[Path, list[Path]]:
    """Write a key and a sheet for each reader; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "key.json", key.render())
    paths = []
    for reader in range(1, key.readers + 1):
        path = folder / f"sheet-{reader}.csv"
        own = [change(row) for row, image in zip(rows, key.images, strict=True) if image.reader == reader]
        write_sheet(path, own, key.findings)
        paths.append(path)
    return folder / "key.json", paths
