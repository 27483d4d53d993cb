"""Edit many radiographs: read ahead of the device and write behind it, so that it does not wait.

    for event in edit_many(editor, jobs, config):
        if isinstance(event, Edited): ...

The thread that iterates runs the networks. One thread reads the next sources, a few put finished edits back into
theirs, and one writes, in the order of the jobs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from roentmod_fast.atomic import check_writable, make_folder
from roentmod_fast.editor import Editor, StopRequestedError
from roentmod_fast.errors import DiskFullError, OutputError, RefusedError, RoentmodError, SettingError, SourceError
from roentmod_fast.jobs import Job
from roentmod_fast.radiograph.dicom.deidentify import PSEUDONYMIZE, deidentification, pseudonym_key
from roentmod_fast.radiograph.doubts import Force
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.preview import write_preview
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.region import Region, region_of
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.result import Decoded, EditResult, Placed, Prepared
from roentmod_fast.settings import EditConfig

logger = logging.getLogger(__name__)

FINISHERS = min(4, os.cpu_count() or 1)
"""Threads that put edits back into their sources, which is numpy's work and runs beside Python's."""

FILES_LOCK = threading.Lock()
"""Held while a file is read or written: how pydicom validates and what Python warns of, which both change for a while,
belongs to the process and not to a thread."""

Progress: TypeAlias = Callable[[Sequence[Job], int, int], None]
"""Called with the jobs that are being made together, how often the UNet has run for them, and how often it will."""


@dataclass(frozen=True)
class Reading:
    """How sources are read, as for ``read_radiograph``, and where they are edited, as for ``Editor.edit``."""

    voi: int = 0
    force: Force = False
    orientation: str | None = None
    region: Region | None = None
    protect_markers: bool = True


@dataclass(frozen=True)
class Writing:
    """How edits are written: as for :meth:`~.result.EditResult.save`.

    ``skip_existing``: an edit whose file is there is not made again. ``measure``: compute the edit's change, for a
    report, in the threads that put edits back.
    """

    deidentify: str = "pseudonymize"
    sop_class: str = "source"
    transfer_syntax: str = "explicit"
    label: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    measure: bool = False


@dataclass(frozen=True)
class Edited:
    """An edit that is on the disk. ``problem``: its preview could not be written."""

    job: Job
    result: EditResult
    sop_instance_uid: str | None
    problem: OutputError | None = None


@dataclass(frozen=True)
class Skipped:
    """Edits that were not made and need not be: they exist, or the source of a folder or archive should not be edited.

    ``refused``: the error that says why, None where the edits exist.
    """

    jobs: tuple[Job, ...]
    refused: RefusedError | None = None


@dataclass(frozen=True)
class Failed:
    """Edits that could not be made or written, or whose source could not be read."""

    jobs: tuple[Job, ...]
    error: RoentmodError


@dataclass(frozen=True)
class Stopped:
    """The end of a run before its last job; ``error`` is None where it was asked to stop."""

    not_tried: tuple[Job, ...]
    error: RoentmodError | None = None


Event: TypeAlias = "Edited | Skipped | Failed | Stopped"


@dataclass(eq=False)
class _Ready:
    """A source that was read: ``placed`` for the engine, and ``prepared`` once that has encoded it."""

    placed: Placed
    prepared: Prepared | None = None


def edit_many(
    editor: Editor | Callable[[], Editor],
    jobs: Sequence[Job],
    config: EditConfig | None = None,
    *,
    reading: Reading = Reading(),
    writing: Writing = Writing(),
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Event]:
    """Make all ``jobs``, ``editor.batch`` at a time, in their order; yield what became of each, as soon as it is known.

    Jobs of one source stand beside one another. ``editor`` may be what opens one: it is called once a source was read,
    so that a wrong source is known before a large engine is opened.

    A source or an output that fails fails alone; those that cannot be written are known before their edit is made. A
    full disk stops the run, and so does ``stop``, after the current call of the UNet: edits that are made are still
    written, and the last event is :class:`Stopped`. A :class:`SettingError` of the only source is raised: then the
    setting is wrong, such as a mask of another size. Where a network fails, what was made before is written and
    yielded, then the error is raised. Three batches of radiographs are in memory at most: one read ahead, one on the
    device, one behind it.
    """
    todo: list[Job] = []
    for job in jobs:
        # A file that is there is whole, as it is written in one step. isfile never raises, as for too long a name.
        if writing.skip_existing and os.path.isfile(job.path):  # noqa: PTH113
            yield Skipped((job,))
            continue
        try:
            for path in job.outputs:
                check_writable(path, overwrite=writing.overwrite)
        except OutputError as error:
            yield Failed((job,), error)
            continue
        todo.append(job)
    if todo:
        yield from _Run(editor, todo, config, reading, writing, progress, stop or threading.Event()).events()


@dataclass(eq=False)
class _Run:
    """One run over jobs that can be written."""

    editor: Editor | Callable[[], Editor]
    jobs: Sequence[Job]
    config: EditConfig | None
    reading: Reading
    writing: Writing
    progress: Progress | None
    stop: threading.Event
    tried: set[Job] = field(default_factory=set)

    def events(self) -> Iterator[Event]:
        by_source: dict[Source, list[Job]] = {}
        for job in self.jobs:
            by_source.setdefault(job.source, []).append(job)
        sources = iter(by_source)
        # The first source that can be read is read before the engine is opened.
        first = None
        for source in sources:
            if self.stop.is_set():
                break
            try:
                first = source, self._read(source)
                break
            except (SourceError, SettingError) as error:
                yield self._unreadable(by_source[source], error, alone=len(by_source) == 1)
        if first is None:
            if self.stop.is_set():
                yield self._stopped(None)
            return
        if deidentification(self.writing.deidentify) == PSEUDONYMIZE and first[1].dataset is not None:
            pseudonym_key()  # one that cannot be kept is known before the work
        editor = self.editor if isinstance(self.editor, Editor) else self.editor()
        reader = ThreadPoolExecutor(1, "read")
        behind = _Behind(editor, self.writing)
        try:
            coming = self._ahead(editor, first, sources, by_source, reader)
            try:
                while True:
                    batch: list[tuple[Job, _Ready]] = []
                    while len(batch) < editor.batch and (next_one := next(coming, None)) is not None:
                        if isinstance(next_one, Failed | Skipped):
                            yield next_one
                        else:
                            batch.append(next_one)
                    yield from behind.written()
                    if not batch or behind.full is not None or self.stop.is_set():
                        break
                    self._make(editor, batch, behind)
                    # A single edit is written and yielded before the next; a batch is written behind the next one.
                    yield from behind.written(until_left=editor.batch if editor.batch > 1 else 0)
            except StopRequestedError:
                pass
            except RoentmodError:
                yield from behind.written(until_left=0)
                raise
            yield from behind.written(until_left=0)
            if behind.full is not None or self.stop.is_set():
                yield self._stopped(behind.full)
        except KeyboardInterrupt:
            behind.drop_waiting()
            raise
        finally:
            reader.shutdown(cancel_futures=True)
            behind.shutdown()

    def _stopped(self, error: RoentmodError | None) -> Stopped:
        return Stopped(tuple(job for job in self.jobs if job not in self.tried), error)

    def _read(self, source: Source) -> Radiograph:
        with FILES_LOCK:
            reading = self.reading
            radiograph = read_radiograph(source, voi=reading.voi, force=reading.force, orientation=reading.orientation)
        for note in radiograph.notes:
            logger.warning(f"{radiograph.source}: {note}")
        return radiograph

    def _place(self, editor: Editor, radiograph: Radiograph) -> _Ready:
        with FILES_LOCK:  # a mask is a file too
            region = region_of(radiograph, self.reading.region, protect_markers=self.reading.protect_markers)
        return _Ready(editor.place(radiograph, self.config, region=region, protect_markers=False))

    def _unreadable(self, jobs: Sequence[Job], error: SourceError | SettingError, *, alone: bool) -> Failed | Skipped:
        self.tried.update(jobs)
        if isinstance(error, SettingError):
            if alone:
                raise error
            # A mask or a box that does not fit says nothing of the source.
            return Failed(tuple(jobs), SettingError(f"{jobs[0].source.name}: {error}"))
        if isinstance(error, RefusedError) and not jobs[0].source.named:
            return Skipped(tuple(jobs), error)
        return Failed(tuple(jobs), error)

    def _ahead(
        self,
        editor: Editor,
        first: tuple[Source, Radiograph],
        sources: Iterator[Source],
        by_source: dict[Source, list[Job]],
        reader: ThreadPoolExecutor,
    ) -> Iterator[tuple[Job, _Ready] | Failed | Skipped]:
        """Yield each job with its source read, while the sources of the next batch are read in ``reader``."""
        ahead = -(-editor.batch * len(by_source) // max(len(self.jobs), 1))

        def read(source: Source) -> _Ready:
            return self._place(editor, self._read(source))

        reading: deque[tuple[Source, Future[_Ready]]] = deque()
        reading.append((first[0], reader.submit(self._place, editor, first[1])))
        while True:
            for source in islice(sources, ahead + 1 - len(reading)):
                reading.append((source, reader.submit(read, source)))
            if not reading:
                return
            source, future = reading.popleft()
            try:
                ready = future.result()
            except (SourceError, SettingError) as error:
                yield self._unreadable(by_source[source], error, alone=len(by_source) == 1)
                continue
            for job in by_source[source]:
                yield job, ready

    def _make(self, editor: Editor, batch: Sequence[tuple[Job, _Ready]], behind: _Behind) -> None:
        """Run the networks for one batch and hand what they made on."""
        jobs = [job for job, _ in batch]

        def tell(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(jobs, done, total)
            if self.stop.is_set() and done < total:
                raise StopRequestedError

        new = [ready for ready in dict.fromkeys(ready for _, ready in batch) if ready.prepared is None]
        for ready, prepared in zip(new, editor.encode([ready.placed for ready in new]), strict=True):
            ready.prepared = prepared
        pairs = [(ready.prepared, job.prompt) for job, ready in batch if ready.prepared is not None]
        if self.progress is not None:
            self.progress(jobs, 0, editor.count_calls(pairs))
        edits = editor.run(pairs, progress=tell)
        self.tried.update(jobs)
        for job, decoded in zip(jobs, edits, strict=True):
            behind.add(job, decoded)


class _Behind:
    """Puts edits back into their sources and writes them, in threads.

    ``full``: the error of a full disk, after which no edit more should be made.
    """

    def __init__(self, editor: Editor, writing: Writing) -> None:
        self.full: DiskFullError | None = None
        self._editor = editor
        self._writing = writing
        self._finishers = ThreadPoolExecutor(FINISHERS, "finish")
        self._writer = ThreadPoolExecutor(1, "write")
        self._pending: deque[tuple[Job, Future[Edited]]] = deque()

    def add(self, job: Job, decoded: Decoded) -> None:
        """Take an edit over."""
        result = self._finishers.submit(self._finish, decoded)
        self._pending.append((job, self._writer.submit(self._write, job, result)))

    def _finish(self, decoded: Decoded) -> EditResult:
        result = self._editor.finish(decoded)
        if self._writing.measure:
            _ = result.change
        return result

    def _write(self, job: Job, finished: Future[EditResult]) -> Edited:
        result = finished.result()
        with FILES_LOCK:
            return write_job(job, result, self._writing)

    def written(self, until_left: int | None = None) -> Iterator[Edited | Failed]:
        """Yield what became of edits: of those that are done by now, or waiting until ``until_left`` are left."""
        while self._pending:
            job, edit = self._pending[0]
            if not edit.done() if until_left is None else len(self._pending) <= until_left:
                return
            wait([edit])  # where Ctrl-C falls into it, the edit is still to be reported
            self._pending.popleft()
            error = edit.exception()
            if error is None:
                yield edit.result()
                continue
            if not isinstance(error, OutputError):
                raise error
            if isinstance(error, DiskFullError):
                self.full = error
            yield Failed((job,), error)

    def drop_waiting(self) -> None:
        """Leave out what is not being written yet."""
        for _, edit in self._pending:
            edit.cancel()
        self._pending.clear()

    def shutdown(self) -> None:
        """End the threads."""
        self._finishers.shutdown(cancel_futures=True)
        self._writer.shutdown(cancel_futures=True)


def write_job(job: Job, result: EditResult, writing: Writing) -> Edited:
    """Write an edit and its preview. Raises OutputError where the edit itself cannot be written."""
    make_folder(job.path.parent)
    uid = result.save(
        job.path,
        file_format=job.file_format,
        deidentify=writing.deidentify,
        sop_class=writing.sop_class,
        transfer_syntax=writing.transfer_syntax,
        label=writing.label,
        overwrite=writing.overwrite,
    )
    problem = None
    if job.preview is not None:
        try:
            write_preview(
                job.preview,
                result.radiograph.image,
                result.image,
                job.prompt,
                aspect=result.radiograph.aspect,
                provenance=result.provenance,
                overwrite=writing.overwrite,
            )
        except OutputError as error:
            problem = error
    return Edited(job, result, uid, problem)
