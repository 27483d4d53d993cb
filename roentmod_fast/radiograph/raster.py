"""PNG and JPEG radiographs: read as grey, written as PNG that is marked as synthetic."""

from __future__ import annotations

import dataclasses
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
from pydicom.dataset import Dataset

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph import png
from roentmod_fast.radiograph.content import LOSSLESS, LOSSY_COLOUR, content_of, grey_of
from roentmod_fast.radiograph.dicom.encapsulated import UNWRITTEN
from roentmod_fast.radiograph.dicom.grayscale import full_range, grayscale_of
from roentmod_fast.radiograph.dicom.marks import WARNING
from roentmod_fast.radiograph.dicom.orientation import UPRIGHT, given_orientation
from roentmod_fast.radiograph.dicom.pixels import MAX_PIXELS
from roentmod_fast.radiograph.doubts import Doubt, Force, override_doubts
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import PixelLayout, Provenance, Radiograph

Array = NDArray[np.float32]

_PNG = png.SIGNATURE
_JPEG = b"\xff\xd8\xff"
_MARK_KEY = "Description"
_PROVENANCE_KEY = "roentmod-fast"

_DEPTHS = (8, 10, 12, 14, 15)
"""Depths of values that programs store in 16 bits without scaling."""

_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that turn rows into columns."""

_TRANSPARENT = "an image with transparent parts: flatten it first"
_COLOUR = "a colour image: expected grey, or red, green and blue all equal"

_CHROMA = {"PNG": LOSSLESS, "JPEG": LOSSY_COLOUR}


def looks_like_raster(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` is PNG or JPEG."""
    return head.startswith((_PNG, _JPEG))


def is_marked_synthetic(head: bytes) -> bool:
    """Tell whether a PNG that begins with ``head`` carries the mark of an output of this package."""
    return head.startswith(_PNG) and _PROVENANCE_KEY.encode() + b"\0" in head[: 1 << 16] and WARNING.encode() in head


def read_raster(data: bytes, name: str, *, force: Force = False, orientation: str | None = None) -> Radiograph:
    """Read a PNG or JPEG radiograph held in memory: 8 or 16 bit grey, or colour whose channels are equal.

    16 bit images whose values have fewer bits are shown as DICOM images of these bits without a window. ``force`` and
    ``orientation`` as for :func:`~.read.read_radiograph`. Raises SourceError for colour, several frames, or what cannot
    be decoded; RefusedError for an output of this package and for what is blank or too small, unless ``force`` names
    that doubt.
    """
    notes: list[str] = []
    doubts = []
    if is_marked_synthetic(data):
        doubts.append(Doubt("synthetic", "already synthetic: edit the radiograph it was made from"))
        override_doubts(name, doubts, force)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters is checked below
        pixels, aspect, spacing = _decode(data, name, notes)
    radiograph = _radiograph_of(pixels, data, name, notes, aspect, spacing, orientation)
    content, remarks = content_of(radiograph.image, pixels)
    forced = override_doubts(name, [*doubts, *content], force)
    jpeg_bytes = len(data) if data.startswith(_JPEG) else None
    return dataclasses.replace(radiograph, notes=(*forced, *radiograph.notes, *remarks), jpeg_bytes=jpeg_bytes)


def from_image(image: Image.Image, name: str) -> Radiograph:
    """Take an image of Pillow's as a radiograph; modes and depths are as for :func:`read_raster`.

    Raises SourceError for colour.
    """
    notes: list[str] = []
    pixels = _grey(image, image.format or "", name, notes)
    aspect, spacing = _pixel_shape(image, notes)
    radiograph = _radiograph_of(pixels, b"", name, notes, aspect, spacing)
    return dataclasses.replace(radiograph, jpeg_bytes=0 if image.format == "JPEG" else None)


def _radiograph_of(
    pixels: NDArray[Any],
    data: bytes,
    name: str,
    notes: list[str],
    aspect: float,
    spacing: tuple[float, float] | None,
    orientation: str | None = None,
) -> Radiograph:
    """Return grey pixels, uint8 or uint16 (H, W), as a radiograph; ``data`` is the file they come from, or empty."""
    given = None if orientation is None else given_orientation(orientation)
    turned = UPRIGHT if given is None else given.orientation
    stored = pixels.astype(np.int32)
    allocated = 8 * pixels.dtype.itemsize
    bits = _bits_in_use(pixels, data) if allocated == 16 else 8
    if bits == allocated:
        grayscale = full_range(bits)
    else:
        # Shown as a DICOM image of these bits without a window.
        histogram = np.bincount(stored.ravel(), minlength=1 << bits)
        grayscale, grayscale_notes = grayscale_of(Dataset(), histogram, 0)
        notes += [f"a 16 bit image whose values have {bits} bits: they are kept", *grayscale_notes]
    image = np.ascontiguousarray(turned.upright(grayscale.apply(stored)))
    for array in (image, stored):
        array.setflags(write=False)
    if turned.transpose:
        aspect, spacing = 1 / aspect, spacing and spacing[::-1]
    return Radiograph(
        image=image,
        source=name,
        grayscale=grayscale,
        stored=stored,
        notes=(*notes, *(() if given is None else (given.note,))),
        layout=PixelLayout(allocated, bits, bits - 1, signed=False),
        orientation=turned,
        aspect=aspect,
        spacing=spacing,
        patient_orientation=None if given is None else given.directions,
    )


