"""No trace of the patient, and stand-ins that hold across runs."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.radiograph.dicom import deidentify
from roentmod_fast.radiograph.dicom.deidentify import Pseudonyms, pseudonym_key
from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.retained import CODED, LUTS, MEASURED, MODIFIERS, SHOWN, TERMS
from roentmod_fast.radiograph.dicom.write import synthetic_dataset, write_dicom
from roentmod_fast.radiograph.model import Provenance
from tests.radiograph.conftest import KEY, make_dataset, to_bytes

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096

SECRETS = {
    "PatientName": "山田^太郎=ヤマダ^タロウ",
    "PatientID": "PID-4711",
    "OtherPatientIDs": "OPID-4712",
    "PatientAddress": "Musterstraße 12, 12345 Köln",
    "PatientBirthName": "Müller^Erika",
    "InstitutionName": "Krankenhaus am Rhein",
    "InstitutionAddress": "Rheinufer 1",
    "ReferringPhysicianName": "Doktor^Hausarzt",
    "PerformingPhysicianName": "Radiologe^Rita",
    "OperatorsName": "Assistent^Otto",
    "AccessionNumber": "ACC-815",
    "StudyID": "STUDY-77",
    "StudyDescription": "Thorax, Frau Müller",
    "SeriesDescription": "Thorax p.a. Erika",
    "ProtocolName": "Protokoll Erika",
    "StationName": "RAUM-9",
    "DeviceSerialNumber": "SN-31337",
    "ImageComments": "Frau Müller hustet",
    "PatientComments": "hat Angst",
    "AdditionalPatientHistory": "Pneumonie 1987",
    "RequestingPhysician": "Arzt^Anna",
    "DerivationDescription": "von Erika",
    "FilterType": "FILTER-ERIKA",
    "PatientTelephoneNumbers": "0221-12345",
}
UIDS = {
    "SOPInstanceUID": "1.2.40.0.13.1.111",
    "StudyInstanceUID": "1.2.40.0.13.1.222",
    "SeriesInstanceUID": "1.2.40.0.13.1.333",
    "FrameOfReferenceUID": "1.2.40.0.13.1.444",
}
DATES = {
    "PatientBirthDate": "19370911",
    "StudyDate": "20180607",
    "SeriesDate": "20180608",
    "AcquisitionDate": "20180607",
}
TIMES = {"StudyTime": "131415", "AcquisitionTime": "131416.789", "AcquisitionDateTime": "20180607131416.7"}


def telling_source() -> Dataset:
    """Return a header full of a patient, nested and private attributes included."""
    source = make_dataset(RAMP, SpecificCharacterSet="ISO_IR 192", **SECRETS, **UIDS, **DATES, **TIMES)
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.40.0.13.1.555"
    inner.RequestedProcedureDescription = "Verordnung Erika"
    source.RequestAttributesSequence = [inner]
    source.ReferencedPatientSequence = [inner]
    source.private_block(0x0019, "VENDOR ERIKA", create=True).add_new(0x10, "LO", "privat Erika")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "ERIKA1", "99ERIKA", "Erikas Code"
    source.ViewCodeSequence = [code]
    source.add_new(0x60003000, "OW", b"OVERLAY ERIKA   ")
    return source


def traces(data: bytes) -> list[str]:
    """Return the secrets that occur in the bytes of a file, in any encoding they may have."""
    wanted = [
        *SECRETS.values(),
        *UIDS.values(),
        *DATES.values(),
        *TIMES.values(),
        "ERIKA",
        "Erika",
        "1.2.40.0.13.1.555",
    ]
    parts = {part for text in wanted for part in text.replace("=", "^").split("^") if len(part) > 2}
    return sorted(
        part
        for part in parts
        if any(
            part.encode(encoding, "ignore") in data
            for encoding in ("utf-8", "latin-1", "shift_jis")
            if part.isascii() or encoding == "utf-8"
        )
    )


@pytest.mark.parametrize("way", ["pseudonymize", "anonymize"])
def test_no_trace_of_the_patient(provenance: Provenance, way: str) -> None:
    source = to_bytes(telling_source())
    assert len(traces(source)) > 30, "the search finds what is there"
    radiograph = read_dicom(source, "file.dcm")
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=way)
    assert traces(encode(dataset, SYNTAXES["explicit"], "")) == []
    assert not any("Erika" in note or "Müller" in note for note in radiograph.notes)
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert (dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber) == ("", "", "")


def test_keep_keeps_the_patient(provenance: Provenance) -> None:
    radiograph = read_dicom(to_bytes(telling_source()), "file.dcm")
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify="none")
    back = pydicom.dcmread(io.BytesIO(encode(dataset, SYNTAXES["explicit"], "")))
    assert back.PatientName == SECRETS["PatientName"] and back.PatientAddress == SECRETS["PatientAddress"]
    assert back.StudyInstanceUID == UIDS["StudyInstanceUID"] and back.AccessionNumber == "ACC-815"
    assert "ERIKA" not in str([element.tag for element in back if element.tag.is_private])


def pseudonymous(provenance: Provenance, key: bytes = KEY, **attributes: object) -> Dataset:
    radiograph = read_dicom(to_bytes(make_dataset(RAMP, **attributes)), "file.dcm")
    return synthetic_dataset(radiograph, radiograph.image, provenance, key=key)


def test_the_same_patient_has_the_same_pseudonym(provenance: Provenance) -> None:
    first = pseudonymous(provenance, StudyDate="20200304")
    second = pseudonymous(provenance, StudyDate="20200310", StudyInstanceUID="1.2.9", PatientName="Doe^Janet")
    other = pseudonymous(provenance, PatientID="87654321")
    assert first.PatientID == second.PatientID != other.PatientID
    assert first.PatientName == second.PatientName != other.PatientName
    assert first.StudyInstanceUID != second.StudyInstanceUID
    dates = [int(dataset.StudyDate) for dataset in (first, second)]
    assert dates[0] < 20200304 and len(first.StudyDate) == 8
    import datetime

    days = [datetime.datetime.strptime(dataset.StudyDate, "%Y%m%d") for dataset in (first, second)]
    assert (days[1] - days[0]).days == 6, "the time between two studies is kept"


def test_another_key_gives_another_pseudonym(provenance: Provenance) -> None:
    assert pseudonymous(provenance).PatientID != pseudonymous(provenance, key=b"another key of good length").PatientID


def test_without_an_identifier_the_name_tells_patients_apart(provenance: Provenance) -> None:
    one = pseudonymous(provenance, PatientID=None)
    same = pseudonymous(provenance, PatientID="", StudyInstanceUID="1.2.9")
    other = pseudonymous(provenance, PatientID=None, PatientName="Roe^Richard")
    nobody = pseudonymous(provenance, PatientID=None, PatientName=None)
    assert one.PatientID == same.PatientID
    assert len({one.PatientID, other.PatientID, nobody.PatientID}) == 3


def test_strip_leads_nowhere(provenance: Provenance) -> None:
    radiograph = read_dicom(to_bytes(make_dataset(RAMP)), "file.dcm")
    one, two = (synthetic_dataset(radiograph, radiograph.image, provenance, deidentify="anonymize") for _ in range(2))
    assert one.PatientID != two.PatientID and one.StudyInstanceUID != two.StudyInstanceUID
    assert one.StudyDate == "" and "Manufacturer" in one and one.Manufacturer == ""


def test_the_image_still_shows_the_same(provenance: Provenance) -> None:
    source = make_dataset(
        RAMP, WindowCenter=[1000, 2000], WindowWidth=[900, 1800], PhotometricInterpretation="MONOCHROME1"
    )
    radiograph = read_dicom(to_bytes(source), "file.dcm")
    for way in ("pseudonymize", "none", "anonymize"):
        dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=way)
        back = read_dicom(encode(dataset, SYNTAXES["explicit"], ""), "out.dcm", force=True)
        np.testing.assert_array_equal(back.image, radiograph.image)


@pytest.mark.parametrize("date", ["", "00000000", "not a date", "19010101", "2020.03.04", "20201399"])
def test_odd_dates(provenance: Provenance, date: str) -> None:
    with disable_value_validation():
        dataset = pseudonymous(provenance, StudyDate=date)
    assert dataset.StudyDate == "" or (len(dataset.StudyDate) == 8 and dataset.StudyDate.isdigit())
    assert dataset.StudyDate != date or date == ""


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
def test_uids_are_valid_and_stable(key: bytes, value: str) -> None:
    new = Pseudonyms(key).uid(value)
    assert new.is_valid and len(new) <= 64 and new.startswith("2.25.")
    assert new == Pseudonyms(key).uid(value)
    assert 30 <= Pseudonyms(key).days(value) < 3680


def test_only_codes_numbers_and_terms_are_listed() -> None:
    from pydicom.datadict import dictionary_VR

    numbers = {dictionary_VR(keyword) for keyword in (*SHOWN, *MEASURED)}
    assert numbers == {"DS", "IS", "US", "SS", "US or SS"}
    texts = {keyword for keyword in TERMS if dictionary_VR(keyword) != "CS"}
    assert texts == {"ModalityLUTType", "RescaleType"}
    assert {dictionary_VR(keyword) for keyword in (*CODED, *MODIFIERS, *LUTS)} == {"SQ"}


def test_text_in_disguise_is_left_out(provenance: Provenance) -> None:
    with disable_value_validation():
        source = make_dataset(
            RAMP, RescaleType="Erika Müller", DetectorType="erika", RescaleSlope=1, RescaleIntercept=0
        )
        radiograph = read_dicom(to_bytes(source), "file.dcm")
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance)
    assert dataset.RescaleType == "US" and "DetectorType" not in dataset


def test_the_key_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROENTMOD_PSEUDONYM_KEY")
    monkeypatch.setattr(deidentify, "data_folder", lambda: tmp_path / "data")
    key = pseudonym_key()
    assert len(key) == 32 and key == pseudonym_key()
    if os.name == "posix":
        assert (tmp_path / "data" / "pseudonym.key").stat().st_mode & 0o077 == 0
    (tmp_path / "data" / "pseudonym.key").write_bytes(b"")
    with pytest.raises(OutputError, match="damaged"):
        pseudonym_key()
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "short")
    with pytest.raises(SettingError, match="expected 16 or more"):
        pseudonym_key()


def test_a_place_where_no_key_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROENTMOD_PSEUDONYM_KEY")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(deidentify, "data_folder", lambda: tmp_path / "file")
    with pytest.raises(OutputError, match="set ROENTMOD_PSEUDONYM_KEY, or choose --deidentify anonymize"):
        pseudonym_key()


@pytest.mark.parametrize("way", ["pseudonymize", "none", "anonymize"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_numbers_in_one_string_are_written_apart(provenance: Provenance, way: str, syntax: uid.UID) -> None:
    source = make_dataset(RAMP, WindowCenter=None, WindowWidth=None)
    source.add_new("WindowCenter", "LO", "1000, 2000")
    source.add_new("WindowWidth", "LO", "900, 1800")
    radiograph = read_dicom(to_bytes(source, syntax), "file.dcm", voi=1)
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=way)
    assert (dataset.WindowCenter, dataset.WindowWidth) == ([1000, 2000], [900, 1800])
    assert dataset["WindowCenter"].VR == "DS"


@pytest.mark.parametrize(
    ("former", "present"), [("pseudonym", "pseudonymize"), ("keep", "none"), ("strip", "anonymize")]
)
def test_former_values_are_accepted(tmp_path: Path, provenance: Provenance, former: str, present: str) -> None:
    assert deidentify.deidentification(former) == deidentify.deidentification(present) == present
    radiograph = read_dicom(to_bytes(make_dataset()), "made.dcm")
    written = []
    for value in (former, present):
        write_dicom(tmp_path / f"{value}.dcm", radiograph, radiograph.image, provenance, deidentify=value, key=KEY)
        dataset = pydicom.dcmread(tmp_path / f"{value}.dcm")
        written.append((dataset.PatientName, dataset.StudyDate, dataset.get("PatientIdentityRemoved")))
    assert written[0] == written[1]


@pytest.mark.parametrize("value", ["", "Pseudonymize", "anonymise", "no", "alias"])
def test_other_values_are_refused(tmp_path: Path, provenance: Provenance, value: str) -> None:
    radiograph = read_dicom(to_bytes(make_dataset()), "made.dcm")
    expected = "expected one of pseudonymize, none, anonymize"
    with pytest.raises(SettingError, match=expected):
        write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance, deidentify=value)
    with pytest.raises(SettingError, match=expected):
        synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=value)
    assert not list(tmp_path.iterdir())
