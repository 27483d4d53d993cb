"""Defined terms and enumerated values of attributes with code strings, by the tables of PS3.3 and PS3.16.

De-identification keeps a code string only where it is one of these, since any word fits the VR: a name in capitals is
a valid CS.
"""

from __future__ import annotations

import re
from itertools import permutations, product

from pydicom.charset import python_encoding

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
"""Words of projections and positions that stand in View Position and Body Part Examined of many files."""

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
    # C.7.3.1.1.1; DR is not in the standard but is met.
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
