"""Values of Patient ID and Patient's Name that stand for "no patient named here" and are shared by many patients."""

from __future__ import annotations

import re
import unicodedata


def fold(text: str) -> str:
    """Return text in lower case, in compatibility form and without accents, for comparisons."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _words_of(text: str) -> frozenset[str]:
    return frozenset(fold(text).split())


WORDS = _words_of(
    """
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
    """
)
"""Words of placeholders, in lower case and without accents; a value that consists of such words alone is one."""

_NUMBERS = re.compile(r"0*1|9{3,}|1234?5?6?")
"""Numbers that are placeholders where they stand alone: 1 with leading zeros, 999..., 123 to 123456."""

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
