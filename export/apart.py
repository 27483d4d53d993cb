"""Run one step of an export in a process of its own, so that its memory is given back for certain.

Torch, ONNX Runtime and NNCF each keep what they once took; one after the other in one process they would need the sum.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from .errors import ExportError

Result = TypeVar("Result")


FROM = 500_000_000
"""Bytes of weights from which on a fresh process, which takes seconds to start, is worth it."""


def apart(weights: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a module's ``function``, in a fresh process where it handles ``weights`` bytes of :data:`FROM` or more.

    Returns what it returns, raises what it raises, and :class:`ExportError` where that process is killed.
    """
    if weights < FROM:
        return function(*arguments)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise ExportError("a step of the export was ended from outside, as where memory runs out") from None


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in ``folder``."""
    return sum(path.stat().st_size for path in folder.iterdir())
