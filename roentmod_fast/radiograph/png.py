"""What Pillow does not give of a PNG: all 16 bits of colour and alpha, significant bits, whether it is whole.

Chunks and their order are those of the PNG specification, third edition.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6
"""Colour types of the IHDR chunk (11.2.1) that may have 16 bits a sample."""

_AFTER_IHDR = len(SIGNATURE) + 12 + 13

# Pillow keeps the high byte of each sample. It is made to keep the low byte by the name of the other byte order; grey
# with alpha is four bytes a pixel, as RGBA of 8 bit is.
_RAW_MODES = {RGB: ("RGB;16B", "RGB;16L"), RGB_ALPHA: ("RGBA;16B", "RGBA;16L"), GREY_ALPHA: ("RGBA",)}


def depth_and_colour(data: bytes) -> tuple[int, int]:
    """Return bits a sample and colour type of a PNG; (0, 0) of anything else."""
    return (data[24], data[25]) if data.startswith(SIGNATURE) and len(data) > 25 else (0, 0)


def samples_of_16_bits(data: bytes) -> NDArray[np.uint16]:
    """Decode a PNG of 16 bits a sample with several channels: uint16 (H, W, channels), turned as its EXIF data says.

    Raises what Pillow raises.
    """
    colour = depth_and_colour(data)[1]
    parts = [_decoded(data, raw_mode) for raw_mode in _RAW_MODES[colour]]
    high, low = (parts[0][..., ::2], parts[0][..., 1::2]) if colour == GREY_ALPHA else parts
    return high.astype(np.uint16) << np.uint16(8) | low


def _decoded(data: bytes, raw_mode: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
        # One tile (decoder, box, offset, raw mode); the filters work on bytes, so the raw mode is free.
        opened.tile = [tuple.__new__(type(tile), (*tile[:3], raw_mode)) for tile in opened.tile]
        return np.array(ImageOps.exif_transpose(opened), dtype=np.uint8)


def significant_bits(data: bytes) -> int | None:
    """Return the bits of each sample that the sBIT chunk (11.3.2.8) calls significant: the most of all colours."""
    colour = depth_and_colour(data)[1]
    for kind, content in _chunks(data):
        if kind == b"sBIT" and content:
            return max(content[: 3 if colour in (RGB, RGB_ALPHA) else 1])
        if kind == b"IDAT":
            break
    return None


def ends_early(data: bytes) -> bool:
    """Tell whether a PNG has no IEND chunk: it is cut short, or was not written to its end."""
    kind = b""
    for kind, _ in _chunks(data):
        if kind == b"IEND":
            break
    return kind != b"IEND"


def with_chunks(data: bytes, chunks: dict[bytes, bytes]) -> bytes:
    """Return a PNG with chunks placed directly after IHDR, such as sBIT and pHYs."""
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks.items()]
    return data[:_AFTER_IHDR] + b"".join(parts) + data[_AFTER_IHDR:]


def physical_size(aspect: float, spacing: tuple[float, float] | None) -> bytes:
    """Return the content of a pHYs chunk (11.3.4.3).

    ``aspect``: height of a pixel over its width; ``spacing``: millimetres between pixels, down and across, where known.
    """
    if spacing is not None:
        down, across = (round(1000 / distance) for distance in spacing)
        # Coarse pixels cannot be expressed in whole pixels a metre.
        if min(down, across) >= 1 and max(down, across) < 1 << 31 and abs(across / down / aspect - 1) < 1e-3:
            return struct.pack(">IIB", across, down, 1)
    return struct.pack(">IIB", round(aspect * 100_000), 100_000, 0)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the chunks that are there as a whole; of IDAT the type alone."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if at + 12 + length > len(data) or not kind.isalpha():
            return
        yield kind, b"" if kind == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length
