"""Make the edits of a cohort: read ahead, run the networks, write behind, and append a row for each.

The bytes of an edit depend on the plan alone. Edits of a source are made in batches of the plan's size and order; a
batch of which some are made already is run as a whole, and only what is pending is written. Images that are generated
from a text alone go the same way, with nothing to read.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from roentmod_fast._version import __version__
from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.diffusion.noise import edit_noise
from roentmod_fast.editor import Editor, StopRequestedError
from roentmod_fast.errors import (
    NotFiniteError,
    OutputError,
    RefusedError,
    RoentmodError,
    SettingError,
    SourceError,
)
from roentmod_fast.generate import GeneratedImage
from roentmod_fast.pipeline import FILES_LOCK
from roentmod_fast.presets import EXACT
from roentmod_fast.radiograph.dicom.deidentify import PSEUDONYMIZE, Pseudonyms, pseudonym_key
from roentmod_fast.radiograph.dicom.stamp import Stamp
from roentmod_fast.radiograph.dicom.write import dicom_bytes
from roentmod_fast.radiograph.label import burn_label
from roentmod_fast.radiograph.raster import edit_png
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.result import Decoded, EditResult, Placed, Prepared, Stopwatch
from roentmod_fast.study.generated import image_contents, make_images
from roentmod_fast.study.plan import Cohort, Edit, Unit
from roentmod_fast.study.rows import DONE, FAILED, REFUSED, Row, RowWriter, intact, read_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a unit: rows written by state, and the reasons of those that were not made."""

    key: str
    states: tuple[str, ...]
    errors: tuple[str, ...] = ()


class Feed(Protocol):
    """Where a worker gets its units from."""

    def take(self, wait: bool) -> Unit | None:
        """Return the next unit; None where there is none, with ``wait`` none at all, else none yet."""


class ListFeed:
    """Units that are all known."""

    def __init__(self, units: Iterator[Unit]) -> None:
        self._units = units

    def take(self, wait: bool) -> Unit | None:
        return next(self._units, None)


def load_editor(cohort: Cohort) -> Editor:
    """Open the plan's engine on its device. Raises SettingError where engine or key are not the plan's."""
    plan = cohort.plan
    check_key(plan.output.deidentify, plan.pseudonym_key)
    # The preset is in the settings: it need not be measured on the machine of each worker.
    editor = Editor.load(plan.engine_place, plan.device, plan.precision, EXACT, batch=plan.batch)
    if editor.bundle.manifest_hash != plan.engine_sha256:
        raise SettingError(
            f"engine {plan.engine_place}: its manifest is {editor.bundle.manifest_hash[:12]}, the plan's is"
            f" {plan.engine_sha256[:12]}: import the plan's engine, or plan a new cohort"
        )
    return editor


def key_fingerprint(key: bytes) -> str:
    """Return what tells keys of pseudonyms apart, and nothing more."""
    return Pseudonyms(key).digest("cohort", "key").hex()[:16]


def check_key(deidentify: str, fingerprint: str) -> None:
    """Raise SettingError where this user's key of pseudonyms is not the one of the plan."""
    if deidentify == PSEUDONYMIZE and fingerprint and key_fingerprint(pseudonym_key()) != fingerprint:
        raise SettingError("the key of the pseudonyms is not the plan's: set ROENTMOD_PSEUDONYM_KEY to that one")


@dataclass(frozen=True)
class _Read:
    """A source that was read and placed; ``placed`` without noise of its own."""

    placed: Placed
    sha256: str


