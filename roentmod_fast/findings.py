"""The findings of the RoentMod paper: the prompts it uses and what it measured of each.

Source: Cooke et al., "RoentMod: a synthetic chest X-ray modification model to identify and correct image
interpretation model shortcuts", 2025. The rates are those of its radiologist reads: the share of edits in which the
asked finding was seen.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass

NORMAL_PROMPT = "no acute cardiopulmonary process"


@dataclass(frozen=True)
class Finding:
    """One finding that the paper edits in.

    ``key`` is the name used in code and file names, ``prompt`` the paper's final wording, ``paper_rate`` the share of
    edits in which readers saw the finding, ``wordings`` other ways to say it.
    """

    key: str
    prompt: str
    paper_rate: float
    wordings: tuple[str, ...]


FINDINGS: tuple[Finding, ...] = (
    Finding("cardiomegaly", "cardiomegaly", 0.92, ("enlarged heart", "enlarged cardiac silhouette")),
    Finding("edema", "edema", 0.97, ("pulmonary edema", "perihilar edema", "pulmonary oedema")),
    Finding(
        "pneumonia",
        "middle lobe pneumonia",
        0.89,
        ("right middle lobe pneumonia", "pneumonia", "right middle lobe consolidation"),
    ),
    Finding(
        "effusion",
        "right pleural effusion",
        0.93,
        ("large right pleural effusion", "pleural effusion", "right sided pleural effusion"),
    ),
    Finding("hernia", "hernia", 0.99, ("hiatal hernia", "large hiatal hernia")),
    Finding("mass", "left upper lobe mass", 0.99, ("mass", "lung mass", "left lung mass", "left upper lobe lung mass")),
)

PROMPTS: tuple[str, ...] = (NORMAL_PROMPT, *(finding.prompt for finding in FINDINGS))
"""The seven prompts of the paper's final set, in its order."""

BY_KEY: dict[str, Finding] = {finding.key: finding for finding in FINDINGS}


def find_findings(text: str) -> tuple[str, ...]:
    """Return the keys of the paper's findings that ``text`` names as present, in the paper's order.

    A finding is named by its key, its prompt or one of its wordings, also in the plural; the empty tuple means that
    ``text`` names none. What is negated ("no edema", "without effusions") is not named.
    """
    return _named(split_negated(text)[0])


def negated_findings(text: str) -> tuple[str, ...]:
    """Return the keys of the paper's findings that ``text`` negates."""
    return _named(split_negated(text)[1])


def _named(text: str) -> tuple[str, ...]:
    text = text.replace(" pericardial effusion ", " ")  # the paper's is pleural
    return tuple(
        finding.key
        for finding in FINDINGS
        if any(names(text, name) for name in (finding.key, finding.prompt, *finding.wordings))
    )


def names(text: str, name: str) -> bool:
    """Tell whether a part of :func:`split_negated` holds a name; ``_`` is a space, and a plural is its singular."""
    words = re.findall(r"[a-z]+", name.lower().replace("_", " "))
    return bool(words) and f" {' '.join(map(_singular, words))} " in text


_NEGATES = frozenset(
    {"no", "not", "nor", "neither", "never", "without", "absent", "absence", "negative", "excluded"}
    | {"resolved", "resolution", "resolving", "cleared", "removed", "remove", "removal", "less", "fewer"}
)
"""Words after which a finding is not stated, up to the end of the clause."""

_NEGATES_BEFORE = frozenset({"absent", "excluded", "resolved", "cleared", "removed", "not"})
"""Words that take back what their clause named before ("edema resolved")."""

_ENDS_CLAUSE = frozenset({"but", "with", "however", "although", "yet"})


def split_negated(text: str) -> tuple[str, str]:
    """Return the words that ``text`` states and those that it negates: lower case, singular, with spaces around.

    A negation reaches over commas, "and" and "or": "no edema or mass" states neither. It ends at a full stop, a
    semicolon, a colon, "but" or "with".
    """
    stated, negated = list[str](), list[str]()
    for part in re.split(
        r"[.;:\n]", re.sub(r"\bfree (of|from)\b|\bw/o\b|\brules? out\b|\bruled out\b", "without", text.lower())
    ):
        clause, off = list[str](), list[str]()
        negates = False
        for word in (*map(_singular, re.findall(r"[a-z]+", part)), "but"):
            if word in _ENDS_CLAUSE:
                stated += ["|", *clause]
                negated += ["|", *off]
                clause, off, negates = [], [], False
                continue
            if word in _NEGATES_BEFORE:
                off += [*clause, "|"]
                clause = []
            negates = negates or word in _NEGATES
            (off if negates else clause).append(word)
    return f" {' '.join(stated)} ", f" {' '.join(negated)} "


def _singular(word: str) -> str:
    """Return a word of a report in the singular: effusions, masses, opacities, pneumothoraces, atelectases, herniae."""
    word = word.replace("oedema", "edema")
    for pattern, ending in (
        (r"ies$", "y"),
        (r"sses$", "ss"),
        (r"xes$|(?<=thora)ces$", "x"),
        (r"(?<=ecta)ses$|(?<=sta)ses$|(?<=o)ses$", "sis"),
        (r"(?<=nia)e$|(?<=edema)ta$|(?<=[^sui])s$", ""),
    ):
        changed = re.sub(pattern, ending, word)
        if changed != word:
            return changed
    return word


_MORE = (
    "acute atelectasis bilateral bibasilar butterfly cardiac cardiopulmonary chronic congestion consolidation diffuse",
    "effusions emphysema enlarged fibrosis fracture hernias hiatus infiltrate infiltration interstitial large left",
    "lesion lobar lobe lower lung lungs masses middle mild moderate multifocal nodular nodule nodules normal opacities",
    "opacity oedema patchy perihilar pleural pneumothorax process pulmonary right severe silhouette sided small",
    "thickening upper vascular with",
)
"""Words of chest radiograph reports beside those of :data:`FINDINGS`: the labels of ChestX-ray14, places, degrees."""


def prompt_hint(prompt: str) -> str | None:
    """Return what a user should know of the words of a prompt, None where there is nothing to say.

    A word that is nearly one of a report's may be misspelt; a prompt that names none of the paper's findings was
    measured by nobody.
    """
    texts = (NORMAL_PROMPT, *_MORE, *(text for item in FINDINGS for text in (item.prompt, *item.wordings)))
    known = {word for text in texts for word in text.split()}
    guesses = {}
    for word in re.findall(r"[a-z]+", prompt.lower()):
        if len(word) >= 4 and word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.8)
            if near and near[0].rstrip("s") != word.rstrip("s"):
                guesses[word] = near[0]
    if guesses:
        meant = re.sub(r"[a-z]+", lambda found: guesses.get(found[0], found[0]), prompt.lower())
        return f"prompt {prompt!r}: did you mean {meant!r}?"
    if prompt.strip().lower() == NORMAL_PROMPT or find_findings(prompt):
        return None
    names = ", ".join(BY_KEY)
    return f"prompt {prompt!r} names none of the findings whose edits were measured ({names}): check what it changes"


def prompt_slug(prompt: str) -> str:
    """Return ``prompt`` as a part of a file name: ASCII letters, digits and hyphens, at most 60 characters."""
    ascii_text = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:60].rstrip("-")
    return slug or "prompt"
