"""Patients who share a placeholder for an identifier do not share a pseudonym."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom.deidentify import is_placeholder, patient_key
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import synthetic_dataset
from roentmod_fast.radiograph.model import Provenance
from tests.radiograph.conftest import KEY, make_dataset, to_bytes

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096

PLACEHOLDERS = [
    *("ANONYMOUS", "anonymous", "Anonymous ", "ANON", "Anonymized", "ANONYMISED", "Anonymisé", "ANÓNIMO", "anonym"),
    *("UNKNOWN", "Unknown^Unknown", "unbekannt", "INCONNU", "desconocido", "neznámý", "НЕИЗВЕСТНЫЙ", "Аноним"),
    *("匿名", "不明", "未知", "익명", "テスト"),
    *("0", "00", "0000000", "1", "001", "0001", "999", "99999999", "123", "1234", "12345", "123456"),
    *("NONE", "null", "NaN", "N/A", "n.a.", "na", "not available", "Not_Available", "NO NAME", "no-name"),
    *("TEST", "test^patient", "TEST PATIENT", "Patient", "patient id", "PID", "dummy", "demo", "sample", "x", "XXX"),
    *("de-identified", "DEIDENTIFIED", "De_Identified", "removed", "REDACTED", "-", "?", "...", "^^^", "***", "x^x^0"),
]
REAL = [
    *("12345678", "PID-4711", "ANON-17", "ANON0042", "ANONYMOUS^17", "TEST-3", "PATIENT 2", "Patient^12", "SUBJ001"),
    *("2", "7", "10", "11", "111", "1000", "00100", "99", "1999", "X1", "A", "山田^太郎", "Testa^Maria", "Nobel^Anna"),
    *("Müller", "Иванов^Иван", "Doe^Jane", "0x1F", "Anonymous Smith", "PHANTOM-3"),
]


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_placeholders(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize("value", REAL)
def test_no_placeholders(value: str) -> None:
    assert not is_placeholder(value)


def test_nothing_is_no_placeholder() -> None:
    assert not is_placeholder("") and not is_placeholder("  ")


def edited(provenance: Provenance, **attributes: object) -> tuple[Dataset, tuple[str, ...]]:
    with disable_value_validation():
        source = make_dataset(RAMP, SpecificCharacterSet="ISO_IR 192", **attributes)
        radiograph = read_dicom(to_bytes(source), "file.dcm")
        return synthetic_dataset(radiograph, radiograph.image, provenance, key=KEY), radiograph.notes


@pytest.mark.parametrize("value", ["ANONYMOUS", "0", "UNKNOWN", "ANON", "TEST", "1", "匿名", "-", "N/A"])
def test_names_tell_patients_apart_whose_identifier_is_a_placeholder(provenance: Provenance, value: str) -> None:
    jane, notes = edited(provenance, PatientID=value, PatientName="Doe^Jane")
    again, _ = edited(provenance, PatientID=value, PatientName="Doe^Jane", StudyInstanceUID="1.2.9")
    born_later, _ = edited(provenance, PatientID=value, PatientName="Doe^Jane", PatientBirthDate="19710304")
    john, _ = edited(provenance, PatientID=value, PatientName="Doe^John")
    nameless = dict.fromkeys(("PatientID", "PatientName"))
    assert jane.PatientID == again.PatientID
    assert len({jane.PatientID, born_later.PatientID, john.PatientID, edited(provenance, **nameless)[0].PatientID}) == 4
    assert "Patient ID is a placeholder: a pseudonym is made from name and birth date instead" in notes
    assert value not in "".join(notes) or value in "- 0 1"


@pytest.mark.parametrize("name", ["ANONYMOUS^ANONYMOUS", "Unknown", "", "^", None, "匿名", "0"])
@pytest.mark.parametrize("identifier", ["ANONYMOUS", "0", "1", "", None])
def test_studies_tell_patients_apart_who_have_placeholders_only(
    provenance: Provenance, identifier: str | None, name: str | None
) -> None:
    who = {"PatientID": identifier, "PatientName": name}
    one, notes = edited(provenance, **who)
    same, _ = edited(provenance, **who, SOPInstanceUID="1.2.3.4.7")
    other, _ = edited(provenance, **who, StudyInstanceUID="1.2.9")
    assert one.PatientID == same.PatientID != other.PatientID
    assert one.PatientName == same.PatientName != other.PatientName
    note = "Patient ID is a placeholder: a pseudonym is made from the study instead"
    assert (note in notes) == bool(identifier)


def test_without_a_study_series_and_instance_tell_apart() -> None:
    source = Dataset()
    assert patient_key(source) != patient_key(source), "nothing is known: not one patient for all"
    source.SOPInstanceUID = "1.2.3"
    assert patient_key(source) == "sop\0" + "1.2.3"
    source.SeriesInstanceUID = "1.2.2"
    assert patient_key(source) == "series\0" + "1.2.2"
    source.StudyInstanceUID = "1.2.1"
    assert patient_key(source) == "study\0" + "1.2.1"


def test_ordinary_patients_keep_their_pseudonym() -> None:
    """As in earlier releases, so that a series of edits that was begun goes on."""
    source = make_dataset(RAMP, IssuerOfPatientID="HOSPITAL")
    assert patient_key(source) == "id\0" + "12345678" + "\0HOSPITAL"
    source.PatientID = ""
    assert patient_key(source) == "name\0Doe^Jane\0" + "19500102"


def test_ordinary_patients_have_no_note(provenance: Provenance) -> None:
    _, notes = edited(provenance)
    assert not any("placeholder" in note for note in notes)
