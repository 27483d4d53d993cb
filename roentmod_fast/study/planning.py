"""Make the plan of a cohort from files or a data set, and say how long it will take."""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from roentmod_fast._version import __version__
from roentmod_fast.bundle.bundle import Bundle, find_bundle, list_bundles
from roentmod_fast.bundle.manifest import BFLOAT16
from roentmod_fast.diffusion.schedule import Schedule
from roentmod_fast.editor import Editor
from roentmod_fast.errors import DeviceError, SettingError
from roentmod_fast.findings import NORMAL_PROMPT
from roentmod_fast.generate import generate
from roentmod_fast.phantom import draw
from roentmod_fast.presets import default_precision, fastest_measured, find_preset, read_measurements, tuned_path
from roentmod_fast.radiograph.dicom.deidentify import (
    ANONYMIZE,
    NONE,
    PSEUDONYMIZE,
    Pseudonyms,
    deidentification,
    pseudonym_key,
)
from roentmod_fast.radiograph.sources import Source, find_sources
from roentmod_fast.runtime import backends
from roentmod_fast.runtime.backends import usable_devices
from roentmod_fast.settings import EditConfig, EditSettings
from roentmod_fast.study import datasets
from roentmod_fast.study.datasets import Filters, Record, Selection
from roentmod_fast.study.make import key_fingerprint
from roentmod_fast.study.plan import Origin, Output, Plan
from roentmod_fast.study.sources import (
    SourceRow,
    check_splits,
    name_key,
    readable,
    rows_of_files,
    split_of,
    table_path_reveals,
    table_patient,
)

logger = logging.getLogger(__name__)

DATASET_SPLIT = "dataset"
"""Value of ``split``: the data set's own."""


@dataclass(frozen=True)
class Engine:
    """What edits are made with: engine, device, preset and precision by name, and all settings.

    ``place``: by which a worker finds the engine.
    """

    bundle: Bundle
    place: str
    device: str
    preset: str
    precision: str
    settings: EditSettings

    @classmethod
    def choose(cls, engine: str | None, device: str, preset: str, precision: str | None, config: EditConfig) -> Engine:
        """Resolve names and settings as ``Editor.load`` does; a named device need not be here.

        Raises EngineError, DeviceError and SettingError.
        """
        bundle = find_bundle(engine)
        here = usable_devices(device) if device not in backends.REGISTRY else (backends.get(device),)
        names = [item.name for item in here]
        # As Editor.load: what was measured is of other precisions.
        device = names[0] if precision in BFLOAT16 else fastest_measured(bundle, preset, names)
        named = find_preset(bundle, preset, device, precision)
        chosen = precision or named.speed.precision or default_precision(bundle, device)
        manifest = bundle.manifest
        settings = EditSettings.of(config, manifest.edit, manifest.model, replace(named.speed, precision=chosen))
        timesteps = Schedule(**manifest.model.schedule).timesteps_for(settings.steps, settings.strength)
        if settings.speed.calls is not None and timesteps:
            Schedule(**manifest.model.schedule).timesteps_for_calls(timesteps.start, settings.speed.calls)
        place = bundle.folder.name if bundle.folder in list_bundles() else str(bundle.folder.absolute())
        return cls(bundle, place, device, preset, chosen, settings)

    def _measured_precision(self) -> str:
        named = find_preset(self.bundle, self.preset, self.device, self.precision)
        return named.speed.precision or default_precision(self.bundle, self.device)

    def seconds(self, config: EditConfig, *, generates: bool = False) -> tuple[float | None, str]:
        """Return the seconds of an edit and where they are from: ``tune``'s, or one that is made now.

        ``generates``: of an image from a text alone, which ``tune`` does not measure.
        """
        default = not generates and config == EditConfig(compose=config.compose) and config.compose == "contrast"
        measured = read_measurements(tuned_path(self.bundle, self.device), self.bundle) if default else None
        # A preset was measured in its own precision.
        same = measured is not None and self.precision == self._measured_precision()
        tuned = measured.seconds(self.preset) if measured is not None and same else None
        if tuned is not None:
            return tuned, "measured by tune"
        if backends.get(self.device).missing() is not None:
            return None, f"device {self.device} is not here: tune it there"
        try:
            editor = Editor.load(self.bundle.folder, self.device, self.precision, self.preset)
        except DeviceError as error:
            return None, str(error)
        if generates:
            for _ in range(2):  # the first one warms up
                [made] = generate(editor, NORMAL_PROMPT, config)
            return sum(made.seconds.values()), "measured now, one image on this machine"
        image = draw(editor.model.image_size, 0).image
        for _ in range(2):
            result = editor.edit(image, "edema", config)
        return sum(result.seconds.values()), "measured now, one edit on this machine"


