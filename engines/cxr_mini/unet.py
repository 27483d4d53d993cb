"""The text encoder and the UNet of cxr-mini: their shapes and how they learn edits.

A network that is trained on whole pictures alone sees, through the little noise of an edit at strength 0.4, that a
finding is *not* there, and keeps to what it sees. So the second training is of edits (:func:`train_edits`).
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

WIDTH = 128
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

PULL = 0.27
"""How far towards the finding one prediction points in the end: guidance 4 makes of it about the whole way."""

WHOLE_UNTIL, PULL_FROM = 0.75, 0.85
"""Shares of the training of edits: until the first it points the whole way, from the second on ``PULL`` of it.

What a text changes is 2 % of the prediction at a pull of 0.27, as much as one step of the training shakes it by: 600
steps of that left 95 % of the findings unexplained, as did 50 steps of the whole way.
"""

LEAST_ENERGY = 0.003
"""Mean square of a finding's latents below which its error counts no more: a mass has a tenth of an effusion's."""


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
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
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


def timesteps(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Draw timesteps: edits at strength 0.4 live below step 400; the rest serves stronger ones."""
    spans = np.array([(0, 120), (120, 420), (380, 640), (600, 1000)])
    low, high = spans[rng.choice(4, size, p=[0.12, 0.68, 0.13, 0.07])].T
    return rng.integers(low, high)


def pull_at(step: int, steps: int) -> float:
    """How far towards the finding a prediction points at a step of the training."""
    share = min(1.0, max(0.0, (step / steps - WHOLE_UNTIL) / (PULL_FROM - WHOLE_UNTIL)))
    return 1.0 + share * (PULL - 1.0)


