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

from roentmod_fast.errors import RefusedError, RoentmodError, SourceError
from roentmod_fast.radiograph import header
from roentmod_fast.radiograph.decoding import decode
from roentmod_fast.radiograph.display import display_of
from roentmod_fast.radiograph.identity import patient_notes
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.orientation import UPRIGHT, Orientation, contiguous, orientation_of
from roentmod_fast.radiograph.refusal import reasons_against

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
    """Return in words what an object of this SOP class is, if it is no picture."""
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
    try:
        _check_deflated(data, name)
        dataset = pydicom.dcmread(io.BytesIO(data), force=not preamble)
    except RoentmodError:
        raise
    except Exception as error:  # a damaged header raises whatever the parser stumbles on
        raise SourceError(f"{name}: the DICOM header is damaged: fetch the file again") from error
    if not dataset:
        raise SourceError(f"{name}: a DICOM file without content: fetch it again")
    _complete_meta(dataset, name, notes)
    return dataset, tuple(notes)


def read_dicom(data: bytes, name: str, *, voi: int = 0, force: bool = False) -> Radiograph:
    """Read a DICOM radiograph held in memory; ``name`` is for messages.

    ``voi`` chooses among several VOI LUTs and windows, counted from 0, LUTs first. Raises SourceError for what cannot
    be read, RefusedError for what should not be edited unless ``force``.
    """
    # Validation of values would warn, and log, with the values themselves: names and identifiers.
    with disable_value_validation(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            radiograph = _read(data, name, voi, force)
        except RoentmodError:
            raise
        except (
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
            ArithmeticError,
            LookupError,
            NotImplementedError,
        ) as error:
            # Values of a damaged header that pydicom parses only on access.
            raise SourceError(f"{name}: the DICOM header is damaged: fetch the file again") from error
    if not caught:
        return radiograph
    note = f"the file breaks the standard's rules in {len(caught)} places"
    return dataclasses.replace(radiograph, notes=(*radiograph.notes, note))


def _read(data: bytes, name: str, voi: int, force: bool) -> Radiograph:
    dataset, notes = read_dataset(data, name)
    meta_class = header.text(dataset.file_meta, "MediaStorageSOPClassUID")
    kind = no_image_kind(header.text(dataset, "SOPClassUID") or meta_class)
    if kind is not None:
        raise SourceError(f"{name}: {kind}: expected a radiograph")
    reasons, remarks = reasons_against(dataset)
    stored, layout, decoder, pixel_notes = decode(dataset, name)
    # What cannot be read stands above: it helps no one to be told to --force it.
    if reasons and not force:
        raise RefusedError(f"{name}: {'; '.join(reasons)} (--force goes on)")
    notes = (*notes, *(f"forced: {reason}" for reason in reasons), *remarks, *patient_notes(dataset), *pixel_notes)
    histogram = np.bincount((stored - layout.lowest).ravel(), minlength=1 << layout.bits_stored)
    try:
        display, display_notes = display_of(dataset, histogram, layout.lowest, voi)
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from error
    orientation, aspect, shape_notes = _geometry(dataset)
    overlays = [group for group in range(0x6000, 0x6020, 2) if (group, 0x3000) in dataset]
    if overlays:
        shape_notes = (*shape_notes, f"{len(overlays)} overlay planes are not shown to the engine")
    image = contiguous(orientation.upright(display.show(stored)))
    for array in (image, stored):
        array.setflags(write=False)
    return Radiograph(
        image=image,
        source=name,
        dataset=dataset,
        display=display,
        stored=stored,
        notes=(*notes, *display_notes, *shape_notes),
        decoder=decoder,
        layout=layout,
        orientation=orientation,
        aspect=aspect,
    )


def _check_deflated(data: bytes, name: str) -> None:
    """Refuse a deflated data set that inflates beyond all measure: pydicom inflates it in one go."""
    if data[128:132] != b"DICM" or uid.DeflatedExplicitVRLittleEndian.encode() not in data[:1024]:
        return
    # File Meta Information Group Length (0002,0000), always first and in explicit VR little endian (PS3.10 7.1).
    if data[132:140] != b"\x02\0\0\0UL\x04\0":
        raise SourceError(f"{name}: a deflated file without its header's length: the file is damaged")
    start = 144 + int.from_bytes(data[140:144], "little")
    inflater, rest, total = zlib.decompressobj(-zlib.MAX_WBITS), data[start:], 0
    while rest and not inflater.eof:
        total += len(inflater.decompress(rest, 1 << 24))
        rest = inflater.unconsumed_tail
        if total > MAX_BYTES:
            raise SourceError(f"{name}: inflates to more than {MAX_BYTES >> 20} MiB: not a radiograph")


def _complete_meta(dataset: Dataset, name: str, notes: list[str]) -> None:
    """Make sure that the data set says how it is encoded; without file meta information pydicom has guessed it."""
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


def _geometry(dataset: Dataset) -> tuple[Orientation, float, tuple[str, ...]]:
    """Return how to turn the picture upright, and a pixel's height over its width then."""
    notes: list[str] = []
    orientation = UPRIGHT
    directions = header.texts(dataset, "PatientOrientation")
    if len(directions) == 2 and all(directions):
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
    return orientation, 1 / aspect if orientation.transpose else aspect, tuple(notes)
