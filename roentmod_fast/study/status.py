"""How far a cohort is, and whether its files are what its rows say."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.rows import DONE, FAILED, Rows, difference, read_rows

RECENT = datetime.timedelta(minutes=15)
"""The time over which the rate is measured."""


@dataclass(frozen=True)
class Status:
    """Edits by state, and the recent rate.

    ``rate``: edits a second, None where nothing was made of late; ``left``: seconds for what is pending at this rate.
    ``reasons``: the most frequent reasons of failures, with their number. ``hosts``: recent edits by host.
    """

    planned: int
    counts: dict[str, int]
    pending: int
    rate: float | None
    left: float | None
    last: str
    reasons: tuple[tuple[str, int], ...]
    hosts: dict[str, int]


def status(cohort: Cohort, now: datetime.datetime | None = None) -> Status:
    """Return how far a cohort is, by the rows of all processes; it may be running."""
    rows = read_rows(cohort.folder)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    counts = rows.counts()
    planned = cohort.plan.edits
    pending = planned - len(rows.by_id)
    times = sorted(
        (when, row.host)
        for row in rows.by_id.values()
        if row.finished and now - (when := datetime.datetime.fromisoformat(row.finished)) <= RECENT
    )
    rate = None
    if len(times) > 1 and times[-1][0] > times[0][0]:
        rate = (len(times) - 1) / (times[-1][0] - times[0][0]).total_seconds()
    reasons = Counter(row.error for row in rows.by_id.values() if row.error)
    return Status(
        planned,
        dict(counts),
        pending,
        rate,
        pending / rate if rate else None,
        max((row.finished for row in rows.by_id.values()), default=""),
        tuple(reasons.most_common(5)),
        dict(Counter(host for _, host in times).most_common()),
    )


@dataclass
class Check:
    """What :func:`verify` found.

    ``problems``: files that are missing or altered, rows that do not belong. ``stray``: files without a row.
    """

    checked: int = 0
    problems: list[str] = field(default_factory=list)
    stray: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong; edits that are pending are not wrong."""
        return not self.problems and not self.stray


def verify(cohort: Cohort, *, quick: bool = False) -> Check:
    """Compare files with rows: each there with its hash, none without a row, each id once and of the plan.

    ``quick``: compare sizes and no hashes.
    """
    rows, check = read_rows(cohort.folder), Check()
    planned = {edit.id for unit in cohort.units() for edit in unit.edits}
    check.problems += [f"{key}: a row of no planned edit" for key in sorted(rows.by_id.keys() - planned)]
    check.notes += [f"rows/{name}: {count} torn lines, made again" for name, count in rows.torn.items()]
    if rows.repeated - rows.differing:
        check.notes.append(f"{len(rows.repeated - rows.differing)} edits were made twice, with the same bytes")
    if rows.differing:
        check.notes.append(f"{len(rows.differing)} edits were made twice, with different bytes: the later ones count")
    known, damaged = set(), 0
    for path, digest, size, key in _files(rows):
        known.add(path)
        why = difference(cohort.folder / path, digest, size, quick=quick)
        if why is not None:
            check.problems.append(f"{key}: {path}: {why}")
            damaged += 1
        check.checked += 1
    if damaged:
        check.notes.append(f"{damaged} files are not as their rows say: run again with --retry-failed")
    folder = cohort.folder / "edits"
    found = (path for path in folder.rglob("*") if not path.is_dir())
    check.stray = sorted(path for path in found if path.relative_to(cohort.folder).as_posix() not in known)
    for state, count in sorted(rows.counts().items()):
        if state != DONE:
            hint = ": run again with --retry-failed" if state == FAILED else ""
            check.notes.append(f"{count} edits {state}{hint}")
    missing = len(planned - rows.by_id.keys())
    if missing:
        check.notes.append(f"{missing} edits pending: type roentmod-fast cohort run {cohort.folder}")
    return check


def _files(rows: Rows) -> Iterator[tuple[str, str, int, str]]:
    for key, row in rows.by_id.items():
        if row.state == DONE:
            for path, digest, size in row.files.values():
                yield path, digest, size, key
