"""Disable the telemetry of the libraries that run networks.

From 1.29 on ONNX Runtime reports on Linux too: what it opened, its errors, the machine and a number for it, to
Microsoft (microsoft/onnxruntime, pull request 27379). An environment variable that is set before the import disables
it; on Windows, where its events go to the system's tracing, a call after the import does. OpenVINO and NNCF report to
Google Analytics through the package ``openvino_telemetry``, and do without where that cannot be imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

VARIABLE = "ORT_DISABLE_TELEMETRY"
"""``1``, our default, disables ONNX Runtime's telemetry; 1.28 and before do not read it."""

ALLOWS = ("", "0", "false", "off", "no")
"""Values that leave it enabled, in lower case."""

REPORTER = "openvino_telemetry"

_importing = threading.RLock()


def refuse() -> None:
    """Disable ONNX Runtime's telemetry in this process and in those that it starts; call it before the import."""
    if not os.environ.get(VARIABLE):
        os.environ[VARIABLE] = "1"


def is_refused() -> bool:
    """Return whether ONNX Runtime's telemetry is disabled: a user may have chosen otherwise."""
    return os.environ.get(VARIABLE, "").lower() not in ALLOWS


@contextmanager
def without_reporter() -> Iterator[None]:
    """Prevent what is imported meanwhile, in whatever thread, from importing :data:`REPORTER`."""
    with _importing:
        modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
        there, module = REPORTER in modules, modules.get(REPORTER)
        modules[REPORTER] = None  # its import is an ImportError now
        try:
            yield
        finally:
            if there:
                modules[REPORTER] = module
            else:
                modules.pop(REPORTER, None)
