"""Names of folders and files that identify the patient, and pseudonymous ones in their place.

Archives name what they export after the patient ("PID-90210 Quixworth^Zebediah", "QUIXWORTH_ZEBEDIAH_19520607.dcm").
Everything here is a function of text and header; no file is touched.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.deidentify import (
    ANONYMIZE,
    WORDS,
    Pseudonyms,
    fold,
    is_placeholder,
    patient_key,
)

NAMES = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ResponsiblePerson",
    "ReferringPhysicianName",
)
"""Attributes with names of persons that a path must not hold."""

IDENTIFIERS = ("PatientID", "OtherPatientIDs", "IssuerOfPatientID", "AccessionNumber", "StudyID")
"""Attributes with identifiers that a path must not hold; those of Other Patient IDs Sequence as well."""

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
"""UIDs that a path must not hold, as outputs have new ones (PS3.15 E.1.1)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NO_NAMES = _words(
    """
    chest thorax lung image images img dicom dcm study series scan export patient patients file files folder data
    lateral frontal portable supine erect view unit xray radiograph radiography radiology
    herr frau mrs miss prof doctor von van der den del los las bin ibn abu
    """
)
"""Words of a name that name no one: what is in many paths, titles and particles."""

COMMON = NO_NAMES | _words(
    """
    a abdomen ap body cd clinic computed cr ct cxr date digital disk dob dr dx edit edits hand head heart hospital im
    inspiration left ll lld mr neck new old pa pacs pat pelvis pid posterior research rib ribs right rl rld routine
    scans set side slice source spine standing str the upright ward xr
    """
)
"""Words that are written together with a name ("leechest")."""

MONTHS = (
    "jan janv ene gen янв",
    "feb fev fevr февр фев",
    "mar mrz maerz marz mars мар",
    "apr avr abr апр",
    "may mai mei maj mag май мая",
    "jun juin giu июн",
    "jul juil lug июл",
    "aug aout ago авг",
    "sep sept set сен",
    "oct okt ott out окт",
    "nov ноя",
    "dec dez dic des дек",
)
"""Beginnings of the names of months in the larger European languages."""

_LETTERS = re.compile(r"[^\W\d_]+")
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "oe", "å": "aa", "œ": "oe"})
_PLAIN = str.maketrans({"æ": "a", "ø": "o", "œ": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i"})
# Hiragana for katakana: one name is written in either.
_KANA = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}


@dataclass(frozen=True)
class Identifying:
    """Strings that identify a header's patient, folded for comparisons.

    ``words``: parts of names, found as words. ``runs``: parts that are found inside words as well. ``patterns``:
    regular expressions of identifiers, dates and UIDs over text in lower case.
    """

    words: frozenset[str]
    runs: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]


def identifying_words(dataset: Dataset) -> Identifying:
    """Return what a path must not hold: names, identifiers, birth date and UIDs of a header.

    Not taken are placeholders ("ANONYMOUS", "0"), parts of names of less than 3 letters, or of less than 2 characters
    of scripts like the Chinese, identifiers of less than 3 characters and Study ID of less than 5.
    """
    words: set[str] = set()
    patterns: list[str] = []
    for keyword in NAMES:
        for name in header.texts(dataset, keyword):
            for spelling in _spellings(name):
                words |= _name_words(spelling)
                patterns += _patched_patterns(spelling)
    for keyword, value in _identifiers(dataset):
        # Study ID is often a running number.
        patterns += _identifier_patterns(value, 5 if keyword == "StudyID" else 3)
    patterns += [re.escape(uid) + r"(?![\d.])" for uid in (header.text(dataset, k) for k in UIDS) if len(uid) > 9]
    patterns += _date_patterns(header.text(dataset, "PatientBirthDate"))
    runs = frozenset(word for word in words if len(word) >= (5 if _alphabetic(word) else 2))
    return Identifying(frozenset(words), runs, tuple(re.compile(pattern) for pattern in patterns))


