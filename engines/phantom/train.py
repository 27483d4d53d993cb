"""The recipe of the phantom engine: draw radiographs, train the four networks, write a Stable Diffusion folder.

    python -m roentmod_fast_engines.phantom.train WORK            # everything, hours on two cores
    python -m roentmod_fast_engines.phantom.train WORK --quick    # a few steps of everything, a minute

Needs the ``export`` extra. Each stage writes into WORK and a stage that is done is not done again; the two trainings
continue from their last checkpoint, so the same command resumes a run that was killed. Every random draw comes from a
seed and the step number alone, so a resumed run sees what an unbroken one would have seen.

Stages: ``tokenizer`` (a small byte-level BPE in CLIP's format), ``images`` (drawn phantoms, and textures for the
autoencoder), ``autoencoder``, ``latents``, ``unet`` (with the text encoder; the saved weights are a moving average),
``pairs`` (the same patients without findings), ``edits`` (from one to the other; see ``train_edits``), ``checkpoint``
(a diffusers folder, which ``roentmod-fast export`` turns into the bundle beside this file).

The weights are rounded to half precision in the checkpoint, so that a bundle that stores halves loses nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from roentmod_fast import phantom
from roentmod_fast.findings import FINDINGS, NORMAL_PROMPT
from roentmod_fast_engines import small_diffusion
from roentmod_fast_engines.small_diffusion import BETAS, FACTOR, MAX_TOKENS, SIZE, Stage, half_rounded

FIRST_TRAINING_SEED = 100_000
"""Phantoms below this seed are never trained on: measurements use them."""


@dataclass(frozen=True)
class Plan:
    """How much of everything: images drawn, steps and batch sizes of both trainings."""

    images: int = 8000
    autoencoder_images: int = 2400
    autoencoder_steps: int = 1700
    autoencoder_batch: int = 8
    autoencoder_crop: int = 128
    autoencoder_whole_steps: int = 60
    autoencoder_rate: float = 1.6e-3
    unet_steps: int = 1900
    unet_batch: int = 24
    unet_rate: float = 6e-4
    ema: float = 0.998
    pairs: int = 3000
    edit_steps: int = 750
    edit_rate: float = 4e-4
    edit_ema: float = 0.99
    checkpoint_every: int = 100
    seed: int = 0


QUICK = Plan(
    images=12,
    autoencoder_images=8,
    autoencoder_steps=2,
    autoencoder_batch=2,
    autoencoder_whole_steps=1,
    unet_steps=2,
    unet_batch=4,
    pairs=6,
    edit_steps=2,
    checkpoint_every=1,
)


# --- words -----------------------------------------------------------------------------------------------------------

NORMAL_WORDINGS = (
    NORMAL_PROMPT,
    NORMAL_PROMPT,
    "normal chest radiograph",
    "no acute cardiopulmonary abnormality",
    "clear lungs",
    "no finding",
)
SEVERITY_AND_FRAME = (
    "{}",
    "{}",
    "{}",
    "{}.",
    "chest x-ray with {}",
    "frontal chest radiograph showing {}",
    "there is {}",
)
JOINS = ("{} and {}", "{}, {}", "{} with {}")

VOCABULARY_TEXTS = (
    "frontal chest radiograph pa ap portable view of the chest",
    "small moderate large mild severe bilateral left right upper middle lower lobe base apex",
    "pleural effusion pulmonary edema pneumonia cardiomegaly hiatal hernia lung mass nodule consolidation",
    "pneumothorax atelectasis emphysema opacity interstitial fracture pacemaker catheter tube normal heart size",
    "no evidence of acute cardiopulmonary process abnormality the lungs are clear enlarged cardiac silhouette",
)


def caption(keys: tuple[str, ...], rng: np.random.Generator) -> str:
    """Say what a phantom with these findings shows, in one of several wordings."""
    if not keys:
        return str(rng.choice(NORMAL_WORDINGS))
    # The paper's own prompt is the most frequent wording.
    says = [
        finding.prompt if rng.random() < 0.5 else str(rng.choice(finding.wordings))
        for finding in FINDINGS
        if finding.key in keys
    ]
    rng.shuffle(says)
    phrase = says[0] if len(says) == 1 else str(rng.choice(JOINS)).format(*says)
    return str(rng.choice(SEVERITY_AND_FRAME)).format(phrase)


def choose_findings(rng: np.random.Generator) -> tuple[str, ...]:
    """Choose none (22 %), one (62 %) or two (16 %) findings."""
    count = int(rng.choice([0, 1, 2], p=[0.22, 0.62, 0.16]))
    return tuple(str(key) for key in rng.choice([finding.key for finding in FINDINGS], size=count, replace=False))


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Train a byte-level BPE on captions and radiology words; write and return it in CLIP's format."""
    rng = np.random.default_rng(1)
    texts = [caption(choose_findings(rng), rng) for _ in range(4000)] + list(VOCABULARY_TEXTS) * 200
    return small_diffusion.make_tokenizer(folder, texts, 900)


