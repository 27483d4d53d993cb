"""Which radiographs should not be edited, by their header.

An engine for frontal chest radiographs makes something of anything; what comes out of a lateral view or a hand is
worthless and looks real. A header that is missing or mute is no reason to refuse: it is noted.

How evidence is weighed, for the view and for the body part alike:

1. Own attributes: View Position, View Code Sequence, Patient Orientation; Body Part Examined, Anatomic Region Sequence,
   Primary Anatomic Structure Sequence, the SOP class. UNKNOWN, OTHER, N/A and the like are mute.
2. Descriptions of the acquisition and its series (:mod:`.evidence` lists the attributes).
3. Descriptions of the order and the study, which has other images too.

An attribute of rank 1 or 2 that names something else is a doubt, also where another one of these ranks says frontal or
chest: one of them is wrong. Rank 3 is a doubt only where ranks 1 and 2 say nothing; else it is outranked, with a note.
A text that names both (CHEST PA AND LAT) says nothing of this image. At rank 3 neither does one that counts views.

A species is named by its own attributes, by breed, neutering and the role of the responsible person, by the name of a
veterinary institution, and by any description. An explicit human species outranks descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom import uid
from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import HUMAN_SPECIES, code_of
from roentmod_fast.radiograph.dicom.evidence import ACQUIRED, OWN, STUDY, Text, coded_of, texts_of
from roentmod_fast.radiograph.dicom.marks import is_synthetic
from roentmod_fast.radiograph.dicom.vocabulary import (
    ANIMAL,
    CHEST,
    FRONTAL,
    HUMAN,
    LATERAL,
    NEUTRAL,
    OBLIQUE,
    OTHER,
    kinds_of,
)
from roentmod_fast.radiograph.doubts import Doubt

RADIOGRAPHY = ("CR", "DX", "DR", "RG", "RF", "OT", "SC")
"""Values of Modality that a radiograph of the chest may come with; DR and SC are not in the standard but are met."""

_SHOWN_MODALITIES = """
    AR BDUS BI BMD CT CTPROTOCOL DMS DG DOC ECG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR NM OAM OCT
    OP OPM OPT OPTBSV OPTENF OPV OSS PLAN PR PT PX REG RESP RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT SEG SM SMR SR SRF
    STAIN TG US VA XA XC XAPROTOCOL DD DF DS EC FS FA LP MA MS OPR ST VF
    """
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1), retired ones too: only these are repeated in messages."""

_OTHER_MODALITIES: dict[str, str] = {
    uid.CTImageStorage: "CT",
    uid.EnhancedCTImageStorage: "CT",
    uid.MRImageStorage: "MR",
    uid.EnhancedMRImageStorage: "MR",
    uid.UltrasoundImageStorage: "US",
    uid.NuclearMedicineImageStorage: "NM",
    uid.PositronEmissionTomographyImageStorage: "PT",
    uid.VLPhotographicImageStorage: "XC",
    uid.VLEndoscopicImageStorage: "ES",
    uid.VLMicroscopicImageStorage: "GM",
}
"""SOP classes that are no radiographs, and their Modality, for headers without one."""

_OTHER_PARTS: dict[str, str] = {
    uid.DigitalMammographyXRayImageStorageForPresentation: "a breast",
    uid.DigitalMammographyXRayImageStorageForProcessing: "a breast",
    uid.DigitalIntraOralXRayImageStorageForPresentation: "teeth",
    uid.DigitalIntraOralXRayImageStorageForProcessing: "teeth",
}
"""SOP classes of radiographs of one body part."""

_FOR_PROCESSING = (
    uid.DigitalXRayImageStorageForProcessing,
    uid.DigitalMammographyXRayImageStorageForProcessing,
    uid.DigitalIntraOralXRayImageStorageForProcessing,
)

_HUMAN_CODES = frozenset(code.value for code in HUMAN_SPECIES)

_ANIMAL_ROLES = ("OWNER", "VETERINARIAN")
"""Of the defined terms of Responsible Person Role (PS3.3 C.7.1.1.1.2), those of animals."""

_INSTITUTIONS = ("InstitutionName", "InstitutionalDepartmentName", "ResponsibleOrganization", "ManufacturerModelName")
_VETERINARY = re.compile(r"VETERIN|WETERYN|TIER(AE?RZT|KLINIK|SPITAL|MEDIZIN)|DIEREN|ANIMALS?$")
_A_VIEW = {LATERAL: "a lateral view", OBLIQUE: "an oblique, decubitus or lordotic view"}
_EXPECTED_VIEW, _EXPECTED_PART = "expected a frontal view, AP or PA", "expected a chest"


def reasons_to_refuse(dataset: Dataset, *, oriented: bool = False) -> tuple[tuple[Doubt, ...], tuple[str, ...]]:
    """Return why a radiograph should not be edited, and notes on what its header does not say.

    ``oriented``: the user said how the image lies, so Patient Orientation says nothing. None of the reasons and notes
    repeats free text of the header.
    """
    doubts: list[Doubt] = []
    notes: list[str] = []
    texts = texts_of(dataset)
    _purpose(dataset, doubts, notes)
    _modality(dataset, doubts, notes)
    _species(dataset, texts, doubts, notes)
    _body_part(dataset, texts, doubts, notes)
    _view(dataset, texts, oriented, doubts, notes)
    return tuple(doubts), tuple(notes)


