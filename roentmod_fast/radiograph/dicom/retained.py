"""What stays of a header when it is de-identified: numbers, defined terms and standard codes (PS3.15 Annex E).

The Basic Application Level Confidentiality Profile lists what must go. This module goes the other way round and lists
what may stay, so an attribute that a later edition adds, or a vendor's own, never slips through. Nothing is copied as
it stands: numbers are parsed and written again, code strings must be terms of the standard, the meaning of a code is
the dictionary's. So no free text stays, whatever attribute it stands in.
"""

from __future__ import annotations

import math
import re

import numpy as np
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import DSfloat

from roentmod_fast.errors import OutputError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import code_item, code_of
from roentmod_fast.radiograph.dicom.terms import IMAGE_TYPES, TERMS, is_maker, term


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SHOWN = _words(
    """
    ImagerPixelSpacing NominalScannedPixelSpacing PixelSpacing PixelAspectRatio
    WindowCenter WindowWidth RescaleIntercept RescaleSlope PixelPaddingValue PixelPaddingRangeLimit
    """
)
"""Numbers that decide how the image is shown: kept as they are understood when read, text around them left out."""

MEASURED = _words(
    """
    KVP DistanceSourceToDetector DistanceSourceToPatient DistanceSourceToEntrance
    ExposureTime ExposureTimeInuS XRayTubeCurrent XRayTubeCurrentInuA Exposure ExposureInuAs
    ExposureIndex TargetExposureIndex DeviationIndex Sensitivity RelativeXRayExposure
    ImageAndFluoroscopyAreaDoseProduct EntranceDose EntranceDoseInmGy
    FilterThicknessMinimum FilterThicknessMaximum FocalSpots
    EstimatedRadiographicMagnificationFactor SpatialResolution
    CollimatorLeftVerticalEdge CollimatorRightVerticalEdge CollimatorUpperHorizontalEdge CollimatorLowerHorizontalEdge
    PositionerPrimaryAngle PositionerSecondaryAngle
    DetectorBinning DetectorElementPhysicalSize DetectorElementSpacing DetectorActiveDimensions DetectorActiveOrigin
    FieldOfViewDimensions FieldOfViewOrigin FieldOfViewRotation
    PixelIntensityRelationshipSign LossyImageCompressionRatio
    """
)
"""Other numbers: kept where the value is a number and nothing else."""

CODED = _words("AnatomicRegionSequence ViewCodeSequence")
"""Sequences of codes, kept as far as pydicom's dictionary knows the code."""

MODIFIERS = _words("AnatomicRegionModifierSequence ViewModifierCodeSequence")
"""Sequences of codes inside the items of :data:`CODED`."""

LUTS = _words("ModalityLUTSequence VOILUTSequence")

_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_RANGES = {"IS": (-(1 << 31), (1 << 31) - 1), "US": (0, 65535), "SS": (-32768, 32767)}
_LUT_LENGTH = 256
"""Entries from which a look-up table of the length that its descriptor says is no text in disguise."""


def copy_retained(source: Dataset, target: Dataset, *, device: bool) -> None:
    """Add to ``target`` what may stay of ``source``; ``device``: Manufacturer too, where it is a known maker.

    ``source`` is not changed. Raises OutputError for a look-up table that is used and cannot be told from text.
    """
    for keyword in (*SHOWN, *MEASURED):
        numbers = _numbers(source, keyword, lenient=keyword in SHOWN)
        if numbers is not None:
            target.add(numbers)
    for keyword in TERMS:
        _copy_terms(source, target, keyword)
    _copy_image_type(source, target)
    for keyword in CODED:
        items = _code_items(source, keyword)
        if items:
            target.add(DataElement(_tag(keyword), "SQ", Sequence(items)))
    for keyword in LUTS:
        tables = [_lut(item, source, keyword) for item in header.items(source, keyword)]
        kept = [table for table in tables if table is not None]
        if kept:
            target.add(DataElement(_tag(keyword), "SQ", Sequence(kept)))
    maker = header.text(source, "Manufacturer")
    if device and is_maker(maker):
        target.Manufacturer = maker[:64]


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def _numbers(source: Dataset, keyword: str, *, lenient: bool) -> DataElement | None:
    """Return an attribute's numbers as a new element; None where it is absent or holds what is no number.

    An element that is present and empty is returned as such. ``lenient``: take the numbers out of text around them.
    """
    if _tag(keyword) not in source:
        return None
    texts = header.texts(source, keyword)
    values: list[str] | list[float] = list(texts)
    if not all(_is_number(text) for text in texts):
        if not lenient:
            return None
        values = list(header.numbers(source, keyword))
        if not values:
            return None
    most = dictionary_VM(keyword).split("-")[-1]
    values = values if most.endswith("n") else values[: int(most)]
    vr = dictionary_VR(keyword)
    if vr == "DS":
        return DataElement(_tag(keyword), vr, [_decimal(value) for value in values] or None)
    whole = [float(value) for value in values]
    if not lenient and not all(value.is_integer() for value in whole):
        return None
    integers = [int(value) for value in whole]
    if " or " in vr:
        # US or SS: what stands for the sign of the pixels where the value fits both (PS3.5 6.2.2).
        signed = header.integer(source, "PixelRepresentation") == 1
        low, high = min(integers, default=0), max(integers, default=0)
        vr = "SS" if low < 0 or (signed and high < 32768) else "US"
    low, high = _RANGES[vr]
    if not all(low <= value <= high for value in integers):
        return None
    return DataElement(_tag(keyword), vr, integers or None)


