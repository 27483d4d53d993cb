"""The autoencoder of cxr-mini: its shape, its training on films and phantoms, and how well it carries a image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from roentmod_fast_engines import small_diffusion
from roentmod_fast_engines.small_diffusion import FACTOR, half_rounded

from .films import SIZE
from .learning import Length, train

KL = 3e-5
"""Weight of the KL term: enough that latents stay near a unit deviation, too little to blur the image."""


def make_autoencoder() -> AutoencoderKL:
    return small_diffusion.make_autoencoder((24, 48, 96, 128))


def gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the images' horizontal and vertical gradients."""
    d = a - b
    return (d[..., 1:, :] - d[..., :-1, :]).abs().mean() + (d[..., :, 1:] - d[..., :, :-1]).abs().mean()


def to_network(images: NDArray[np.float32], device: torch.device) -> Tensor:
    """Bring images (n, h, w) in [0, 1] to what the encoder takes, (n, 3, h, w) in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(device)[:, None] * 2 - 1
    return x.expand(-1, 3, -1, -1).contiguous()


def cut(images: Tensor, count: int, edge: int) -> Tensor:
    """Cut ``edge`` pixels a side out of ``count`` of the images, uint8 (n, SIZE, SIZE), and vary them.

    Mirror, gamma, contrast. Returns float32 (count, 1, edge, edge) in [0, 1].
    """
    device = images.device

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, device=device)

    def some(share: float) -> Tensor:
        return torch.rand(count, 1, 1, device=device) < share

    chosen = torch.randint(len(images), (count, 1, 1), device=device)
    corner = torch.randint(images.shape[1] - edge + 1, (2, count, 1), device=device)
    along = torch.arange(edge, device=device)
    rows, columns = corner[0] + along, corner[1] + along
    part = images[chosen, rows[:, :, None], columns[:, None, :]].float() / 255
    part = torch.where(some(0.5), part.flip(2), part)
    part = torch.where(some(0.5), part ** torch.exp(draw(-0.4, 0.4)), part)
    low = draw(0, 0.15)
    part = torch.where(some(0.3), low + part * (0.75 + (0.25 - low) * torch.rand_like(low)), part)
    return part[:, None]


def train_autoencoder(
    films: NDArray[np.uint8],
    phantoms: NDArray[np.uint8],
    work: Path,
    device: torch.device,
    length: Length,
    *,
    crop: int = 128,
    rate: float = 2e-3,
    seed: int = 0,
) -> AutoencoderKL:
    """Train on films and a fifth of phantoms: L1 on the image and on its gradients, a little KL.

    Crops first, since a small network gains more from many steps than from many pixels a step; whole images in
    every tenth step, a quarter as many.
    """
    torch.manual_seed(seed)
    network = make_autoencoder().to(device)
    real, drawn = torch.from_numpy(films).to(device), torch.from_numpy(phantoms).to(device)

    def loss_of(step: int) -> Tensor:
        whole = step % 10 == 9
        count, edge = (max(2, length.batch // 4), SIZE) if whole else (length.batch, crop)
        few = max(1, count // 5)
        x = torch.cat([cut(real, count - few, edge), cut(drawn, few, edge)]) * 2 - 1
        x = x.expand(-1, 3, -1, -1).contiguous()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            posterior = network.encode(x).latent_dist
            y = network.decode(posterior.sample()).sample
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        y = y.float()
        return F.l1_loss(y, x) + gradient_l1(y, x) + F.mse_loss(y, x) + KL * kl

    network.load_state_dict(train("autoencoder", network, loss_of, work, length, peak=rate, decay=0.998))
    half_rounded(network)
    return network


@torch.no_grad()
def encode(network: nn.Module, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float16]:
    """Encode images to latent means and standard deviations: float16 (count, 8, 32, 32), not scaled."""
    result = np.empty((len(images), 8, SIZE // FACTOR, SIZE // FACTOR), dtype=np.float16)
    for start in range(0, len(images), 32):
        x = to_network(images[start : start + 32].astype(np.float32) / 255, device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            posterior = network.encode(x).latent_dist
        result[start : start + 32] = torch.cat([posterior.mean, posterior.std], 1).float().cpu().numpy()
    return result


@torch.no_grad()
def carried(network: nn.Module, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float64]:
    """Return the PSNR in dB of each image that passes through the autoencoder and back."""
    result = []
    for one in images:
        x = to_network(one[None].astype(np.float32) / 255, device)
        y = network.decode(network.encode(x).latent_dist.mode()).sample.mean(1).clamp(-1, 1)
        result.append(-10 * math.log10(float(((y - x[:, 0]) / 2).square().mean())))
    return np.array(result)
