"""The files that pydicom brings along: each read right, or turned down for the right reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from roentmod_fast.errors import RefusedError, RoentmodError, SourceError
from roentmod_fast.radiograph.read import read_radiograph

FOLDER = Path(pydicom.data.__file__).parent / "test_files"

REASONS = {
    "CT_small.dcm": "modality CT is no radiograph",
    "MR_small.dcm": "modality MR is no radiograph",
    "dicomdirtests/77654033/CR1/6154": "body part CSPINE.*view position LL",
    "JPEG2000.dcm": "modality NM is no radiograph.*body part WHOLE BODY",
    "ExplVR_BigEnd.dcm": r"a colour image \(RGB\)",
    "SC_rgb_rle_2frame.dcm": r"a colour image \(RGB\)",
    "examples_palette.dcm": r"a colour image \(PALETTE COLOR\)",
    "examples_ybr_color.dcm": r"a colour image \(YBR_FULL_422\)",
    "MR_truncated.dcm": "pixel data is truncated: 8130 bytes, expected 8192",
    "JPEG2000-embedded-sequence-delimiter.dcm": "the file is damaged",
    "dicomdirtests/DICOMDIR": "a DICOMDIR",
    "reportsi.dcm": "a structured report",
    "test-SR.dcm": "a structured report",
    "rtplan.dcm": "a radiotherapy object",
    "rtdose_1frame.dcm": "a radiotherapy object",
    "liver_1frame.dcm": "a segmentation",
    "waveform_ecg.dcm": "a waveform",
    "UN_sequence.dcm": "without pixels",
    "rtplan.dump": "not a radiograph",
    "zipMR.gz": "not a radiograph",
}
READ = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "693_J2KI.dcm",
    "JPGExtended.dcm",
    "image_dfl.dcm",
    "examples_overlay.dcm",
]


@pytest.mark.parametrize("name", REASONS)
def test_turned_down_for_the_right_reason(name: str) -> None:
    if not (FOLDER / name).exists():
        pytest.skip(f"this pydicom brings no {name}")
    with pytest.raises(SourceError, match=REASONS[name]):
        read_radiograph(FOLDER / name)


@pytest.mark.parametrize("name", READ)
def test_forced_and_read(name: str) -> None:
    if not (FOLDER / name).exists():
        pytest.skip(f"this pydicom brings no {name}")
    image = read_radiograph(FOLDER / name, force=True).image
    assert image.ndim == 2 and 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("name", ["bigendian", "expb", "implicit", "RLE", "jp2klossless", "jpeg_ls_lossless", "padded"])
def test_one_image_in_many_syntaxes(name: str) -> None:
    reference = read_radiograph(FOLDER / "MR_small.dcm", force=True)
    other = read_radiograph(FOLDER / f"MR_small_{name}.dcm", force=True)
    np.testing.assert_array_equal(other.stored, reference.stored)
    np.testing.assert_array_equal(other.image, reference.image)


def test_no_file_gives_anything_but_an_image_or_an_error_of_ours() -> None:
    refused = 0
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            try:
                read_radiograph(path)
            except RefusedError:
                refused += 1
            except RoentmodError as error:
                assert "\n" not in str(error)
    assert refused > 10
