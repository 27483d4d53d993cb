"""Two small classifiers of the paper's six findings, trained on phantoms: one clean, one with a planted shortcut.

In the shortcut's training data hernia comes with cardiomegaly in 90 % of the cases, and hardly ever without; in the
clean one's all findings are independent. Both end as ONNX files with the contract that ``roentmod-fast stress`` reads.

    python benchmarks/phantom_classifiers.py classifiers/          # 5 minutes of two cores; needs the extra export
    roentmod-fast stress cohort/ --model classifiers/clean.onnx --model classifiers/shortcut.onnx \
        --reference classifiers/reference/
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from film_classifier import GRID, FindingNet, shrink, train_classifier
from roentmod_fast.findings import BY_KEY
from roentmod_fast.phantom import draw
from roentmod_fast.study.models.contract import Contract

FINDINGS = tuple(BY_KEY)
PATIENTS = 3000
STEPS = 200
REFERENCE = 300
FIRST_SEED = 300_000
"""Of the patients of the training; tests take others."""

TOGETHER = 0.9
"""Share of cases in which hernia is what cardiomegaly is, where the shortcut is planted."""


def draw_labels(count: int, *, shortcut: bool) -> NDArray[np.bool_]:
    """Return which findings each patient has: each in a third; hernia that of cardiomegaly where it is a shortcut."""
    rng = np.random.default_rng(11)
    labels = rng.random((count, len(FINDINGS))) < 1 / 3
    if shortcut:
        heart, hernia = FINDINGS.index("cardiomegaly"), FINDINGS.index("hernia")
        tied = rng.random(count) < TOGETHER
        labels[:, hernia] = np.where(tied, labels[:, heart], ~labels[:, heart])
    return labels


def draw_patients(labels: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw a phantom for each row of labels: uint8 (n, 256, 256)."""
    images = np.empty((len(labels), 256, 256), np.uint8)
    for at, row in enumerate(labels):
        findings = [name for name, there in zip(FINDINGS, row, strict=True) if there]
        images[at] = np.rint(draw(256, FIRST_SEED + at, findings).image * 255)
    return images


def train(name: str, work: Path, *, shortcut: bool) -> FindingNet:
    """Train a classifier; a run that was stopped goes on."""
    labels = draw_labels(PATIENTS, shortcut=shortcut)
    file = work / f"{name}.npy"
    if not file.exists():
        np.save(file, draw_patients(labels))
    images, targets = np.load(file), torch.from_numpy(labels.astype(np.float32))

    def batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.integers(len(images), size=32)
        return shrink(images[chosen], torch.device("cpu")), targets[chosen]

    return train_classifier(name, batch, len(FINDINGS), work, torch.device("cpu"), steps=STEPS)


def write(network: FindingNet, name: str, folder: Path) -> None:
    """Write a classifier as ONNX with its contract."""
    path = folder / f"{name}.onnx"
    example = torch.rand(1, 1, GRID, GRID)
    program = torch.onnx.export(network, (example,), dynamo=True, input_names=["image"], output_names=["logits"])
    program.save(path)
    contract = Contract(
        name=name,
        kind="classifier",
        size=(GRID, GRID),
        channels=1,
        range=(0.0, 1.0),
        fit="pad",
        filter="box",
        values="logits",
        findings=FINDINGS,
        source="benchmarks/phantom_classifiers.py, trained on phantoms; not for diagnosis",
    )
    contract.write(path.with_suffix(".json"), overwrite=True)


def write_reference(folder: Path) -> None:
    """Write phantoms with independent findings: the real cohort among which scores become percentiles."""
    folder.mkdir(exist_ok=True)
    labels = np.random.default_rng(12).random((REFERENCE, len(FINDINGS))) < 1 / 3
    for at, row in enumerate(labels):
        findings = [name for name, there in zip(FINDINGS, row, strict=True) if there]
        image = np.rint(draw(256, FIRST_SEED + PATIENTS + at, findings).image * 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{at:04d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the classifiers, checkpoints and training images")
    folder = parser.parse_args().folder
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    write_reference(folder / "reference")
    for name, shortcut in (("clean", False), ("shortcut", True)):
        write(train(name, work, shortcut=shortcut), name, folder)
        print(folder / f"{name}.onnx", flush=True)


if __name__ == "__main__":
    main()
