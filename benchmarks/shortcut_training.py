"""Does training with edits remove a shortcut? Phantoms whose hernia comes with cardiomegaly in 90 % of the cases.

    python benchmarks/shortcut_training.py WORK --cohort phantoms/ --seeds 5

Three arms, each with several seeds, which draw other patients, labels and weights: real images alone, real images with
plain augmentation, real images and the engine's edits of other, normal patients (``cohort table`` must have been run).
Measured on patients that no training saw: AUC of both findings where they are independent, and on perfect
counterfactuals (the phantom with and without one finding) how far the other finding's output shifts. A run that was
stopped goes on. Writes ``results/shortcut_training.json``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.findings import BY_KEY
from roentmod_fast.machine import machine_facts
from roentmod_fast.phantom import draw
from roentmod_fast.study.models.network import Model, open_model
from roentmod_fast.study.samples import read_samples
from roentmod_fast.study.statistics import auc, percentiles
from roentmod_fast_train.run import train_classifier
from roentmod_fast_train.settings import TrainSettings

RESULTS = Path(__file__).parent / "results"
FINDINGS = tuple(BY_KEY)
HEART, HERNIA = "cardiomegaly", "hernia"
TOGETHER = 0.9
SIZE = 96
TRAIN, VALIDATE = 200, 100
TEST, PAIRS = 500, 100
TEST_SEED, PAIR_SEED, TRAIN_SEED = 500_000, 520_000, 600_000
SETTINGS = TrainSettings(network="small", size=SIZE, learning_rate=1e-3, epochs=40, patience=40, augment=False)
ARMS = {
    "real": replace(SETTINGS, mix=(1, 0)),
    "real, augmented": replace(SETTINGS, mix=(1, 0), augment=True),
    "real and edits": replace(SETTINGS, mix=(1, 1), epochs=20),
}
"""Batches of half edits have twice as many images an epoch: half the epochs, as many steps."""

T_95 = {3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t for a two-sided interval of 95 %, by degrees of freedom."""


def draw_labels(count: int, rng: np.random.Generator, *, shortcut: bool) -> NDArray[np.bool_]:
    """Return labels, each finding in a third; where there is a shortcut hernia is what cardiomegaly is in 90 %."""
    labels = rng.random((count, len(FINDINGS))) < 1 / 3
    if shortcut:
        heart, hernia = FINDINGS.index(HEART), FINDINGS.index(HERNIA)
        tied = rng.random(count) < TOGETHER
        labels[:, hernia] = np.where(tied, labels[:, heart], ~labels[:, heart])
    return labels


def phantom_image(seed: int, findings: list[str]) -> NDArray[np.uint8]:
    """Draw a patient as 8 bits."""
    return np.rint(draw(128, seed, findings).image * 255).astype(np.uint8)


def named(row: NDArray[np.bool_]) -> list[str]:
    """Return the names of the findings in a row of labels."""
    return [name for name, there in zip(FINDINGS, row, strict=True) if there]


def write_real(folder: Path, seed: int) -> Path:
    """Write the real images of a seed and their table; patients, labels and splits depend on the seed alone."""
    table = folder / "real.csv"
    if table.exists():
        return table
    folder.mkdir(parents=True, exist_ok=True)
    labels = draw_labels(TRAIN + VALIDATE, np.random.default_rng([21, seed]), shortcut=True)
    rows = []
    for at, row in enumerate(labels):
        Image.fromarray(phantom_image(TRAIN_SEED + 10_000 * seed + at, named(row))).save(folder / f"{at:04d}.png")
        split = "train" if at < TRAIN else "validate"
        rows.append([f"{at:04d}.png", f"real-{seed}-{at}", split, *row.astype(int)])
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["source", "patient", "split", *(f"y_{name}" for name in FINDINGS)], *rows])
    return table


def outputs(model: Model, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return the probabilities of images: float64 (N, K)."""
    return np.stack([model.look(image.astype(np.float32) / np.float32(255)) for image in images])


def measure(model: Model, tests: dict[str, Any]) -> dict[str, float]:
    """Return AUC on independent findings, and on perfect counterfactuals shifts in percentiles and probability."""
    found = outputs(model, tests["images"])
    columns = {name: model.contract.findings.index(name) for name in FINDINGS}
    result = {
        f"auc {name}": auc(found[:, columns[name]], tests["labels"][:, FINDINGS.index(name)]) for name in FINDINGS
    }
    result["auc mean"] = float(np.mean([result[f"auc {name}"] for name in FINDINGS]))
    sources = outputs(model, tests["sources"])
    for added, output in ((HEART, HERNIA), (HERNIA, HEART), (HEART, HEART), (HERNIA, HERNIA)):
        # Among patients with and without findings: among normal ones alone every small rise has a high percentile.
        reference = np.sort(found[:, columns[output]])
        before, after = sources[:, columns[output]], outputs(model, tests[added])[:, columns[output]]
        points = percentiles(reference, after) - percentiles(reference, before)
        result[f"shift {added} to {output}"] = float(np.median(points))
        result[f"probability {added} to {output}"] = float(np.median(after - before))
    return result


def make_tests() -> dict[str, Any]:
    """Draw the test: independent findings, and pairs of a patient without and with one finding."""
    labels = draw_labels(TEST, np.random.default_rng(22), shortcut=False)
    seeds = range(PAIR_SEED, PAIR_SEED + PAIRS)
    return {
        "labels": labels,
        "images": [phantom_image(TEST_SEED + at, named(row)) for at, row in enumerate(labels)],
        "sources": [phantom_image(seed, []) for seed in seeds],
        HEART: [phantom_image(seed, [HEART]) for seed in seeds],
        HERNIA: [phantom_image(seed, [HERNIA]) for seed in seeds],
    }


def interval(values: list[float]) -> list[float]:
    """Return mean and Student's 95 % interval over seeds."""
    array = np.array(values)
    reach = T_95[len(array) - 1] * array.std(ddof=1) / np.sqrt(len(array))
    return [round(float(value), 4) for value in (array.mean(), array.mean() - reach, array.mean() + reach)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--cohort", type=Path, required=True, help="edits of normal phantoms, with its manifest")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(2)
    tests = make_tests()
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        table = write_real(options.work / f"real-{seed}", seed)
        for arm, settings in ARMS.items():
            cohorts = [options.cohort] if settings.mix == (1, 1) else []
            data = read_samples(cohorts, [table], FINDINGS)
            folder = options.work / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
            path = folder / "model.onnx"
            if not path.exists():
                train_classifier(data, replace(settings, seed=seed), folder)
            runs[arm].append(measure(open_model(path, device="cpu"), tests))
            shown = {
                name: round(value, 3) for name, value in runs[arm][-1].items() if "hernia" in name or "mean" in name
            }
            print(f"seed {seed}, {arm}: {shown}", flush=True)
    names = list(runs["real"][0])
    report = {
        "date": datetime.date.today().isoformat(),
        **machine_facts(),
        "torch": torch.__version__,
        "seeds": options.seeds,
        "settings": SETTINGS.to_json(),
        "real_images": TRAIN,
        "edits": len(read_samples([options.cohort], [], FINDINGS).of("train", "synthetic")),
        "arms": {arm: {name: interval([run[name] for run in found]) for name in names} for arm, found in runs.items()},
        "differences": {
            f"real and edits - {arm}": {
                name: interval([a[name] - b[name] for a, b in zip(runs["real and edits"], runs[arm], strict=True)])
                for name in names
            }
            for arm in ("real", "real, augmented")
        },
    }
    (RESULTS / "shortcut_training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
