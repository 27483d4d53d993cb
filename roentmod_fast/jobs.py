"""Which edits to make and which file each becomes: planned and checked before any work is done."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from roentmod_fast.errors import SettingError
from roentmod_fast.findings import prompt_slug
from roentmod_fast.radiograph.dicom.deidentify import NONE, PSEUDONYMIZE, deidentification, pseudonym_key
from roentmod_fast.radiograph.dicom.header import unvalidated
from roentmod_fast.radiograph.dicom.path_names import identifying_words, pseudonymous_names, reveals
from roentmod_fast.radiograph.sources import Source, find_sources
from roentmod_fast.radiograph.write import SUFFIXES, format_of


@dataclass(frozen=True)
class Job:
    """One edit to make: of which source, towards which prompt, written where and in which format.

    ``preview``: where before, after and difference go, None for nowhere.
    """

    source: Source
    prompt: str
    path: Path
    file_format: str = "dicom"
    preview: Path | None = None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that the job writes."""
        return (self.path,) if self.preview is None else (self.path, self.preview)


Pair = tuple[Source, str]


@dataclass(frozen=True)
class Plan:
    """All edits of a run.

    ``hidden``: parts of the sources' paths that tell who a patient is, each with what stands for it in the names of
    outputs and in the report. ``notes``: what the user should know of the names.
    """

    jobs: tuple[Job, ...]
    hidden: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def pairs_of(sources: Iterable[Source], prompts: Sequence[str]) -> list[Pair]:
    """Return each source with each prompt. Raises SettingError for an empty prompt."""
    for prompt in prompts:
        if not prompt.strip():
            raise SettingError("a prompt is empty: say what to add, such as --prompt edema")
    return [(source, prompt) for source in sources for prompt in prompts]


def read_table(path: Path) -> list[Pair]:
    """Read a table of sources and prompts: CSV in UTF-8 with the columns ``source`` and ``prompt``.

    A source is a file's path, seen from the table's folder. Rows of one source are put together, as they share work.
    Raises SettingError naming the column or row that is missing or empty, for a row with more cells than columns, as of
    a prompt with a comma and without quotes, and for a source that is no single file; SourceError for one that is not
    there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            sample = file.read(4096)
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=";" if sample.count(";") > sample.count(",") else ","))
            columns = set(rows[0]) if rows else set()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a CSV file in UTF-8"
        raise SettingError(f"{path}: the table cannot be read: {reason}") from error
    missing = [name for name in ("source", "prompt") if name not in columns]
    if missing:
        raise SettingError(f"{path}: no rows with the column {' and '.join(missing)}: expected source,prompt")
    prompts: dict[str, list[str]] = {}
    for number, row in enumerate(rows, 2):
        beyond = [*(row.get(None) or ()), row.get("") or ""]
        if any(cell.strip() for cell in beyond):
            raise SettingError(
                f"{path}: row {number} has more cells than the header: put a prompt with commas in quotes"
            )
        name, prompt = (row["source"] or "").strip(), (row["prompt"] or "").strip()
        if not name or not prompt:
            raise SettingError(f"{path}: row {number} has no {'prompt' if name else 'source'}")
        prompts.setdefault(name, []).append(prompt)
    sources = {source.path: source for source in find_sources([path.parent / name for name in prompts]).sources}
    pairs = []
    for name, texts in prompts.items():
        source = sources.get(path.parent / name)
        if source is None or source.member is not None:
            raise SettingError(f"{path}: {name} is a folder or an archive: name single files in a table")
        pairs += [(source, prompt) for prompt in dict.fromkeys(texts)]
    return pairs


def plan_jobs(
    pairs: Sequence[Pair],
    output: Path | None = None,
    *,
    is_folder: bool = False,
    file_format: str | None = None,
    preview: bool = False,
    deidentify: str = "none",
) -> Plan:
    """Name the files of each edit.

    ``output``: a file for one edit of one named file, else a folder, below which the sources' own folders are kept;
    None writes beside the source. ``is_folder``: it is a folder even for one edit. ``file_format``: ``dicom`` or
    ``png``, by default what the output's name says, else DICOM. ``deidentify``: but for ``none``, what a
    source's path tells of its patient is left out of the names of outputs. Raises SettingError where two edits would
    have one name, where an output is one of the sources, and for a name that fits neither format nor folder.
    """
    hidden = _hidden(dict.fromkeys(source for source, _ in pairs), deidentify)
    folder = output is not None and (is_folder or _is_dir(output) or not all(source.named for source, _ in pairs))
    if output is not None and not folder and len(pairs) == 1:
        [(source, prompt)] = pairs
        named = next((name for name, suffix in SUFFIXES.items() if output.suffix.lower() == suffix), None)
        if file_format is not None and named is not None and named != file_format:
            raise SettingError(f"{output}: its name says {named}, --format says {file_format}: make them agree")
        chosen = file_format or format_of(output)
        jobs = [Job(source, prompt, output, chosen, _preview_of(output) if preview else None)]
    else:
        is_file_name = output is not None and output.suffix.lower() in SUFFIXES.values()
        if is_file_name and not (is_folder or _is_dir(output)):
            raise SettingError(f"{output}: edits of several sources, of a folder or of a zip need a folder's name")
        jobs = [
            Job(source, prompt, path, file_format or "dicom", _preview_of(path) if preview else None)
            for source, prompt, path in _named(pairs, output, SUFFIXES[file_format or "dicom"], hidden)
        ]
    _check_apart(jobs)
    return Plan(tuple(jobs), hidden, _notes(jobs, hidden))


def _hidden(sources: Iterable[Source], deidentify: str) -> dict[str, str]:
    """Return the parts of the sources' paths that tell who the patient is, each with what stands for it."""
    hidden: dict[str, str] = {}
    method = deidentification(deidentify)
    if method == NONE:
        return hidden
    key = b""
    # Values of a damaged header are parsed when they are looked at, and warnings would hold them.
    with unvalidated():
        for source in sources:
            dataset = source.header()
            if dataset is None:
                continue
            above = [*source.path.parts[:-1], *((source.path.name,) if source.member is not None else ())]
            known = identifying_words(dataset)
            revealing = [part for part in (*above, *source.inside.parts, source.stem) if reveals(part, known)]
            if revealing:
                key = key or (pseudonym_key() if method == PSEUDONYMIZE else os.urandom(32))
                hidden |= pseudonymous_names(revealing, dataset, method, key)
    return hidden


