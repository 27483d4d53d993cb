"""A small classifier of findings in frontal films, for the benchmarks of cxr-mini. Needs torch.

It is trained on films without and with drawn findings (``film_fidelity.py``), or on other films where the question is
another (``drawn_like_real.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from roentmod_fast_engines.cxr_mini.learning import Length, train

GRID = 128
BATCH = 32


class FindingNet(nn.Module):
    """A small convolutional network: (n, 1, GRID, GRID) in [0, 1] to logits (n, classes)."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for index, width in enumerate(widths):
            edge, stride = (3, 1) if index else (5, 2)
            layers += [
                nn.Conv2d(before, width, edge, stride=stride, padding=edge // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            if index:
                layers.append(nn.MaxPool2d(2))
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        x = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-3)
        rows = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.linspace(-1, 1, w, device=x.device).view(1, 1, 1, w).expand(n, 1, h, w)
        x = self.body(torch.cat([x, rows, columns], 1))
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


def shrink(images: NDArray[np.uint8] | NDArray[np.float32], device: torch.device) -> Tensor:
    """Bring images (n, h, w), uint8 or in [0, 1], to the network's grid: (n, 1, GRID, GRID)."""
    values = np.asarray(images, dtype=np.float32) / (255 if images.dtype == np.uint8 else 1)
    return F.interpolate(torch.from_numpy(values).to(device)[:, None], (GRID, GRID), mode="area")


def vary(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn, zoom, shift; vary gamma, contrast, sharpness and grain."""
    n, device = len(x), x.device

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, n).astype(np.float32)).to(device)

    turn, zoom = draw(-0.12, 0.12), draw(0.85, 1.15)
    theta = torch.stack(
        [
            torch.stack([torch.cos(turn) * zoom, -torch.sin(turn) * zoom, draw(-0.08, 0.08)], 1),
            torch.stack([torch.sin(turn) * zoom, torch.cos(turn) * zoom, draw(-0.08, 0.08)], 1),
        ],
        1,
    )
    x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    gamma = torch.exp(draw(-0.5, 0.5)).view(-1, 1, 1, 1)
    x = x.clamp(0, 1) ** gamma * draw(0.7, 1.0).view(-1, 1, 1, 1)
    # Blurred or sharpened, and with grain: so that the grain of a drawing does not give it away.
    soft = F.avg_pool2d(x, 3, stride=1, padding=1)
    x = x + draw(-0.6, 1.0).view(-1, 1, 1, 1) * (soft - x)
    return x + torch.randn_like(x) * draw(0, 0.03).view(-1, 1, 1, 1)


def train_classifier(
    name: str,
    draw_batch: Callable[[np.random.Generator], tuple[Tensor, Tensor]],
    classes: int,
    work: Path,
    device: torch.device,
    *,
    steps: int,
    rate: float = 2e-3,
) -> FindingNet:
    """Train on batches of grids and labels in [0, 1], (n, 1, GRID, GRID) and (n, classes); NaN labels do not count."""
    torch.manual_seed(0)
    network = FindingNet(classes).to(device)

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([7, step])
        x, y = draw_batch(rng)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = network(vary(x, rng))
        known = ~torch.isnan(y)
        return F.binary_cross_entropy_with_logits(logits.float()[known], y[known])

    network.load_state_dict(train(name, network, loss_of, work, Length(steps, BATCH), peak=rate, decay=0.99))
    return network.eval()


@torch.no_grad()
def scores(
    network: FindingNet, images: NDArray[np.uint8] | NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    """Return the logits of each image, float32 (n, classes)."""
    found = [network(shrink(images[k : k + 64], device)).cpu().numpy() for k in range(0, len(images), 64)]
    return np.concatenate(found).astype(np.float32)


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties as half."""
    a, b = np.asarray(positive)[:, None], np.asarray(negative)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())