def plan_of(
    engine: Engine,
    origin: Origin,
    prompts: Sequence[str],
    output: Output,
    *,
    repeats: int = 1,
    noise: str = "edit",
    batch: int = 1,
    force: Iterable[str] = (),
    protect_markers: bool = True,
    splits: Mapping[str, float] | None = None,
) -> Plan:
    """Return a plan without its sources yet; see :class:`Plan`."""
    settings = asdict(engine.settings)
    speed = settings.pop("speed")
    settings.pop("seed")
    output = replace(output, deidentify=deidentification(output.deidentify))
    return Plan(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        version=__version__,
        engine=engine.bundle.name,
        engine_place=engine.place,
        engine_sha256=engine.bundle.manifest_hash,
        device=engine.device,
        preset=engine.preset,
        precision=engine.precision,
        settings={**settings, "solver": speed["solver"], "calls": speed["calls"]},
        prompts=tuple(prompts),
        repeats=repeats,
        origin=origin,
        output=output,
        noise=noise,
        batch=batch,
        force=tuple(sorted(force)),
        protect_markers=protect_markers,
        splits=splits,
        pseudonym_key=key_fingerprint(pseudonym_key()) if output.deidentify == PSEUDONYMIZE else "",
    )


def generating(config: EditConfig) -> EditConfig:
    """Return the settings of images from a text alone: the whole schedule from noise, and nothing to compose with."""
    return replace(config, strength=1.0, compose="replace")


def generated_output(output: Output) -> Output:
    """Return what is written for an image from a text alone: a Secondary Capture, with nobody to de-identify."""
    return replace(output, deidentify=NONE, sop_class="secondary-capture")


def with_root(plan: Plan, root: Path) -> Plan:
    """Return a plan whose sources lie below ``root``."""
    return replace(plan, origin=replace(plan.origin, root=str(root.absolute())))


def file_rows(
    paths: Sequence[Path], hash_by: str, deidentify: str, force: frozenset[str]
) -> tuple[list[SourceRow], Path]:
    """Return a row for each radiograph that ``paths`` name, and the folder that their paths start from."""
    found = find_sources(paths, force=force)
    for line in found.skipped_lines():
        logger.warning(line)
    for name, reason in found.unreadable.items():
        logger.error(f"{name}: {reason}")
    root = Path(os.path.commonpath([source.path.absolute().parent for source in found.sources]))
    method = deidentification(deidentify)
    rows, notes = rows_of_files(found, root, hash_by, method, _key_of(method))
    for note in notes:
        logger.warning(note)
    nobody = sum(not row.patient for row in rows)
    if nobody:
        logger.warning(f"{nobody} sources without a patient: each counts as a patient of its own, also in splits")
    return rows, root


def _key_of(method: str) -> bytes:
    """Return the secret of the pseudonyms that patients get in a plan.

    Anonymous patients stay apart from each other by a key that nobody keeps: in another plan they have other pseudonyms
    and splits, and the same command makes another plan.
    """
    return pseudonym_key() if method == PSEUDONYMIZE else os.urandom(32) if method == ANONYMIZE else b""


def dataset_rows(
    dataset: str,
    root: Path,
    filters: Filters,
    *,
    metadata: Path | None = None,
    patients: Path | None = None,
    label_map: Path | None = None,
    hash_by: str = "name",
    deidentify: str = PSEUDONYMIZE,
) -> tuple[list[SourceRow], tuple[str, ...], Selection]:
    """Return a row for each radiograph of a data set that ``filters`` take, the names of its labels, and counts.

    Patients of a table get pseudonyms unless ``deidentify`` is ``none``, and a path that reveals one stays out of
    ``name``; those of a public data set are its own numbers. Radiographs whose file is not below ``root`` are left out
    and counted. Raises SettingError naming what is missing.
    """
    if dataset == "mimic" and patients is None and filters.min_age:
        raise SettingError(
            "MIMIC-CXR has no ages: give MIMIC-IV's patients.csv with --patients FILE, or take all with --min-age 0"
        )
    if dataset == "table" and metadata is not None:
        labels = datasets.table_labels(metadata)
        records = datasets.read_records(dataset, root, labels, metadata)
    else:
        labels = datasets.read_label_map(label_map, dataset)
        records = datasets.read_records(dataset, root, labels, metadata, patients)
    selection = datasets.select(records, filters, labels)
    names, rows = tuple(labels), dict[str, SourceRow]()
    method = deidentification(deidentify)
    pseudonyms = Pseudonyms(_key_of(method)) if dataset == "table" and method != NONE else None
    records, selection.records = iter(selection.records), []  # only the rows stay in memory
    for record in records:
        row = _row(record, dataset, root, names, hash_by, pseudonyms)
        if row is None:
            selection.left_out["not below the root folder"] += 1
        elif row.key in rows:
            selection.left_out["listed, or with content that came, before"] += 1
        else:
            rows[row.key] = row
    return list(rows.values()), names, selection


