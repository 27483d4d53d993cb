"""Carry out a run of edits: find sources, show progress, print what was written, report, and say how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.cli import EXIT_NOTHING_DONE, EXIT_SOME_FAILED
from roentmod_fast.cli.log import log_prompt_hints, logger, shows_progress
from roentmod_fast.editor import Editor
from roentmod_fast.errors import OutputError, RoentmodError
from roentmod_fast.jobs import Job, Pair, pairs_of, read_table
from roentmod_fast.pipeline import Edited, Event, Failed, Reading, Skipped, Writing, edit_many
from roentmod_fast.radiograph.sources import SourceList, find_sources
from roentmod_fast.report import RunReport
from roentmod_fast.settings import EditConfig

NOTE = b"\nstopping after this step; once more stops at once\n"


def run_edits(
    load: Callable[[], Editor],
    jobs: Sequence[Job],
    config: EditConfig,
    reading: Reading,
    writing: Writing,
    run: RunReport,
    report: Path | None,
    html: Path | None = None,
    *,
    replace: bool,
) -> int:
    """Make all edits and return the exit status.

    Paths of what was written go to stdout. ``report``: where ``run`` is written at the end, whatever happened, and
    ``html`` the page of the edits; ``replace`` one that is there. Raises what ended the run where nothing was written
    before.
    """
    pages = None if html is None else _Pages(html, jobs, writing, replace)
    with heed_signals() as stop:
        progress = EditProgress(len(jobs))
        try:
            for event in edit_many(load, jobs, config, reading=reading, writing=writing, progress=progress, stop=stop):
                _show(event)
                run.add(event)
                if pages is not None and isinstance(event, Edited):
                    pages.add(event)
        except RoentmodError as error:
            run.end = str(error)
            if not run.outputs:
                raise
            logger.error(run.end)
        except KeyboardInterrupt:
            run.end = "interrupted"
        finally:
            progress.close()
            whole = pages is None or pages.close()
            status = _finish(run, report, replace, whole)
        return stop.exit_status if stop.is_set() else status


def find_pairs(
    sources: Sequence[Path], prompts: Sequence[str], table: Path | None, force: frozenset[str]
) -> tuple[SourceList, list[Pair]]:
    """Return what was found and which prompts go to which source; log what was left out, and hints on prompts."""
    if table is not None:
        pairs = read_table(table)
        found = SourceList(tuple(dict.fromkeys(source for source, _ in pairs)))
    elif not sources:
        raise click.UsageError("Missing argument 'SOURCE...'.")
    elif not prompts:
        raise click.UsageError("Missing option '-p' / '--prompt'.")
    else:
        pairs_of((), prompts)  # an empty prompt is known before folders are searched
        found = find_sources(sources, force=force)
        pairs = pairs_of(found.sources, prompts)
    for line in found.skipped_lines():
        logger.warning(line)
    for name, reason in found.unreadable.items():
        logger.error(f"{name}: {reason}")
    log_prompt_hints(prompt for _, prompt in pairs)
    return found, pairs


def _show(event: Event) -> None:
    """Print the path of what was written, and log what was not."""
    if isinstance(event, Edited):
        if event.result.truncated:
            logger.warning(f"the prompt is too long for the engine, left out: {event.result.truncated!r}")
        click.echo(event.job.path)
        if event.problem is not None:
            logger.error(str(event.problem))
    elif isinstance(event, Failed):
        logger.error(str(event.error))
    elif isinstance(event, Skipped):
        logger.warning(f"refused {event.refused}" if event.refused else f"{event.jobs[0].path}: exists, skipped")
    elif event.not_tried:
        logger.warning(f"stopped: {len(event.not_tried)} edits not tried")


class _Pages:
    """The page of a run; where it cannot be written, edits go on without it."""

    def __init__(self, path: Path, jobs: Sequence[Job], writing: Writing, replace: bool) -> None:
        from roentmod_fast.study.page.edits import RunPages

        several = len({job.source for job in jobs}) > 1
        self._failed = False
        self._pages = RunPages(
            path, several=several, deidentify=writing.deidentify, labelled=writing.label, overwrite=replace
        )

    def add(self, event: Edited) -> None:
        if not self._failed:
            self._guard(lambda: self._pages.add(event))

    def close(self) -> bool:
        """Write what is left; return whether all of it was written."""
        if not self._failed:
            self._guard(self._close)
        return not self._failed

    def _close(self) -> None:
        path = self._pages.close()
        if path is not None:
            logger.info(f"page: {path}")

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OutputError as error:
            self._failed = True
            logger.error(f"the page: {error}")


def _finish(run: RunReport, report: Path | None, overwrite: bool, reported: bool = True) -> int:
    """Write the report, log the summary and return the exit status of a run that no signal stopped.

    ``reported``: everything else about the run was written.
    """
    if report is not None:
        try:
            make_folder(report.parent)
            write_atomically(report, run.render().encode(), overwrite=overwrite)
        except OutputError as error:
            logger.error(f"the report: {error}")
            reported = False
    logger.info(run.summary())
    done = bool(run.outputs or run.existing)
    if run.failures or run.end != "done" or not reported:
        return EXIT_SOME_FAILED if done else EXIT_NOTHING_DONE
    return 0 if done else EXIT_NOTHING_DONE


class EditProgress:
    """Shows the edits that are being made together; called as :data:`roentmod_fast.pipeline.Progress`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._begun = 0
        self._bar: Any = None

    def __call__(self, jobs: Sequence[Job], done: int, total: int) -> None:
        if done == 0:
            self._begin(jobs, total)
        elif self._bar is not None:
            self._bar.update(1)
            if done == total:
                self.close()

    def _begin(self, jobs: Sequence[Job], total: int) -> None:
        label = f"{jobs[0].source.stem}: {jobs[0].prompt}" + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        if self._count > 1:
            label = f"[{self._begun + 1}/{self._count}] {label}"
        self._begun += len(jobs)
        if shows_progress():
            self._bar = click.progressbar(length=total, label=label, file=sys.stderr)
            self._bar.__enter__()
        else:
            logger.info(label)

    def close(self) -> None:
        """End the line of a bar that is open."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


class StopRequest(threading.Event):
    """Set by a signal; ``signal_number`` says by which."""

    signal_number: int = 0

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended: 130 for Ctrl-C."""
        return 128 + self.signal_number


@contextlib.contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Yield what the first signal sets; the second one raises KeyboardInterrupt. A signal that is ignored stays so."""
    stop = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.signal_number = number
        stop.set()
        with contextlib.suppress(OSError):
            os.write(2, NOTE)  # the buffered stderr may be in use where the signal came

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
