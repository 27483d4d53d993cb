"""Masks and boxes: where an edit may act."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.dicom.orientation import Orientation
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.region import box_mask, read_mask, soften

from .conftest import make_dataset, to_bytes

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096
REGION = np.zeros((48, 64), dtype=bool)
REGION[10:20, 30:50] = True


@pytest.fixture
def radiograph() -> Radiograph:
    return read_dicom(to_bytes(make_dataset(RAMP)), "file.dcm")


@pytest.fixture
def lying() -> Radiograph:
    return read_dicom(to_bytes(make_dataset(RAMP, PatientOrientation=["F", "R"])), "file.dcm")


def test_a_png_mask(tmp_path: Path, radiograph: Radiograph) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray((REGION * 255).astype(np.uint8)).save(path)
    np.testing.assert_array_equal(read_mask(path, radiograph), REGION)
    Image.fromarray((REGION * 51).astype(np.uint8)).save(path)
    np.testing.assert_allclose(read_mask(path, radiograph), REGION * 0.2, atol=1e-6)


def test_masks_are_in_the_sources_pixels_and_turned_with_it(tmp_path: Path, lying: Radiograph) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray((REGION * 255).astype(np.uint8)).save(path)
    for mask in (read_mask(path, lying), box_mask((30, 10, 50, 20), lying)):
        assert mask.shape == lying.shape == (64, 48)
        np.testing.assert_array_equal(lying.orientation.back(mask), REGION)


def test_a_dicom_image_as_mask(tmp_path: Path, radiograph: Radiograph) -> None:
    path = tmp_path / "mask.dcm"
    path.write_bytes(to_bytes(make_dataset(REGION * 7, BitsAllocated=8)))
    np.testing.assert_array_equal(read_mask(path, radiograph), REGION)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_segmentation_with_two_segments(tmp_path: Path, radiograph: Radiograph, kind: str) -> None:
    other = np.zeros_like(REGION)
    other[30:40, 5:9] = True
    frames = np.stack([REGION, other]).astype(np.uint8)
    dataset = make_dataset(frames[0], BitsAllocated=8, BitsStored=8, SOPClassUID=uid.SegmentationStorage)
    dataset.NumberOfFrames, dataset.SegmentationType = 2, kind
    if kind == "BINARY":
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = 0
        dataset.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    else:
        dataset.MaximumFractionalValue = 200
        dataset.PixelData = (frames * 100).tobytes()
    path = tmp_path / "seg.dcm"
    path.write_bytes(to_bytes(dataset))
    np.testing.assert_allclose(read_mask(path, radiograph), (REGION | other) * (1 if kind == "BINARY" else 0.5))


def test_masks_that_do_not_fit(tmp_path: Path, radiograph: Radiograph) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((64, 48), 255, dtype=np.uint8)).save(path)
    with pytest.raises(SettingError, match="a mask of 64 x 48 pixels, the radiograph has 48 x 64"):
        read_mask(path, radiograph)
    Image.fromarray(np.zeros((48, 64), dtype=np.uint8)).save(path)
    with pytest.raises(SettingError, match="the mask is empty"):
        read_mask(path, radiograph)
    path.write_bytes(b"hello")
    with pytest.raises(SourceError, match="not a mask"):
        read_mask(path, radiograph)
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(SourceError, match="damaged or truncated"):
        read_mask(path, radiograph)
    with pytest.raises(SourceError, match="no such file"):
        read_mask(tmp_path / "missing.png", radiograph)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (5, 5, 2, 9), (-1, 0, 5, 5), (0, 0, 65, 5), (0, 0, 5, 49)])
def test_boxes_that_do_not_fit(radiograph: Radiograph, box: tuple[int, int, int, int]) -> None:
    with pytest.raises(SettingError, match="expected 0 <= X0 < X1 <= 64 and 0 <= Y0 < Y1 <= 48"):
        box_mask(box, radiograph)


def test_a_soft_edge_lies_inside() -> None:
    mask = np.zeros((200, 200), dtype=np.float32)
    mask[50:150, 60:200] = 1
    soft = soften(mask, 8)
    assert (soft[mask == 0] == 0).all()
    assert soft[100, 130] == 1 and soft[100, 199] == 1, "the image's own edge is not an edge of the mask"
    profile = soft[100, 55:90]
    assert (np.diff(profile) >= -1e-6).all() and np.abs(np.diff(profile)).max() < 0.4
    np.testing.assert_array_equal(soften(mask, 0), mask)


def test_outside_a_mask_stored_values_stay(radiograph: Radiograph) -> None:
    mask = soften(box_mask((30, 10, 50, 20), radiograph), 4)
    letterbox = Letterbox.fit(radiograph.shape, 32)
    edited = compose(radiograph.image, np.full((32, 32), 0.5, dtype=np.float32), None, letterbox, "replace", mask)
    stored = radiograph.to_stored(edited)
    np.testing.assert_array_equal(stored[~REGION], RAMP[~REGION])
    assert (stored[REGION] != RAMP[REGION]).any()


@pytest.mark.parametrize("turns", list(product((False, True), repeat=3)))
def test_a_box_of_the_upright_image_lies_in_the_stored_one_where_its_pixels_do(turns: tuple[bool, bool, bool]) -> None:
    orientation = Orientation(*turns)
    upright = np.zeros((7, 5), dtype=bool)
    upright[2:6, 1:3] = True
    x0, y0, x1, y1 = orientation.box_back((1, 2, 3, 6), upright.shape)
    stored = np.zeros_like(orientation.back(upright))
    stored[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(orientation.back(upright), stored)
