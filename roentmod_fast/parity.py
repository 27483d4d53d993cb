"""Parity: fixed inputs, and how far two outputs are from each other.

The exporter compares an engine with its checkpoint by these, and ``engines verify --device`` a device with the CPU:
what a driver, a GPU or a kernel computes wrongly raises no error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import NETWORKS, OUTPUTS, Model
from roentmod_fast.phantom import draw
from roentmod_fast.runtime import backends
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.networks import Networks

Array = NDArray[Any]

VOCABULARY = 256
"""Token ids are drawn below this; every vocabulary is at least this large."""

MIN_PSNR: Mapping[str, float] = {"fp32": 60.0, "fp16": 40.0, "bf16": 40.0, "int8": 20.0, "int8-bf16": 20.0}
"""Lowest PSNR of each network on another device to float32 on the CPU, in dB over the range of its output. The built-in
engine keeps 80 and more in fp16 (``benchmarks/results/half-cxr-mini.json``)."""

TF32_MIN_PSNR = 40.0
"""Where float32 products may be rounded to TF32, which has 10 bits as half precision has."""


def fixed_inputs(network: str, model: Model, width: int, vocabulary: int = VOCABULARY) -> list[dict[str, Array]]:
    """Return inputs for a network, the same each time: the UNet's at three time steps, one set for the others.

    ``width`` is that of the text states; token ids are below ``vocabulary``.
    """
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    size = model.latent_size
    latents = normal(2, model.latent_channels, size, size)
    if network == "text_encoder":
        return [{"tokens": rng.integers(0, vocabulary, (2, model.max_tokens), dtype=np.int64)}]
    if network == "vae_encoder":
        phantom = draw(model.image_size, 0).image
        both = np.stack([phantom, phantom > 0.5])[:, None].repeat(3, axis=1) * 2 - 1  # as drawn, and black and white
        return [{"image": np.ascontiguousarray(both, dtype=np.float32)}]
    if network == "vae_decoder":
        return [{"latents": latents / np.float32(model.latent_scaling)}]
    states = normal(1, model.max_tokens, width)
    last = model.train_timesteps - 1
    return [
        {"latents": latents[:1], "timestep": np.full(1, step, dtype=np.int64), "text_states": states}
        for step in (1, round(0.4 * last), last)
    ]


def difference(want: Array, got: Array) -> dict[str, float]:
    """Largest absolute difference, the same relative to the range of ``want``, and PSNR in dB over that range."""
    error = np.abs(want.astype(np.float64) - got)
    span = max(float(want.max() - want.min()), 1e-12)
    mean_square = max(float(np.mean(error**2)), 1e-30)
    return {
        "max_abs": float(error.max()),
        "relative": float(error.max()) / span,
        "psnr_db": float(10 * np.log10(span**2 / mean_square)),
    }


@dataclass(frozen=True)
class Parity:
    """The PSNR of a network's worst output on a device to the CPU's, in dB over its range, and the lowest allowed."""

    precision: str
    network: str
    psnr_db: float
    min_psnr_db: float

    @property
    def passed(self) -> bool:
        return self.psnr_db >= self.min_psnr_db


def compare_with_cpu(bundle: Bundle, device: Backend) -> Iterator[Parity]:
    """Run each network of ``bundle`` on ``device``, in each precision it has there, and on the CPU in float32.

    Where the bundle holds no float32, the CPU computes in the same precision, which it does by way of float32. For an
    autoencoder in fp16 that gives NaN or infinity on the device the PSNR is minus infinity: float32 takes its
    place in an edit, but the exporter has seen it give numbers for these inputs. Raises :class:`DeviceError` and
    :class:`EngineError` as :meth:`Networks.open` and :meth:`Network.run` do.
    """
    model, cpu = bundle.manifest.model, backends.get("cpu")
    expected: dict[str, dict[str, list[Array]]] = {}
    for precision in device.precisions(bundle):
        reference = "fp32" if "fp32" in bundle.manifest.networks else precision
        if reference not in expected:
            expected[reference] = _outputs(Networks.open(bundle, cpu, reference), model)
        opened = Networks.open(bundle, device, precision)
        found = _outputs(opened, model)
        tf32 = precision == "fp32" and device.rounds_to_tf32
        least = TF32_MIN_PSNR if tf32 else MIN_PSNR[precision]
        for network in NETWORKS:
            pairs = zip(expected[reference][network], found[network], strict=True)
            psnr = min(difference(*pair)["psnr_db"] for pair in pairs)
            if getattr(getattr(opened, network), "fallback_active", False):
                psnr = -math.inf
            yield Parity(precision, network, psnr, least)


def _outputs(networks: Networks, model: Model) -> dict[str, list[Array]]:
    """Return the outputs of each network for its fixed inputs."""
    width = networks.text_encoder.outputs["text_states"][-1]
    outputs: dict[str, list[Array]] = {}
    for network in NETWORKS:
        inputs = fixed_inputs(network, model, width)
        if network == "unet":
            inputs += _pairs(inputs)
        given = [getattr(networks, network).run(**values) for values in inputs]
        outputs[network] = [values[name] for values in given for name in OUTPUTS[network]]
    return outputs


def _pairs(inputs: list[dict[str, Array]]) -> list[dict[str, Array]]:
    """Return each item with the one after it, as guidance runs two; on cuda a third run replays a CUDA graph."""
    following = [*inputs[1:], inputs[0]]
    return [
        {name: np.concatenate([first[name], second[name]]) for name in first}
        for first, second in zip(inputs, following, strict=True)
    ]
