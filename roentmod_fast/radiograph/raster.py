"""PNG and JPEG radiographs: read as grey, written as PNG that says it is synthetic."""

from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.content import content_of
from roentmod_fast.radiograph.decoding import MAX_PIXELS
from roentmod_fast.radiograph.display import plain
from roentmod_fast.radiograph.doubts import Doubt, Force, set_aside
from roentmod_fast.radiograph.grey import LOSSLESS, LOSSY_COLOUR, grey_of
from roentmod_fast.radiograph.model import PixelLayout, Provenance, Radiograph
from roentmod_fast.radiograph.orientation import UPRIGHT, contiguous, given_orientation
from roentmod_fast.radiograph.synthetic import WARNING

Array = NDArray[np.float32]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_MARK_KEY = "Description"
_PROVENANCE_KEY = "roentmod-fast"

_CHROMA = {"PNG": LOSSLESS, "JPEG": LOSSY_COLOUR}


def looks_like_raster(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` is PNG or JPEG."""
    return head.startswith((_PNG, _JPEG))


def is_marked_synthetic(head: bytes) -> bool:
    """Tell whether a PNG that begins with ``head`` carries the mark of an output of this package."""
    return head.startswith(_PNG) and _PROVENANCE_KEY.encode() + b"\0" in head[: 1 << 16] and WARNING.encode() in head


def read_raster(data: bytes, name: str, *, force: Force = False, orientation: str | None = None) -> Radiograph:
    """Read a PNG or JPEG radiograph held in memory: 8 or 16 bit grey, or colour whose channels are equal.

    ``force`` and ``orientation`` as for :func:`.read.read_radiograph`. Raises SourceError for colour, several frames,
    or what cannot be decoded; RefusedError for an output of this package and for what is blank or too small, unless
    ``force`` names that doubt.
    """
    given = None if orientation is None else given_orientation(orientation)
    doubts = []
    if is_marked_synthetic(data):
        doubts.append(Doubt("synthetic", "already synthetic: edit the radiograph it was made from"))
        set_aside(name, doubts, force)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters is checked below
        pixels, notes = _decode(data, name)
    bits = 16 if pixels.dtype == np.uint16 else 8
    stored = pixels.astype(np.int32)
    display = plain(bits)
    turned = UPRIGHT if given is None else given.orientation
    image = contiguous(turned.upright(display.show(stored)))
    content, remarks = content_of(image, stored)
    forced = set_aside(name, [*doubts, *content], force)
    notes = (*forced, *notes, *remarks, *(() if given is None else (given.note,)))
    for array in (image, stored):
        array.setflags(write=False)
    layout = PixelLayout(bits, bits, bits - 1, signed=False)
    return Radiograph(
        image,
        name,
        None,
        display,
        stored,
        notes,
        None,
        layout,
        orientation=turned,
        patient_orientation=None if given is None else given.directions,
    )


def _decode(data: bytes, name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return grey pixels, uint8 or uint16 (H, W), and notes."""
    notes: list[str] = []
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise SourceError(f"{name}: {height} x {width} pixels: more than {MAX_PIXELS // 10**6} million")
            if getattr(picture, "n_frames", 1) > 1:
                raise SourceError(f"{name}: an animation: expected a single picture")
            kind = picture.format or ""
            turned = ImageOps.exif_transpose(picture)
            if turned.size != picture.size or picture.getexif().get(0x0112, 1) != 1:
                notes.append("turned as its EXIF orientation says")
            return _grey(turned, kind, name, notes), tuple(notes)
    except SourceError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SourceError(f"{name}: not a picture that can be read: expected PNG or JPEG") from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise SourceError(f"{name}: the picture is damaged or truncated: fetch it again") from error


def _grey(picture: Image.Image, kind: str, name: str, notes: list[str]) -> NDArray[Any]:
    if picture.mode.startswith("I"):
        # Pillow's modes of 16 bit grey: "I;16" in any byte order, or "I", which holds 32 bits.
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise SourceError(f"{name}: values outside 16 bit: expected 8 or 16 bit grey")
        return values.astype(np.uint16)
    if picture.mode == "1":
        raise SourceError(f"{name}: a black and white picture of 1 bit: expected 8 or 16 bit grey")
    if picture.mode == "L":
        return np.array(picture, dtype=np.uint8)
    if picture.mode not in ("LA", "P", "PA", "RGB", "RGBA", "RGBX"):
        raise SourceError(f"{name}: a colour picture ({picture.mode}): expected grey")
    channels = np.asarray(picture.convert("RGBA")).astype(np.int16)
    if channels[..., 3].min() < 255:
        raise SourceError(f"{name}: a picture with transparent parts: flatten it first")
    grey = grey_of(channels[..., :3], _CHROMA.get(kind, LOSSLESS))
    if grey is None:
        raise SourceError(f"{name}: a colour picture: expected grey, or red, green and blue all equal")
    if grey[1]:
        notes.append(f"red, green and blue differ by up to {grey[1]} levels: their luminance is taken")
    return grey[0].astype(np.uint8)


def write_png(
    path: str | os.PathLike[str],
    radiograph: Radiograph,
    image: Array,
    provenance: Provenance,
    *,
    overwrite: bool = False,
) -> None:
    """Write an edited picture as a grey PNG that says it is synthetic and how it was made.

    ``image``: float32 (H, W) in [0, 1], upright. A source of more than 8 bit gives 16 bit, else 8; of a PNG or JPEG
    source, pixels that the edit leaves alone keep their value. Raises OutputError.
    """
    if radiograph.dataset is None and radiograph.layout is not None:
        values, bits = radiograph.to_stored(image), radiograph.layout.bits_allocated
    else:
        bits = 16 if radiograph.layout is not None and radiograph.layout.bits_stored > 8 else 8
        values = np.rint(np.clip(image, 0, 1) * np.float32((1 << bits) - 1)).astype(np.int32)
    picture = Image.fromarray(values.astype(np.uint16 if bits == 16 else np.uint8))
    write_atomically(Path(path), png_bytes(picture, provenance), overwrite=overwrite)


def png_bytes(picture: Image.Image, provenance: Provenance | None) -> bytes:
    """Encode a picture as PNG with the mark and, where given, how it was made."""
    info = PngInfo()
    info.add_text(_MARK_KEY, WARNING)
    info.add_itxt(_PROVENANCE_KEY, json.dumps(asdict(provenance) if provenance else {}, ensure_ascii=False))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()
