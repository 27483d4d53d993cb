"""Damaged files: one of our errors or an image, never anything else.

Two thousand mutations run with the tests; ``ROENTMOD_FUZZ=20000`` runs as many.
"""

from __future__ import annotations

import io
import os
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from roentmod_fast.errors import RoentmodError
from roentmod_fast.radiograph.dicom.read import looks_like_dicom, read_dicom
from roentmod_fast.radiograph.raster import looks_like_raster, read_raster
from roentmod_fast.radiograph.sources import find_sources
from tests.radiograph import frames
from tests.radiograph.conftest import lut_item, make_dataset, to_bytes

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
        dataset = make_dataset(frames.IMAGE)
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        files.append(to_bytes(dataset, syntax))
    buffer = io.BytesIO()
    Image.fromarray((frames.IMAGE >> 4).astype(np.uint8)).save(buffer, "JPEG")
    dataset = make_dataset(frames.IMAGE >> 4, BitsAllocated=8)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    files.append(to_bytes(dataset, uid.JPEGBaseline8Bit))
    Image.fromarray((frames.IMAGE << 4).astype(np.uint16)).save(buffer := io.BytesIO(), "PNG")
    files.append(buffer.getvalue())
    # Files that others wrote.
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return [*files, *((folder / name).read_bytes() for name in WRITTEN_BY_OTHERS if (folder / name).is_file())]


WRITTEN_BY_OTHERS = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
    "dicomdirtests/77654033/CR1/6154",
]


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy that is damaged in one of the ways that files are."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = (
            int(rng.integers(0, len(result)))
            if rng.random() < 0.3
            else int(rng.integers(min(132, len(result) - 1), min(1400, len(result))))
        )
        # Files cut short are seldom: they end early, and nothing else of them is tried.
        kind = rng.choice(5, p=[0.35, 0.2, 0.2, 0.2, 0.05])
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_mutated_files_give_an_image_or_an_error_of_ours(
    record_property: Callable[[str, object], None],
) -> None:
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
    # The high-water marks of this process and of the largest child, in KiB.
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        assert resource.getrusage(who).ru_maxrss < 2 << 20
    record_property("read", read)
    record_property("slowest", round(slowest, 3))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless])
@pytest.mark.parametrize("size", [(65535, 65535), (65535, 700), (7000, 7000), (1, 65535)])
def test_a_header_that_claims_too_much_costs_nothing(syntax: uid.UID, size: tuple[int, int]) -> None:
    dataset = make_dataset(np.zeros((40, 48), dtype=int))
    if syntax == uid.RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.Rows, dataset.Columns = size
    data = to_bytes(dataset, syntax)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with pytest.raises(RoentmodError, match=r"claims|truncated|decompressed"):
        read_dicom(data, "fuzz")
    assert time.perf_counter() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20


def test_mutated_files_in_a_folder_never_stop_the_search(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    files = seeds()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(60):
            archive.writestr(f"{number}.dcm", mutate(files[number % len(files)], rng))
    found = find_sources([tmp_path / "all.zip"])
    assert found.sources
    assert all(isinstance(looks_like_dicom(source.head()[:132]), bool) for source in found.sources)
