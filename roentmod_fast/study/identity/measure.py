"""Look at the sources and edits of a cohort once, one source in memory at a time, and keep what is compared."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.metrics import ChangeStatistics, change_statistics
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.identity.embeddings import Embeddings
from roentmod_fast.study.identity.follow_ups import FollowUp
from roentmod_fast.study.pairs import CohortPairs, SourceImage, in_size
from roentmod_fast.study.sources import SourceRow

MODEL, CONTROL, REAL = "model", "control", "real"
"""Scores, as the paper calls them: the own edit, another patient's edit, a real follow-up."""


@dataclass(frozen=True)
class Query:
    """An image that is compared with sources: an edit, or a follow-up.

    ``source``: index of the own one. ``edit_id``: empty of a follow-up, whose ``line`` in the table is given then.
    ``prompt``: of a follow-up where it belongs to one. ``change``: from the own source, in the edit's size. ``sha256``:
    of a follow-up's file.
    """

    kind: str
    source: int
    keys: tuple[str, ...]
    change: ChangeStatistics
    prompt: str
    repeat: int = 0
    edit_id: str = ""
    line: int = 0
    sha256: str = ""


@dataclass
class Measured:
    """What was looked at. ``patients``: of each source, as numbers; ``keys``: by source, for each model."""

    sources: list[SourceRow] = field(default_factory=list)
    patients: list[int] = field(default_factory=list)
    keys: list[tuple[str, ...]] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    pending: Counter[str] = field(default_factory=Counter)

    @property
    def patient_count(self) -> int:
        """How many patients there are."""
        return len(set(self.patients))


def measure(
    pairs: CohortPairs,
    models: Sequence[Embeddings],
    follow_ups: Sequence[FollowUp] = (),
    *,
    done: Callable[[str], None] = lambda name: None,
    stop: Callable[[], bool] = lambda: False,
) -> Measured:
    """Embed the sources, edits and follow-ups of a cohort.

    ``done`` is called after each source, ``stop`` asked before it. Raises SettingError where the cohort has one patient
    only, EngineError for a network that cannot be run.
    """
    check_patients([source for source, _ in pairs.items], pairs.cohort.folder)
    later: dict[str, list[FollowUp]] = defaultdict(list)
    for each in follow_ups:
        later[each.source.key].append(each)
    measured = Measured(left_out=pairs.left_out, pending=pairs.pending)
    codes: dict[tuple[str, str], int] = {}
    try:
        for source, made in pairs.items:
            if stop():
                break
            found = pairs.read(source, made)
            if found is not None:
                number = len(measured.sources)
                measured.sources.append(source)
                measured.patients.append(codes.setdefault(patient_of(source), len(codes)))
                measured.keys.append(tuple(model.add(found.image, found.sha256) for model in models))
                for edit in found.edits:
                    keys = tuple(model.add(edit.image, edit.sha256) for model in models)
                    change = change_statistics(found.image, edit.image)
                    measured.queries.append(
                        Query(MODEL, number, keys, change, edit.edit.prompt, edit.edit.repeat, edit.edit.id)
                    )
                for each in later.pop(source.key, ()):
                    query = _follow_up(each, number, found, models, measured.left_out, pairs)
                    if query is not None:
                        measured.queries.append(query)
            done(source.name)
    finally:
        for model in models:
            model.save()
    if later and not stop():
        measured.left_out["follow-up of a source without edits"] += sum(map(len, later.values()))
    return measured


def _follow_up(
    pair: FollowUp,
    number: int,
    source: SourceImage,
    models: Sequence[Embeddings],
    left_out: Counter[str],
    pairs: CohortPairs,
) -> Query | None:
    """Return a follow-up as a query, in the size that its source has; None where it cannot be read."""
    try:
        digest = hashlib.sha256(pair.file.read()).hexdigest()
        radiograph = read_radiograph(pair.file, force=frozenset(pairs.cohort.plan.force))
    except SourceError:
        left_out["follow-up cannot be read"] += 1
        return None
    if digest == source.sha256:
        left_out["follow-up is the source's file once more"] += 1
        return None
    try:
        image = in_size(radiograph, source.image.shape, pair.file.name)
    except SettingError:
        left_out["follow-up has other proportions than the source's edits"] += 1
        return None
    keys = tuple(model.add(image, digest) for model in models)
    return Query(REAL, number, keys, change_statistics(source.image, image), pair.prompt, line=pair.line, sha256=digest)


def patient_of(source: SourceRow) -> tuple[str, str]:
    """Return what tells patients apart; a source without a patient counts as one of its own."""
    return source.dataset, source.patient or source.key


def check_patients(sources: Sequence[SourceRow], folder: Path) -> None:
    """Raise SettingError where all sources are of one patient."""
    if len({patient_of(source) for source in sources}) < 2:
        raise SettingError(
            f"{folder}: edits of one patient only: expected at least 2, as an edit is compared with another patient's"
        )
