"""The four networks of a bundle, run by ONNX Runtime.

Each has one signature: named arrays in, named arrays out, with name, type and rank checked once when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.engine import nvidia
from roentmod_fast.engine.bundle import Bundle, verify_files
from roentmod_fast.engine.compiled import Plan, plan_on_rtx
from roentmod_fast.engine.devices import CPU, CUDA, OPENVINO, RTX, TENSORRT, Device, card_of, rtx_ep_device
from roentmod_fast.engine.manifest import TOKENIZER_NAME
from roentmod_fast.engine.sessions import cache_folder, open_session
from roentmod_fast.errors import DeviceError, EngineError

Array = NDArray[Any]


@dataclass(frozen=True)
class Port:
    """An input or output: ONNX Runtime's type name and the number of dimensions."""

    type: str
    rank: int


_FLOAT4, _FLOAT3 = Port("tensor(float)", 4), Port("tensor(float)", 3)
_INT2, _INT1 = Port("tensor(int64)", 2), Port("tensor(int64)", 1)

INPUTS: Mapping[str, Mapping[str, Port]] = {
    "text_encoder": {"tokens": _INT2},
    "unet": {"latents": _FLOAT4, "timestep": _INT1, "text_states": _FLOAT3},
    "vae_encoder": {"image": _FLOAT4},
    "vae_decoder": {"latents": _FLOAT4},
}
"""What each network takes: tokens (batch, max_tokens); latents (batch, channels, s, s); timestep (batch,); text_states
(batch, max_tokens, width); image (batch, 3, S, S) in [-1, 1]."""

OUTPUTS: Mapping[str, Mapping[str, Port]] = {
    "text_encoder": {"text_states": _FLOAT3},
    "unet": {"prediction": _FLOAT4},
    "vae_encoder": {"mean": _FLOAT4, "log_variance": _FLOAT4},
    "vae_decoder": {"image": _FLOAT4},
}
"""What each network gives; ``mean`` and ``log_variance`` are of the unscaled latents, ``image`` is in about [-1, 1]."""


