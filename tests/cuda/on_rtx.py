"""Tasks for a process that has a fake RTX GPU: ``python -m tests.cuda.on_rtx TASK [ENGINE]`` prints JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from roentmod_fast.runtime.backends.ort import import_onnxruntime
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from tests.cuda.on_cuda import HALF, error_of, open_engine, set_options

onnxruntime = import_onnxruntime()
real = onnxruntime.InferenceSession


class Compiled:
    """In place of a session: it compiles and stops before the GPU has to do anything; its ports are the file's.

    ``spent``: for each so far the seconds, and the largest memory of the process when it was done, in bytes.
    """

    spent: ClassVar[list[tuple[float, int]]] = []

    def __init__(self, path: str, options: Any, **arguments: Any) -> None:
        options.add_session_config_entry("session.compile_only", "1")
        started = time.perf_counter()
        try:
            real(path, options, **arguments)
        except RuntimeError as error:
            if str(error) != "Session has not been initialized.":
                raise
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.spent.append((time.perf_counter() - started, peak))
        as_stored = onnxruntime.SessionOptions()
        as_stored.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        stored = real(path, as_stored, providers=["CPUExecutionProvider"])
        self._ports = [
            [SimpleNamespace(name=port.name, type=port.type, shape=port.shape) for port in ports]
            for ports in (stored.get_inputs(), stored.get_outputs())
        ]

    def get_inputs(self) -> list[Any]:
        return self._ports[0]

    def get_outputs(self) -> list[Any]:
        return self._ports[1]

    def get_providers(self) -> list[str]:
        return [RTX.provider]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return []


def compile_only(architecture: str) -> None:
    """Have sessions compile for ``architecture``, keep what they compile, and stop there from now on."""
    set_options(nv_target_sm=architecture)  # else the GPU is measured
    onnxruntime.InferenceSession = Compiled


def compile_all(engine: Path) -> list[str]:
    """Open an engine, whose networks are compiled and kept; return the notes."""
    compile_only("sm89")
    return open_engine(engine, RTX, batch=2).notes


def unknown_option(engine: Path) -> str | None:
    """Give the plugin an option that it does not have; return the error."""
    set_options(nv_fake="1")
    return error_of(engine, RTX)


def opened(engine: Path) -> str | None:
    """Open an engine; return what fails."""
    return error_of(engine, RTX)


if __name__ == "__main__":
    task = {task.__name__: task for task in (compile_all, unknown_option, opened)}[sys.argv[1]]
    print(json.dumps(task(Path(sys.argv[2]) if len(sys.argv) > 2 else HALF)))