class Course:
    """What both trainings share: the pairs as latents, the captions as tokens, the schedule."""

    def __init__(
        self, pairs: Pairs, tokenizer: CLIPTokenizer, scaling: float, normal: tuple[str, ...], device: torch.device
    ):
        self.pairs, self.scaling, self.normal, self.device = pairs, scaling, normal, device
        self.words = Words(tokenizer, pairs.captions, normal)
        self.alpha_bar = DDIMScheduler(**BETAS).alphas_cumprod.to(device)
        self.films, self.phantoms = np.flatnonzero(~pairs.phantom), np.flatnonzero(pairs.phantom)

    def choose(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Choose edits, a fifth of them of phantoms."""
        film = self.films[rng.integers(len(self.films), size=size)]
        drawn = self.phantoms[rng.integers(len(self.phantoms), size=size)]
        return np.where(rng.random(size) < 0.2, drawn, film)

    def latents(self, stored: NDArray[np.float16], draw: Tensor) -> Tensor:
        """Sample stored latents, scaled: float32 (n, 4, 32, 32)."""
        mean, std = torch.from_numpy(stored.astype(np.float32)).to(self.device).chunk(2, dim=1)
        return (mean + std * draw) * self.scaling

    def tokens(self, texts: list[str]) -> Tensor:
        return torch.from_numpy(np.stack([self.words.ids[text] for text in texts])).to(self.device)

    def noised(self, state: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noised state and alpha_bar, (n, 1, 1, 1)."""
        a = self.alpha_bar[t].view(-1, 1, 1, 1)
        return a.sqrt() * state + (1 - a).sqrt() * noise, a

    def column(self, values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self.device).view(-1, 1, 1, 1)

    def predict(self, networks: nn.ModuleList, x_t: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return networks[1](x_t, t, networks[0](ids).last_hidden_state).sample.float()


def train_unet(
    course: Course,
    networks: nn.ModuleList,
    work: Path,
    *,
    steps: int,
    batch: int = 16,
    rate: float = 8e-4,
    seed: int = 0,
) -> None:
    """Train text encoder and UNet on whole pictures and their text: predict the noise."""

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 13, step])
        chosen = course.choose(rng, batch)
        kind = rng.choice(3, batch, p=[0.6, 0.2, 0.2])  # with finding, without, empty prompt
        texts = [
            (str(rng.choice(course.pairs.captions[index])), str(rng.choice(course.normal)), "")[which]
            for index, which in zip(chosen, kind, strict=True)
        ]
        t = torch.from_numpy(timesteps(rng, batch)).to(course.device)
        shape = (batch, 4, SIZE // FACTOR, SIZE // FACTOR)
        draw, noise = torch.randn(shape).to(course.device), torch.randn(shape).to(course.device)
        with_finding = course.latents(course.pairs.edited[chosen], draw)
        without = course.latents(course.pairs.plain[course.pairs.origin[chosen]], draw)
        done = np.select([kind == 0, kind == 1], [1.0, 0.0], (rng.random(batch) < 0.6).astype(np.float64))
        x_t, _ = course.noised(without + course.column(done) * (with_finding - without), t, noise)
        return (course.predict(networks, x_t, t, course.tokens(texts)) - noise).square().mean()

    networks.load_state_dict(train("unet", networks, loss_of, work, steps=steps, peak=rate, decay=0.99))


def train_edits(
    course: Course,
    networks: nn.ModuleList,
    work: Path,
    *,
    steps: int,
    batch: int = 16,
    rate: float = 3e-4,
    seed: int = 0,
) -> None:
    """Teach what a text changes: the difference to the prediction under the empty prompt, which guidance multiplies.

    The noised latents are those of a state between a film without and with a finding. What the prompt is to change in
    the prediction leads a way on to the finding; it is added to what the network itself predicts under the empty
    prompt, not to the true noise: the error that both predictions share would drown it. A quarter of the batch keeps
    the prediction under the empty prompt what it was.
    """
    plain = batch // 4

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 17, step])
        chosen = course.choose(rng, batch)
        # The first cases have the empty prompt; the others a finding, or a text that is to change nothing.
        kind = np.where(np.arange(batch) < plain, 0, rng.choice([1, 2, 3], batch, p=[0.84, 0.10, 0.06]))
        texts = [
            (
                "",
                str(rng.choice(course.pairs.captions[index])),
                str(rng.choice(course.normal)),
                str(rng.choice(UNKNOWN)),
            )[which]
            for index, which in zip(chosen, kind, strict=True)
        ]
        t = torch.from_numpy(np.where(kind == 0, timesteps(rng, batch), rng.integers(20, 440, batch))).to(course.device)
        shape = (batch, 4, SIZE // FACTOR, SIZE // FACTOR)
        draw, noise = torch.randn(shape).to(course.device), torch.randn(shape).to(course.device)
        with_finding = course.latents(course.pairs.edited[chosen], draw)
        without = course.latents(course.pairs.plain[course.pairs.origin[chosen]], draw)
        done = np.where(rng.random(batch) < 0.5, 0.0, rng.random(batch))
        done = np.where(kind >= 2, 0.0, done)
        state = without + course.column(done) * (with_finding - without)
        pull = pull_at(step, steps)
        step_on = course.column(np.where(kind == 1, pull, 0.0)) * (with_finding - state)
        x_t, a = course.noised(state, t, noise)
        ids = course.tokens(texts)
        with torch.no_grad():
            calm = course.predict(networks, x_t[plain:], t[plain:], course.tokens([""] * (batch - plain)))
        predicted = course.predict(networks, x_t, t, ids)
        # In the picture: what the text changes in the prediction of x_0.
        a = a[plain:]
        made = (calm - predicted[plain:]) * ((1 - a) / a).sqrt()
        # The error as a share of the finding's own energy: small findings would drown in large ones and in the noise.
        energy = (with_finding - without)[plain:].square().mean((1, 2, 3)) + LEAST_ENERGY
        edits = ((made - step_on[plain:]).square().mean((1, 2, 3)) / (pull**2 * energy)).mean()
        return (predicted[:plain] - noise[:plain]).square().mean() + edits

    networks.load_state_dict(train("edits", networks, loss_of, work, steps=steps, peak=rate, decay=0.99))
