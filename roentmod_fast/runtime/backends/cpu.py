"""The device ``cpu``: ONNX Runtime's own provider."""

from __future__ import annotations

from roentmod_fast.bundle.manifest import Manifest
from roentmod_fast.runtime.backends import NO_ONNXRUNTIME
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.ort import OrtBackend, SessionOptions, has_onnxruntime
from roentmod_fast.runtime.host import physical_cores


class Cpu(OrtBackend):
    """The CPU, one item of a batch at a time."""

    name = "cpu"
    provider = "CPUExecutionProvider"
    extra = "cpu"
    auto_rank = 3
    wraps_run_errors = False

    def missing(self) -> str | None:
        return None if has_onnxruntime() else NO_ONNXRUNTIME

    def describe(self) -> str:
        return f"{physical_cores()} threads"

    def graph_of(self, manifest: Manifest, file: str) -> str:
        return manifest.fused.get(file, file)

    def session_options(self, spec: SessionSpec) -> SessionOptions:
        options = super().session_options(spec)
        if spec.fp16:
            # ONNX Runtime computes fp16 in float32 here; its last level would widen all weights once, and keep both.
            options.attributes["graph_optimization_level"] = "ORT_ENABLE_EXTENDED"
        return options


CPU = Cpu()
