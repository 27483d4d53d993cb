"""Run a cohort on a Dask cluster: the scheduler hands out pending sources, resume and bytes are ours.

Each worker process opens the engine once and makes one source at a time. All see the cohort's folder and the sources
by the same paths.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roentmod_fast.errors import SettingError, WorkerError
from roentmod_fast.study.make import ListFeed, Maker, Outcome, load_editor
from roentmod_fast.study.plan import Cohort, Unit

TIMEOUT = "10s"
"""For the scheduler to answer."""

IN_FLIGHT = 2
"""Sources that are handed out, per thread of the cluster."""

_OPENED: dict[tuple[Path, bytes, Path | None], Maker] = {}
_LOCK = threading.Lock()


def run_dask(
    cohort: Cohort, units: Sequence[Unit], address: str, root: Path | None, stop: threading.Event
) -> Iterator[Outcome]:
    """Make all units on the cluster of the scheduler at ``address``; yield what became of each.

    Raises SettingError where dask.distributed is not installed or no scheduler answers, WorkerError where a source
    kills one worker after the other, and what the workers raise.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise SettingError("--dask needs dask.distributed: type pip install 'roentmod-fast[cluster]'") from None
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingError(
            f"--dask {address}: no scheduler answers ({reason}): start one with dask scheduler"
        ) from None
    folder = cohort.folder.absolute()
    with client:
        todo = iter(units)

        def submit() -> Any:
            unit = None if stop.is_set() else next(todo, None)
            return None if unit is None else client.submit(make_unit, folder, unit, root, pure=False)

        room = IN_FLIGHT * max(sum(client.nthreads().values()), 1)
        first = [future for _ in range(room) if (future := submit()) is not None]
        coming = as_completed(first, loop=client.loop)
        for future in coming:
            try:
                outcomes = future.result()
            except KilledWorker as error:
                raise WorkerError(
                    f"a source killed several Dask workers ({error.last_worker}): out of memory?"
                ) from None
            if (more := submit()) is not None:
                coming.add(more)
            future.release()
            yield from outcomes


def make_unit(folder: Path, unit: Unit, root: Path | None) -> list[Outcome]:
    """Run on a worker: make one source."""
    with _LOCK:
        cohort = Cohort.open(folder)
        key = (folder, cohort.digest, root)
        if key not in _OPENED:
            _OPENED.clear()  # one engine in memory
            _OPENED[key] = Maker(cohort, load_editor(cohort), root)
        maker = _OPENED[key]
        return list(maker.make(ListFeed(iter([unit]))))
