"""ONNX Runtime's default log, which belongs to the process and whose level cannot be read.

A library that changed it could not put it back, so only a program of ours, the command line, does: errors of ONNX
Runtime that it raises are one line of ours there, and should not stand on stderr twice.
"""

from __future__ import annotations

from types import ModuleType

FATAL = 4
"""ONNX Runtime's severity of what ends the process."""

_silenced = False


def silence(on: bool = True) -> None:
    """Have ONNX Runtime write nothing on stderr once it is imported by :func:`~.backends.ort.import_onnxruntime`."""
    global _silenced  # noqa: PLW0603 - the log is the process's as well
    _silenced = on


def apply(ort: ModuleType) -> None:
    """Set the level of the imported module where :func:`silence` asked for it."""
    if _silenced:
        ort.set_default_logger_severity(FATAL)
