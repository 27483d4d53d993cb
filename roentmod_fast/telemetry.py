"""Nothing is reported to the makers of the libraries that run networks.

From 1.29 on ONNX Runtime reports on Linux too: what it opened, its errors, the machine and a number for it, to
Microsoft (microsoft/onnxruntime, pull request 27379). It does not where a variable of the environment says so before it
is imported; on Windows, where its events go to the system's own tracing, it has to be told once it is imported.
OpenVINO and NNCF report to Google Analytics by way of the package ``openvino_telemetry``, and do without where that
cannot be imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

VARIABLE = "ORT_DISABLE_TELEMETRY"
"""``1``, which is set where nothing is, keeps ONNX Runtime from reporting; 1.28 and before do not read it."""

ALLOWS = ("", "0", "false", "off", "no")
"""What ONNX Runtime does not take for a refusal, in small letters."""

REPORTER = "openvino_telemetry"

_importing = threading.RLock()


def refuse() -> None:
    """Keep ONNX Runtime from reporting, in this process and in those that it starts; call it before the import."""
    if not os.environ.get(VARIABLE):
        os.environ[VARIABLE] = "1"


def is_refused() -> bool:
    """Return whether ONNX Runtime is kept from reporting: a user may have chosen otherwise."""
    return os.environ.get(VARIABLE, "").lower() not in ALLOWS


@contextmanager
def without_reporter() -> Iterator[None]:
    """Keep what is imported meanwhile, in whatever thread, from importing :data:`REPORTER`."""
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
