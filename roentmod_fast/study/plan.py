"""The plan of a cohort: which sources are edited towards which prompts, how, and what is written.

A plan never changes. It stands in ``plan.json``, its sources in ``sources.csv`` (:mod:`.sources`); both are written
once, and what is made later refers to their hashes. The noise of an edit depends on its source, prompt and repeat.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.model import GENERATED
from roentmod_fast.settings import EditConfig
from roentmod_fast.study.sources import SourceRow, read_sources, render_sources

FORMAT = 1
PLAN, SOURCES = "plan.json", "sources.csv"
NOISES = ("edit", "source")
"""Values of ``noise``: each edit has noise of its own, or all prompts of a source and repeat have the same."""

FORMATS = ("dicom", "png", "both")


@dataclass(frozen=True)
class Output:
    """What is written for an edit: as for ``write_edit``, ``png_bits`` and ``size`` as for ``edit_png``."""

    format: str = "dicom"
    deidentify: str = "pseudonymize"
    sop_class: str = "source"
    transfer_syntax: str = "explicit"
    label: bool = False
    png_bits: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where the sources come from.

    ``kind``: ``files``, ``dataset``, ``table``, or :data:`GENERATED`: there are none, each row is the seed of images
    that are generated. ``root``: the folder that paths start from. ``hash``: ``content`` or ``name``, what a source's
    key is made of. ``count`` of sources; ``sha256`` of ``sources.csv``.
    """

    kind: str
    root: str
    hash: str
    count: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Plan:
    """All that decides on the bytes of a cohort's edits, and when it was made.

    ``engine``: its name; ``engine_place``: by which it is found, a name or a folder. ``precision`` and the fields of
    ``settings`` are resolved, whatever ``preset`` they are from. ``batch``: edits of one source that are made together.
    ``pseudonym_key``: a fingerprint of the key of the pseudonyms, empty where none is used.
    """

    created: str
    version: str
    engine: str
    engine_place: str
    engine_sha256: str
    device: str
    preset: str
    precision: str
    settings: Mapping[str, Any]
    prompts: tuple[str, ...]
    repeats: int
    origin: Origin
    output: Output = field(default_factory=Output)
    noise: str = "edit"
    batch: int = 1
    force: tuple[str, ...] = ()
    protect_markers: bool = True
    splits: Mapping[str, float] | None = None
    pseudonym_key: str = ""

    @property
    def config(self) -> EditConfig:
        """The settings of an edit, without its seed."""
        return EditConfig(**self.settings)

    @property
    def generates(self) -> bool:
        """Whether images are generated from a text alone, without sources."""
        return self.origin.kind == GENERATED

    @property
    def edits(self) -> int:
        """How many edits are planned."""
        return self.origin.count * len(self.prompts) * self.repeats

    def same_as(self, other: Plan) -> bool:
        """Return whether another plan makes the same edits, whenever and by which version it was made."""
        return replace(self, created=other.created, version=other.version) == other


@dataclass(frozen=True)
class Edit:
    """One edit of a plan: ``id`` is 16 hexadecimal digits, ``repeat`` counts from 0."""

    id: str
    prompt: str
    repeat: int
    seed: int


@dataclass(frozen=True)
class Unit:
    """All edits of one source: what a worker takes at once. ``pending``: ids of those that are to be made.

    Where images are generated, those of as many rows as a batch has images; ``source`` is the first of them.
    """

    source: SourceRow
    edits: tuple[Edit, ...]
    pending: frozenset[str]


@dataclass(frozen=True)
class Cohort:
    """A folder with a plan. ``digest``: SHA-256 of ``plan.json``, from which UIDs are made."""

    folder: Path
    plan: Plan
    digest: bytes

    @classmethod
    def open(cls, folder: Path) -> Cohort:
        """Read the plan of a cohort. Raises SettingError where there is none, or none that can be read."""
        path = folder / PLAN
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise SettingError(f"{folder}: no cohort: make its plan first with roentmod-fast cohort plan") from None
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
        return cls(folder, parse_plan(data, str(path)), hashlib.sha256(data).digest())

    def sources(self) -> list[SourceRow]:
        """Return the sources. Raises SettingError where the file is not the one that was planned."""
        path = self.folder / SOURCES
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}: a plan without its sources") from None
        if hashlib.sha256(data).hexdigest() != self.plan.origin.sha256:
            raise SettingError(f"{path}: changed since the plan was made: restore it, or make a new cohort")
        return read_sources(data.decode("utf-8", "surrogateescape"))

    def edits_of(self, source: SourceRow) -> tuple[Edit, ...]:
        """Return the edits of a source in their order; or the images of a seed, one of each prompt."""
        if self.plan.generates:
            seed = int(source.path)
            return tuple(replace(edit_of(source.key, text, 0, "edit"), seed=seed) for text in self.plan.prompts)
        return tuple(
            edit_of(source.key, prompt, repeat, self.plan.noise)
            for prompt in self.plan.prompts
            for repeat in range(self.plan.repeats)
        )

    def units(self) -> Iterator[Unit]:
        """Yield each source with all its edits pending, which depends on the plan alone."""
        sources, together = self.sources(), self.plan.batch if self.plan.generates else 1
        for start in range(0, len(sources), together):
            part = sources[start : start + together]
            edits = tuple(edit for source in part for edit in self.edits_of(source))
            yield Unit(part[0], edits, frozenset(edit.id for edit in edits))

    def paths(self, edit_id: str) -> dict[str, str]:
        """Return the files of an edit below the folder, by format."""
        formats = ("dicom", "png") if self.plan.output.format == "both" else (self.plan.output.format,)
        return {name: f"edits/{edit_id[:2]}/{edit_id}{'.dcm' if name == 'dicom' else '.png'}" for name in formats}


