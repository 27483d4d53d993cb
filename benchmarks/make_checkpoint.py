"""Write a Stable Diffusion checkpoint of full size with random weights: for measuring, where RoentGen's may not go.

    pip install -e '.[export]' && pip install --no-deps clip-anytorch
    python benchmarks/make_checkpoint.py sd1 FOLDER     # Stable Diffusion 1.4, as RoentGen: 4.3 GB
    python benchmarks/make_checkpoint.py sd2 FOLDER     # Stable Diffusion 2.1-base, as RoentGen-v2: 5.2 GB

Shapes and vocabulary are the real ones, and so are the costs. The weights come from a fixed seed and depend on the
versions of the ``export`` extra alone. Attention to the prompt is scaled up from its usual start, or else it would not
show in the image.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

LAYOUTS = ("sd1", "sd2")
START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 77
LONGEST_SHARD = "20GB"  # one file a network


def make_checkpoint(layout: str, folder: Path, seed: int = 0) -> None:
    """Write a checkpoint of ``layout`` (one of :data:`LAYOUTS`) into ``folder``; one network is in memory at a time."""
    second = layout == "sd2"
    folder.mkdir(parents=True)
    write_tokenizer(folder / "tokenizer", pad="!" if second else END)
    for number, (name, make) in enumerate((("text_encoder", text_encoder), ("unet", unet), ("vae", vae))):
        torch.manual_seed(seed + number)
        make(second).save_pretrained(folder / name, max_shard_size=LONGEST_SHARD)
        gc.collect()
    name_as_published(folder / "text_encoder" / "model.safetensors")
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    )
    scheduler.save_pretrained(folder / "scheduler")
    parts = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")


def text_encoder(second: bool) -> torch.nn.Module:
    """CLIP ViT-L/14's, or OpenCLIP ViT-H/14's without its last layer, as Stable Diffusion 2 uses it."""
    shape: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    if second:
        shape = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23}
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            num_attention_heads=16 if second else 12,
            max_position_embeddings=MAX_TOKENS,
            hidden_act="gelu" if second else "quick_gelu",
            projection_dim=512 if second else 768,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=0 if second else 49407,
            **shape,
        )
    ).eval()


def name_as_published(path: Path) -> None:
    """Name the text encoder's weights as checkpoints in the field do: transformers 5 leaves their prefix out.

    Without it older releases draw the weights anew, and stable-diffusion.cpp does not find them.
    """
    weights = load_file(path)
    save_file({f"text_model.{name}": weight for name, weight in weights.items()}, path, metadata={"format": "pt"})


def unet(second: bool) -> torch.nn.Module:
    """860 million parameters, or 866."""
    heads: dict[str, Any] = {"attention_head_dim": 8, "cross_attention_dim": 768}
    if second:
        heads = {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "use_linear_projection": True}
    network = UNet2DConditionModel(
        sample_size=64,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        **heads,
    ).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".attn2.to_out.0.weight"):
                parameter.mul_(4.0)
    return network


def vae(second: bool) -> torch.nn.Module:
    """The same 84 million parameters in both."""
    return AutoencoderKL(
        sample_size=768 if second else 512,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.18215,
    ).eval()


def write_tokenizer(folder: Path, pad: str) -> None:
    """Write CLIP's tokenizer as checkpoints in the field hold it: vocab.json, merges.txt and its settings."""
    package = importlib.util.find_spec("clip")
    if package is None or package.origin is None:
        raise SystemExit("CLIP's vocabulary is not here: pip install --no-deps clip-anytorch")
    text = gzip.decompress((Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode()
    merges = text.split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    letters += [chr(256 + number) for number in range(256 - len(letters))]
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    vocabulary = {word: number for number, word in enumerate([*words, START, END])}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    settings = {
        "bos_token": START,
        "eos_token": END,
        "pad_token": pad,
        "unk_token": END,
        "model_max_length": MAX_TOKENS,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("folder", type=Path, help="must not exist")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.folder.exists():
        raise SystemExit(f"{args.folder}: exists: name a new folder")
    make_checkpoint(args.layout, args.folder, args.seed)
    print(args.folder)


if __name__ == "__main__":
    main()
