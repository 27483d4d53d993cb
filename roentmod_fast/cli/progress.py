"""Progress of edits: a bar on a terminal, a line for each batch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from roentmod_fast.cli.log import logger, shows_progress

if TYPE_CHECKING:
    from roentmod_fast.jobs import Job


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
