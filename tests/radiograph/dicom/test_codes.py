"""Codes and UIDs come from pydicom's dictionaries, in what is written and in the source text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes

import roentmod_fast.radiograph
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom import read as dicom_read
from roentmod_fast.radiograph.dicom.codes import CHEST, POSTERO_ANTERIOR, code_item, code_of, find_code
from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.retained import BODY_PARTS
from roentmod_fast.radiograph.dicom.sample import sample_dataset
from roentmod_fast.radiograph.dicom.write import synthetic_dataset
from roentmod_fast.radiograph.model import Provenance
from tests.radiograph.conftest import make_dataset, to_bytes

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096
ROOM = Path(roentmod_fast.radiograph.__file__).parent


def coded_items(dataset: Dataset) -> Iterator[Dataset]:
    """Return every coded item of a data set, in nested sequences too."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                if "CodingSchemeDesignator" in item or "CodeValue" in item:
                    yield item
                yield from coded_items(item)


MEANINGS: dict[tuple[str, str], set[str]] = {}
for _scheme, _named in concepts.items():
    for _values in _named.values():
        for _value, (_meaning, _) in _values.items():
            MEANINGS.setdefault((_scheme, _value), set()).add(_meaning)


def item_of(value: str, scheme: str, meaning: str, **more: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for keyword, entry in more.items():
        setattr(item, keyword, entry)
    return item


def check_codes(dataset: Dataset) -> int:
    """Check all codes of a data set against pydicom's dictionary; return how many there are."""
    count = 0
    for item in coded_items(dataset):
        assert item.CodeMeaning in MEANINGS[item.CodingSchemeDesignator, item.CodeValue], item
        count += 1
    return count


SUPINE = codes.cid20.Supine
RETIRED_CHEST = codes.SCT.ThoracicStructure
SOURCES: dict[str, dict[str, Any]] = {
    "no region": {},
    "empty region": {"AnatomicRegionSequence": []},
    "today's chest": {"AnatomicRegionSequence": [code_item(CHEST)]},
    "the older chest": {"AnatomicRegionSequence": [item_of(RETIRED_CHEST.value, "SCT", "Chest")]},
    "SNOMED-RT": {"AnatomicRegionSequence": [item_of("T-D3000", "SRT", "Chest")]},
    "SNOMED 3": {"AnatomicRegionSequence": [item_of("T-D3000", "SNM3", "Chest")]},
    "interim designator": {"AnatomicRegionSequence": [item_of("T-D3000", "99SDM", "Chest")]},
    "another language": {"ViewCodeSequence": [item_of(POSTERO_ANTERIOR.value, "SCT", "von hinten nach vorn")]},
    "modifiers": {
        "ViewCodeSequence": [
            item_of(
                POSTERO_ANTERIOR.value,
                "SCT",
                "pa",
                ViewModifierCodeSequence=[
                    item_of(SUPINE.value, "SCT", "liegend"),
                    item_of("7", "99US", "own"),
                ],
            )
        ]
    },
    "local": {"ViewCodeSequence": [item_of("PA", "99LOCAL", "own")], "AnatomicRegionSequence": [item_of("", "", "")]},
}


@pytest.mark.parametrize("sop_class", [uid.ComputedRadiographyImageStorage, uid.DigitalXRayImageStorageForPresentation])
@pytest.mark.parametrize("header", SOURCES)
@pytest.mark.parametrize("deidentify", ["pseudonymize", "anonymize"])
def test_every_code_of_an_edit_is_in_the_dictionary(
    provenance: Provenance, header: str, deidentify: str, sop_class: str
) -> None:
    source = make_dataset(RAMP, SOPClassUID=sop_class, **SOURCES[header])
    radiograph = read_dicom(to_bytes(source), "file.dcm", force=True)
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=deidentify)
    assert check_codes(dataset) >= 2
    region = dataset.get("AnatomicRegionSequence", [])
    if sop_class == uid.DigitalXRayImageStorageForPresentation:
        old = header in ("the older chest", "SNOMED-RT", "SNOMED 3", "interim designator")
        assert region[0].CodeValue == (RETIRED_CHEST if old else CHEST).value
    if header == "modifiers":
        (modifier,) = dataset.ViewCodeSequence[0].ViewModifierCodeSequence
        assert (modifier.CodeValue, modifier.CodeMeaning) == (SUPINE.value, SUPINE.meaning)
    if header == "local":
        assert "ViewCodeSequence" not in dataset


