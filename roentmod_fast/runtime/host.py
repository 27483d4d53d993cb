"""The machine as the runtime sees it: physical cores, installed packages, and the pip line that installs more."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Distributions that all own the module ``onnxruntime``: two of them at once break each other."""


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def pip_line(extra: str, owner: str | None = None) -> str:
    """Return the command that installs ``extra``; ``owner`` is the distribution of :data:`RUNTIMES` that it brings.

    Any other that is installed is uninstalled first.
    """
    line = f"pip install 'roentmod-fast[{extra}]'"
    others = [name for name in RUNTIMES if owner not in (None, name) and version_of(name) is not None]
    return f"pip uninstall {' '.join(others)} && {line}" if others else line


def physical_cores() -> int:
    """Return how many threads the networks should use: the physical cores this process may run on.

    Two hardware threads of one core share its vector units, so a second one gains nothing in a matrix product.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add(((folder / "physical_package_id").read_text(), (folder / "core_id").read_text()))
        except OSError:
            return len(allowed)
    return max(1, len(cores))
