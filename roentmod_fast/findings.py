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
    """Return the keys of the paper's findings that ``text`` names, in the paper's order.

    A finding is named by its key, its prompt or one of its wordings; the empty tuple means that ``text`` names none.
    """
    words = f" {' '.join(re.findall(r'[a-z]+', text.lower()))} "
    return tuple(
        finding.key
        for finding in FINDINGS
        if any(f" {name} " in words for name in (finding.key, finding.prompt, *finding.wordings))
    )


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
