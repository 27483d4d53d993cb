"""The device ``openvino``: OpenVINO's own runtime on CPUs of any maker, behind the methods of an ONNX Runtime session.

OpenVINO reads the same ONNX files. As a provider of ONNX Runtime it holds the weights once more, and a compiled network
is slower to open again than to compile (see the performance page).

The networks of an int8 engine are cached as OpenVINO compiled them: finding the integer form of a graph is half of its
opening, and of what is mapped from a cached file little stays in memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import importlib.util
import mmap
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast import telemetry
from roentmod_fast.atomic import write_atomically
from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import BFLOAT16, sha256_of, stored_as
from roentmod_fast.errors import DeviceError, EngineError, OutputError
from roentmod_fast.runtime import host
from roentmod_fast.runtime.backends.base import Backend, Log, Session, SessionSpec

Array = NDArray[Any]

PROVIDER = "OpenVINO"
OLDEST_OPENVINO = 2026

CACHE_SUFFIX = ".blob"
"""Suffix of a cached network; the name carries its SHA-256, so that file and hash are written atomically."""

CACHE_FORMAT = 1
"""Version of what is done to a network between reading and compiling; one cached under another is not used."""

TIMESTEP = "timestep"
TIMESTEPS = 1000
"""The most that a network computed in bfloat16 may have, from 0 on: those of Stable Diffusion."""

TYPES = {"f32": "tensor(float)", "i64": "tensor(int64)"}
"""ONNX Runtime's names of the types that networks of the contract take and give; others keep OpenVINO's name."""


def import_openvino() -> ModuleType:
    """Import openvino. Raises :class:`DeviceError` with the line to type where it is not installed."""
    missing = openvino_missing()
    if missing is not None:
        raise DeviceError(f"no openvino to use: {missing}")
    if "openvino" in sys.modules:
        return importlib.import_module("openvino")  # which waits for a thread that is importing it
    with telemetry.without_reporter():
        return importlib.import_module("openvino")


def openvino_missing() -> str | None:
    """Return what to type where no openvino is installed that is recent enough, None where there is one."""
    version = host.version_of("openvino")
    if version is None or importlib.util.find_spec("openvino") is None:
        return f"type {host.pip_line('openvino')}"
    if int(version.partition(".")[0]) < OLDEST_OPENVINO:
        return f"openvino {version} is too old, expected {OLDEST_OPENVINO} or later: type {host.pip_line('openvino')}"
    return None


class OpenVINO(Backend):
    """The CPU by OpenVINO; of an int8 engine the compiled networks are cached."""

    name = "openvino"
    provider = PROVIDER
    extra = "openvino"
    auto_rank = 2  # before cpu: it is faster on most machines

    def missing(self) -> str | None:
        return openvino_missing()

    def pip_line(self) -> str:
        return host.pip_line(self.extra)

    def packages(self) -> Iterator[tuple[str, str]]:
        version = host.version_of("openvino")
        if version is not None:
            yield "openvino", version

    def bfloat16_missing(self) -> str | None:
        if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return "OpenVINO does not compute in bfloat16 on this CPU"
        return None

    def check_precision(self, bundle: Bundle, precision: str) -> None:
        super().check_precision(bundle, precision)
        if precision in BFLOAT16 and bundle.manifest.model.train_timesteps > TIMESTEPS:
            raise EngineError(f"{bundle.folder}: has more than {TIMESTEPS} timesteps: {precision} cannot be had")

    def plan(self, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1) -> SessionSpec:
        spec = super().plan(bundle, role, precision, cache, batch)
        if stored_as(precision) != "int8":
            return spec
        # At full size this keeps an int8 process at 2.7 GB instead of 3.2 and makes decoding half as slow again. In
        # other precisions it gains little beside the weights; a UNet is called too often.
        spec = replace(spec, release_memory=precision == "int8" and role != "unet")
        target = cache / cache_key(bundle.networks_of(precision)[role], spec.bfloat16)
        cached = find_cached(target)
        if cached is not None:
            return replace(spec, path=cached, files=(), compiled=True)
        return replace(spec, compile_to=target, note=f"{role} is compiled for this CPU, once")

    def open(self, spec: SessionSpec, log: Log = lambda note: None) -> Session:
        return OpenVINOSession(spec.path, spec.compile_to, bfloat16=spec.bfloat16)

    def release_memory(self, session: Session) -> None:
        assert isinstance(session, OpenVINOSession)
        session.release_memory()


OPENVINO = OpenVINO()


@dataclass(frozen=True)
class OpenPort:
    """An input or output, described as ONNX Runtime does."""

    name: str
    type: str
    shape: tuple[int, ...]


class OpenVINOSession:
    """One network for batches of one, compiled for the CPU; it may be run from several threads."""

    def __init__(self, path: Path, compile_to: Path | None = None, *, bfloat16: bool = False) -> None:
        """Open an ONNX file, or a cached network; ``compile_to`` starts the name under which it is cached now.

        ``bfloat16``: compute float32 in it; inputs and outputs are float32, the values of outputs rounded too. Raises
        :class:`EngineError` where OpenVINO cannot open it, :class:`DeviceError` where it would compute otherwise than
        asked.
        """
        core = import_openvino().Core()
        pages = None
        try:
            if path.suffix == CACHE_SUFFIX:
                self._compiled, pages = _import(core, path, bfloat16)
            else:
                model = core.read_model(path)
                model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
                if bfloat16:
                    _embed_timesteps(core, model)
                self._compiled = core.compile_model(model, "CPU", settings(bfloat16))
        except Exception as error:  # of its frontends' errors some are RuntimeErrors and some are not
            remedy = ": remove this file" if path.suffix == CACHE_SUFFIX else ""
            raise EngineError(f"{path}: OpenVINO cannot open it: {_reason(error)}{remedy}") from error
        _check(self._compiled, path, bfloat16)
        if compile_to is not None:
            _store(self._compiled, compile_to)
        self._inputs = [_described(port) for port in self._compiled.inputs]
        self._outputs = [_described(port) for port in self._compiled.outputs]
        self._request = self._compiled.create_infer_request()
        self._one_at_a_time = threading.Lock()
        self._pages = pages  # last, as attributes are let go of in this order

    def get_inputs(self) -> list[OpenPort]:
        return self._inputs

    def get_outputs(self) -> list[OpenPort]:
        return self._outputs

    def get_providers(self) -> list[str]:
        return [PROVIDER]

    def run(self, names: Sequence[str], arrays: Mapping[str, Array]) -> list[Array]:
        """Run the network; the results are copies, which the next run leaves as they are."""
        with self._one_at_a_time:
            try:
                found = self._request.infer(dict(arrays))
            except Exception as error:
                raise DeviceError(_reason(error)) from error
        return [found[name] for name in names]

    def release_memory(self) -> None:
        """Free what the last run computed in, weights aside; the next run allocates it again."""
        with self._one_at_a_time:
            self._compiled.release_memory()


def _embed_timesteps(core: Any, model: Any) -> None:
    """Have a UNet take the sinusoids of its timestep from a table, computed here in float32.

    bfloat16 has 8 significant bits: of the timesteps above 256 it holds every second, above 512 every fourth. In
    diffusers the embedding is computed in float32 as well, and rounded after that.
    """
    timestep = next((port.node for port in model.inputs if port.any_name == TIMESTEP), None)
    if timestep is None:
        return
    embeddings = _into_first_products(timestep)
    if len(embeddings) != 1:
        raise EngineError(
            f"its timestep comes to {len(embeddings)} matrix products, expected one: bfloat16 would round it"
        )
    [embedding] = embeddings
    openvino = import_openvino()
    apart = openvino.Model([embedding], model.get_parameters(), "sinusoids")
    sinusoids = core.compile_model(apart, "CPU", settings(False))
    # Of the other inputs only the shapes matter.
    arrays = {port: np.zeros(tuple(port.shape), dtype=port.element_type.to_dtype()) for port in sinusoids.inputs}
    at = next(port for port in sinusoids.inputs if port.any_name == TIMESTEP)
    rows = [sinusoids({**arrays, at: np.array([step])})[0].copy() for step in range(TIMESTEPS)]
    table = openvino.opset13.constant(np.concatenate(rows))
    taken = openvino.opset13.gather(table, timestep, openvino.opset13.constant(0))
    for port in embedding.get_target_inputs():
        port.replace_source_output(taken.output(0))
    model.validate_nodes_and_infer_types()


def _into_first_products(node: Any) -> list[Any]:
    """Return the outputs by which ``node``'s values, not its shape, come to the first matrix products."""
    found, seen, waiting = [], set(), [node]
    while waiting:
        output = waiting.pop().output(0)
        for port in output.get_target_inputs():
            user = port.get_node()
            if user.get_type_name() == "MatMul":
                found.append(output)
            elif user.get_type_name() != "ShapeOf" and user.get_name() not in seen:
                seen.add(user.get_name())
                waiting.append(user)
    return found


