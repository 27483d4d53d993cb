"""De-identify a header: pseudonymize it, anonymize it, or keep the patient's identity (PS3.15 Annex E).

:mod:`.retained` lists the attributes that a de-identified header retains. Placeholders, values of Patient ID and
Patient's Name that many patients share ("ANONYMOUS"), are no basis for a pseudonym.
"""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import hmac
import os
import re
import unicodedata
from dataclasses import dataclass, field

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.folders import data_folder
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import BASIC_PROFILE, MODIFIED_DATES, code_item
from roentmod_fast.radiograph.dicom.retained import copy_retained
from roentmod_fast.radiograph.dicom.stamp import Stamp, uid_of


def fold(text: str) -> str:
    """Return text in lower case, in compatibility form and without accents, for comparisons."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


WORDS = frozenset(
    fold("""
    anon anonym anonyme anonymes anonymous anonymus anonymized anonymised anonymisiert anonymise anonymisee anonimo
    anonima anonimizado anonimizzato anoniem anonimowy anonyymi anoniman
    deidentified deidentify deid pseudonym pseudonymized pseudonymised
    unknown unk unbekannt inconnu inconnue desconocido desconocida desconhecido desconhecida sconosciuto sconosciuta
    onbekend okand ukendt ukjent tuntematon nieznany neznamy bilinmeyen
    none null nil nan na no not noname nobody missing undefined unspecified unassigned unidentified
    blank empty void removed deleted redacted masked hidden confidential erased withheld
    test tests tester testing testpatient testcase dummy demo default example sample temp tmp tbd todo
    patient patienten paciente paziente pacjent patientid patientname pid id name given available applicable identified
    subject person case x y z
    аноним анонимный анонимно неизвестно неизвестный неизвестная тест пациент
    匿名 不明 未知 無名 无名 名無し テスト 患者 测试 測試 익명 미상 환자 테스트 مجهول
    """).split()
)
"""Words of placeholders, in lower case and without accents; a value that consists of such words alone is one."""

_NUMBERS = re.compile(r"0*1|9{3,}|1234?5?6?")
"""Numbers that are placeholders on their own: 1 with leading zeros, 999..., 123 to 123456."""

_FILLING = re.compile(r"0+|x+")


def is_placeholder(identifier: str) -> bool:
    """Tell whether a Patient ID is a placeholder: "ANONYMOUS", "UNKNOWN", "0", "001", "N/A", "xxx"; not "ANON-17".

    The same holds for a Patient's Name: "ANONYMOUS^ANONYMOUS", "^", "Test^Patient".
    """
    words = _words(identifier)
    if not words:
        return bool(identifier.strip())  # punctuation alone
    if len(words) == 1 and _NUMBERS.fullmatch(words[0]):
        return True
    return all(word in WORDS or _FILLING.fullmatch(word) for word in words)


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case without accents; "N/A" and "de-identified" are one word each."""
    folded = re.sub(r"\bn[/.]a\b", "na", fold(text))
    folded = re.sub(r"\bde[-_ ](?=ident)", "de", folded)
    return re.findall(r"[^\W_]+", folded)


PSEUDONYMIZE, NONE, ANONYMIZE = METHODS = ("pseudonymize", "none", "anonymize")
"""Values of ``deidentify``: a stable pseudonym for the patient, the source's own identity, or no link to a patient."""

_FORMER_METHODS = {"pseudonym": PSEUDONYMIZE, "keep": NONE, "strip": ANONYMIZE}
"""Values of versions up to 0.2, still accepted."""

KEY_VARIABLE = "ROENTMOD_PSEUDONYM_KEY"
"""Environment variable with the secret that pseudonyms are made with; without it a key file is used."""


SHIFTED = ("StudyDate", "AcquisitionDate")
"""Dates that stay under a pseudonym, moved by the patient's own number of days (PS3.15 E.3.6)."""


