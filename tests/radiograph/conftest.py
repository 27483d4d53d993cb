"""Headers and images that the tests of this room make for themselves."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from roentmod_fast.radiograph.model import Provenance, Radiograph

KEY = b"a key for tests only, not a secret"


@pytest.fixture(autouse=True)
def _pseudonym_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", KEY.decode())


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        prompt="pulmonary edema",
        strength=0.4,
        guidance=4.0,
        steps=50,
        seed=7,
        compose="delta",
        engine_name="phantom",
        engine_hash="0123456789abcdef" * 4,
        software_version="0.1.0",
        device="cpu",
    )


def make_dataset(pixels: NDArray[Any] | None = None, **attributes: Any) -> Dataset:
    """Return a small computed radiograph of a chest; ``attributes`` replace or (None) remove what it has.

    ``pixels``: integers (H, W) that go into cells of BitsAllocated as they are.
    """
    if pixels is None:
        pixels = np.arange(48 * 64).reshape(48, 64) % 4096
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    allocated = attributes.get("BitsAllocated", 16)
    defaults: dict[str, Any] = {
        "SOPClassUID": uid.ComputedRadiographyImageStorage,
        "SOPInstanceUID": "1.2.3.4.5",
        "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3.4.6",
        "Modality": "CR",
        "PatientName": "Doe^Jane",
        "PatientID": "12345678",
        "PatientBirthDate": "19500102",
        "PatientSex": "F",
        "StudyDate": "20200304",
        "StudyTime": "101112",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": min(12, allocated),
        "HighBit": min(12, allocated) - 1,
        "PixelRepresentation": 0,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    if "BitsStored" in attributes:
        defaults["HighBit"] = attributes["BitsStored"] - 1
    for keyword, value in {**defaults, **attributes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    mask = (1 << allocated) - 1
    dataset.PixelData = (pixels.astype(np.int64) & mask).astype(f"<u{allocated // 8}").tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OW" if allocated == 16 else "OB"
    return dataset


def to_bytes(dataset: Dataset, syntax: uid.UID | None = None) -> bytes:
    """Return a data set as the bytes of a file; ``syntax``: another uncompressed transfer syntax."""
    buffer = io.BytesIO()
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def lut_item(first: int, entries: list[int], bits: int) -> Dataset:
    """Return an item of Modality or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.array(entries, dtype="<u2").tobytes())
    return item


def words(text: str) -> list[str]:
    """Return the words of a text: a list of keywords that reads well."""
    return text.split()


def notes_of(radiograph: Radiograph) -> tuple[str, ...]:
    """Return the notes on a radiograph but the one that it is small, as images in tests are."""
    return tuple(note for note in radiograph.notes if "a thumbnail" not in note)