def _row(
    record: Record, dataset: str, root: Path, names: tuple[str, ...], hash_by: str, pseudonyms: Pseudonyms | None
) -> SourceRow | None:
    path = next((path for path in record.paths if os.path.isfile(root / path)), None)  # noqa: PTH113 - a third faster
    if path is None:
        return None
    sha256 = reason = ""
    if hash_by == "content":
        try:
            sha256 = hashlib.sha256((root / path).read_bytes()).hexdigest()
        except OSError as error:
            reason = error.strerror or "input error"
    # The usual place: a copy of the data set with other folders has the same keys.
    key = sha256 or name_key(dataset, record.paths[0] if dataset != "nih" else Path(record.paths[0]).name)
    name, patient = readable(path), record.patient
    if pseudonyms is not None:
        patient = table_patient(record.patient, pseudonyms)
        if table_path_reveals(Source.of(root / path), path, record.patient):
            name = f"source {key[:16]}"
    if reason:
        logger.error(f"{name}: cannot be read: {reason}: a row with the reason when the cohort is run")
    labels = _cells(record.found, record.unknown, names)
    age = "" if record.age is None else str(record.age)
    return SourceRow(key, sha256, path, "", name, patient, dataset, record.view, age, record.sex, record.split, labels)


@lru_cache(maxsize=4096)
def _cells(found: frozenset[str], unknown: frozenset[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cells of the label columns: one tuple for all sources with the same."""
    return tuple("1" if name in found else "" if name in unknown else "0" for name in names)


def parse_splits(text: str) -> dict[str, float] | None:
    """Return the share of each split: ``80/10/10`` is train, validate and test; None for the data set's own.

    Raises SettingError for shares that are no numbers or not 100 together.
    """
    if text == DATASET_SPLIT:
        return None
    names = ("train", "validate", "test")
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        shares = []
    if not 1 <= len(shares) <= 3 or min(shares) < 0 or abs(sum(shares) - 100) > 1e-6:
        raise SettingError(f"split {text!r}: expected shares of train/validate/test such as 80/10/10, or dataset")
    return {name: share / 100 for name, share in zip(names, shares, strict=False)}


def with_splits(rows: Sequence[SourceRow], splits: dict[str, float] | None) -> list[SourceRow]:
    """Return the rows with their split, by patient. Raises SettingError where a patient has two."""
    if splits is not None:
        rows = [replace(row, split=split_of(f"{row.dataset}\0{row.patient or row.key}", splits)) for row in rows]
    check_splits(rows)
    return list(rows)


def limited(rows: Sequence[SourceRow], limit: int | None) -> list[SourceRow]:
    """Return at most ``limit`` rows, drawn by their hash: the same ones each time, in the order of all."""
    if limit is None or limit >= len(rows):
        return list(rows)
    keys = {row.key for row in sorted(rows, key=lambda row: hashlib.sha256(row.key.encode()).digest())[:limit]}
    return [row for row in rows if row.key in keys]


def filters_of(dataset: str | None, view: str | None, min_age: int | None, findings: str | None) -> Filters:
    """Return the filters: those of the paper for a data set, none for files and tables, each replaced where given."""
    usual = datasets.PAPER if dataset not in (None, "table") else Filters()
    views = {None: usual.views, "pa": frozenset({"PA"}), "frontal": datasets.FRONTAL, "any": frozenset[str]()}
    return Filters(
        views[view], usual.min_age if min_age is None else min_age, usual.findings if findings is None else findings
    )
