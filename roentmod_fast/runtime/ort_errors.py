"""Errors of ONNX Runtime as one line for a user: what failed, where, and what helps."""

from __future__ import annotations

import re

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
