"""A small network that finds the lung fields of a film: a U-Net and its training.

Masks follow the hand-drawn ones of the Hannover films: both lungs with the part behind the heart, down to the lowest
visible edge. The network is a tool of the recipe and of the benchmark; the engine does not hold it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .films import SIZE
from .learning import Length, train

GRID = 160
"""The network sees films at this many pixels a side."""


class LungNet(nn.Module):
    """A U-Net of four levels: (n, 1, GRID, GRID) in [0, 1] to logits (n, 2, GRID, GRID), the right lung first."""

    def __init__(self, widths: tuple[int, ...] = (24, 40, 64, 80, 112)) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        before = 3
        for width in widths:
            self.down.append(_block(before, width))
            before = width
        self.up = nn.ModuleList(
            _block(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) / (x.std((2, 3), keepdim=True) + 1e-3)
        rows = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.linspace(-1, 1, w, device=x.device).view(1, 1, 1, w).expand(n, 1, h, w)
        x = torch.cat([x, rows, columns], 1)
        kept = []
        for index, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if index else x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, kept.pop()], 1))
        return self.head(x)


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.GroupNorm(8, after),
        nn.SiLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.GroupNorm(8, after),
        nn.SiLU(inplace=True),
    )


def _warp(x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Turn, zoom, shift and stretch films and masks alike; vary gamma, contrast, grain; cut a shutter in."""
    n, device = len(x), x.device

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, n).astype(np.float32)).to(device)

    turn, zoom, stretch = draw(-0.2, 0.2), draw(0.75, 1.25), draw(0.88, 1.12)
    theta = torch.stack(
        [
            torch.stack([torch.cos(turn) * zoom * stretch, -torch.sin(turn) * zoom, draw(-0.15, 0.15)], 1),
            torch.stack([torch.sin(turn) * zoom, torch.cos(turn) * zoom / stretch, draw(-0.15, 0.15)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 1, *x.shape[2:]], align_corners=False)
    bend = F.interpolate(torch.randn(n, 2, 5, 5, device=device) * 0.035, x.shape[2:], mode="bicubic")
    grid = grid + bend.permute(0, 2, 3, 1)
    x = F.grid_sample(x, grid, align_corners=False)
    y = F.grid_sample(y, grid, align_corners=False)
    gamma = torch.exp(draw(-0.6, 0.6)).view(-1, 1, 1, 1)
    x = x.clamp(0, 1) ** gamma * draw(0.6, 1.0).view(-1, 1, 1, 1) + draw(0, 0.2).view(-1, 1, 1, 1)
    shade = F.interpolate(torch.randn(n, 1, 4, 4, device=device) * 0.06, x.shape[2:], mode="bicubic")
    return x + shade + torch.randn_like(x) * draw(0, 0.03).view(-1, 1, 1, 1), y


def train_segmenter(
    name: str,
    images: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    weights: NDArray[np.float32],
    work: Path,
    device: torch.device,
    length: Length,
    *,
    rate: float = 2e-3,
    seed: int = 0,
    start: dict[str, Tensor] | None = None,
) -> LungNet:
    """Train on images uint8 (n, SIZE, SIZE) with masks bool (n, 2, SIZE, SIZE), drawn by their ``weights``."""
    torch.manual_seed(seed)
    network = LungNet().to(device)
    if start is not None:
        network.load_state_dict(start)
    share = weights.astype(np.float64) / weights.sum(dtype=np.float64)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 31, step])
        chosen = rng.choice(len(images), length.batch, p=share)
        x = torch.from_numpy(images[chosen].astype(np.float32) / 255).to(device)[:, None]
        y = torch.from_numpy(masks[chosen].astype(np.float32)).to(device)
        x, y = (F.interpolate(one, (GRID, GRID), mode="area") for one in (x, y))
        mirrored = torch.from_numpy(rng.random(length.batch) < 0.3).to(device).view(-1, 1, 1, 1)
        x, y = torch.where(mirrored, x.flip(3), x), torch.where(mirrored, y.flip(3).flip(1), y)
        x, y = _warp(x, y, rng)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = network(x)
        logits = logits.float()
        p = logits.sigmoid()
        dice = 1 - (2 * (p * y).sum((2, 3)) + 1) / (p.sum((2, 3)) + y.sum((2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(logits, y) + dice.mean()

    network.load_state_dict(train(name, network, loss_of, work, length, peak=rate, decay=0.995))
    return network.eval()


ZOOMS = (0.9, 1.0, 1.1)
"""Sizes at which a film is read. A film that is cut close to the lungs is read better with some room around it."""


@torch.no_grad()
def find_lungs(network: LungNet, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float16]:
    """Return the probability of each lung, float16 (n, 2, SIZE, SIZE): the mean over zooms and mirror images."""
    result = np.empty((len(images), 2, SIZE, SIZE), dtype=np.float16)
    for start in range(0, len(images), 16):
        x = torch.from_numpy(images[start : start + 16].astype(np.float32) / 255).to(device)[:, None]
        x = F.interpolate(x, (GRID, GRID), mode="area")
        readings = [_zoomed(_read_twice(network, _zoomed(x, zoom)), 1 / zoom) for zoom in ZOOMS]
        p = torch.stack(readings).mean(0)
        result[start : start + 16] = F.interpolate(p, (SIZE, SIZE), mode="bilinear").cpu().numpy()
    return result


def _read_twice(network: LungNet, x: Tensor) -> Tensor:
    """Return the mean probability of films and of their mirror images."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        return (network(x).float().sigmoid() + network(x.flip(3)).float().sigmoid().flip(3).flip(1)) / 2


def _zoomed(x: Tensor, zoom: float) -> Tensor:
    """Enlarge around the middle; zeros come in where ``zoom`` is below 1."""
    if zoom == 1:
        return x.contiguous()
    scale = torch.tensor([[1 / zoom, 0.0, 0.0], [0.0, 1 / zoom, 0.0]], device=x.device)
    grid = F.affine_grid(scale.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False).contiguous()
