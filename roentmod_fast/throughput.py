"""Edit many radiographs: read ahead of the device, and write behind it, so that it does not wait.

The thread that calls runs the networks and is the only one that says anything. One thread reads the next sources, a few
put finished edits back into theirs, and one writes, in the order of the input.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.editor import Decoded, EditConfig, Editor, EditResult, Placed, Prepared, Progress
from roentmod_fast.errors import OutputError, SettingError, SourceError
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.sources import Source

FINISHERS = min(4, os.cpu_count() or 1)
"""Threads that put edits back into their sources, which is numpy's work and runs beside Python's."""

_FILES = threading.Lock()
"""Held while a file is read or written: how pydicom validates and what Python warns of, which both change for a while,
belongs to the process and not to a thread."""


@dataclass(frozen=True)
class Output:
    """One picture to make: of which source, towards which prompt, written where."""

    source: Source
    prompt: str
    path: Path


class Work(Protocol):
    """What a run does with files, and what it says.

    ``read`` and ``write`` are called in threads, never both at once; all others in the thread of :func:`edit_many`.
    """

    def read(self, source: Source) -> tuple[Radiograph, NDArray[np.float32] | None]:
        """Return a radiograph and its region, None for everywhere. May raise SourceError and SettingError."""

    def write(self, output: Output, radiograph: Radiograph, result: EditResult) -> str | None:
        """Write an edit; return its SOP Instance UID, if it has one. May raise OutputError."""

    def was_read(self, radiograph: Radiograph) -> None:
        """Hear of a source whose edits come next."""

    def cannot_be_read(self, source: Source, error: SourceError | SettingError) -> None:
        """Hear of a source that is left out."""

    def progress(self, outputs: Sequence[Output], calls: int) -> AbstractContextManager[Progress]:
        """Enclose the making of ``outputs``, all at once, in ``calls`` calls of the UNet."""

    def was_written(self, output: Output, radiograph: Radiograph, result: EditResult, uid: str | None) -> None:
        """Hear of an edit that is on the disk, with what ``write`` returned."""

    def cannot_be_written(self, output: Output, error: OutputError) -> None:
        """Hear of the edit that stopped the run."""


@dataclass(eq=False)
class _Ready:
    """A source that was read: ``placed`` for the engine, and ``prepared`` once that has encoded it."""

    radiograph: Radiograph
    placed: Placed
    prepared: Prepared | None = None


def edit_many(editor: Editor, config: EditConfig, outputs: Sequence[Output], work: Work) -> None:
    """Make all ``outputs``, ``editor.batch`` at a time, in their order; those of one source stand beside one another.

    A source that cannot be read is left out, but a :class:`SettingError` of the only one is raised: then the wish is
    wrong, such as a mask of another size. An output that cannot be written stops the run, for what fails one (no space,
    no permission) mostly fails all; none after it is written. Where a network fails, what was made before is written
    first; at Ctrl-C only what is being written at that moment. Three batches of radiographs are in memory at most: one
    read ahead, one on the device, one behind it.
    """
    reader = ThreadPoolExecutor(1, "read")
    behind = _Behind(editor, work)
    try:
        coming = _read_ahead(editor, config, outputs, work, reader)
        while batch := list(islice(coming, editor.batch)):
            behind.tell_written()
            if not behind.stopped:
                _make(editor, work, batch, behind)
                # A single edit is written and told of before the next; a batch is written behind the next one.
                behind.tell_until_left(editor.batch if editor.batch > 1 else 0)
            if behind.stopped:
                return
    except KeyboardInterrupt:
        behind.drop_waiting()
        raise
    finally:
        try:
            behind.tell_until_left(0)
        finally:
            reader.shutdown(cancel_futures=True)
            behind.shutdown()


def _read_ahead(
    editor: Editor, config: EditConfig, outputs: Sequence[Output], work: Work, reader: ThreadPoolExecutor
) -> Iterator[tuple[Output, _Ready]]:
    """Yield each output with its source read, while the sources of the next batch are read in ``reader``."""
    by_source: dict[Source, list[Output]] = {}
    for output in outputs:
        by_source.setdefault(output.source, []).append(output)
    ahead = -(-editor.batch * len(by_source) // max(len(outputs), 1))

    def read(source: Source) -> _Ready:
        with _FILES:
            radiograph, region = work.read(source)
        return _Ready(radiograph, editor.place(radiograph.image, config, region=region, aspect=radiograph.aspect))

    sources = iter(by_source)
    reading: deque[tuple[Source, Future[_Ready]]] = deque()
    while True:
        for source in islice(sources, ahead + 1 - len(reading)):
            reading.append((source, reader.submit(read, source)))
        if not reading:
            return
        source, future = reading.popleft()
        try:
            ready = future.result()
        except (SourceError, SettingError) as error:
            if isinstance(error, SettingError) and len(by_source) == 1:
                raise
            work.cannot_be_read(source, error)
            continue
        work.was_read(ready.radiograph)
        for output in by_source[source]:
            yield output, ready


def _make(editor: Editor, work: Work, batch: Sequence[tuple[Output, _Ready]], behind: _Behind) -> None:
    """Run the networks for one batch and hand what they made on."""
    new = [ready for ready in dict.fromkeys(ready for _, ready in batch) if ready.prepared is None]
    for ready, prepared in zip(new, editor.encode([ready.placed for ready in new]), strict=True):
        ready.prepared = prepared
    pairs = [(ready.prepared, output.prompt) for output, ready in batch if ready.prepared is not None]
    with work.progress([output for output, _ in batch], editor.count_calls(pairs)) as progress:
        edits = editor.run(pairs, progress=progress)
    for (output, ready), decoded in zip(batch, edits, strict=True):
        behind.add(output, ready.radiograph, decoded)


@dataclass(frozen=True)
class _Pending:
    """An edit on its way to the disk."""

    output: Output
    radiograph: Radiograph
    result: Future[EditResult]
    written: Future[str | None]


class _Behind:
    """Puts edits back into their sources and writes them, in threads; after one that fails, none is written.

    ``stopped``: one has failed, and it was told.
    """

    def __init__(self, editor: Editor, work: Work) -> None:
        self.stopped = False
        self._editor = editor
        self._work = work
        self._finishers = ThreadPoolExecutor(FINISHERS, "finish")
        self._writer = ThreadPoolExecutor(1, "write")
        self._pending: deque[_Pending] = deque()
        self._failed = threading.Event()

    def add(self, output: Output, radiograph: Radiograph, decoded: Decoded) -> None:
        """Take an edit over."""
        result = self._finishers.submit(self._editor.finish, decoded)
        written = self._writer.submit(self._write, output, radiograph, result)
        self._pending.append(_Pending(output, radiograph, result, written))

    def _write(self, output: Output, radiograph: Radiograph, result: Future[EditResult]) -> str | None:
        # Asked here and not where it is told: the next one is begun before anyone hears that this one failed.
        if self._failed.is_set():
            raise CancelledError
        try:
            edit = result.result()
            with _FILES:
                return self._work.write(output, radiograph, edit)
        except BaseException:
            self._failed.set()
            raise

    def tell_written(self) -> None:
        """Tell of what is on the disk by now, without waiting."""
        while self._pending and self._pending[0].written.done():
            self._tell_next()

    def tell_until_left(self, count: int) -> None:
        """Wait for edits and tell of them, until no more than ``count`` are left."""
        while len(self._pending) > count:
            self._tell_next()

    def _tell_next(self) -> None:
        edit = self._pending[0]
        wait([edit.written])  # where Ctrl-C falls into it, the edit is still to be told of
        self._pending.popleft()
        error = edit.written.exception()
        if error is None:
            self._work.was_written(edit.output, edit.radiograph, edit.result.result(), edit.written.result())
            return
        self._pending.clear()
        self.stopped = True
        if not isinstance(error, OutputError):
            raise error
        self._work.cannot_be_written(edit.output, error)

    def drop_waiting(self) -> None:
        """Leave out what is not being written yet."""
        self._pending = deque(edit for edit in self._pending if not edit.written.cancel())

    def shutdown(self) -> None:
        """End the threads."""
        self._finishers.shutdown(cancel_futures=True)
        self._writer.shutdown(cancel_futures=True)
