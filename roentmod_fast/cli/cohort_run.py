"""Carry out a run of a cohort: progress, errors, a summary, and the exit status."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from roentmod_fast.cli import EXIT_NOTHING_DONE, EXIT_SOME_FAILED
from roentmod_fast.cli.edit_run import heed_signals
from roentmod_fast.cli.log import logger, shows_progress
from roentmod_fast.errors import RoentmodError
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.rows import DONE, FAILED
from roentmod_fast.study.run import run_cohort

EVERY = 30.0
"""Seconds between lines of progress where there is no terminal."""


class _Progress:
    """Shows edits made, their rate and the time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._bar: Any = None
        self._started = self._logged = time.monotonic()

    def begin(self, total: int) -> None:
        self._total = total
        self._started = self._logged = time.monotonic()
        logger.info(f"{total} edits to make")
        if shows_progress() and total:
            self._bar = click.progressbar(length=total, label="edits", show_pos=True, file=sys.stderr)
            self._bar.__enter__()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.label = f"edits, {3600 * rate:.0f} an hour"
            self._bar.update(count)
        elif now - self._logged >= EVERY:
            self._logged = now
            left = (self._total - self._done) / max(rate, 1e-9)
            logger.info(f"{self._done}/{self._total} edits, {3600 * rate:.0f} an hour, {left / 60:.0f} min left")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def run_and_report(
    cohort: Cohort, *, shard: tuple[int, int], workers: int, dask: str | None, retry_failed: bool, root: Path | None
) -> int:
    """Run a cohort and return the exit status. Raises what ended the run where nothing was made before."""
    made: Counter[str] = Counter()
    progress, failure = _Progress(), None
    with heed_signals() as stop:
        outcomes = run_cohort(
            cohort,
            shard=shard,
            workers=workers,
            dask=dask,
            retry_failed=retry_failed,
            root=root,
            stop=stop,
            begin=progress.begin,
        )
        try:
            for outcome in outcomes:
                made.update(outcome.states)
                for error in outcome.errors:
                    logger.error(error)
                progress.add(len(outcome.states))
        except RoentmodError as error:
            if not made:
                raise
            failure = error
        finally:
            outcomes.close()
            progress.close()
        if failure is not None:
            logger.error(str(failure))
        counts = ", ".join(f"{count} {state}" for state, count in sorted(made.items())) or "nothing to make"
        logger.info(f"{counts}{': stopped, the same command goes on' if failure or stop.is_set() else ''}")
        if stop.is_set():
            return stop.exit_status
    if failure is not None or made[FAILED]:
        return EXIT_SOME_FAILED if made[DONE] else EXIT_NOTHING_DONE
    # As 'edit': where something was pending and all of it was refused, nothing is done.
    return EXIT_NOTHING_DONE if made and not made[DONE] else 0
