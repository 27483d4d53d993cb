"""Augmentation of a batch: turned, zoomed, shifted, brighter or of other contrast; never mirrored.

A mirrored radiograph shows the heart on the right: a classifier of right effusions must not see it. The ranges are
ours; the paper states none.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

TURN = np.deg2rad(10)
ZOOM, SHIFT = 0.1, 0.05
GAMMA, CONTRAST = 0.25, 0.2


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a changed batch, (N, 1, S, S) in [0, 1]; all that is drawn comes from ``rng``."""
    n = len(x)

    def draw(reach: float) -> Tensor:
        return torch.from_numpy(rng.uniform(-reach, reach, n).astype(np.float32)).to(x.device)

    turn, zoom = draw(float(TURN)), torch.exp(draw(ZOOM))
    rows = [
        torch.stack([torch.cos(turn) * zoom, -torch.sin(turn) * zoom, draw(2 * SHIFT)], 1),
        torch.stack([torch.sin(turn) * zoom, torch.cos(turn) * zoom, draw(2 * SHIFT)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    gamma, contrast = torch.exp(draw(GAMMA)).view(-1, 1, 1, 1), torch.exp(draw(CONTRAST)).view(-1, 1, 1, 1)
    return ((moved.clamp(0, 1) ** gamma - 0.5) * contrast + 0.5).clamp(0, 1)
