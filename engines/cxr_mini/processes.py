"""Spread work that is numpy over the cores: findings drawn, masks checked."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start now use one thread each: their matrix products would fight over the cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def spread(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Yield ``function(job)`` for each job, in order. ``function`` is one of a module that can be imported."""
    workers = len(os.sched_getaffinity(0))
    if workers == 1:
        yield from map(function, jobs)
        return
    with _one_thread_each():
        pool = multiprocessing.get_context("spawn").Pool(workers)
    with pool:
        yield from pool.imap(function, jobs, chunksize=4)
