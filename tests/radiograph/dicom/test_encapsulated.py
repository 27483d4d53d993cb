"""One compressed frame, whatever the offset tables say, and encapsulated pixel data that contradicts itself."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import get_frame

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom.pixels import compressed_frame
from roentmod_fast.radiograph.dicom.read import read_dataset, read_dicom
from roentmod_fast.radiograph.dicom.write import synthetic_dataset
from roentmod_fast.radiograph.model import Provenance
from tests.radiograph import frames
from tests.radiograph.conftest import make_dataset, notes_of, to_bytes

IMAGE = np.tile(frames.IMAGE, (2, 2))
WRONG = "the Basic Offset Table is wrong"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def jpeg(values: np.ndarray = IMAGE) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((values >> 4).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def frame_of(syntax: uid.UID, plugin: str) -> bytes:
    dataset = make_dataset(IMAGE)
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


FRAMES = {
    uid.JPEGBaseline8Bit: jpeg(),
    uid.JPEGLosslessSV1: frames.JPEG_LOSSLESS,
    uid.JPEGLSLossless: frames.JPEG_LS,
    uid.JPEG2000Lossless: frame_of(uid.JPEG2000Lossless, "pylibjpeg"),
    uid.HTJ2KLossless: frames.HTJ2K,
    uid.RLELossless: frame_of(uid.RLELossless, "pydicom"),
}


def file_with(syntax: uid.UID, value: bytes, **attributes: Any) -> bytes:
    """Return a file whose pixel data is ``value`` as it is, after the header."""
    others = (uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.HTJ2KLossless)
    if syntax == uid.JPEGBaseline8Bit:
        attributes = {"BitsAllocated": 8, "BitsStored": 8, "WindowCenter": 128, "WindowWidth": 256, **attributes}
        dataset = make_dataset(IMAGE >> 4, **attributes)
    else:
        dataset = make_dataset(frames.IMAGE if syntax in others else IMAGE, **attributes)
    del dataset.PixelData
    return to_bytes(dataset, syntax) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value


def encapsulated(table: bytes, fragments: Sequence[bytes]) -> bytes:
    return b"".join(item(value) for value in (table, *fragments)) + DELIMITER


def cut(frame: bytes, count: int) -> list[bytes]:
    """Return a frame in ``count`` fragments of even length."""
    size = len(frame) // count // 2 * 2
    return [even(frame[at : at + size]) for at in range(0, len(frame), size)]


TABLES = {
    "8": struct.pack("<I", 8),
    "ffffffff": b"\xff" * 4,
    "beyond the data": struct.pack("<I", 1 << 20),
    "two entries": struct.pack("<2I", 0, 40),
    "many entries": struct.pack("<9I", *range(0, 90, 10)),
    "big endian": struct.pack(">I", 2),
    "no multiple of four": b"\0\0\0\0\0\0",
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.keyword)
def test_a_wrong_basic_offset_table_does_no_harm(syntax: uid.UID, table: str, count: int) -> None:
    frame = FRAMES[syntax]
    right = read_dicom(file_with(syntax, encapsulated(b"", [even(frame)])), "file.dcm")
    data = file_with(syntax, encapsulated(TABLES[table], cut(frame, count)))
    radiograph = read_dicom(data, "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, right.stored)
    assert [WRONG in note for note in notes_of(radiograph)] == [True]
    length, claimed = compressed_frame(read_dataset(data, "file.dcm")[0])
    assert length == len(even(frame))
    assert claimed == compressed_frame(read_dataset(file_with(syntax, encapsulated(b"", [even(frame)])), "")[0])[1]


@pytest.mark.parametrize("table", [b"", bytes(4)])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("frames_said", [None, "1", ""])
def test_a_right_table_is_not_noted(table: bytes, count: int, frames_said: str | None) -> None:
    said = {} if frames_said is None else {"NumberOfFrames": frames_said}
    frame = FRAMES[uid.JPEG2000Lossless]
    data = file_with(uid.JPEG2000Lossless, encapsulated(table, cut(frame, count)), **said)
    radiograph = read_dicom(data, "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, IMAGE)
    assert notes_of(radiograph) == ()


@pytest.mark.parametrize("frames_said", [None, "1", ""])
def test_a_wrong_table_with_and_without_number_of_frames(frames_said: str | None) -> None:
    said = {} if frames_said is None else {"NumberOfFrames": frames_said}
    data = file_with(uid.RLELossless, encapsulated(TABLES["8"], [even(FRAMES[uid.RLELossless])]), **said)
    np.testing.assert_array_equal(read_dicom(data, "file.dcm").stored, IMAGE)


@pytest.mark.parametrize(
    ("offsets", "lengths", "wrong"),
    [
        (struct.pack("<Q", 0), None, False),
        (struct.pack("<Q", 8), None, True),
        (struct.pack("<Q", 0), struct.pack("<Q", 5), True),
        (struct.pack("<2Q", 0, 90), struct.pack("<2Q", 90, 90), True),
        (b"\xff" * 8, b"\xff" * 8, True),
        (b"", b"", True),
        (b"\0\0\0", None, True),
    ],
)
def test_extended_offset_tables(offsets: bytes, lengths: bytes | None, wrong: bool) -> None:
    frame = FRAMES[uid.JPEG2000Lossless]
    tables = {
        "ExtendedOffsetTable": offsets,
        "ExtendedOffsetTableLengths": struct.pack("<Q", len(frame)) if lengths is None else lengths,
    }
    data = file_with(uid.JPEG2000Lossless, encapsulated(b"", [even(frame)]), **tables)
    radiograph = read_dicom(data, "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, IMAGE)
    assert any("Extended Offset Table is wrong" in note for note in notes_of(radiograph)) == wrong
    assert len(notes_of(radiograph)) == wrong


@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.keyword)
def test_a_table_that_is_missing(syntax: uid.UID) -> None:
    data = file_with(syntax, item(even(FRAMES[syntax])) + DELIMITER)
    radiograph = read_dicom(data, "file.dcm")
    assert any("no Basic Offset Table" in note for note in notes_of(radiograph))


def test_reading_leaves_the_source_as_it_is(provenance: Provenance) -> None:
    value = encapsulated(TABLES["8"], cut(FRAMES[uid.JPEGBaseline8Bit], 3))
    radiograph = read_dicom(file_with(uid.JPEGBaseline8Bit, value), "file.dcm")
    assert radiograph.dataset is not None
    assert radiograph.dataset.PixelData == value.removesuffix(DELIMITER)
    edit = synthetic_dataset(radiograph, radiograph.image, provenance)
    pixels = IMAGE.size
    ratio = pixels / len(even(FRAMES[uid.JPEGBaseline8Bit]))
    assert edit.LossyImageCompressionRatio == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("syntax", "tables"),
    [(syntax, table) for syntax in (uid.JPEGBaseline8Bit, uid.JPEG2000Lossless) for table in (False, True)],
)
def test_several_frames_that_the_header_calls_one(syntax: uid.UID, tables: bool) -> None:
    frame = even(FRAMES[syntax])
    table = struct.pack("<3I", *(n * (len(frame) + 8) for n in range(3))) if tables else b""
    with pytest.raises(SourceError, match=r"3 frames in the pixel data, the header says one: split"):
        read_dicom(file_with(syntax, encapsulated(table, [frame] * 3)), "file.dcm")


J2K = even(FRAMES[uid.JPEG2000Lossless])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (item(b"") + DELIMITER, "the compressed pixel data is empty"),
        (DELIMITER, "the compressed pixel data is empty"),
        (item(b"") + item(b"") + item(b"") + DELIMITER, "the compressed pixel data is empty"),
        (item(b"") + item(J2K)[:4] + struct.pack("<I", len(J2K) + 400) + J2K + DELIMITER, r"claims \d+ bytes, \d+ are"),
        (item(b"") + b"\x11\x22" + item(J2K) + DELIMITER, r"expected an item \(FFFE,E000\) at its byte 8"),
    ],
)
def test_items_that_contradict_themselves(value: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_dicom(file_with(uid.JPEG2000Lossless, value), "file.dcm")
    assert str(caught.value).startswith("file.dcm: ") and "\n" not in str(caught.value)
    assert "fetch" not in str(caught.value), "the file is whole"


@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_frame_whose_end_was_never_written(syntax: uid.UID, share: float) -> None:
    """A copy cut on a disk that allocates first: the frame's end is zeros, which some decoders take for pixels."""
    frame = even(FRAMES[syntax])
    written = int(len(frame) * share)
    unwritten = frame[:written] + bytes(max(200, len(frame) - written))
    with pytest.raises(SourceError, match=r"zeros|damaged or truncated"):
        read_dicom(file_with(syntax, encapsulated(b"", [unwritten])), "file.dcm")


def test_zeros_after_the_end_marker_are_padding() -> None:
    radiograph = read_dicom(file_with(uid.JPEGBaseline8Bit, encapsulated(b"", [jpeg() + bytes(300)])), "file.dcm")
    assert np.abs(radiograph.stored - (IMAGE >> 4)).max() < 8
