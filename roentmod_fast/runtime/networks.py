"""The four networks of a bundle.

Each has one signature: named arrays in, named arrays out, with name, type and rank checked once when it is opened.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle, verify_files
from roentmod_fast.bundle.manifest import INPUTS, NETWORKS, OUTPUTS, TOKENIZER_NAME, TYPES, Port, item_shapes
from roentmod_fast.errors import DeviceError, EngineError, NotFiniteError, SettingError
from roentmod_fast.folders import cache_folder
from roentmod_fast.runtime.backends.base import Backend, Log, SessionSpec
from roentmod_fast.runtime.cache import quarantine
from roentmod_fast.runtime.ort_errors import summarize

Array = NDArray[Any]
Observer = Callable[[str, Mapping[str, Array]], None]
"""Called with a network's role and the inputs of a run."""

logger = logging.getLogger(__name__)


class Network:
    """One opened network; :attr:`observers` are called before each run."""

    def __init__(self, device: Backend, spec: SessionSpec, log: Log = lambda note: None) -> None:
        """Open a network on ``device``; ``log`` receives what the device does without, such as CUDA graphs.

        Raises :class:`EngineError` where the file is no network or its ports differ from the contract,
        :class:`DeviceError` where the session does not run on ``device``.
        """
        self.role = spec.role
        self.observers: list[Observer] = []
        self._device = device
        self._spec = spec
        self._session = device.open(spec, log)
        self.providers = tuple(self._session.get_providers())
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._check(spec.path, "input", INPUTS[self.role], inputs)
        self._check(spec.path, "output", OUTPUTS[self.role], outputs)
        self.inputs = {port.name: tuple(port.shape) for port in inputs}
        self.outputs = {port.name: tuple(port.shape) for port in outputs}

    @staticmethod
    def _check(path: Path, kind: str, expected: Mapping[str, Port], found: Sequence[Any]) -> None:
        got = {port.name: Port(port.type, len(port.shape)) for port in found}
        if got != expected:

            def listed(ports: Mapping[str, Port]) -> str:
                return ", ".join(f"{name} {port.type} rank {port.rank}" for name, port in sorted(ports.items()))

            raise EngineError(
                f"{path}: {kind}s are {listed(got)}; expected {listed(expected)}: export the engine again"
            )

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run the network on a batch of any size, at most the spec's ``max_batch`` items at once.

        On a CPU that is one: a batch costs as much time there as its items (see the performance page). Raises
        :class:`EngineError` naming the input whose shape or type does not fit, :class:`NotFiniteError` where a result
        is not finite, :class:`DeviceError` where a GPU fails, such as for want of memory.
        """
        for observe in self.observers:
            observe(self.role, arrays)
        count = next(iter(arrays.values())).shape[0]
        for name, array in arrays.items():
            shape, kind = self.inputs[name], TYPES[INPUTS[self.role][name].type]
            if len(shape) != array.ndim or any(
                isinstance(want, int) and want != have for want, have in zip(shape[1:], array.shape[1:], strict=True)
            ):
                raise EngineError(f"{self.role}: input {name} has shape {array.shape}, expected {shape}")
            if array.shape[0] != count or array.dtype != kind:
                raise EngineError(
                    f"{self.role}: input {name} holds {array.shape[0]} items of {array.dtype}, "
                    f"expected {count} of {kind}"
                )
        names, size = list(OUTPUTS[self.role]), self._spec.max_batch
        parts = [
            self._run_part(names, {name: array[start : start + size] for name, array in arrays.items()})
            for start in range(0, count, size)
        ]
        if self._spec.release_memory:
            self._device.release_memory(self._session)
        values = {name: np.concatenate(found) for name, found in zip(names, zip(*parts, strict=True), strict=True)}
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise NotFiniteError(f"{self.role}: its output {name} holds NaN or infinity: the image would be wrong")
        return values

    def _run_part(self, names: list[str], part: Mapping[str, Array]) -> list[Array]:
        try:
            return self._session.run(names, part)
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            if not self._device.wraps_run_errors:
                raise
            raise DeviceError(f"{self.role}: {self._device.name} failed while it ran: {summarize(error)}") from error


class Float32Fallback:
    """A network in fp16; an item that overflows there runs in float32, whatever came before it or beside it.

    The autoencoder of Stable Diffusion is known for it: for some images values inside it exceed 65504, the largest in
    fp16.
    """

    def __init__(self, network: Network, open_float32: Callable[[], Network], log: Log) -> None:
        self._network = network
        self._open_float32 = open_float32
        self._log = log
        self._opening = threading.Lock()
        self._float32: Network | None = None

    @property
    def observers(self) -> list[Observer]:
        return self._network.observers

    @property
    def fallback_active(self) -> bool:
        """Whether an item has run in float32."""
        return self._float32 is not None

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run as :meth:`Network.run` does; where the float32 result is not finite either, the error stands."""
        try:
            return self._network.run(**arrays)
        except NotFiniteError:
            count = next(iter(arrays.values())).shape[0]
            if count == 1:
                return self._opened().run(**arrays)
        items = [self.run(**{name: array[i : i + 1] for name, array in arrays.items()}) for i in range(count)]
        return {name: np.concatenate([item[name] for item in items]) for name in items[0]}

    def _opened(self) -> Network:
        with self._opening:
            if self._float32 is None:
                self._log(f"{self._network.role} gave NaN or infinity in fp16: such images run in float32")
                self._float32 = self._open_float32()
            return self._float32


