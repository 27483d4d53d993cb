"""Which headers are refused, and for which doubt: a table of words, attributes and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from roentmod_fast.errors import RefusedError, SettingError
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.suitability import reasons_to_refuse
from roentmod_fast.radiograph.doubts import DOUBTS, forced_doubts
from tests.radiograph.conftest import make_dataset, to_bytes


def cases(listed: str) -> list[str]:
    """Return texts that stand between bars and on several lines."""
    return [text.strip() for line in listed.splitlines() for text in line.split("|")]


PIXELS = np.arange(72 * 64).reshape(72, 64) % 4096


def code(meaning: str, value: str = "1", scheme: str = "99LOCAL") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def header(**attributes: Any) -> Dataset:
    """Return a header of a chest without View Position, unless the attributes say otherwise."""
    with disable_value_validation():
        return make_dataset(PIXELS, **{"ViewPosition": None, **attributes})


def doubts_of(**attributes: Any) -> tuple[str, ...]:
    doubts, _ = reasons_to_refuse(header(**attributes))
    assert all(doubt.name in DOUBTS for doubt in doubts)
    return tuple(dict.fromkeys(doubt.name for doubt in doubts))


def notes_of(**attributes: Any) -> str:
    return "; ".join(reasons_to_refuse(header(**attributes))[1])


LATERAL = cases(
    """CHEST LAT|CHEST_LAT|LLAT|RLAT|CHEST LATERAL|ChestLat|chestLAT|CHESTLAT|CHESTLATERAL|ThoraxLat|CXR-LAT|L LAT
    Lat.|LAT CHEST|LATERAL VIEW|LL|RL|LTLAT|R.LAT|Chest 1v Lat|LAT_1|2_CHEST_LAT|W033 CHEST LATERAL|CHEST LATRAL
    X-TABLE LAT|Thorax seitlich|Thorax seitl.|THORAX SEITLICHE|Lungen seitl|Brustkorb lateral|THORAXSEITLICH
    Thoraxaufnahme seitlich|Thorax profil|RADIO THORAX PROFIL|poumons de profil|THORAX DE PROFIL GAUCHE
    thorax, profil|Tórax lateral|TORAX PERFIL|Tórax perfil izq|tórax em perfil|Torax_Perfil|TORAX LAT IZQ
    Torace LL|Torace L.L.|torace latero-laterale|TORACE LATEROLATERALE|torace laterale|Torace profilo
    Thorax lateraal|Thorax dwars|X-thorax zijdelings|klatka piersiowa boczne|KLP boczna
    klatka piersiowa - bok, boczny|胸部側面|胸部侧位|грудная клетка боковая|latero-medial|Latéral|LEFT LAT CHEST|lat thx
    CHEST LT LAT|Chest lat.(L)|TORAX LATERAL IZQUIERDO|PROFIL GAUCHE|profil G|incidence de profil
    Thorax lat. li.|Thorax li-seitl|Thorax rl|LAT LT|LATERAL CHEST UPRIGHT|CHEST_LL|Projekcja boczna
    zdjęcie boczne|LL sin|proiezione laterale|L-Lat|Chest.Lat|CHEST-2-LAT|CHESTLL|Chest^Lat|CHEST^LATERAL
    Thorax^Thorax_lat|CHEST/LAT|CXR LATERAL|CXRLAT|Chest_Lateral_Left|LatChest|latChest|LATCHEST|XRCHESTLAT
    1V_CHEST_LAT|Thorax_seitl_stehend|Rx Tórax Lateral|Rx torace latero-lat|tórax perfil esquerdo
    Thorax laterale opname|THORAX LATERAL LINKS|Thorax lateral links anliegend|Lungenaufnahme seitlich|LUNGE LAT
    PULMONES LATERAL|klp. bok|CHEST L LATERAL|Lateral^Chest|LTERAL|Lat CXR|CHEST SIDE VIEW|seitliche Aufnahme
    seitlicher Thorax|laterale Thoraxaufnahme|de perfil|vue latérale|vista lateral|in proiezione L-L|L/L
    LATERO LATERALE|profilo sinistro"""
)

OBLIQUE = cases(
    """CHEST OBL|CHEST OBLIQUE|AP OBLIQUE|RAO|LAO|Thorax schräg|THORAX SCHRAEG|thorax oblique|TORAX OBLICUA
    tórax oblíquo|Torace obliqua|thorax schuin|klatka skośne|CHEST LAT DECUB|LEFT LATERAL DECUBITUS|CHEST DECUB
    CHEST AP LAT DECUB|LLD|RLD|decúbito lateral|DECUBITO LAT DER|Seitenlage|thorax en décubitus latéral
    CHEST LORDOTIC|AP LORDOTIC|CHEST APICAL LORDOTIC|thorax en lordose|dorsal decubitus|RibsObl|CHESTOBL"""
)

FRONTAL_OR_MUTE = cases(
    """CHEST|CHEST PA|CHEST_AP|ChestPA|CHESTPA|Thorax p.a.|THORAX A.P.|Thorax pa stehend|AP PORTABLE|portable
    CHEST PA AND LAT|CHEST PA/LAT|CHEST PA & LATERAL|Chest PA + Lat|Chest PALAT|CHEST 2 VIEWS|Thorax in 2 Ebenen
    CHEST FRONTAL|Thorax de face|thorax face et profil|Thorax face debout|Tórax PA y lateral|TORAX FRENTE
    tórax PA e perfil|RX TORACE 2P|Torace AP e LL|Torace in ortostatismo|torace a letto|Torax decúbito supino
    Thorax décubitus dorsal|TORACE IN DECUBITO|thorax voor|Klatka piersiowa PA|klatka piersiowa przednio-tylne
    X-thorax|Thorax bedside|Thorax Bettaufnahme|THORAX LIT|Tórax de pie|bilateral ribs|BI-LATERAL LUNGS
    unilateral|CHEST LATERALITY|LEFT LUNG|Rib left|RIBS|laterality R|plate|latest|PROFILING|CATHETER
    ZVK Kontrolle|PICC LINE PLACEMENT|CHEST - POST CAT SCAN|CAT SCAN CORRELATION|CAT A|C-arm chest|MOBILE CHEST
    VETERANS HOSPITAL CHEST|Horseman|dogma|Pigtail catheter|CHEST HANDHELD|Chest, foot of bed|head up 30
    tube check|RR|XR CHEST PORT 1 VIEW|CXR|THX|胸部正面|грудная клетка прямая|Poumons|Lunge|Pulmones|pulmão|polmoni
    płuca|LONGEN|Lungs both|XR Chest PA Lat|XR CHEST 2 VIEWS PA AND LATERAL|Chest AP & Lat|CHEST(PA,LAT)
    Thorax pa + seitl.|Rö-Thorax in 2 Ebenen|Thorax 2 incidences|Tórax 2 proyecciones|RX TORACE IN 2 PROIEZIONI
    RTG klatki piersiowej|X-Thorax 2 richtingen|CHEST ROUTINE|DX CHEST PORTABLE|ICU CHEST|Röntgen Thorax
    Thorax digital|HEART AND LUNGS|CARDIAC SERIES|PRE-OP|Annual checkup|Pneumonia?|Emergency|TRAUMA CHEST/PELVIS
    RIBS UNILATERAL W/ CHEST|CHEST+ABDOMEN|BABYGRAM CHEST ABDOMEN|RX DE TORAX PA Y LATERAL|Tórax
    THORAX AP LIEGEND|Thorax im Liegen|Thorax im Stehen|LUNGS|Chest XR 1 view|Portable CXR|Cath lab|Category 3
    Chest CT comparison|Medicat"""
)

OTHER_PARTS = cases(
    """PANORAMIC - TEETH|KNEE AP LEFT|ABDOMEN SUPINE|Knee_AP|KneeAP|KNEEAP|HAND PA|LHand|FOOT AP|SKULL|Skull_AP
    PELVIS AP|C-SPINE|C SPINE AP|CSPINE|T-SPINE AP|THORACIC SPINE AP|LSPINE|LUMBAR SPINE|shoulder ap|MAMMOGRAPHY
    MAMMO|BREAST|KUB|OPG|HIP|DENTAL|BITEWING|Orthopantomogram|SINUSES|NECK|ANKLE AP|ELBOW|WRIST PA|FEMUR|STERNUM
    CLAVICLE|UP_EXM|LOW_EXM|Zähne|ZAEHNE|Knie a.p.|Bauch|Hand dp|Fuß|FUSS|HWS|BWS a.p.|Brustwirbelsäule
    Beckenübersicht|Schädel|Schulter|Unterkiefer|Dents|panoramique dentaire|genou face|ASP|main droite|pied
    rachis dorsal|rachis thoracique|bassin|crâne|épaule|mammographie|dientes|rodilla|ABDOMEN|mano|pie derecho
    columna dorsal|pelvis|cráneo|hombro|mamografía|dentes|joelho|mão|coluna torácica|quadril|denti|ginocchio
    addome|piede|colonna dorsale|bacino|cranio|spalla|mammografia|tanden|knie|buik|voet|wervelkolom|bekken
    schedel|schouder|zęby|kolano|brzuch|dłoń|stopa|kręgosłup piersiowy|miednica|czaszka|bark|膝|腹部
    коленный сустав|KNEE|Knee Left|LKNEE|Both knees|KNEES STANDING|TIB/FIB|TIB FIB|Hip unilateral|ABD|ABD 1 VIEW
    Abdomen AP|ABDOMENAP|TSpine AP|Spine thoracic|THORACIC_SPINE|THORACOLUMBAR|thoracolumbar spine|Whole spine
    SCOLIOSIS|Skull PA|Nasal bones|Facial bones|Mandible|Panorex|Pano|PANORAMIC|DentalPano|Intraoral|TEETH
    Zahnstatus|OPTG|Full mouth|Hand Bone Age|BONE AGE|HANDS|Left hand|Wrist|Scaphoid|Elbow|Humerus|Shoulder
    AC JOINTS|Scapula|Clavicle|Foot|Feet|Ankle|Toe|Heel|Calcaneus|Femur|Pelvis|SI JOINTS|Sacrum|Coccyx
    Neck soft tissue|Sinuses|Orbits|Mammo|MAMMOGRAM|R MLO|Breast tomosynthesis|Kidney ureter bladder|IVP
    Barium swallow|Upper GI|Colon|Extremity|Finger|Thumb|Leg|Lower leg|Forearm|arm|Skelett|Ganzbein|Unterarm
    Oberarm|Ellenbogen|OSG|Sprunggelenk|Becken|LWS ap|Schulter li|Handgelenk|Knie bds.|Fuss re|Vorfuß|Hüfte
    Hüftgelenk|NNH|Mamma|Genou|Genoux|Cheville|Poignet|Coude|Hanche|Bassin|Rachis lombaire|Pied|Avant-pied|Doigt
    Panoramique|Abdomen sans préparation|Rodilla|Tobillo|Muñeca|Codo|Cadera|Columna lumbar|Columna cervical|Pie
    Ortopantomografía|Abdomen simple|Joelho|Tornozelo|Punho|Cotovelo|Bacia|Coluna lombar|Pé direito|Panorâmica
    Ginocchio|Caviglia|Polso|Gomito|Anca|Bacino|Rachide lombare|Colonna cervicale|Piede|Ortopantomografia
    Mammografia|Addome|Knie|Enkel|Pols|Elleboog|Heup|Bekken|Lumbale wervelkolom|Voet|Schouder|Gebit|Kolano
    Staw kolanowy|Staw skokowy|Nadgarstek|Łokieć|Biodro|Miednica|Kręgosłup lędźwiowy|Stopa|Pantomogram
    Jama brzuszna|Czaszka|Zatoki|Zęby"""
)

ANIMALS = cases(
    """CANINE LATERAL THORAX 0-15cm|CANINE_THORAX|CanineThorax|Feline thorax|EQUINE|dog thorax|DOG|cat thorax|CAT
    Hund Thorax|Katze|chien thorax|chat|perro|gato torax|cachorro|cane torace|gatto|hond|kat thorax|kot
    vet thorax|veterinary|rabbit|Ferret chest|HORSE|Pferd|cheval|K9 DOG|Guinea pig|CANINE|Canine Thorax VD|K9
    K-9|Dog chest|Doggy|FELINE THORAX|Cat|CAT THORAX|CATS|Small animal|Veterinary Thorax|VET CHEST|DSH
    Equine thorax|Hund|Hunde-Thorax|Katze Thorax|Thorax Katze|Kaninchen|Chien|Perro|Gato|Cão|Cachorro|Gatto|Cane
    Hond|Kat|Kot|Rabbit|Rat|Mouse|Beagle|Canis familiaris|Felis catus|Small Dog Thorax|FelineThorax
    Thorax_Canine|CANINETHORAX|ThoraxDog|Bird|Avian|Exotics|Puppy|Kitten"""
)

ACQUIRED = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProtocolCodeSequence",
)
STUDY = ("StudyDescription", "RequestedProcedureDescription", "ProcedureCodeSequence", "RequestedProcedureCodeSequence")


def said(keyword: str, text: str) -> dict[str, Any]:
    return {keyword: code(text) if keyword.endswith("Sequence") else text}


def request(text: str) -> dict[str, Any]:
    item = Dataset()
    item.ScheduledProcedureStepDescription = text
    return {"RequestAttributesSequence": [item]}


@pytest.mark.parametrize("text", [*LATERAL, *OBLIQUE])
def test_other_views_are_refused_in_any_attribute(text: str) -> None:
    for keyword in ACQUIRED:
        assert doubts_of(**said(keyword, text)) == ("view",), keyword
        # An explicit View Position cannot be right beside it.
        assert doubts_of(ViewPosition="PA", **said(keyword, text)) == ("view",), keyword


@pytest.mark.parametrize(
    "text", ["CHEST LATERAL", "CHEST_LAT", "Thorax seitlich", "LAT", "Thorax profil", "CHEST OBLIQUE"]
)
def test_a_study_of_one_other_view_is_refused_unless_the_image_says_frontal(text: str) -> None:
    for keyword in STUDY:
        assert doubts_of(**said(keyword, text)) == ("view",), keyword
    assert doubts_of(**request(text)) == ("view",)
    assert doubts_of(StudyDescription=text, ViewPosition="PA") == ()
    assert doubts_of(StudyDescription=text, SeriesDescription="CHEST PA") == ()
    assert "outranked by View Position" in notes_of(StudyDescription=text, ViewPosition="PA")


@pytest.mark.parametrize(
    "text",
    ["CHEST 2 VIEWS WITH LATERAL", "CHEST PA, LAT AND OBLIQUES", "Thorax 2 Ebenen + seitlich", "CHEST & LATERAL"],
)
def test_a_study_of_several_views_is_mute(text: str) -> None:
    assert doubts_of(StudyDescription=text) == ()


@pytest.mark.parametrize("text", FRONTAL_OR_MUTE)
def test_ordinary_words_pass(text: str) -> None:
    for keyword in (*ACQUIRED, *STUDY):
        assert doubts_of(**said(keyword, text)) == (), keyword
        assert doubts_of(BodyPartExamined=None, **said(keyword, text)) == (), keyword


@pytest.mark.parametrize("text", OTHER_PARTS)
def test_other_body_parts_are_refused_in_any_attribute(text: str) -> None:
    for keyword in (*ACQUIRED, *STUDY):
        assert doubts_of(BodyPartExamined=None, **said(keyword, text)) == ("body-part",), keyword
    assert doubts_of(BodyPartExamined=text, ViewPosition="AP") == ("body-part",)
    # Body Part Examined outranks the study, and contradicts the series.
    assert doubts_of(StudyDescription=text) == ()
    assert "outranked by Body Part Examined" in notes_of(StudyDescription=text)
    assert doubts_of(SeriesDescription=text) == ("body-part",)


@pytest.mark.parametrize("text", ANIMALS)
def test_animals_are_refused_in_any_attribute(text: str) -> None:
    for keyword in (*ACQUIRED, *STUDY):
        assert "species" in doubts_of(**said(keyword, text)), keyword
    named = notes_of(SeriesDescription=text, PatientSpeciesDescription="Human")
    assert "names an animal" in named and "species" not in doubts_of(
        SeriesDescription=text, PatientSpeciesDescription="Human"
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientSpeciesDescription": "Canis lupus familiaris"},
        {"PatientSpeciesDescription": "Zebra"},
        {"PatientSpeciesDescription": "non-human primate"},
        {"PatientSpeciesCodeSequence": code("Felis catus", "448169003", "SCT")},
        {"PatientSpeciesCodeSequence": code("", "448169003", "SCT")},
        {"PatientBreedDescription": "Mixed"},
        {"PatientBreedCodeSequence": code("Beagle", "1", "SCT")},
        {"PatientSexNeutered": "ALTERED"},
        {"ResponsiblePersonRole": "OWNER"},
        {"ResponsiblePersonRole": "VETERINARIAN"},
        {"InstitutionName": "Tierklinik am Park"},
        {"InstitutionName": "Clinica Veterinaria"},
        {"InstitutionName": "Animal hospital"},
        {"BodyPartExamined": "CANINE THORAX"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "CANINE"]},
    ],
)
def test_attributes_of_animals(attributes: dict[str, Any]) -> None:
    assert "species" in doubts_of(**attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientSpeciesDescription": "Human adult"},
        {"PatientSpeciesDescription": "HOMO SAPIENS"},
        {"PatientSpeciesDescription": "Mensch"},
        {"PatientSpeciesDescription": "Unknown"},
        {"PatientSpeciesDescription": "N/A"},
        *(
            {"PatientSpeciesDescription": text}
            for text in cases(
                """Human adult|HUMAN|human|Homo Sapiens|H|Humans|HUMAN PEDIATRIC|human being
                Mensch|unknown|Human, NOS|Homo_sapiens|Patient|PERSON|HUMANO
                homo sapiens (organism)|Adult human|NOT SPECIFIED"""
            )
        ),
        {"PatientSpeciesCodeSequence": code("homo sapiens", "337915000", "SCT")},
        {"PatientSpeciesCodeSequence": code("homo sapiens", "L-85B00", "SRT")},
        {"PatientSpeciesCodeSequence": code("Human", "1", "99LOCAL")},
        {"PatientSpeciesCodeSequence": code("Unknown", "0", "99LOCAL")},
        {"PatientBreedDescription": "N/A"},
        {"PatientBreedDescription": "Human"},
        {"PatientBreedDescription": ""},
        {"ResponsiblePersonRole": "PARENT", "ResponsiblePerson": "Hund^Katze"},
        {"PatientName": "Dog^Lateral Knee"},
        {"PatientComments": "DOG", "ImageComments": "lateral knee of a dog"},
        {"InstitutionName": "Veterans Affairs Medical Center"},
        {"ReferringPhysicianName": "Hand^Kat", "OperatorsName": "Lat^Cat", "PhysiciansOfRecord": "Knie^Vogel"},
    ],
)
def test_human_and_mute_attributes_pass_and_names_are_no_evidence(attributes: dict[str, Any]) -> None:
    assert doubts_of(**attributes) == ()


@pytest.mark.parametrize(
    "view",
    cases(
        """AP|PA|AP SITTING|AP PORTABLE|AP_SUPINE|PA_ERECT|PA ERECT|SUPINE|ERECT|UPRIGHT|STANDING|ap|p.a.|AP AXIAL
        FRONTAL|A P|AP/PORT|PORTABLE|BEDSIDE|SITTING|SEMI-ERECT|AP_SEMIERECT|PRONE|POSTEROANTERIOR
        ANTERO-POSTERIOR|PA STEHEND|LIEGEND|UNKNOWN|OTHER|N/A|NONE||XXX|PA LAT|CHEST PA|TORAX PA|FACE
        AP INSPIRATION|AP-SITTING|AP SIT|AP UPRIGHT|AP_PORT|PA UPRIGHT|AP BED|AP WHEELCHAIR|PA CHEST|AP MOBILE
        AP SEMI|AP LYING|AP ERECT SITTING|PA STANDING|ANT-POST|AP STRETCHER|AP TROLLEY|AP GRID|SEMI ERECT
        SUPINE PORTABLE|DECUBITO SUPINO|ANTERIOR|PA VIEW|AP_VIEW|PA-ERECT|AP,SUPINE|ERECT PA|Sitting AP|APSUPINE
        PA/AP|AP OR PA|PAERECT|AP1|PA 1|AP (PORTABLE)|UPRIGHT PA|AP_PORTABLE|SUPINE AP|ERECT_PA|PA_SITTING
        UNSPECIFIED|SEATED ERECT|STANDING ERECT|FRONTAL ERECT|POSTERO_ANTERIOR|POSTERIOR ANTERIOR
        ANTERIOR/POSTERIOR|BED SIDE|MOBILE AP|HALF SITTING|SEMI-SUPINE|SEMI RECUMBENT|WALL STAND"""
    ),
)
def test_view_positions_that_pass(view: str) -> None:
    assert doubts_of(ViewPosition=view) == ()


@pytest.mark.parametrize(
    "view",
    cases(
        """LL|RL|LLD|RLD|LLO|RLO|LAT|LATERAL|L_LAT|LEFT LATERAL|RAO|LAO|OBL|AP OBLIQUE|PA_OBL|AP LORDOTIC|LORDOTIC
    DECUBITUS|AP DECUB|AP LAT DECUB|TANGENTIAL|CC|MLO|WATERS|SEITLICH|PROFIL|PERFIL|SOMEONE"""
    ),
)
def test_view_positions_that_do_not(view: str) -> None:
    assert "view" in doubts_of(ViewPosition=view)


@pytest.mark.parametrize(
    "part",
    cases(
        """CHEST|Thorax|TORAX|LUNG|HEART|RIB|RIBS|MEDIASTINUM|CHESTABDOMEN|CHEST_ABDOMEN|NECKCHEST|CHESTABDPELVIS
        CXR|CHST|BRUST|POITRINE|PECHO|TORACE|Klatka piersiowa|CHEST PA|PORTABLECHEST|THORACIC|Грудная клетка|胸部
        UNKNOWN|OTHER|N/A|NA|NONE|NULL|UNSPECIFIED|-|NOT SPECIFIED|OTHERS|MISC|DEFAULT|ANONYMIZED|UNBEKANNT
        DESCONOCIDO|INCONNU|Unknown|unk|n.a.|NOT APPLICABLE|UNDEFINED|?|--|...|0|NOT_SPECIFIED|NO BODY PART
        NOPART|XX|ANY|TBD|EMPTY|NOT DEFINED|NOT KNOWN|(none)|<unknown>|MISCELLANEOUS"""
    ),
)
def test_body_parts_that_pass(part: str) -> None:
    assert doubts_of(BodyPartExamined=part, ViewPosition="PA") == ()


@pytest.mark.parametrize(
    "part",
    cases(
        """ABDOMEN|ABDOMENPELVIS|ANKLE|ARM|AXILLA|BACK|BLADDER|BRAIN|BREAST|BUTTOCK|CALCANEUS|CALF|CAROTID|CSPINE
    CTSPINE|TSPINE|TLSPINE|LSPINE|LSSPINE|SSPINE|SPINE|CHEEK|CLAVICLE|COCCYX|COLON|EAR|ELBOW|WHOLEBODY
    WHOLE BODY|EXTREMITY|EYE|FACE|FEMUR|FINGER|FOOT|GALLBLADDER|HAND|HEAD|HEADNECK|HIP|HUMERUS|ILIUM|JAW|KIDNEY
    KNEE|LARYNX|LIVER|LEG|MAXILLA|MOUTH|NECK|NOSE|ORBIT|PANCREAS|PATELLA|PELVIS|PROSTATE|RECTUM|SCALP|SHOULDER
    SKULL|SPLEEN|STERNUM|STOMACH|THIGH|THUMB|TMJ|TOE|TONGUE|URETER|UTERUS|WRIST|ZYGOMA|SOMETHING|UP_EXM"""
    ),
)
def test_defined_terms_of_other_body_parts(part: str) -> None:
    assert doubts_of(BodyPartExamined=part, ViewPosition="AP") == ("body-part",)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"AnatomicRegionSequence": code("Chest", "51185008", "SCT")}, ()),
        ({"AnatomicRegionSequence": code("", "T-D3000", "SRT")}, ()),
        ({"AnatomicRegionSequence": code("Chest", "816094009", "SCT")}, ()),
        ({"AnatomicRegionSequence": code("", "39607008", "SCT")}, ()),
        ({"AnatomicRegionSequence": code("Thorax", "77", "99LOCAL")}, ()),
        ({"AnatomicRegionSequence": code("Standard", "77", "99LOCAL")}, ()),
        ({"AnatomicRegionSequence": code("", "72696002", "SCT")}, ("body-part",)),
        ({"AnatomicRegionSequence": code("", "T-D8700", "SRT")}, ("body-part",)),
        ({"AnatomicRegionSequence": code("Knie", "77", "99LOCAL")}, ("body-part",)),
        ({"AnatomicRegionSequence": code("", "122495006", "SCT")}, ("body-part",)),
        ({"BodyPartExamined": "CHEST", "AnatomicRegionSequence": code("Skull", "89546000", "SCT")}, ("body-part",)),
        ({"ViewCodeSequence": code("", "399348003", "SCT")}, ()),
        ({"ViewCodeSequence": code("", "272479007", "SCT")}, ()),
        ({"ViewCodeSequence": code("", "399198007", "SCT")}, ("view",)),
        ({"ViewCodeSequence": code("", "R-10236", "SRT")}, ("view",)),
        ({"ViewCodeSequence": code("", "399368009", "SCT")}, ("view",)),
        ({"ViewCodeSequence": code("seitlich", "3", "99LOCAL")}, ("view",)),
        ({"ViewPosition": "PA", "ViewCodeSequence": code("", "399067008", "SCT")}, ("view",)),
        ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, ("view",)),
        ({"PatientOrientation": ["P", "F"]}, ("view",)),
        ({"Modality": "OT", "SOPClassUID": uid.CTImageStorage}, ("modality",)),
        ({"Modality": None, "SOPClassUID": uid.MRImageStorage}, ("modality",)),
        ({"Modality": "DX", "SOPClassUID": uid.DigitalIntraOralXRayImageStorageForPresentation}, ("body-part",)),
        ({"Modality": "MG"}, ("modality",)),
    ],
)
def test_codes_and_classes(attributes: dict[str, Any], expected: tuple[str, ...]) -> None:
    part = {} if "BodyPartExamined" in attributes else {"BodyPartExamined": None}
    assert doubts_of(**part, **attributes) == expected


def test_a_dog_as_a_veterinary_system_writes_it() -> None:
    words = "CANINE LATERAL THORAX 0-15cm"
    dog = {
        "BodyPartExamined": "THORAX",
        "SeriesDescription": "CHEST",
        "ProtocolName": "RT",
        "AcquisitionDeviceProcessingDescription": words,
        "PerformedProtocolCodeSequence": code(words),
    }
    assert doubts_of(**dog) == ("species", "view")
    del dog["AcquisitionDeviceProcessingDescription"]
    assert doubts_of(**dog) == ("species", "view")


def test_a_contradiction_names_both_sides() -> None:
    doubts, _ = reasons_to_refuse(header(ViewPosition="PA", SeriesDescription="KNEE LAT"))
    assert [doubt.reason for doubt in doubts] == [
        "Body Part Examined says chest, but Series Description names another body part: expected a chest",
        "View Position says frontal, but Series Description names a lateral view: expected a frontal view, AP or PA",
    ]


# --- force ------------------------------------------------------------------------------------------------------------


def refused(dataset: Dataset, **options: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read_dicom(to_bytes(dataset), "file.dcm", **options)
    return caught.value


def test_each_doubt_is_forced_by_its_own_name() -> None:
    dataset = header(ViewPosition="LL", BodyPartExamined="KNEE")
    error = refused(dataset)
    assert error.doubts == ("body-part", "view")
    assert str(error).endswith("(--force body-part,view goes on)") and "\n" not in str(error)
    error = refused(dataset, force="view")
    assert error.doubts == ("body-part",) and "view position" not in str(error)
    assert str(error).endswith("(--force body-part goes on)")
    assert refused(dataset, force=["species", "modality"]).doubts == ("body-part", "view")
    for force in (True, "all", ("view", "body-part"), {"body-part,view"}, "VIEW, body-part"):
        notes = read_dicom(to_bytes(dataset), "file.dcm", force=force).notes
        assert any(note == "forced: view position LL: expected a frontal view, AP or PA" for note in notes)


def test_names_of_doubts() -> None:
    assert forced_doubts(True) == forced_doubts("all") == frozenset(DOUBTS)
    assert forced_doubts(False) == forced_doubts(()) == forced_doubts("") == frozenset()
    with pytest.raises(SettingError, match="'lateral': expected view, body-part, species"):
        forced_doubts("lateral")
    with pytest.raises(SettingError):
        read_dicom(to_bytes(make_dataset(PIXELS, ViewPosition="LL")), "file.dcm", force=["nonsense"])


@pytest.mark.parametrize("keyword", ["ViewPosition", "BodyPartExamined", "Modality", "PatientSpeciesDescription"])
def test_free_text_is_never_repeated(keyword: str) -> None:
    for value in ("QUIXWORTH", "QUIXWORTH LL", "KNEE QUIXWORTH"):
        dataset = header(**{keyword: value, "SeriesDescription": "QUIXWORTH LATERAL KNEE OF A DOG"})
        assert "QUIXWORTH" not in str(refused(dataset)).upper()
        assert "QUIXWORTH" not in " ".join(read_dicom(to_bytes(dataset), "file.dcm", force=True).notes).upper()
