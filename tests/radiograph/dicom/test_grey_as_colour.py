"""Grey radiographs stored as RGB or YBR are read and written as grey; true colour is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from roentmod_fast.errors import SourceError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.content import LOSSLESS, LOSSY_COLOUR, grey_of
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import write_dicom
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from tests.radiograph.conftest import make_dataset, to_bytes

GREY = np.rint(draw(96, 3).image * 255).astype(np.uint8)


def dataset_of(samples: NDArray[Any], photometric: str, planar: int = 0, **attributes: Any) -> Dataset:
    """Return a colour data set; ``samples``: unsigned (H, W, 3), as they are stored."""
    bits = 8 * samples.itemsize
    dataset = make_dataset(
        samples[..., 0].astype(int),
        **{
            "BitsAllocated": bits,
            "BitsStored": bits,
            "PhotometricInterpretation": photometric,
            "SamplesPerPixel": 3,
            "PlanarConfiguration": planar,
            "WindowCenter": None,
            "WindowWidth": None,
            **attributes,
        },
    )
    stored = samples.transpose(2, 0, 1) if planar else samples
    dataset.PixelData = stored.astype(samples.dtype.newbyteorder("<")).tobytes()
    return dataset


def read(dataset: Dataset, syntax: uid.UID | None = None) -> Radiograph:
    return read_dicom(to_bytes(dataset, syntax), "x.dcm")


def rgb(grey: NDArray[Any] = GREY) -> NDArray[Any]:
    return np.repeat(grey[..., None], 3, axis=2)


def ybr(grey: NDArray[Any] = GREY) -> NDArray[Any]:
    result = np.full((*grey.shape, 3), 128, dtype=np.uint8)
    result[..., 0] = grey
    return result


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("samples", "photometric"), [(rgb(), "RGB"), (ybr(), "YBR_FULL")])
def test_uncompressed(samples: NDArray[Any], photometric: str, planar: int) -> None:
    radiograph = read(dataset_of(samples, photometric, planar))
    np.testing.assert_array_equal(radiograph.stored, GREY)
    np.testing.assert_allclose(radiograph.image, GREY / 255, atol=1e-6)
    assert any(f"grey stored as colour ({photometric})" in note for note in radiograph.notes)


def test_ybr_full_422() -> None:
    dataset = dataset_of(ybr(), "YBR_FULL_422")
    pairs = GREY.reshape(96, 48, 2)
    chroma = np.full((96, 48, 2), 128, dtype=np.uint8)
    dataset.PixelData = np.concatenate([pairs, chroma], axis=2).tobytes()
    np.testing.assert_array_equal(read(dataset).stored, GREY)


def test_16_bits() -> None:
    deep = GREY.astype(np.uint16) * 257
    radiograph = read(dataset_of(rgb(deep), "RGB"))
    np.testing.assert_array_equal(radiograph.stored, deep)
    np.testing.assert_allclose(radiograph.image, deep / 65535, atol=1e-6)


def compressed(samples: NDArray[Any], photometric: str, syntax: uid.UID, frame: bytes | None = None) -> Dataset:
    dataset = dataset_of(samples, photometric)
    if frame is None:
        dataset.compress(syntax, generate_instance_uid=False)
        return dataset
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    return dataset


def jpeg(samples: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "JPEG", quality=95, subsampling="4:2:2")
    return buffer.getvalue()


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_rle(photometric: str) -> None:
    samples = rgb() if photometric == "RGB" else ybr()
    np.testing.assert_array_equal(read(compressed(samples, photometric, uid.RLELossless)).stored, GREY)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL"])
def test_jpeg_baseline(photometric: str) -> None:
    radiograph = read(compressed(ybr(), photometric, uid.JPEGBaseline8Bit, jpeg(rgb())))
    assert radiograph.stored is not None and np.abs(radiograph.stored - GREY.astype(int)).max() < 16
    assert (radiograph.decoder or "").startswith("pillow ")


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_other_lossless_syntaxes(syntax: uid.UID) -> None:
    try:
        dataset = compressed(rgb(), "YBR_RCT" if syntax == uid.JPEG2000Lossless else "RGB", syntax)
    except RuntimeError as error:
        pytest.skip(f"no encoder here: {error}")
    np.testing.assert_array_equal(read(dataset).stored, GREY)


def test_a_few_levels_of_colour_are_noise_only_after_lossy_compression() -> None:
    tinted = rgb().copy()
    tinted[..., 2] = np.minimum(tinted[..., 2], 250) + 4
    with pytest.raises(SourceError, match=r"a colour image \(RGB\)"):
        read(dataset_of(tinted, "RGB"))
    radiograph = read(dataset_of(tinted, "RGB", LossyImageCompression="01"))
    luminance = np.asarray(Image.fromarray(tinted).convert("L"))
    np.testing.assert_array_equal(radiograph.stored, luminance)
    assert any("channels differ by up to 4 levels" in note for note in radiograph.notes)


def test_true_colour_is_refused_as_before() -> None:
    coloured = rgb().copy()
    coloured[:20, :20, 0] = 255 - coloured[:20, :20, 0]
    for dataset in (dataset_of(coloured, "RGB"), compressed(ybr(), "YBR_FULL", uid.JPEGBaseline8Bit, jpeg(coloured))):
        with pytest.raises(SourceError, match=r"a colour image \((RGB|YBR_FULL)\): expected MONOCHROME1 or"):
            read(dataset)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a colour image"),
        ({"SamplesPerPixel": 4}, "a colour image"),
        ({"NumberOfFrames": 2}, "a colour image"),
        ({"PixelRepresentation": 1}, "signed"),
        ({"Rows": 97}, "a colour image: pixel data has 27648 bytes"),
    ],
)
def test_colour_that_cannot_be_read(attributes: dict[str, Any], words: str) -> None:
    dataset = dataset_of(rgb(), "RGB", **attributes)
    with pytest.raises(SourceError, match=words):
        read(dataset)


@pytest.mark.parametrize("deidentify", ["pseudonymize", "none", "anonymize"])
@pytest.mark.parametrize("sop_class", [uid.ComputedRadiographyImageStorage, uid.SecondaryCaptureImageStorage])
def test_written_as_monochrome2(tmp_path: Path, provenance: Provenance, deidentify: str, sop_class: uid.UID) -> None:
    window = {"WindowCenter": 40, "WindowWidth": 80, "RescaleSlope": 2, "RescaleIntercept": -100}
    dataset = dataset_of(rgb(), "RGB", 1, SOPClassUID=sop_class, ICCProfile=b"profile!", ColorSpace="SRGB", **window)
    radiograph = read(dataset)
    np.testing.assert_allclose(radiograph.image, GREY / 255, atol=1e-6)
    path = tmp_path / "out.dcm"
    write_dicom(path, radiograph, radiograph.image, provenance, deidentify=deidentify)
    written = pydicom.dcmread(path)
    assert (written.SOPClassUID, written.PhotometricInterpretation) == (sop_class, "MONOCHROME2")
    assert (written.SamplesPerPixel, written.BitsAllocated, written.BitsStored, written.HighBit) == (1, 8, 8, 7)
    for keyword in ("PlanarConfiguration", "ICCProfile", "ColorSpace"):
        assert keyword not in written
    np.testing.assert_array_equal(written.pixel_array, GREY)
    np.testing.assert_array_equal(read_radiograph(path, force="synthetic").image, radiograph.image)


def test_grey_of() -> None:
    assert grey_of(np.zeros((2, 2, 3), dtype=np.uint8), LOSSLESS) is not None
    noisy = rgb().astype(np.uint16) * 257
    noisy[..., 1] = np.minimum(noisy[..., 1], 60000) + 6 * 256
    found = grey_of(noisy, LOSSY_COLOUR, 16)
    assert found is not None and found[1] >= 6 * 256
    assert grey_of(noisy, LOSSY_COLOUR, 8) is None
