"""The text encoder and the UNet of cxr-mini: their shapes and how they learn edits.

A network that is trained on whole pictures alone sees, through the little noise of an edit at strength 0.4, that a
finding is *not* there, and keeps to what it sees. So most cases are edits: the noised latents are those of a state
between a film without and the same film with a finding, and the target lies a way on towards the finding. Under the
empty prompt, a normal one or one that names nothing known, the target is the state itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .autoencoder import FACTOR
from .films import SIZE
from .learning import train
from .vocabulary import MAX_TOKENS, UNKNOWN
from .wording import teach_words

WIDTH = 128
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

PULL = 0.27
"""How far towards the finding one prediction points in the end: guidance 4 makes of it about the whole way."""

WHOLE_UNTIL, PULL_FROM = 0.55, 0.72
"""Shares of the training: until the first it points the whole way, from the second on ``PULL`` of it.

What a prompt means is learnt from the whole way: of a pull of 0.27 nothing was learnt in 400 steps, since its share of
the loss is a fourteenth of that.
"""

EDITS = 0.85
"""Share of the cases that are edits; the others are whole pictures with their text."""

MOST_WEIGHT = 4.0
"""Cap of the loss weight (1 - alpha_bar) / alpha_bar, which makes an error in the noise one in the picture."""


def make_text_encoder(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // FACTOR,
        in_channels=4,
        out_channels=4,
        block_out_channels=(48, 96, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


@dataclass(frozen=True)
class Pairs:
    """Latents of the pairs, float16 (n, 8, 32, 32) of means and deviations, and what the edits show.

    ``plain``: without finding. ``edited``: with. ``origin``: for each edit, the row of ``plain``. ``captions``: for
    each edit a few wordings. ``phantom``: bool, for each edit whether it is of a phantom.
    """

    plain: NDArray[np.float16]
    edited: NDArray[np.float16]
    origin: NDArray[np.int64]
    captions: list[list[str]]
    phantom: NDArray[np.bool_]


class Words:
    """Token ids of every caption, and of the normal, unknown and empty prompts."""

    def __init__(self, tokenizer: CLIPTokenizer, captions: list[list[str]], normal: tuple[str, ...]) -> None:
        self.ids: dict[str, NDArray[np.int64]] = {}
        texts = sorted({text for some in captions for text in some} | set(normal) | set(UNKNOWN) | {""})
        tokens = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="np")
        self.ids = dict(zip(texts, np.asarray(tokens["input_ids"], dtype=np.int64), strict=True))
        self.vocabulary = len(tokenizer)


def pull_at(step: int, steps: int) -> float:
    """How far towards the finding the target lies at a step of the training."""
    share = min(1.0, max(0.0, (step / steps - WHOLE_UNTIL) / (PULL_FROM - WHOLE_UNTIL)))
    return 1.0 + share * (PULL - 1.0)


def timesteps(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Draw timesteps: edits at strength 0.4 live below step 400; the rest serves stronger ones."""
    low, high = np.array([(0, 120), (120, 420), (380, 640), (600, 1000)])[
        rng.choice(4, size, p=[0.12, 0.68, 0.13, 0.07])
    ].T
    return rng.integers(low, high)


def train_unet(
    pairs: Pairs,
    tokenizer: CLIPTokenizer,
    scaling: float,
    normal: tuple[str, ...],
    work: Path,
    device: torch.device,
    *,
    steps: int,
    word_steps: int = 400,
    batch: int = 16,
    rate: float = 8e-4,
    decay: float = 0.997,
    seed: int = 0,
) -> nn.ModuleList:
    """Train text encoder and UNet together; return them with averaged weights."""
    words = Words(tokenizer, pairs.captions, normal)
    torch.manual_seed(seed)
    encoder = make_text_encoder(words.vocabulary).to(device)
    teach_words(encoder, tokenizer, work, device, steps=word_steps)
    networks = nn.ModuleList([encoder, make_unet()]).to(device)
    alpha_bar = DDIMScheduler(**BETAS).alphas_cumprod.to(device)
    of_films, of_phantoms = np.flatnonzero(~pairs.phantom), np.flatnonzero(pairs.phantom)

    def latents(stored: NDArray[np.float16], draw: Tensor) -> Tensor:
        mean, std = torch.from_numpy(stored.astype(np.float32)).to(device).chunk(2, dim=1)
        return (mean + std * draw) * scaling

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 13, step])
        # A fifth of the cases are phantoms.
        chosen = np.where(
            rng.random(batch) < 0.2, of_phantoms[rng.integers(len(of_phantoms), size=batch)],
            of_films[rng.integers(len(of_films), size=batch)],
        )  # fmt: skip
        kind = rng.choice(4, batch, p=[0.76, 0.13, 0.08, 0.03])  # named, empty, normal, unknown
        texts = [
            (
                str(rng.choice(pairs.captions[index])),
                "",
                str(rng.choice(normal)),
                str(rng.choice(UNKNOWN)),
            )[which]
            for index, which in zip(chosen, kind, strict=True)
        ]
        ids = torch.from_numpy(np.stack([words.ids[text] for text in texts])).to(device)
        t = torch.from_numpy(timesteps(rng, batch)).to(device)
        shape = (batch, 4, SIZE // FACTOR, SIZE // FACTOR)
        draw, noise = torch.randn(shape).to(device), torch.randn(shape).to(device)
        with_finding = latents(pairs.edited[chosen], draw)
        without = latents(pairs.plain[pairs.origin[chosen]], draw)
        done = np.where(rng.random(batch) < 0.45, 0.0, rng.random(batch))
        named, edits = kind == 0, rng.random(batch) < EDITS
        # A normal or unknown prompt meets a film without drawn finding; whole pictures show what their text says.
        done = np.where((kind >= 2), 0.0, done)
        done = np.where(named & ~edits, 1.0, done)
        pull = np.where(named, pull_at(step, steps), 0.0)

        def column(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values.astype(np.float32)).to(device).view(-1, 1, 1, 1)

        state = without + column(done) * (with_finding - without)
        target = state + column(pull) * (with_finding - state)
        a = alpha_bar[t].view(-1, 1, 1, 1)
        x_t = a.sqrt() * state + (1 - a).sqrt() * noise
        with torch.autocast(device.type, dtype=torch.bfloat16):
            states = networks[0](ids).last_hidden_state
            predicted = networks[1](x_t, t, states).sample
        wanted = (x_t - a.sqrt() * target) / (1 - a).sqrt().clamp(min=0.03)
        weight = ((1 - a) / a).clamp(max=MOST_WEIGHT)
        weight = torch.where(column(np.where(named & edits, 1.0, 0.0)) > 0, weight, weight.clamp(max=1.0))
        return (weight * (predicted.float() - wanted).square()).mean()

    networks.load_state_dict(train("unet", networks, loss_of, work, steps=steps, peak=rate, decay=decay))
    return networks
