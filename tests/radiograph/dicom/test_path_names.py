"""Parts of a path that tell who the patient is, and what stands in their place."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom.deidentify import Pseudonyms, patient_key
from roentmod_fast.radiograph.dicom.path_names import identifying_words, pseudonymous_names, reveals
from tests.radiograph.conftest import KEY


def header(**attributes: object) -> Dataset:
    dataset = Dataset()
    with disable_value_validation():
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return dataset


def reveals_identity(text: str, dataset: Dataset) -> bool:
    return reveals(text, identifying_words(dataset))


def replaced(names: tuple[str, ...], dataset: Dataset, deidentify: str, key: bytes) -> tuple[str, ...]:
    """Return names of folders and files as they are written: those that reveal the patient replaced."""
    revealing = [name for name in names if reveals_identity(name, dataset)]
    new = pseudonymous_names(revealing, dataset, deidentify, key)
    return tuple(new.get(name, name) for name in names)


ZEB = header(
    PatientName="Quixworth^Zebediah^Amos^Dr^Jr",
    PatientID="PID-90210",
    OtherPatientIDs=["OLD/7781 K", "0"],
    PatientBirthDate="19520607",
    AccessionNumber="ACC 815/77",
    StudyID="1",
    StudyInstanceUID="1.2.40.0.13.1.222",
    SOPInstanceUID="1.2.40.0.13.1.111",
    ReferringPhysicianName="Hausarzt^Hanna",
    IssuerOfPatientID="RHEINKLINIK",
)


def _texts(table: str) -> list[str]:
    """Return the texts of a table, separated by bars and ends of lines."""
    return [text.strip() for line in table.strip().splitlines() for text in line.split(" | ")]


FULL_WIDTH = "".join(chr(ord(letter) - ord("A") + 0xFF21) for letter in "QUIXWORTH")

REVEALING = _texts(
    """
    Quixworth | QUIXWORTH | quixworth | Zebediah | AMOS | Quixworth^Zebediah | Quixworth, Zebediah
    QUIXWORTH_ZEBEDIAH_19520607 | Zebediah.Quixworth | zebediah-quixworth | ZebediahQuixworth
    zquixworth | QuixworthZ | DrQuixworth | chest_quixworth_pa | ChestQuixworthPA | XR.QUIXWORTH
    Quix-worth | amoschest | IM0001 Quixworth | Quixworth (2) | quixworth's chest
    Patient_Quixworth | Hausarzt | Hanna | [Zebediah] | Quíxwörth | Quíxworth | quixworth1
    2020Quixworth01 | AMOSCHEST | PID-90210 | pid90210 | PID_90210 | PID 90210 chest | 90210
    0090210 | id90210x | P.I.D.90210 | a-90210-b | OLD-7781-K | old7781k | ACC 815/77 | ACC81577
    acc-815-77 | ACC_815_77 | RheinKlinik | 19520607 | 1952-06-07 | 1952_06_07 | 1952.6.7
    1952 06 07 | 07061952 | 07.06.1952 | 7-6-1952 | 06071952 | 06-07-1952 | 6_7_1952 | 07.06.52
    520607 | 070652 | 7 June 1952 | 07JUN1952 | Jun 7, 1952 | June 7th 1952 | 7. Juni 1952
    7 juin 1952 | 7 de junio de 1952 | 7 июня 1952 | 1952年6月7日 | born19520607 | X_19520607_Y
    1.2.40.0.13.1.222 | 1.2.40.0.13.1.111 | CR.1.2.40.0.13.1.111 | 1.2.40.0.13.1.111_1
    PID-90210 Quixworth^Zebediah | Quixworth Zebediah 07.06.1952 | Quixworth%5EZebediah
    %51uixworth
    """
)
HARMLESS = _texts(
    """
    CHEST PA | chest | IM0001 | IMG_0001 | other | DICOM | study | series 1 | 1 | 001 | 2020-01-01
    export | 19520608 | 1952 | 1952-07 | 195206071 | 902101 | 190210 | 9021 | PID | ACC | 815 | 77
    7781 | Dr | Jr | Zeb | worth | quix | old | a | 0 | 1.2.40.0.13.1 | 1.2.40.0.13.1.2222
    1.2.40.0.13.1.1110 | XR | quick | Zebra | Han | hausboot | edema | pneumonia | 20520607 | 0607
    06.07 | 20190607
    """
)


@pytest.mark.parametrize("text", [*REVEALING, FULL_WIDTH])
def test_what_reveals(text: str) -> None:
    assert reveals_identity(text, ZEB)
    assert reveals_identity(unicodedata.normalize("NFD", text), ZEB)
    assert "%" in text or reveals_identity(quote(text), ZEB)
    assert reveals_identity(f"CHEST {text} PA", ZEB)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_does_not(text: str) -> None:
    assert not reveals_identity(text, ZEB)


PEOPLE = {
    "Müller^Jürgen": (
        "Müller | MUELLER | Muller | mu\u0308ller | Jürgen | Juergen | jurgen | M_ller | M?ller | JürgenMüller",
        "Mue | Mühle | mull | Möller",
    ),
    "Groß^Zoë": (
        "Groß | GROSS | gross | Zoe | zoë | ZOË GROSS",
        "gros | gro",
    ),
    "Łukasiewicz^Zdzisław": (
        "Lukasiewicz | ŁUKASIEWICZ | zdzislaw",
        "lukas",
    ),
    "Sørensen^Åse": (
        "Sorensen | SØRENSEN | Soerensen | Åse | Aase | ase",
        "sore",
    ),
    "Öztürk^Iş\u0131l": (
        "Ozturk | Oeztuerk | ÖZTÜRK | isil",
        "turk",
    ),
    "O'Brien^Séan": (
        "O'Brien | OBRIEN | o_brien | Brien | sean | Séan | O\u2019Brien | obriensean",
        "bri | O",
    ),
    "Smith-Jones^Mary Ann": (
        "Smith | jones | Smith-Jones | SMITHJONES | Mary | MaryAnn | mary_ann | ANN | smith_jones_m",
        "Smit | annual | mar",
    ),
    "van der Berg^Jan": (
        "Berg | van der Berg | VANDERBERG | berg_jan | Jan",
        "van | der | bergamot | january",
    ),
    "Ng^Bo": (
        "Ng Bo | NG_BO | ngbo | bo-ng | BoNg",
        "ng | bo | ngb",
    ),
    "Lee^Ann": (
        "Lee | ANN | lee_ann | LeeAnn | annlee | leechest | jpg lee | aLee | LeeA",
        "sleep | annex",
    ),
    "Ray^Max": (
        "Ray | max_ray | RayMax",
        "xray | XRAY | x | maxilla",
    ),
    "Quixworth Zebediah": (
        "Quixworth | zebediah",
        "chest",
    ),
    "Иванов^Пётр=": (
        "Иванов | ИВАНОВ | иванов_пётр | Петр | ПЁТР",
        "иван | грудь | п",
    ),
    "Yamada^Tarou=山田^太郎=やまだ^たろう": (
        "Yamada | TAROU | 山田 | 太郎 | 山田太郎 | 山田_太郎 | 胸部山田 | やまだ | ヤマダ | ﾔﾏﾀﾞ | たろう | タロウ",
        "山 | 胸部 | 田中",
    ),
    "Wang^XiaoDong=王^小东": (
        "Wang | xiaodong | 小东 | 王小东 | 王_小东",
        "王 | 小 | 胸",
    ),
    "Hong^Gildong=洪^吉洞=홍^길동": (
        "Hong | 길동 | 홍길동 | 홍_길동 | 吉洞",
        "홍 | 가슴",
    ),
    "Παπαδόπουλος^Νίκος": (
        "Παπαδόπουλος | ΠΑΠΑΔΟΠΟΥΛΟΣ | νικος",
        "παπα",
    ),
}
"""Names, what reveals them, and what does not."""


@pytest.mark.parametrize("name", PEOPLE)
def test_names_of_the_world(name: str) -> None:
    patient = header(PatientName=name)
    revealing, harmless = (_texts(table) for table in PEOPLE[name])
    assert [text for text in revealing if not reveals_identity(text, patient)] == []
    assert [text for text in revealing if not reveals_identity(unicodedata.normalize("NFD", text), patient)] == []
    assert [text for text in harmless if reveals_identity(text, patient)] == []


@pytest.mark.parametrize("wrong", ["cp437", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["Müller", "Иванов", "山田太郎"])
def test_names_in_a_wrong_encoding(name: str, wrong: str) -> None:
    """UTF-8 that a zip archive does not declare, and bytes that are no UTF-8 in the name of a file."""
    patient = header(PatientName=name)
    try:
        garbled = name.encode().decode(wrong)
    except UnicodeDecodeError:
        pytest.skip("this encoding lacks a byte of it")
    assert reveals_identity(f"{garbled}_chest", patient)
    assert reveals_identity(name, header(PatientName=garbled))
    if name == "Müller":
        assert reveals_identity(name.encode("latin-1").decode("utf-8", "surrogateescape"), patient)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientID": "1", "PatientName": "ANONYMOUS"},
        {"PatientID": "001", "PatientName": "Unknown^Patient"},
        {"PatientID": "CHEST", "PatientName": "CHEST^PA"},
        {"PatientID": "42", "PatientName": "Dr^Jr"},
        {"PatientID": "ANON", "PatientName": "X^Y", "PatientBirthDate": "00000000", "AccessionNumber": "0"},
        {"PatientID": "", "PatientName": "", "PatientBirthDate": "", "StudyID": "12"},
        {"StudyInstanceUID": "1.2.3", "PatientBirthDate": "no date"},
        {},
    ],
)
def test_placeholders_reveal_nothing(attributes: dict[str, str]) -> None:
    patient = header(**attributes)
    for text in ("CHEST PA", "1", "001", "IM0001", "ANONYMOUS", "patient 1", "study 12", "X", "0", "DICOM", "1.2.3.4"):
        assert not reveals_identity(text, patient), text


def test_short_identifiers_stand_alone() -> None:
    patient = header(PatientID="K42")
    for text in ("K42", "k-42", "chest_k42", "K 42"):
        assert reveals_identity(text, patient)
    for text in ("K421", "AK42", "42", "K4"):
        assert not reveals_identity(text, patient)


def test_identifiers_in_sequences() -> None:
    other, qualifier = header(PatientID="MRN-55512"), header(UniversalEntityID="KLINIK-X1")
    other.IssuerOfPatientIDQualifiersSequence = [qualifier]
    patient = header(PatientID="A-1", OtherPatientIDsSequence=[other])
    assert reveals_identity("mrn55512", patient) and reveals_identity("klinik_x1", patient)
    assert not reveals_identity("55", patient)


def test_a_word_list_holds_nothing_of_its_own() -> None:
    known = identifying_words(ZEB)
    assert {"quixworth", "zebediah", "amos"} <= known.words and not {"dr", "jr"} & known.words


def test_what_stands_in_the_place_of_a_path() -> None:
    names = ("export 2020", "PID-90210 Quixworth^Zebediah", "CHEST PA", "QUIXWORTH_ZEBEDIAH_19520607")
    new = replaced(names, ZEB, "pseudonymize", KEY)
    person = f"SYN-{Pseudonyms(KEY).code('patient', patient_key(ZEB))}"
    assert (new[0], new[2]) == ("export 2020", "CHEST PA")
    assert new[1].startswith(f"{person}-") and new[3].startswith(f"{person}-") and new[1] != new[3]
    assert not any(reveals_identity(part, ZEB) for part in new)
    assert replaced(names, ZEB, "pseudonymize", KEY) == new
    assert replaced(names, ZEB, "pseudonymize", b"another key of good length")[1] != new[1]


def test_stripped_paths_are_neutral() -> None:
    folder, stem = replaced(("Quixworth", "IM0001"), ZEB, "anonymize", KEY)
    assert stem == "IM0001" and folder.startswith("SYNTHETIC-")
    assert Pseudonyms(KEY).code("patient", patient_key(ZEB)) not in folder
    other, _ = replaced(("Quixworth", "IM0001"), ZEB, "anonymize", b"of the next run, random")
    assert other != folder


def test_different_names_stay_different() -> None:
    """Files of one folder, and folders of one patient, must not end in one place."""
    stems = tuple(f"Quixworth_{number}" for number in range(2000))
    for deidentify in ("pseudonymize", "anonymize"):
        assert len(set(replaced(stems, ZEB, deidentify, KEY))) == len(stems)


def test_names_of_one_source_share_its_person() -> None:
    """Also where the header names no patient, whose pseudonym is random then."""
    nameless = header(AccessionNumber="ACC 815/77")
    first, second = replaced(("ACC815-77", "acc 815/77 chest"), nameless, "pseudonymize", KEY)
    assert first != second and first.rpartition("-")[0] == second.rpartition("-")[0]


def test_harmless_paths_stay() -> None:
    assert replaced(("a", "b", "IM1"), ZEB, "pseudonymize", KEY) == ("a", "b", "IM1")
    assert replaced(("x",), Dataset(), "anonymize", KEY) == ("x",)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20), st.text(max_size=10))
def test_any_text(text: str, name: str, identifier: str, date: str) -> None:
    patient = header(PatientName=name, PatientID=identifier, PatientBirthDate=date)
    assert reveals_identity(text, patient) in (True, False)
    assert not reveals_identity("", patient)
    new = replaced((text,), patient, "pseudonymize", KEY)
    assert reveals_identity(text, patient) == (new != (text,))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["Quixworth", "ZEBEDIAH", "pid-90210", "1952-06-07", "07.06.1952", "ACC 815/77", "OLD/7781 K"]),
    st.sampled_from(["", "chest", "IM0001", "export", "CT1", "PA"]),
    st.sampled_from(["", "chest", "left", "XR", "x"]),
    st.sampled_from([" ", "_", "-", ".", "^", ",", "__"]),
)
def test_a_secret_among_other_words(secret: str, before: str, after: str, separator: str) -> None:
    assert reveals_identity(separator.join((before, secret, after)), ZEB)
