"""What the backends of ONNX Runtime share: session options, opening, and the check of where a network runs.

ONNX Runtime assigns to the CPU what its provider does not take, and a whole network where the provider does not load;
its Python side even opens a session again without the provider after an error. None of this happens here in silence:
see :func:`check_assignment`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from roentmod_fast import telemetry
from roentmod_fast.errors import DeviceError, EngineError
from roentmod_fast.runtime import gpus, host, ort_errors
from roentmod_fast.runtime.backends import NO_ONNXRUNTIME
from roentmod_fast.runtime.backends.base import Backend, Log, Session, SessionSpec
from roentmod_fast.runtime.cache import atomic_folder
from roentmod_fast.runtime.ort_errors import summarize

BATCH_DIMENSION = "batch"
"""The name that the exporter gives to the free first dimension of every input."""

SHAPE_ARITHMETIC = frozenset(
    ("Cast", "Constant", "ConstantOfShape", "Gather", "Identity", "Range", "Shape", "Size", "Squeeze", "Unsqueeze")
)
"""Operators that a provider may leave to the CPU: they compute shapes, and cost nothing."""

BATCH_ARITHMETIC = SHAPE_ARITHMETIC | {"Concat", "Slice"}
"""With a free batch these two compute shapes as well, and ONNX Runtime keeps shapes on the CPU. They move data
elsewhere; were such a one on the CPU, its copies would keep a CUDA graph from being opened, which is logged."""


def has_onnxruntime() -> bool:
    """Return whether an onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime. Raises :class:`DeviceError` with the line to type where it is not installed."""
    if not has_onnxruntime():
        raise DeviceError(NO_ONNXRUNTIME)
    ort = importlib.import_module("onnxruntime")
    ort_errors.apply(ort)
    if telemetry.is_refused() and hasattr(ort, "disable_telemetry_events"):
        ort.disable_telemetry_events()  # Windows does not read the variable
    return ort


def cuda_major() -> int:
    """Return the major version of CUDA that onnxruntime-gpu is built with, the latest known where it does not say."""
    try:
        version = str(importlib.import_module("onnxruntime.capi.build_and_package_info").cuda_version)
    except (ImportError, AttributeError):
        return gpus.CUDA_MAJOR
    major = version.partition(".")[0]
    return int(major) if major.isdigit() else gpus.CUDA_MAJOR


@dataclass(frozen=True)
class SessionOptions:
    """Options of a session as data: ``attributes`` of onnxruntime's ``SessionOptions``, ``config`` entries, and the
    sizes of free ``dimensions`` by name."""

    attributes: dict[str, Any] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, int] = field(default_factory=dict)


class OrtBackend(Backend):
    """A provider of ONNX Runtime; :meth:`session_options` and :meth:`provider_options` are pure functions."""

    owner = "onnxruntime"
    """The distribution that holds it."""

    def pip_line(self) -> str:
        return host.pip_line(self.extra, self.owner)

    def session_options(self, spec: SessionSpec) -> SessionOptions:
        """Return the options of a session."""
        options = SessionOptions(
            {
                "log_severity_level": 4 if self.is_gpu else 3,  # errors of a GPU are logged in a line of ours
                "intra_op_num_threads": host.physical_cores(),
                # Memory is given back after each step: at full size an edit takes 5.2 GB so, 8.9 with an arena, in the
                # same time.
                "enable_cpu_mem_arena": False,
                "enable_mem_pattern": True,
            }
        )
        if spec.max_batch == 1:
            # With all shapes known memory is planned ahead: on a CPU half as much is taken.
            options.dimensions[BATCH_DIMENSION] = 1
        if self.is_gpu:
            options.config["session.record_ep_graph_assignment_info"] = "1"
        return options

    def provider_options(self, spec: SessionSpec) -> dict[str, str]:
        """Return the options of the provider."""
        return {}

    def add_provider(self, options: Any, provider_options: dict[str, str]) -> dict[str, Any]:
        """Have a session run on the provider: return arguments for it, or change ``options``."""
        return {"providers": [(self.provider, provider_options)] if provider_options else [self.provider]}

    def open(self, spec: SessionSpec, log: Log = lambda note: None) -> Session:
        session: Session = self.open_session(spec)
        return session

    def open_session(self, spec: SessionSpec) -> Any:
        """Open a session of ONNX Runtime, and check where it runs. Raises as :meth:`open` does."""
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        chosen = self.session_options(spec)
        for name, value in chosen.attributes.items():
            if name == "graph_optimization_level":
                value = getattr(ort.GraphOptimizationLevel, value)
            setattr(options, name, value)
        for key, text in chosen.config.items():
            options.add_session_config_entry(key, text)
        for dimension, size in chosen.dimensions.items():
            options.add_free_dimension_override_by_name(dimension, size)
        arguments = self.add_provider(options, self.provider_options(spec))
        try:
            with _compiling_to(options, spec.compile_to):
                session = ort.InferenceSession(str(spec.path), options, enable_fallback=0, **arguments)
        except DeviceError:
            raise
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            self._check_libraries(spec.path)
            raise EngineError(f"{spec.path}: ONNX Runtime cannot open it on {self.name}: {summarize(error)}") from error
        providers = session.get_providers()
        if providers[0] != self.provider:
            self._check_libraries(spec.path)
            raise DeviceError(f"{spec.path}: asked for {self.provider}, got {providers[0]}: see 'roentmod-fast doctor'")
        if self.is_gpu:
            check_assignment(session, self, spec.path, SHAPE_ARITHMETIC if spec.max_batch == 1 else BATCH_ARITHMETIC)
        return session

    def _check_libraries(self, path: Path) -> None:
        """Raise :class:`DeviceError` where a library is missing that the provider needs."""
        missing = self.missing_library()
        if missing is not None:
            raise DeviceError(
                f"{path}: device {self.name!r} needs {missing}, which was not found: type {self.pip_line()}"
            )


def check_assignment(session: Any, device: OrtBackend, path: Path, allowed: frozenset[str] = SHAPE_ARITHMETIC) -> None:
    """Check that ``device`` runs every node of the network but those of the ``allowed`` operators.

    Raises :class:`DeviceError` naming the operators that would run elsewhere, and where onnxruntime is too old to tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise DeviceError(
            "this onnxruntime cannot say where it runs a network, so it might be the CPU: "
            f"expected 1.24 or later, type {device.pip_line()} --upgrade"
        )
    elsewhere: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        if part.ep_name != device.provider:
            elsewhere.update(node.op_type for node in part.get_nodes())
    unassigned = {name: count for name, count in elsewhere.items() if name not in allowed}
    if unassigned:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(unassigned.items()))
        raise DeviceError(
            f"{path}: {device.name} does not take the whole network, {listed} would run elsewhere: refused"
        )


@contextmanager
def _compiling_to(options: Any, target: Path | None) -> Iterator[None]:
    """Have the session write what it compiles through :func:`atomic_folder`, as ``target`` once it is whole."""
    if target is None:
        yield
        return
    with atomic_folder(target) as file:
        options.add_session_config_entry("ep.context_enable", "1")
        # An engine of 2 GB would not fit into an ONNX file.
        options.add_session_config_entry("ep.context_embed_mode", "0")
        options.add_session_config_entry("ep.context_file_path", str(file))
        yield


def profile_options(prefix: str, spec: SessionSpec) -> dict[str, str]:
    """Return the options that have TensorRT compile for 1 to ``max_batch`` items of ``shapes``, best for ``max_batch``.

    Each is written ``name:1x4x64x64,other:1``; ``prefix`` is ``trt``, or ``nv`` for TensorRT for RTX.
    """
    if spec.shapes is None or spec.max_batch == 1:
        return {}
    shapes = spec.shapes

    def written(count: int) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, (count, *shape)))}" for name, shape in shapes.items())

    sizes = {"min": 1, "opt": spec.max_batch, "max": spec.max_batch}
    return {f"{prefix}_profile_{bound}_shapes": written(count) for bound, count in sizes.items()}
