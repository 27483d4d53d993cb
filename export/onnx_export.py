"""One network of a checkpoint to one ONNX file, with the runtime's names for what goes in and out.

``torch.onnx.export(dynamo=True)`` does it. ``optimum`` exports this model family too, but names inputs and outputs in
its own way, fixes a rank-0 time step, gives the encoder's moments joined, takes three times as long, and its pins keep
diffusers and transformers releases back; an unpinned resolution of it runs for more than ten minutes.

Batch is free, image and prompt have one size. LayerNormalization stays one operator (opset 17 and later). Weights lie
in the file itself, or past :data:`INLINE_LIMIT` in one file beside it: protobuf ends at 2 GB, and is read into memory.
Those of a network in :data:`FUSED` always lie beside it, for two graphs share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from roentmod_fast.bundle.manifest import INPUTS, OUTPUTS, Model

from .checkpoint import quiet
from .files import INLINE_LIMIT, OPSET

FUSED = ("unet",)
"""Networks that get a second graph, see ``fused``: in the others attention is a small part, or one head that is not
quicker so."""


class TextEncoder(nn.Module):
    """Tokens to the states the UNet looks at: after the last layer and its norm.

    Stable Diffusion 2 looks at OpenCLIP's last layer but one; its checkpoints hold no other (23 layers of 24), so the
    last one here is that one, as in diffusers.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        return self.network(tokens, return_dict=True).last_hidden_state.float()


class UNet(nn.Module):
    """Latents, one time step each, and text states to what the network predicts; float32 at the ports."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor, timestep: Tensor, text_states: Tensor) -> Tensor:
        kind = next(self.network.parameters()).dtype
        return self.network(latents.to(kind), timestep, text_states.to(kind), return_dict=False)[0].float()


class VaeEncoder(nn.Module):
    """An image to mean and log-variance of its unscaled latents; the draw from them is the runtime's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        kind = next(self.network.parameters()).dtype
        moments = self.network.encoder(image.to(kind))
        if self.network.quant_conv is not None:
            moments = self.network.quant_conv(moments)
        mean, log_variance = moments.float().chunk(2, dim=1)
        return mean, log_variance


class VaeDecoder(nn.Module):
    """Unscaled latents to an image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor) -> Tensor:
        kind = next(self.network.parameters()).dtype
        hidden = latents.to(kind)
        if self.network.post_quant_conv is not None:
            hidden = self.network.post_quant_conv(hidden)
        return self.network.decoder(hidden).float()


WRAPPERS: Mapping[str, tuple[str, type[nn.Module]]] = {
    "text_encoder": ("text_encoder", TextEncoder),
    "unet": ("unet", UNet),
    "vae_encoder": ("vae", VaeEncoder),
    "vae_decoder": ("vae", VaeDecoder),
}
"""For each network of a bundle: the part of the checkpoint that it comes from, and how that is called."""


def example_inputs(network: str, model: Model, width: int) -> tuple[Tensor, ...]:
    """Return inputs of the right shapes for a batch of two, in the order of the ports; ``width`` of the text states."""
    latents = torch.zeros(2, model.latent_channels, model.latent_size, model.latent_size)
    examples = {
        "text_encoder": (torch.zeros(2, model.max_tokens, dtype=torch.int64),),
        "unet": (latents, torch.zeros(2, dtype=torch.int64), torch.zeros(2, model.max_tokens, width)),
        "vae_encoder": (torch.zeros(2, 3, model.image_size, model.image_size),),
        "vae_decoder": (latents,),
    }
    return examples[network]


def translate(network: str, module: nn.Module, model: Model, width: int) -> ir.Model:
    """Return ``module``, a part of the checkpoint, as ONNX; one in fp16 keeps float32 ports."""
    wrapped = WRAPPERS[network][1](module).eval()
    examples = example_inputs(network, model, width)
    batch = torch.export.Dim("batch")
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            wrapped,
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS[network]),
            output_names=list(OUTPUTS[network]),
            dynamic_shapes=tuple({0: batch} for _ in examples),
            verbose=False,
        )
    assert program is not None
    tidy(program.model, network)
    return program.model


def export_network(
    network: str, module: nn.Module, model: Model, width: int, path: Path, *, store_halves: bool = False
) -> None:
    """Write ``module``, a part of the checkpoint, as the ONNX file ``path`` of ``network``.

    ``store_halves`` stores each float32 weight that half precision holds exactly in two bytes, with a Cast behind it
    that ONNX Runtime carries out once, when it opens the file.
    """
    onnx_model = translate(network, module, model, width)
    if store_halves:
        _store_halves(onnx_model.graph)
    size = sum(value.const_value.nbytes for value in onnx_model.graph.initializers.values() if value.const_value)
    data = f"{path.name}.data" if size > INLINE_LIMIT or network in FUSED else None
    ir.save(onnx_model, path, external_data=data)


def tidy(onnx_model: ir.Model, network: str) -> None:
    """Take out what the exporter notes about itself (stack traces with this machine's paths among it)."""
    graph = onnx_model.graph
    graph.name, graph.doc_string = network, None
    onnx_model.metadata_props.clear()
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()


def _store_halves(graph: ir.Graph) -> None:
    """Store float32 weights as float16 followed by a Cast, where that changes none of them."""
    casts = []
    for name, value in list(graph.initializers.items()):
        if value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT or value.const_value.size < 2:
            continue
        full = value.const_value.numpy()
        with np.errstate(over="ignore"):
            half = full.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), full):
            continue
        stored = ir.Value(
            name=f"{name}.half",
            shape=value.shape,
            type=ir.TensorType(ir.DataType.FLOAT16),
            const_value=ir.Tensor(half, name=f"{name}.half"),
        )
        cast = ir.node("Cast", [stored], attributes={"to": ir.DataType.FLOAT})
        cast.outputs[0].shape, cast.outputs[0].type = value.shape, value.type
        value.replace_all_uses_with(cast.outputs[0])
        del graph.initializers[name]
        cast.outputs[0].name = name
        graph.register_initializer(stored)
        casts.append(cast)
    graph.insert_before(graph[0], casts)


def free_bytes_needed(weights: int, precisions: Sequence[str], architectures: Sequence[str] = ()) -> int:
    """Return the disk space an export takes, for ``weights`` bytes of float32 weights, with some room.

    An engine built ahead of time holds about what its fp16 network holds, once for each of ``architectures``.
    """
    shares = {"fp32": 1.0, "fp16": 0.5, "int8": 0.3}
    share = sum(shares[precision] for precision in precisions) + shares["fp16"] * len(architectures)
    return int(weights * share * 1.1) + 20_000_000
