"""The inputs and outputs of a bundle's four networks: names, types and ranks, which are part of the bundle's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from roentmod_fast.bundle.manifest import Model


@dataclass(frozen=True)
class Port:
    """An input or output: ONNX Runtime's type name and the number of dimensions."""

    type: str
    rank: int


_FLOAT4, _FLOAT3 = Port("tensor(float)", 4), Port("tensor(float)", 3)
_INT2, _INT1 = Port("tensor(int64)", 2), Port("tensor(int64)", 1)

TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(int64)": np.dtype(np.int64)}
"""numpy's type for each type that a port may have."""

INPUTS: Mapping[str, Mapping[str, Port]] = {
    "text_encoder": {"tokens": _INT2},
    "unet": {"latents": _FLOAT4, "timestep": _INT1, "text_states": _FLOAT3},
    "vae_encoder": {"image": _FLOAT4},
    "vae_decoder": {"latents": _FLOAT4},
}
"""Inputs of each network: tokens (batch, max_tokens); latents (batch, channels, s, s); timestep (batch,); text_states
(batch, max_tokens, width); image (batch, 3, S, S) in [-1, 1]."""

OUTPUTS: Mapping[str, Mapping[str, Port]] = {
    "text_encoder": {"text_states": _FLOAT3},
    "unet": {"prediction": _FLOAT4},
    "vae_encoder": {"mean": _FLOAT4, "log_variance": _FLOAT4},
    "vae_decoder": {"image": _FLOAT4},
}
"""Outputs of each network; ``mean`` and ``log_variance`` are of the unscaled latents, ``image`` is in about [-1, 1]."""


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
