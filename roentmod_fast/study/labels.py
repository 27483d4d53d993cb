"""What a classifier is trained to find in an edit: labels by the policies that the RoentMod paper compared.

A source has no finding, so the finding that was asked for is known, and the others are: ``absent``, or ``ignore`` (no
label), or ``cooccurrence``, the share of edits in which readers saw them, which then is the training target itself
(soft label). A finding that the source itself has stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from roentmod_fast.errors import SettingError
from roentmod_fast.findings import FINDINGS, NORMAL_PROMPT, find_findings, negated_findings, split_negated
from roentmod_fast.findings import names as holds
from roentmod_fast.study.datasets import DATA, NO_FINDING, rows_of

POLICIES = ("absent", "ignore", "cooccurrence")
ASKED = ("1", "diagonal")

READ = (*(finding.key for finding in FINDINGS), "emphysema", "nodule")
"""The findings that the paper's readers looked for: its six, and two that it left out afterwards."""

Rates = Mapping[str, Mapping[str, float]]
"""For each finding that was asked for, the share of edits in which others were seen; unknown ones are absent."""


@dataclass(frozen=True)
class Labels:
    """How edits are labelled.

    ``policy``: one of :data:`POLICIES`; ``asked``: the value of the finding that was asked for, 1 or the ``diagonal``
    of ``rates``; ``draw``: a seed by which values between 0 and 1 are drawn as 0 or 1, None to keep them.
    """

    policy: str = "absent"
    asked: str = "1"
    rates: Rates = field(default_factory=dict)
    draw: int | None = None

    def of_image(self, prompt: str, names: Iterable[str], image_id: str) -> dict[str, float | None]:
        """Return the value of each finding in an image that is generated from a text alone, None where it has none.

        ``names``: of more label columns. Nothing of a source can be left in it: with the normal prompt all findings
        are absent by each policy.
        """
        values = self.of_edit(prompt, dict.fromkeys(names, ""), image_id)
        if asked_findings(prompt) == (NO_FINDING,):
            return {name: float(name == NO_FINDING) for name in values}
        return values

    def of_edit(self, prompt: str, source: Mapping[str, str], edit_id: str) -> dict[str, float | None]:
        """Return the value of each finding in an edit, None where it has none.

        ``source``: the labels of its source, ``1``, ``0`` or empty.
        """
        columns = tuple(dict.fromkeys((*READ, *source)))
        asked, negated = _read(prompt, columns)
        values = {name: self._value(name, asked, source.get(name, "")) for name in columns}
        # Whether an edit takes away what its prompt negates nobody knows.
        values |= dict.fromkeys(negated)
        if asked == (NO_FINDING,):
            # What the edit takes away of the source's findings nobody knows.
            values = {name: None if self.policy == "ignore" or source.get(name) == "1" else 0.0 for name in columns}
        if NO_FINDING in source:
            values[NO_FINDING] = 0.0 if asked and asked != (NO_FINDING,) else None
        if asked == (NO_FINDING,) and source.get(NO_FINDING) == "1":
            values[NO_FINDING] = 1.0
        return {name: self._drawn(value, edit_id, name) for name, value in values.items()}

    def _value(self, name: str, asked: tuple[str, ...], in_source: str) -> float | None:
        if name in asked:
            return 1.0 if self.asked == "1" else self.rates.get(name, {}).get(name)
        if in_source == "1":
            return 1.0
        if not asked or self.policy == "ignore":
            return None
        if self.policy == "absent":
            return 0.0
        known = [rate for each in asked if (rate := self.rates.get(each, {}).get(name)) is not None]
        return max(known) if len(known) == len(asked) else None

    def _drawn(self, value: float | None, edit_id: str, name: str) -> float | None:
        if value is None or self.draw is None or value in (0.0, 1.0):
            return value
        digest = hashlib.sha256(f"{self.draw}\0{edit_id}\0{name}".encode()).digest()
        return float(int.from_bytes(digest[:8], "big") / 2**64 < value)


def asked_findings(prompt: str, columns: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the findings that a prompt asks for; ``no_finding`` for the paper's normal prompt.

    ``columns``: of labels, whose names are findings too. What the prompt negates is not asked for.
    """
    return _read(prompt, tuple(columns))[0]


@lru_cache(maxsize=1024)
def _read(prompt: str, columns: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the findings that a prompt asks for and those that it only negates; a cohort has few prompts."""
    if _is_normal(prompt):
        return (NO_FINDING,), ()
    stated, negated = split_negated(prompt)
    asked = _found(stated, find_findings(prompt), columns)
    found = _found(negated, negated_findings(prompt), columns)
    return asked, tuple(name for name in found if name not in asked)


def _found(text: str, paper: tuple[str, ...], columns: Iterable[str]) -> tuple[str, ...]:
    more = {"emphysema": r" emphysema", "nodule": r" nodul"}
    own = [name for name, words in more.items() if re.search(words, text)]
    return tuple(dict.fromkeys((*paper, *own, *(name for name in columns if _is_column(text, name)))))


def _is_column(text: str, name: str) -> bool:
    # The paper's findings have wordings of their own: "pericardial effusion" is no effusion.
    return name != NO_FINDING and name not in READ and holds(text, name)


def _is_normal(prompt: str) -> bool:
    return " ".join(re.findall(r"[a-z]+", prompt.lower())) == NORMAL_PROMPT


def label_hint(prompt: str, columns: Iterable[str] = ()) -> str | None:
    """Return what a user should know of the labels of a prompt's edits, None where there is nothing to say."""
    columns = tuple(columns)
    if not asked_findings(prompt, columns):
        return f"prompt {prompt!r} gives no label: its edits have no finding of their own in the table"
    if lost := _read(prompt, (*READ, *columns))[1]:
        return f"prompt {prompt!r} negates {', '.join(lost)}: its edits have no label of it"
    return None


def read_rates(path: Path | None = None) -> dict[str, dict[str, float]]:
    """Read a table of co-occurrence: CSV, a row for each finding that is asked for, a column for each that is seen.

    None is the one that comes with the package: the few cells that the paper's text gives. An empty cell is unknown.
    Raises SettingError for an unknown finding, and a value that is not in [0, 1].
    """
    file = DATA / "cooccurrence.csv" if path is None else path
    rates: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows_of(file, ("asked",)), 2):
        asked = (row.pop("asked") or "").strip()
        for name in (asked, *(name or "" for name in row)):
            if name not in READ:
                raise SettingError(f"{file}: row {number}: unknown finding {name!r}: expected one of {', '.join(READ)}")
        rates[asked] = {}
        for name, text in row.items():
            if (text or "").strip():
                rates[asked][name] = _rate(text, f"{file}: row {number}, column {name}")
    if not rates:
        raise SettingError(f"{file}: no rows: expected asked,{','.join(READ)}")
    return rates


def _rate(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise SettingError(f"{where}: {text!r} is no share: expected a number from 0 to 1")
    return value
