"""Read a DICOM file as a radiograph (PS3.10 for the file, PS3.3 C.7.6.3 for the pixels, PS3.4 N.2 for the display)."""

from __future__ import annotations

import dataclasses
import io
import warnings
import zlib

import numpy as np
import pydicom
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset

from roentmod_fast.errors import RoentmodError, SourceError
from roentmod_fast.radiograph.content import content_of
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom import scan as element_scan
from roentmod_fast.radiograph.dicom.deidentify import patient_notes
from roentmod_fast.radiograph.dicom.grayscale import grayscale_of
from roentmod_fast.radiograph.dicom.orientation import (
    UPRIGHT,
    GivenOrientation,
    Orientation,
    given_orientation,
    orientation_of,
)
from roentmod_fast.radiograph.dicom.pixels import decode
from roentmod_fast.radiograph.dicom.suitability import reasons_to_refuse
from roentmod_fast.radiograph.doubts import Force, override_doubts
from roentmod_fast.radiograph.model import PixelLayout, Radiograph

MAX_BYTES = 1 << 29
"""The longest file, or inflated data set, that is read: 512 MiB."""

NO_IMAGE: dict[str, str] = {
    uid.MediaStorageDirectoryStorage: "a DICOMDIR",
    uid.KeyObjectSelectionDocumentStorage: "a key object selection",
    uid.SegmentationStorage: "a segmentation",
    uid.SurfaceSegmentationStorage: "a surface segmentation",
    uid.RawDataStorage: "raw data",
    uid.EncapsulatedPDFStorage: "an encapsulated PDF",
    uid.EncapsulatedCDAStorage: "an encapsulated document",
}
"""SOP classes that are no images, beside those of :data:`_NO_IMAGE_FAMILIES`."""


def _family(sop_class: uid.UID) -> str:
    """Return what the UIDs of a SOP class and its siblings begin with (PS3.6 Annex A)."""
    return sop_class.rpartition(".")[0] + "."


_OF_COLOUR = (
    *("PlanarConfiguration", "ICCProfile", "ColorSpace", "UltrasoundColorDataPresent", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleIntercept", "RescaleSlope", "RescaleType"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenterWidthExplanation", "PresentationLUTShape"),
    *("SmallestImagePixelValue", "LargestImagePixelValue"),
)
"""Attributes of colour, or without meaning for it, that an image which is grey after all does not keep."""

_NO_IMAGE_FAMILIES = {
    _family(uid.GrayscaleSoftcopyPresentationStateStorage): "a presentation state",
    _family(uid.BasicTextSRStorage): "a structured report",
    _family(uid.GeneralECGWaveformStorage)[:-2]: "a waveform",
    _family(uid.RTPlanStorage): "a radiotherapy object",
}