def pseudonymous_names(names: Iterable[str], dataset: Dataset, deidentify: str, key: bytes) -> dict[str, str]:
    """Return what stands in an output's path for each of ``names``, folders and stems that reveal the patient.

    ``deidentify``: ``pseudonymize`` gives the output's Patient ID and 8 characters that stand for the old name
    ("SYN-K5QH3WZ2N7AB-X4QJ7TPA"), so that different names stay different; ``anonymize`` the same with ``SYNTHETIC`` for
    the Patient ID. ``key``: the secret of the pseudonyms; for ``anonymize`` random bytes, the same for all sources of a
    run.
    """
    pseudonyms = Pseudonyms(key)
    person = "SYNTHETIC" if deidentify == ANONYMIZE else f"SYN-{pseudonyms.code('patient', patient_key(dataset))}"
    return {name: f"{person}-{pseudonyms.code('path', name)[:8]}" for name in names}


def reveals(text: str, known: Identifying) -> bool:
    """Tell whether a part of a path holds a name, identifier, birth date or UID of a header.

    Case, accents, separators, composition of characters, percent-encoding and text in a wrong encoding (the names in
    zip archives) are seen through, and so are names written together ("ZebediahQuixworth", "zquixworth").
    """
    for spelling in _spellings(unquote(text)):
        lower = fold(spelling)
        if any(pattern.search(lower) for pattern in known.patterns):
            return True
        for folded in _folded(spelling):
            tokens = _LETTERS.findall(folded)
            glued = "".join(tokens)
            if any(run in glued for run in known.runs):
                return True
            if any(_made_of(token, known.words) for token in tokens):
                return True
            if any(first + second in known.words for first, second in pairwise(tokens)):
                return True
        # Words in camel case: "LeeAnna", "XRLee".
        camel = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])", " ", spelling)
        if any(token in known.words for folded in _folded(camel) for token in _LETTERS.findall(folded)):
            return True
    return False


def _made_of(token: str, words: frozenset[str]) -> bool:
    """Tell whether a word is a name, or a name beside other names, common words or an initial: "leechest", "jlee"."""
    if token in words or token in COMMON:
        return token in words
    initials = {word[0] for word in words}
    for word in words:
        if _alphabetic(word) and word in token:
            rest = token.replace(word, " ", 1).split()
            if all(part in words or part in COMMON or part in initials for part in rest):
                return True
    return False


# --- names ------------------------------------------------------------------------------------------------------------


def _spellings(text: str) -> Iterator[str]:
    """Yield text as it stands and, where it is UTF-8 that was read as something else, as it was meant."""
    yield text
    for wrong in ("cp437", "latin-1", "cp1252"):
        try:
            meant = text.encode(wrong).decode("utf-8")
        except UnicodeError:
            continue
        if meant != text:
            yield meant
    for meant in ("utf-8", "shift_jis", "latin-1", "gb18030"):
        # Names of files that are no UTF-8 reach Python with surrogates.
        if any("\udc80" <= c <= "\udcff" for c in text):
            try:
                yield text.encode("utf-8", "surrogateescape").decode(meant)
            except UnicodeError:
                continue


def _folded(text: str) -> set[str]:
    """Return text in lower case without accents, umlauts as one letter and as two."""
    composed = unicodedata.normalize("NFKC", text).casefold()
    return {fold(composed.translate(table).translate(_PLAIN)).translate(_KANA) for table in ({}, _GERMAN)}


def _alphabetic(word: str) -> bool:
    """Tell whether a word is of letters; one of signs for syllables or words (Chinese, Kana, Hangul) is not."""
    return not any("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" for c in word)


def _name_words(name: str) -> set[str]:
    """Return the words of a name (PN, PS3.5 6.2.1) in all groups, alone and written together."""
    found: set[str] = set()
    for group in name.split("="):
        # Prefix and suffix, the last two components, are titles and the like.
        components = group.split("^")[:3]
        if is_placeholder(group):
            continue
        for folded in _folded("^".join(components)):
            pieces = [["".join(_LETTERS.findall(piece)), *_LETTERS.findall(piece)] for piece in folded.split("^")]
            words = [word for piece in pieces for word in piece if word]
            words += ["".join(_LETTERS.findall(word)) for word in re.split(r"[\s,;_.]+", folded.replace("^", " "))]
            found |= {word for word in words if _tells(word)}
            # Two parts written together tell more than one: "Ng^Bo" as "ngbo", "bong"; "王^明" as "王明".
            wholes = [piece[0] for piece in pieces if piece[0]]
            parts = wholes if len(wholes) > 1 else _LETTERS.findall(folded)
            mute = COMMON | WORDS
            pairs = [a + b for a in parts for b in parts if a is not b and not {a, b} <= mute]
            found |= {pair for pair in pairs if len(pair) >= (4 if _alphabetic(pair) else 2)}
    return found