def _bits_in_use(pixels: NDArray[Any], data: bytes) -> int:
    """Return how many bits the values of a 16 bit image have: 16, or a depth of detectors where no value has more.

    Some programs put values of 10 to 15 bits into a PNG as they are, which leaves it nearly black. A PNG whose sBIT
    chunk says that more bits are significant is as dark as it looks.
    """
    highest = int(pixels.max())
    bits = next((depth for depth in _DEPTHS if highest < 1 << depth), 16)
    significant = png.significant_bits(data) or 0
    if not 1 <= significant <= 16:
        return bits
    # Values that have the significant bits alone are not scaled to 16 bits, as the chunk requires.
    return max(significant, 8) if highest < 1 << significant else 16


def _decode(data: bytes, name: str, notes: list[str]) -> tuple[NDArray[Any], float, tuple[float, float] | None]:
    """Return grey pixels, uint8 or uint16 (H, W), a pixel's height over its width, and its size in mm where known."""
    _check_written(data, name)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise SourceError(f"{name}: {height} x {width} pixels: more than {MAX_PIXELS // 10**6} million")
            if getattr(opened, "n_frames", 1) > 1:
                raise SourceError(f"{name}: an animation: expected a single image")
            kind = opened.format or ""
            aspect, spacing = _pixel_shape(opened, notes)
            turned = ImageOps.exif_transpose(opened)
            turn = opened.getexif().get(0x0112, 1)
            if turned.size != opened.size or turn != 1:
                notes.append("turned as its EXIF orientation says")
            if turn in _TRANSPOSED:
                aspect, spacing = 1 / aspect, spacing and spacing[::-1]
            bits, colour = png.depth_and_colour(data)
            if bits == 16 and colour != png.GREY:
                transparent = opened.info.get("transparency")
                return _grey_of_channels(png.samples_of_16_bits(data), transparent, name, notes), aspect, spacing
            return _grey(turned, kind, name, notes), aspect, spacing
    except SourceError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SourceError(f"{name}: not an image that can be read: expected PNG or JPEG") from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise SourceError(f"{name}: {_why_not_decoded(data)}") from error


def _check_written(data: bytes, name: str) -> None:
    """Refuse a JPEG whose end was never written: Pillow takes zeros for pixels."""
    unwritten = len(data) - len(data.rstrip(b"\0"))
    if unwritten >= UNWRITTEN and data.startswith(_JPEG) and _jpeg_ends_early(data):
        raise SourceError(f"{name}: the image is truncated: its last {unwritten} bytes are zeros: fetch it again")


def _jpeg_ends_early(data: bytes) -> bool:
    """Tell whether no End of Image follows the last Start of Scan; neither occurs within a scan (ISO 10918-1 B.1.1)."""
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def _why_not_decoded(data: bytes) -> str:
    """Return why Pillow cannot decode a file, as a phrase for a message."""
    if png.ends_early(data) if data.startswith(_PNG) else _jpeg_ends_early(data):
        return "the image is truncated, its end is missing: fetch it again"
    return "the image is damaged: it cannot be decoded"


def _pixel_shape(image: Image.Image, notes: list[str]) -> tuple[float, tuple[float, float] | None]:
    """Return a pixel's height over its width, and millimetres between pixels down and across where the file has them.

    From PNG's pHYs chunk or JPEG's JFIF header, which count pixels a unit of length, across first.
    """
    info, unit = image.info, image.info.get("jfif_unit")
    if image.format == "JPEG":
        across, down = info.get("jfif_density", (1, 1))
        length = {1: 25.4, 2: 10.0}.get(unit) if isinstance(unit, int) else None
    else:
        # Pillow converts pixels a metre to pixels an inch.
        across, down = info.get("dpi", info.get("aspect", (1, 1)))
        length = 25.4 if "dpi" in info else None
    if min(across, down) <= 0 or not 0.2 <= across / down <= 5:
        notes.append(f"a density of {across:g} to {down:g} pixels cannot be: pixels taken as square")
        return 1.0, None
    aspect = across / down
    spacing = None if length is None else (length / down, length / across)
    if abs(aspect - 1) < 1e-3:
        return 1.0, spacing
    notes.append(f"pixels are {aspect:.3g} times as high as wide: shown so to the engine")
    return aspect, spacing


