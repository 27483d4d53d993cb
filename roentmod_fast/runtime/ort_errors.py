"""What ONNX Runtime says: its errors as one line for a user, and its default log, silent in programs of ours."""

from __future__ import annotations

import re
from types import ModuleType

LONGEST = 300
"""Most letters of a summary; the rest is cut."""

_FULL = re.compile(
    r"failed to allocate memory|out of memory|CUDA failure 2:|(?:CUBLAS|CUDNN)_STATUS_\w*ALLOC(?:ATION)?_FAILED",
    re.IGNORECASE,
)
_LIBRARY = re.compile(r"with error: (\S+): cannot open shared object file")
_OPERATOR = re.compile(r"while running (\w+) node")
_FAILURE = re.compile(r"((?:CUDA|CUDNN|CUDNN_FE|CUBLAS|CUFFT|CURAND) (?:failure \d+|error \w+): ?[^;]*?) ?(?:;|$)")
_PREFIX = re.compile(r"^(?:Error in execution: )?(?:\[ONNXRuntimeError\] : \d+ : \w+ : )?")
_SOURCE = re.compile(r"\S*/onnxruntime_src/\S+:\d+ ")

FATAL = 4
"""ONNX Runtime's severity of what ends the process."""

_silenced = False


def summarize(error: Exception) -> str:
    """Summarize an exception of ONNX Runtime in one line, without its source files, signatures and host."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    text = " ".join(lines)
    operator = _OPERATOR.search(text)
    where = f"in {operator.group(1)}: " if operator else ""
    missing = _LIBRARY.search(text)
    failures = _FAILURE.findall(text)
    if missing:
        reason = f"{missing.group(1)} not found"
    elif _FULL.search(text):
        reason = f"{where}memory is full: close what else uses it; on a GPU, give a smaller --batch"
    elif failures:
        reason = f"{where}{failures[-1]}"
    else:
        reason = _PREFIX.sub("", _SOURCE.sub("", lines[0]))
    return reason if len(reason) <= LONGEST else f"{reason[:LONGEST].rstrip()} ..."


def silence(on: bool = True) -> None:
    """Have ONNX Runtime write nothing on stderr once it is imported by :func:`~.backends.ort.import_onnxruntime`.

    Its log belongs to the process, and its level cannot be read: a library that changed it could not put it back. So
    only a program of ours, the command line, does: errors that it raises are one line of ours there.
    """
    global _silenced  # noqa: PLW0603 - the log is the process's as well
    _silenced = on


def apply(ort: ModuleType) -> None:
    """Set the level of the imported module where :func:`silence` asked for it."""
    if _silenced:
        ort.set_default_logger_severity(FATAL)
