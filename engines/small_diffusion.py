"""Small networks in Stable Diffusion's layout, which the recipes of the shipped engines share. Needs the export extra.

Their shapes, the tokenizer in CLIP's format, the diffusers folder around them, and the stages of a recipe.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE = 256
FACTOR = 8
MAX_TOKENS = 77
WIDTH = 128
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

Stage = tuple[str, Path, Callable[[], None]]
"""A stage of a recipe: its name, the file that says it is done, and what it does."""


def make_autoencoder(widths: tuple[int, int, int, int]) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=SIZE,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
    )


def make_text_encoder(vocabulary: int, layers: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


def make_unet(widths: tuple[int, int, int]) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // FACTOR,
        in_channels=4,
        out_channels=4,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def make_tokenizer(folder: Path, texts: Iterable[str], size: int) -> CLIPTokenizer:
    """Train a byte-level BPE of at most ``size`` words on texts; write and return it in CLIP's format."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        special_tokens=[],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    trained = json.loads(bpe.to_str())["model"]
    # CLIP's order: every byte, every byte that ends a word, the merges' results, start and end of text.
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in trained["merges"]]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    words += [word for word in dict.fromkeys("".join(merge) for merge in merges) if word not in set(words)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tokenizer


def write_pipeline(checkpoint: Path) -> None:
    """Write the scheduler and the index of a diffusers folder."""
    scheduler = DDIMScheduler(
        **BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading"
    )
    scheduler.save_pretrained(checkpoint / "scheduler")
    parts = {
        "_class_name": "StableDiffusionImg2ImgPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (checkpoint / "model_index.json").write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")


def half_rounded(network: nn.Module) -> nn.Module:
    """Round the weights to what float16 can hold; they stay float32."""
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(value.half().float())
    return network.eval()


def run_stages(stages: Iterator[Stage], only: Collection[str] | None = None) -> None:
    """Carry out the stages that are not done, or of those that ``only`` names; print how long each took."""
    for name, done, run in stages:
        if only is not None and name not in only:
            continue
        if done.exists():
            print(f"{name}: done before", flush=True)
            continue
        started = time.monotonic()
        run()
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