def _patched_patterns(name: str) -> list[str]:
    """Return patterns of the words of a name whose accented letters were replaced: "M_ller", "M?ller"."""
    patterns = []
    for word in _LETTERS.findall(unicodedata.normalize("NFKC", name).casefold()):
        ascii_letters = [c for c in word if c.isascii()]
        if 4 <= len(ascii_letters) < len(word):
            patterns.append("".join(c if c.isascii() else r"[\W_]{1,2}" for c in word))
    return patterns


def _tells(word: str) -> bool:
    """Tell whether a word of a name identifies a person."""
    if word in NO_NAMES or word in WORDS:
        return False
    return len(word) >= (3 if _alphabetic(word) else 2)


# --- identifiers and dates --------------------------------------------------------------------------------------------


def _identifiers(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield attribute and value of all identifiers that are no placeholders."""
    found = [(keyword, value) for keyword in IDENTIFIERS for value in header.texts(dataset, keyword)]
    items = header.items(dataset, "OtherPatientIDsSequence")
    found += [(keyword, header.text(item, keyword)) for item in items for keyword in ("PatientID", "IssuerOfPatientID")]
    for owner in (dataset, *items):
        for item in header.items(owner, "IssuerOfPatientIDQualifiersSequence"):
            found.append(("UniversalEntityID", header.text(item, "UniversalEntityID")))
    yield from ((keyword, value) for keyword, value in found if value and not is_placeholder(value))


def _identifier_patterns(value: str, shortest: int) -> list[str]:
    """Return patterns of an identifier, whatever separates its characters, and of the long numbers in it.

    A short identifier, of less than 5 characters, must stand alone; another one may stand between letters, but a number
    not within a longer one.
    """
    characters = [c for c in fold(value) if c.isalnum()]
    text = "".join(characters)
    if len(text) < shortest or text in COMMON:
        return []
    spaced = r"[\W_]{0,3}".join(re.escape(c) for c in characters)
    if len(text) < 5:
        return [rf"(?<![^\W_]){spaced}(?![^\W_])"]
    before, after = (r"(?<!\d)" if text[0].isdigit() else ""), (r"(?!\d)" if text[-1].isdigit() else "")
    patterns = [before + spaced + after]
    for number in re.findall(r"\d+", fold(value)):
        core = number.lstrip("0")
        if len(core) >= 5:
            patterns.append(rf"(?<!\d)0*{core}(?!\d)")
    return patterns


def _date_patterns(value: str) -> list[str]:
    """Return patterns of a date (DA) in the orders and spellings of the world; none where it is no date."""
    try:
        date = datetime.datetime.strptime(re.sub(r"\D", "", value)[:8], "%Y%m%d").date()
    except ValueError:
        return []
    year, short = f"{date.year:04d}", f"{date.year % 100:02d}"
    day, month = (f"{number:02d}" for number in (date.day, date.month))
    glue = [year + month + day, day + month + year, month + day + year]
    patterns = [rf"(?<!\d){digits}(?!\d)" for digits in glue]
    patterns += [rf"(?<![^\W_]){digits}(?![^\W_])" for digits in (short + month + day, day + month + short)]
    patterns.append(rf"(?<![^\W_]){month}{day}{short}(?![^\W_])")
    gap = r"[\W_年月년월]{1,2}"
    d, m, y = (f"0?{date.day}" if date.day < 10 else day), (f"0?{date.month}" if date.month < 10 else month), year
    for first, second, third in ((y, m, d), (d, m, y), (m, d, y), (d, m, short), (m, d, short), (short, m, d)):
        patterns.append(rf"(?<!\d){first}{gap}{second}{gap}{third}(?!\d)")
    names = "|".join(sorted(fold(MONTHS[date.month - 1]).split(), key=len, reverse=True))
    word = rf"(?:{names})[^\W\d_]*"
    gap = r"[\W_]{0,3}(?:st|nd|rd|th|de)?[\W_]{0,3}"
    for first, second, third in ((d, word, y), (word, d, y), (y, word, d), (d, word, short)):
        patterns.append(rf"(?<!\d){first}{gap}{second}{gap}{third}(?!\d)")
    return patterns
