"""Compressed pixel data of a single frame: its fragments joined, and the size that its codestream claims.

All fragments are the one frame, whatever the offset tables say (PS3.5 A.4): a wrong table does no harm, and pydicom and
dcmtk read such files as well. A decoder allocates what the codestream claims, not what the DICOM header claims, so a
damaged codestream of a few bytes can ask for gigabytes: the two must agree.
"""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom import header

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""How a JPEG or JPEG-LS frame, a JPEG 2000 codestream and a JP2 file begin."""

_END = b"\xff\xd9"
"""End of Image and End of Codestream alike."""

UNWRITTEN = 64
"""So many zero bytes at the end of a frame that has no end marker were never written."""


def single_frame(dataset: Dataset) -> tuple[bytes, tuple[str, ...]]:
    """Return the one frame of a data set with encapsulated pixel data, and notes on offset tables that are wrong.

    Raises ValueError, with a phrase that can stand after a file's name, where the items of Pixel Data (7FE0,0010)
    contradict themselves or hold several frames.
    """
    table, fragments = _items(dataset.PixelData or b"")
    notes = []
    if table.startswith(_STARTS) or (table and not fragments):
        # The table may be empty but not missing (A.4): the first item is the frame.
        notes.append("no Basic Offset Table: the first item is taken as pixel data")
        table, fragments = b"", [table, *fragments]
    _check_one_frame(fragments)
    data = b"".join(fragments)
    if not data:
        raise ValueError("the compressed pixel data is empty: expected one frame")
    if table and table != b"\0\0\0\0":
        notes.append("the Basic Offset Table is wrong: all fragments are taken as the one frame")
    if "ExtendedOffsetTable" in dataset and not _extended_table_fits(dataset, table, fragments):
        notes.append("the Extended Offset Table is wrong: all fragments are taken as the one frame")
    return data, tuple(notes)


def unwritten_end(frame: bytes) -> int:
    """Return the number of zero bytes at the end of a JPEG or JPEG 2000 frame that was not written to its end, or 0.

    A copy that was cut on a disk that allocates a file's whole size first ends in zeros. Decoders take them for pixels.
    """
    if not frame.startswith(_STARTS) or not frame.endswith(bytes(UNWRITTEN)):
        return 0
    written = frame.rstrip(b"\0")
    return 0 if written.endswith(_END) else len(frame) - len(written)


def _items(value: bytes) -> tuple[bytes, list[bytes]]:
    """Return the first item, the Basic Offset Table, and the fragments after it."""
    found: list[bytes] = []
    at = 0
    while at + 8 <= len(value) and value[at : at + 4] != _DELIMITER:
        if value[at : at + 4] != _ITEM:
            raise ValueError(f"compressed pixel data is damaged: expected an item (FFFE,E000) at its byte {at}")
        (length,) = struct.unpack_from("<I", value, at + 4)
        if at + 8 + length > len(value):
            left = len(value) - at - 8
            raise ValueError(f"compressed pixel data is damaged: a fragment claims {length} bytes, {left} are there")
        found.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    if not found:
        raise ValueError("the compressed pixel data is empty: expected one frame")
    return found[0], found[1:]


def _check_one_frame(fragments: list[bytes]) -> None:
    """Refuse fragments that are frames of their own: the header says that there is one."""
    frames = 1
    for before, fragment in itertools.pairwise(fragments):
        # A fragment of odd length is padded by one byte.
        if fragment.startswith(_STARTS) and _END in before[-3:]:
            frames += 1
    if frames > 1:
        raise ValueError(f"{frames} frames in the pixel data, the header says one: split the file first")


def _extended_table_fits(dataset: Dataset, table: bytes, fragments: list[bytes]) -> bool:
    """Tell whether (7FE0,0001) and (7FE0,0002) describe one frame of one fragment (PS3.3 C.7.6.3.1.8)."""
    offsets, lengths = (
        header.value_of(dataset, keyword) for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    )
    if table or len(fragments) != 1 or offsets != bytes(8) or not isinstance(lengths, bytes) or len(lengths) != 8:
        return False
    return int.from_bytes(lengths, "little") in (len(fragments[0]), len(fragments[0]) - 1)


class FrameSize(NamedTuple):
    """Size of a compressed frame: pixels, components and bits a component; ``lossy`` as far as the markers tell."""

    rows: int
    columns: int
    components: int
    precision: int
    lossy: bool | None


def frame_size(codestream: bytes) -> FrameSize | None:
    """Read the size from a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream; None where it is none of them or broken."""
    try:
        if codestream[:4] == b"\xff\x4f\xff\x51":
            return _j2k(codestream)
        if codestream[4:8] == b"jP  ":
            start = codestream.find(b"\xff\x4f\xff\x51")
            return _j2k(codestream[start:]) if start >= 0 else None
        if codestream[:2] == b"\xff\xd8":
            return _jpeg(codestream)
    except IndexError:
        pass
    return None


def _int(data: bytes, start: int, size: int) -> int:
    if start + size > len(data):
        raise IndexError
    return int.from_bytes(data[start : start + size], "big")


def _jpeg(data: bytes) -> FrameSize | None:
    """Walk the markers up to the start of frame (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2)."""
    at, size, lossy = 2, None, None
    while True:
        while _int(data, at, 1) == 0xFF and _int(data, at + 1, 1) == 0xFF:
            at += 1
        if data[at] != 0xFF:
            return size
        marker = data[at + 1]
        if marker == 0xDA:
            # Start of scan: in JPEG-LS the NEAR parameter tells whether it is lossless (C.2.3).
            if size is not None and lossy is None:
                near = _int(data, at + 5 + 2 * data[at + 4], 1)
                size = size._replace(lossy=near > 0)
            return size
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            lossy = None if marker == 0xF7 else marker not in (0xC3, 0xC7, 0xCB, 0xCF)
            size = FrameSize(_int(data, at + 5, 2), _int(data, at + 7, 2), _int(data, at + 9, 1), data[at + 4], lossy)
        at += 2 + _int(data, at + 2, 2)


def _j2k(data: bytes) -> FrameSize:
    """Read the SIZ and COD segments (ISO 15444-1 A.5.1, A.6.1)."""
    width, height = _int(data, 8, 4) - _int(data, 16, 4), _int(data, 12, 4) - _int(data, 20, 4)
    components, precision = _int(data, 40, 2), (_int(data, 42, 1) & 0x7F) + 1
    at, lossy = 4 + _int(data, 4, 2), None
    while _int(data, at, 1) == 0xFF and data[at + 1] not in (0x90, 0x93, 0xD9):
        if data[at + 1] == 0x52:
            # The last byte of SPcod's fixed part: 0 is the irreversible 9-7 transformation.
            lossy = _int(data, at + 13, 1) == 0
        at += 2 + _int(data, at + 2, 2)
    return FrameSize(height, width, components, precision, lossy)
