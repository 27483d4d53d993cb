"""Worker processes on this machine: each opens the engine once and is handed one source after the other."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from roentmod_fast.errors import RoentmodError, SettingError, WorkerError
from roentmod_fast.runtime import backends, gpus
from roentmod_fast.study.make import Maker, Outcome, load_editor
from roentmod_fast.study.parent import end_with_parent
from roentmod_fast.study.plan import Cohort, Unit

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Sources that a worker holds: one is made while the next is read."""

MAX_DEATHS = 3
"""Workers that may die in a row without a source being finished."""


@dataclass(eq=False)
class _Worker:
    """A process and what it was handed."""

    index: int
    process: SpawnProcess
    pipe: Connection
    units: dict[str, Unit] = field(default_factory=dict)
    ended: bool = False
    stopped: bool = False

    def hand(self, unit: Unit | None) -> None:
        """Send a source; None says that no more will come. A dead worker is noticed when its pipe is read."""
        if unit is None:
            self.ended = True
        else:
            self.units[unit.source.key] = unit
        with contextlib.suppress(OSError):
            self.pipe.send(unit)


def run_workers(
    cohort: Cohort, units: Sequence[Unit], count: int, root: Path | None, stop: threading.Event
) -> Iterator[Outcome]:
    """Make all units by ``count`` processes; yield what became of each. Raises what a worker raised, WorkerError."""
    check_workers(cohort.plan.device, count)
    todo = deque(units)
    workers: list[_Worker] = []
    deaths = 0
    try:
        workers += [_start(cohort, index, count, root) for index in range(min(count, len(todo)))]
        while workers:
            _hand_out(workers, todo, stop)
            for pipe in wait([worker.pipe for worker in workers], timeout=1):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                message = _received(worker)
                if isinstance(message, Outcome):
                    worker.units.pop(message.key, None)
                    deaths = 0
                    yield message
                elif isinstance(message, RoentmodError):
                    raise message
                else:
                    workers.remove(worker)
                    worker.process.join()
                    if not worker.ended or worker.units:
                        deaths += 1
                        todo.extendleft(worker.units.values())
                        if deaths >= MAX_DEATHS:
                            raise WorkerError(
                                f"{deaths} workers died in a row (the last by {_reason(worker.process.exitcode)}): "
                                "out of memory? Type the same command with fewer --workers to go on"
                            )
                        logger.warning(f"a worker died by {_reason(worker.process.exitcode)}: another one is started")
                        workers.append(_start(cohort, worker.index, count, root))
    finally:
        for worker in workers:
            worker.hand(None)
            worker.pipe.close()
        for worker in workers:
            # What is made is still written; whoever does not end in time is reading or computing.
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join()


def check_workers(device: str, count: int) -> None:
    """Raise SettingError for more workers than GPUs, on a GPU device."""
    if backends.get(device).is_gpu:
        found = len(_visible_gpus())
        if count > found:
            raise SettingError(f"--workers {count} and {found} GPUs: one worker a GPU, give --workers {max(found, 1)}")


def _hand_out(workers: Sequence[_Worker], todo: deque[Unit], stop: threading.Event) -> None:
    """Give each worker what it lacks, in turns, and tell it when there is no more."""
    for level in range(1, IN_FLIGHT + 1):
        for worker in workers:
            if todo and not stop.is_set() and not worker.ended and len(worker.units) < level:
                worker.hand(todo.popleft())
    for worker in workers:
        if stop.is_set() and not worker.stopped:
            worker.stopped = True
            worker.units.clear()
            worker.process.terminate()  # SIGTERM: after the current step
        if not worker.ended and (not todo or stop.is_set()):
            worker.hand(None)


def _received(worker: _Worker) -> Any:
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        return None


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit status {code}"


def _visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    return [str(index) for index in range(len(gpus.list_gpus()))]


def _start(cohort: Cohort, index: int, count: int, root: Path | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    level = logging.getLogger("roentmod_fast").level
    process = context.Process(target=_work, args=(theirs, cohort.folder, index, count, root, level), daemon=True)
    process.start()
    theirs.close()
    return _Worker(index, process, ours)


class _PipeFeed:
    """Units that come by a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._open = True

    def take(self, wait: bool) -> Unit | None:
        if not self._open or not (wait or self._pipe.poll()):
            return None
        try:
            unit: Unit | None = self._pipe.recv()
        except (EOFError, OSError):
            unit = None
        self._open = unit is not None
        return unit


def _work(pipe: Connection, folder: Path, index: int, count: int, root: Path | None, level: int) -> None:
    """Run in a worker: make units until no more come. SIGTERM stops after the current step."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of the terminal; the parent decides
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    end_with_parent()
    logging.getLogger("roentmod_fast").setLevel(max(level, logging.ERROR))  # the parent has logged it all once
    cohort = Cohort.open(folder)
    _take_share(cohort.plan.device, index, count)
    try:
        with contextlib.closing(Maker(cohort, load_editor(cohort), root, stop.is_set)) as maker:
            for outcome in maker.make(_PipeFeed(pipe)):
                pipe.send(outcome)
    except RoentmodError as error:
        with contextlib.suppress(OSError):
            pipe.send(error)
    except BrokenPipeError:
        pass  # the parent has ended


def _take_share(device: str, index: int, count: int) -> None:
    """Use one GPU, or one part of the CPU's cores."""
    if backends.get(device).is_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible_gpus()[index]
    elif hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        share = [core for place, core in enumerate(cores) if place * count // len(cores) == index]
        os.sched_setaffinity(0, share or {cores[index % len(cores)]})