def _purpose(dataset: Dataset, doubts: list[Doubt], notes: list[str]) -> None:
    if is_synthetic(dataset):
        doubts.append(Doubt("synthetic", "already synthetic: edit the radiograph it was made from"))
    intent = header.code(dataset, "PresentationIntentType")
    if header.text(dataset, "SOPClassUID") in _FOR_PROCESSING or intent == "FOR PROCESSING":
        reason = "raw detector data (For Processing), which no viewer shows as it is: take the For Presentation one"
        doubts.append(Doubt("for-processing", reason))
    if header.code(dataset, "BurnedInAnnotation") == "YES":
        notes.append("Burned In Annotation YES: names may stand in the image itself")


def _modality(dataset: Dataset, doubts: list[Doubt], notes: list[str]) -> None:
    modality = header.code(dataset, "Modality")
    named = _OTHER_MODALITIES.get(header.text(dataset, "SOPClassUID"))
    if modality in RADIOGRAPHY and modality not in ("OT", "SC"):
        return
    if modality and modality not in RADIOGRAPHY:
        shown = modality if modality in _SHOWN_MODALITIES.split() else "unknown"
    elif named is not None:
        shown = f"{named} by its SOP class"
    else:
        if not modality:
            notes.append("no Modality in the header")
        return
    doubts.append(Doubt("modality", f"modality {shown} is no radiograph: expected one of {', '.join(RADIOGRAPHY)}"))


def _species(dataset: Dataset, texts: Sequence[Text], doubts: list[Doubt], notes: list[str]) -> None:
    human = False
    found: str | None = None
    own = [Text(OWN, "PatientSpeciesDescription", header.text(dataset, "PatientSpeciesDescription"))]
    for item in header.items(dataset, "PatientSpeciesCodeSequence"):
        code = code_of(item)
        if code is not None and code.value in _HUMAN_CODES:
            human = True
        else:
            meaning = Text(OWN, "PatientSpeciesCodeSequence", header.text(item, "CodeMeaning"))
            if not meaning.words and header.text(item, "CodeValue") and header.code(item, "CodingSchemeDesignator"):
                found = meaning.attribute
            own.append(meaning)
    for text in own:
        if HUMAN in text.kinds and not text.animal:
            human = True
        elif not text.mute:
            found = found or text.attribute
        elif text.words:
            notes.append(f"{text.attribute} names no species: taken as human")
    if found is None:
        found = _animal_attribute(dataset)
    if found is None:
        part = Text(OWN, "BodyPartExamined", header.text(dataset, "BodyPartExamined"))
        named = next((text.attribute for text in (part, *texts) if text.animal), None) or _veterinary(dataset)
        if named is not None and human:
            notes.append(f"{named} names an animal or its doctor: outranked by the species of the header")
        elif named is not None:
            found = named
    if found is not None:
        doubts.append(Doubt("species", f"an animal, by {found}: expected a human chest"))


def _animal_attribute(dataset: Dataset) -> str | None:
    """Return the name of an attribute that only an animal's header has, or None."""
    breed = Text(OWN, "PatientBreedDescription", header.text(dataset, "PatientBreedDescription"))
    if not breed.mute and HUMAN not in breed.kinds:
        return breed.attribute
    for keyword in ("PatientBreedCodeSequence", "BreedRegistrationSequence"):
        if any(len(item) for item in header.items(dataset, keyword)):
            return Text(OWN, keyword, "").attribute
    if header.code(dataset, "PatientSexNeutered") in ("ALTERED", "UNALTERED"):
        return "Patient's Sex Neutered"
    if header.code(dataset, "ResponsiblePersonRole") in _ANIMAL_ROLES:
        return "Responsible Person Role"
    return None


def _veterinary(dataset: Dataset) -> str | None:
    """Return the name of an attribute that names a veterinary institution or device, or None."""
    for keyword in _INSTITUTIONS:
        text = Text(OWN, keyword, header.text(dataset, keyword))
        if any(_VETERINARY.match(word) for word in text.words):
            return text.attribute
    return None


