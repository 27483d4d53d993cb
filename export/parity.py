"""Does the engine compute what the checkpoint computes? Reference against engine, on fixed inputs.

The reference is the checkpoint in torch, float32. First each network alone, the UNet at three time steps; then one
whole edit, diffusers' ``StableDiffusionImg2ImgPipeline`` against our ``Editor``, with the same seed.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roentmod_fast.bundle.bundle import find_bundle, verify_files
from roentmod_fast.bundle.manifest import INPUTS, NETWORKS
from roentmod_fast.parity import fixed_inputs
from roentmod_fast.runtime.backends import choose_device
from roentmod_fast.settings import EditConfig

from .apart import apart, folder_bytes
from .checkpoint import ROLES, Checkpoint, open_checkpoint, quiet
from .cuda_graph import in_standard_operators
from .engine_side import (
    EDIT_PROMPT,
    Array,
    Outputs,
    edit_image,
    parity_config,
    parity_device,
    validate_edit,
    validate_network,
)
from .errors import ParityError
from .onnx_export import WRAPPERS
from .rounded import in_rounded_float32, written_beside

logger = logging.getLogger("roentmod_fast.export")
Parity = dict[str, dict[str, dict[str, float]]]
"""For each precision and network, and the whole edit: what :func:`~roentmod_fast.parity.difference` gives."""

WHOLE_EDIT = "whole_edit"
LIMITS: Mapping[str, Mapping[str, float | None]] = {
    "fp32": {"relative": 1e-3, "psnr_db": 60.0},
    "fp16": {"relative": None, "psnr_db": 35.0},
    "int8": {"relative": None, "psnr_db": 20.0},
}
"""What an engine must keep: for fp32 each network's largest difference relative to the output's range, and the PSNR of
the whole edit; for fp16 and int8 the PSNR of all. Below 20 dB int8 has lost the image; what it costs above that is
measured on radiographs, by ``roentmod-fast tune``."""

HALF_VAE_DB = 50.0
HALF_VAE_LARGEST = 65504 / 4
"""What an autoencoder must keep to run in fp16: this PSNR, and no number inside it above a quarter of what fp16 can
hold. Past that it gives NaN, on some patient if not on the images that parity is measured on."""


def reference_outputs(network: str, module: nn.Module, inputs: Sequence[dict[str, Array]]) -> tuple[Outputs, float]:
    """Run a network of the checkpoint in torch; return its outputs and the largest number any layer gave."""
    wrapped = WRAPPERS[network][1](module).eval()
    results, largest = [], 0.0

    def watch(layer: nn.Module, given: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, float(output.abs().max()))

    hooks = [layer.register_forward_hook(watch) for layer in module.modules() if not any(layer.children())]
    try:
        with torch.no_grad(), quiet():
            for values in inputs:
                output = wrapped(*(torch.from_numpy(values[name]) for name in INPUTS[network]))
                results.append([value.numpy() for value in (output if isinstance(output, tuple) else (output,))])
    finally:
        for hook in hooks:
            hook.remove()
    return results, largest


def validate_networks(
    opened: Checkpoint,
    folder: Path,
    networks: Mapping[str, Mapping[str, str]],
    graphs: Mapping[str, Mapping[str, str]],
) -> Parity:
    """Compare each network of a bundle's folder with the checkpoint.

    ``networks`` as in the manifest, ``graphs`` its fields of :data:`~roentmod_fast.bundle.manifest.GRAPHS` by name. A
    graph for CUDA is validated by its operators' definitions, for no CPU has them, and fp16 in float32 that rounds what
    each operator gives (:mod:`.rounded`), for no CPU provider rounds. What is large runs in a process
    of its own, the engine without torch. A file that two precisions share has the values of the first.
    """
    parity: Parity = {precision: {} for precision in networks}
    present = {network for parts in networks.values() for network in parts}
    width = int(opened.configs["unet"]["cross_attention_dim"])
    words = int(opened.configs["text_encoder"].get("vocab_size", 49408))
    for role in ROLES:
        mine = [network for network in NETWORKS if WRAPPERS[network][0] == role and network in present]
        if not mine:
            continue
        inputs = {network: fixed_inputs(network, opened.model, width, words) for network in mine}
        module = opened.load(role)
        references = {}
        for network in mine:
            logger.info(f"parity of {network}: the checkpoint, in torch")
            references[network] = reference_outputs(network, module, inputs[network])
        del module
        gc.collect()
        for network in mine:
            reference, largest = references[network]
            measured: dict[str, dict[str, float]] = {}
            for precision, parts in networks.items():
                for name, file in _graphs(network, parts[network], graphs):
                    if file not in measured:
                        logger.info(f"parity of {network}: {file}")
                        for_cuda = file in graphs.get("cuda", {}).values()
                        with _runnable(folder / file, for_cuda=for_cuda, half=precision == "fp16") as path:
                            work = (network, path, inputs[network], reference, precision)
                            measured[file] = apart(folder_bytes(folder), validate_network, *work)
                    # How near the checkpoint itself comes to what fp16 can hold.
                    parity[precision][name] = {
                        **measured[file],
                        **({"largest": largest} if precision == "fp16" else {}),
                    }
    return parity


def _graphs(network: str, file: str, graphs: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return names and files of what is validated: a network's file, and its other graphs where it has some."""
    others = [(f"{network}_{kind}", found[file]) for kind, found in graphs.items() if file in found]
    return [(network, file), *others]


@contextmanager
def _runnable(path: Path, *, for_cuda: bool, half: bool) -> Iterator[Path]:
    """Yield a graph that the CPU can run and that computes as ``path`` does on a GPU; else ``path``."""
    with ExitStack() as stack:
        if for_cuda:
            path = stack.enter_context(written_beside(path, ".meant.onnx", in_standard_operators))
        if half:
            path = stack.enter_context(written_beside(path, ".rounded.onnx", in_rounded_float32))
        yield path


