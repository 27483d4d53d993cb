"""The base class of devices: their properties, and how they open a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import (
    BFLOAT16,
    PRECISIONS,
    PRECISIONS_ON_GPU,
    STORED_PRECISIONS,
    Manifest,
    stored_as,
    with_weights,
)
from roentmod_fast.errors import DeviceError
from roentmod_fast.runtime.gpus import GPU

Array = NDArray[Any]
Log = Callable[[str], None]


@dataclass(frozen=True)
class SessionSpec:
    """The file that one network is opened from, and the options; a backend ignores those it does not support.

    ``role``: a key of :data:`~.bundle.manifest.INPUTS`. ``path``: what is opened, an ONNX file or a compiled network;
    ``files``: the bundle's files that it needs. ``cache``: the folder for what is compiled; ``compile_to``: the file
    by which a whole compiled network is cached; ``compiled``: ``path`` is a compiled network, ``from_cache``: of an
    earlier start. ``note``: what the user should know, or empty.

    ``fp16``: the network computes in fp16. ``allow_tf32``: float32 products may be rounded to TF32, which RTX
    GPUs do in any case. ``bfloat16``: float32 is computed in bfloat16 (OpenVINO). ``max_batch``: the largest batch;
    ``engine_max_batch``: that of the TensorRT engine where ``path`` is one. ``shapes``: of one item of each input,
    without which TensorRT would compile for batches of any size. ``cuda_graphs``: record CUDA graphs.
    ``release_memory``: free what a run computed in after each run.
    """

    role: str
    path: Path
    files: tuple[str, ...] = ()
    cache: Path | None = None
    compile_to: Path | None = None
    compiled: bool = False
    from_cache: bool = False
    note: str = ""
    fp16: bool = False
    allow_tf32: bool = False
    bfloat16: bool = False
    max_batch: int = 1
    engine_max_batch: int | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None
    cuda_graphs: bool = False
    release_memory: bool = False


class Session(Protocol):
    """An opened network, with the methods of ONNX Runtime's session that are used."""

    def get_inputs(self) -> Sequence[Any]: ...

    def get_outputs(self) -> Sequence[Any]: ...

    def get_providers(self) -> list[str]: ...

    def run(self, names: list[str], arrays: Mapping[str, Array], /) -> list[Array]: ...


class Backend(ABC):
    """A device as the user names it, and what runs networks on it.

    ``provider``: ONNX Runtime's name, or that of another runtime. ``extra``: the extra of this package that brings it.
    ``auto_rank``: its place among what ``auto`` tries, None where it must be named. ``rounds_to_tf32``: float32
    products may be rounded to TF32. ``needs_shapes``: it compiles for the shapes of a network's inputs.
    ``graph_roles``: networks that run by CUDA graphs. ``wraps_run_errors``: a run may fail for reasons outside this
    program, such as memory, so its errors are reported in one line.
    """

    name: str
    provider: str
    extra: str
    auto_rank: int | None = None
    is_gpu = False
    fp16_by_default = False
    rounds_to_tf32 = False
    needs_shapes = False
    graph_roles: frozenset[str] = frozenset()
    wraps_run_errors = True

    def __repr__(self) -> str:
        return self.name

    @abstractmethod
    def missing(self) -> str | None:
        """Return what the device lacks here and what to type, None where nothing known beforehand is missing."""

    @abstractmethod
    def pip_line(self) -> str:
        """Return the command that installs the device's :attr:`extra`."""

    @abstractmethod
    def open(self, spec: SessionSpec, log: Log = lambda note: None) -> Session:
        """Open a network; ``log`` receives what the device does without.

        Raises :class:`EngineError` where the file cannot be opened, :class:`DeviceError` where it would run elsewhere.
        """

    def describe(self) -> str:
        """Return what ``doctor`` shows of a device that is present."""
        return self.provider

    def packages(self) -> Iterator[tuple[str, str]]:
        """Yield name and version of what is installed for this device alone."""
        yield from ()

    def supports(self, gpu: GPU) -> bool:
        """Return whether the device is meant for ``gpu``."""
        return self.is_gpu

    def missing_library(self) -> str | None:
        """Return the first shared library that the device does not find, None where that is not known."""
        return None

    def bfloat16_missing(self) -> str | None:
        """Return why the device does not compute in bfloat16 here, None where it does."""
        return f"device {self.name} computes as the networks' files say, only openvino in bfloat16"

    def check_precision(self, bundle: Bundle, precision: str) -> None:
        """Raise :class:`DeviceError` or :class:`EngineError` where ``bundle`` cannot be run in ``precision`` here."""
        missing = self.bfloat16_missing() if precision in BFLOAT16 else None
        if missing is not None:
            raise DeviceError(f"precision {precision!r} cannot be had: {missing}")

    def precisions(self, bundle: Bundle) -> tuple[str, ...]:
        """Return the precisions in which the device can run ``bundle`` here."""
        if self.is_gpu:
            runs: Sequence[str] = PRECISIONS_ON_GPU
        else:
            runs = PRECISIONS if self.bfloat16_missing() is None else STORED_PRECISIONS
        stored = bundle.manifest.networks
        return tuple(precision for precision in PRECISIONS if precision in runs and stored_as(precision) in stored)

    def max_batch_of(self, role: str, batch: int) -> int:
        """Return how many items of ``role`` run at once where ``batch`` images are edited together.

        On a GPU that is two an image for the UNet, with and without the prompt, and one for the autoencoder, whose
        large images keep a GPU busy and take most of its memory. On a CPU it is one: there a batch gains nothing.
        """
        if not self.is_gpu or role in ("vae_encoder", "vae_decoder"):
            return 1
        return 2 * batch if role == "unet" else batch

    def graph_of(self, manifest: Manifest, file: str) -> str:
        """Return the file of the graph over the weights of ``file`` that the device runs."""
        return file

    def plan(self, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1) -> SessionSpec:
        """Return how the network ``role`` is opened for ``batch`` images at once.

        ``cache`` is the folder of this bundle and device for what is compiled.
        """
        file = bundle.networks_of(precision)[role]
        graph = self.graph_of(bundle.manifest, file)
        weights = [name for name in with_weights(file, bundle.manifest.files) if name != file]
        return SessionSpec(
            role,
            bundle.path(graph),
            (graph, *weights),
            cache,
            fp16=bundle.computes_in_fp16(role, precision),
            bfloat16=precision in BFLOAT16,
            max_batch=self.max_batch_of(role, batch),
            cuda_graphs=role in self.graph_roles,
        )

    def release_memory(self, session: Session) -> None:  # noqa: B027 - most have nothing to release
        """Free what the last run of ``session`` computed in, weights aside."""
