"""Patient Orientation that the user gives in place of the header's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.errors import RefusedError, SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.orientation import Orientation, given_orientation, orientation_of
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import write_dicom
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.raster import read_raster, write_png
from roentmod_fast.radiograph.read import read_radiograph
from tests.radiograph.conftest import make_dataset, to_bytes

UPRIGHT = np.rint(draw(96, 3).image[:80] * 4095).astype(int)
PAIRS = [(row, column) for row in "LRFH" for column in "LRFH" if orientation_of(row, column) is not None]


@pytest.mark.parametrize(("row", "column"), PAIRS)
@pytest.mark.parametrize("stated", [None, ["L", "F"], ["R", "H"], ["", ""], ["A", "F"]])
def test_applied_in_place_of_the_header_and_written(
    tmp_path: Path, provenance: Provenance, row: str, column: str, stated: list[str] | None
) -> None:
    turning = orientation_of(row, column)
    assert turning is not None
    stored = turning.back(UPRIGHT)
    source = to_bytes(make_dataset(stored, PatientOrientation=stated))
    radiograph = read_dicom(source, "x.dcm", orientation=f"{row}\\{column}")
    assert radiograph.orientation == turning
    np.testing.assert_allclose(radiograph.image, UPRIGHT / 4095, atol=1e-6)
    assert any(f"Patient Orientation given as {row}\\{column}" in note for note in radiograph.notes)
    edited = radiograph.image.copy()
    edited[:10, :10] = 1
    path = tmp_path / "out.dcm"
    write_dicom(path, radiograph, edited, provenance)
    written = pydicom.dcmread(path)
    assert list(written.PatientOrientation) == [row, column]
    changed = written.pixel_array != stored
    assert changed.shape == stored.shape and turning.upright(changed)[:10, :10].all() and changed.sum() == 100
    np.testing.assert_allclose(read_radiograph(path, force="synthetic").image, edited, atol=1e-3)


@pytest.mark.parametrize("text", ["L\\F", "l/f", "L,F", "LF", " L F ", "stored", "Stored"])
def test_spellings_of_upright(text: str) -> None:
    given = given_orientation(text)
    assert given.directions == ("L", "F") and given.orientation == Orientation()


@pytest.mark.parametrize("text", ["", "A\\F", "L", "L\\R", "F\\H", "L\\F\\X", "up", "rotate-90", "L\\", "LFH", "L--F"])
def test_what_describes_no_frontal_image(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError, match=r"expected where rows and columns run") as caught:
        read_radiograph(tmp_path / "missing.dcm", orientation=text)
    assert "\n" not in str(caught.value)


def test_it_answers_the_doubt_about_patient_orientation_alone() -> None:
    data = to_bytes(make_dataset(UPRIGHT, ViewPosition=None, PatientOrientation=["A", "F"]))
    with pytest.raises(RefusedError, match="front to back"):
        read_dicom(data, "x.dcm")
    assert read_dicom(data, "x.dcm", orientation="stored").orientation == Orientation()
    lateral = to_bytes(make_dataset(UPRIGHT, ViewPosition="LL", PatientOrientation=["A", "F"]))
    with pytest.raises(RefusedError, match="view position LL"):
        read_dicom(lateral, "x.dcm", orientation="stored")


def test_a_png(tmp_path: Path, provenance: Provenance) -> None:
    values = (UPRIGHT >> 4).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.fliplr(values)).save(buffer, "PNG")
    radiograph = read_raster(buffer.getvalue(), "x.png", orientation="R/F")
    np.testing.assert_allclose(radiograph.image, values / 255, atol=1e-6)
    write_png(tmp_path / "out.png", radiograph, radiograph.image, provenance)
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.fliplr(values))
    write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert list(written.PatientOrientation) == ["R", "F"]
    np.testing.assert_array_equal(written.pixel_array, np.fliplr(values))
    plain = read_raster(buffer.getvalue(), "x.png")
    write_dicom(tmp_path / "plain.dcm", plain, plain.image, provenance)
    assert not pydicom.dcmread(tmp_path / "plain.dcm").PatientOrientation
