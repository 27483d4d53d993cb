"""The autoencoder of cxr-mini: its shape, its training on films and phantoms, and how well it carries a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .films import SIZE
from .learning import half_rounded, train

FACTOR = 8


def make_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=SIZE,
        block_out_channels=(16, 32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
    )


def gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the pictures' horizontal and vertical gradients."""
    d = a - b
    return (d[..., 1:, :] - d[..., :-1, :]).abs().mean() + (d[..., :, 1:] - d[..., :, :-1]).abs().mean()


def augment(picture: NDArray[np.float32], edge: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut ``edge`` pixels a side out of a picture and vary them: mirror, gamma, contrast. float32 in [0, 1]."""
    top, left = rng.integers(0, picture.shape[0] - edge + 1, 2)
    part = picture[top : top + edge, left : left + edge]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.5:
        part = part ** np.float32(math.exp(rng.uniform(-0.4, 0.4)))
    if rng.random() < 0.3:
        low = rng.uniform(0, 0.15)
        part = low + part * rng.uniform(0.75, 1.0 - low)
    return np.ascontiguousarray(part, dtype=np.float32)


def to_network(pictures: NDArray[np.float32], device: torch.device) -> Tensor:
    """Bring pictures (n, h, w) in [0, 1] to what the encoder takes, (n, 3, h, w) in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32)).to(device)[:, None] * 2 - 1
    return x.expand(-1, 3, -1, -1).contiguous()


def train_autoencoder(
    films: NDArray[np.uint8],
    phantoms: NDArray[np.uint8],
    work: Path,
    device: torch.device,
    *,
    steps: int,
    batch: int = 8,
    crop: int = 128,
    whole_steps: int = 60,
    rate: float = 2e-3,
    seed: int = 0,
) -> AutoencoderKL:
    """Train on films and a fifth of phantoms: L1 on the picture and on its gradients, a little KL.

    Crops first, since a small network gains more from many steps than from many pixels a step; whole pictures last.
    """
    torch.manual_seed(seed)
    network = make_autoencoder().to(device)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 11, step])
        whole = step >= steps - whole_steps
        chosen = [
            phantoms[rng.integers(len(phantoms))] if rng.random() < 0.2 else films[rng.integers(len(films))]
            for _ in range(batch)
        ]
        edge = SIZE if whole else crop
        x = to_network(np.stack([augment(one.astype(np.float32) / 255, edge, rng) for one in chosen]), device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            posterior = network.encode(x).latent_dist
            y = network.decode(posterior.sample()).sample
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        y = y.float()
        return F.l1_loss(y, x) + gradient_l1(y, x) + F.mse_loss(y, x) + 1e-4 * kl

    weights = train("autoencoder", network, loss_of, work, steps=steps, peak=rate, decay=0.99)
    network.load_state_dict(weights)
    half_rounded(network)
    return network


@torch.no_grad()
def encode(network: nn.Module, pictures: NDArray[np.uint8], device: torch.device) -> NDArray[np.float16]:
    """Encode pictures to latent means and standard deviations: float16 (count, 8, 32, 32), not scaled."""
    result = np.empty((len(pictures), 8, SIZE // FACTOR, SIZE // FACTOR), dtype=np.float16)
    for start in range(0, len(pictures), 32):
        x = to_network(pictures[start : start + 32].astype(np.float32) / 255, device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            posterior = network.encode(x).latent_dist
        result[start : start + 32] = torch.cat([posterior.mean, posterior.std], 1).float().cpu().numpy()
    return result


@torch.no_grad()
def carried(network: nn.Module, pictures: NDArray[np.uint8], device: torch.device) -> NDArray[np.float64]:
    """Return the PSNR in dB of each picture that passes through the autoencoder and back."""
    result = []
    for one in pictures:
        x = to_network(one[None].astype(np.float32) / 255, device)
        y = network.decode(network.encode(x).latent_dist.mode()).sample.mean(1).clamp(-1, 1)
        result.append(-10 * math.log10(float(((y - x[:, 0]) / 2).square().mean())))
    return np.array(result)
