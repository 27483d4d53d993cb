"""One training loop for every network of the recipe: resumable, repeatable, with a moving average of the weights.

Every random draw of a step comes from the seed and the step's number, so a run that was killed and is started again
sees what an unbroken one would have seen. A limit in seconds shortens a run to what fits: the learning rate then
follows the time instead of the step, and two such runs differ.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

SAVE_EVERY = 20.0
"""Seconds between two checkpoints."""


@dataclass(frozen=True)
class Length:
    """How long a training is: steps of a batch, and seconds after which it ends all the same."""

    steps: int
    batch: int
    seconds: float | None = None


def rate_at(share: float, peak: float) -> float:
    """Learning rate at a share of the training: a linear warm-up over 4 %, then half a cosine to 2 % of the peak."""
    warm = 0.04
    if share < warm:
        return peak * max(share / warm, 0.02)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warm) / (1 - warm)))))


class Average:
    """A moving average of weights, with a shorter memory at the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        state = network.state_dict()
        moving = [name for name, value in state.items() if value.is_floating_point()]
        get_ema_multi_avg_fn(decay)([self.weights[name] for name in moving], [state[name] for name in moving], step)
        for name in state.keys() - set(moving):
            self.weights[name].copy_(state[name])


def train(
    name: str,
    network: nn.Module,
    loss_of: Callable[[int], Tensor],
    work: Path,
    length: Length,
    *,
    peak: float,
    decay: float,
) -> dict[str, Tensor]:
    """Train ``network`` to lower ``loss_of(step)``; return the averaged weights. Resumes from ``work/name.pt``."""
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=peak, weight_decay=1e-4, betas=(0.9, 0.99), fused=device.type == "cuda"
    )
    average = Average(network, decay)
    saved, step, spent = work / f"{name}.pt", 0, 0.0
    if saved.exists():
        state = torch.load(saved, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, step, spent = state["average"], state["step"], state["seconds"]
    first, started, last = step, time.monotonic() - spent, time.monotonic()
    total, seen = torch.zeros((), device=device), 0
    network.train()
    while True:
        seconds = time.monotonic() - started
        share = step / length.steps if length.seconds is None else max(step / length.steps, seconds / length.seconds)
        if seen and (share >= 1 or time.monotonic() - last > SAVE_EVERY):
            pace = (seconds - spent) / (step - first)
            print(
                f"{name}: step {step}/{length.steps}, loss {float(total) / seen:.4f}, {pace:.3f} s a step", flush=True
            )
            total, seen, last = torch.zeros((), device=device), 0, time.monotonic()
            state = {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.weights,
                "step": step,
                "seconds": seconds,
            }
            torch.save(state, saved.with_suffix(".tmp"))
            saved.with_suffix(".tmp").replace(saved)
        if share >= 1:
            return average.weights
        for group in optimizer.param_groups:
            group["lr"] = rate_at(share, peak)
        torch.manual_seed(step)
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(network, step)
        total, seen, step = total + loss.detach(), seen + 1, step + 1
