"""Run a cohort: what is pending, made in this process or by several, and stopped in good order.

    for outcome in run_cohort(cohort, workers=2): ...

Work is handed out a source at a time. A worker that dies takes nothing along: its sources are handed to others, and
what it had written has rows.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

from roentmod_fast.errors import SettingError
from roentmod_fast.study.locks import hold
from roentmod_fast.study.make import ListFeed, Maker, Outcome, check_key, load_editor
from roentmod_fast.study.plan import Cohort, Unit
from roentmod_fast.study.rows import intact, read_rows
from roentmod_fast.study.workers import run_workers

logger = logging.getLogger(__name__)

WHOLE = (1, 1)
"""The only shard of one."""


def parse_shard(text: str) -> tuple[int, int]:
    """Return ``i/n`` as two numbers, i from 1 to n. Raises SettingError."""
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise SettingError(f"shard {text!r}: expected i/n, such as 3/16") from None
    if not 1 <= index <= count:
        raise SettingError(f"shard {text!r}: expected i/n with i from 1 to n, such as 1/16")
    return index, count


def pending_units(cohort: Cohort, shard: tuple[int, int] = WHOLE, *, retry_failed: bool = False) -> list[Unit]:
    """Return the sources that have edits to make, of one shard, in the order of the plan.

    ``retry_failed``: edits that failed, or whose file is missing or altered, are to be made too.
    """
    rows = read_rows(cohort.folder)
    settled = rows.settled(retry_failed=retry_failed)
    index, count = shard
    units = []
    for number, unit in enumerate(cohort.units()):
        if number % count != index - 1:
            continue
        pending = unit.pending - settled
        if retry_failed:
            pending |= {key for key in unit.pending & settled if not intact(cohort.folder, rows.by_id[key])}
        if pending:
            units.append(replace(unit, pending=pending))
    return units


def run_cohort(
    cohort: Cohort,
    *,
    shard: tuple[int, int] = WHOLE,
    workers: int = 1,
    dask: str | None = None,
    retry_failed: bool = False,
    root: Path | None = None,
    stop: threading.Event | None = None,
    begin: Callable[[int], None] | None = None,
) -> Generator[Outcome, None, None]:
    """Make what is pending; yield what became of each source.

    ``workers``: processes on this machine, one a GPU on a GPU device. ``dask``: address of a scheduler, in place of
    them. ``begin``: called with the number of edits that are pending. ``stop``: edits that are made are still written.
    Raises SettingError where another run makes the same edits now, for an engine that is not the plan's, and for
    too many workers; DiskFullError of a full disk; WorkerError where workers die again and again.
    """
    check_key(cohort.plan.output.deidentify, cohort.plan.pseudonym_key)
    check_root(cohort, root)
    stopped = threading.Event() if stop is None else stop
    with hold(cohort.folder, shard):
        units = pending_units(cohort, shard, retry_failed=retry_failed)
        if begin is not None:
            begin(sum(len(unit.pending) for unit in units))
        if units:
            yield from _outcomes(cohort, units, workers, dask, root, stopped)


def _outcomes(
    cohort: Cohort, units: Sequence[Unit], workers: int, dask: str | None, root: Path | None, stop: threading.Event
) -> Generator[Outcome, None, None]:
    if dask is not None:
        from roentmod_fast.study.cluster import run_dask

        yield from run_dask(cohort, units, dask, root, stop)
    elif workers > 1:
        yield from run_workers(cohort, units, workers, root, stop)
    else:
        with contextlib.closing(Maker(cohort, load_editor(cohort), root, stop.is_set)) as maker:
            yield from maker.make(ListFeed(iter(units)))


def check_root(cohort: Cohort, root: Path | None) -> None:
    """Raise SettingError where the folder of the sources is not here, and for a folder where there are no sources."""
    if cohort.plan.generates:
        if root is not None:
            raise SettingError("--root: the images of this cohort are generated, they have no sources")
        return
    folder = Path(cohort.plan.origin.root) if root is None else root
    if not folder.is_dir():
        raise SettingError(f"{folder}: no such folder: give the sources' place on this machine with --root")
