"""Images of samples in the network's size, read once and kept in one file, from which batches are gathered.

They go the way that the contract of the trained model prescribes (:mod:`roentmod_fast.study.models.preprocess`), real
radiographs by way of the size of the edits beside them, as in ``stress``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import RefusedError, SettingError, SourceError
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.models.contract import Contract
from roentmod_fast.study.models.preprocess import preprocess
from roentmod_fast.study.pairs import squared
from roentmod_fast.study.samples import Sample, SampleSet

Pixels = NDArray[np.uint8]


def contract_of(name: str, size: int, findings: tuple[str, ...], source: str = "") -> Contract:
    """Return the contract of a classifier that is trained here: the whole image on black, 8 bits, 0 to 1."""
    return Contract(
        name=name,
        kind="classifier",
        size=(size, size),
        channels=1,
        range=(0.0, 1.0),
        fit="pad",
        filter="bilinear",
        values="logits",
        findings=findings,
        quantize=True,
        source=source,
    )


def load_images(data: SampleSet, size: int, path: Path, done: Callable[[int], None] = lambda count: None) -> Pixels:
    """Return all images, uint8 (N, size, size), mapped from ``path``, which is made where it is missing or of others.

    ``done``: called with the number of images that are read. Raises SettingError for an image that is missing, cannot
    be read or is not what the manifest says.
    """
    shape = (len(data.samples), size, size)
    mark = path.with_suffix(".sha256")
    digest = hashlib.sha256(f"{data.digest} {shape}".encode()).hexdigest()
    if not (path.exists() and mark.exists() and mark.read_text() == digest):
        mark.unlink(missing_ok=True)
        contract = contract_of("training", size, ("finding",))
        store = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        with ThreadPoolExecutor() as pool:
            for at, image in enumerate(pool.map(lambda each: _read(each, contract), data.samples)):
                store[at] = image
                done(at + 1)
        store.flush()
        mark.write_text(digest)
    mapped: Pixels = np.load(path, mmap_mode="r")
    return mapped


def _read(sample: Sample, contract: Contract) -> Pixels:
    try:
        content = sample.file.read()
        if sample.sha256 and hashlib.sha256(content).hexdigest() != sample.sha256:
            raise SettingError(f"{sample.file.name}: its content is not what the manifest says: see cohort verify")
        radiograph = read_radiograph(sample.file, force=sample.settled)
    except RefusedError:
        name = sample.file.name
        raise SettingError(f"{name}: already synthetic: leave it out, it is no real radiograph") from None
    except SourceError as error:
        raise SettingError(f"{error}: training needs every image of its tables") from None
    image = squared(radiograph.image, radiograph.aspect)
    if sample.frame is not None:
        image = Letterbox.fit(image.shape, sample.frame).apply(image)
    image = preprocess(image, contract)[0]
    return np.rint(image * 255).astype(np.uint8)