def _grey_of_channels(samples: NDArray[np.uint16], key: object, name: str, notes: list[str]) -> NDArray[np.uint16]:
    """Return grey of 16 bits, uint16 (H, W), from equal channels (H, W, 2 to 4), the last of 2 and 4 being alpha.

    ``key``: the colour that stands for transparent, of the tRNS chunk, or None.
    """
    if samples.shape[2] in (2, 4):
        if samples[..., -1].min() < 65535:
            raise SourceError(f"{name}: {_TRANSPARENT}")
        samples = samples[..., :-1]
    elif isinstance(key, tuple) and (samples == np.array(key)).all(axis=2).any():
        raise SourceError(f"{name}: {_TRANSPARENT}")
    spread = np.ptp(samples, axis=2)
    if spread.max() > 255:  # a level of 8 bit
        raise SourceError(f"{name}: {_COLOUR}")
    if not spread.any():
        return samples[..., 0]
    notes.append(f"red, green and blue differ by up to {spread.max()} levels of 65535: their luminance is taken")
    luminance: NDArray[np.float64] = samples @ np.array([0.299, 0.587, 0.114])
    return np.rint(luminance).astype(np.uint16)


def _grey(image: Image.Image, kind: str, name: str, notes: list[str]) -> NDArray[Any]:
    if image.mode.startswith("I"):
        # Pillow's modes of 16 bit grey: "I;16" in any byte order, or "I", which holds 32 bits.
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise SourceError(f"{name}: values outside 16 bit: expected 8 or 16 bit grey")
        return values.astype(np.uint16)
    if image.mode == "1":
        raise SourceError(f"{name}: a black and white image of 1 bit: expected 8 or 16 bit grey")
    if image.mode == "L":
        return np.array(image, dtype=np.uint8)
    if image.mode not in ("LA", "P", "PA", "RGB", "RGBA", "RGBX"):
        raise SourceError(f"{name}: a colour image ({image.mode}): expected grey")
    channels = np.asarray(image.convert("RGBA")).astype(np.int16)
    if channels[..., 3].min() < 255:
        raise SourceError(f"{name}: {_TRANSPARENT}")
    grey = grey_of(channels[..., :3], _CHROMA.get(kind, LOSSLESS))
    if grey is None:
        raise SourceError(f"{name}: {_COLOUR}")
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
    """Write an edited image as a grey PNG, marked as synthetic, with its provenance; see :func:`edit_png`."""
    write_atomically(Path(path), edit_png(radiograph, image, provenance), overwrite=overwrite)


def edit_png(
    radiograph: Radiograph, image: Array, provenance: Provenance, *, bits: int | None = None, size: int | None = None
) -> bytes:
    """Return an edited image as a grey PNG, marked as synthetic, with its provenance.

    ``image``: float32 (H, W) in [0, 1], upright. ``bits``: 8 or 16; None is 16 of a source of more than 8 bit, else 8,
    and of a PNG or JPEG source, pixels that the edit leaves alone keep their value. ``size``: pixels of a side of the
    square into which the image is letterboxed; None is the source's matrix, the shape of its pixels, and their size
    where it is known, in a pHYs chunk.
    """
    layout, aspect, spacing = radiograph.layout, radiograph.aspect, radiograph.spacing
    if bits is None and size is None and radiograph.dataset is None and layout is not None:
        aspect, spacing = radiograph.stored_shape_of_pixels
        values, depth = radiograph.to_stored(image), layout.bits_allocated
    else:
        depth = bits or (16 if layout is not None and layout.bits_stored > 8 else 8)
        shown = image if size is None else Letterbox.fit(image.shape, size, radiograph.aspect).apply(image)
        values = np.rint(np.clip(shown, 0, 1) * np.float32((1 << depth) - 1)).astype(np.int32)
    encoded = Image.fromarray(values.astype(np.uint16 if depth == 16 else np.uint8))
    chunks = {}
    if depth == 16 and (bits or size or radiograph.dataset is not None or layout is None or layout.bits_stored == 16):
        # However dark it is: values that fill 16 bits, not fewer bits in cells of 16.
        chunks[b"sBIT"] = b"\x10"
    if size is None and (aspect != 1 or spacing is not None):
        chunks[b"pHYs"] = png.physical_size(aspect, spacing)
    return png.with_chunks(png_bytes(encoded, provenance), chunks)


def png_bytes(image: Image.Image, provenance: Provenance | None) -> bytes:
    """Encode an image as PNG with the mark and, where given, how it was made."""
    info = PngInfo()
    info.add_text(_MARK_KEY, WARNING)
    info.add_itxt(_PROVENANCE_KEY, json.dumps(asdict(provenance) if provenance else {}, ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()