@dataclass(frozen=True)
class Pseudonyms:
    """Stable stand-ins for names, identifiers, UIDs and dates, made with a secret ``key``.

    The same patient gets the same pseudonym and the same shift of dates in every run with the same key; without the key
    nothing leads back.
    """

    key: bytes = field(repr=False)

    def digest(self, kind: str, value: str) -> bytes:
        """Return 32 bytes that stand for ``value`` as a ``kind`` of thing (HMAC-SHA-256)."""
        return hmac.new(self.key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()

    def code(self, kind: str, value: str) -> str:
        """Return 12 capital letters and digits that stand for ``value``."""
        return base64.b32encode(self.digest(kind, value)).decode()[:12]

    def uid(self, value: str) -> UID:
        """Return the UID that stands for the UID ``value``."""
        return uid_of(self.digest("uid", value.strip(" \0")))

    def days(self, patient: str) -> int:
        """Return by how many days the dates of ``patient`` move back, 30 to about ten years."""
        return 30 + int.from_bytes(self.digest("days", patient)[:4], "big") % 3650


def pseudonym_key() -> bytes:
    """Return the secret that pseudonyms are made with: the variable's, else the user's key file, made at first use.

    Raises OutputError where neither can be had, SettingError where the variable is too short to keep a secret.
    """
    given = os.environ.get(KEY_VARIABLE)
    if given is not None:
        if len(given) < 16:
            raise SettingError(f"{KEY_VARIABLE} has {len(given)} characters: expected 16 or more, hard to guess")
        return given.encode()
    path = data_folder() / "pseudonym.key"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass  # another process was faster
            else:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(os.urandom(32))
        key = path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{path}: the key of the pseudonyms cannot be kept there ({error.strerror}): set {KEY_VARIABLE}, or"
            " choose --deidentify anonymize"
        ) from error
    if len(key) < 16:
        raise OutputError(f"{path}: the key of the pseudonyms is damaged: remove it, or set {KEY_VARIABLE}")
    return key


def patient_key(dataset: Dataset, stamp: Stamp | None = None) -> str:
    """Return what distinguishes patients in a header.

    Identifier and issuer; else name and birth date; else the study, series or instance, else ``stamp``. Placeholders
    ("ANONYMOUS", "0") count as absent, as many patients share them.
    """
    identifier = header.text(dataset, "PatientID")
    if identifier and not is_placeholder(identifier):
        return f"id\0{identifier}\0{header.text(dataset, 'IssuerOfPatientID')}"
    name, birth = header.text(dataset, "PatientName"), header.text(dataset, "PatientBirthDate")
    if name and not is_placeholder(name):
        return f"name\0{name}\0{birth}"
    for level in ("Study", "Series", "SOP"):
        unique = header.text(dataset, f"{level}InstanceUID")
        if unique:
            return f"{level.lower()}\0{unique}"
    return f"none\0{(stamp or Stamp()).token('patient')}"


def patient_notes(dataset: Dataset) -> tuple[str, ...]:
    """Return a note where the pseudonym of a header's patient is not made from the Patient ID that it has."""
    if not is_placeholder(header.text(dataset, "PatientID")):
        return ()
    by = "the study" if patient_key(dataset).partition("\0")[0] != "name" else "name and birth date"
    return (f"Patient ID is a placeholder: a pseudonym is made from {by} instead",)


def deidentification(value: str) -> str:
    """Return a value of ``deidentify`` as one of :data:`METHODS`; former values are mapped to their present names.

    Raises SettingError for any other value.
    """
    method = _FORMER_METHODS.get(value, value)
    if method not in METHODS:
        raise SettingError(f"deidentify {value!r}: expected one of {', '.join(METHODS)}")
    return method


