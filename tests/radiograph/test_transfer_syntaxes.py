"""Compressed pixel data: every syntax we claim, and codestreams that lie about their size."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.codestream import frame_size
from roentmod_fast.radiograph.dicom_read import read_dicom

from .conftest import make_dataset, to_bytes

SMOOTH = np.rint(2048 + 1500 * np.sin(np.arange(40)[:, None] / 9) * np.cos(np.arange(56)[None] / 7)).astype(int)
J2K_HEAD = b"\xff\x4f\xff\x51\x00\x29\x00\x00"


def compressed(dataset: Dataset, syntax: uid.UID, plugin: str, **options: object) -> bytes:
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False, **options)
    return to_bytes(dataset)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("syntax", "plugin", "decoder"),
    [(uid.RLELossless, "pydicom", "pydicom"), (uid.JPEG2000Lossless, "pylibjpeg", "pylibjpeg")],
)
def test_lossless_syntaxes(syntax: uid.UID, plugin: str, decoder: str, signed: bool) -> None:
    values = SMOOTH - 2048 if signed else SMOOTH
    window = {"PixelRepresentation": int(signed), "WindowCenter": 0 if signed else 2048}
    radiograph = read_dicom(compressed(make_dataset(values, **window), syntax, plugin), "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, values)
    assert radiograph.decoder is not None and radiograph.decoder.startswith(decoder)


def test_lossy_jpeg_2000() -> None:
    data = compressed(make_dataset(SMOOTH), uid.JPEG2000, "pylibjpeg", j2k_cr=[10])
    radiograph = read_dicom(data, "file.dcm")
    assert np.abs(radiograph.stored - SMOOTH).max() < 200


def test_jpeg_2000_codestream_with_another_sign() -> None:
    """The codestream says unsigned, the header signed: the header is right (PS3.5 A.4.4)."""
    dataset = make_dataset(SMOOTH & 0xFFF)
    dataset.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    dataset.PixelRepresentation, dataset.WindowCenter = 1, 0
    radiograph = read_dicom(to_bytes(dataset), "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, np.where(SMOOTH > 2047, SMOOTH - 4096, SMOOTH))


def jpeg(values: np.ndarray, mode: str = "L") -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(values.astype(np.uint8))
    picture.convert(mode).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def with_codestream(codestream: bytes, syntax: uid.UID, **attributes: object) -> bytes:
    dataset = make_dataset(SMOOTH // 16, BitsAllocated=8, BitsStored=8, WindowCenter=128, WindowWidth=256, **attributes)
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return to_bytes(dataset, syntax)


def test_jpeg_baseline() -> None:
    data = with_codestream(jpeg(SMOOTH // 16), uid.JPEGBaseline8Bit)
    radiograph = read_dicom(data, "file.dcm")
    assert radiograph.decoder is not None and radiograph.decoder.startswith("gdcm ")
    assert np.abs(radiograph.stored - SMOOTH // 16).max() < 8


def test_a_codestream_of_another_size_is_refused() -> None:
    data = with_codestream(jpeg(np.zeros((41, 56))), uid.JPEGBaseline8Bit)
    with pytest.raises(SourceError, match="has 41 x 56 pixels, the header says 40 x 56"):
        read_dicom(data, "file.dcm")


def test_a_colour_codestream_under_a_grey_header_is_refused() -> None:
    data = with_codestream(jpeg(np.zeros((40, 56)), "RGB"), uid.JPEGBaseline8Bit)
    with pytest.raises(SourceError, match="a colour picture"):
        read_dicom(data, "file.dcm")


def test_a_codestream_that_claims_gigabytes_is_refused_before_decoding() -> None:
    size = (60000).to_bytes(4, "big") * 2 + bytes(8) + (60000).to_bytes(4, "big") * 2 + bytes(8)
    bomb = J2K_HEAD + size + b"\x00\x01\x0f\x01\x01" + b"\xff\x90" + bytes(40)
    with pytest.raises(SourceError, match="has 60000 x 60000 pixels"):
        read_dicom(with_codestream(bomb, uid.JPEG2000Lossless), "file.dcm")


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.HTJ2KLossless])
def test_garbage_as_codestream(syntax: uid.UID) -> None:
    with pytest.raises(SourceError, match="transfer syntax"):
        read_dicom(with_codestream(b"garbage " * 20, syntax), "file.dcm")


def test_a_truncated_codestream() -> None:
    whole = jpeg(SMOOTH // 16)
    with pytest.raises(SourceError, match="truncated"):
        read_dicom(with_codestream(whole[:30], uid.JPEGBaseline8Bit), "file.dcm")


def test_frame_size_of_each_family() -> None:
    baseline = frame_size(jpeg(np.zeros((40, 56))))
    assert baseline is not None and (baseline.rows, baseline.columns, baseline.precision) == (40, 56, 8)
    assert baseline.lossy is True and baseline.components == 1
    dataset = make_dataset(SMOOTH)
    dataset.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    from pydicom.encaps import get_frame

    j2k = frame_size(get_frame(dataset.PixelData, 0, number_of_frames=1))
    assert j2k is not None and (j2k.rows, j2k.columns, j2k.precision, j2k.lossy) == (40, 56, 12, False)
    for broken in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", J2K_HEAD, b"\xff\xd8\xff\xc0\x00\x11\x08\x00"):
        assert frame_size(broken) is None