@dataclass(frozen=True)
class Networks:
    """The four networks of one bundle on one device, as functions over float32 arrays."""

    text_encoder: Network
    unet: Network
    vae_encoder: Network | Float32Fallback
    vae_decoder: Network | Float32Fallback
    precision: str
    notes: list[str] = field(default_factory=list)
    """What the user should know of how they were opened, such as a stale TensorRT engine. It grows where that shows
    itself later: half precision that overflows, a CUDA graph that cannot be recorded."""

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        device: Backend,
        precision: str,
        *,
        batch: int = 1,
        graphs: bool = True,
        keep: bool = True,
    ) -> Networks:
        """Check the bundle's files and open its networks in ``precision`` for ``batch`` images edited together.

        Each of ``notes`` is logged as a warning before what it is about is done, for a GPU may compile for a minute.
        ``graphs``: use CUDA graphs where the device has them. ``keep``: cache networks that the device compiles.

        Raises :class:`SettingError` for a batch below 1, :class:`EngineError` for a precision that the bundle lacks,
        :class:`DeviceError` for one that the device lacks.
        """
        if batch < 1:
            raise SettingError(f"batch {batch} is below 1: give how many edits to make at once")
        notes: list[str] = []

        def log(note: str) -> None:
            notes.append(note)
            logger.warning(note)

        device.check_precision(bundle, precision)
        if precision == "fp32" and device.rounds_to_tf32:
            log(f"{device.name} rounds float32 products to TF32, 10 bits, where the GPU has it; cuda does not")
        cache = cache_folder() / bundle.manifest_hash[:16] / device.name
        opened: dict[str, Network] = {}

        def plan(role: str, network_precision: str) -> SessionSpec:
            spec = device.plan(bundle, role, network_precision, cache, batch)
            verify_files(bundle, spec.files)
            return replace(
                spec,
                compile_to=spec.compile_to if keep else None,
                allow_tf32=precision == "fp16",  # of float32 networks among those in fp16 too
                cuda_graphs=graphs and spec.cuda_graphs,
            )

        def open_one(role: str, spec: SessionSpec) -> Network:
            if spec.note:
                log(spec.note)
            if device.needs_shapes and not spec.compiled:
                # The manifest does not hold the width of the text states; the text encoder, opened first, does.
                width = opened["text_encoder"].outputs["text_states"][-1] if opened else 0
                spec = replace(spec, shapes=item_shapes(role, bundle.manifest.model, width))
            return Network(device, spec, log)

        def open_or_compile(role: str, network_precision: str, spec: SessionSpec) -> Network:
            try:
                return open_one(role, spec)
            except EngineError as error:
                if not spec.from_cache:
                    raise
                log(f"the cached network of {role} does not open and is compiled again: {error}")
                with quarantine(spec.path):
                    return open_one(role, plan(role, network_precision))

        def open_float32(role: str) -> Network:
            return open_or_compile(role, "fp32", plan(role, "fp32"))

        verify_files(bundle, [TOKENIZER_NAME])
        with ThreadPoolExecutor(len(NETWORKS)) as pool:
            specs = list(pool.map(plan, NETWORKS, repeat(precision)))
            # One network fills a GPU that compiles it; on a CPU opening one leaves cores idle.
            open_each = map if device.is_gpu else pool.map
            for role, network in zip(
                NETWORKS, open_each(open_or_compile, NETWORKS, repeat(precision), specs), strict=True
            ):
                opened[role] = network

        def with_fallback(role: str) -> Network | Float32Fallback:
            if bundle.computes_in_fp16(role, precision) and "fp32" in bundle.manifest.networks:
                return Float32Fallback(opened[role], partial(open_float32, role), log)
            return opened[role]

        return cls(
            text_encoder=opened["text_encoder"],
            unet=opened["unet"],
            vae_encoder=with_fallback("vae_encoder"),
            vae_decoder=with_fallback("vae_decoder"),
            precision=precision,
            notes=notes,
        )

    @property
    def providers(self) -> tuple[str, ...]:
        """What the networks really run on: providers of ONNX Runtime, or OpenVINO."""
        return self.unet.providers

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Have ``observer`` called with the inputs of each run while the block runs."""
        networks = (self.text_encoder, self.unet, self.vae_encoder, self.vae_decoder)
        for network in networks:
            network.observers.append(observer)
        try:
            yield
        finally:
            for network in networks:
                network.observers.remove(observer)

    def encode_text(self, tokens: Array) -> Array:
        """(batch, max_tokens) int64 -> (batch, max_tokens, width)."""
        return self.text_encoder.run(tokens=tokens)["text_states"]

    def predict(self, latents: Array, timestep: int, text_states: Array) -> Array:
        """(batch, channels, s, s), one time step, (batch, max_tokens, width) -> (batch, channels, s, s)."""
        steps = np.full(latents.shape[0], timestep, dtype=np.int64)
        return self.unet.run(latents=latents, timestep=steps, text_states=text_states)["prediction"]

    def encode_image(self, image: Array) -> tuple[Array, Array]:
        """(batch, 3, S, S) in [-1, 1] -> mean and log-variance of the unscaled latents."""
        result = self.vae_encoder.run(image=image)
        return result["mean"], result["log_variance"]

    def decode(self, latents: Array) -> Array:
        """Unscaled latents (batch, channels, s, s) -> image (batch, 3, S, S) in about [-1, 1]."""
        return self.vae_decoder.run(latents=latents)["image"]
