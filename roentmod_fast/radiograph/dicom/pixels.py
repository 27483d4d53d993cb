"""Decompress pixel data with a pinned decoder, and take stored values out of their cells.

Decoders differ (JPEG baseline by a grey level), so for each transfer syntax the order is fixed here and the one used
is reported. ``pylibjpeg-libjpeg`` is left out: its licence is the GPL.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.content import LOSSLESS, LOSSY_COLOUR, grey_of
from roentmod_fast.radiograph.dicom import gdcm_child, header
from roentmod_fast.radiograph.dicom.encapsulated import FrameSize, frame_size, single_frame, unwritten_end
from roentmod_fast.radiograph.model import PixelLayout

MAX_PIXELS = 50_000_000
"""Larger images are refused before anything is allocated; the largest detectors have 20 million pixels."""

DECODERS: dict[str, tuple[str, ...]] = {
    uid.ImplicitVRLittleEndian: (),
    uid.ExplicitVRLittleEndian: (),
    uid.ExplicitVRBigEndian: (),
    uid.DeflatedExplicitVRLittleEndian: (),
    uid.RLELossless: ("pydicom",),
    uid.JPEGBaseline8Bit: ("pillow",),
    uid.JPEGExtended12Bit: ("gdcm",),
    uid.JPEGLossless: ("gdcm",),
    uid.JPEGLosslessSV1: ("gdcm",),
    uid.JPEGLSLossless: ("gdcm", "pyjpegls"),
    uid.JPEGLSNearLossless: ("gdcm", "pyjpegls"),
    uid.JPEG2000Lossless: ("pylibjpeg",),
    uid.JPEG2000: ("pylibjpeg",),
    uid.HTJ2KLossless: ("pylibjpeg",),
    uid.HTJ2KLosslessRPCL: ("pylibjpeg",),
    uid.HTJ2K: ("pylibjpeg",),
}
"""Transfer syntaxes read, and their decoders (pydicom's plugin names): the first one that is installed is used.

Where it fails no other one is tried: a more lenient decoder would decode a damaged file to wrong pixels. GDCM, in a
process of its own, comes before pyjpegls, which takes 4 s to find some damaged frames of 64 x 64 pixels damaged.
"""

LOSSY = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}
"""Transfer syntaxes that may lose, and the value of Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)."""

_BLOCK = 512
"""Bytes of a disk's block: larger ones are multiples of it."""
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Photometric interpretations of three samples that are decoded, in case they are grey."""

_PACKAGES = {"gdcm": "python-gdcm", "pylibjpeg": "pylibjpeg-openjpeg"}


def decode(dataset: Dataset, name: str) -> tuple[NDArray[np.int32], PixelLayout, str | None, tuple[str, ...]]:
    """Return stored values, their layout, the decoder used and notes.

    The values are int32 (Rows, Columns); the decoder is None where the pixels are not compressed. Raises SourceError,
    naming the file as ``name``, for whatever is not one frame of 8 to 16 bit grey, complete. Colour is grey where its
    channels are equal, or nearly so after lossy compression (:mod:`..content`).
    """
    notes: list[str] = []
    rows, columns = _described(dataset, name)
    layout = _layout(dataset, name, notes)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in DECODERS:
        raise SourceError(f"{name}: transfer syntax {uid.UID(syntax).name} is not supported: decompress it first")
    # Length and place in the file; pydicom forgets them as soon as the value is touched.
    raw = dataset.get_item("PixelData")
    claimed, place = getattr(raw, "length", 0), getattr(raw, "value_tell", 0)
    data = dataset.PixelData or b""
    if syntax.is_encapsulated:
        try:
            frame, frame_notes = single_frame(dataset)
        except ValueError as error:
            raise SourceError(f"{name}: {error}") from error
        notes += frame_notes
        # Encapsulated anew, since decoders believe the offset tables.
        decodable = _decodable_dataset(dataset, encapsulate([frame]), rows, columns, layout)
        cells, decoder = _decompress(decodable, frame, name, DECODERS[syntax])
    else:
        # Of YBR_FULL_422 two pixels share their colour (PS3.3 C.7.6.3.1.2): two samples a pixel.
        decodable = _decodable_dataset(dataset, data, rows, columns, layout)
        samples = 2 if decodable.PhotometricInterpretation == "YBR_FULL_422" else decodable.SamplesPerPixel
        expected, actual = rows * columns * samples * layout.bits_allocated // 8, len(data)
        if actual < expected:
            what = "a colour image: " if samples > 1 else ""
            raise SourceError(f"{name}: {what}{_too_short(actual, expected, claimed)}")
        if actual > expected + expected % 2:
            notes.append(f"pixel data is {actual - expected} bytes too long: the end is ignored")
        in_file = place and syntax != uid.DeflatedExplicitVRLittleEndian
        if in_file and (unwritten := _unwritten(data, place)):
            notes.append(f"the last {unwritten} bytes of pixel data are zeros: the file may have been cut short")
        cells, decoder = _as_array(decodable, ""), None
    if cells.shape == (rows, columns, 3):
        cells = _grey_cells(cells, dataset, layout, name, notes)
    if cells.shape != (rows, columns):
        raise SourceError(f"{name}: pixel data of shape {cells.shape}, expected {(rows, columns)}: the file is damaged")
    stored, layout = _unpack(cells, layout, bool(syntax.is_encapsulated), notes)
    return stored, layout, decoder, tuple(notes)


def compressed_frame(dataset: Dataset) -> tuple[int, FrameSize | None]:
    """Return bytes and claimed size of the compressed frame of an encapsulated dataset."""
    frame, _ = single_frame(dataset)
    return len(frame), frame_size(frame)


def _too_short(actual: int, expected: int, claimed: int) -> str:
    """Return why there are fewer bytes than the header describes: the file ends early, or it contradicts itself."""
    if claimed > actual:
        return f"pixel data is truncated: {actual} bytes, expected {expected}: fetch it again"
    return f"pixel data has {actual} bytes, the header claims {expected}: the file is damaged"


def _unwritten(data: bytes, place: int) -> int:
    """Return how many zero bytes end pixel data that lies at byte ``place`` of its file, or 0 where they seem its own.

    A copy that was cut on a disk that allocates first is zeros from the end of a block on.
    """
    written = len(data.rstrip(b"\0"))
    unwritten = len(data) - written
    # The last bytes of a block may be zeros themselves.
    return unwritten if unwritten >= 4096 and -(place + written) % _BLOCK <= 3 and written else 0


def _described(dataset: Dataset, name: str) -> tuple[int, int]:
    """Return Rows and Columns of a header that describes one frame of grey, or raise SourceError."""
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise SourceError(f"{name}: float pixel data is not supported: expected 8 to 16 bit integers")
        raise SourceError(f"{name}: a DICOM file without pixels: expected a radiograph")
    samples = header.integer(dataset, "SamplesPerPixel", 1)
    photometric = header.code(dataset, "PhotometricInterpretation")
    grey = samples == 1 and photometric in ("MONOCHROME1", "MONOCHROME2", "")
    frames = header.integer(dataset, "NumberOfFrames", 1)
    single = frames is None or frames <= 1
    if not grey and not (single and samples == 3 and photometric in _COLOURS):
        shown = (
            photometric if photometric.replace("_", "").replace(" ", "").isalnum() else f"{samples} samples per pixel"
        )
        raise SourceError(f"{name}: a colour image ({shown}): expected MONOCHROME1 or MONOCHROME2")
    if not grey and header.integer(dataset, "PixelRepresentation", 0) == 1:
        raise SourceError(f"{name}: colour of signed values: expected unsigned ones")
    if not single:
        raise SourceError(f"{name}: {frames} frames: expected a single one; split the file first")
    rows, columns = header.integer(dataset, "Rows", 0) or 0, header.integer(dataset, "Columns", 0) or 0
    if rows <= 0 or columns <= 0:
        raise SourceError(f"{name}: the header gives no image size (Rows {rows}, Columns {columns})")
    if rows * columns > MAX_PIXELS:
        raise SourceError(
            f"{name}: the header claims {rows} x {columns} pixels: more than {MAX_PIXELS // 10**6} million"
        )
    return rows, columns


def _layout(dataset: Dataset, name: str, notes: list[str]) -> PixelLayout:
    allocated = header.integer(dataset, "BitsAllocated", 16) or 0
    if allocated not in (8, 16):
        raise SourceError(f"{name}: {allocated} bits allocated a pixel are not supported: expected 8 or 16")
    stored = header.integer(dataset, "BitsStored") or 0
    if not 1 <= stored <= allocated:
        notes.append(f"Bits Stored {stored} does not fit Bits Allocated {allocated}: taken as {allocated}")
        stored = allocated
    high = header.integer(dataset, "HighBit", stored - 1)
    if high is None or not stored - 1 <= high < allocated:
        notes.append(f"High Bit {high} does not fit Bits Stored {stored}: taken as {stored - 1}")
        high = stored - 1
    return PixelLayout(allocated, stored, high, header.integer(dataset, "PixelRepresentation", 0) == 1)


def _decodable_dataset(dataset: Dataset, data: bytes, rows: int, columns: int, layout: PixelLayout) -> Dataset:
    """Return a data set of pixel data and the attributes that a decoder needs, with normalized values."""
    result = Dataset()
    result.file_meta = dataset.file_meta
    if header.integer(dataset, "SamplesPerPixel", 1) == 3:
        result.SamplesPerPixel, result.PhotometricInterpretation = 3, header.code(dataset, "PhotometricInterpretation")
        result.PlanarConfiguration = header.integer(dataset, "PlanarConfiguration", 0)
    else:
        result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.Rows, result.Columns = rows, columns
    result.BitsAllocated, result.BitsStored, result.HighBit = layout.bits_allocated, layout.bits_stored, layout.high_bit
    result.PixelRepresentation = int(layout.signed)
    # An element of its own: the source's must not change.
    result.add(DataElement("PixelData", dataset["PixelData"].VR, data))
    return result


def _as_array(dataset: Dataset, plugin: str) -> NDArray[Any]:
    """Decode the one frame with one decoder, unused bits left alone; colour comes as red, green and blue."""
    options: dict[str, Any] = {"correct_unused_bits": False, "allow_excess_frames": False}
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    colour = dataset.SamplesPerPixel == 3
    return decoder.as_array(dataset, index=0, raw=not colour, decoding_plugin=plugin, **options)[0]


def _grey_cells(
    channels: NDArray[Any], dataset: Dataset, layout: PixelLayout, name: str, notes: list[str]
) -> NDArray[Any]:
    """Return the grey of a colour image (H, W, 3) in cells of its own depth. Raises SourceError for true colour."""
    lossy = dataset.file_meta.TransferSyntaxUID in LOSSY or header.text(dataset, "LossyImageCompression") == "01"
    grey = grey_of(channels, LOSSY_COLOUR if lossy else LOSSLESS, layout.bits_stored)
    photometric = header.code(dataset, "PhotometricInterpretation")
    if grey is None:
        raise SourceError(f"{name}: a colour image ({photometric}): expected MONOCHROME1 or MONOCHROME2")
    differ = f", channels differ by up to {grey[1]} levels: their luminance is taken" if grey[1] else ""
    notes.append(f"grey stored as colour ({photometric}){differ}: an edit is written as MONOCHROME2")
    return grey[0].astype(channels.dtype)


def _decompress(dataset: Dataset, frame: bytes, name: str, order: tuple[str, ...]) -> tuple[NDArray[Any], str]:
    syntax, rows, columns = dataset.file_meta.TransferSyntaxUID, dataset.Rows, dataset.Columns
    claimed = frame_size(frame)
    if claimed is not None and (claimed.rows, claimed.columns) != (rows, columns):
        raise SourceError(
            f"{name}: the compressed image has {claimed.rows} x {claimed.columns} pixels, the header says"
            f" {rows} x {columns}: the file is damaged"
        )
    samples = dataset.SamplesPerPixel
    if claimed is not None and claimed.components != samples:
        if samples == 3:
            raise SourceError(
                f"{name}: the compressed image has {claimed.components} components, the header says 3: the file is"
                " damaged"
            )
        raise SourceError(f"{name}: a colour image ({claimed.components} components): expected grey")
    if claimed is None and syntax != uid.RLELossless:
        raise SourceError(f"{name}: pixel data is not what its transfer syntax ({syntax.name}) says, or is truncated")
    if unwritten := unwritten_end(frame):
        raise SourceError(
            f"{name}: compressed pixel data is truncated: its last {unwritten} bytes are zeros: fetch it again"
        )
    available = get_decoder(syntax).available_plugins
    plugin = next((plugin for plugin in order if plugin in available), None)
    if plugin is None:
        wanted = " or ".join(_PACKAGES.get(plugin, plugin) for plugin in order)
        raise SourceError(f"{name}: no decoder for {syntax.name}: pip install {wanted}")
    try:
        if plugin == "gdcm" and claimed is not None:
            data = gdcm_child.decompress(frame, str(syntax), rows, columns, claimed.precision, samples)
            shape = (rows, columns) if samples == 1 else (rows, columns, samples)
            cells: NDArray[Any] = np.frombuffer(data, "u1" if claimed.precision <= 8 else "<u2").reshape(shape)
            if samples == 3 and dataset.PhotometricInterpretation.startswith("YBR_FULL"):
                cells = convert_color_space(cells, "YBR_FULL", "RGB")
        else:
            cells = _as_array(dataset, plugin)
    except Exception as error:  # each plugin raises what its library raises
        raise SourceError(f"{name}: {syntax.name} pixel data cannot be decompressed: damaged or truncated") from error
    return cells, f"{plugin} {_version(plugin)}"


def _version(plugin: str) -> str:
    try:
        return version(_PACKAGES.get(plugin, plugin))
    except PackageNotFoundError:
        return "of unknown version"


def _unpack(
    cells: NDArray[Any], layout: PixelLayout, encapsulated: bool, notes: list[str]
) -> tuple[NDArray[np.int32], PixelLayout]:
    """Take the stored bits out of each cell and give them their sign (PS3.5 8.1.1)."""
    width = 8 * cells.dtype.itemsize
    raw = cells.astype(cells.dtype.newbyteorder("=")).view(f"u{cells.dtype.itemsize}").astype(np.uint32)
    mask = (1 << layout.bits_stored) - 1
    shift = layout.high_bit + 1 - layout.bits_stored
    if shift and encapsulated and int(raw.max()) <= mask:
        notes.append("High Bit is not Bits Stored - 1, but the compressed values are not shifted")
        layout, shift = replace(layout, high_bit=layout.bits_stored - 1), 0
    elif shift:
        notes.append(f"High Bit {layout.high_bit} with Bits Stored {layout.bits_stored}: values shifted by {shift}")
    values = ((raw >> shift) & mask).astype(np.int32)
    if layout.signed:
        values = np.where(values > mask >> 1, values - (mask + 1), values).astype(np.int32)
    unused = raw & ~np.uint32(mask << shift)
    if layout.signed and not shift:
        # The sign may be extended into the unused bits: that is no content.
        extension = np.uint32(((1 << width) - 1) & ~mask)
        if (unused == np.where(values < 0, extension, np.uint32(0))).all():
            return values, layout
    if unused.any():
        notes.append("bits beside the stored ones are in use: not shown, kept")
        layout = replace(layout, unused_bits=unused.astype(np.uint16))
    return values, layout
