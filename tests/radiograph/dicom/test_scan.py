"""Files that end early, were not written to their end, or hold more than can be parsed: refused soon, in true words."""

from __future__ import annotations

import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom import scan as dicom_scan
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import find_sources
from tests.radiograph.conftest import make_dataset, notes_of, to_bytes

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096
MODALITY = b"\x08\x00\x60\x00"
SIZE = 24 << 20
SECONDS = 5.0
"""What the documentation promises; parsed one by one, the elements of these files took 10 s to minutes."""


def explicit(**attributes: Any) -> bytes:
    return to_bytes(make_dataset(RAMP, **attributes))


def head(data: bytes) -> bytes:
    """Return a file up to Modality: cut at the beginning of a data element."""
    return data[: data.index(MODALITY)]


def rest(data: bytes) -> bytes:
    return data[data.index(MODALITY) :]


def item(content: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content


def sequence(content: bytes, vr: bytes = b"SQ", length: int | None = None) -> bytes:
    """Return VOI LUT Sequence, which the reader looks into, in explicit VR."""
    return struct.pack("<HH2sHI", 0x28, 0x3010, vr, 0, len(content) if length is None else length) + content


def many(unit: bytes, size: int = SIZE) -> bytes:
    return unit * (size // len(unit))


def deflated(body: bytes) -> bytes:
    """Return a deflated file whose data set is that of a radiograph up to Modality, then ``body``."""
    data = to_bytes(make_dataset(RAMP), uid.DeflatedExplicitVRLittleEndian)
    start = dicom_scan.file_meta_end(data, 132)
    whole = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return data[:start] + compressor.compress(head(whole) + body) + compressor.flush()


EXPLICIT, IMPLICIT = explicit(), to_bytes(make_dataset(RAMP), uid.ImplicitVRLittleEndian)
BIG = to_bytes(make_dataset(RAMP), uid.ExplicitVRBigEndian)
PIXELS = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
UNDEFINED = 0xFFFFFFFF
NESTED = struct.pack("<HH2sHI", 0x28, 0x3010, b"SQ", 0, UNDEFINED) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
TINY, TINY_IMPLICIT = b"\x10\0\x10\0PN\0\0", b"\x10\0\x10\0\0\0\0\0"
UNWRITTEN = "the end of the file was never written: fetch it again"
TOO_MANY = "data elements: expected a radiograph"


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = sequence(item(content))
    return content


SLOW: dict[str, tuple[Callable[[], bytes], str]] = {
    "zeros": (lambda: head(EXPLICIT) + bytes(SIZE), UNWRITTEN),
    "zeros, implicit": (lambda: head(IMPLICIT) + bytes(SIZE), UNWRITTEN),
    "zeros, big endian": (lambda: BIG[:400] + bytes(SIZE), "nothing but zeros|zeros where|truncated|damaged"),
    "zeros from the middle of an element on": (lambda: head(EXPLICIT)[:-3] + bytes(SIZE), UNWRITTEN),
    "zeros after the preamble": (lambda: EXPLICIT[:132] + bytes(SIZE), UNWRITTEN),
    "zeros in the meta information": (lambda: EXPLICIT[:144] + bytes(SIZE), UNWRITTEN),
    "zeros, deflated": (lambda: deflated(bytes(SIZE)), UNWRITTEN),
    "zeros in a sequence": (lambda: head(EXPLICIT) + sequence(bytes(SIZE), length=UNDEFINED), UNWRITTEN),
    "zeros in an item": (lambda: head(EXPLICIT) + NESTED + bytes(SIZE), UNWRITTEN),
    "zeros in the middle": (
        lambda: head(EXPLICIT) + bytes(SIZE) + rest(EXPLICIT),
        "zeros where a data element should begin",
    ),
    "zeros in a sequence of known length": (
        lambda: head(EXPLICIT) + sequence(bytes(SIZE)) + rest(EXPLICIT),
        "zeros where",
    ),
    "zeros in place of fragments": (lambda: head(EXPLICIT) + PIXELS + item(b"") + bytes(SIZE), UNWRITTEN),
    "0xff": (lambda: head(EXPLICIT) + b"\xff" * SIZE, UNWRITTEN),
    "0xff, implicit": (lambda: head(IMPLICIT) + b"\xff" * SIZE, UNWRITTEN),
    "spaces": (lambda: head(EXPLICIT) + b" " * SIZE, UNWRITTEN),
    "tiny elements": (lambda: head(EXPLICIT) + many(TINY), TOO_MANY),
    "tiny elements, implicit": (lambda: head(IMPLICIT) + many(TINY_IMPLICIT), TOO_MANY),
    "tiny elements, deflated": (lambda: deflated(many(TINY)), TOO_MANY),
    "tiny elements before the rest": (lambda: head(EXPLICIT) + many(TINY) + rest(EXPLICIT), TOO_MANY),
    "tiny elements in an item": (lambda: head(EXPLICIT) + sequence(item(many(TINY))) + rest(EXPLICIT), TOO_MANY),
    "tiny elements of the meta information": (lambda: EXPLICIT[:132] + many(b"\x02\0\x10\0UI\0\0"), TOO_MANY),
    "items": (lambda: head(EXPLICIT) + sequence(many(item(b""))) + rest(EXPLICIT), TOO_MANY),
    "items of a sequence without end": (lambda: head(EXPLICIT) + sequence(many(item(b"")), length=UNDEFINED), TOO_MANY),
    "items of an unknown element": (lambda: head(EXPLICIT) + sequence(many(item(b"")), b"UN", UNDEFINED), TOO_MANY),
    "ends of items": (lambda: head(EXPLICIT) + NESTED + many(b"\xfe\xff\x0d\xe0\0\0\0\0"), f"{TOO_MANY}|damaged"),
    "fragments": (lambda: head(EXPLICIT) + PIXELS + many(item(b"")), TOO_MANY),
    "sequences in sequences": (lambda: head(EXPLICIT) + many(NESTED), "nested more than"),
    "sequences in sequences of known length": (
        lambda: head(EXPLICIT) + nested(2000) + rest(EXPLICIT),
        "nested more than",
    ),
    "garbage, repeated": (lambda: head(EXPLICIT) + many(b"\x34\x12\x78\x56\x01\x02\0\0\0\0AZ"), "damaged"),
    "random bytes": (lambda: head(EXPLICIT) + np.random.default_rng(3).bytes(SIZE), "damaged|truncated|elements"),
    "a long text": (
        lambda: head(IMPLICIT) + struct.pack("<HHI", 0x18, 0x5101, SIZE) + many(b"A\\"),
        "claims a value of",
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_is_not_worth_parsing_is_refused_at_once(name: str) -> None:
    make, message = SLOW[name]
    data = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(SourceError, match=message) as caught:
        read_dicom(data, "file.dcm")
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10, "KiB"
    assert str(caught.value).startswith("file.dcm: ") and "\n" not in str(caught.value)


def test_zeros_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "cut.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", head(EXPLICIT) + bytes(64 << 20))
        archive.writestr("b.dcm", EXPLICIT)
    start = time.process_time()
    first, second = find_sources([path]).sources
    with pytest.raises(SourceError, match=UNWRITTEN):
        read_radiograph(first)
    assert time.process_time() - start < SECONDS
    np.testing.assert_array_equal(read_radiograph(second).stored, RAMP)


@pytest.mark.parametrize("data", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
def test_padding_after_the_pixel_data_is_ignored(data: bytes, filler: bytes) -> None:
    start = time.process_time()
    radiograph = read_dicom(data + filler * SIZE, "file.dcm")
    assert time.process_time() - start < SECONDS
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    assert notes_of(radiograph) == (f"{SIZE} bytes after the data set are ignored",)


@pytest.mark.parametrize("depth", [1, 20, 60])
def test_sequences_as_deep_as_they_may_be(depth: int) -> None:
    np.testing.assert_array_equal(read_dicom(head(EXPLICIT) + nested(depth) + rest(EXPLICIT), "file.dcm").stored, RAMP)


def test_a_large_private_value_is_nothing_odd() -> None:
    private = struct.pack("<HH2sHI", 0x9, 0x1010, b"OB", 0, SIZE) + bytes(SIZE)
    assert notes_of(read_dicom(head(EXPLICIT) + private + rest(EXPLICIT), "file.dcm")) == ()


def test_the_walk_ends_where_the_data_set_ends() -> None:
    item_of = Dataset()
    item_of.CodeValue, item_of.CodeMeaning = "1", "x"
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        for undefined in (False, True):
            dataset = make_dataset(RAMP, ViewCodeSequence=[item_of, item_of], ProcedureCodeSequence=[])
            for element in dataset:
                if element.VR == "SQ":
                    element.value.is_undefined_length = undefined
                    element.is_undefined_length = undefined
            data = to_bytes(dataset, syntax)
            begin = dicom_scan.file_meta_end(data, 132)
            implicit, little = dicom_scan.encoding(data, begin, str(syntax))
            assert (implicit, little) == (syntax.is_implicit_VR, syntax.is_little_endian)
            found = dicom_scan.scan(data, begin, implicit=implicit, little=little)
            assert found == dicom_scan.Scan(len(data))


# --- the end of compressed pixel data ---------------------------------------------------------------------------------

NO_END = r"no Sequence Delimitation Item \(FFFE,E0DD\) at its end"


@pytest.mark.parametrize("end", [b"", b"\0" * 8, b"\0" * 30, b"\xfe\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"])
def test_compressed_pixel_data_without_its_delimiter(end: bytes) -> None:
    dataset = make_dataset(RAMP)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data = to_bytes(dataset).removesuffix(b"\xfe\xff\xdd\xe0\0\0\0\0") + end
    if len(end) == 8 and end[0]:
        np.testing.assert_array_equal(read_dicom(data, "file.dcm").stored, RAMP)
        return
    with pytest.raises(SourceError, match=r"Sequence Delimitation Item \(FFFE,E0DD\)") as caught:
        read_dicom(data, "file.dcm")
    assert "fetch" not in str(caught.value) and "without content" not in str(caught.value)
    if not end.strip(b"\0"):
        assert NO_END.replace("\\", "") in str(caught.value)


@pytest.mark.parametrize("missing", [5, 9, 20, 300])
def test_compressed_pixel_data_cut_short(missing: int) -> None:
    dataset = make_dataset(RAMP)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    with pytest.raises(SourceError, match=rf"truncated: .* fetch it again|{NO_END}|expected an item or"):
        read_dicom(to_bytes(dataset)[:-missing], "file.dcm")


def test_a_fragment_of_absurd_length_is_damage() -> None:
    value = PIXELS + item(b"") + b"\xfe\xff\x00\xe0" + struct.pack("<I", 0xFFFFFFF0) + bytes(range(1, 200))
    with pytest.raises(SourceError, match="damaged: a fragment claims more bytes than a file may have") as caught:
        read_dicom(head(EXPLICIT) + value, "file.dcm")
    assert "fetch" not in str(caught.value)


def test_a_fragment_whose_end_was_never_written() -> None:
    dataset = make_dataset(np.random.default_rng(2).integers(0, 4096, (48, 64)))
    dataset.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    data = to_bytes(dataset)
    with pytest.raises(SourceError, match="no Sequence Delimitation"):
        read_dicom(data[:-400] + bytes(400), "file.dcm")


# --- which words for which fault --------------------------------------------------------------------------------------


def test_a_file_cut_anywhere_in_its_header_is_truncated() -> None:
    end = EXPLICIT.index(b"\xe0\x7f\x10\x00")
    for length in range(dicom_scan.file_meta_end(EXPLICIT, 132), end + 12):
        with pytest.raises(SourceError, match=r"truncated|ends after|ends early|without pixels|the file ends"):
            read_dicom(EXPLICIT[:length], "file.dcm")
    for length in (end - 3, end - 10, end + 5):
        with pytest.raises(SourceError, match=r"the DICOM header is truncated: .*: fetch the file again"):
            read_dicom(EXPLICIT[:length], "file.dcm")


def test_a_file_of_meta_information_alone() -> None:
    with pytest.raises(SourceError, match="ends after its meta information: expected a data set: fetch it again"):
        read_dicom(EXPLICIT[: dicom_scan.file_meta_end(EXPLICIT, 132)], "file.dcm")


def test_an_item_that_ends_where_none_began() -> None:
    with pytest.raises(SourceError, match="an item ends at byte") as caught:
        read_dicom(head(EXPLICIT) + b"\xfe\xff\x0d\xe0\0\0\0\0" + rest(EXPLICIT), "file.dcm")
    assert "fetch" not in str(caught.value)


def test_a_deflated_file_cut_short_and_a_damaged_one() -> None:
    data = to_bytes(make_dataset(RAMP), uid.DeflatedExplicitVRLittleEndian)
    with pytest.raises(SourceError, match="the deflated data set is truncated: fetch it again"):
        read_dicom(data[:-20], "file.dcm")
    start = dicom_scan.file_meta_end(data, 132)
    with pytest.raises(SourceError, match="the deflated data set is damaged") as caught:
        read_dicom(data[:start] + b"\x07" + data[start + 1 :], "file.dcm")
    assert "fetch" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x10\x00US\x01\x00", "the DICOM header is damaged"),
        (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00UQ", "the header gives no image size"),
        (b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00OQ", "damaged|without pixels"),
        (b"\x02\x00\x10\x00UI\x14\x00", b"\x02\x00\x10\x00UI\x13\x00", "damaged|transfer syntax|truncated"),
    ],
)
def test_a_whole_file_whose_header_is_wrong(old: bytes, new: bytes, message: str) -> None:
    assert EXPLICIT.count(old) == 1
    with pytest.raises(SourceError, match=message) as caught:
        read_dicom(EXPLICIT.replace(old, new), "file.dcm")
    assert "fetch" not in str(caught.value)


@pytest.mark.parametrize("filler", [bytes(7), b"\x34\x12\x78\x56\x01\x02\0\0\0\0AZ" * 50, TINY * 60_000, NESTED * 90])
def test_what_follows_the_pixel_data_does_no_harm(filler: bytes) -> None:
    np.testing.assert_array_equal(read_dicom(EXPLICIT + filler, "file.dcm").stored, RAMP)


def test_pixel_data_cut_short_where_the_disk_was_allocated_first() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 4096, (64, 100))
    data = to_bytes(make_dataset(pixels))
    assert notes_of(read_dicom(data, "file.dcm")) == ()
    cut = (len(data) - 5000) // 512 * 512
    radiograph = read_dicom(data[:cut] + bytes(len(data) - cut), "file.dcm")
    assert any("bytes of pixel data are zeros" in note for note in notes_of(radiograph))
    black = pixels.copy()
    black[-30:] = 0  # a border of the image itself
    assert notes_of(read_dicom(to_bytes(make_dataset(black)), "file.dcm")) == ()
