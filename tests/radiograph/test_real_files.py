"""The real radiographs: each read as a viewer shows it, edited, and written so that others read it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.dicom.write import write_dicom
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import find_sources

DICOM = {
    "rsna-pa-mono2-jpeg8": ((1024, 1024), 8, "pillow"),
    "rsna-pa-mono1-jpeg8": ((1024, 1024), 8, "pillow"),
    "rg1-cr-pa-mono1-15bit-j2k": ((1955, 1841), 15, "pylibjpeg"),
    "966-dx-pa-inverse-12bit-j2k": ((2128, 2000), 12, "pylibjpeg"),
    "nih-sc-pa-mono2-implicit": ((1024, 1024), 8, None),
}


def test_the_folder_is_found_whole(real_files: Path) -> None:
    found = find_sources([real_files])
    assert len(found.sources) >= 18
    for source in found.sources:
        image = read_radiograph(source).image
        assert image.min() >= 0 and image.max() <= 1 and np.isfinite(image).all()


@pytest.mark.parametrize("name", DICOM)
def test_read_and_written(tmp_path: Path, provenance: Provenance, real_files: Path, name: str) -> None:
    shape, bits, decoder = DICOM[name]
    radiograph = read_radiograph(real_files / f"{name}.dcm")
    # This file's header says MONOCHROME1 of pixels that are MONOCHROME2's.
    assert any("looks like a negative" in note for note in radiograph.notes) == (name == "rsna-pa-mono1-jpeg8")
    assert radiograph.shape == shape and radiograph.layout is not None and radiograph.layout.bits_stored == bits
    assert (radiograph.decoder or "").startswith(decoder or "")
    letterbox = Letterbox.fit(radiograph.shape, 256, radiograph.aspect)
    square = letterbox.apply(radiograph.image)
    decoded = square.copy()
    decoded[120:150, 80:110] = np.clip(decoded[120:150, 80:110] + 0.1, 0, 1)
    edited = compose(radiograph.image, decoded, square, letterbox, "delta")
    path = tmp_path / "out.dcm"
    write_dicom(path, radiograph, edited, provenance)
    back = read_radiograph(path, force=True)
    assert radiograph.stored is not None and back.stored is not None
    same = edited == radiograph.image
    assert 0.9 < same.mean() < 1
    np.testing.assert_array_equal(back.stored[same], radiograph.stored[same])
    assert np.abs(back.image - edited).max() < 0.5 / 255 + 1e-6
    source, written = pydicom.dcmread(real_files / f"{name}.dcm"), pydicom.dcmread(path)
    for keyword in ("Rows", "Columns", "BitsStored", "PhotometricInterpretation", "SOPClassUID"):
        assert written[keyword].value == source[keyword].value
    lossy = source.get("LossyImageCompression") == "01"
    assert (written.get("LossyImageCompression") == "01") == lossy
    if shutil.which("dcmdump"):
        done = subprocess.run(["dcmdump", "-q", str(path)], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_the_monochrome1_twin_is_the_exact_negative(real_files: Path) -> None:
    one, two = (read_radiograph(real_files / f"rsna-pa-mono{n}-jpeg8.dcm") for n in (1, 2))
    np.testing.assert_array_equal(one.image, 1 - two.image)
    np.testing.assert_array_equal(two.image, 1 - one.image)
    np.testing.assert_array_equal(one.stored, two.stored)


@pytest.mark.parametrize("name", ["966-dx-pa-inverse-12bit-j2k", "rg1-cr-pa-mono1-15bit-j2k", "rsna-pa-mono2-jpeg8"])
def test_lungs_are_dark_and_the_mediastinum_is_bright(real_files: Path, name: str) -> None:
    image = read_radiograph(real_files / f"{name}.dcm").image
    rows, columns = image.shape
    upper = image[rows * 3 // 10 : rows * 4 // 10]
    middle = upper[:, columns * 46 // 100 : columns * 54 // 100].mean()
    sides = [upper[:, columns * left // 100 : columns * (left + 8) // 100].mean() for left in (25, 67)]
    assert middle > max(sides) + 0.05


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("name", DICOM)
@pytest.mark.parametrize("deidentify", ["pseudonymize", "none", "anonymize"])
def test_dciodvfy_finds_no_error_that_the_source_had_not(
    tmp_path: Path, provenance: Provenance, real_files: Path, name: str, deidentify: str
) -> None:
    path = tmp_path / "out.dcm"
    radiograph = read_radiograph(real_files / f"{name}.dcm")
    write_dicom(path, radiograph, radiograph.image, provenance, deidentify=deidentify)
    # dciodvfy of 2022 does not know Synthetic Data (0008,001C), which came later.
    new = {error for error in _errors(path) - _errors(real_files / f"{name}.dcm") if "(0x0008,0x001c)" not in error}
    assert new == set()


def _errors(path: Path) -> set[str]:
    done = subprocess.run(["dciodvfy", str(path)], check=False, capture_output=True)
    return {line for line in done.stderr.decode("latin-1").splitlines() if line.startswith("Error")}
