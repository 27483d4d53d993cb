"""Training with edits on real films: NIH labels, five folds by patient, three arms. Needs the extra ``train``.

    python benchmarks/film_training.py WORK --films FILMS --cohort films/

FILMS holds ``index.csv`` and the films; the cohort's sources are films of this folder, planned as a table with
``--root FILMS``. Each film is predicted by the network of the fold that did not see its patient, nor an edit of it. The
AUC is of all out-of-fold predictions, its interval by patient. A small network and few films: it shows the method and
is no measure of full size. A run that was stopped goes on. Writes ``results/film_training.json``.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from roentmod_fast.machine import machine_facts
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.study.labels import asked_findings
from roentmod_fast.study.models.network import open_model
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.rows import DONE, read_rows
from roentmod_fast.study.samples import REAL, SYNTHETIC, Sample, SampleSet
from roentmod_fast.study.statistics import auc_bootstrap, auc_bootstrap_paired
from roentmod_fast_engines.cxr_mini.films import NIH, Film, read_index
from roentmod_fast_train.run import train_classifier
from roentmod_fast_train.settings import TrainSettings

RESULTS = Path(__file__).parent / "results"
FINDINGS = ("edema", "effusion", "pneumonia")
NAMES = {"edema": "Edema", "effusion": "Effusion", "pneumonia": "Pneumonia"}
FOLDS = 5
SETTINGS = TrainSettings(network="small", size=96, learning_rate=1e-3, epochs=8, patience=8, augment=False)
ARMS = {
    "real": replace(SETTINGS, mix=(1, 0)),
    "real, augmented": replace(SETTINGS, mix=(1, 0), augment=True),
    "real and edits": replace(SETTINGS, mix=(1, 1), epochs=4),
}
"""Batches of half edits have twice as many images an epoch: half the epochs, as many steps."""


def fold_of(patient: str) -> int:
    """Return the fold of a patient, by a hash."""
    return int(hashlib.sha256(f"fold|{patient}".encode()).hexdigest(), 16) % FOLDS


def samples_of(films: list[Film], folder: Path, cohort: Cohort) -> list[Sample]:
    """Return films with labels and the cohort's edits, each with its patient; the split is that of a fold, later."""
    samples, by_path = [], {film.file: film for film in films}
    for film in films:
        labels = tuple(float(NAMES[name] in film.findings) for name in FINDINGS)
        samples.append(Sample(film.file, REAL, "", film.patient, film.file, labels, Source.of(folder / film.file)))
    rows = read_rows(cohort.folder).by_id
    for source in cohort.sources():
        film = by_path[source.path]
        for edit in cohort.edits_of(source):
            row = rows.get(edit.id)
            if row is None or row.state != DONE:
                continue
            asked = asked_findings(edit.prompt)
            path, sha256, _ = row.files.get("png") or row.files["dicom"]
            labels = tuple(float(name in asked) for name in FINDINGS)
            file = Source.of(cohort.folder / path)
            samples.append(Sample(edit.id, SYNTHETIC, "", film.patient, film.file, labels, file, sha256))
    return samples


def in_fold(samples: list[Sample], fold: int) -> SampleSet:
    """Return the samples with the splits of a fold: it is the test, the next one validates."""
    splits = {fold: "test", (fold + 1) % FOLDS: "validate"}
    split = [replace(each, split=splits.get(fold_of(each.patient), "train")) for each in samples]
    return SampleSet(FINDINGS, tuple(split))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    options = parser.parse_args()
    films = [film for film in read_index(options.films) if film.source == NIH]
    samples = samples_of(films, options.films, Cohort.open(options.cohort))
    images = {film.file: read_radiograph(options.films / film.file, force=True).image for film in films}
    found = {arm: np.full((len(films), len(FINDINGS)), math.nan) for arm in ARMS}
    for fold in range(FOLDS):
        data = in_fold(samples, fold)
        tested = [at for at, film in enumerate(films) if fold_of(film.patient) == fold]
        for arm, settings in ARMS.items():
            folder = options.work / f"{arm.replace(', ', '-').replace(' ', '-')}-{fold}"
            path = folder / "model.onnx"
            if not path.exists():
                train_classifier(data, settings, folder)
            model = open_model(path, device="cpu")
            for at in tested:
                found[arm][at] = model.look(images[films[at].file])
            print(f"fold {fold}, {arm}", flush=True)
    patients = np.array([film.patient for film in films])
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), **machine_facts()}
    report |= {"torch": torch.__version__, "films": len(films), "patients": len(set(patients.tolist()))}
    report |= {"edits": sum(each.kind == SYNTHETIC for each in samples), "folds": FOLDS, "findings": {}}
    report["settings"] = SETTINGS.to_json()
    for column, name in enumerate(FINDINGS):
        labels = np.array([NAMES[name] in film.findings for film in films])
        entry: dict[str, Any] = {"positives": int(labels.sum()), "auc": {}, "differences": {}}
        for arm in ARMS:
            area = auc_bootstrap(found[arm][:, column], labels, patients, rng=np.random.default_rng(0))
            entry["auc"][arm] = [round(value, 4) for value in (area.estimate, area.low, area.high)]
        for arm in ("real", "real, augmented"):
            one, two = found["real and edits"][:, column], found[arm][:, column]
            gain = auc_bootstrap_paired(one, two, labels, patients, rng=np.random.default_rng(0))
            values = [round(value, 4) for value in (gain.estimate, gain.low, gain.high)]
            entry["differences"][f"real and edits - {arm}"] = values
        report["findings"][name] = entry
    (RESULTS / "film_training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
