"""Real pairs: which radiograph is a later one of which source's patient, as a table.

A CSV file with the columns ``source`` and ``follow_up``, and ``prompt`` where a pair belongs to one: the paper
compares an edit towards a finding with a follow-up in which that finding has come by itself. ``source`` is a source of
the cohort; ``follow_up`` another one, or a file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.sources import SourceRow

COLUMNS = ("source", "follow_up", "prompt")


@dataclass(frozen=True)
class FollowUp:
    """A pair of real radiographs. ``line``: in the table. ``prompt``: empty where it counts for no single one."""

    line: int
    source: SourceRow
    file: Source
    prompt: str = ""


def read_follow_ups(path: Path, cohort: Cohort, root: Path) -> list[FollowUp]:
    """Read the table. ``root``: where the cohort's sources lie; files are relative to the table's folder, or to it.

    Raises SettingError naming the line for a source that is not in the cohort, a follow-up that is not found, is the
    source itself or belongs to another patient, a prompt that the plan does not have, and a pair that comes twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path}: not UTF-8: save it as CSV UTF-8") from None
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",")
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    for name in COLUMNS[:2]:
        if names.count(name) != 1:
            raise SettingError(f"{path}: column {name} is missing: expected source,follow_up and perhaps prompt")
    known = _Known(cohort.sources(), root)
    found = list(_pairs(reader, path, cohort, known, root))
    if not found:
        raise SettingError(f"{path}: no row: expected pairs of a source and a follow-up")
    return found


def _pairs(reader: csv.DictReader[str], path: Path, cohort: Cohort, known: _Known, root: Path) -> Iterator[FollowUp]:
    seen: dict[tuple[str, str, str], int] = {}
    for row in reader:
        line = reader.line_num
        values = [(row.get(name) or "").strip() for name in COLUMNS]
        if not any(values):
            continue
        if None in row or not all(values[:2]):
            raise SettingError(f"{path}: line {line}: expected a source and a follow-up, and no more columns")
        named, later, prompt = values
        source = known.find(named)
        if source is None:
            raise SettingError(f"{path}: line {line}: its source is none of the cohort's: expected a path or key of it")
        if prompt and prompt not in cohort.plan.prompts:
            raise SettingError(
                f"{path}: line {line}: its prompt is none of the plan's: {', '.join(cohort.plan.prompts)}"
            )
        other, file = known.find(later), None
        if other is None:
            file = _file(later, path.parent, root, f"follow-up of line {line}")
            other = None if file is None else known.at(file)
        if other is not None:
            file = other.source(root)
        if other is not None and other.key == source.key:
            raise SettingError(f"{path}: line {line}: the follow-up is the source itself: expected a later radiograph")
        if other is not None and "" not in (other.patient, source.patient) and other.patient != source.patient:
            raise SettingError(f"{path}: line {line}: the follow-up is of another patient than the source")
        if file is None or not file.path.is_file():
            raise SettingError(
                f"{path}: line {line}: the follow-up is not found: expected a source of the cohort, or a file below"
                " the table's folder or the sources'"
            )
        pair = (source.key, f"{file.path.resolve()}:{file.member or ''}", prompt)
        if pair in seen:
            raise SettingError(f"{path}: line {line}: the pair of line {seen[pair]} once more: name each once")
        seen[pair] = line
        yield FollowUp(line, source, file, prompt)


def _file(text: str, *places: str | Path) -> Source | None:
    *folders, name = places
    for folder in folders:
        path = Path(folder) / text
        try:
            if path.is_file():
                return Source(str(name), path.stem, path.parent, path)
        except (OSError, ValueError):  # a path too long, a NUL
            return None
    return None


class _Known:
    """Finds a source of a cohort by its path, its name or its key. ``root``: where the sources lie."""

    def __init__(self, sources: Sequence[SourceRow], root: Path) -> None:
        self._sources, self._root = sources, root
        self._by: dict[str, SourceRow | None] = {}
        for source in sources:
            place = f"{source.path}:{source.member}" if source.member else source.path
            for name in {place, source.name, source.key, source.sha256} - {""}:
                # A name that two sources share finds neither.
                self._by[name] = None if self._by.get(name, source) is not source else source

    def find(self, name: str) -> SourceRow | None:
        return self._by.get(name) or self._by.get(PurePosixPath(name.replace("\\", "/")).as_posix())

    def at(self, file: Source) -> SourceRow | None:
        """Return the source that a file is, however its path is spelled."""
        return self._places.get((file.path.resolve(), file.member or ""))

    @cached_property
    def _places(self) -> dict[tuple[Path, str], SourceRow]:
        return {((self._root / source.path).resolve(), source.member): source for source in self._sources}
