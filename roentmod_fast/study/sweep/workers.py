"""Run the groups of a sweep, in this process or in several: on CPUs one core each is quicker than all for one loop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.editor import Editor
from roentmod_fast.runtime.host import physical_cores
from roentmod_fast.study.parent import end_with_parent
from roentmod_fast.study.sweep.plan import Group
from roentmod_fast.study.sweep.run import SweepRun

Array = NDArray[np.float32]
Made = tuple[Group, dict[int, Array]]

SMALL_ENGINE = 256 << 20
"""Bytes of an engine's networks up to which each process may have its own."""


class StoppedError(Exception):
    """The run was asked to stop."""


@dataclass(frozen=True)
class EngineArguments:
    """How a process opens the same engine: the arguments of ``Editor.load``."""

    engine: str
    device: str
    precision: str


def usual_workers(editor: Editor, groups: int) -> int:
    """Return how many processes suit an engine: one a core for a small one on a CPU, else this one alone."""
    size = sum(entry.bytes for entry in editor.bundle.manifest.files.values())
    if editor.device.is_gpu or size > SMALL_ENGINE:
        return 1
    return max(1, min(physical_cores(), groups))


def seconds_a_call(editor: Editor, calls: int = 3) -> float:
    """Measure how long the UNet takes for one item, in this process."""
    model = editor.model
    latents = np.zeros((1, model.latent_channels, model.latent_size, model.latent_size), dtype=np.float32)
    state = editor.empty_text[None]
    editor.networks.predict(latents, 1, state)
    began = time.perf_counter()
    for _ in range(calls):
        editor.networks.predict(latents, 1, state)
    return (time.perf_counter() - began) / calls


def run_groups(
    run: SweepRun,
    groups: Sequence[Group],
    workers: int,
    tick: Callable[[int], None],
    stop: threading.Event,
) -> Iterator[Made]:
    """Yield each group with its images, as they are done; the longest are begun first.

    ``tick`` is called with the number of items that the UNet has evaluated since the last call. Raises
    :class:`StoppedError` once ``stop`` is set and something is left: what was yielded before is done.
    """
    ordered = sorted(groups, key=lambda group: -group.calls)
    if workers > 1 and len(ordered) > 1:
        yield from _in_processes(run, ordered, workers, tick, stop)
        return

    def heed(count: int) -> None:
        tick(count)
        if stop.is_set():
            raise StoppedError

    for group in ordered:
        yield group, run.run(group, heed)


def _in_processes(
    run: SweepRun, groups: Sequence[Group], workers: int, tick: Callable[[int], None], stop: threading.Event
) -> Iterator[Made]:
    editor = run.editor
    engine = EngineArguments(str(editor.bundle.folder), editor.device.name, editor.networks.precision)
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    for core in _cores(workers):
        cores.put(core)
    arguments = (engine, run.radiograph.image, run.radiograph.aspect, run.protect_markers, cores)
    pool = ProcessPoolExecutor(workers, context, _begin, arguments)
    try:
        waiting: dict[Future[dict[int, Array]], Group] = {pool.submit(_make, group): group for group in groups}
        while waiting:
            done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                group = waiting.pop(future)
                images = future.result()
                tick(group.calls)
                yield group, images
            if stop.is_set() and waiting:
                raise StoppedError
    finally:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(10)


def _cores(workers: int) -> list[set[int] | None]:
    """Return the CPUs of each process, None where a process cannot be kept to some."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * workers
    allowed = sorted(os.sched_getaffinity(0))
    return [set(allowed[n::workers]) or None for n in range(workers)]


_run: SweepRun | None = None
"""The radiograph and engine of a process of the pool."""


def _begin(engine: EngineArguments, image: Array, aspect: float, protect_markers: bool, cores: Any) -> None:
    global _run  # noqa: PLW0603  # a pool's process has no other place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    end_with_parent()
    core = cores.get()
    if core is not None:
        os.sched_setaffinity(0, core)
    import dataclasses
    import logging

    from roentmod_fast.radiograph.read import as_radiograph

    logging.getLogger("roentmod_fast").setLevel(logging.ERROR)  # the parent has logged the engine's notice
    radiograph = dataclasses.replace(as_radiograph(image), aspect=aspect)
    editor = Editor.load(engine.engine, engine.device, engine.precision)
    _run = SweepRun(editor, radiograph, protect_markers=protect_markers)


def _make(group: Group) -> dict[int, Array]:
    assert _run is not None
    return _run.run(group)