def looks_like_dicom(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` (132 bytes or more) may be DICOM, with or without its preamble."""
    if head[128:132] == b"DICM":
        return True
    # Without a preamble a data set begins with group 0002 or 0008, in either byte order, and a low element.
    return head[:4] in {
        bytes(order)
        for group in (2, 8)
        for element in range(0x20)
        for order in ((group, 0, element, 0), (0, group, 0, element))
    }


def no_image_kind(sop_class: str) -> str | None:
    """Return in words what an object of this SOP class is, if it is no image."""
    if sop_class in NO_IMAGE:
        return NO_IMAGE[sop_class]
    return next((words for start, words in _NO_IMAGE_FAMILIES.items() if sop_class.startswith(start)), None)


def read_dataset(data: bytes, name: str) -> tuple[Dataset, tuple[str, ...]]:
    """Parse a DICOM file held in memory; return it and notes. Raises SourceError where it is none."""
    if len(data) > MAX_BYTES:
        raise SourceError(
            f"{name}: {len(data) >> 20} MiB: more than the {MAX_BYTES >> 20} MiB of the largest radiograph"
        )
    if not looks_like_dicom(data[:132]):
        raise SourceError(f"{name}: not a DICOM file: expected a DICOM, PNG or JPEG radiograph")
    notes: list[str] = []
    preamble = data[128:132] == b"DICM"
    if not preamble:
        notes.append("no DICOM preamble")
    dataset = _parse(data, name, preamble, notes)
    _complete_meta(dataset, name, notes)
    return dataset, tuple(notes)


def _parse(data: bytes, name: str, preamble: bool, notes: list[str]) -> Dataset:
    """Parse a file after :mod:`.scan` has walked through its data elements."""
    start = 132 if preamble else 0
    begin = element_scan.file_meta_end(data, start)
    found = element_scan.Scan(len(data))
    reader: element_scan.BoundedReader | None = None
    try:
        meta = FileMetaDataset()
        if begin > start:
            meta = pydicom.dcmread(element_scan.BoundedReader(data[:begin]), force=True).file_meta
        syntax = header.text(meta, "TransferSyntaxUID")
        deflated = syntax == uid.DeflatedExplicitVRLittleEndian
        body, at = (_inflate(data[begin:], name), 0) if deflated else (data, begin)
        if at == len(body):
            raise SourceError(f"{name}: the file ends after its meta information: expected a data set: fetch it again")
        implicit, little = element_scan.encoding(body, at, syntax)
        try:
            found = element_scan.scan(body, at, implicit=implicit, little=little)
        except ValueError as error:
            kind = no_image_kind(header.text(meta, "MediaStorageSOPClassUID"))
            raise SourceError(f"{name}: {error if kind is None else f'{kind}: expected a radiograph'}") from error
        if found.padding:
            notes.append(f"{found.padding} bytes after the data set are ignored")
            body = body[: found.end]
        reader = element_scan.BoundedReader(body)
        dataset = pydicom.dcmread(reader, force=deflated or not preamble)
    except RoentmodError:
        raise
    except Exception as error:  # a damaged header raises whatever the parser stumbles on
        raise SourceError(f"{name}: {_why_not_parsed(found, reader)}") from error
    if deflated:
        dataset.file_meta = meta
    sop_class = header.text(dataset, "SOPClassUID") or header.text(meta, "MediaStorageSOPClassUID")
    has_pixels = any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    if not dataset or (not has_pixels and (found.early or found.broken) and no_image_kind(sop_class) is None):
        raise SourceError(f"{name}: {_why_not_parsed(found, reader)}")
    return dataset


def _why_not_parsed(found: element_scan.Scan, reader: element_scan.BoundedReader | None) -> str:
    """Return why no whole data set was parsed, by what :mod:`.scan` found, as a phrase for a message."""
    if reader is not None and reader.left < 0:
        return element_scan.TOO_MANY
    if found.early:
        return f"the DICOM header is truncated: {found.early}: fetch the file again"
    if found.broken:
        return f"the DICOM header is damaged: {found.broken}"
    return "the DICOM header cannot be parsed: the file is damaged"


def read_dicom(
    data: bytes, name: str, *, voi: int = 0, force: Force = False, orientation: str | None = None
) -> Radiograph:
    """Read a DICOM radiograph held in memory; ``name`` is for messages.

    Other arguments and errors as for :func:`roentmod_fast.radiograph.read.read_radiograph`.
    """
    given = None if orientation is None else given_orientation(orientation)
    # Validation of values would warn, and log, with the values themselves: names and identifiers.
    with disable_value_validation(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            radiograph = _read(data, name, voi, force, given)
        except RoentmodError:
            raise
        except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, NotImplementedError) as error:
            # Values of a damaged header that pydicom parses only on access.
            raise SourceError(f"{name}: a value in the DICOM header cannot be parsed: the header is damaged") from error
    if not caught:
        return radiograph
    note = f"the file breaks the standard's rules in {len(caught)} places"
    return dataclasses.replace(radiograph, notes=(*radiograph.notes, note))


def _read(data: bytes, name: str, voi: int, force: Force, given: GivenOrientation | None) -> Radiograph:
    dataset, notes = read_dataset(data, name)
    meta_class = header.text(dataset.file_meta, "MediaStorageSOPClassUID")
    kind = no_image_kind(header.text(dataset, "SOPClassUID") or meta_class)
    if kind is not None:
        raise SourceError(f"{name}: {kind}: expected a radiograph")
    doubts, remarks = reasons_to_refuse(dataset, oriented=given is not None)
    stored, layout, decoder, pixel_notes = decode(dataset, name)
    if header.integer(dataset, "SamplesPerPixel", 1) == 3:
        _describe_as_grey(dataset, layout)
    histogram = np.bincount((stored - layout.lowest).ravel(), minlength=1 << layout.bits_stored)
    try:
        grayscale, grayscale_notes = grayscale_of(dataset, histogram, layout.lowest, voi)
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from error
    orientation, aspect, spacing, shape_notes = _geometry(dataset, given)
    overlays = [group for group in range(0x6000, 0x6020, 2) if (group, 0x3000) in dataset]
    if overlays:
        shape_notes = (*shape_notes, f"{len(overlays)} overlay planes are not shown to the engine")
    image = np.ascontiguousarray(orientation.upright(grayscale.apply(stored)))
    content, content_notes = content_of(image, stored, grayscale.padding)
    # Errors that --force cannot override were raised above.
    forced = override_doubts(name, [*doubts, *content], force)
    notes = (
        *notes,
        *forced,
        *patient_notes(dataset),
        *remarks,
        *pixel_notes,
        *grayscale_notes,
        *shape_notes,
        *content_notes,
    )
    for array in (image, stored):
        array.setflags(write=False)
    return Radiograph(
        image=image,
        source=name,
        dataset=dataset,
        grayscale=grayscale,
        stored=stored,
        notes=notes,
        decoder=decoder,
        layout=layout,
        orientation=orientation,
        aspect=aspect,
        spacing=spacing,
        patient_orientation=None if given is None else given.directions,
    )


def _describe_as_grey(dataset: Dataset, layout: PixelLayout) -> None:
    """Give a header that describes grey stored as colour the attributes of the grey image that was decoded.

    Colour is shown as it is stored (PS3.3 C.7.6.3.1.2): the window is the whole range, whatever else is in the header.
    """
    for keyword in _OF_COLOUR:
        if keyword in dataset:
            del dataset[keyword]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth = 1 << (layout.bits_stored - 1), 1 << layout.bits_stored


def _inflate(deflated: bytes, name: str) -> bytes:
    """Return the data set of a deflated file (PS3.5 A.5). Raises SourceError where it is cut short or too large."""
    inflater, inflated, rest, part = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), deflated, b"-"
    try:
        # Where all is read, more may still be held back.
        while part and not inflater.eof:
            part = inflater.decompress(rest, 1 << 24)
            rest = inflater.unconsumed_tail
            if inflated.tell() + len(part) > MAX_BYTES:
                raise SourceError(f"{name}: inflates to more than {MAX_BYTES >> 20} MiB: not a radiograph")
            inflated.write(part)
    except zlib.error as error:
        raise SourceError(f"{name}: the deflated data set is damaged: it cannot be inflated") from error
    if not inflater.eof:
        raise SourceError(f"{name}: the deflated data set is truncated: fetch it again")
    return inflated.getvalue()


def _complete_meta(dataset: Dataset, name: str, notes: list[str]) -> None:
    """Make sure that the data set has a transfer syntax; without file meta information pydicom has guessed it."""
    if not hasattr(dataset, "file_meta") or dataset.file_meta is None:
        dataset.file_meta = FileMetaDataset()
    syntax = header.text(dataset.file_meta, "TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        guessed = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = guessed if little is not False else uid.ExplicitVRBigEndian
        notes.append("no transfer syntax in the file: recognised by its beginning")
    elif not uid.UID(syntax).is_transfer_syntax:
        raise SourceError(f"{name}: unknown transfer syntax: expected a standard one")


def _geometry(
    dataset: Dataset, given: GivenOrientation | None
) -> tuple[Orientation, float, tuple[float, float] | None, tuple[str, ...]]:
    """Return how to turn the pixels upright, and their height over their width and their spacing in mm then."""
    notes: list[str] = []
    orientation = UPRIGHT
    directions = header.texts(dataset, "PatientOrientation")
    if given is not None:
        orientation = given.orientation
        notes.append(given.note)
    elif len(directions) == 2 and all(directions):
        found = orientation_of(*directions)
        if found is not None:
            orientation = found
        if orientation != UPRIGHT:
            notes.append("turned upright by Patient Orientation, and back in the output")
    elif directions:
        notes.append("Patient Orientation cannot be understood: taken as upright")
    aspect = 1.0
    # PS3.3 C.7.6.3.1.7: vertical then horizontal; spacing is between rows, then between columns (10.7.1.3).
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        values = header.numbers(dataset, keyword)
        if len(values) >= 2 and min(values[:2]) > 0:
            ratio = values[0] / values[1]
            if 0.2 <= ratio <= 5:
                aspect = ratio
            else:
                notes.append(f"pixels {ratio:g} times as high as wide: taken as square")
            break
    if abs(aspect - 1) < 1e-3:
        aspect = 1.0
    else:
        notes.append(f"pixels are {aspect:.3g} times as high as wide: shown so to the engine")
    spacing = _spacing(dataset, aspect)
    if orientation.transpose:
        aspect, spacing = 1 / aspect, spacing and (spacing[1], spacing[0])
    return orientation, aspect, spacing, tuple(notes)


def _spacing(dataset: Dataset, aspect: float) -> tuple[float, float] | None:
    """Return millimetres between rows and between columns (10.7.1.3) where they agree with the pixels' shape."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = header.numbers(dataset, keyword)
        if len(values) >= 2 and min(values[:2]) > 0 and abs(values[0] / values[1] / aspect - 1) < 1e-3:
            return values[0], values[1]
    return None