def _body_part(dataset: Dataset, texts: Sequence[Text], doubts: list[Doubt], notes: list[str]) -> None:
    reasons: list[str] = []
    chest: list[str] = []
    part = Text(OWN, "BodyPartExamined", " ".join(header.texts(dataset, "BodyPartExamined")))
    if not part.mute:
        if part.body_part == CHEST:
            chest.append(part.attribute)
        else:
            reasons.append(f"body part {_shown(dataset, 'BodyPartExamined', part)}: {_EXPECTED_PART}")
    for keyword in ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence"):
        items = [item for item in coded_of(dataset, keyword) if not item.text.mute or item.standard]
        named = next((item.text.attribute for item in items), "")
        if any(item.text.body_part == CHEST for item in items):
            chest.append(named)
        elif any(item.standard or item.text.body_part == OTHER for item in items):
            reasons.append(f"{named} names no chest: {_EXPECTED_PART}")
    by_class = _OTHER_PARTS.get(header.text(dataset, "SOPClassUID"))
    if by_class is not None:
        reasons.append(f"{by_class}, by the SOP class: {_EXPECTED_PART}")
    position = Text(ACQUIRED, "ViewPosition", " ".join(header.texts(dataset, "ViewPosition")))
    for text in (position, *texts):
        if text.rank != ACQUIRED:
            continue
        if text.body_part == CHEST:
            chest.append(text.attribute)
        elif text.body_part == OTHER:
            reasons.append(f"{text.attribute} names another body part: {_EXPECTED_PART}")
    study = [text for text in texts if text.rank == STUDY]
    other = [text.attribute for text in study if text.body_part == OTHER]
    if not reasons and not chest and other and not any(text.body_part == CHEST for text in study):
        reasons.append(f"{other[0]} names another body part: {_EXPECTED_PART}")
    if reasons:
        beside = f"{chest[0]} says chest, but " if chest else ""
        doubts.append(Doubt("body-part", beside + reasons[0]))
        return
    if other and chest:
        notes.append(f"{other[0]} names another body part: outranked by {chest[0]}")
    if not chest:
        chest = [text.attribute for text in study if text.body_part == CHEST]
    if part.mute:
        said = "Body Part Examined names no body part" if part.words else "no Body Part Examined in the header"
        notes.append(f"{said}: taken as a chest" + (f" by {chest[0]}" if chest else ""))


def _view(dataset: Dataset, texts: Sequence[Text], oriented: bool, doubts: list[Doubt], notes: list[str]) -> None:
    reasons: list[str] = []
    frontal: list[str] = []
    position = Text(OWN, "ViewPosition", " ".join(header.texts(dataset, "ViewPosition")))
    if position.view == FRONTAL:
        frontal.append(position.attribute)
    elif position.view is not None or not (position.mute or _tells_no_view(position)):
        reasons.append(f"view position {_shown(dataset, 'ViewPosition', position)}: {_EXPECTED_VIEW}")
    for item in coded_of(dataset, "ViewCodeSequence"):
        if item.text.view == FRONTAL:
            frontal.append(item.text.attribute)
        elif item.text.view is not None:
            reasons.append(f"{item.text.attribute} names {_A_VIEW[item.text.view]}: expected a frontal one")
        elif item.standard and not item.text.mute and not _tells_no_view(item.text):
            reasons.append(f"{item.text.attribute} names another view: expected a frontal one")
    if not oriented and any(value[:1].upper() in ("A", "P") for value in header.texts(dataset, "PatientOrientation")):
        reasons.append("Patient Orientation runs from front to back: expected a frontal view")
    part = Text(ACQUIRED, "BodyPartExamined", " ".join(header.texts(dataset, "BodyPartExamined")))
    for text in (part, *texts):
        if text.rank != ACQUIRED:
            continue
        if text.view == FRONTAL:
            if text is not part:  # FACE
                frontal.append(text.attribute)
        elif text.view is not None:
            reasons.append(f"{text.attribute} names {_A_VIEW[text.view]}: {_EXPECTED_VIEW}")
    study = [text for text in texts if text.rank == STUDY and not text.several]
    other = [text for text in study if text.view in (LATERAL, OBLIQUE)]
    if not reasons and not frontal and other and not any(FRONTAL in text.kinds for text in texts):
        reasons.append(f"{other[0].attribute} names {_A_VIEW[str(other[0].view)]}: {_EXPECTED_VIEW}")
    if reasons:
        beside = f"{frontal[0]} says frontal, but " if frontal else ""
        doubts.append(Doubt("view", beside + reasons[0]))
        return
    if other and frontal:
        notes.append(f"{other[0].attribute} names {_A_VIEW[str(other[0].view)]}: outranked by {frontal[0]}")
    if position.view is None:
        said = "View Position names no view" if position.words else "no View Position in the header"
        frontal = frontal or [text.attribute for text in study if text.view == FRONTAL]
        notes.append(f"{said}: taken as frontal" + (f" by {frontal[0]}" if frontal else ""))


def _tells_no_view(text: Text) -> bool:
    """Tell whether a text holds only words of how the patient stands or lies (SUPINE), of chest, or both views."""
    quiet = {NEUTRAL, CHEST, FRONTAL, LATERAL}
    return all(kinds_of(word) & quiet for word in text.words) and ANIMAL not in text.kinds


def _shown(dataset: Dataset, keyword: str, text: Text) -> str:
    """Return the value of a code string for a message, where each of its words is of the vocabulary: no name."""
    value = header.code(dataset, keyword)
    known = all(kinds_of(word) for word in text.words)
    return value if known and re.fullmatch(r"[A-Z0-9 _/-]{1,16}", value) else "unknown"
