"""Tie a worker process to the one that began it."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, even by SIGKILL: a later run must not meet it.

    Returns at once; a thread waits. Without effect in a process that ``multiprocessing`` has not started.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