class Maker:
    """Makes units with one editor; holds the process's file of rows.

    ``root``: where the sources lie, in place of the plan's. ``stop``: asked after each step; the batch is dropped.
    """

    def __init__(
        self, cohort: Cohort, editor: Editor, root: Path | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._stop = stop
        self._cohort = cohort
        self._plan = cohort.plan
        self._editor = editor
        self._root = Path(cohort.plan.origin.root) if root is None else root
        self._rows = RowWriter(cohort.folder)
        # The files show the plan's time: an edit that is made again has the same bytes.
        self._time = datetime.datetime.fromisoformat(cohort.plan.created).replace(tzinfo=None)

    def make(self, feed: Feed) -> Iterator[Outcome]:
        """Make all units of ``feed``, in its order; yield what became of each.

        Raises DiskFullError and OutputError where a file cannot be written, EngineError and DeviceError where a network
        fails: rows and files that are written stay. One unit is read ahead and one batch written behind.
        """
        reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
        ahead: deque[tuple[Unit, Future[_Read] | None]] = deque()
        behind: deque[tuple[str, list[Future[Row]]]] = deque()
        try:
            while True:
                if self._stop():
                    ahead.clear()
                while len(ahead) < 2 and not self._stop():
                    unit = feed.take(wait=not ahead and not behind)
                    if unit is None:
                        break
                    unit = self._without_made(unit)
                    ahead.append((unit, None if self._plan.generates else reader.submit(self._read, unit)))
                if ahead:
                    unit, reading = ahead.popleft()
                    written = (
                        self._generate_unit(unit, writer) if reading is None else self._make_unit(unit, reading, writer)
                    )
                    behind.append((unit.source.key, written))
                elif not behind:
                    return
                while behind and (not ahead or len(behind) > 1):
                    yield self._outcome(*behind.popleft())
        finally:
            reader.shutdown(cancel_futures=True)
            writer.shutdown()

    def close(self) -> None:
        """Close the file of rows."""
        self._rows.close()

    def _without_made(self, unit: Unit) -> Unit:
        """Leave out what another process has made in the meantime: its file is there, and so is its row."""
        there = [key for key in unit.pending if any((self._cohort.folder / p).exists() for p in self._paths(key))]
        if not there:
            return unit
        rows = read_rows(self._cohort.folder).by_id
        done = [rows[key] for key in there if key in rows and rows[key].state == DONE]
        made = {row.id for row in done if intact(self._cohort.folder, row)}
        return replace(unit, pending=unit.pending - made)

    def _paths(self, edit_id: str) -> Sequence[str]:
        return tuple(self._cohort.paths(edit_id).values())

    def _read(self, unit: Unit) -> _Read:
        source = unit.source.source(self._root)
        with FILES_LOCK:
            sha256 = hashlib.sha256(source.read()).hexdigest()
            if unit.source.sha256 not in ("", sha256):
                raise SourceError(f"{source.name}: changed since the plan was made: restore it, or plan a new cohort")
            radiograph = read_radiograph(source, force=frozenset(self._plan.force))
        for note in radiograph.notes:
            logger.debug(f"{source.name}: {note}")
        placed = self._editor.place(radiograph, self._plan.config, protect_markers=self._plan.protect_markers)
        return _Read(placed, sha256)

    def _make_unit(self, unit: Unit, reading: Future[_Read], writer: ThreadPoolExecutor) -> list[Future[Row]]:
        pending = [edit for edit in unit.edits if edit.id in unit.pending]
        try:
            read = reading.result()
        except (SourceError, SettingError) as error:
            return [writer.submit(self._append, self._failure(edit, error)) for edit in pending]
        written, batches = list[Future[Row]](), self._batches(unit)
        seeds = list(dict.fromkeys(edit.seed for edits in batches for edit in edits))
        try:
            first = self._editor.encode([_with_seed(read.placed, seed) for seed in seeds])
        except NotFiniteError as error:
            return [writer.submit(self._append, self._failure(edit, error)) for edit in pending]
        encoded = dict(zip(seeds, first, strict=True))
        for edits in batches:
            # Prepared anew: what a batch computes must not depend on the batches before it.
            prepared = {seed: _fresh(encoded[seed]) for seed in dict.fromkeys(edit.seed for edit in edits)}
            todo = [edit for edit in edits if edit.id in unit.pending]
            try:
                made = self._editor.run([(prepared[edit.seed], edit.prompt) for edit in edits], progress=self._heed)
            except StopRequestedError:
                break
            except NotFiniteError as error:
                written += [writer.submit(self._append, self._failure(edit, error)) for edit in todo]
                continue
            for edit, decoded in zip(edits, made, strict=True):
                if edit.id in unit.pending:
                    written.append(writer.submit(self._write, edit, decoded, read.sha256))
        return written

    def _batches(self, unit: Unit) -> list[tuple[Edit, ...]]:
        """Return the batches of a unit of which something is pending."""
        size = self._plan.batch
        batches = [unit.edits[start : start + size] for start in range(0, len(unit.edits), size)]
        return [edits for edits in batches if any(edit.id in unit.pending for edit in edits)]

    def _generate_unit(self, unit: Unit, writer: ThreadPoolExecutor) -> list[Future[Row]]:
        written: list[Future[Row]] = []
        for edits in self._batches(unit):
            try:
                made = list(make_images(self._editor, self._plan, edits, self._heed))
            except StopRequestedError:
                break
            except NotFiniteError as error:
                todo = [edit for edit in edits if edit.id in unit.pending]
                written += [writer.submit(self._append, self._failure(edit, error)) for edit in todo]
                continue
            written += [writer.submit(self._write_image, *each) for each in made if each[0].id in unit.pending]
        return written

    def _heed(self, done: int, total: int) -> None:
        if done < total and self._stop():
            raise StopRequestedError

    def _outcome(self, key: str, written: Sequence[Future[Row]]) -> Outcome:
        rows = [future.result() for future in written]
        return Outcome(key, tuple(row.state for row in rows), tuple(dict.fromkeys(r.error for r in rows if r.error)))

    def _failure(self, edit: Edit, error: RoentmodError) -> Row:
        return self._row(edit, REFUSED if isinstance(error, RefusedError) else FAILED, error=str(error))

    def _row(self, edit: Edit, state: str, error: str = "") -> Row:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
        return Row(edit.id, state, error, version=__version__, finished=now, host=self._rows.host)

    def _append(self, row: Row) -> Row:
        self._rows.append(row)
        return row

    def _write(self, edit: Edit, decoded: Decoded, source_sha256: str) -> Row:
        """Write the files of an edit, then its row."""
        result = self._editor.finish(decoded)
        try:
            contents = self._contents(edit, result)
        except OutputError as error:  # a header that cannot be written says nothing of the other sources
            return self._append(self._failure(edit, error))
        return self._put(edit, contents, result, source_sha256)

    def _write_image(self, edit: Edit, image: GeneratedImage) -> Row:
        """Write the files of a generated image, then its row."""
        return self._put(edit, image_contents(self._cohort, edit, image, self._time), image, "")

    def _put(
        self, edit: Edit, contents: Mapping[str, bytes], made: EditResult | GeneratedImage, source_sha256: str
    ) -> Row:
        files = {}
        for name, path in self._cohort.paths(edit.id).items():
            target, data = self._cohort.folder / path, contents[name]
            make_folder(target.parent)
            # A file without a row is of a run that was killed: it is written again.
            write_atomically(target, data, overwrite=True)
            files[name] = (path, hashlib.sha256(data).hexdigest(), len(data))
        row = replace(
            self._row(edit, DONE),
            source_sha256=source_sha256,
            files=files,
            seconds=round(sum(made.seconds.values()), 4),
            device=self._editor.device.name,
            cut=made.truncated,
        )
        return self._append(row)

    def _contents(self, edit: Edit, result: EditResult) -> dict[str, bytes]:
        output, contents = self._plan.output, {}
        image = burn_label(result.image) if output.label else result.image
        if output.format != "png":
            stamp = Stamp(self._time, self._cohort.digest + bytes.fromhex(edit.id))
            with FILES_LOCK:
                contents["dicom"], _ = dicom_bytes(
                    result.radiograph,
                    image,
                    result.provenance,
                    deidentify=output.deidentify,
                    sop_class=output.sop_class,
                    transfer_syntax=output.transfer_syntax,
                    labelled=output.label,
                    stamp=stamp,
                    name=edit.id,
                )
        if output.format != "dicom":
            contents["png"] = edit_png(
                result.radiograph, image, result.provenance, bits=output.png_bits, size=output.size
            )
        return contents


def _with_seed(placed: Placed, seed: int) -> Placed:
    """Return a placed source with the noise of another seed."""
    shape = (placed.noise.shape[1], *placed.noise.shape[2:])
    first, second = edit_noise(shape, seed)
    settings = replace(placed.settings, seed=seed)
    return replace(placed, settings=settings, encoder_noise=first, noise=second, watch=Stopwatch())


def _fresh(prepared: Prepared) -> Prepared:
    return replace(prepared, reference=None)
