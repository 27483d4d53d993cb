"""Attributes that a de-identified header retains: numbers, defined terms and standard codes (PS3.15 Annex E).

The Basic Application Level Confidentiality Profile lists what must be removed. This module lists what may be retained
instead, so that an attribute of a later edition or of a vendor is never retained by default. Nothing is copied as it
is: numbers are parsed and written again, code strings must be defined terms or enumerated values of PS3.3 and PS3.16
(any word fits the VR: a name in capitals is a valid CS), the meaning of a code is the dictionary's. So no free text is
retained, in any attribute.
"""

from __future__ import annotations

import math
import re
from itertools import permutations, product

import numpy as np
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import DSfloat

from roentmod_fast.errors import OutputError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import code_item, code_of

_YES_NO = frozenset({"YES", "NO"})


def _terms(text: str) -> frozenset[str]:
    return frozenset(text.split())


BODY_PARTS = _terms(
    """
    ABDOMEN ABDOMENPELVIS ABDOMINALAORTA ACJOINT ADRENAL AMNIOTICFLUID ANKLE ANTECUBITALV ANTCARDIACV ACA ANTCOMMA
    ANTSPINALA ANTTIBIALA ANUSRECTUMSIGMD AORTA AORTICARCH APPENDIX ARTERY ASCAORTA ASCENDINGCOLON AXILLA AXILLARYA
    AXILLARYV AZYGOSVEIN BACK BASILARA BILEDUCT BILIARYTRACT BLADDER BLADDERURETHRA BRACHIALA BRACHIALV BRAIN BREAST
    BRONCHUS BUTTOCK CALCANEUS CALF CARDIOVASCSYS CAROTID BULB CELIACA CEPHALICV CEREBELLUM CEREBRALA CEREBHEMISPHERE
    CSPINE CTSPINE CERVIX CHEEK CHEST CHESTABDPELVIS CHESTABDOMEN CHOROIDPLEXUS CIRCLEOFWILLIS CLAVICLE COCCYX COLON
    COMMONBILEDUCT CCA CFA CFV COMILIACA COMILIACV CORNEA CORONARYARTERY CORONARYSINUS DESCAORTA DESCENDINGCOLON
    DUODENUM EAR ELBOW ENDOARTERIAL ENDOCARDIAC ENDOESOPHAGEAL ENDOMETRIUM ENDONASAL ENDONASOPHARYNYX ENDORECTAL
    ENDORENAL ENDOURETERIC ENDOURETHRAL ENDOVAGINAL ENDOVASCULAR ENDOVENOUS ENDOVESICAL WHOLEBODY EPIDIDYMIS EPIGASTRIC
    ESOPHAGUS EAC ECA EXTILIACA EXTILIACV EXTJUGV EXTREMITY EYE EYELID FACE FACIALA FEMORALA FEMORALV FEMUR FIBULA
    FINGER FLANK FONTANEL FOOT FOREARM 4THVENTRICLE GALLBLADDER GASTRICV GENICULARA GESTSAC GLUTEAL GSV HAND HEAD
    HEADNECK HEART HEPATICA HEPATICV HIP HUMERUS HYPOGASTRIC HYPOPHARYNX ILEUM ILIACA ILIACV ILIUM INFMESA INFVENACAVA
    INGUINAL INNOMINATEA INNOMINATEV IAC ICA INTILIACA INTJUGULARV INTMAMMARYA INTRACRANIAL JAW JEJUNUM JOINT KIDNEY
    KNEE LACRIMALA LARGEINTESTINE LARYNX LATVENTRICLE LATRIUM LFEMORALA LHEPATICV LHYPOCHONDRIAC LINGUINAL LLQ LLUMBAR
    LPORTALV LPULMONARYA LUQ LVENTRICLE LINGUALA LIVER LOWERLEG LOWERLIMB LOWERTRUNK LUMBARA LUMBAR LSPINE LSSPINE
    LUMEN LUNG MANDIBLE MASTOID MAXILLA MEDIASTINUM MESENTRICA MESENTRICV MCA MIDHEPATICV MORISONSPOUCH MOUTH
    NASOPHARYNX NECK NECKCHESTABDPELV NECKCHESTABDOMEN NECKCHEST NOSE OCCPITALA OCCIPTALV OPHTHALMICA OPTICCANAL ORBIT
    OVARY PANCREAS PANCREATICDUCT PANCBILEDUCT PARASTERNAL PARATHYROID PAROTID PATELLA PELVIS PELVISLOWEXTREMT PENILEA
    PENIS PERINEUM PERONEALA PHANTOM PHARYNX PHARYNXLARYNX PLACENTA POPLITEALA POPLITEALFOSSA POPLITEALV PORTALV PCA
    POSCOMMA POSTIBIALA PROFFEMA PROFFEMV PROSTATE PULMONARYA PULMONARYV RADIALA RADIUS RADIUSULNA CULDESAC RECTUM
    RENALA RENALV RETROPERITONEUM RIB RATRIUM RFEMORALA RHEPATICV RHYPOCHONDRIAC RINGUINAL RLQ RLUMBAR RPORTALV
    RPULMONARYA RUQ RVENTRICLE SIJOINT SSPINE SFJ SAPHENOUSV SCALP SCAPULA SCLERA SCROTUM SELLA SEMVESICLE SESAMOID
    SHOULDER SIGMOID SKULL SMALLINTESTINE SPINALCORD SPINE SPLEEN SPLENICA SPLENICV SCJOINT STERNUM STOMACH
    SUBCLAVIANA SUBCLAVIANV SUBCOSTAL SUBMANDIBULAR SFA SFV LSUPPULMONARYV SMA RSUPPULMONARYV SUPTHYROIDA SVC
    SUPRACLAVICULAR SUPRAPUBIC TMJ TESTIS THALAMUS THIGH 3RDVENTRICLE THORACICAORTA TSPINE TLSPINE THORAX THUMB THYMUS
    THYROID TIBIA TIBIAFIBULA TOE TONGUE TRACHEA TRACHEABRONCHUS TRANSVERSECOLON TRUNK ULNA ULNARA UMBILICALA UMBILICAL
    UMBILICALV UPPERARM UPPERLIMB UPPERTRUNK UPRURINARYTRACT URETER URETHRA UTERUS VAGINA VEIN VERTEBRALA VULVA WRIST
    ZYGOMA
    """
)
"""Defined terms of Body Part Examined (PS3.16 Annex L)."""