def edit_of(key: str, prompt: str, repeat: int, noise: str) -> Edit:
    """Return an edit: its id is of source, prompt and repeat, and so is its seed, or of source and repeat alone."""
    digest = _digest(key, prompt, repeat)
    drawn = digest if noise == "edit" else _digest(key, "", repeat)
    return Edit(digest[:8].hex(), prompt, repeat, int.from_bytes(drawn[-4:], "big"))


def _digest(key: str, prompt: str, repeat: int) -> bytes:
    return hashlib.sha256(f"{key}\0{prompt}\0{repeat}".encode()).digest()


def render_plan(plan: Plan) -> bytes:
    """Return the content of ``plan.json``; a path that is not UTF-8 stands in it byte by byte."""
    return (json.dumps({"format": FORMAT, **asdict(plan)}, indent=1, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogateescape"
    )


def parse_plan(data: bytes, name: str) -> Plan:
    """Read the content of ``plan.json``. Raises SettingError naming the file."""
    try:
        raw = json.loads(data.decode("utf-8", "surrogateescape"))
        if raw.pop("format") != FORMAT:
            raise SettingError(f"{name}: a plan of another version of roentmod-fast: use that one, or plan anew")
        raw |= {"origin": Origin(**raw["origin"]), "output": Output(**raw["output"])}
        raw |= {"prompts": tuple(raw["prompts"]), "force": tuple(raw["force"])}
        return Plan(**raw)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"{name}: damaged: no plan of a cohort: make a new one") from None


def check_plan(plan: Plan) -> None:
    """Raise SettingError for what makes no cohort."""
    for text in plan.prompts:
        if not text.strip():
            raise SettingError("a prompt is empty: name a finding, such as --prompt edema")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise SettingError(f"prompt {text!r}: not UTF-8: type it anew in a terminal that uses UTF-8")
        if any(unicodedata.category(letter) == "Cc" for letter in text):
            raise SettingError(f"prompt {text!r}: with a control character: expected one line of text")
    if not plan.prompts:
        raise SettingError("no prompt: give --prompt TEXT or --prompts paper")
    for what, values, known in (
        ("noise", plan.noise, NOISES),
        ("format", plan.output.format, FORMATS),
        ("png-bits", plan.output.png_bits, (None, 8, 16)),
    ):
        if values not in known:
            raise SettingError(f"{what} {values!r}: expected one of {', '.join(map(str, known))}")
    if plan.repeats < 1 or plan.batch < 1:
        raise SettingError("repeats and batch start at 1")
    if plan.generates and plan.repeats > 1:
        raise SettingError("--repeats is for edits of sources: --count makes more images of a text")
    if plan.output.format == "dicom" and (plan.output.size or plan.output.png_bits):
        raise SettingError("--size and --png-bits are for PNG: add --format png or both; a DICOM keeps its matrix")


def write_plan(folder: Path, plan: Plan, sources: Sequence[SourceRow], labels: Sequence[str]) -> Cohort:
    """Write a plan into ``folder`` and return the cohort.

    Of a folder that holds the same plan already the cohort is returned. Raises SettingError where it holds another
    plan, and for sources that come twice; OutputError.
    """
    keys = {source.key for source in sources}
    if len(keys) < len(sources):
        raise SettingError(f"{len(sources) - len(keys)} sources come twice: name each once")
    if not sources:
        raise SettingError("no source is left to edit: see the notes above, or widen --view, --min-age and --findings")
    table = render_sources(sources, labels).encode("utf-8", "surrogateescape")
    origin = replace(plan.origin, count=len(sources), sha256=hashlib.sha256(table).hexdigest())
    plan = replace(plan, origin=origin)
    check_plan(plan)
    if (folder / PLAN).exists():
        cohort = Cohort.open(folder)
        # Through JSON, which knows lists and no tuples.
        if not cohort.plan.same_as(parse_plan(render_plan(plan), PLAN)):
            raise SettingError(f"{folder}: holds another plan: choose another folder with -o, a plan never changes")
        return cohort
    ids = {edit_of(key, prompt, repeat, "edit").id for key in keys for prompt in plan.prompts for repeat in (0,)}
    if len(ids) < len(keys) * len(plan.prompts):
        raise SettingError("a prompt comes twice: name each once, --repeats makes more edits of one")
    make_folder(folder)
    data = render_plan(plan)
    write_atomically(folder / SOURCES, table, overwrite=True)
    write_atomically(folder / PLAN, data)
    return Cohort(folder, parse_plan(data, PLAN), hashlib.sha256(data).digest())
