"""What a header says of an image in words, by attribute and by how near to the image the attribute is.

Three ranks. OWN: attributes that exist to say it (View Position, Body Part Examined and their code sequences).
ACQUIRED: texts of this acquisition or its series. STUDY: texts of the order or the study, which has images of other
views and body parts too. Names of persons are never read, nor free comments, in which they may stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import NamedTuple

from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import FORMER_CHESTS
from roentmod_fast.radiograph.dicom.vocabulary import (
    ANIMAL,
    CHEST,
    FRONTAL,
    LATERAL,
    MUTE,
    OBLIQUE,
    OTHER,
    SEVERAL,
    SPINE,
    THORACIC,
    kinds_of,
    words_of,
)

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
_STUDY = (
    "PerformedProcedureStepDescription",
    "PerformedProcedureTypeDescription",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ScheduledProcedureStepDescription",
    "ScheduledProtocolCodeSequence",
    "ProcedureCodeSequence",
    "StudyDescription",
)
_REQUEST = (
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ScheduledProcedureStepDescription",
    "ScheduledProtocolCodeSequence",
)
"""Attributes of the items of Request Attributes Sequence (PS3.3 Table 10-9)."""

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
        """Whether it says nothing: UNKNOWN, OTHER, N/A, XXX, no letters at all."""
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
