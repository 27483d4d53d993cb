"""The four networks of a bundle, run by ONNX Runtime or OpenVINO.

Each has one signature: named arrays in, named arrays out, with name, type and rank checked once when it is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle, verify_files
from roentmod_fast.bundle.manifest import NETWORKS, TOKENIZER_NAME, Model, with_weights
from roentmod_fast.bundle.precisions import BFLOAT16, PRECISIONS, PRECISIONS_ON_CARD, stored_as
from roentmod_fast.errors import DeviceError, EngineError, NotFiniteError, SettingError
from roentmod_fast.folders import cache_folder
from roentmod_fast.runtime import gpus as nvidia
from roentmod_fast.runtime.bound import TYPES, BoundSession, GraphError
from roentmod_fast.runtime.cache import can_be_written, set_aside
from roentmod_fast.runtime.compiled import plan_on_rtx
from roentmod_fast.runtime.devices import (
    CPU,
    CUDA,
    GPU_DEVICES,
    OPENVINO,
    RTX,
    TENSORRT,
    Device,
    bfloat16_lacks,
    card_of,
    rtx_ep_device,
)
from roentmod_fast.runtime.openvino_session import TIMESTEPS, plan_on_openvino
from roentmod_fast.runtime.ort_errors import reason_of
from roentmod_fast.runtime.plan import Opening, Plan
from roentmod_fast.runtime.sessions import open_session
from roentmod_fast.runtime.spare import NetworkWithSpare

Array = NDArray[Any]
logger = logging.getLogger(__name__)


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
        opening: Opening = Opening(),  # noqa: B008 - it cannot be changed
        *,
        frugal: bool = False,
        tell: Callable[[str], None] = lambda note: None,
    ) -> None:
        """Open ``path`` as ``role`` (a key of :data:`INPUTS`) on ``device``.

        As many items of a batch as ``opening`` says are run at once. ``frugal``: OpenVINO gives back what a run
        computed in, so that the next takes it anew. ``tell`` is given a note where CUDA graphs are wished and cannot be
        had.
        Raises :class:`EngineError` where the file is no network or its ports differ from the contract,
        :class:`DeviceError` where the session does not run on ``device``.
        """
        self.role = role
        self.items = opening.items
        self._device = device
        self._frugal = frugal
        self._tell = tell
        self._open_without_graphs = partial(open_session, path, device, replace(opening, graphs=False))
        try:
            self._use(open_session(path, device, opening), opening.graphs)
        except EngineError as error:
            if not opening.graphs or device != CUDA:
                raise
            # Whether it was for the graphs' sake is known when it can be opened without.
            self._use(self._open_without_graphs(), False)
            self._tell_no_graphs(error)
        self._check(path, "input", INPUTS[role], self._session.get_inputs())
        self._check(path, "output", OUTPUTS[role], self._session.get_outputs())
        self.fixed = {port.name: tuple(port.shape) for port in self._session.get_inputs()}
        self.outputs = {port.name: tuple(port.shape) for port in self._session.get_outputs()}

    def _use(self, session: Any, graphs: bool) -> None:
        self._session = session
        self._bound = BoundSession(session, "cuda", graphs=graphs) if self._device == CUDA else None
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self._rest = session.release_memory if self._frugal and self._device == OPENVINO else lambda: None

    def _tell_no_graphs(self, error: Exception) -> None:
        self._tell(f"{self.role} runs without CUDA graphs: {reason_of(error)}")

    @staticmethod
    def _check(path: Path, kind: str, expected: Mapping[str, Port], found: list[Any]) -> None:
        got = {port.name: Port(port.type, len(port.shape)) for port in found}
        if got != expected:

            def say(ports: Mapping[str, Port]) -> str:
                return ", ".join(f"{name} {port.type} rank {port.rank}" for name, port in sorted(ports.items()))

            raise EngineError(f"{path}: {kind}s are {say(got)}; expected {say(expected)}: export the engine again")

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run the network on a batch of any size, as many items at once as it was opened for.

        On a processor that is one: a batch costs as much time there as its items (see the performance page). Raises
        :class:`EngineError` naming the input whose shape or type does not fit, :class:`NotFiniteError` where a result
        is not finite, :class:`DeviceError` where a card fails, such as for want of memory.
        """
        count = next(iter(arrays.values())).shape[0]
        for name, array in arrays.items():
            shape, kind = self.fixed[name], TYPES[INPUTS[self.role][name].type]
            if len(shape) != array.ndim or any(
                isinstance(want, int) and want != have for want, have in zip(shape[1:], array.shape[1:], strict=True)
            ):
                raise EngineError(f"{self.role}: input {name} has shape {array.shape}, expected {shape}")
            if array.shape[0] != count or array.dtype != kind:
                raise EngineError(
                    f"{self.role}: input {name} holds {array.shape[0]} items of {array.dtype}, "
                    f"expected {count} of {kind}"
                )
        names = list(OUTPUTS[self.role])
        parts = [
            self._run_part(names, {name: array[start : start + self.items] for name, array in arrays.items()})
            for start in range(0, count, self.items)
        ]
        self._rest()
        values = {name: np.concatenate(found) for name, found in zip(names, zip(*parts, strict=True), strict=True)}
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise NotFiniteError(
                    f"{self.role}: its output {name} holds NaN or infinity: the picture would be wrong"
                )
        return values

    def _run_part(self, names: list[str], part: Mapping[str, Array]) -> list[Array]:
        try:
            result: list[Array] = (self._bound or self._session).run(names, part)
        except GraphError as error:
            # A recording that broke off may leave the session unusable, so another one is opened.
            self._use(self._open_without_graphs(), False)
            self._tell_no_graphs(error)
            return self._run_part(names, part)
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            if self._device == CPU:
                raise
            raise DeviceError(f"{self.role}: {self._device.name} failed while it ran: {reason_of(error)}") from error
        return result


