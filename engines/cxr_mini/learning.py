"""One training loop for every network of the recipe: resumable, repeatable, with a moving average of the weights.

Every random draw of a step comes from the seed and the step's number, so a run that was killed and is started again
sees what an unbroken one would have seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


def rate_at(step: int, steps: int, peak: float) -> float:
    """Learning rate: a linear warm-up over the first 4 %, then half a cosine down to 2 % of the peak."""
    warm = max(1, steps // 25)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


class Average:
    """A moving average of weights, with a shorter memory at the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)


def train(
    name: str,
    network: nn.Module,
    loss_of: Callable[[int], Tensor],
    work: Path,
    *,
    steps: int,
    peak: float,
    decay: float,
    every: int = 50,
) -> dict[str, Tensor]:
    """Train ``network`` to lower ``loss_of(step)``; return the averaged weights. Resumes from ``work/name.pt``."""
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=1e-4, betas=(0.9, 0.99))
    average = Average(network, decay)
    saved, first = work / f"{name}.pt", 0
    if saved.exists():
        state = torch.load(saved, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, first = state["average"], state["step"]
    started, total, seen = time.monotonic(), torch.zeros((), device=device), 0
    network.train()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, peak)
        torch.manual_seed(step)
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(network, step)
        total, seen = total + loss.detach(), seen + 1
        if (step + 1) % every == 0 or step + 1 == steps:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"{name}: step {step + 1}/{steps}, loss {float(total) / seen:.4f}, {pace:.2f} s a step", flush=True)
            total, seen = torch.zeros((), device=device), 0
            state = {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.weights,
                "step": step + 1,
            }
            torch.save(state, saved.with_suffix(".tmp"))
            saved.with_suffix(".tmp").replace(saved)
    return average.weights


def half_rounded(network: nn.Module) -> nn.Module:
    """Round the weights to what float16 can hold; they stay float32."""
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(value.half().float())
    return network.eval()
