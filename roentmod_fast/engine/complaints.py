"""What ONNX Runtime says when something fails, as one line for a user: what failed, where, and what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from roentmod_fast.engine.devices import GPU_DEVICES, Device, import_onnxruntime

LONGEST = 300
"""Letters of a complaint that is not known."""

_FULL = re.compile(r"failed to allocate memory|out of memory|failure 2:|CUDNN_STATUS_ALLOC_FAILED", re.IGNORECASE)
_OPERATOR = re.compile(r"while running (\w+) node")
_FAILURE = re.compile(r"((?:CUDA|CUDNN|CUDNN_FE|CUBLAS|CUFFT|CURAND) (?:failure \d+|error \w+): ?[^;]*?) ?(?:;|$)")
_PREFIX = re.compile(r"^(?:Error in execution: )?(?:\[ONNXRuntimeError\] : \d+ : \w+ : )?")
_SOURCE = re.compile(r"\S*/onnxruntime_src/\S+:\d+ ")


def reason_of(error: Exception) -> str:
    """Say in one line what an exception of ONNX Runtime is about, without its source files, signatures and host."""
    text = " ".join(str(error).split())
    operator = _OPERATOR.search(text)
    where = f"in {operator.group(1)}: " if operator else ""
    if _FULL.search(text):
        return f"{where}memory is full: close what else uses it, or give a smaller --batch"
    failures = _FAILURE.findall(text)
    if failures:
        return f"{where}{failures[-1]}"
    first = _PREFIX.sub("", _SOURCE.sub("", str(error).splitlines()[0])).strip()
    return first if len(first) <= LONGEST else f"{first[:LONGEST].rstrip()} ..."


@contextmanager
def quiet(device: Device) -> Iterator[None]:
    """Keep ONNX Runtime from writing on stderr what an error of ours says in one line; on cards alone it does."""
    if device not in GPU_DEVICES:
        yield
        return
    ort = import_onnxruntime()
    ort.set_default_logger_severity(4)
    try:
        yield
    finally:
        ort.set_default_logger_severity(2)
