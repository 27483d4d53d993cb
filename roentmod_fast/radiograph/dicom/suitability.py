"""Reasons to refuse a radiograph, by the words of its header.

An engine for frontal chest radiographs edits any image; the edit of a lateral view or a hand is worthless and looks
real. A header without the attribute, or with one that names nothing, is no reason to refuse: it is noted.

Evidence for the view and for the body part has a rank, by how near to the image its attribute is:

1. OWN: View Position, View Code Sequence, Patient Orientation; Body Part Examined, Anatomic Region Sequence, Primary
   Anatomic Structure Sequence, the SOP class. UNKNOWN, OTHER, N/A and the like name nothing.
2. ACQUIRED: descriptions of the acquisition and its series.
3. STUDY: descriptions of the order and the study, which has images of other views and body parts too.

An attribute of rank 1 or 2 that names another view or part is a doubt, also where another one of these ranks names
frontal or chest: one of them is wrong. Rank 3 is a doubt only where ranks 1 and 2 name nothing; otherwise it is
outranked, with a note. A text that names both (CHEST PA AND LAT) is no evidence for this image. At rank 3 neither is
one that counts views. Names of persons and free comments, which may hold them, are never read.

A species is named by its own attributes, by breed, neutering and the role of the responsible person, by the name of a
veterinary institution, and by any description. An explicit human species outranks descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from pydicom import uid
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import FORMER_CHESTS, HUMAN_SPECIES, code_of
from roentmod_fast.radiograph.dicom.marks import is_synthetic
from roentmod_fast.radiograph.dicom.retained import TERMS
from roentmod_fast.radiograph.dicom.vocabulary import (
    ANIMAL,
    CHEST,
    FRONTAL,
    HUMAN,
    LATERAL,
    MUTE,
    NEUTRAL,
    OBLIQUE,
    OTHER,
    SEVERAL,
    SPINE,
    THORACIC,
    kinds_of,
    words_of,
)
from roentmod_fast.radiograph.doubts import Doubt

OWN, ACQUIRED, STUDY = 1, 2, 3

_ACQUIRED = (
    "AcquisitionDeviceProcessingDescription",
    "AcquisitionDeviceProcessingCode",
    "PerformedProtocolCodeSequence",
    "AcquisitionProtocolName",
    "AcquisitionProtocolDescription",
    "ProtocolName",
    "SeriesDescription",
    "SeriesDescriptionCodeSequence",
)
_REQUEST = (
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ScheduledProcedureStepDescription",
    "ScheduledProtocolCodeSequence",
)
"""Attributes of the items of Request Attributes Sequence (PS3.3 Table 10-9)."""

_STUDY = (
    "PerformedProcedureStepDescription",
    "PerformedProcedureTypeDescription",
    *_REQUEST,
    "ProcedureCodeSequence",
    "StudyDescription",
)

_SCHEMES = {"SCT": "SCT", "SRT": "SRT", "SNM3": "SRT", "99SDM": "SRT", "DCM": "DCM"}
"""Coding schemes whose codes pydicom knows; the older names of SRT are read as SRT."""


class Text:
    """Words of one text of a header, and what they name. The text itself is never shown."""

    def __init__(self, rank: int, attribute: str, value: str) -> None:
        self.rank = rank
        self.attribute = dictionary_description(attribute)
        self.words = words_of(value)
        self._joined = "+" in value or "&" in value

    @cached_property
    def kinds(self) -> frozenset[str]:
        """All that the words may name."""
        return frozenset().union(*(kinds_of(word) for word in self.words)) - {MUTE}

    @property
    def mute(self) -> bool:
        """Whether it names nothing: UNKNOWN, OTHER, N/A, XXX, no letters at all."""
        return all(MUTE in kinds_of(word) or set(word) <= {"X"} for word in self.words)

    @property
    def several(self) -> bool:
        """Whether it speaks of more than one image: 2 VIEWS, and, +."""
        return self._joined or SEVERAL in self.kinds

    @property
    def view(self) -> str | None:
        """Return ``frontal``, ``lateral``, ``oblique``, or None where it names none, or both frontal and lateral.

        Oblique stands for decubitus and lordotic too; AP OBLIQUE is oblique.
        """
        frontal, lateral = FRONTAL in self.kinds, LATERAL in self.kinds
        if frontal and lateral:
            return None
        if OBLIQUE in self.kinds:
            return OBLIQUE
        return LATERAL if lateral else FRONTAL if frontal else None

    @property
    def body_part(self) -> str | None:
        """Return ``chest``, ``other``, or None where no body part is named. A chest beside another part is a chest."""
        other = bool(self.kinds & {OTHER, SPINE})
        if CHEST in self.kinds or (THORACIC in self.kinds and not other):
            return CHEST
        return OTHER if other else None

    @property
    def animal(self) -> bool:
        """Whether an animal is named."""
        return ANIMAL in self.kinds


class Coded(NamedTuple):
    """One item of a code sequence: the words of its meanings, and whether the code is one of a standard's scheme."""

    text: Text
    standard: bool