def copy_deidentified(
    source: Dataset, target: Dataset, method: str, key: bytes | None, stamp: Stamp | None = None
) -> Pseudonyms | None:
    """Copy the attributes that ``method`` retains from ``source`` to ``target``, and add those of de-identification.

    ``method``: one of :data:`METHODS`. ``source`` is not changed; its pixels are not copied. ``key``: the secret of the
    pseudonyms, None for the user's own. ``stamp``: what new UIDs are made from. Returns the pseudonyms used, for the
    UIDs of other instances, or None for ``none`` and ``anonymize``. Raises OutputError for a look-up table that may
    hold text.
    """
    if method == NONE:
        for element in _elements(source):
            if _may_be_kept(element):
                target.add(_kept(element))
        return None
    stamp = Stamp() if stamp is None else stamp
    copy_retained(source, target, device=method != ANONYMIZE)
    target.PatientSex = target.PatientBirthDate = target.StudyTime = target.AccessionNumber = ""
    target.ReferringPhysicianName = ""
    target.PatientIdentityRemoved = "YES"
    target.DeidentificationMethod = "roentmod-fast: only listed technical attributes kept"
    codes = [BASIC_PROFILE]
    pseudonyms = None
    if method == ANONYMIZE:
        target.PatientName = "SYNTHETIC"
        target.PatientID = f"SYNTHETIC-{stamp.token('patient')[:12].upper()}"
        target.StudyDate = target.StudyID = ""
        target.StudyInstanceUID = stamp.uid("study")
        target.LongitudinalTemporalInformationModified = "REMOVED"
    else:
        pseudonyms = Pseudonyms(pseudonym_key() if key is None else key)
        patient, study = patient_key(source, stamp), header.text(source, "StudyInstanceUID")
        name = pseudonyms.code("patient", patient)
        target.PatientName = f"SYNTHETIC^{name}"
        target.PatientID = f"SYN-{name}"
        target.StudyID = pseudonyms.code("study", study)
        target.StudyInstanceUID = pseudonyms.uid(study) if study else stamp.uid("study")
        frame = header.text(source, "FrameOfReferenceUID")
        if frame:
            target.FrameOfReferenceUID = pseudonyms.uid(frame)
            target.PositionReferenceIndicator = ""
        target.StudyDate = ""
        for keyword in SHIFTED:
            shifted = _shifted(header.text(source, keyword), pseudonyms.days(patient))
            if shifted:
                setattr(target, keyword, shifted)
        target.LongitudinalTemporalInformationModified = "MODIFIED"
        codes.append(MODIFIED_DATES)
    target.DeidentificationMethodCodeSequence = [code_item(code) for code in codes]
    return pseudonyms


def _elements(dataset: Dataset) -> list[DataElement]:
    """Return the elements of a data set that can be read; those that cannot are left out."""
    result = []
    for tag in sorted(dataset.keys()):
        if tag.group == 0x7FE0 or tag.element == 0:
            continue
        try:
            element: DataElement | None = dataset[tag]
        except Exception:  # a value that cannot be parsed cannot be written either
            element = None
        keyword = keyword_for_tag(tag)
        if keyword and dictionary_VR(tag) == "DS" and not _holds_numbers(element):
            # Several numbers in one string ("2048, 1024"): read as such, so written as such.
            numbers = [DSfloat(number, auto_format=True) for number in header.numbers(dataset, keyword)]
            element = DataElement(tag, "DS", numbers) if numbers else element
        if element is not None:
            result.append(element)
    return result


def _holds_numbers(element: DataElement | None) -> bool:
    if element is None or element.VR != "DS":
        return False
    values = element.value if element.VM > 1 else [element.value]
    return not any(isinstance(value, str) and value for value in values)


def _kept(element: DataElement) -> DataElement:
    """Return a copy of an element without what may not be kept in the items of its sequence, at any depth."""
    result = copy.deepcopy(element)
    for item in result.value if result.VR == "SQ" else ():
        for inner in _elements(item):
            if _may_be_kept(inner):
                item[inner.tag] = _kept(inner)
            else:
                del item[inner.tag]
    return result


def _may_be_kept(element: DataElement) -> bool:
    """Tell whether an element may be retained in an edit under the patient's own identity.

    Vendors' own elements describe the source's pixels in ways we cannot redo, signatures no longer hold, icons and
    encrypted attributes show the source, and group 0100 authorizes the source for diagnosis.
    """
    if element.tag.is_private or element.tag.group in (0x0002, 0x0100, 0x4FFE, 0xFFFA, 0xFFFC):
        return False
    return element.keyword not in _NEVER_KEPT


_NEVER_KEPT = frozenset(
    {
        *("IconImageSequence", "HistogramSequence"),
        *("SmallestImagePixelValue", "LargestImagePixelValue"),
        *("SmallestPixelValueInSeries", "LargestPixelValueInSeries"),
        *("EncryptedAttributesSequence", "MACParametersSequence", "DigitalSignaturesSequence"),
        "PixelDataProviderURL",
        *("PixelDataAreaOriginRelativeToFOV", "PixelDataAreaRotationAngleRelativeToFOV"),
    }
)


def _shifted(date: str, days: int) -> str:
    """Return a date (DA) moved back; the empty string where it is none."""
    try:
        moved = datetime.datetime.strptime(date.replace(".", "")[:8], "%Y%m%d") - datetime.timedelta(days=days)
        return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
    except (ValueError, OverflowError):
        return ""
