"""Make a reader study of a cohort: blinded images and a sheet for each reader, and the key.

    made = make_study(Cohort.open(folder), Path("study"), StudySettings(readers=3))

The folder appears as a whole at the end. The same cohort, settings and seed give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.bundle.bundle import find_bundle
from roentmod_fast.errors import EngineError, OutputError, SettingError, SourceError
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.labels import READ, asked_findings
from roentmod_fast.study.page.cohort import Shown
from roentmod_fast.study.pairs import CohortPairs, EditImage, SourceImage, squared
from roentmod_fast.study.plan import SOURCES, Cohort, Edit
from roentmod_fast.study.readers.allocation import Item, allocate
from roentmod_fast.study.readers.blinding import MIN_SIZE, blind, png
from roentmod_fast.study.readers.instructions import instructions
from roentmod_fast.study.readers.key import (
    CONTROL,
    EDIT,
    IMAGES,
    KEY,
    README,
    SHEET,
    STUDY,
    BlindedImage,
    Key,
    reader_folder,
    study_id,
    write_private,
)
from roentmod_fast.study.readers.sheet import FIXED, SheetRow, render_sheet
from roentmod_fast.study.rows import Row
from roentmod_fast.study.run import check_root
from roentmod_fast.study.sources import SourceRow, label_names

Array = NDArray[np.float32]

_TIME = 946_684_800
"""Of all files of a reader: 2000-01-01, so that none tells when its image was made."""


@dataclass(frozen=True)
class StudySettings:
    """How a study is made.

    ``per_prompt``: edits of each prompt, None for all; ``prompts``: of the plan's, empty for all. ``controls``: share
    of the images that are unedited radiographs; ``overlap``: read by all readers; ``repeat``: read twice by one.
    ``size``: of the square images, in pixels; ``detail``: the longer side that real and synthetic are brought to
    before, None for that of the edits.
    """

    readers: int = 3
    per_prompt: int | None = None
    prompts: tuple[str, ...] = ()
    controls: float = 0.2
    overlap: float = 0.2
    repeat: float = 0.05
    seed: int = 1
    size: int = 1024
    detail: int | None = None
    findings: tuple[str, ...] = READ
    title: str = "Reader study"

    def check(self) -> None:
        """Raise SettingError for what makes no study."""
        if self.size < MIN_SIZE:
            raise SettingError(f"--size {self.size}: expected at least {MIN_SIZE} pixels")
        if self.detail is not None and self.detail < 8:
            raise SettingError(f"--detail {self.detail}: expected at least 8 pixels")
        if not 0 <= self.controls < 1:
            raise SettingError(f"--controls {self.controls:g}: expected a share from 0 to below 1")
        if self.per_prompt is not None and self.per_prompt < 1:
            raise SettingError(f"--per-prompt {self.per_prompt}: expected at least 1")
        if self.seed < 0:
            raise SettingError(f"--seed {self.seed}: expected 0 or more")
        if not self.findings:
            raise SettingError("--findings: expected at least one, such as edema,mass")
        for name in self.findings:
            if not name.isidentifier() or name != name.lower() or name in FIXED:
                raise SettingError(f"--findings {name!r}: expected a name such as pleural_thickening")
        if len(set(self.findings)) < len(self.findings):
            raise SettingError("--findings: one comes twice: name each once")


@dataclass
class MadeStudy:
    """What was made. ``counts``: of images by reader, ``edits`` and ``controls`` as images that differ."""

    key: Key
    counts: tuple[int, ...]
    edits: int
    controls: int
    shared: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Material:
    """An image of the study: an edit of a source, or the source itself where ``edit`` is None."""

    source: SourceRow
    patient: str
    edit: Edit | None = None
    row: Row | None = None

    @property
    def stratum(self) -> str:
        return CONTROL if self.edit is None else f"{EDIT} {self.edit.prompt}"


def make_study(cohort: Cohort, folder: Path, settings: StudySettings = StudySettings()) -> MadeStudy:
    """Make a study in ``folder``; arguments and errors as of :class:`StudyMaker`."""
    made = StudyMaker(cohort, folder, settings).make()
    assert made is not None
    return made


@dataclass(frozen=True)
class _Planned:
    """A file of a reader before its pixels are made."""

    reader: int
    order: int
    name: str
    material: int
    again: bool


class StudyMaker:
    """Draws the images of a study and allocates them; then writes the folder.

    ``folder`` must be new or empty. ``root``: where the sources lie, in place of the plan's. ``controls_from``: a
    planned cohort of whose sources the controls are taken, with its ``controls_root``. ``count``: of image files.
    Raises SettingError for settings and cohorts that make no blinded study, OutputError for a folder that is in use.
    """

    def __init__(
        self,
        cohort: Cohort,
        folder: Path,
        settings: StudySettings,
        *,
        root: Path | None = None,
        controls_from: Cohort | None = None,
        controls_root: Path | None = None,
    ) -> None:
        settings.check()
        if cohort.plan.output.label:
            raise SettingError(
                f"{cohort.folder}: SYNTHETIC is burned into its edits, which readers see: plan one without --label"
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder}: not empty: choose another folder with -o, a study never changes")
        self._cohort, self._settings, self._root = cohort, settings, root
        self._folder = folder
        self._pairs = CohortPairs(cohort, root)
        self._controls_from = controls_from
        self._controls_root = controls_root
        if controls_from is not None:
            if controls_from.plan.generates:
                raise SettingError(f"{controls_from.folder}: generated images are no controls: name real radiographs")
            check_root(controls_from, controls_root)
        self._labels = _labels_of(cohort)
        self._control_labels = self._labels if controls_from is None else _labels_of(controls_from)
        self.notes: list[str] = []
        self._detail = _detail(cohort, settings)
        rng = np.random.default_rng([settings.seed, int.from_bytes(cohort.digest[:8], "big")])
        edits = self._edits(rng)
        controls = self._controls(edits, rng)
        mixed = [*edits, *controls]
        self.materials = [mixed[each] for each in rng.permutation(len(mixed))]
        items = [Item(each.stratum, each.patient) for each in self.materials]
        allocation = allocate(items, settings.readers, rng, overlap=settings.overlap, repeat=settings.repeat)
        self.shared = allocation.shared
        if allocation.neighbours:
            self.notes.append(f"{allocation.neighbours} images follow one of the same patient: there are few patients")
        names = iter(_names(sum(map(len, allocation.orders)), rng))
        self.plan = [
            _Planned(reader, order, next(names), reading.item, reading.again)
            for reader, readings in enumerate(allocation.orders, 1)
            for order, reading in enumerate(readings, 1)
        ]
        self._shuffle = rng

    @property
    def count(self) -> int:
        """How many files of images there will be."""
        return len(self.plan)

    def make(
        self, progress: Callable[[str], None] = lambda name: None, stop: Callable[[], bool] = lambda: False
    ) -> MadeStudy | None:
        """Write the study, or nothing and return None where ``stop`` asks for it.

        ``progress`` is called with the name of each image. Raises SourceError for an image that cannot be read,
        OutputError.
        """
        folder = self._folder.absolute()
        make_folder(folder.parent)
        staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        try:
            made = self._write(staging, progress, stop)
            if made is not None:
                if folder.exists():
                    folder.rmdir()
                staging.rename(folder)
            return made
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _edits(self, rng: np.random.Generator) -> list[_Material]:
        """Return the edits of the study: of each prompt those of the same sources as far as they are there."""
        known = self._cohort.plan.prompts
        chosen = tuple(dict.fromkeys(self._settings.prompts or known))
        for prompt in chosen:
            if prompt not in known:
                raise SettingError(
                    f"--prompt {prompt!r}: not in the plan: expected one of {', '.join(map(repr, known))}"
                )
        shown = Shown(self._cohort)
        sources = [self._pairs.items[each] for each in rng.permutation(len(self._pairs.items))]
        result = []
        for prompt in chosen:
            found = [
                _Material(source, shown.patient(source) or _nameless(source), edit, row)
                for source, made in sources
                for edit, row in made
                if edit.prompt == prompt
            ]
            found.sort(key=lambda each: each.edit.repeat if each.edit else 0)
            wanted = len(found) if self._settings.per_prompt is None else self._settings.per_prompt
            if len(found) < max(wanted, 1):
                raise SettingError(f"prompt {prompt!r}: {len(found)} edits are made, {max(wanted, 1)} are needed")
            result += found[:wanted]
        return result

    def _controls(self, edits: Sequence[_Material], rng: np.random.Generator) -> list[_Material]:
        """Return the controls: first of the sources that were edited, as a patient who comes once would stand out."""
        share = self._settings.controls
        wanted = round(share / (1 - share) * len(edits))
        if share and not wanted:
            wanted = 1
        if self._controls_from is None:
            shown = Shown(self._cohort)
            edited = {each.source.key for each in edits}
            sources = [source for source, _ in self._pairs.items]
        else:
            shown, edited, sources = Shown(self._controls_from), set(), self._controls_from.sources()
        mixed = [sources[each] for each in rng.permutation(len(sources))]
        mixed.sort(key=lambda source: source.key not in edited)
        if len(mixed) < wanted:
            have = len(mixed) / (len(mixed) + len(edits))
            self.notes.append(
                f"{len(mixed)} controls of {wanted}: there are no more sources; their share is {have:.2f}"
            )
        return [_Material(each, shown.patient(each) or _nameless(each)) for each in mixed[:wanted]]

    def _write(self, staging: Path, progress: Callable[[str], None], stop: Callable[[], bool]) -> MadeStudy | None:
        """Write the whole folder; None where it was stopped."""
        settings = self._settings
        facts = asdict(settings) | {"detail": self._detail}
        facts |= {name: list(facts[name]) for name in ("prompts", "findings")}  # as JSON has them
        others = b"" if self._controls_from is None else self._controls_from.digest
        study = study_id(self._cohort.digest.hex(), others.hex(), *(f"{key}={facts[key]}" for key in sorted(facts)))
        for reader in range(1, settings.readers + 1):
            (staging / reader_folder(reader) / IMAGES).mkdir(parents=True)
        hashes = self._write_images(staging, progress, stop)
        if hashes is None:
            return None
        images = tuple(self._described(each, hashes[each.name]) for each in self.plan)
        for reader in range(1, settings.readers + 1):
            self._write_reader(
                staging / reader_folder(reader), study, [each for each in images if each.reader == reader]
            )
        plan = self._cohort.plan
        key = Key(
            study=study,
            title=settings.title,
            version=__version__,
            settings=facts,
            cohort={
                "digest": self._cohort.digest.hex(),
                "controls_digest": others.hex(),
                "engine": plan.engine,
                "engine_sha256": plan.engine_sha256,
                "settings": dict(plan.settings),
            },
            findings=settings.findings,
            readers=settings.readers,
            images=images,
        )
        write_private(staging / KEY, key.render())
        write_atomically(staging / STUDY, key.render_study(settings.size))
        kinds = Counter(each.edit is None for each in self.materials)
        counts = Counter(each.reader for each in images)
        return MadeStudy(
            key,
            tuple(counts[reader] for reader in range(1, settings.readers + 1)),
            kinds[False],
            kinds[True],
            len(self.shared),
            self.notes,
        )

    def _write_images(
        self, staging: Path, progress: Callable[[str], None], stop: Callable[[], bool]
    ) -> dict[str, str] | None:
        """Write the files of images, source by source in random order; return their hashes by name."""
        by_source = defaultdict(list)
        for number, material in enumerate(self.materials):
            # Another cohort may hold the same file, in another folder.
            other = material.edit is None and self._controls_from is not None
            by_source[material.source.key, other].append(number)
        files = defaultdict(list)
        for planned in self.plan:
            files[planned.material].append(planned)
        keys, hashes = sorted(by_source), dict[str, str]()
        for key in (keys[each] for each in self._shuffle.permutation(len(keys))):
            for number, image in self._read(by_source[key]):
                for planned in files[number]:
                    if stop():
                        return None
                    data = self._blinded(image, planned.name)
                    path = staging / reader_folder(planned.reader) / IMAGES / f"{planned.name}.png"
                    write_atomically(path, data)
                    os.utime(path, (_TIME, _TIME))
                    hashes[planned.name] = hashlib.sha256(data).hexdigest()
                    progress(planned.name)
        return hashes

    def _blinded(self, image: Array, name: str) -> bytes:
        noise = np.random.default_rng([self._settings.seed, int(name[1:], 16)])
        return png(blind(image, self._settings.size, self._detail, noise))

    def _read(self, numbers: Sequence[int]) -> list[tuple[int, Array]]:
        """Return the images of one source, mixed, each without padding. Raises SourceError."""
        materials = {number: self.materials[number] for number in numbers}
        source = materials[numbers[0]].source
        made = {
            number: (each.edit, each.row)
            for number, each in materials.items()
            if each.edit is not None and each.row is not None
        }
        images: dict[int, Array] = {}
        if made:
            found = self._pairs.read(source, tuple(made.values()))
            if found is None or self._pairs.left_out:
                reason = next(iter(self._pairs.left_out), "cannot be read")
                raise SourceError(f"{source.name}: {reason}: a study needs all of its images")
            if source.sha256 not in ("", found.sha256):
                raise SourceError(f"{source.name}: changed since the cohort was planned: restore it")
            by_id = {each.edit.id: each for each in found.edits}
            size = self._cohort.plan.output.size
            images = {number: _without_padding(by_id[edit.id], found, size) for number, (edit, _) in made.items()}
        for number, material in materials.items():
            if material.edit is None:
                images[number] = self._control(material.source)
        return [(number, images[number]) for number in self._shuffle.permutation(sorted(images)).tolist()]

    def _control(self, source: SourceRow) -> Array:
        cohort = self._cohort if self._controls_from is None else self._controls_from
        root = self._root if self._controls_from is None else self._controls_root
        file = source.source(Path(cohort.plan.origin.root) if root is None else root)
        if source.sha256 not in ("", hashlib.sha256(file.read()).hexdigest()):
            raise SourceError(f"{source.name}: changed since the cohort was planned: restore it")
        radiograph = read_radiograph(file, force=frozenset(cohort.plan.force))
        size = self._cohort.plan.output.size
        if size is None:
            return squared(radiograph.image, radiograph.aspect)
        # The way of an edit into its square, and without the black around it.
        box = Letterbox.fit(radiograph.shape, size, radiograph.aspect)
        return np.array(box.crop(box.apply(radiograph.image)))

    def _described(self, planned: _Planned, digest: str) -> BlindedImage:
        material = self.materials[planned.material]
        edit = material.edit
        names = self._labels if edit is not None else self._control_labels
        return BlindedImage(
            name=planned.name,
            reader=planned.reader,
            order=planned.order,
            sha256=digest,
            case=planned.material + 1,
            again=planned.again,
            shared=planned.material in self.shared,
            kind=CONTROL if edit is None else EDIT,
            edit="" if edit is None else edit.id,
            source=material.source.key,
            patient=material.patient,
            prompt="" if edit is None else edit.prompt,
            asked=() if edit is None else asked_findings(edit.prompt, self._settings.findings),
            repeat=0 if edit is None else edit.repeat,
            labels={name: value for name, value in zip(names, material.source.labels, strict=False) if value},
        )

    def _write_reader(self, folder: Path, study: str, images: Sequence[BlindedImage]) -> None:
        rows = [SheetRow(study, each.name, each.order) for each in images]
        write_atomically(folder / SHEET, render_sheet(rows, self._settings.findings))
        text = instructions(self._settings.title, study, len(rows), self._settings.findings)
        write_atomically(folder / README, text.encode("utf-8"))
        for path in (folder / SHEET, folder / README, folder / IMAGES, folder):
            os.utime(path, (_TIME, _TIME))


def _names(count: int, rng: np.random.Generator) -> list[str]:
    """Return different random names that no spreadsheet takes for a number, a date or a formula."""
    names: dict[str, None] = {}
    while len(names) < count:
        names[f"x{int(rng.integers(1 << 48)):012x}"] = None
    return list(names)


def _nameless(source: SourceRow) -> str:
    """Return what stands for the patient of a source that has none: one of its own."""
    return f"source {source.key[:16]}"


def _labels_of(cohort: Cohort) -> tuple[str, ...]:
    return label_names((cohort.folder / SOURCES).read_text(encoding="utf-8", errors="surrogateescape"))


def _detail(cohort: Cohort, settings: StudySettings) -> int:
    """Return the longer side to which real and synthetic are brought: what the coarser of both has.

    That is the size that edits were written in, and with ``replace``, where an edit holds nothing of its source's own
    pixels, the size of the engine. Raises SettingError where that is not known.
    """
    plan = cohort.plan
    known = [settings.size]
    if plan.output.size is not None:
        known.append(plan.output.size)
    if settings.detail is not None:
        return min(*known, settings.detail)
    if plan.settings.get("compose") == "replace":
        try:
            known.append(find_bundle(plan.engine_place).manifest.model.image_size)
        except EngineError:
            raise SettingError(
                f"engine {plan.engine}: not here, so the size of its images is not known: give it by --detail PIXELS"
            ) from None
    return min(known)


def _without_padding(edit: EditImage, found: SourceImage, size: int | None) -> Array:
    """Return an edit's image without the black around it, where it was written into a square of ``size``."""
    if size is None or edit.image.shape != (size, size):
        return edit.image
    return Letterbox.fit(found.radiograph.shape, size, found.radiograph.aspect).crop(edit.image)