def items_at_once(role: str, device: Device, batch: int) -> int:
    """Return how many items of ``role`` run at once where ``batch`` pictures are edited together.

    On a card that is two a picture for the UNet, which guidance asks with and without the prompt, and one for the
    autoencoder, whose large pictures keep a card busy and take most of its memory. On a processor it is one for all:
    there a batch gains nothing.
    """
    if device not in GPU_DEVICES or role in ("vae_encoder", "vae_decoder"):
        return 1
    return 2 * batch if role == "unet" else batch


def item_shapes(role: str, model: Model, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of one item of each input of ``role``; ``width`` is that of the text states."""
    shapes = {
        "tokens": (model.max_tokens,),
        "latents": (model.latent_channels, model.latent_size, model.latent_size),
        "timestep": (),
        "text_states": (model.max_tokens, width),
        "image": (3, model.image_size, model.image_size),
    }
    return {name: shapes[name] for name in INPUTS[role]}


def in_half(bundle: Bundle, role: str, precision: str) -> bool:
    """Return whether the network computes in half precision: an autoencoder may stay in float32 among the fp16 ones."""
    networks = bundle.manifest.networks
    full = networks.get("fp32", {}).get(role, f"{role}.onnx")
    return precision == "fp16" and networks[precision][role] != full


def precisions_on(bundle: Bundle, device: Device) -> tuple[str, ...]:
    """Return the precisions in which ``device`` can run the bundle here."""
    stored = tuple(precision for precision in PRECISIONS if stored_as(precision) in bundle.manifest.networks)
    if device in GPU_DEVICES:
        return tuple(precision for precision in stored if precision in PRECISIONS_ON_CARD)
    if bfloat16_lacks(device) is None:
        return stored
    return tuple(precision for precision in stored if precision not in BFLOAT16)


def _plan(bundle: Bundle, role: str, device: Device, precision: str, batch: int) -> Plan:
    """Say how the network ``role`` is opened on ``device`` for ``batch`` pictures at once."""
    file = bundle.networks_of(precision)[role]
    cache = cache_folder() / bundle.manifest_hash[:16] / device.name
    if device == RTX:
        offer = rtx_ep_device()
        card = None if offer is None else card_of(offer)
        return plan_on_rtx(bundle, role, precision, card, cache, items_at_once(role, device, batch))
    if device == OPENVINO:
        return plan_on_openvino(bundle, role, precision, cache)
    note = ""
    if device == TENSORRT:
        cache = cache.joinpath(*(card.key for card in nvidia.list_cards()[:1]), f"batch-{batch}")
        if not can_be_written(cache):
            note = f"{role} is compiled at each start, for {cache} cannot be written"
    graph = file
    if device in (CPU, CUDA):
        graph = bundle.manifest.fused.get(file, file)
    if device == CUDA:
        graph = bundle.manifest.cuda.get(file, graph)
    weights = [name for name in with_weights(file, bundle.manifest.files) if name != file]
    return Plan(bundle.path(graph), (graph, *weights), None if note else cache, note=note)


@dataclass(frozen=True)
class Networks:
    """The four networks of one bundle on one device, as functions over float32 arrays."""

    text_encoder: Network
    unet: Network
    vae_encoder: Network | NetworkWithSpare
    vae_decoder: Network | NetworkWithSpare
    precision: str
    notes: list[str] = field(default_factory=list)
    """What the user should know of how they were opened: a precision that the bundle lacks, an engine that is stale. It
    grows where that shows itself later: half precision that overflows, a CUDA graph that cannot be recorded."""

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        device: Device,
        precision: str | None = None,
        *,
        batch: int = 1,
        graphs: bool = True,
        keep: bool = True,
    ) -> Networks:
        """Check the bundle's files and open its networks in ``precision`` for ``batch`` pictures edited together.

        By default the precision is the device's own, or float32 where the bundle lacks that. Each of ``notes`` is
        logged as a warning before what it speaks of is done, for a GPU may compile for a minute. ``graphs``: run the
        UNet by way of CUDA graphs, on the devices cuda and rtx. ``keep``: keep networks that the device compiles.

        Raises :class:`SettingError` for a batch below 1, :class:`DeviceError` where bfloat16 is asked for and cannot be
        had.
        """
        if batch < 1:
            raise SettingError(f"batch {batch} is below 1: give how many edits to make at once")
        notes: list[str] = []

        def tell(note: str) -> None:
            notes.append(note)
            logger.warning(note)

        chosen = precision
        if chosen is None:
            chosen = device.precision
            if chosen not in bundle.manifest.networks and "fp32" in bundle.manifest.networks:
                tell(f"engine {bundle.name} has no {chosen} networks: {device.name} runs fp32")
                chosen = "fp32"
        if chosen in BFLOAT16:
            lacks = bfloat16_lacks(device)
            if lacks is not None:
                raise DeviceError(f"precision {chosen!r} cannot be had: {lacks}")
            if bundle.manifest.model.train_timesteps > TIMESTEPS:
                raise EngineError(f"{bundle.folder}: has more than {TIMESTEPS} timesteps: {chosen} cannot be had")
        if chosen == "fp32" and device in (RTX, TENSORRT):
            tell(f"{device.name} rounds float32 products to TF32, 10 bits, where the card has it; cuda does not")
        opened: dict[str, Network] = {}

        def checked(role: str, precision: str) -> Plan:
            found = _plan(bundle, role, device, precision, batch)
            verify_files(bundle, found.files)
            return found

        def open_one(role: str, precision: str, plan: Plan, again: bool = False) -> Network:
            if plan.note:
                tell(plan.note)
            shapes = None
            if device in (RTX, TENSORRT) and not plan.compiled:
                # The manifest does not hold the width of the text states; the text encoder, opened first, does.
                width = opened["text_encoder"].outputs["text_states"][-1] if opened else 0
                shapes = item_shapes(role, bundle.manifest.model, width)
            opening = Opening(
                cache=plan.cache,
                keep=plan.keep if keep else None,
                half=in_half(bundle, role, precision),
                exact=chosen != "fp16",
                bfloat16=chosen in BFLOAT16,
                items=items_at_once(role, device, batch),
                shapes=shapes,
                oversized=plan.oversized,
                # The UNet is what a loop calls; on CUDA recording takes three runs, which what runs once does not earn
                # back. TensorRT for RTX records by itself, and alone.
                graphs=graphs and (device == RTX or (device == CUDA and role == "unet")),
            )
            # At full size this keeps an int8 process at 2.7 GB instead of 3.2 and makes decoding half as slow again. In
            # other precisions it gains little beside the weights; a UNet is called too often.
            frugal = chosen == "int8" and role != "unet"
            try:
                return Network(role, plan.path, device, opening, frugal=frugal, tell=tell)
            except EngineError as error:
                if again or not plan.kept:
                    raise
                tell(f"what was kept of {role} does not open and is made again: {error}")
                with set_aside(plan.path):
                    return open_one(role, precision, checked(role, precision), again=True)

        def open_spare(role: str) -> Network:
            return open_one(role, "fp32", checked(role, "fp32"))

        verify_files(bundle, [TOKENIZER_NAME])
        with ThreadPoolExecutor(len(NETWORKS)) as pool:
            plans = list(pool.map(checked, NETWORKS, repeat(chosen)))
            # A card is filled by one network that it compiles; on a processor opening one leaves cores idle.
            open_each = map if device in GPU_DEVICES else pool.map
            for role, network in zip(NETWORKS, open_each(open_one, NETWORKS, repeat(chosen), plans), strict=True):
                opened[role] = network

        def spared(role: str) -> Network | NetworkWithSpare:
            if in_half(bundle, role, chosen) and "fp32" in bundle.manifest.networks:
                return NetworkWithSpare(opened[role], partial(open_spare, role), tell)
            return opened[role]

        return cls(
            text_encoder=opened["text_encoder"],
            unet=opened["unet"],
            vae_encoder=spared("vae_encoder"),
            vae_decoder=spared("vae_decoder"),
            precision=chosen,
            notes=notes,
        )

    @property
    def providers(self) -> tuple[str, ...]:
        """What the networks really run on: providers of ONNX Runtime, or OpenVINO."""
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