class Network:
    """One opened network."""

    def __init__(
        self,
        role: str,
        path: Path,
        device: Device,
        cache: Path | None = None,
        *,
        half: bool = False,
        exact: bool = True,
        keep: Path | None = None,
    ) -> None:
        """Open ``path`` as ``role`` (a key of :data:`INPUTS`) on ``device``; the rest as :func:`open_session` takes it.

        Raises :class:`EngineError` where the file is no ONNX model or its ports differ from the contract,
        :class:`DeviceError` where the session does not run on ``device``.
        """
        self._session = open_session(path, device, cache, half=half, exact=exact, keep=keep)
        self.role = role
        self._device = device
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self._check(path, "input", INPUTS[role], self._session.get_inputs())
        self._check(path, "output", OUTPUTS[role], self._session.get_outputs())
        self.fixed = {port.name: tuple(port.shape) for port in self._session.get_inputs()}

    @staticmethod
    def _check(path: Path, kind: str, expected: Mapping[str, Port], found: list[Any]) -> None:
        got = {port.name: Port(port.type, len(port.shape)) for port in found}
        if got != expected:

            def say(ports: Mapping[str, Port]) -> str:
                return ", ".join(f"{name} {port.type} rank {port.rank}" for name, port in sorted(ports.items()))

            raise EngineError(f"{path}: {kind}s are {say(got)}; expected {say(expected)}: export the engine again")

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run the network, one item of the batch after the other.

        Each item is computed alone, so that what it gives does not depend on what it is computed with; on a processor
        this costs no time (see the performance page). Raises :class:`EngineError` naming the input whose shape does not
        fit, or a result that is not finite, :class:`DeviceError` where a card fails, such as for want of memory.
        """
        for name, array in arrays.items():
            shape = self.fixed[name]
            if len(shape) != array.ndim or any(
                isinstance(want, int) and want != have for want, have in zip(shape[1:], array.shape[1:], strict=True)
            ):
                raise EngineError(f"{self.role}: input {name} has shape {array.shape}, expected {shape}")
        names = list(OUTPUTS[self.role])
        count = next(iter(arrays.values())).shape[0]
        items: Sequence[list[Array]] = [
            self._run_item(names, {name: array[index : index + 1] for name, array in arrays.items()})
            for index in range(count)
        ]
        values = {name: np.concatenate(parts) for name, parts in zip(names, zip(*items, strict=True), strict=True)}
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise EngineError(f"{self.role}: its output {name} holds NaN or infinity: the picture would be wrong")
        return values

    def _run_item(self, names: list[str], item: Mapping[str, Array]) -> list[Array]:
        try:
            result: list[Array] = self._session.run(names, item)
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            if self._device == CPU:
                raise
            reason = str(error).splitlines()[0]
            raise DeviceError(f"{self.role}: {self._device.name} failed while it ran: {reason}") from error
        return result


def in_half(bundle: Bundle, role: str, precision: str) -> bool:
    """Return whether the network computes in half precision: an autoencoder may stay in float32 among the fp16 ones."""
    networks = bundle.manifest.networks
    full = networks.get("fp32", {}).get(role, f"{role}.onnx")
    return precision == "fp16" and networks[precision][role] != full


def _plan(bundle: Bundle, device: Device, precision: str) -> dict[str, Plan]:
    """Say how each network is opened on ``device``, by role."""
    files = bundle.files_of(precision)
    roles = bundle.manifest.networks[precision]
    cache = cache_folder() / bundle.manifest_hash[:16] / device.name
    if device == RTX:
        offer = rtx_ep_device()
        card = None if offer is None else card_of(offer)
        return {role: plan_on_rtx(bundle, role, precision, card, cache) for role in roles}
    if device == TENSORRT:
        cache = cache.joinpath(*(card.key for card in nvidia.list_cards()[:1]))
    graphs = bundle.manifest.fused if device in (CPU, CUDA) else {}
    return {role: Plan(bundle.path(graphs.get(file, file)), files, cache) for role, file in roles.items()}


def _device_of(role: str, device: Device) -> Device:
    """Return where a network runs: OpenVINO does not take the text encoder whole, which is a thousandth of the work."""
    return CPU if device == OPENVINO and role == "text_encoder" else device


@dataclass(frozen=True)
class Networks:
    """The four networks of one bundle on one device, as functions over float32 arrays."""

    text_encoder: Network
    unet: Network
    vae_encoder: Network
    vae_decoder: Network
    precision: str
    notes: tuple[str, ...] = ()
    """What the user should know of how they were opened: a precision that the bundle lacks, an engine that is stale."""

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        device: Device,
        precision: str | None = None,
        say: Callable[[str], None] = lambda note: None,
    ) -> Networks:
        """Check the bundle's files and open its networks in ``precision``.

        By default it is the device's own, or float32 where the bundle lacks that. ``say`` is given each of ``notes``
        before what it speaks of is done, for a card may compile for a minute.
        """
        notes: list[str] = []

        def tell(note: str) -> None:
            notes.append(note)
            say(note)

        chosen = precision
        if chosen is None:
            chosen = device.precision
            if chosen not in bundle.manifest.networks and "fp32" in bundle.manifest.networks:
                tell(f"engine {bundle.name} has no {chosen} networks: {device.name} runs fp32")
                chosen = "fp32"
        plans = _plan(bundle, device, chosen)
        verify_files(bundle, {TOKENIZER_NAME, *(name for plan in plans.values() for name in plan.files)})
        opened = {}
        for role, plan in plans.items():
            if plan.note:
                tell(plan.note)
            opened[role] = Network(
                role,
                plan.path,
                _device_of(role, device),
                plan.cache,
                half=in_half(bundle, role, chosen),
                exact=chosen == "fp32",
                keep=plan.keep,
            )
        return cls(**opened, precision=chosen, notes=tuple(notes))

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's providers that the networks really run on."""
        return self.unet.providers

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
