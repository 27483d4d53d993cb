"""The device ``cuda``: ONNX Runtime's CUDA provider, over arrays that stay on the GPU.

A loop takes no memory there and may be one CUDA graph. For each batch size there is one set of arrays, made when that
size first comes. A CUDA graph is the whole network recorded as one launch; it reads and writes the very addresses that
it was recorded with, which is why it needs these arrays, and it holds for one batch size, which is its
``gpu_graph_id``. Source: "Using CUDA Graphs" on ONNX Runtime's page of the CUDA provider.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.manifest import TYPES, Manifest
from roentmod_fast.errors import EngineError
from roentmod_fast.runtime import gpus
from roentmod_fast.runtime.backends.base import Log, Session, SessionSpec
from roentmod_fast.runtime.backends.ort import (
    OrtBackend,
    SessionOptions,
    cuda_major,
    has_onnxruntime,
    import_onnxruntime,
)
from roentmod_fast.runtime.ort_errors import summarize

Array = NDArray[Any]

CONSTANT_INPUT = "text_states"
"""The one input that stays the same through a loop: it is uploaded only when its values have changed."""

NO_GRAPH = "-1"
"""The ``gpu_graph_id`` of a run that neither records nor replays; 0 is onnxruntime's own."""


class OrtGpuBackend(OrtBackend):
    """A provider of onnxruntime-gpu."""

    owner = "onnxruntime-gpu"
    is_gpu = True
    fp16_by_default = True

    def missing(self) -> str | None:
        if not has_onnxruntime():
            return f"type {self.pip_line()}"
        if self.provider not in import_onnxruntime().get_available_providers():
            return f"this onnxruntime is built without it: type {self.pip_line()}"
        return gpus.driver_missing(cuda_major()) or gpus.gpu_missing()

    def preload_libraries(self) -> None:
        """Load CUDA and cuDNN where pip has put them, which the loader of the system would not find."""
        ort = import_onnxruntime()
        if hasattr(ort, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
                ort.preload_dlls(directory="")

    def missing_library(self) -> str | None:
        self.preload_libraries()
        path = Path(str(import_onnxruntime().__file__)).parent / "capi" / f"libonnxruntime_providers_{self.name}.so"
        try:
            ctypes.CDLL(str(path))
        except OSError as error:
            found = re.match(r"(\S+): cannot open shared object file", str(error))
            if found and not found.group(1).startswith(str(path)):
                return found.group(1)
        return None

    def open_session(self, spec: SessionSpec) -> Any:
        self.preload_libraries()
        return super().open_session(spec)


class Cuda(OrtGpuBackend):
    """An NVIDIA GPU by ONNX Runtime's own kernels."""

    name = "cuda"
    provider = "CUDAExecutionProvider"
    extra = "gpu"
    auto_rank = 1
    graph_roles = frozenset(("unet",))  # a loop calls it; recording takes three runs, which one run does not earn back

    def graph_of(self, manifest: Manifest, file: str) -> str:
        return manifest.cuda.get(file, manifest.fused.get(file, file))

    def session_options(self, spec: SessionSpec) -> SessionOptions:
        options = super().session_options(spec)
        # A memory pattern is one piece for the whole network, taken beside what the first run took in pieces: a third
        # more for one image, twice as much for four.
        options.attributes["enable_mem_pattern"] = False
        return options

    def provider_options(self, spec: SessionSpec) -> dict[str, str]:
        options = {
            "device_id": "0",
            "use_tf32": "1" if spec.allow_tf32 else "0",
            "arena_extend_strategy": "kSameAsRequested",  # by powers of two it would take up to twice as much
            "enable_skip_layer_norm_strict_mode": "1",  # else fp16 statistics are added up in fp16
        }
        return {**options, "enable_cuda_graph": "1"} if spec.cuda_graphs else options

    def open(self, spec: SessionSpec, log: Log = lambda note: None) -> Session:
        """Open a network; where CUDA graphs fail it runs without, which ``log`` receives. Raises as the others do."""

        def open_without_graphs(error: Exception) -> Any:
            session = self.open_session(replace(spec, cuda_graphs=False))
            log(f"{spec.role} runs without CUDA graphs: {summarize(error)}")
            return session

        if not spec.cuda_graphs:
            return IoBindingSession(self.open_session(spec), "cuda")
        try:
            return IoBindingSession(self.open_session(spec), "cuda", open_without_graphs)
        except EngineError as error:  # whether it was for the graphs' sake is known when it can be opened without
            return IoBindingSession(open_without_graphs(error), "cuda")


CUDA = Cuda()

_one_at_a_time = threading.Lock()
"""The arrays are shared by all calls, and while a graph is recorded any other use of the GPU would spoil it."""


class IoBindingSession:
    """A session whose inputs and outputs lie in ``memory``, a device's name for ONNX Runtime such as ``cuda``."""

    def __init__(self, session: Any, memory: str, reopen: Callable[[Exception], Any] | None = None) -> None:
        """Bind ``session``; ``reopen``: it was opened with CUDA graphs, and this opens it without after an error."""
        self._session = session
        self._memory = memory
        self._reopen = reopen
        self._sets: dict[int, _Arrays] = {}

    def get_inputs(self) -> Sequence[Any]:
        return list(self._session.get_inputs())

    def get_outputs(self) -> Sequence[Any]:
        return list(self._session.get_outputs())

    def get_providers(self) -> list[str]:
        return list(self._session.get_providers())

    def run(self, names: list[str], arrays: Mapping[str, Array]) -> list[Array]:
        """Run on ``arrays``, all of one batch size; return the outputs ``names`` as arrays of the caller's own.

        The first run of a batch size records nothing: cuDNN tries its algorithms and memory is taken, neither of which
        can be part of a graph.
        """
        with _one_at_a_time:
            return self._run(names, arrays)

    def _run(self, names: list[str], arrays: Mapping[str, Array]) -> list[Array]:
        count = next(iter(arrays.values())).shape[0]
        bound = self._sets.get(count)
        if bound is None:
            bound = self._sets[count] = _Arrays(self._session, self._memory, count)
        bound.upload(arrays)
        options = None
        if self._reopen is not None:
            options = import_onnxruntime().RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(count) if bound.warm else NO_GRAPH)
        try:
            self._session.run_with_iobinding(bound.binding, options)
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            if self._reopen is None or not bound.warm:
                raise
            # A recording that broke off may leave the session unusable, so another one is opened.
            self._session, self._reopen = self._reopen(error), None
            self._sets.clear()
            return self._run(names, arrays)
        bound.warm = True
        return bound.download(names)


class _Arrays:
    """The arrays of one batch size, bound; ``warm`` once they have been run over."""

    def __init__(self, session: Any, memory: str, count: int) -> None:
        make = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
        self.binding = session.io_binding()
        self.warm = False
        self._uploaded: Array | None = None

        def allocate(port: Any) -> Any:
            return make((count, *port.shape[1:]), TYPES[port.type], memory, 0)

        self._inputs = {port.name: allocate(port) for port in session.get_inputs()}
        self._outputs = {port.name: allocate(port) for port in session.get_outputs()}
        for name, value in self._inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self.binding.bind_ortvalue_output(name, value)

    def upload(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            if name != CONSTANT_INPUT:
                self._inputs[name].update_inplace(np.ascontiguousarray(array))
            elif self._uploaded is None or not np.array_equal(self._uploaded, array):
                # A copy, as the caller may change the array in place.
                self._uploaded = np.array(array, order="C")
                self._inputs[name].update_inplace(self._uploaded)

    def download(self, names: list[str]) -> list[Array]:
        # numpy() lends memory of the CPU, which the next run writes over.
        return [np.array(self._outputs[name].numpy()) for name in names]
