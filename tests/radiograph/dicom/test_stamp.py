"""The bytes of an edit depend on its stamp: the same stamp, the same file."""

from __future__ import annotations

import datetime
import io

import numpy as np
import pydicom
import pytest

from roentmod_fast.radiograph.dicom.deidentify import METHODS
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.stamp import Stamp
from roentmod_fast.radiograph.dicom.write import dicom_bytes, write_sample
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.raster import read_raster

HOW = Provenance("edema", 0.4, 4.0, 50, 1, "contrast", "e", "0" * 64, "0", "cpu")
NOON = datetime.datetime(2026, 3, 4, 12, 0, 0)
KEY = b"a secret of sixteen bytes"


@pytest.fixture(params=["dicom", "png", "nameless"])
def radiograph(request: pytest.FixtureRequest, tmp_path: object) -> Radiograph:
    """A phantom as DICOM, as PNG, and as DICOM without anything that tells patients apart."""
    from pathlib import Path

    from PIL import Image

    image = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    if request.param == "png":
        buffer = io.BytesIO()
        Image.fromarray((image * 255).astype(np.uint8)).save(buffer, "PNG")
        return read_raster(buffer.getvalue(), "x.png", force=True)
    path = Path(str(tmp_path)) / "x.dcm"
    write_sample(path, image, seed=0, findings=())
    dataset = pydicom.dcmread(path)
    del dataset.SyntheticData
    if request.param == "nameless":
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, "")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return read_dicom(buffer.getvalue(), "x.dcm", force=True)


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_one_file_and_another_seed_other_uids(radiograph: Radiograph, method: str) -> None:
    def made(seed: bytes | None) -> tuple[bytes, pydicom.Dataset]:
        stamp = Stamp(NOON, seed)
        data, uid = dicom_bytes(radiograph, radiograph.image, HOW, deidentify=method, key=KEY, stamp=stamp)
        dataset = pydicom.dcmread(io.BytesIO(data))
        assert dataset.SOPInstanceUID == uid and uid.startswith("2.25.") and len(uid) <= 64
        assert dataset.SeriesDate == dataset.InstanceCreationDate == "20260304"
        return data, dataset

    (first, one), (second, _), (third, other) = made(b"a"), made(b"a"), made(b"b")
    assert first == second != third
    assert one.SOPInstanceUID != one.SeriesInstanceUID != one.StudyInstanceUID
    assert {one.SOPInstanceUID, one.SeriesInstanceUID}.isdisjoint({other.SOPInstanceUID, other.SeriesInstanceUID})
    assert made(None)[1].SOPInstanceUID != made(None)[1].SOPInstanceUID
