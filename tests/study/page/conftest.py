"""Results to make pages of, without an engine: what is edited is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from roentmod_fast.phantom import draw
from roentmod_fast.presets import SpeedSettings
from roentmod_fast.radiograph.dicom.sample import sample_dataset
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.result import EditResult
from roentmod_fast.settings import EditSettings

Change = Callable[[Dataset], None]


def write_source(path: Path, change: Change = lambda dataset: None, size: int = 160) -> Radiograph:
    """Write a phantom as DICOM, its header changed, and read it."""
    dataset = sample_dataset(draw(size, 3).image, seed=3)
    change(dataset)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return read_radiograph(path)


def result_of(radiograph: Radiograph, prompt: str = "edema", amount: float = 0.2) -> EditResult:
    """Return an edit that makes a soft spot denser by up to ``amount`` and leaves the rest."""
    rows, columns = radiograph.shape
    y, x = np.mgrid[:rows, :columns]
    spot = np.exp(-((y / rows - 0.5) ** 2 + (x / columns - 0.3) ** 2) * 60).astype(np.float32)
    image = radiograph.image + np.float32(amount) * np.where(spot > 0.1, spot, np.float32(0))
    settings = EditSettings(0.4, 4.0, 50, 0, "contrast", SpeedSettings())
    provenance = Provenance(prompt, 0.4, 4.0, 50, 0, "contrast", "phantom", "ab" * 32, "0.0", "cpu")
    image = np.clip(image, 0, 1).astype(np.float32)
    return EditResult(radiograph, image, image, prompt, settings, provenance, {}, 0, "")


@pytest.fixture
def radiograph(tmp_path: Path) -> Radiograph:
    """A phantom of 160 pixels, read from DICOM of 12 bits."""
    return write_source(tmp_path / "chest.dcm")
