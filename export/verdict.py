"""Does the engine compute what the checkpoint computes? Reference against engine, on fixed inputs.

The reference is the checkpoint in torch, float32. First each network alone, the UNet at three time steps; then one
whole edit, diffusers' ``StableDiffusionImg2ImgPipeline`` against our ``Editor``, with the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from numpy.typing import NDArray
from torch import nn

from roentmod_fast.editor import EditConfig, Editor
from roentmod_fast.engine.devices import CPU
from roentmod_fast.engine.manifest import Model
from roentmod_fast.engine.networks import INPUTS, OUTPUTS, Network
from roentmod_fast.phantom import draw

from .checkpoint import Checkpoint, quiet
from .onnx_export import WRAPPERS

Array = NDArray[Any]
Outputs = list[list[Array]]

WHOLE_EDIT = "whole_edit"
LIMITS = {"fp32": {"relative": 1e-3, "psnr_db": 60.0}, "fp16": {"relative": None, "psnr_db": 35.0}}
"""What an engine must keep: for fp32 each network's largest difference relative to the output's range, and the PSNR of
the whole edit; for fp16 the PSNR of all."""

EDIT_PROMPT = "edema"
EDIT_SEED = 42
EDIT_STEPS = 10
EDIT_STRENGTH = 0.4
EDIT_GUIDANCE = 4.0


def fixed_inputs(network: str, model: Model, width: int, words: int) -> list[dict[str, Array]]:
    """Return the inputs of the verdict: the UNet's at three time steps, one set for the others; batch of two."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    size = model.latent_size
    latents = normal(2, model.latent_channels, size, size)
    if network == "text_encoder":
        return [{"tokens": rng.integers(0, words, (2, model.max_tokens), dtype=np.int64)}]
    if network == "vae_encoder":
        picture = draw(model.image_size, 0).image
        both = np.stack([picture, picture[:, ::-1]])[:, None].repeat(3, axis=1) * 2 - 1
        return [{"image": np.ascontiguousarray(both, dtype=np.float32)}]
    if network == "vae_decoder":
        return [{"latents": latents / np.float32(model.latent_scaling)}]
    states = normal(2, model.max_tokens, width)
    last = model.train_timesteps - 1
    return [
        {"latents": latents, "timestep": np.full(2, step, dtype=np.int64), "text_states": states}
        for step in (1, round(0.4 * last), last)
    ]


def reference_outputs(network: str, module: nn.Module, inputs: Sequence[dict[str, Array]]) -> Outputs:
    """Run a network of the checkpoint in torch."""
    wrapped = WRAPPERS[network][1](module).eval()
    results = []
    with torch.no_grad(), quiet():
        for values in inputs:
            output = wrapped(*(torch.from_numpy(values[name]) for name in INPUTS[network]))
            results.append([value.numpy() for value in (output if isinstance(output, tuple) else (output,))])
    return results


def judge_network(network: str, path: Path, inputs: Sequence[dict[str, Array]], reference: Outputs) -> dict[str, float]:
    """Compare an exported network with its reference; the worst of all inputs and outputs."""
    opened = Network(network, path, CPU)
    verdicts = []
    for values, expected in zip(inputs, reference, strict=True):
        got = opened.run(**values)
        verdicts += [difference(want, got[name]) for name, want in zip(OUTPUTS[network], expected, strict=True)]
    return {
        "max_abs": max(verdict["max_abs"] for verdict in verdicts),
        "relative": max(verdict["relative"] for verdict in verdicts),
        "psnr_db": min(verdict["psnr_db"] for verdict in verdicts),
    }


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


def edit_picture(model: Model) -> NDArray[np.float32]:
    """Return the radiograph of the whole edit: a drawn one at the model's size."""
    return draw(model.image_size, 1).image


def reference_edit(checkpoint: Checkpoint, config: EditConfig, prompt: str = EDIT_PROMPT) -> NDArray[np.float32]:
    """Edit with diffusers: float32 (S, S) in [0, 1], the mean of the three channels. ``config`` must be complete."""
    pipeline = StableDiffusionImg2ImgPipeline(
        vae=checkpoint.load("vae"),
        text_encoder=checkpoint.load("text_encoder"),
        tokenizer=checkpoint.tokenizer,
        unet=checkpoint.load("unet"),
        scheduler=checkpoint.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = edit_picture(checkpoint.model)
    image = torch.from_numpy(picture.copy())[None, None].expand(-1, 3, -1, -1)
    with quiet(), torch.no_grad():
        result = pipeline(
            prompt=prompt,
            image=image,
            strength=config.strength,
            guidance_scale=config.guidance,
            num_inference_steps=config.steps,
            generator=torch.Generator("cpu").manual_seed(config.seed),
            output_type="np",
        )
    return np.asarray(result.images[0].mean(axis=2), dtype=np.float32)


def verdict_config() -> EditConfig:
    """Return the settings of the verdict's whole edit."""
    return EditConfig(EDIT_STRENGTH, EDIT_GUIDANCE, EDIT_STEPS, EDIT_SEED, "replace")


def judge_edit(bundle: Path, precision: str, reference: NDArray[np.float32]) -> dict[str, float]:
    """Compare our whole edit with that of diffusers."""
    editor = Editor.load(bundle, device="cpu", precision=precision)
    result = editor.edit(edit_picture(editor.model), EDIT_PROMPT, verdict_config())
    error = difference(reference, result.decoded)
    # A picture's range is [0, 1] by definition, not by what it happens to hold.
    mean_square = max(float(np.mean(np.square(reference.astype(np.float64) - result.decoded))), 1e-30)
    return {**error, "psnr_db": float(-10 * np.log10(mean_square))}


def failures(parity: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return what misses its limit, a line each."""
    missed = []
    for precision, networks in parity.items():
        limits = LIMITS[precision]
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