def settings(bfloat16: bool) -> dict[str, Any]:
    """Return OpenVINO's properties: on the physical cores, float32 as the file says, or in bfloat16.

    By default OpenVINO computes in bfloat16 where the CPU can, which is another result.
    """
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": host.physical_cores(),
    }


def _check(compiled: Any, path: Path, bfloat16: bool) -> None:
    """Check that a network runs as it was asked to, whoever compiled it."""
    asked = "bf16" if bfloat16 else "f32"
    devices = list(compiled.get_property("EXECUTION_DEVICES"))
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if devices != ["CPU"] or precision != asked:
        got = f"{', '.join(devices)} in {precision}"
        raise DeviceError(f"{path}: asked OpenVINO for the CPU in {asked}, got {got}")


def _import(core: Any, path: Path, bfloat16: bool) -> tuple[Any, mmap.mmap]:
    """Open a cached network. What OpenVINO does not copy it reads from the file's pages, which must outlive it.

    The pages cannot be written to. Those that it has read are given back: the system reads them again when needed.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    address = np.frombuffer(pages, dtype=np.uint8).ctypes.data
    # OpenVINO takes memory from writable arrays only, and does not write.
    array = np.ctypeslib.as_array((ctypes.c_ubyte * len(pages)).from_address(address))
    compiled = core.import_model(import_openvino().Tensor(array, shared_memory=True), "CPU", settings(bfloat16))
    with contextlib.suppress(AttributeError):  # Windows has no such advice
        pages.madvise(mmap.MADV_DONTNEED)
    return compiled, pages


def cache_key(file: str, bfloat16: bool) -> str:
    """Return the start of a cached network's name: the file, the CPU and the arithmetic, and what compiled it."""
    openvino = import_openvino()
    core = openvino.Core()
    cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    if bfloat16:
        cpu.append("bf16")
    keys = (repr(cpu), repr((CACHE_FORMAT, openvino.__version__)))
    return ".".join((file, *(hashlib.sha256(key.encode()).hexdigest()[:16] for key in keys)))