def texts_of(dataset: Dataset) -> tuple[Text, ...]:
    """Return all descriptions of an image, of its series and of its study, those nearest to the image first."""
    result = [Text(ACQUIRED, "ImageType", " ".join(header.texts(dataset, "ImageType")[2:]))]
    for rank, keywords in ((ACQUIRED, _ACQUIRED), (STUDY, _STUDY)):
        result += [Text(rank, keyword, value) for keyword in keywords for value in _values(dataset, keyword)]
    for item in header.items(dataset, "RequestAttributesSequence"):
        result += [Text(STUDY, keyword, value) for keyword in _REQUEST for value in _values(item, keyword)]
    return tuple(text for text in result if text.words)


def coded_of(dataset: Dataset, keyword: str) -> tuple[Coded, ...]:
    """Return the items of an own code sequence, with the meaning that the standard gives to each code."""
    result = []
    for item in header.items(dataset, keyword):
        value, scheme = _code_value(item), header.code(item, "CodingSchemeDesignator")
        meaning = header.text(item, "CodeMeaning")
        if value or meaning:
            known = _standard_meaning(value, _SCHEMES.get(scheme, ""))
            modifiers = (header.text(part, "CodeMeaning") for part in header.items(item, "ViewModifierCodeSequence"))
            words = Text(OWN, keyword, " ".join([known or "", meaning, *modifiers]))
            result.append(Coded(words, known is not None or (scheme in _SCHEMES and bool(value))))
    return tuple(result)


def _values(dataset: Dataset, keyword: str) -> Iterator[str]:
    """Yield the texts of an attribute; of a code sequence, the meanings of its items."""
    if not keyword.endswith("Sequence"):
        value = " ".join(header.texts(dataset, keyword))
        if value:
            yield value
        return
    for item in header.items(dataset, keyword):
        if header.text(item, "CodeMeaning"):
            yield header.text(item, "CodeMeaning")


def _code_value(item: Dataset) -> str:
    return header.text(item, "CodeValue") or header.text(item, "LongCodeValue")


@lru_cache(maxsize=256)
def _standard_meaning(value: str, scheme: str) -> str | None:
    """Return what PS3.16 CID 4010 (views), 4030 and 4031 (anatomic regions) call a code; None where they have none."""
    if not value or not scheme:
        return None
    code = Code(value, scheme, "")  # equal to the same concept in SCT and SRT
    for group in (codes.cid4010, codes.cid4030, codes.cid4031):
        for concept in group.concepts.values():
            if code == concept:
                return str(concept.meaning)
    return next((str(former.meaning) for former in FORMER_CHESTS if code == former), None)


RADIOGRAPHY = ("CR", "DX", "DR", "RG", "RF", "OT", "SC")
"""Values of Modality that a radiograph of the chest may come with; DR and SC are not in the standard but occur."""

_MODALITIES = TERMS["Modality"] | {"DD", "DF", "DS", "EC", "FS", "FA", "LP", "MA", "MS", "OPR", "ST", "VF"}
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
    """Return why a radiograph should not be edited, and notes on what its header lacks.

    ``oriented``: the user gave the orientation, so Patient Orientation is no evidence. None of the reasons and notes
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
        shown = modality if modality in _MODALITIES else "unknown"
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