@pytest.mark.parametrize("header", ["no region", "empty region", "today's chest"])
def test_codes_that_an_edit_of_the_same_patient_gains(provenance: Provenance, header: str) -> None:
    radiograph = read_dicom(to_bytes(make_dataset(RAMP, **SOURCES[header])), "file.dcm")
    assert check_codes(synthetic_dataset(radiograph, radiograph.image, provenance, deidentify="none")) >= 2


def test_the_sample_is_a_postero_anterior_chest() -> None:
    dataset = sample_dataset(draw(64, 1).image, seed=1)
    assert check_codes(dataset) == 2
    assert (dataset.ViewPosition, dataset.BodyPartExamined) == ("PA", "CHEST")
    view, region = dataset.ViewCodeSequence[0], dataset.AnatomicRegionSequence[0]
    assert (view.CodeValue, view.CodeMeaning) == ("272479007", "postero-anterior")
    assert (region.CodeValue, region.CodeMeaning) == ("816094009", "Chest")
    back = read_dicom(encode(dataset, SYNTAXES["explicit"], "x.dcm"), "x.dcm")
    assert back.notes == ()


@pytest.mark.parametrize("code", ["today's chest", "the older chest", "SNOMED-RT"])
def test_regions_of_a_chest_are_read(code: str) -> None:
    read_dicom(to_bytes(make_dataset(RAMP, BodyPartExamined=None, **SOURCES[code])), "file.dcm")


def test_look_up() -> None:
    assert find_code("816094009", "SCT") == CHEST and code_of(code_item(CHEST)) == CHEST
    assert find_code("T-D3000", "SRT") == RETIRED_CHEST
    for value, scheme in [
        ("816094009", "DCM"),
        ("816094009", ""),
        ("0", "SCT"),
        ("T-XXXX", "SRT"),
        ("", "SRT"),
        ("", ""),
    ]:
        assert find_code(value, scheme) is None
    found = [code for code in (find_code(value, scheme) for scheme, value in MEANINGS) if code is not None]
    assert len(found) > 13_000
    for code in found:
        assert code.meaning in MEANINGS[code.scheme_designator, code.value]
        assert code.meaning.isascii() and len(code.meaning) <= 64 and len(code.value) <= 16


def test_body_parts_are_those_of_the_standard() -> None:
    tables = pytest.importorskip("highdicom._standard_utils", reason="highdicom is not installed")
    regions = Path(tables.__file__).with_name("_standard") / "anatomic_regions.json"
    assert set(json.loads(regions.read_text())) == BODY_PARTS


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        (uid.MediaStorageDirectoryStorage, "a DICOMDIR"),
        (uid.KeyObjectSelectionDocumentStorage, "a key object selection"),
        (uid.EnhancedSRStorage, "a structured report"),
        (uid.ColorSoftcopyPresentationStateStorage, "a presentation state"),
        (uid.TwelveLeadECGWaveformStorage, "a waveform"),
        (uid.BasicVoiceAudioWaveformStorage, "a waveform"),
        (uid.RTDoseStorage, "a radiotherapy object"),
        (uid.EncapsulatedPDFStorage, "an encapsulated PDF"),
        (uid.RawDataStorage, "raw data"),
        (uid.SegmentationStorage, "a segmentation"),
        (uid.ComputedRadiographyImageStorage, None),
        (uid.SecondaryCaptureImageStorage, None),
        (uid.UltrasoundImageStorage, None),
        (uid.XRayAngiographicImageStorage, None),
    ],
)
def test_sop_classes_without_an_image(sop_class: uid.UID, kind: str | None) -> None:
    assert dicom_read.no_image_kind(sop_class) == kind


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_no_code_or_uid_is_typed_by_hand(path: Path) -> None:
    literals = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in literals if TYPED.search(text)] == []


TYPED = re.compile(r"1\.2\.840\.|^\d{6,9}$|^[A-Z]-[0-9A-F]{4,6}$")


def test_the_search_for_typed_codes_finds_them() -> None:
    for text in ("1.2.840.10008.1.2", "under 1.2.840.10008.", "51185008", "113100", "T-D3000", "R-10202"):
        assert TYPED.search(text)
    for text in ("2.25.1234", "SCT", "12345", "PS3.16", "X-RAY"):
        assert not TYPED.search(text)