def _notes(jobs: Sequence[Job], hidden: Mapping[str, str]) -> tuple[str, ...]:
    if not hidden:
        return ()
    notes = ["paths of sources hold a patient's name, identifier or birth date: outputs are named by the pseudonym"]
    if any(part in hidden or Path(part).stem in hidden for job in jobs for part in job.path.parts):
        notes.append("outputs stand in a folder, or have a name, that tells who the patient is: choose another with -o")
    return tuple(notes)


def _named(
    pairs: Sequence[Pair], output: Path | None, suffix: str, hidden: Mapping[str, str]
) -> list[tuple[Source, str, Path]]:
    if not pairs:
        return []
    # Below an output folder the sources' own folders are kept: a study has many files called IM0001.
    common = Path(os.path.commonpath([source.folder.absolute() for source, _ in pairs]))
    named, taken = [], dict[tuple[Path, str], Source]()
    for source, prompt in pairs:
        folder = source.folder
        if output is not None:
            below = source.folder.absolute().relative_to(common) / source.inside
            folder = output.joinpath(*(hidden.get(part, part) for part in below.parts))
        # Sources of one name and folder (a.dcm and a.png, members of an archive) get names of their own.
        first = stem = hidden.get(source.stem, source.stem)
        number = 2
        while taken.setdefault((folder, stem.lower()), source) is not source:
            stem, number = f"{first}-{number}", number + 1
        named.append((source, prompt, folder / f"{stem}.{prompt_slug(prompt)}{suffix}"))
    return named


def _check_apart(jobs: Sequence[Job]) -> None:
    """Raise SettingError where an output is another job's, or a source."""
    seen: dict[Path, Job] = {}
    inputs = input_identities({job.source.path for job in jobs})
    for job in jobs:
        for path in job.outputs:
            other = seen.setdefault(path, job)
            if other is not job:
                raise SettingError(
                    f"{path}: would be written for {other.source.name} ({other.prompt!r}) and for {job.source.name} "
                    f"({job.prompt!r}): edit them in separate runs"
                )
            check_not_an_input(path, inputs)


def check_not_an_input(path: Path, inputs: Set[tuple[int, int]]) -> None:
    """Raise SettingError where an output is, also by way of a link, one of the files that are read."""
    found = _identity(path)
    if found is not None and found in inputs:
        raise SettingError(f"{path}: is one of the sources: an edit never replaces a radiograph, choose another name")


def input_identities(paths: Iterable[Path]) -> frozenset[tuple[int, int]]:
    """Return what tells each of the files that exist from all others, whatever it is called: device and inode."""
    return frozenset(identity for path in paths if (identity := _identity(path)) is not None)


def _is_dir(path: Path | None) -> bool:
    # It never raises, as for a name that is too long: what is wrong with it is reported before the work.
    return path is not None and os.path.isdir(path)  # noqa: PTH112


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _preview_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.preview.png")
