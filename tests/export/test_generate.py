"""What is generated is what diffusers' text-to-image pipeline gives for the same weights and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from roentmod_fast.editor import Editor
from roentmod_fast.generate import generate
from roentmod_fast.settings import EditConfig
from roentmod_fast_export import engine_side
from roentmod_fast_export import parity as checks
from roentmod_fast_export.checkpoint import open_checkpoint
from tests.export.conftest import EngineOf
from tests.goldens.tiny import LAYOUTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("guidance", "steps", "seed"), [(4.0, 20, 0), (7.5, 50, 42), (1.0, 20, 1)])
def test_a_generated_image_is_that_of_diffusers(
    checkpoints: Path, engine_of: EngineOf, layout: str, guidance: float, steps: int, seed: int
) -> None:
    from diffusers import StableDiffusionPipeline

    prompt = "right pleural effusion"
    opened = open_checkpoint(checkpoints / layout)
    with checks.quiet(), torch.no_grad():
        pipeline = StableDiffusionPipeline(
            **checks.reference_pipeline(opened).components, requires_safety_checker=False
        )
        pipeline.set_progress_bar_config(disable=True)
        assert type(pipeline.scheduler).__name__ == "DDIMScheduler"
        [reference] = pipeline(
            prompt=prompt,
            guidance_scale=guidance,
            num_inference_steps=steps,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
        ).images
    editor = Editor.load(engine_of(layout), device="cpu")
    [ours] = generate(editor, prompt, EditConfig(guidance=guidance, steps=steps, seed=seed))
    assert ours.unet_calls == steps
    expected = np.asarray(reference.mean(axis=2), dtype=np.float32)
    assert engine_side.edit_difference(expected, ours.image)["psnr_db"] > 60
    other = editor.edit(np.zeros((64, 64), np.float32), prompt, EditConfig(1.0, guidance, steps, seed, "replace"))
    assert engine_side.edit_difference(expected, other.decoded)["psnr_db"] < 60, "strength 1 is something else"
