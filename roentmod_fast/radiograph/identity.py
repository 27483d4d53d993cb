"""Whose picture it says it is: the patient kept, under a pseudonym, or stripped (PS3.15 Annex E).

The Basic Application Level Confidentiality Profile lists what must go. We go the other way round and list what may
stay: codes and numbers that describe how the picture was taken and how it is shown. Whatever is not on the list goes,
so an attribute that a later edition adds, or a vendor's own, never slips through. No free text stays at all.
"""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import hmac
import os
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.folders import data_folder
from roentmod_fast.radiograph import header
from roentmod_fast.radiograph.codes import BASIC_PROFILE, MODIFIED_DATES, code_item

IDENTITIES = ("pseudonym", "keep", "strip")

KEY_VARIABLE = "ROENTMOD_PSEUDONYM_KEY"
"""Environment variable with the secret that pseudonyms are made with; without it a key file is used."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEPT = _words(
    """
    SpecificCharacterSet Modality PresentationIntentType
    Manufacturer ManufacturerModelName
    BodyPartExamined ViewPosition PatientOrientation ImageLaterality Laterality
    AnatomicRegionSequence AnatomicRegionModifierSequence ViewCodeSequence ViewModifierCodeSequence
    CodeValue CodingSchemeDesignator CodeMeaning
    KVP DistanceSourceToDetector DistanceSourceToPatient DistanceSourceToEntrance
    ExposureTime ExposureTimeInuS XRayTubeCurrent XRayTubeCurrentInuA Exposure ExposureInuAs
    ExposureIndex TargetExposureIndex DeviationIndex Sensitivity RelativeXRayExposure
    ImageAndFluoroscopyAreaDoseProduct EntranceDose EntranceDoseInmGy
    AnodeTargetMaterial FilterMaterial FilterThicknessMinimum FilterThicknessMaximum FocalSpots Grid
    ImagerPixelSpacing NominalScannedPixelSpacing EstimatedRadiographicMagnificationFactor SpatialResolution
    CollimatorShape CollimatorLeftVerticalEdge CollimatorRightVerticalEdge CollimatorUpperHorizontalEdge
    CollimatorLowerHorizontalEdge
    PositionerType PositionerPrimaryAngle PositionerSecondaryAngle
    RadiationSetting
    DetectorType DetectorConfiguration DetectorConditionsNominalFlag
    DetectorBinning DetectorElementPhysicalSize DetectorElementSpacing
    DetectorActiveShape DetectorActiveDimensions DetectorActiveOrigin
    FieldOfViewShape FieldOfViewDimensions FieldOfViewOrigin FieldOfViewRotation FieldOfViewHorizontalFlip
    PixelIntensityRelationship PixelIntensityRelationshipSign
    SamplesPerPixel PhotometricInterpretation Rows Columns PixelSpacing PixelAspectRatio
    BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit
    PixelSpacingCalibrationType QualityControlImage BurnedInAnnotation
    WindowCenter WindowWidth VOILUTFunction RescaleIntercept RescaleSlope RescaleType
    ModalityLUTSequence VOILUTSequence LUTDescriptor ModalityLUTType LUTData PresentationLUTShape
    LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod
    """
)
"""Attributes that stay under a pseudonym and when stripped, everywhere in the data set."""

DEVICE = frozenset({"Manufacturer", "ManufacturerModelName"})
"""Of :data:`KEPT`, what names the device and so goes when stripped."""

SHIFTED = ("StudyDate", "AcquisitionDate")
"""Dates that stay under a pseudonym, moved by the patient's own number of days (PS3.15 E.3.6)."""

_NUMERIC = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "OW", "OB", "AT"})
_CODES = frozenset({"CS", "SH", "LO"})
_CODE_STRING = re.compile(r"[A-Z0-9_ .\-]{0,16}")
_CODING_SCHEMES = frozenset({"DCM", "SRT", "SNM3", "SCT", "99SDM"})