VIEW_POSITIONS = _terms("AP PA LL RL RLD LLD RLO LLO")
"""Defined terms of View Position (PS3.3 C.8.1.1, C.8.11.5)."""

VIEW_WORDS = VIEW_POSITIONS | _terms(
    """
    FRONTAL LAT LATERAL LEFT RIGHT OBLIQUE AXIAL LORDOTIC APICAL DECUBITUS SUPINE PRONE ERECT UPRIGHT STANDING SITTING
    LYING SEMIERECT PORTABLE BEDSIDE MOBILE VIEW CXR XR CR DX RIBS ROUTINE INSPIRATION EXPIRATION
    ANTEROPOSTERIOR POSTEROANTERIOR ANTERO POSTERO ANTERIOR POSTERIOR UNKNOWN OTHER
    """
)
"""Words of projections and positions that many files have in View Position and Body Part Examined."""

PATIENT_DIRECTIONS = frozenset(
    "".join(letters)
    for axes in (c for n in range(4) for c in permutations(("AP", "RL", "HF"), n))
    for letters in product(*axes)
)
"""Values of Patient Orientation: up to three letters, one an axis, or none (PS3.3 C.7.6.1.1.1)."""

IMAGE_TYPES = frozenset(
    {
        "",
        *("SINGLE PLANE", "BIPLANE A", "BIPLANE B"),  # XA and RF, C.8.7.1.1.1
        *("AXIAL", "LOCALIZER"),  # CT, C.8.2.1.1.1
        *("POST_CONTRAST", "SUBTRACTION", "TOMO_PROJ", "TOMO_2D"),  # mammography, C.8.11.7.1.4
        "POST_PROCESSED",  # no defined term of CR or DX, where value 3 is the implementation's, but common there
    }
)
"""Values that Image Type may have from value 3 on (PS3.3 C.7.6.1.1.2)."""

