"""What can be asked for: findings with side, lobe and severity, and the words for each.

Every prompt of Supplemental Table 4 of the RoentMod paper is covered, the two dropped findings included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roentmod_fast.findings import NORMAL_PROMPT

NORMAL_WORDINGS = (
    NORMAL_PROMPT,
    NORMAL_PROMPT,
    NORMAL_PROMPT,
    "normal chest radiograph",
    "no acute cardiopulmonary abnormality",
    "clear lungs",
    "no finding",
)

KEYS = ("cardiomegaly", "edema", "effusion", "pneumonia", "mass", "hernia", "emphysema", "nodules")

TABLE_4 = (
    NORMAL_PROMPT,
    "cardiomegaly",
    "edema",
    "butterfly edema",
    "pneumonia",
    "right upper lobe pneumonia",
    "left upper lobe pneumonia",
    "middle lobe pneumonia",
    "right lower lobe pneumonia",
    "left lower lobe pneumonia",
    "right pleural effusion",
    "left pleural effusion",
    "emphysema",
    "severe emphysema",
    "panlobular emphysema",
    "hernia",
    "solitary lung nodule",
    "multiple pulmonary nodules",
    "right upper lobe mass",
    "left upper lobe mass",
    "middle lobe mass",
    "right lower lobe mass",
    "left lower lobe mass",
)
"""The tested prompts of Supplemental Table 4, each once."""

LOBES = (("right", "upper"), ("right", "middle"), ("right", "lower"), ("left", "upper"), ("left", "lower"))

SEVERITY = {"mild": 0.15, "small": 0.15, "": 0.55, "moderate": 0.5, "large": 0.95, "severe": 0.95}
"""The middle of the severities that a word stands for, 0 to 1."""


@dataclass(frozen=True)
class Asked:
    """One finding: its key, side and lobe where it has one, its kind, the word for its severity and the severity."""

    key: str
    side: str = ""
    lobe: str = ""
    kind: str = ""
    word: str = ""
    severity: float = 0.55

    @property
    def place(self) -> str:
        """The lobe in words; the middle lobe is the right one's."""
        if self.lobe == "middle":
            return "middle lobe"
        return f"{self.side} {self.lobe} lobe" if self.lobe else self.side


def draw_severity(word: str, rng: np.random.Generator) -> float:
    """Draw a severity for a word, 0 to 1."""
    return float(np.clip(SEVERITY[word] + rng.uniform(-0.13, 0.13), 0.02, 1))


def choose(key: str, rng: np.random.Generator) -> Asked:
    """Draw a finding of ``key``: place, kind and severity. The paper's final prompts are the most frequent ones."""
    size_words = ("", "", "", "small", "moderate", "large")
    degree_words = ("", "", "", "mild", "moderate", "severe")
    word = str(rng.choice(size_words if key in ("effusion", "mass", "hernia") else degree_words))
    side = lobe = kind = ""
    if key == "effusion":
        side = str(rng.choice(["right", "left"], p=[0.62, 0.38]))
    elif key == "pneumonia":
        side, lobe = LOBES[int(rng.choice(5, p=[0.14, 0.44, 0.14, 0.14, 0.14]))]
    elif key == "mass":
        side, lobe = LOBES[int(rng.choice(5, p=[0.14, 0.14, 0.14, 0.44, 0.14]))]
    elif key == "edema":
        kind = "butterfly" if rng.random() < 0.2 else ""
    elif key == "nodules":
        kind = "many" if rng.random() < 0.6 else "one"
        word = ""
    return Asked(key, side, lobe, kind, word, draw_severity(word, rng))


def words(asked: Asked, rng: np.random.Generator) -> str:
    """Say a finding in one of several wordings; the paper's own is the most frequent."""
    one = lambda *names: str(rng.choice(names))  # noqa: E731
    word, place = asked.word, asked.place
    if asked.key == "cardiomegaly":
        name = "cardiomegaly" if rng.random() < 0.6 else one("enlarged heart", "enlarged cardiac silhouette")
    elif asked.key == "edema":
        if asked.kind == "butterfly":
            name = one("butterfly edema", "butterfly edema", "bat wing edema", "perihilar edema")
        else:
            name = "edema" if rng.random() < 0.6 else one("pulmonary edema", "interstitial edema", "pulmonary oedema")
    elif asked.key == "effusion":
        name = (
            f"{place} pleural effusion"
            if rng.random() < 0.75
            else one(f"{place} effusion", f"{place} sided pleural effusion")
        )
    elif asked.key == "pneumonia":
        if asked.lobe == "middle" and rng.random() < 0.3:
            place = "right middle lobe"
        if rng.random() < 0.12 and asked.lobe == "middle":
            place = ""
        name = f"{place} {one('pneumonia', 'pneumonia', 'pneumonia', 'consolidation')}".strip()
    elif asked.key == "mass":
        if asked.lobe == "middle" and rng.random() < 0.3:
            place = "right middle lobe"
        if rng.random() < 0.1 and (asked.side, asked.lobe) == ("left", "upper"):
            place = ""
        name = f"{place} {one('mass', 'mass', 'mass', 'lung mass')}".strip()
    elif asked.key == "hernia":
        name = "hernia" if rng.random() < 0.6 else "hiatal hernia"
    elif asked.key == "emphysema":
        name = one("emphysema", "emphysema", "panlobular emphysema")
    else:
        name = (
            one("multiple pulmonary nodules", "pulmonary nodules", "multiple nodules")
            if asked.kind == "many"
            else one("solitary lung nodule", "lung nodule", "solitary pulmonary nodule")
        )
    return f"{word} {name}".strip()


FRAMES = ("{}",) * 6 + ("{}.", "chest x-ray with {}", "frontal chest radiograph showing {}", "there is {}")
JOINS = ("{} and {}", "{}, {}", "{} with {}")


def caption(asked: tuple[Asked, ...], rng: np.random.Generator) -> str:
    """Say what a film shows."""
    if not asked:
        return str(rng.choice(NORMAL_WORDINGS))
    says = [words(one, rng) for one in asked]
    phrase = says[0] if len(says) == 1 else str(rng.choice(JOINS)).format(*says)
    return str(rng.choice(FRAMES)).format(phrase)


def parse(prompt: str) -> Asked:
    """Return what a prompt of :data:`TABLE_4` asks for, with a severity word in front where it has one."""
    rest = prompt.lower().split()
    word = rest.pop(0) if rest[0] in SEVERITY else ""
    text = " ".join(rest)
    key = next(
        key
        for key, name in (
            ("cardiomegaly", "cardiomegaly"),
            ("edema", "edema"),
            ("effusion", "effusion"),
            ("pneumonia", "pneumonia"),
            ("mass", "mass"),
            ("hernia", "hernia"),
            ("emphysema", "emphysema"),
            ("nodules", "nodule"),
        )
        if name in text
    )
    side = "left" if "left" in text else "right" if "right" in text or "middle" in text else ""
    lobe = next((name for name in ("upper", "middle", "lower") if name in text), "")
    if key == "pneumonia" and not lobe:
        side, lobe = "right", "middle"
    if key == "mass" and not lobe:
        side, lobe = "left", "upper"
    kind = "butterfly" if "butterfly" in text else "many" if "nodules" in text else "one" if "nodule" in text else ""
    return Asked(key, side, lobe, kind, word, SEVERITY[word])
