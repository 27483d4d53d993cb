"""Tiny Stable Diffusion checkpoints with random weights: hundreds of kilobytes, of the shape of the real ones.

``build_tiny("sd1", folder)`` writes a diffusers folder, and so does ``python tests/goldens/tiny.py sd1 FOLDER``. The
weights come from a fixed seed, and so depend on the versions of torch, diffusers and transformers alone: those of the
``export`` extra. Attention and output layers are scaled up from their usual start, or else neither prompt nor guidance
would show in the image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

GOLDENS = Path(__file__).parent
LAYOUTS = ("sd1", "sd2", "v")
"""Stable Diffusion 1.x as RoentGen has it; 2.1-base (RoentGen-v2); 2.1, which predicts v."""

IMAGE_SIZE = 64
MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tiny(layout: str, folder: Path, seed: int = 0) -> None:
    """Write a checkpoint of ``layout`` (one of :data:`LAYOUTS`) into ``folder``, float32, as safetensors."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r} is unknown: expected one of {', '.join(LAYOUTS)}")
    second = layout != "sd1"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _tokenizer(pad="!" if second else END)
        pipeline = StableDiffusionImg2ImgPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(tokenizer, second),
            tokenizer=tokenizer,
            unet=_unet(second),
            scheduler=_scheduler(layout),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    # Checkpoints in the field hold these two files; transformers 5 writes tokenizer.json instead.
    vocabulary, merges = _vocabulary()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "tokenizer" / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the golden tokenizer's words and merges, numbered without gaps so that the embedding stays small."""
    model = json.loads((GOLDENS / "tokenizer_sd1.json").read_text(encoding="utf-8"))["model"]
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    pairs = [tuple(merge.split(" ")) for merge in model["merges"]]
    return {word: index for index, word in enumerate(words)}, [(left, right) for left, right in pairs]


def _tokenizer(pad: str) -> CLIPTokenizer:
    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=MAX_TOKENS)


def _text_encoder(tokenizer: CLIPTokenizer, second: bool) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="gelu" if second else "quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config).eval()
    _scale(model, ".out_proj.weight", 8.0)  # so that a word is felt beyond its own place in the prompt
    return model


def _unet(second: bool) -> UNet2DConditionModel:
    extra: dict[str, Any] = {"attention_head_dim": [2, 4], "use_linear_projection": True} if second else {}
    model = UNet2DConditionModel(
        sample_size=IMAGE_SIZE // 8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        **{"attention_head_dim": 4, **extra},
    ).eval()
    _scale(model, ".attn2.to_out.0.weight", 4.0)
    _scale(model, "conv_out.weight", 2.0)
    return model


def _vae() -> AutoencoderKL:
    """Four levels, so that a latent stands for 8 x 8 pixels as in the real one."""
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=IMAGE_SIZE,
        scaling_factor=0.18215,
    ).eval()
    _scale(model, "encoder.conv_out.weight", 8.0)
    return model


def _scheduler(layout: str) -> Any:
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if layout == "v":
        return DDIMScheduler(clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction", **betas)
    return PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=False, **betas)


def _scale(model: torch.nn.Module, ending: str, factor: float) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(ending):
                parameter.mul_(factor)


if __name__ == "__main__":
    build_tiny(sys.argv[1], Path(sys.argv[2]))
