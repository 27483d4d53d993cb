"""Read the size that a compressed picture claims for itself, before anything is decompressed.

A decoder allocates what the codestream says, not what the DICOM header says, so a damaged codestream of a few bytes
can ask for gigabytes. The two must agree.
"""

from __future__ import annotations

from typing import NamedTuple


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