def _is_number(value: str) -> bool:
    return _DECIMAL.fullmatch(value) is not None and math.isfinite(float(value))


def _decimal(value: str | float) -> DSfloat:
    """Return a number as a decimal string of at most 16 characters, digits as in the source where they fit."""
    if isinstance(value, str) and len(value) <= 16:
        return DSfloat(value)
    return DSfloat(float(value), auto_format=True)


def _copy_terms(source: Dataset, target: Dataset, keyword: str) -> None:
    """Copy an attribute whose values are all terms of the standard."""
    if _tag(keyword) not in source:
        return
    texts = header.texts(source, keyword)
    values = [value for value in (term(keyword, text) for text in texts) if value is not None]
    if len(values) < len(texts) or (keyword == "PatientOrientation" and len(values) not in (0, 2)):
        return
    target.add(DataElement(_tag(keyword), dictionary_VR(keyword), values if len(values) > 1 else "".join(values)))


def _copy_image_type(source: Dataset, target: Dataset) -> None:
    """Copy Image Type (PS3.3 C.7.6.1.1.2): values from the third on that are no defined term become empty."""
    values = [value.upper() for value in header.texts(source, "ImageType")]
    if not values:
        return
    first = values[0] if values[0] in ("ORIGINAL", "DERIVED") else "DERIVED"
    second = values[1] if len(values) > 1 and values[1] in ("PRIMARY", "SECONDARY") else ""
    rest = [value if value in IMAGE_TYPES else "" for value in values[2:]]
    while rest and not rest[-1]:
        rest.pop()
    target.ImageType = [first, second, *rest]


def _code_items(source: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a code sequence, with the dictionary's meanings; without those that it does not know."""
    items = []
    for item in header.items(source, keyword):
        code = code_of(item)
        if code is None:
            continue
        new = code_item(code)
        for modifier in MODIFIERS:
            if modifier in item:
                setattr(new, modifier, _code_items(item, modifier))
        items.append(new)
    return items


def _lut(item: Dataset, source: Dataset, keyword: str) -> Dataset | None:
    """Return the item of a look-up table as numbers alone (PS3.3 C.11.1.1), or None where nothing can read it.

    Entries beyond what the descriptor says, which nothing shows, are left out. Raises OutputError where the table is
    used, but is neither monotonic nor of the length that its descriptor says: its bytes may be text, and without it
    the image would be shown otherwise.
    """
    descriptor = header.numbers(item, "LUTDescriptor")
    value = header.value_of(item, "LUTData")
    if len(descriptor) < 3 or value is None:
        return None
    entries, first, bits = int(descriptor[0]) % 65536 or 65536, int(descriptor[1]), int(descriptor[2])
    if isinstance(value, (bytes, bytearray)):
        raw = bytes(value)
        packed = bits <= 8 and len(raw) in (entries, entries + entries % 2)
        size = 1 if packed else 2
        raw = raw[: min(entries, len(raw) // size) * size]
        kind = "u1" if packed else "<u2" if source.original_encoding[1] is not False else ">u2"
        data = np.frombuffer(raw, kind).astype(np.int64)
        element = DataElement(_tag("LUTData"), "OW", raw + b"\0" * (len(raw) % 2))
    else:
        numbers = [int(number) % 65536 for number in header.numbers(item, "LUTData")][:entries]
        data = np.array(numbers, dtype=np.int64)
        if bits <= 8 and len(data) < entries <= 2 * len(data) <= entries + 1:
            data = data.astype("<u2").view("u1")[:entries].astype(np.int64)  # two entries to a word
        element = DataElement(_tag("LUTData"), "US", numbers)
    if len(data) < 2:
        return None
    steps = np.diff(data)
    monotonic = bool((steps >= 0).all() or (steps <= 0).all())
    whole = len(data) == entries >= _LUT_LENGTH and int(data.max()) < 1 << min(max(bits, 0), 16)
    plausible = (monotonic and 2 * len(data) > entries) or whole
    if not plausible or not -65536 < first < 65536 or not 0 <= bits < 256:
        name = "Modality LUT" if keyword == "ModalityLUTSequence" else "VOI LUT"
        raise OutputError(
            f"LUT Data (0028,3006) of a {name} does not match its LUT Descriptor and may hold text:"
            " choose --identity keep"
        )
    new = Dataset()
    new.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries % 65536, first, bits])
    new.add(element)
    if keyword == "ModalityLUTSequence" and "ModalityLUTType" in item:
        _copy_terms(item, new, "ModalityLUTType")
    return new
