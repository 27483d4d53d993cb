"""Damaged files: an error of ours or a picture, never anything else.

Two thousand mutations run with the tests; ``ROENTMOD_FUZZ=20000`` runs as many.
"""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from roentmod_fast.errors import RoentmodError
from roentmod_fast.radiograph.dicom_read import looks_like_dicom, read_dicom
from roentmod_fast.radiograph.raster import looks_like_raster, read_raster
from roentmod_fast.radiograph.sources import find_sources

from . import frames
from .conftest import lut_item, make_dataset, to_bytes

ROUNDS = int(os.environ.get("ROENTMOD_FUZZ", "2000"))


def seeds() -> list[bytes]:
    """Return small whole files of several kinds."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 4096, (40, 48))
    rich = {
        "VOILUTSequence": [lut_item(0, list(range(4096)), 12)],
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientOrientation": ["L", "F"],
        "PixelSpacing": [0.1, 0.1],
        "PixelPaddingValue": 0,
    }
    files = [
        to_bytes(make_dataset(pixels)),
        to_bytes(make_dataset(pixels, **rich), uid.ImplicitVRLittleEndian),
        to_bytes(make_dataset(pixels, **rich), uid.DeflatedExplicitVRLittleEndian),
    ]
    for syntax, plugin in ((uid.RLELossless, "pydicom"), (uid.JPEG2000Lossless, "pylibjpeg")):
        dataset = make_dataset(pixels)
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        files.append(to_bytes(dataset))
    for frame, syntax in ((frames.HTJ2K, uid.HTJ2KLossless), (frames.JPEG_LOSSLESS, uid.JPEGLosslessSV1)):
        dataset = make_dataset(frames.PICTURE)
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        files.append(to_bytes(dataset, syntax))
    buffer = io.BytesIO()
    Image.fromarray((frames.PICTURE >> 4).astype(np.uint8)).save(buffer, "JPEG")
    dataset = make_dataset(frames.PICTURE >> 4, BitsAllocated=8)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    files.append(to_bytes(dataset, uid.JPEGBaseline8Bit))
    Image.fromarray((frames.PICTURE << 4).astype(np.uint16)).save(buffer := io.BytesIO(), "PNG")
    files.append(buffer.getvalue())
    return files


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy that is damaged in one of the ways that files are."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = (
            int(rng.integers(0, len(result)))
            if rng.random() < 0.3
            else int(rng.integers(min(132, len(result) - 1), min(1400, len(result))))
        )
        kind = rng.integers(0, 5)
        if kind == 0:
            result[at] = int(rng.integers(0, 256))
        elif kind == 1:
            result[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\0\0", b"\x7f\xff\xff\xff"])
        elif kind == 2:
            result[at : at + int(rng.integers(1, 40))] = b""
        elif kind == 3:
            result[at:at] = rng.bytes(int(rng.integers(1, 40)))
        else:
            result[max(at, 200) :] = b""
    return bytes(result)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mutated_files_give_a_picture_or_an_error_of_ours() -> None:
    rng = np.random.default_rng(2026)
    files = seeds()
    read = 0
    slowest = 0.0
    for number in range(ROUNDS):
        data = mutate(files[number % len(files)], rng)
        start = time.perf_counter()
        try:
            if looks_like_raster(data):
                image = read_raster(data, "fuzz", force=True).image
            else:
                image = read_dicom(data, "fuzz", force=bool(number % 2)).image
        except RoentmodError as error:
            assert "\n" not in str(error) and str(error).startswith("fuzz: ")
        else:
            read += 1
            assert image.ndim == 2 and image.min() >= 0 and image.max() <= 1
        slowest = max(slowest, time.perf_counter() - start)
    assert read > ROUNDS // 20, "some mutations are harmless"
    assert slowest < 5


def test_mutated_files_in_a_folder_never_stop_the_search(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    files = seeds()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(60):
            archive.writestr(f"{number}.dcm", mutate(files[number % len(files)], rng))
    found = find_sources([tmp_path / "all.zip"])
    assert found.sources
    assert all(isinstance(looks_like_dicom(source.head()[:132]), bool) for source in found.sources)