# --- images --------------------------------------------------------------------------------------------------------


def draw_images(count: int, first_seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Draw ``count`` phantoms with findings: uint8 (count, 256, 256) and a caption each."""
    images = np.empty((count, SIZE, SIZE), dtype=np.uint8)
    captions = []
    for index in range(count):
        seed = first_seed + index
        rng = np.random.default_rng([seed, 7])
        keys = choose_findings(rng)
        images[index] = np.round(phantom.draw(SIZE, seed, keys).image * 255)
        captions.append(caption(keys, rng))
    return images, captions


def draw_textures(count: int, seed: int) -> NDArray[np.uint8]:
    """Draw images that are no phantoms, uint8 (count, 256, 256): clouds of every roughness, edges, lines, letters.

    They teach the autoencoder to carry what real radiographs have and phantoms have not.
    """
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
    frequency[0, 0] = 1
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    result = np.empty((count, SIZE, SIZE), dtype=np.uint8)
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        spectrum = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
        cloud = np.fft.irfft2(spectrum / frequency ** rng.uniform(1.2, 2.6), s=(SIZE, SIZE))
        image = (cloud - cloud.mean()) / (cloud.std() + 1e-9) * rng.uniform(0.05, 0.3) + rng.uniform(0.2, 0.8)
        for _ in range(int(rng.integers(0, 14))):  # soft and hard discs, half planes, bars
            turn, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.9, 0.9)
            across = x * np.cos(turn) + y * np.sin(turn) - offset
            along = y * np.cos(turn) - x * np.sin(turn)
            soft, kind = rng.uniform(0.004, 0.08), int(rng.integers(0, 4))
            if kind == 0:
                distance = across
            elif kind == 1:
                distance = np.hypot(across, along - rng.uniform(-0.5, 0.5)) - rng.uniform(0.02, 0.4)
            elif kind == 2:
                distance = np.abs(across + rng.uniform(-0.5, 0.5) * along * along) - rng.uniform(0.002, 0.04)
            else:
                distance = np.maximum(np.abs(across) - 0.03, np.abs(along) - rng.uniform(0.01, 0.06))
            image += rng.uniform(-0.3, 0.3) / (1 + np.exp(np.clip(distance / soft, -30, 30)))
        result[index] = np.round(np.clip(image, 0, 1) * 255)
    return result


def augment(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary an image for the autoencoder: mirror, turn, zoom in, gamma, contrast. float32 (n, n) in [0, 1]."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    if rng.random() < 0.15:
        image = np.rot90(image, int(rng.integers(1, 4)))
    if rng.random() < 0.3:  # zoom in: sharp pixels become smooth, large shapes fill the image
        size = image.shape[0]
        part = torch.from_numpy(np.ascontiguousarray(crop(image, int(rng.integers(size // 2, size)), rng)))
        image = F.interpolate(part[None, None], (size, size), mode="bilinear", align_corners=False)[0, 0].numpy()
    if rng.random() < 0.6:
        image = image ** np.float32(math.exp(rng.uniform(-0.7, 0.7)))
    if rng.random() < 0.3:
        image = image * rng.uniform(0.5, 1.0) + rng.uniform(0, 0.3)
    if rng.random() < 0.08:
        image = 1 - image
    return np.clip(image, 0, 1).astype(np.float32)


def crop(image: NDArray[np.float32], edge: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut a square of ``edge`` pixels out of an image, at random."""
    top, left = rng.integers(0, image.shape[0] - edge + 1, 2)
    return image[top : top + edge, left : left + edge]


# --- networks --------------------------------------------------------------------------------------------------------


def make_autoencoder() -> AutoencoderKL:
    return small_diffusion.make_autoencoder((16, 32, 64, 64))


def make_text_encoder(vocabulary: int) -> CLIPTextModel:
    return small_diffusion.make_text_encoder(vocabulary, layers=3)


def make_unet() -> UNet2DConditionModel:
    return small_diffusion.make_unet((64, 96, 128))


# --- training --------------------------------------------------------------------------------------------------------


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rate_at(step: int, steps: int, peak: float) -> float:
    """Learning rate: a linear warm-up over the first 4 %, then half a cosine down to 2 % of the peak."""
    warm = max(1, steps // 25)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


class Average:
    """A moving average of weights, with the usual shorter memory at the start."""

    def __init__(self, networks: nn.ModuleList, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in networks.state_dict().items()}

    @torch.no_grad()
    def update(self, networks: nn.ModuleList, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in networks.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)


def train(
    name: str,
    networks: nn.ModuleList,
    loss_of: Callable[[int], Tensor],
    work: Path,
    *,
    steps: int,
    peak: float,
    decay: float,
    every: int,
) -> dict[str, Tensor]:
    """Train ``networks`` to lower ``loss_of(step)``; return the averaged weights. Resumes from ``work/name.pt``."""
    optimizer = torch.optim.AdamW(networks.parameters(), lr=peak, weight_decay=1e-4, betas=(0.9, 0.99))
    average = Average(networks, decay)
    saved, first = work / f"{name}.pt", 0
    if saved.exists():
        state = torch.load(saved, map_location=device(), weights_only=True)
        networks.load_state_dict(state["networks"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, first = state["average"], state["step"]
    started, total, seen = time.monotonic(), 0.0, 0
    networks.train()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, peak)
        torch.manual_seed(step)  # every draw below depends on the step alone, so a resumed run repeats it
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimizer.step()
        average.update(networks, step)
        total, seen = total + float(loss.detach()), seen + 1
        if (step + 1) % every == 0 or step + 1 == steps:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"{name}: step {step + 1}/{steps}, loss {total / seen:.4f}, {pace:.2f} s a step", flush=True)
            total, seen = 0.0, 0
            state = {
                "networks": networks.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.weights,
                "step": step + 1,
            }
            torch.save(state, saved.with_suffix(".tmp"))
            saved.with_suffix(".tmp").replace(saved)
    return average.weights


def gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the images' horizontal and vertical gradients."""
    d = a - b
    return (d[..., 1:, :] - d[..., :-1, :]).abs().mean() + (d[..., :, 1:] - d[..., :, :-1]).abs().mean()


def train_autoencoder(plan: Plan, work: Path) -> AutoencoderKL:
    """Train the autoencoder on augmented phantoms and textures: L1 on the image and on its gradients, a little KL.

    Crops first, since a small network gains more from many steps than from many pixels a step; whole images last.
    """
    images = np.load(work / "autoencoder-images.npy", mmap_mode="r")
    torch.manual_seed(plan.seed)
    network = make_autoencoder().to(device(), memory_format=torch.channels_last)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([plan.seed, 11, step])
        chosen = rng.integers(0, len(images), plan.autoencoder_batch)
        edge = SIZE if step >= plan.autoencoder_steps - plan.autoencoder_whole_steps else plan.autoencoder_crop
        batch = np.stack([augment(crop(images[i].astype(np.float32) / 255, edge, rng), rng) for i in chosen])
        x = torch.from_numpy(batch).to(device())[:, None].expand(-1, 3, -1, -1) * 2 - 1
        with torch.autocast(device().type, dtype=torch.bfloat16):
            posterior = network.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist
            y = network.decode(posterior.sample()).sample
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        y = y.float()
        return F.l1_loss(y, x) + gradient_l1(y, x) + 1e-4 * kl

    weights = train(
        "autoencoder",
        nn.ModuleList([network]),
        loss_of,
        work,
        steps=plan.autoencoder_steps,
        peak=plan.autoencoder_rate,
        decay=0.99,
        every=plan.checkpoint_every,
    )
    network.load_state_dict({name.removeprefix("0."): value for name, value in weights.items()})
    return half_rounded(network)


@torch.no_grad()
def encode_images(network: AutoencoderKL, images: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Encode images to latent means and standard deviations, float16 (count, 8, 32, 32), unscaled."""
    result = np.empty((len(images), 8, SIZE // FACTOR, SIZE // FACTOR), dtype=np.float16)
    for start in range(0, len(images), 16):
        x = torch.from_numpy(images[start : start + 16].astype(np.float32) / 255).to(device())
        x = (x[:, None].expand(-1, 3, -1, -1) * 2 - 1).contiguous(memory_format=torch.channels_last)
        posterior = network.encode(x).latent_dist
        result[start : start + 16] = torch.cat([posterior.mean, posterior.std], 1).cpu().numpy()
    return result


@dataclass(frozen=True)
class Batch:
    """What one step of the UNet's training draws: timesteps (n,), tokens (n, 77), which are ``empty``, normal draws."""

    chosen: NDArray[np.int64]
    t: Tensor
    words: Tensor
    empty: Tensor
    draw: Tensor
    noise: Tensor


class Captions:
    """Tokenised captions, and batches drawn from them: the empty prompt in 12 % of the cases."""

    def __init__(self, work: Path) -> None:
        captions = json.loads((work / "captions.json").read_text(encoding="utf-8"))
        tokenizer = CLIPTokenizer.from_pretrained(work / "checkpoint" / "tokenizer")
        tokens = tokenizer(
            [*captions, ""], padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="np"
        )
        self.ids = torch.from_numpy(np.asarray(tokens["input_ids"], dtype=np.int64))
        self.count = len(captions)
        self.vocabulary = len(tokenizer)

    def batch(self, rng: np.random.Generator, size: int, first: int) -> Batch:
        """Draw a batch from the ``first`` captions. Edits at strength 0.4 live below step 400; the rest of the steps
        serves stronger ones."""
        chosen = rng.integers(0, first, size)
        low, high = np.array([(0, 420), (300, 620), (600, 1000)])[rng.choice(3, size, p=[0.7, 0.18, 0.12])].T
        empty = rng.random(size) < 0.12
        shape = (size, 4, SIZE // FACTOR, SIZE // FACTOR)
        return Batch(
            chosen,
            torch.from_numpy(rng.integers(low, high)).to(device()),
            self.ids[np.where(empty, self.count, chosen)].to(device()),
            torch.from_numpy(empty).to(device()),
            torch.randn(shape).to(device()),
            torch.randn(shape).to(device()),
        )


def draw_latents(stored: NDArray[np.float16], draw: Tensor, scaling: float) -> Tensor:
    """Sample stored latents, (n, 8, 32, 32) of means and deviations: scaled latents (n, 4, 32, 32)."""
    mean, std = torch.from_numpy(stored.astype(np.float32)).to(device()).chunk(2, dim=1)
    return (mean + std * draw) * scaling


def predict(networks: nn.ModuleList, x_t: Tensor, batch: Batch) -> Tensor:
    """Run text encoder and UNet; return the predicted noise, float32."""
    text, unet = networks
    with torch.autocast(device().type, dtype=torch.bfloat16):
        states = text(batch.words).last_hidden_state
        return unet(x_t.contiguous(memory_format=torch.channels_last), batch.t, states).sample.float()


def train_unet(plan: Plan, work: Path, scaling: float) -> nn.ModuleList:
    """Train text encoder and UNet together on stored latents to predict the noise."""
    latents = np.load(work / "latents.npy", mmap_mode="r")
    captions = Captions(work)
    torch.manual_seed(plan.seed)
    unet = make_unet().to(memory_format=torch.channels_last)
    networks = nn.ModuleList([make_text_encoder(captions.vocabulary), unet]).to(device())
    alpha_bar = DDIMScheduler(**BETAS).alphas_cumprod.to(device())

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([plan.seed, 13, step])
        batch = captions.batch(rng, plan.unet_batch, captions.count)
        x_0 = draw_latents(latents[batch.chosen], batch.draw, scaling)
        a = alpha_bar[batch.t][:, None, None, None]
        x_t = a.sqrt() * x_0 + (1 - a).sqrt() * batch.noise
        return F.mse_loss(predict(networks, x_t, batch), batch.noise)

    weights = train(
        "unet",
        networks,
        loss_of,
        work,
        steps=plan.unet_steps,
        peak=plan.unet_rate,
        decay=plan.ema,
        every=plan.checkpoint_every,
    )
    networks.load_state_dict(weights)
    return networks


EDIT_SHARE = 0.6
"""Share of the cases of the last training whose noised latents are not yet those of the image that is asked for."""

EDIT_PULL = 0.35
"""How far towards that image one prediction points. Guidance 4 makes of it about the whole way."""

EDIT_FIRST_STEP = 40
EDIT_SNR = 2.0


def train_edits(plan: Plan, work: Path, scaling: float, networks: nn.ModuleList) -> nn.ModuleList:
    """Teach text encoder and UNet to move a patient without a finding towards the same patient with it.

    A network that was trained on whole images alone becomes good at seeing, through the noise of an edit at strength
    0.4, that the finding is *not* there, and then keeps to what it sees rather than to the prompt. Here the same
    patient is known with and without the finding. So in a part of the cases the noised latents are those of a state
    between the two, and the target lies a way towards the finding; under the empty prompt the target is that state
    itself. The prediction stays one of noise: the one that leads from the noised state to the target.
    """
    latents, pairs = (np.load(work / name, mmap_mode="r") for name in ("latents.npy", "pairs.npy"))
    captions = Captions(work)
    alpha_bar = DDIMScheduler(**BETAS).alphas_cumprod.to(device())

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([plan.seed, 17, step])
        batch = captions.batch(rng, plan.unet_batch, len(pairs))
        wanted = draw_latents(latents[batch.chosen], batch.draw, scaling)
        without = draw_latents(pairs[batch.chosen], batch.draw, scaling)
        size = plan.unet_batch
        done = torch.from_numpy(np.where(rng.random(size) < 0.4, 0.0, rng.random(size))).float().to(device())
        edits = torch.from_numpy(rng.random(size) < EDIT_SHARE).to(device()) & (batch.t >= EDIT_FIRST_STEP)
        done = torch.where(edits, done, torch.ones_like(done))[:, None, None, None]
        pull = torch.where(batch.empty, 0.0, EDIT_PULL)[:, None, None, None]
        state = without + done * (wanted - without)
        target = state + pull * (wanted - state)
        a = alpha_bar[batch.t][:, None, None, None]
        x_t = a.sqrt() * state + (1 - a).sqrt() * batch.noise
        eps = (x_t - a.sqrt() * target) / (1 - a).sqrt()
        # Late steps divide by little noise: weigh their edits down (min-SNR, Hang et al. 2023).
        weight = torch.where(edits[:, None, None, None], (EDIT_SNR * (1 - a) / a).clamp(max=1), 1.0)
        return (weight * (predict(networks, x_t, batch) - eps).square()).mean()

    weights = train(
        "edits",
        networks,
        loss_of,
        work,
        steps=plan.edit_steps,
        peak=plan.edit_rate,
        decay=plan.edit_ema,
        every=plan.checkpoint_every,
    )
    networks.load_state_dict(weights)
    return networks


# --- stages ----------------------------------------------------------------------------------------------------------


def stages(plan: Plan, work: Path) -> Iterator[Stage]:
    """Yield each stage: its name, the file that says it is done, and what it does."""
    checkpoint = work / "checkpoint"

    def tokenizer() -> None:
        make_tokenizer(checkpoint / "tokenizer")

    def images() -> None:
        drawn, captions = draw_images(plan.images, FIRST_TRAINING_SEED)
        np.save(work / "images.npy", drawn)
        (work / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
        share = plan.autoencoder_images // 4
        np.save(
            work / "autoencoder-images.npy",
            np.concatenate([drawn[: plan.autoencoder_images - share], draw_textures(share, 17)]),
        )

    def autoencoder() -> None:
        train_autoencoder(plan, work).save_pretrained(checkpoint / "vae")

    def latents() -> None:
        network = AutoencoderKL.from_pretrained(checkpoint / "vae").to(device(), memory_format=torch.channels_last)
        encoded = encode_images(network, np.load(work / "images.npy", mmap_mode="r"))
        np.save(work / "latents.npy", encoded)
        scaling = round(float(1 / encoded[:1000, :4].astype(np.float32).std()), 5)
        network.register_to_config(scaling_factor=scaling)
        network.save_pretrained(checkpoint / "vae")
        (work / "latents.json").write_text(json.dumps({"scaling_factor": scaling}), encoding="utf-8")

    def scaling_factor() -> float:
        return float(json.loads((work / "latents.json").read_text(encoding="utf-8"))["scaling_factor"])

    def save(networks: nn.ModuleList, folder: Path) -> None:
        for network, name in zip(networks, ("text_encoder", "unet"), strict=True):
            half_rounded(network).save_pretrained(folder / name)

    def unet() -> None:
        save(train_unet(plan, work, scaling_factor()), work / "before-edits")

    def pairs() -> None:
        network = AutoencoderKL.from_pretrained(checkpoint / "vae").to(device(), memory_format=torch.channels_last)
        seeds = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + plan.pairs)
        drawn = np.stack([np.round(phantom.draw(SIZE, seed).image * 255).astype(np.uint8) for seed in seeds])
        np.save(work / "pairs.npy", encode_images(network, drawn))

    def edits() -> None:
        before = work / "before-edits"
        text = CLIPTextModel.from_pretrained(before / "text_encoder")
        network = UNet2DConditionModel.from_pretrained(before / "unet").to(memory_format=torch.channels_last)
        networks = nn.ModuleList([text, network]).to(device())
        save(train_edits(plan, work, scaling_factor(), networks), checkpoint)

    yield "tokenizer", checkpoint / "tokenizer" / "merges.txt", tokenizer
    yield "images", work / "autoencoder-images.npy", images
    yield "autoencoder", checkpoint / "vae" / "config.json", autoencoder
    yield "latents", work / "latents.json", latents
    yield "unet", work / "before-edits" / "unet" / "config.json", unet
    yield "pairs", work / "pairs.npy", pairs
    yield "edits", checkpoint / "unet" / "config.json", edits
    yield "checkpoint", checkpoint / "model_index.json", lambda: small_diffusion.write_pipeline(checkpoint)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for images, checkpoints and the result")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything, to see that it runs")
    parser.add_argument("--unet-steps", type=int, help=f"steps of the UNet's training (default {Plan.unet_steps})")
    args = parser.parse_args(arguments)
    plan = QUICK if args.quick else Plan()
    if args.unet_steps is not None:
        plan = replace(plan, unet_steps=args.unet_steps)
    args.work.mkdir(parents=True, exist_ok=True)
    small_diffusion.run_stages(stages(plan, args.work))
    print(args.work / "checkpoint")


if __name__ == "__main__":
    main()
