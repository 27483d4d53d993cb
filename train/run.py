"""A training from its tables to an ONNX file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from roentmod_fast.atomic import make_folder
from roentmod_fast.errors import SettingError
from roentmod_fast.study.samples import REAL, TRAIN, VALIDATE, SampleSet, check_trainable
from roentmod_fast_train.batches import Batches
from roentmod_fast_train.export import MODEL, write_model
from roentmod_fast_train.images import load_images
from roentmod_fast_train.loop import Progress, Training, check_device
from roentmod_fast_train.network import make_network
from roentmod_fast_train.settings import TrainSettings, bind_run

logger = logging.getLogger(__name__)


def train_classifier(
    data: SampleSet,
    settings: TrainSettings,
    folder: Path,
    *,
    device: str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    reading: Callable[[int, int], None] = lambda done, count: None,
    progress: Callable[[Progress], None] = lambda where: None,
) -> Path | None:
    """Train a classifier in ``folder`` and return its ONNX file, None where it was stopped before the end.

    A folder that holds the same run goes on where that stopped. ``reading``: called with how many of the images are
    read; ``progress``: after each step. Raises SettingError for data or settings that cannot be trained, and where the
    folder holds another run.
    """
    settings.check()
    synthetic = not (isinstance(settings.mix, tuple) and settings.mix[1] == 0)
    check_trainable(data, synthetic=synthetic)
    if isinstance(settings.mix, tuple) and settings.mix[1] and not data.of(TRAIN, "synthetic"):
        raise SettingError("no edit in the split train: give a cohort whose edits are made, or --mix 1:0")
    if unpaired := Batches(data, settings).unpaired:
        logger.warning(f"{unpaired} real images of the split train have no edit: batches of pairs leave them out")
    # What fails later would fail after all images were read, and leave a folder that is bound to these settings.
    check_device(settings, device)
    make_network(settings, len(data.findings))
    make_folder(folder)
    threads = {"data": data.digest, "findings": list(data.findings), "settings": settings.to_json(), "device": device}
    bind_run(folder, threads)
    images = load_images(data, settings.size, folder / "images.npy", lambda done: reading(done, len(data.samples)))
    training = Training(data, images, settings, folder, device, stop)
    for where in training.run():
        progress(where)
    if not training.finished:
        return None
    times = training.times
    if times.total:
        logger.info(f"waited for data {100 * times.waiting / times.total:.1f} % of the time")
    checked = data.of(VALIDATE, REAL)[:8]
    path = folder / MODEL
    difference = write_model(
        training.best_network(),
        folder.resolve().name or "model",
        settings.size,
        data.findings,
        np.asarray(images[checked]),
        path,
    )
    logger.info(f"ONNX differs from torch by {difference:.1g} at most")
    return path


def counts(data: SampleSet) -> Sequence[str]:
    """Return how many images, patients and positives each split has, a line each."""
    labels = data.labels()
    lines = []
    for split in dict.fromkeys(each.split for each in data.samples):
        for kind in dict.fromkeys(each.kind for each in data.samples if each.split == split):
            places = data.of(split, kind)
            patients = len({data.samples[at].patient for at in places})
            positive = [int(np.nansum(labels[places, at] > 0.5)) for at in range(len(data.findings))]
            named = ", ".join(f"{name} {count}" for name, count in zip(data.findings, positive, strict=True))
            lines.append(f"{split}, {kind}: {len(places)} images of {patients} patients; {named}")
    return lines
