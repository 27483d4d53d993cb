"""diffusers' own pipeline in torch, float32, as its users run it: one process, figures as JSON. See ``speed.py``.

python benchmarks/peers/diffusers_eager.py CHECKPOINT RADIOGRAPH
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline  # noqa: E402
from PIL import Image  # noqa: E402

from roentmod_fast.radiograph.read import read_radiograph  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("radiograph", type=Path)
    parser.add_argument("--no-edit", action="store_true", help="stages alone")
    wishes = parser.parse_args()
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(wishes.checkpoint, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    loaded = time.perf_counter()
    with torch.no_grad():
        latents = torch.randn(2, 4, 64, 64)
        text = torch.randn(2, 77, pipeline.unet.config.cross_attention_dim)
        pipeline.unet(latents, 300, text)
        first = time.perf_counter()
        figures: dict[str, object] = {"load_s": loaded - STARTED, "first_unet_call_after_s": first - STARTED}
        calls = []
        for _ in range(2):
            start = time.perf_counter()
            pipeline.unet(latents, 300, text)
            calls.append(time.perf_counter() - start)
        figures["guided_unet_call_s"] = calls
        start = time.perf_counter()
        pipeline.vae.encode(torch.rand(1, 3, 512, 512) * 2 - 1)
        between = time.perf_counter()
        pipeline.vae.decode(latents[:1])
        figures["vae_encoder_s"] = between - start
        figures["vae_decoder_s"] = time.perf_counter() - between
        if not wishes.no_edit:
            grey = (read_radiograph(wishes.radiograph).image * 255).round().astype("uint8")
            start = time.perf_counter()
            image = Image.fromarray(grey).convert("RGB").resize((512, 512))
            generator = torch.Generator("cpu").manual_seed(0)
            pipeline("edema", image, strength=0.4, guidance_scale=4.0, num_inference_steps=50, generator=generator)
            figures["edit_s"] = time.perf_counter() - start
            figures["unet_calls"] = 20
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