@dataclass(frozen=True)
class Pseudonyms:
    """Stable stand-ins for names, identifiers, UIDs and dates, made with a secret ``key``.

    The same patient gets the same pseudonym and the same shift of dates in every run with the same key; without the key
    nothing leads back.
    """

    key: bytes = field(repr=False)

    def digest(self, kind: str, value: str) -> bytes:
        """Return 32 bytes that stand for ``value`` as a ``kind`` of thing (HMAC-SHA-256)."""
        return hmac.new(self.key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()

    def code(self, kind: str, value: str) -> str:
        """Return 12 capital letters and digits that stand for ``value``."""
        return base64.b32encode(self.digest(kind, value)).decode()[:12]

    def uid(self, value: str) -> UID:
        """Return the UID that stands for the UID ``value`` (PS3.5 B.2, from a version 8 UUID of RFC 9562)."""
        return uid_of(self.digest("uid", value.strip(" \0")))

    def days(self, patient: str) -> int:
        """Return by how many days the dates of ``patient`` move back, 30 to about ten years."""
        return 30 + int.from_bytes(self.digest("days", patient)[:4], "big") % 3650


def uid_of(digest: bytes) -> UID:
    """Return the UID made of the first 16 bytes of ``digest``."""
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    return UID(f"2.25.{number}")


def new_uid() -> UID:
    """Return a UID that no one has used (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid4().int}")


def pseudonym_key() -> bytes:
    """Return the secret that pseudonyms are made with: the variable's, else the user's key file, made at first use.

    Raises OutputError where neither can be had, SettingError where the variable is too short to keep a secret.
    """
    given = os.environ.get(KEY_VARIABLE)
    if given is not None:
        if len(given) < 16:
            raise SettingError(f"{KEY_VARIABLE} has {len(given)} characters: expected 16 or more, hard to guess")
        return given.encode()
    path = data_folder() / "pseudonym.key"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass  # another process was faster
            else:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(os.urandom(32))
        key = path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{path}: the key of the pseudonyms cannot be kept there ({error.strerror}): set {KEY_VARIABLE}, or"
            " choose --identity strip"
        ) from error
    if len(key) < 16:
        raise OutputError(f"{path}: the key of the pseudonyms is damaged: remove it, or set {KEY_VARIABLE}")
    return key


def patient_key(dataset: Dataset) -> str:
    """Return what tells one patient from another in a header: identifier and issuer, else name and birth date."""
    identifier = header.text(dataset, "PatientID")
    if identifier:
        return f"id\0{identifier}\0{header.text(dataset, 'IssuerOfPatientID')}"
    name, birth = header.text(dataset, "PatientName"), header.text(dataset, "PatientBirthDate")
    if name:
        return f"name\0{name}\0{birth}"
    return f"study\0{header.text(dataset, 'StudyInstanceUID')}"


def identify(source: Dataset, target: Dataset, identity: str, key: bytes | None) -> Pseudonyms | None:
    """Fill ``target`` with what may stay of ``source``, and say whose picture it is.

    ``source`` is not changed; its pixels are not copied. ``key``: the secret of the pseudonyms, None for the user's
    own. Returns the pseudonyms used, for the UIDs of other instances, or None for ``keep`` and ``strip``. Raises
    SettingError for an identity that is none of :data:`IDENTITIES`.
    """
    if identity not in IDENTITIES:
        raise SettingError(f"identity {identity!r}: expected one of {', '.join(IDENTITIES)}")
    if identity == "keep":
        for element in _elements(source):
            if _may_be_kept(element):
                target.add(copy.deepcopy(element))
        return None
    kept = KEPT - DEVICE if identity == "strip" else KEPT
    _copy_listed(source, target, kept)
    target.PatientSex = target.PatientBirthDate = target.StudyTime = target.AccessionNumber = ""
    target.ReferringPhysicianName = ""
    target.PatientIdentityRemoved = "YES"
    target.DeidentificationMethod = "roentmod-fast: only listed technical attributes kept"
    methods = [BASIC_PROFILE]
    pseudonyms = None
    if identity == "strip":
        target.PatientName = "SYNTHETIC"
        target.PatientID = f"SYNTHETIC-{uuid.uuid4().hex[:12].upper()}"
        target.StudyDate = target.StudyID = ""
        target.StudyInstanceUID = new_uid()
        target.LongitudinalTemporalInformationModified = "REMOVED"
    else:
        pseudonyms = Pseudonyms(pseudonym_key() if key is None else key)
        patient, study = patient_key(source), header.text(source, "StudyInstanceUID")
        name = pseudonyms.code("patient", patient)
        target.PatientName = f"SYNTHETIC^{name}"
        target.PatientID = f"SYN-{name}"
        target.StudyID = pseudonyms.code("study", study)
        target.StudyInstanceUID = pseudonyms.uid(study) if study else new_uid()
        frame = header.text(source, "FrameOfReferenceUID")
        if frame:
            target.FrameOfReferenceUID = pseudonyms.uid(frame)
            target.PositionReferenceIndicator = ""
        target.StudyDate = ""
        for keyword in SHIFTED:
            shifted = _shifted(header.text(source, keyword), pseudonyms.days(patient))
            if shifted:
                setattr(target, keyword, shifted)
        target.LongitudinalTemporalInformationModified = "MODIFIED"
        methods.append(MODIFIED_DATES)
    target.DeidentificationMethodCodeSequence = [code_item(method) for method in methods]
    return pseudonyms


def _elements(dataset: Dataset) -> list[DataElement]:
    """Return the elements of a data set that can be read; those that cannot are left out."""
    result = []
    for tag in sorted(dataset.keys()):
        if tag.group == 0x7FE0 or tag.element == 0:
            continue
        try:
            element: DataElement | None = dataset[tag]
        except Exception:  # a value that cannot be parsed cannot be written either
            element = None
        keyword = keyword_for_tag(tag)
        if keyword and dictionary_VR(tag) == "DS" and not _holds_numbers(element):
            # Several numbers in one string ("2048, 1024"): read as such, so written as such.
            numbers = [DSfloat(number, auto_format=True) for number in header.numbers(dataset, keyword)]
            element = DataElement(tag, "DS", numbers) if numbers else element
        if element is not None:
            result.append(element)
    return result


def _holds_numbers(element: DataElement | None) -> bool:
    if element is None or element.VR != "DS":
        return False
    values = element.value if element.VM > 1 else [element.value]
    return not any(isinstance(value, str) and value for value in values)


def _may_be_kept(element: DataElement) -> bool:
    """Tell whether an element of the source may stay in an edit of the same patient.

    Vendors' own elements describe the source's pixels in ways we cannot redo, signatures no longer hold, icons and
    encrypted attributes show the source.
    """
    if element.tag.is_private or element.tag.group in (0x0002, 0x4FFE, 0xFFFA, 0xFFFC):
        return False
    return element.keyword not in _NEVER_KEPT


_NEVER_KEPT = _words(
    """
    IconImageSequence
    SmallestImagePixelValue LargestImagePixelValue SmallestPixelValueInSeries LargestPixelValueInSeries
    EncryptedAttributesSequence MACParametersSequence DigitalSignaturesSequence PixelDataProviderURL
    PixelDataAreaOriginRelativeToFOV PixelDataAreaRotationAngleRelativeToFOV
    """
)


def _copy_listed(source: Dataset, target: Dataset, kept: frozenset[str]) -> None:
    """Copy what is listed, in sequences too, leaving out text that is no code."""
    for element in _elements(source):
        keyword = keyword_for_tag(element.tag)
        if keyword not in kept or element.tag.is_private:
            continue
        if element.VR == "SQ":
            items = []
            for item in element.value:
                inner = Dataset()
                _copy_listed(item, inner, kept)
                if "CodeValue" in item and not _is_standard_code(item):
                    continue
                items.append(inner)
            target.add(DataElement(element.tag, "SQ", Sequence(items)))
        elif _is_harmless(element, keyword):
            target.add(copy.deepcopy(element))


def _is_standard_code(item: Dataset) -> bool:
    return header.text(item, "CodingSchemeDesignator") in _CODING_SCHEMES


def _is_harmless(element: DataElement, keyword: str) -> bool:
    """Tell whether a listed element holds numbers or codes, as it should, and no text in disguise."""
    if element.VR in _NUMERIC or keyword in DEVICE or keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
        return True
    values: Any = element.value
    values = [values] if isinstance(values, str) or values is None else list(values)
    return element.VR in _CODES and all(_CODE_STRING.fullmatch(str(value or "")) for value in values)


def _shifted(date: str, days: int) -> str:
    """Return a date (DA) moved back; the empty string where it is none."""
    try:
        moved = datetime.datetime.strptime(date.replace(".", "")[:8], "%Y%m%d") - datetime.timedelta(days=days)
        return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
    except (ValueError, OverflowError):
        return ""
