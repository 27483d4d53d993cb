"""The device ``tensorrt``: ONNX Runtime's TensorRT provider, which compiles for minutes and caches what it compiled."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.runtime import gpus
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cuda import OrtGpuBackend
from roentmod_fast.runtime.backends.ort import profile_options
from roentmod_fast.runtime.cache import is_writable


class TensorRT(OrtGpuBackend):
    """An NVIDIA GPU by TensorRT; ``auto`` does not take it, as its first start is long."""

    name = "tensorrt"
    provider = "TensorrtExecutionProvider"
    extra = "tensorrt"
    rounds_to_tf32 = True
    needs_shapes = True

    def preload_libraries(self) -> None:
        super().preload_libraries()
        if importlib.util.find_spec("tensorrt") is not None:
            importlib.import_module("tensorrt")

    def plan(self, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1) -> SessionSpec:
        cache = cache.joinpath(*(gpu.key for gpu in gpus.list_gpus()[:1]), f"batch-{batch}")
        spec = super().plan(bundle, role, precision, cache, batch)
        if is_writable(cache):
            return spec
        return replace(spec, cache=None, note=f"{role} is compiled at each start, for {cache} cannot be written")

    def provider_options(self, spec: SessionSpec) -> dict[str, str]:
        options = {"device_id": "0", "trt_fp16_enable": "1" if spec.fp16 else "0", **profile_options("trt", spec)}
        if spec.cache is None:
            return options
        paths = {"trt_engine_cache_path": str(spec.cache), "trt_timing_cache_path": str(spec.cache)}
        return {**options, "trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1", **paths}


TENSORRT = TensorRT()