TERMS: dict[str, frozenset[str]] = {
    "SpecificCharacterSet": frozenset(python_encoding),  # C.12.1.1.2, as far as pydicom knows them
    # C.7.3.1.1.1; DR is not in the standard but occurs.
    "Modality": _terms(
        "AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT"
        " IVUS KER KO LEN LP LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP"
        " RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP"
        " TG US VA XA XAPROTOCOL XC DR SC"
    ),
    "PresentationIntentType": frozenset({"FOR PRESENTATION", "FOR PROCESSING"}),  # C.8.11.1
    "BodyPartExamined": BODY_PARTS,  # C.7.3.1, see also allowed()
    "ViewPosition": VIEW_POSITIONS,  # see also allowed()
    "PatientOrientation": PATIENT_DIRECTIONS,
    "ImageLaterality": _terms("R L U B"),  # C.8.11.2
    "Laterality": _terms("R L"),  # C.7.3.1
    "AnodeTargetMaterial": _terms("TUNGSTEN MOLYBDENUM RHODIUM SILVER"),  # C.8.7.8
    "FilterMaterial": _terms(  # C.8.7.10
        "MOLYBDENUM ALUMINUM COPPER RHODIUM NIOBIUM EUROPIUM LEAD SILVER TIN TANTALUM GOLD IRON ZINC NONE"
    ),
    "CollimatorShape": _terms("RECTANGULAR CIRCULAR POLYGONAL FREEFORM"),  # C.8.7.3
    "ShutterShape": _terms("RECTANGULAR CIRCULAR POLYGONAL"),  # C.7.6.11
    "DetectorActiveShape": _terms("RECTANGLE ROUND HEXAGONAL"),  # C.8.11.4
    "FieldOfViewShape": _terms("RECTANGLE ROUND HEXAGONAL"),  # C.8.11.4
    "DetectorConditionsNominalFlag": _YES_NO,
    "DetectorConfiguration": _terms("AREA SLOT"),  # C.8.11.4
    "DetectorType": _terms("DIRECT SCINTILLATOR STORAGE FILM"),  # C.8.11.4
    "FieldOfViewHorizontalFlip": _YES_NO,
    # C.8.7.11; IN is the X-Ray Acquisition module's, C.8.7.2.
    "Grid": _terms("FIXED FOCUSED RECIPROCATING PARALLEL CROSSED NONE IN"),
    "LossyImageCompression": _terms("00 01"),  # C.7.6.1.1.5
    "LossyImageCompressionMethod": _terms(  # C.7.6.1.1.5.1
        "ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15 ISO_18181_1 ISO_13818_2 ISO_14496_10 ISO_23008_2"
    ),
    "PhotometricInterpretation": _terms("MONOCHROME1 MONOCHROME2"),  # C.7.6.3.1.2, as far as edits have them
    "PixelIntensityRelationship": _terms("LIN LOG DISP"),  # C.8.11.3.1.2, C.8.7.1.1.2
    "PixelSpacingCalibrationType": _terms("GEOMETRY FIDUCIAL"),  # 10.7.1.2
    "PositionerType": _terms("CARM COLUMN MAMMOGRAPHIC PANORAMIC CEPHALOSTAT RIGID NONE"),  # C.8.7.5, C.8.11.5
    "PresentationLUTShape": _terms("IDENTITY INVERSE"),  # C.11.6
    "QualityControlImage": _terms("YES NO BOTH"),  # C.7.6.1
    "BurnedInAnnotation": _YES_NO,  # C.7.6.1
    "RadiationSetting": _terms("SC GR"),  # C.8.7.2
    "VOILUTFunction": _terms("LINEAR LINEAR_EXACT SIGMOID"),  # C.11.2.1.3
    "RescaleType": _terms("OD HU US MGML Z_EFF ED EDW HU_MOD PCT"),  # C.11.1.1.2
    "ModalityLUTType": _terms("OD HU US MGML Z_EFF ED EDW HU_MOD PCT"),
}
"""Values that may stay, by attribute."""

