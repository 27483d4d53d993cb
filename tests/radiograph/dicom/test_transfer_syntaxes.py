"""Compressed pixel data: every syntax we claim, and codestreams that lie about their size."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom import gdcm_child
from roentmod_fast.radiograph.dicom import pixels as decoding
from roentmod_fast.radiograph.dicom.encapsulated import frame_size
from roentmod_fast.radiograph.dicom.read import read_dicom
from tests.radiograph import frames
from tests.radiograph.conftest import make_dataset, to_bytes

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
    opened = Image.fromarray(values.astype(np.uint8))
    opened.convert(mode).save(buffer, "JPEG", quality=95)
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
    assert radiograph.decoder is not None and radiograph.decoder.startswith("pillow ")
    assert np.abs(radiograph.stored - SMOOTH // 16).max() < 8


@pytest.mark.parametrize(
    ("frame", "syntax", "decoder", "error"),
    [
        (frames.JPEG_LOSSLESS, uid.JPEGLosslessSV1, "gdcm", 0),
        (frames.JPEG_LOSSLESS, uid.JPEGLossless, "gdcm", 0),
        (frames.JPEG_EXTENDED, uid.JPEGExtended12Bit, "gdcm", 7),
        (frames.JPEG_LS, uid.JPEGLSLossless, "gdcm", 0),
        (frames.HTJ2K, uid.HTJ2KLossless, "pylibjpeg", 0),
        (frames.HTJ2K, uid.HTJ2K, "pylibjpeg", 0),
    ],
)
def test_syntaxes_that_others_wrote(frame: bytes, syntax: uid.UID, decoder: str, error: int) -> None:
    radiograph = read_dicom(with_frame(frame, syntax), "file.dcm")
    assert np.abs(radiograph.stored - frames.IMAGE).max() <= error
    assert (radiograph.decoder or "").startswith(decoder)
    assert [note for note in radiograph.notes if "a thumbnail" not in note] == []
    for share in (0.4, 0.7, 0.97):
        with pytest.raises(SourceError, match=r"damaged or truncated|or is truncated"):
            read_dicom(with_frame(frame[: int(len(frame) * share)], syntax), "file.dcm")


ENCODERS = {
    "dcmcjpeg +e1": uid.JPEGLosslessSV1,
    "dcmcjpeg +el": uid.JPEGLossless,
    "dcmcjpls +el": uid.JPEGLSLossless,
    "dcmcrle": uid.RLELossless,
}
"""Commands of dcmtk that compress a file, and in what."""


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("command", ENCODERS)
def test_every_depth_and_sign_as_dcmtk_compresses_them(tmp_path: Path, command: str, signed: bool) -> None:
    if shutil.which(command.split()[0]) is None:
        pytest.skip("dcmtk is not installed")
    source, target = tmp_path / "source.dcm", tmp_path / "target.dcm"
    for bits in range(8, 17):
        lowest = -(1 << (bits - 1)) if signed else 0
        values = np.random.default_rng(bits).integers(lowest, lowest + (1 << bits), (33, 37))
        header = {"BitsAllocated": 8 if bits == 8 else 16, "BitsStored": bits, "PixelRepresentation": int(signed)}
        source.write_bytes(to_bytes(make_dataset(values, **header)))
        done = subprocess.run([*command.split(), str(source), str(target)], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert pydicom.dcmread(target).file_meta.TransferSyntaxUID == ENCODERS[command]
        radiograph = read_dicom(target.read_bytes(), "file.dcm")
        np.testing.assert_array_equal(radiograph.stored, values, f"{bits} bits")


def with_frame(frame: bytes, syntax: uid.UID) -> bytes:
    dataset = make_dataset(frames.IMAGE)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return to_bytes(dataset, syntax)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_frame_cut_short_is_no_image(share: float) -> None:
    frame = jpeg(SMOOTH // 16)
    with pytest.raises(SourceError, match="truncated"):
        read_dicom(with_codestream(frame[: int(len(frame) * share)], uid.JPEGBaseline8Bit), "file.dcm")
    for syntax, plugin in ((uid.RLELossless, "pydicom"), (uid.JPEG2000Lossless, "pylibjpeg")):
        dataset = make_dataset(SMOOTH)
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        dataset.PixelData = encapsulate([frame[: int(len(frame) * share)]])
        with pytest.raises(SourceError, match="truncated"):
            read_dicom(to_bytes(dataset), "file.dcm")


def test_several_fragments_of_one_frame() -> None:
    dataset = make_dataset(SMOOTH)
    dataset.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3)
    np.testing.assert_array_equal(read_dicom(to_bytes(dataset), "file.dcm").stored, SMOOTH)


def test_a_decoder_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decoding.DECODERS, uid.JPEGLosslessSV1, ("absent",))
    with pytest.raises(SourceError, match=r"no decoder for JPEG Lossless.*pip install absent"):
        read_dicom(with_frame(frames.JPEG_LOSSLESS, uid.JPEGLosslessSV1), "file.dcm")


def test_a_decoder_that_ends_its_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdcm_child, "__name__", "os")  # a module that does nothing and gives no pixels
    with pytest.raises(ValueError, match="GDCM gives 0 bytes"):
        gdcm_child.decompress(frames.JPEG_LOSSLESS, str(uid.JPEGLosslessSV1), 24, 32, 12)
    monkeypatch.setattr(gdcm_child, "__name__", "no.such.module")
    with pytest.raises(ValueError, match="status 1"):
        gdcm_child.decompress(frames.JPEG_LOSSLESS, str(uid.JPEGLosslessSV1), 24, 32, 12)


def test_a_decoder_that_gives_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdcm_child, "START", 0.0)
    with pytest.raises(SourceError, match="cannot be decompressed") as caught:
        read_dicom(with_frame(frames.JPEG_LOSSLESS, uid.JPEGLosslessSV1), "file.dcm")
    assert "gives no answer: TimeoutExpired" in str(caught.value.__cause__)


def test_a_codestream_of_another_size_is_refused() -> None:
    data = with_codestream(jpeg(np.zeros((41, 56))), uid.JPEGBaseline8Bit)
    with pytest.raises(SourceError, match="has 41 x 56 pixels, the header says 40 x 56"):
        read_dicom(data, "file.dcm")


def test_a_colour_codestream_under_a_grey_header_is_refused() -> None:
    data = with_codestream(jpeg(np.zeros((40, 56)), "RGB"), uid.JPEGBaseline8Bit)
    with pytest.raises(SourceError, match="a colour image"):
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
    j2k = frame_size(get_frame(dataset.PixelData, 0, number_of_frames=1))
    assert j2k is not None and (j2k.rows, j2k.columns, j2k.precision, j2k.lossy) == (40, 56, 12, False)
    for broken in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", J2K_HEAD, b"\xff\xd8\xff\xc0\x00\x11\x08\x00"):
        assert frame_size(broken) is None