def validate_edits(opened: Checkpoint, folder: Path, precisions: Sequence[str]) -> dict[str, dict[str, float]]:
    """Compare our whole edit in each precision with that of diffusers; ``folder`` is a bundle's."""
    logger.info("parity of a whole edit: the checkpoint, in torch")
    reference = apart(sum(opened.weight_bytes(role) for role in ROLES), _reference_of, opened)
    results = {}
    for precision in precisions:
        logger.info(f"parity of a whole edit: the engine, {precision}")
        results[precision] = apart(folder_bytes(folder), validate_edit, folder, precision, reference)
        logger.info(f"  {results[precision]['psnr_db']:.1f} dB against the checkpoint")
    return results


def _reference_of(opened: Checkpoint) -> NDArray[np.float32]:
    return reference_edit_once(opened, edit_image(opened.model), parity_config())


def validate_bundle(engine: str | Path, checkpoint: Path, vae: Path | None = None) -> Parity:
    """Measure the parity of an exported engine again, against the checkpoint that it was made from.

    Raises :class:`ParityError` where it misses its limits or is of another model altogether, and
    :class:`DeviceError` where OpenVINO is not installed, which int8 is validated with.
    """
    bundle = find_bundle(engine)
    verify_files(bundle)
    for precision in bundle.manifest.networks:
        choose_device(parity_device(precision).name)  # a missing device is an error before the work
    opened = open_checkpoint(checkpoint, vae)
    if opened.model != bundle.manifest.model:
        raise ParityError(f"{bundle.folder}: is another model than {checkpoint}: give the checkpoint it was made from")
    networks = bundle.manifest.networks
    parity = validate_networks(opened, bundle.folder, networks, bundle.manifest.graphs)
    for precision, edit in validate_edits(opened, bundle.folder, tuple(networks)).items():
        parity[precision][WHOLE_EDIT] = edit
    missed = failures(parity)
    if missed:
        raise ParityError(f"{bundle.folder}: does not compute what {checkpoint} computes: {'; '.join(missed)}")
    return parity


def fits_half(parity: Mapping[str, float]) -> bool:
    """Return whether an autoencoder's network may run in fp16."""
    return parity["psnr_db"] >= HALF_VAE_DB and parity["largest"] <= HALF_VAE_LARGEST


def reference_pipeline(checkpoint: Checkpoint, *, with_unet: bool = True) -> Any:
    """Return diffusers' pipeline with the checkpoint's own weights, as we have read them, and its own scheduler."""
    with quiet():
        from diffusers import StableDiffusionImg2ImgPipeline  # its import alone is talkative

        pipeline = StableDiffusionImg2ImgPipeline(
            vae=checkpoint.load("vae"),
            text_encoder=checkpoint.load("text_encoder"),
            tokenizer=checkpoint.tokenizer,
            unet=checkpoint.load("unet") if with_unet else None,
            scheduler=checkpoint.scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def reference_edit(
    pipeline: Any, image: NDArray[np.float32], config: EditConfig, prompt: str = EDIT_PROMPT
) -> NDArray[np.float32]:
    """Edit with diffusers: float32 (S, S) in [0, 1], the mean of the three channels. ``config`` must be complete."""
    with quiet(), torch.no_grad():
        result = pipeline(prompt=prompt, output_type="np", **_arguments(image, config))
    return np.asarray(result.images[0].mean(axis=2), dtype=np.float32)


def reference_edit_once(checkpoint: Checkpoint, image: NDArray[np.float32], config: EditConfig) -> NDArray[np.float32]:
    """Edit as :func:`reference_edit` with :data:`EDIT_PROMPT`, text encoder and UNet one after the other in memory."""
    pipeline = reference_pipeline(checkpoint, with_unet=False)
    with quiet(), torch.no_grad():
        states, empty_states = pipeline.encode_prompt(EDIT_PROMPT, "cpu", 1, do_classifier_free_guidance=True)
        pipeline.text_encoder = None
        gc.collect()
        pipeline.unet = checkpoint.load("unet")
        arguments = {"prompt_embeds": states, "negative_prompt_embeds": empty_states, **_arguments(image, config)}
        latents = pipeline(output_type="latent", **arguments).images
        pipeline.unet = None
        gc.collect()
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
        [image] = pipeline.image_processor.postprocess(decoded, output_type="np")
    return np.asarray(image.mean(axis=2), dtype=np.float32)


def _arguments(image: NDArray[np.float32], config: EditConfig) -> dict[str, Any]:
    """Return what diffusers' pipeline is called with, but for prompt and kind of output."""
    return {
        "image": torch.from_numpy(image.copy())[None, None].expand(-1, 3, -1, -1),
        "strength": config.strength,
        "guidance_scale": config.guidance,
        "num_inference_steps": config.steps,
        "generator": torch.Generator("cpu").manual_seed(config.seed),
    }


def failures(parity: Parity) -> list[str]:
    """Return what misses its limit, a line each."""
    missed = []
    for precision, networks in parity.items():
        limits = LIMITS.get(precision)
        if limits is None:
            continue
        for network, values in networks.items():
            most = limits["relative"]
            if most is not None and network != WHOLE_EDIT:
                if not values["relative"] <= most:
                    missed.append(
                        f"{precision} {network}: relative difference {values['relative']:.2g}, limit {most:g}"
                    )
            elif not values["psnr_db"] >= (least := limits["psnr_db"]):
                missed.append(f"{precision} {network}: {values['psnr_db']:.1f} dB, limit {least:g} dB")
    return missed