MAKERS = _terms(
    """
    agfa gevaert ge general electric siemens healthineers shs philips fuji fujifilm photo film canon toshiba carestream
    kodak eastman konica minolta konicaminolta samsung samsungelectronics shimadzu hologic lodox swissray drtech rayence
    vieworks iray mindray united imaging uih sedecal varian varex oldelft delft delftdi idc hitachi analogic trixell
    thales ziehm stephanix primax apelem dms merate gmm villa italray examion digiray lumisys vidar
    neusoft wandong landwind perlong angell careray listem drgem jpi orex icrco alphatech roentmod fast
    """
)
"""Words of the names of makers of X-ray equipment, in lower case."""

_COMPANY_WORDS = _terms(
    """
    ag bv ca co company companies corp corporation da de del division du electronics europe global gmbh group health
    healthcare inc industries international japan kg k llc limited ltd ltda manufacturing medical mec medtech digital
    direct dynamics nv of oy photographic plc sa sas solutions spa srl system systems sistemi medicali technologies
    technology tech usa xray x ray and
    """
)


def term(keyword: str, value: str) -> str | None:
    """Return a value of an attribute of :data:`TERMS` in capitals where it is a term that may stay, else None.

    The empty value may stay. Body Part Examined and View Position may also be put together from several terms
    ("CHEST_PA", "AP SUPINE").
    """
    value = value.upper()
    if not value or value in TERMS[keyword]:
        return value
    if keyword in ("BodyPartExamined", "ViewPosition"):
        words = [word for word in re.split(r"[ _./-]+", value) if word]
        if words and all(word in BODY_PARTS or word in VIEW_WORDS for word in words):
            return value
    return None


def is_maker(text: str) -> bool:
    """Tell whether a value of Manufacturer names a known maker and nothing else."""
    words = re.findall(r"[^\W_]+", text.lower())
    return any(word in MAKERS for word in words) and all(word in MAKERS or word in _COMPANY_WORDS for word in words)


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
    CenterOfCircularCollimator RadiusOfCircularCollimator VerticesOfThePolygonalCollimator
    ShutterLeftVerticalEdge ShutterRightVerticalEdge ShutterUpperHorizontalEdge ShutterLowerHorizontalEdge
    CenterOfCircularShutter RadiusOfCircularShutter VerticesOfThePolygonalShutter ShutterPresentationValue
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
"""Entries from which a look-up table of its descriptor's length cannot be text."""


def copy_retained(source: Dataset, target: Dataset, *, device: bool) -> None:
    """Add to ``target`` what may stay of ``source``; ``device``: Manufacturer too, where it is a known maker.

    ``source`` is not changed. Raises OutputError for a look-up table that is used and may be text.
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

    Entries beyond the descriptor's number, which no viewer applies, are left out. Raises OutputError where the table is
    used, but is neither monotonic nor of its descriptor's length: its bytes may be text, and without it
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
            " choose --deidentify none"
        )
    new = Dataset()
    new.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries % 65536, first, bits])
    new.add(element)
    if keyword == "ModalityLUTSequence" and "ModalityLUTType" in item:
        _copy_terms(item, new, "ModalityLUTType")
    return new
