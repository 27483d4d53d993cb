"""Coded concepts, by pydicom's dictionary of the codes of PS3.16; no code value is typed by hand.

The dictionary holds what the standard's context groups name, so a meaning from it is no free text.
"""

from __future__ import annotations

from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from roentmod_fast.radiograph.dicom import header

CHEST: Code = codes.SCT.Chest
"""Anatomic region of a chest radiograph (PS3.16 Annex L, CID 4009)."""

POSTERO_ANTERIOR: Code = codes.cid4010.PosteroAnterior
"""View of a chest radiograph whose beam enters at the back (PS3.16 CID 4010)."""

SYNTHESIZING_EQUIPMENT: Code = codes.DCM.SynthesizingEquipment
"""Purpose of Reference of an item of Contributing Equipment Sequence (PS3.16 CID 7005)."""

SOURCE_IMAGE: Code = codes.DCM.SourceImageForImageProcessingOperation
"""Purpose of Reference of an item of Source Image Sequence (PS3.16 CID 7202)."""

BASIC_PROFILE: Code = codes.DCM.BasicApplicationConfidentialityProfile
MODIFIED_DATES: Code = codes.DCM.RetainLongitudinalTemporalInformationModifiedDatesOption
"""De-identification methods (PS3.16 CID 7050)."""

FORMER_CHESTS: tuple[Code, ...] = (codes.SCT.ThoracicStructure, codes.SCT.ChestCavity, codes.SCT.Lung)
"""What CID 4031 had for a chest in earlier editions, or devices take for it."""

HUMAN_SPECIES: tuple[Code, ...] = (codes.SCT.HomoSapiens, codes.SCT.HomoSapiensLivingOrganism)
"""Patient Species of humans (PS3.16 CID 7454), today's concept and a former one."""

_RETIRED_SNOMED = ("SRT", "SNM3", "99SDM")
"""Scheme designators of SNOMED-RT style codes, which SNOMED CT has replaced (PS3.16 8.1)."""


def code_item(code: Code) -> Dataset:
    """Return a code as the item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def find_code(value: str, scheme: str) -> Code | None:
    """Return the concept of a code value in a coding scheme with its meaning by the dictionary, or None.

    SNOMED-RT style codes are returned as the SNOMED CT codes that replace them. None also stands for the few concepts
    without a value of 16 characters or a meaning in 64 ASCII characters, which not every file can hold (PS3.5 6.2).
    """
    if scheme in _RETIRED_SNOMED:
        value, scheme = mapping["SRT"].get(value, ""), "SCT"
    meaning = _meanings(scheme).get(value)
    return None if meaning is None else Code(value, scheme, meaning)


def code_of(item: Dataset) -> Code | None:
    """Return the concept of an item of a code sequence, or None where the dictionary has none."""
    return find_code(header.text(item, "CodeValue"), header.text(item, "CodingSchemeDesignator"))


@cache
def _meanings(scheme: str) -> dict[str, str]:
    """Return the meaning of each code value of a scheme; of synonyms the one that a context group uses."""
    named: dict[str, dict[str, tuple[str, list[int]]]] = concepts.get(scheme, {})  # type: ignore[assignment]
    ordered = sorted(
        (not context_groups, len(meaning), value, meaning)
        for synonyms in named.values()
        for value, (meaning, context_groups) in synonyms.items()
        if meaning.isascii() and len(meaning) <= 64 and len(value) <= 16
    )
    meanings: dict[str, str] = {}
    for _, _, value, meaning in ordered:
        meanings.setdefault(value, meaning)
    return meanings
