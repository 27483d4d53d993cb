"""Progress of edits and other work: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from roentmod_fast.cli.log import logger, shows_progress

if TYPE_CHECKING:
    from roentmod_fast.jobs import Job

LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


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


class CountProgress:
    """Shows how many of ``count`` things are done: a bar on a terminal, else a line now and then."""

    def __init__(self, count: int, label: str = "") -> None:
        self._count = count
        self._done = 0
        self._said = time.monotonic()
        self._bar: Any = None
        if shows_progress():
            self._bar = click.progressbar(length=count, label=label, file=sys.stderr, show_pos=True)

    def __enter__(self) -> CountProgress:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def done(self, name: str, number: int = 1) -> None:
        """Note that ``number`` more are done, the last of them called ``name``."""
        self._done += number
        if self._bar is not None:
            self._bar.update(number)
        elif time.monotonic() - self._said >= LINE_SECONDS or self._done == self._count:
            self._said = time.monotonic()
            logger.info(f"[{self._done}/{self._count}] {name}")
