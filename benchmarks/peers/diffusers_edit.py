"""The edit of every peer whose pipeline is that of diffusers, whatever runs its networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler
from peer import GUIDANCE, PROMPT, SEED, STRENGTH, Clock, Edit, image_size, measure
from PIL import Image


def measure_pipeline(args: argparse.Namespace, pipeline: Any, clock: Clock, packages: Sequence[str]) -> None:
    """Measure edits of ``pipeline``, whose networks ``clock`` times, with DDIM that does not clip its predictions."""
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    size = image_size(args.checkpoint)
    source = Image.open(args.radiograph)

    def edit(steps: int) -> Edit:
        image = source.convert("RGB").resize((size, size))
        [edited] = pipeline(
            PROMPT,
            image,
            strength=STRENGTH,
            guidance_scale=GUIDANCE,
            num_inference_steps=steps,
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).images
        return clock.edit(edited)

    measure(args, edit, packages)
