"""Run a process once and say what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

ROENTMOD = (sys.executable, "-m", "roentmod_fast")
"""The command line, as a user types it."""


@dataclass(frozen=True)
class Took:
    """Wall and CPU seconds, and the peak of resident memory in bytes, of the largest process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    stdout: str


def run_process(command: Sequence[str], **options: Any) -> Took:
    """Run ``command`` to its end; ``options`` go to ``subprocess.Popen``. A failure ends the benchmark."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return Took(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)


def names_only(command: Sequence[str]) -> list[str]:
    """Return a command line for a report: of each path its last part, also in ``NAME=PATH``; the rest as it is."""
    return ["=".join(PurePath(part).name or part.strip("/") for part in argument.split("=")) for argument in command]
