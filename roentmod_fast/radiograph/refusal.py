"""Which radiographs should not be edited, by their header.

An engine for frontal chest radiographs makes something of anything; what comes out of a lateral view or a hand is
worthless and looks real. A header that is missing or mute is no reason to refuse: it is noted.
"""

from __future__ import annotations

import re
import unicodedata

from pydicom.dataset import Dataset

from roentmod_fast.radiograph import header
from roentmod_fast.radiograph.synthetic import is_synthetic

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
"""SOP Class UID of Digital X-Ray Image Storage - For Processing."""

RADIOGRAPHY = ("CR", "DX", "DR", "RG", "RF", "OT", "SC")
"""Values of Modality that a radiograph of the chest may come with; DR and SC are not in the standard but are met."""

FRONTAL = ("AP", "PA", "FRONTAL", "AP AXIAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR", "AP SUPINE", "AP ERECT")

_CHEST_WORDS = (
    "CHEST",
    "THORA",
    "TORA",
    "LUNG",
    "PULM",
    "CXR",
    "CHST",
    "POITRINE",
    "BRUST",
    "HEART",
    "RIB",
    "CLAVICLE",
)
_CHEST_CODES = (
    "51185008",  # SCT, thorax
    "816094009",  # SCT, thoracic cross-section
    "43799004",  # SCT, thoracic cavity
    "39607008",  # SCT, lung
    "80891009",  # SCT, heart
    "T-D3000",  # SRT, chest
    "T-D3400",  # SRT, thoracic cavity
    "T-28000",  # SRT, lung
    "T-32000",  # SRT, heart
)
_HUMAN = ("", "HOMO SAPIENS", "HUMAN", "HUMANS", "HOMO SAPIENS SAPIENS")
_LATERAL = re.compile(r"\b(lat|lateral|ll|rl|profile?|seitlich)\b")
_FRONTAL_TEXT = re.compile(r"\b(ap|pa|frontal|p\.?a\.?|a\.?p\.?|postero|antero)\b")


def reasons_against(dataset: Dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return why a radiograph should not be edited, and notes on what its header does not say.

    Each reason is a phrase that can stand after the file's name. None of them repeats free text of the header.
    """
    reasons: list[str] = []
    notes: list[str] = []
    for check in (_purpose, _modality, _species, _body_part, _view):
        check(dataset, reasons, notes)
    return tuple(reasons), tuple(notes)


def _purpose(dataset: Dataset, reasons: list[str], notes: list[str]) -> None:
    if is_synthetic(dataset):
        reasons.append("already synthetic: edit the radiograph it was made from")
    intent = header.code(dataset, "PresentationIntentType")
    if header.text(dataset, "SOPClassUID") == FOR_PROCESSING or intent == "FOR PROCESSING":
        reasons.append(
            "raw detector data (For Processing), which no viewer shows as it is: take the For Presentation one"
        )
    if header.code(dataset, "BurnedInAnnotation") == "YES":
        notes.append("Burned In Annotation YES: names may stand in the picture itself")


def _modality(dataset: Dataset, reasons: list[str], notes: list[str]) -> None:
    modality = header.code(dataset, "Modality")
    if not modality:
        notes.append("no Modality in the header")
    elif modality not in RADIOGRAPHY:
        shown = modality if re.fullmatch(r"[A-Z0-9 _]{1,16}", modality) else "unknown"
        reasons.append(f"modality {shown} is no radiograph: expected one of {', '.join(RADIOGRAPHY)}")


def _species(dataset: Dataset, reasons: list[str], notes: list[str]) -> None:
    species = header.code(dataset, "PatientSpeciesDescription")
    codes = [header.text(item, "CodeValue") for item in header.items(dataset, "PatientSpeciesCodeSequence")]
    human_codes = ("337915000", "L-85B00", "")
    neutered = header.code(dataset, "PatientSexNeutered") in ("ALTERED", "UNALTERED")
    if species not in _HUMAN or any(code not in human_codes for code in codes) or neutered:
        reasons.append("an animal, by its species: expected a human chest")


def _body_part(dataset: Dataset, reasons: list[str], notes: list[str]) -> None:
    part = _plain(header.code(dataset, "BodyPartExamined"))
    codes = [header.text(item, "CodeValue") for item in header.items(dataset, "AnatomicRegionSequence")]
    codes = [code for code in codes if code]
    if part:
        if not any(word in part for word in _CHEST_WORDS):
            shown = part if re.fullmatch(r"[A-Z0-9 _-]{1,16}", part) else "unknown"
            reasons.append(f"body part {shown}: expected a chest")
    elif codes:
        if not any(code in _CHEST_CODES for code in codes):
            reasons.append("Anatomic Region Sequence names no chest: expected a chest")
    else:
        notes.append("no Body Part Examined in the header: taken as a chest")


def _view(dataset: Dataset, reasons: list[str], notes: list[str]) -> None:
    view = header.code(dataset, "ViewPosition")
    meanings = " ".join(header.text(item, "CodeMeaning") for item in header.items(dataset, "ViewCodeSequence"))
    ahead = header.texts(dataset, "PatientOrientation")
    if view:
        if view not in FRONTAL:
            shown = view if re.fullmatch(r"[A-Z0-9 _]{1,16}", view) else "unknown"
            reasons.append(f"view position {shown}: expected a frontal view, AP or PA")
        return
    if _LATERAL.search(meanings.lower()) and not _FRONTAL_TEXT.search(meanings.lower()):
        reasons.append("View Code Sequence names a lateral view: expected a frontal one")
        return
    if any(value[:1].upper() in ("A", "P") for value in ahead):
        reasons.append("Patient Orientation runs from front to back: expected a frontal view")
        return
    words = " ".join(header.text(dataset, keyword) for keyword in ("SeriesDescription", "ProtocolName")).lower()
    if _LATERAL.search(words) and not _FRONTAL_TEXT.search(words):
        reasons.append("the series is described as lateral: expected a frontal view")
        return
    notes.append("no View Position in the header: taken as frontal")


def _plain(text: str) -> str:
    """Return text without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).strip()