def find_cached(target: Path) -> Path | None:
    """Return the whole cached network whose name starts with ``target``'s, None where there is none."""
    return next(
        (path for path in sorted(target.parent.glob(f"{target.name}.*{CACHE_SUFFIX}")) if _is_whole(path)), None
    )


def _is_whole(cached: Path) -> bool:
    """Return whether a cached network is what was written."""
    try:
        return cached.name.endswith(f".{sha256_of(cached)}{CACHE_SUFFIX}")
    except OSError:
        return False


def _store(compiled: Any, target: Path) -> None:
    """Write a compiled network, whole or not at all; where that fails, the next start compiles again, with a note.

    An earlier one for the same CPU and arithmetic, by another OpenVINO or damaged since, is removed.
    """
    with contextlib.suppress(OSError, MemoryError, RuntimeError, OutputError):
        target.parent.mkdir(parents=True, exist_ok=True)
        blob = compiled.export_model().getbuffer()
        path = target.with_name(f"{target.name}.{hashlib.sha256(blob).hexdigest()}{CACHE_SUFFIX}")
        write_atomically(path, blob, overwrite=True)
        of_this_kind = target.name.rpartition(".")[0]
        for earlier in target.parent.glob(f"{of_this_kind}.*{CACHE_SUFFIX}"):
            if earlier != path:
                with contextlib.suppress(OSError):  # on Windows, of one that is open
                    earlier.unlink()


def _reason(error: Exception) -> str:
    """Return the last line of an error of OpenVINO, which begins with where in its source it was raised."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _described(port: Any) -> OpenPort:
    kind = port.element_type.get_type_name()
    return OpenPort(port.any_name, TYPES.get(kind, kind), tuple(port.shape))
